//! What people answer in the chats, and which alert that acknowledges.

use std::collections::BTreeMap;

use super::history::{Transition, TransitionKind};
use super::record::{Ack, AckAnswer, AlertRecord, AnswerKind, Delivery, MessageId, Step};
use super::rules::fold_word;
use super::{Now, Outbox};
use crate::alert::{Recipient, SessionName};

/// An answer, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The account that got it.
    pub session: SessionName,
    /// Every name that a route may have for the chat that it stands in.
    pub chat: Vec<Recipient>,
    /// Every name that a route may have for whoever has written it.
    pub from: Vec<Recipient>,
    /// WhatsApp's id of it.
    pub id: String,
    pub said: Said,
}

/// What somebody has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A reaction on the message of this id; to take one back is none.
    Reaction(MessageId),
    /// A message that quotes the one of this id.
    Reply(MessageId),
    /// A text that quotes nothing.
    Text(String),
}

/// What an answer has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Alerts are acknowledged by it, since just now or since it first came.
    Acknowledged,
    /// It is about an alert that its writer may not acknowledge. The journal is told.
    Unheeded,
    /// A word that would acknowledge one alert, where so many wait for that.
    Ambiguous(usize),
    /// It is about nothing that waits.
    Nothing,
}

/// The longest id of an answer that is looked at, in bytes. WhatsApp's have 20 to 32; it is kept in the alert's record,
/// which must still fit on the disk with it.
const ID_BYTES_MAX: usize = 128;

impl Outbox {
    /// Acknowledges what an answer is about. The same one again, also after a restart, comes to the same.
    pub fn answer(&mut self, now: Now, answer: &Answer) -> Answered {
        if answer.id.len() > ID_BYTES_MAX {
            return Answered::Nothing;
        }
        let (how, meant) = match &answer.said {
            Said::Reaction(to) => (AnswerKind::Reaction, self.pointed_at(answer, to)),
            Said::Reply(to) => (AnswerKind::Reply, self.pointed_at(answer, to)),
            Said::Text(text) => (AnswerKind::Text, self.meant_by(answer, &fold_word(text))),
        };
        let Meant { open, allowed } = meant;
        // A crash may have kept the acknowledgement of only some of the alerts in the message.
        if (how == AnswerKind::Text || open.is_empty()) && self.has_acknowledged(answer) {
            return Answered::Acknowledged;
        }
        let Some((_, &about)) = open.first_key_value() else {
            return Answered::Nothing;
        };
        if how == AnswerKind::Text && open.len() > 1 {
            return Answered::Ambiguous(open.len());
        }
        // What was perhaps never shown is not silenced by a word that may be about something else: one that had lain at
        // the server while this was handed to a line that was dead, or the very first of somebody whom WhatsApp wants
        // to hear of first.
        if how == AnswerKind::Text && !self.is_at_the_server(answer, about) {
            return Answered::Nothing;
        }
        if !allowed {
            // The same answer comes again and again while the disk has no room.
            let told = self.unheeded.insert(about, answer.id.clone());
            if told.as_ref() != Some(&answer.id) {
                let record = self.entries.get(&about).map(|entry| &entry.record);
                let happened = record.map(|record| Transition::to_all(record, now.wall, TransitionKind::Unheeded));
                self.dirty.entry(about).or_default().happened.extend(happened);
            }
            return Answered::Unheeded;
        }
        let ack = Ack {
            at: now.wall,
            by: name_of(&answer.from),
            answer: Some(AckAnswer {
                how,
                id: answer.id.clone(),
            }),
        };
        for first in open.into_keys() {
            self.acknowledge_all(now, first, &ack, &answer.chat);
        }
        self.fill(now);
        Answered::Acknowledged
    }

