//! Answers from the phones, and when the server may forget them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tautline::alert::Recipient;
use tautline::outbox::{
    AlertRecord, Answer, Answered, Content, Delivery, Input, Message, MessageId, Said, SendFailure,
};

use super::World;
use super::rules::{recipient, session};

/// Reactions of ours, by which the others are told.
#[derive(Default)]
pub struct Marks {
    pub outward: VecDeque<Message>,
    /// The reaction that each message has got.
    shown: BTreeMap<MessageId, MessageId>,
}

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

    /// What the disk says that the answer of this id has acknowledged: the first of those that follow each other.
    pub fn acknowledged_by(&self, answer: &str) -> BTreeSet<String> {
        let is_it = |record: &&AlertRecord| {
            let acked = record.attention.acked.as_ref().and_then(|ack| ack.answer.as_ref());
            acked.is_some_and(|it| it.id == answer)
        };
        let first = |record: &AlertRecord| {
            let mut first = record;
            while let Some(follows) = &first.attention.follows {
                match self.durable.values().find(|record| record.id == follows.id) {
                    Some(before) => first = before,
                    None => break,
                }
            }
            first.id.clone()
        };
        self.disk.values().filter(is_it).map(first).collect()
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

    pub fn on_mark(&mut self, message: Message) {
        assert!(self.up, "a reaction is sent while the line is down");
        let Content::Reaction { to, .. } = &message.content else {
            panic!("{message:?} is no reaction");
        };
        let is_it = |it: &Delivery| {
            let mark = it.mark.as_ref().is_some_and(|mark| mark.id == message.id);
            mark && it.message_id.as_ref() == Some(to) && it.recipient == message.recipient
        };
        let mut acked = self.disk.values().filter(|record| record.attention.acked.is_some());
        let known = acked.any(|record| record.deliveries.iter().any(is_it));
        assert!(known, "a reaction that the disk does not know: {message:?}");
        assert!(
            self.shown.contains_key(to),
            "a reaction on what nobody has: {message:?}"
        );
        self.marks.outward.push_back(message);
    }

    /// The next reaction is taken by the server, refused, or lost.
    pub fn carry_mark(&mut self) {
        let Some(message) = self.marks.outward.pop_front() else {
            return;
        };
        let message_id = message.id.clone();
        if self.random.one_in(4) && !self.calm {
            let failure = SendFailure::Path("broken".to_owned());
            return self.inward.push(Input::SendFailed { message_id, failure });
        }
        if let Content::Reaction { to, .. } = message.content {
            let known = self.marks.shown.entry(to).or_insert_with(|| message_id.clone());
            assert_eq!(*known, message_id, "two reactions on one message");
        }
        if self.calm || !self.random.one_in(4) {
            let (session, error) = (session(), self.random.one_in(9).then(|| "503".to_owned()));
            self.inward.push(Input::ServerAck {
                session,
                message_id,
                error,
            });
        }
    }

    /// Nobody is still to be told.
    pub fn all_marked(&self) -> bool {
        let records = self.outbox.list(false, usize::MAX);
        let mut marks = records
            .iter()
            .flat_map(|record| &record.deliveries)
            .filter_map(|it| it.mark.as_ref());
        marks.all(|mark| mark.done)
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
