//! Answers from the phones, and when the server may forget them.

use std::collections::BTreeSet;

use tautline::alert::Recipient;
use tautline::outbox::{AlertRecord, Answer, Answered, MessageId, Said};

use super::World;
use super::rules::{recipient, session};

/// An answer that the server has had no ack for.
pub struct AtServer {
    answer: Answer,
    /// It has come, in this run, to this.
    pub came: bool,
    result: Answered,
}

impl World {
    /// One of those who have alerts, or somebody who has none, reacts, quotes or writes.
    pub fn somebody_answers(&mut self) {
        let messages: Vec<MessageId> = self.shown.keys().cloned().collect();
        let who = recipient(self.random.below(4));
        let to = match messages.is_empty() || self.random.one_in(8) {
            true => MessageId("3EB0".to_owned()),
            false => messages[self.random.below(messages.len() as u64) as usize].clone(),
        };
        self.named += 1;
        let hidden: Recipient = format!("{}@lid", 100_000 + self.random.below(4)).parse().unwrap();
        let answer = Answer {
            session: session(),
            chat: vec![who.clone()],
            from: match self.random.one_in(6) {
                true => vec![Recipient::Me],
                false => vec![who, hidden],
            },
            id: format!("3A{}", self.named),
            said: match self.random.below(4) {
                0 => Said::Reaction(to),
                1 => Said::Reply(to),
                _ => Said::Text(self.random.of(&["ok", "Okay!", "no"]).to_owned()),
            },
        };
        self.answers.push(AtServer {
            answer,
            came: false,
            result: Answered::Nothing,
        });
    }

    /// The server hands out one that it has had no ack for.
    pub fn answer_comes(&mut self) {
        let now = self.now;
        let Some(at_server) = self.answers.iter_mut().find(|answer| !answer.came) else {
            return;
        };
        let answer = at_server.answer.clone();
        let before = acknowledged(self.outbox.list(false, usize::MAX));
        at_server.came = true;
        at_server.result = self.outbox.answer(now, &answer);
        let result = at_server.result;
        let after = acknowledged(self.outbox.list(false, usize::MAX));
        let new: Vec<AlertRecord> = after
            .difference(&before)
            .map(|id| self.outbox.get(id).unwrap().clone())
            .collect();
        assert!(
            new.is_empty() || result == Answered::Acknowledged,
            "{result:?}: {new:?}"
        );
        self.check_answered(&answer, &new);
        self.drain();
    }

    fn check_answered(&self, answer: &Answer, new: &[AlertRecord]) {
        // What follows another is acknowledged with it, wherever it went.
        let firsts = new.iter().filter(|record| {
            let follows = record.attention.follows.as_ref();
            follows.is_none_or(|follows| self.outbox.get(&follows.id).is_none())
        });
        let firsts: Vec<&AlertRecord> = firsts.collect();
        if let Said::Text(_) = answer.said {
            assert!(firsts.len() <= 1, "a word acknowledges {firsts:?}");
        }
        let is_here = |record: &&AlertRecord| {
            let to = |to: &MessageId| self.sent.get(to).is_some_and(|seqs| seqs.contains(&record.seq));
            let may = match &self.of(&record.route).acks.from {
                Some(from) => from.iter().any(|name| answer.from.contains(name)),
                None => record.deliveries.iter().any(|it| answer.from.contains(&it.recipient)),
            };
            may && match &answer.said {
                Said::Reaction(id) | Said::Reply(id) => to(id),
                Said::Text(text) => {
                    let sent = self.sent.iter().filter(|(_, seqs)| seqs.contains(&record.seq));
                    let mut chats = sent.filter_map(|(id, _)| self.shown.get(id)).flatten();
                    let shown = chats.any(|(seq, to)| *seq == record.seq && answer.chat.contains(to));
                    text != "no" && (shown || self.carried.contains_key(&(record.seq, answer.chat[0].clone())))
                }
            }
        };
        assert!(
            new.is_empty() || new.iter().any(|record| is_here(&record)),
            "{answer:?} acknowledges {new:?}"
        );
    }

    /// All that has come about is written, and then the server may forget what it has been told by.
    pub fn ack_answers(&mut self) {
        if !self.answers.iter().any(|answer| answer.came) {
            return;
        }
        while !self.unwritten.is_empty() {
            self.write_one();
        }
        for at_server in self.answers.extract_if(.., |answer| answer.came) {
            let of_it = |record: &&AlertRecord| {
                let acked = record.attention.acked.as_ref();
                acked
                    .and_then(|ack| ack.answer.as_ref())
                    .is_some_and(|it| it.id == at_server.answer.id)
            };
            let (kept, on_disk) = (
                self.outbox.list(false, usize::MAX).into_iter().filter(of_it).count(),
                self.disk.values().filter(of_it).count(),
            );
            assert!(on_disk >= kept, "the server may forget what is not on the disk");
            let said = at_server.result;
            assert!(
                kept == 0 || said == Answered::Acknowledged,
                "{:?} is {said:?}",
                at_server.answer
            );
        }
    }
}

fn acknowledged(records: Vec<&AlertRecord>) -> BTreeSet<String> {
    let acked = records.into_iter().filter(|record| record.attention.acked.is_some());
    acked.map(|record| record.id.clone()).collect()
}