    /// Whether this very answer has acknowledged something that is still kept.
    fn has_acknowledged(&self, answer: &Answer) -> bool {
        let of_session = |record: &&AlertRecord| record.session == answer.session;
        let records = self.entries.values().map(|entry| &entry.record).filter(of_session);
        let mut acks = records.filter_map(|record| record.attention.acked.as_ref()?.answer.as_ref());
        acks.any(|by| by.id == answer.id)
    }

    /// The alerts that the message `to` carries, where it went into the chat of the answer. It may have been seen
    /// before the server's ack has come.
    fn pointed_at(&self, answer: &Answer, to: &MessageId) -> Meant {
        let carried = self.deliveries_of(to).into_iter();
        let entries =
            carried.filter_map(|delivery_id| self.entries.get(&delivery_id.seq).map(|entry| (delivery_id, entry)));
        let here = entries.filter(|(delivery_id, entry)| {
            let recipient = entry.record.deliveries.get(delivery_id.index).map(|it| &it.recipient);
            entry.durable
                && entry.record.session == answer.session
                && recipient.is_some_and(|it| answer.chat.contains(it))
        });
        self.meant(answer, here.map(|(_, entry)| &entry.record))
    }

    /// The alerts that may have been seen in the chat and that the word acknowledges.
    fn meant_by(&self, answer: &Answer, word: &str) -> Meant {
        let entries = self.entries.values().filter(|entry| entry.durable);
        let here = entries.filter(|entry| {
            let record = &entry.record;
            // Of one from before this start the disk may not know that it was handed out: two make a word unclear.
            let handed_out = |it: &Delivery| it.attempts > 0 || (entry.restored && it.message_id.is_some());
            let shown = |it: &Delivery| answer.chat.contains(&it.recipient) && handed_out(it);
            record.session == answer.session
                && self.rules.is_ack_word(&record.route, word)
                && record.deliveries.iter().any(shown)
        });
        self.meant(answer, here.map(|entry| &entry.record))
    }

    /// Whether WhatsApp's server has taken it for the chat.
    fn is_at_the_server(&self, answer: &Answer, seq: u64) -> bool {
        let mut deliveries = self
            .entries
            .get(&seq)
            .into_iter()
            .flat_map(|entry| &entry.record.deliveries);
        let is_there = |step| matches!(step, Step::Sent | Step::Delivered | Step::Read);
        deliveries.any(|it| is_there(it.step) && answer.chat.contains(&it.recipient))
    }

    fn meant<'a>(&self, answer: &Answer, records: impl Iterator<Item = &'a AlertRecord>) -> Meant {
        let mut meant = Meant {
            open: BTreeMap::new(),
            allowed: true,
        };
        for record in records {
            if let Some(first) = self.open(record) {
                meant.allowed &= self.may_acknowledge(answer, record);
                meant.open.entry(first).or_insert(record.seq);
            }
        }
        meant
    }

    /// In a group all members may, where nothing is said; elsewhere only who gets the alert: the account itself does
    /// not as long as it only sends.
    fn may_acknowledge(&self, answer: &Answer, record: &AlertRecord) -> bool {
        let in_group = answer.chat.iter().any(|chat| matches!(chat, Recipient::Group(_)));
        match self.rules.ack_from(&record.route) {
            Some(allowed) => {
                let named = |name: &Recipient| answer.from.contains(name) || (in_group && answer.chat.contains(name));
                allowed.iter().any(named)
            }
            None => in_group || record.deliveries.iter().any(|it| answer.from.contains(&it.recipient)),
        }
    }
}

/// The alerts that an answer may be about.
struct Meant {
    /// The first of those that follow each other, and the first of them that the answer is about.
    open: BTreeMap<u64, u64>,
    /// Whoever has written it may acknowledge each of them.
    allowed: bool,
}

/// Who it was, for people.
fn name_of(from: &[Recipient]) -> String {
    let me = from.iter().find(|name| **name == Recipient::Me);
    me.or(from.first())
        .map_or_else(|| "somebody".to_owned(), ToString::to_string)
}
