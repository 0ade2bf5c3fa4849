//! Whether the numbers that routes name are on WhatsApp, and under which number the server knows them.
//!
//! A message to a number that nobody has is acknowledged like any other, and nobody gets it. So the server is asked:
//! about all that routes name in one question after a login, and about any other before its first message. Its answers
//! are kept, because an answer holds for days, and a box that asks often looks like one that collects numbers.
//!
//! > A question that gets no answer costs no alert: the number is used as it was last named, or as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use wacore::types::LearningSource;
use whatsapp_rust::usync::{
    UsyncAddressingMode, UsyncContext, UsyncMode, UsyncOutcome, UsyncProtocol, UsyncProtocolKind, UsyncProtocolResult,
    UsyncQuery, UsyncResponse, UsyncUser, UsyncUserResult,
};
use whatsapp_rust::{Client, Jid};

use crate::alert::SessionName;
use crate::store::Store;
use crate::store::numbers::{NumberRecord, keep, load};
use crate::util::{lock, wall_ms, within};

/// How long an answer is waited for. The message that waits for it has 25 s in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Numbers in one question. More routes than that are rare; the others are asked about before their first message.
const ASKED_AT_ONCE: usize = 100;

/// For how long a number that is on WhatsApp is not asked about again. Numbers change their form once in years.
const THERE_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A number that was there and is not any more is asked about again after this before anybody is told: the server may
/// have been wrong, and a failed alert is final. Long enough to meet another of its machines, short enough for an
/// alert.
const CONFIRM_AFTER: Duration = Duration::from_secs(10);

/// After that, and for one that was never there, the pause doubles from the first of these to the second.
const DENIED_FIRST: Duration = Duration::from_secs(10 * 60);
const DENIED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// After a question without an answer nothing is asked for so long; it doubles from the first to the second. A server
/// that limits us is not helped by the next question, and other questions are waiting too.
const SILENCE_FIRST: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(60 * 60);

/// What one answer says of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It is there, under this number.
    There(String),
    NotThere,
}

/// What is to be done with a message for a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// It goes to this number.
    Send(String),
    /// The server is asked first. Where that gets no answer, it goes to this number.
    Ask(String),
    /// Not there according to the last answer, which contradicts those before it: to be asked again soon.
    Doubtful,
    /// Not there. It is asked about again after so long.
    NotThere(Duration),
}

/// What is known of one number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// The number that the server named when it last knew this one.
    named: Option<String>,
    /// Until when that is not asked about again; absent: ask.
    there_until: Option<Instant>,
    /// When "not there" was the answer, and how often in a row; absent: it was not the last answer.
    denied: Option<(Instant, u32)>,
    /// When a refused message last cast doubt on the form that was named, and how often; absent: none has.
    doubted: Option<(Instant, u32)>,
}

impl Known {
    fn look(&self, written: &str, now: Instant) -> Look {
        let fallback = || self.named.clone().unwrap_or_else(|| written.to_owned());
        let Some((at, times)) = self.denied else {
            let fresh = self.there_until.is_some_and(|until| now < until);
            return match &self.named {
                Some(named) if fresh => Look::Send(named.clone()),
                _ => Look::Ask(fallback()),
            };
        };
        let passed = now.saturating_duration_since(at);
        if self.named.is_some() && times == 1 {
            return if passed < CONFIRM_AFTER {
                Look::Doubtful
            } else {
                Look::Ask(fallback())
            };
        }
        let pause = doubled(DENIED_FIRST, times - 1, DENIED_MAX);
        match pause.checked_sub(passed).filter(|left| !left.is_zero()) {
            Some(left) => Look::NotThere(left),
            None => Look::Ask(fallback()),
        }
    }

    fn take(&mut self, answer: &Answer, now: Instant) {
        match answer {
            Answer::There(named) => {
                if self.named.as_ref() != Some(named) {
                    self.doubted = None;
                }
                self.named = Some(named.clone());
                self.there_until = Some(now + THERE_FOR);
                self.denied = None;
            }
            Answer::NotThere => {
                let times = self.denied.map_or(0, |(_, times)| times);
                self.denied = Some((now, times.saturating_add(1)));
                self.there_until = None;
            }
        }
    }

    /// A refused message: the first one lets the server be asked again at once, the next ones after growing pauses.
    fn doubt(&mut self, now: Instant) {
        let times = self.doubted.map_or(0, |(_, times)| times);
        let until = |(at, times): (Instant, u32)| at + doubled(DENIED_FIRST, times - 1, DENIED_MAX);
        if self.doubted.map(until).is_none_or(|until| until <= now) {
            self.doubted = Some((now, times.saturating_add(1)));
            self.there_until = None;
        }
    }

    /// Said twice of a number that was there, once of one that never was.
    fn is_not_there(&self) -> bool {
        let enough = if self.named.is_some() { 2 } else { 1 };
        self.denied.is_some_and(|(_, times)| times >= enough)
    }
}

/// `first`, doubled so many times, at most `max`.
fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(max)
}

#[derive(Debug, Default)]
struct State {
    /// By the number as written.
    known: BTreeMap<String, Known>,
    /// Written numbers whose messages wait for an answer, and are not in the question that is under way.
    wanted: BTreeSet<String>,
    /// Until when nothing is asked, after so many questions without an answer.
    silence: Option<(Instant, u32)>,
}

/// The numbers of one session. Numbers are digits, without `+`.
pub(super) struct Numbers {
    store: Store,
    session: SessionName,
    state: Mutex<State>,
    /// Held by whoever asks: one question at a time, and who comes meanwhile may find the answer there.
    asking: smol::lock::Mutex<()>,
}

impl Numbers {
    /// With the answers that were kept. What cannot be read is asked again.
    pub(super) fn open(store: Store, session: SessionName) -> Self {
        let (now, wall) = (Instant::now(), wall_ms());
        let kept = load(store.view(), &session).unwrap_or_else(|error| {
            log::warn!("session {session}: what the server names its numbers cannot be read: {error}");
            Vec::new()
        });
        let known = kept.into_iter().map(|record| {
            // An answer from the future is one of a clock that was wrong: it is asked for again.
            let age = wall.checked_sub(record.at_ms).map(Duration::from_millis);
            let left = age.and_then(|age| THERE_FOR.checked_sub(age));
            let known = Known {
                named: Some(record.named),
                there_until: left.map(|left| now + left),
                ..Known::default()
            };
            (record.written, known)
        });
        let state = State {
            known: known.collect(),
            ..State::default()
        };
        Self {
            store,
            session,
            state: Mutex::new(state),
            asking: smol::lock::Mutex::new(()),
        }
    }

    /// The number that the server last named for the one that is `written`, if it ever knew it.
    pub(super) fn named(&self, written: &str) -> Option<String> {
        self.state().known.get(written)?.named.clone()
    }

    /// Those that are written otherwise than the server names them, for the number `named`.
    pub(super) fn written_for(&self, named: &str) -> Vec<String> {
        let state = self.state();
        let of_it = state
            .known
            .iter()
            .filter(|(_, known)| known.named.as_deref() == Some(named));
        of_it.map(|(written, _)| written.clone()).collect()
    }

    /// Those of which the server says that they are not on WhatsApp.
    pub(super) fn not_there(&self) -> Vec<String> {
        let state = self.state();
        let gone = state.known.iter().filter(|(_, known)| known.is_not_there());
        gone.map(|(written, _)| written.clone()).collect()
    }

    /// A message to it was refused: the next one asks first.
    pub(super) fn doubt(&self, written: &str) {
        if let Some(known) = self.state().known.get_mut(written) {
            known.doubt(Instant::now());
        }
    }

    /// What is to be done with a message for `written`, after asking the server if need be. Takes twice
    /// [`ANSWER_WITHIN`] at the most: whoever comes while a question is under way is in the next.
    pub(super) async fn resolve(&self, client: &Client, written: &str) -> Look {
        if let Some(look) = self.settled(written) {
            return look;
        }
        self.state().wanted.insert(written.to_owned());
        {
            let _turn = self.asking.lock().await;
            if self.settled(written).is_none() {
                let wanted = self.take_wanted(written);
                self.ask(client, wanted).await;
            }
        }
        match self.look(written) {
            Look::Ask(instead) => Look::Send(instead),
            known => known,
        }
    }

    /// Those that a question about `written` can take along: whoever else waits.
    fn take_wanted(&self, written: &str) -> Vec<String> {
        let mut others = std::mem::take(&mut self.state().wanted);
        others.remove(written);
        let all = std::iter::once(written.to_owned()).chain(others);
        all.take(ASKED_AT_ONCE).collect()
    }

    /// Asks about those of `written` that are to be asked about, in one question.
    pub(super) async fn ask_all(&self, client: &Client, written: impl Iterator<Item = String>) {
        let open: BTreeSet<String> = written.filter(|number| self.settled(number).is_none()).collect();
        if open.is_empty() {
            return;
        }
        let _turn = self.asking.lock().await;
        self.ask(client, open.into_iter().take(ASKED_AT_ONCE).collect()).await;
    }

    /// What can be said without asking now.
    fn settled(&self, written: &str) -> Option<Look> {
        match self.look(written) {
            Look::Ask(instead) => {
                let silence = self.state().silence;
                silence
                    .is_some_and(|(until, _)| Instant::now() < until)
                    .then_some(Look::Send(instead))
            }
            known => Some(known),
        }
    }

    fn look(&self, written: &str) -> Look {
        let state = self.state();
        let unknown = Known::default();
        let known = state.known.get(written).unwrap_or(&unknown);
        known.look(written, Instant::now())
    }

    async fn ask(&self, client: &Client, written: Vec<String>) {
        let users = written
            .iter()
            .map(|number| UsyncUser::from_phone(number.as_str()))
            .collect();
        let protocols = vec![
            UsyncProtocol::Contact {
                addressing_mode: UsyncAddressingMode::Pn,
            },
            UsyncProtocol::Lid,
        ];
        let query = match UsyncQuery::new(UsyncMode::Query, UsyncContext::Interactive, protocols, users) {
            Ok(query) => query,
            Err(error) => return log::warn!("session {}: no question about numbers: {error}", self.session),
        };
        let asking = async { client.query_usync(query).await.map_err(|error| error.to_string()) };
        let late = || Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
        let response = match within(ANSWER_WITHIN, asking).await.unwrap_or_else(late) {
            Ok(response) => response,
            Err(error) => {
                log::info!(
                    "session {}: the server does not say who is there: {error}",
                    self.session
                );
                return self.note_silence();
            }
        };
        let answers = answers_in(&response, &written);
        if answers.is_empty() {
            return self.note_silence();
        }
        for (lid, number) in lids_in(&response) {
            let learned = client.add_lid_pn_mapping(&lid, &number, LearningSource::Usync).await;
            if let Err(error) = learned {
                log::debug!("session {}: a hidden id was not kept: {error}", self.session);
            }
        }
        self.take(&answers).await;
    }

    async fn take(&self, answers: &[(String, Answer)]) {
        let (now, at_ms) = (Instant::now(), wall_ms());
        let mut records = Vec::new();
        {
            let mut state = self.state();
            state.silence = None;
            for (written, answer) in answers {
                state.known.entry(written.clone()).or_default().take(answer, now);
                match answer {
                    Answer::There(named) => records.push(NumberRecord {
                        written: written.clone(),
                        named: named.clone(),
                        at_ms,
                    }),
                    Answer::NotThere => log::warn!(
                        "session {}: the server says that {} is not on WhatsApp",
                        self.session,
                        redacted(written)
                    ),
                }
            }
        }
        for record in records.iter().filter(|record| record.named != record.written) {
            let (written, named) = (redacted(&record.written), redacted(&record.named));
            log::info!(
                "session {}: {written} is known to WhatsApp in another form, {named}",
                self.session
            );
        }
        if !records.is_empty()
            && let Err(error) = keep(&self.store, &self.session, records).await
        {
            log::debug!("session {}: answers about numbers were not kept: {error}", self.session);
        }
    }

    fn note_silence(&self) {
        let mut state = self.state();
        let times = state.silence.map_or(0, |(_, times)| times);
        let pause = doubled(SILENCE_FIRST, times, SILENCE_MAX);
        state.silence = Some((Instant::now() + pause, times.saturating_add(1)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn redacted(number: &str) -> String {
    crate::alert::Recipient::Number(number.into()).redacted()
}

/// Which answer is about which number. The server repeats the number that it was asked about; where it does not, the
/// one that it names stands for itself, and an only answer for the only question. Of the others nothing is known.
fn answers_in(response: &UsyncResponse, written: &[String]) -> Vec<(String, Answer)> {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let about = |user: &UsyncUserResult, repeated: Option<&str>| -> Option<String> {
        let asked = |number: String| written.contains(&number).then_some(number);
        let alone = || match (written, response.users.as_slice()) {
            ([number], [_]) => Some(number.clone()),
            _ => None,
        };
        match repeated.map(digits).filter(|repeated| !repeated.is_empty()) {
            Some(repeated) => asked(repeated),
            None => number_in(user).and_then(asked).or_else(alone),
        }
    };
    let answer = |user: &UsyncUserResult| -> Option<(String, Answer)> {
        let Some(UsyncProtocolResult::Contact(outcome)) = user.protocol(UsyncProtocolKind::Contact) else {
            return None;
        };
        let repeated = outcome.value().and_then(|contact| contact.content.as_deref());
        let number = about(user, repeated)?;
        let answer = match outcome {
            UsyncOutcome::Value(contact) => match contact.contact_type.as_str() {
                "in" => Answer::There(number_in(user).unwrap_or_else(|| number.clone())),
                // "invalid" is a number that nobody can have.
                "out" | "invalid" => Answer::NotThere,
                _ => return None,
            },
            UsyncOutcome::Error(error) if error.code == Some(404) => Answer::NotThere,
            UsyncOutcome::Error(_) => return None,
        };
        Some((number, answer))
    };
    response.users.iter().filter_map(answer).collect()
}

/// The number by which an answer names somebody.
fn number_in(user: &UsyncUserResult) -> Option<String> {
    let jid = |jid: &Jid| jid.is_pn().then(|| jid.user.to_string());
    user.id
        .as_ref()
        .and_then(jid)
        .or_else(|| user.pn_jid.as_ref().and_then(jid))
}

/// Hidden ids that came along, each with its number.
fn lids_in(response: &UsyncResponse) -> Vec<(String, String)> {
    let pair = |user: &UsyncUserResult| -> Option<(String, String)> {
        let named = user.id.as_ref().filter(|id| id.is_lid()).cloned();
        let lid = match user.protocol(UsyncProtocolKind::Lid) {
            Some(UsyncProtocolResult::Lid(UsyncOutcome::Value(Some(lid)))) if lid.is_lid() => Some(lid.clone()),
            _ => named,
        };
        Some((lid?.user.to_string(), number_in(user)?))
    };
    response.users.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "15550100002";

    fn there(named: &str) -> Answer {
        Answer::There(named.into())
    }

    #[test]
    fn a_number_is_asked_about_once_and_again_after_days() {
        let start = Instant::now();
        let mut known = Known::default();
        assert_eq!(known.look(NUMBER, start), Look::Ask(NUMBER.into()));
        known.take(&there("15550100009"), start);
        let named = Look::Send("15550100009".into());
        assert_eq!(known.look(NUMBER, start + THERE_FOR / 2), named);
        assert_eq!(known.look(NUMBER, start + THERE_FOR), Look::Ask("15550100009".into()));
    }

    #[test]
    fn one_that_was_never_there_is_asked_about_less_and_less() {
        let mut now = Instant::now();
        let mut known = Known::default();
        let mut questions = 0;
        let end = now + Duration::from_secs(24 * 60 * 60);
        while now < end {
            match known.look(NUMBER, now) {
                Look::Ask(written) => {
                    assert_eq!(written, NUMBER);
                    known.take(&Answer::NotThere, now);
                    questions += 1;
                }
                Look::NotThere(left) => assert!(left <= DENIED_MAX && !left.is_zero()),
                look => panic!("{look:?}"),
            }
            assert!(known.is_not_there());
            now += Duration::from_secs(60);
        }
        assert!((5..=9).contains(&questions), "{questions} questions in a day");
        known.take(&there(NUMBER), now);
        assert!(!known.is_not_there());
        assert_eq!(known.look(NUMBER, now), Look::Send(NUMBER.into()));
    }

    #[test]
    fn one_that_was_there_is_asked_about_twice_before_it_is_given_up() {
        let now = Instant::now();
        let mut known = Known::default();
        known.take(&there(NUMBER), now);
        known.take(&Answer::NotThere, now);
        assert!(!known.is_not_there());
        assert_eq!(known.look(NUMBER, now + CONFIRM_AFTER / 2), Look::Doubtful);
        assert_eq!(known.look(NUMBER, now + CONFIRM_AFTER), Look::Ask(NUMBER.into()));
        known.take(&Answer::NotThere, now + CONFIRM_AFTER);
        assert!(known.is_not_there());
        assert!(matches!(known.look(NUMBER, now + CONFIRM_AFTER), Look::NotThere(_)));
    }

    #[test]
    fn a_refused_message_lets_the_server_be_asked_again_but_not_each_one() {
        let start = Instant::now();
        let mut known = Known::default();
        known.take(&there(NUMBER), start);
        let mut questions = 0;
        for minute in 0..60 {
            let now = start + Duration::from_secs(60 * minute);
            known.doubt(now);
            if known.look(NUMBER, now) == Look::Ask(NUMBER.into()) {
                known.take(&there(NUMBER), now);
                questions += 1;
            }
        }
        assert_eq!(questions, 3, "at once, and after pauses that double");
        known.take(&there("15550100009"), start);
        known.doubt(start);
        assert_eq!(
            known.look(NUMBER, start),
            Look::Ask("15550100009".into()),
            "another form is doubted anew"
        );
    }

    fn user(id: Option<Jid>, pn_jid: Option<Jid>, kind: &str, content: Option<&str>) -> UsyncUserResult {
        let contact = serde_json::json!({ "contact_type": kind, "content": content });
        let mut user: UsyncUserResult = serde_json::from_value(serde_json::json!({ "protocols": [] })).unwrap();
        (user.id, user.pn_jid) = (id, pn_jid);
        let contact = serde_json::from_value(contact).unwrap();
        user.protocols
            .push(UsyncProtocolResult::Contact(UsyncOutcome::Value(contact)));
        user
    }

    fn answers(written: &[&str], users: Vec<UsyncUserResult>) -> Vec<(String, Answer)> {
        let written: Vec<String> = written.iter().map(ToString::to_string).collect();
        let response = serde_json::json!({ "protocol_states": [], "users": [] });
        let mut response: UsyncResponse = serde_json::from_value(response).unwrap();
        response.users = users;
        answers_in(&response, &written)
    }

    #[test]
    fn every_answer_finds_its_question() {
        let (brazil, named) = ("1555987654321", "155587654321");
        let jid = |number: &str| Some(Jid::pn(number));
        let both = |repeated: bool| {
            let repeat = |number| repeated.then_some(number);
            vec![
                user(jid(NUMBER), None, "in", repeat("+15550100002")),
                user(jid(named), None, "in", repeat("+1555987654321")),
            ]
        };
        let corrected = (brazil.to_owned(), there(named));
        let same = (NUMBER.to_owned(), there(NUMBER));
        assert_eq!(
            answers(&[brazil, NUMBER], both(true)),
            [same.clone(), corrected.clone()]
        );
        // Without the repetition nobody knows whose answer the second is; asked alone, it can only be the one.
        assert_eq!(answers(&[brazil, NUMBER], both(false)), [same]);
        let alone = vec![user(jid(named), None, "in", None)];
        assert_eq!(answers(&[brazil], alone), std::slice::from_ref(&corrected));
        // The server may name the hidden id first.
        let hidden = vec![user(Some(Jid::lid("100000000000002")), jid(named), "in", Some(brazil))];
        assert_eq!(answers(&[brazil], hidden), [corrected]);
        for kind in ["out", "invalid"] {
            let gone = vec![
                user(jid(NUMBER), None, kind, Some(NUMBER)),
                user(None, None, kind, Some(brazil)),
            ];
            let expected = [NUMBER, brazil].map(|number| (number.to_owned(), Answer::NotThere));
            assert_eq!(answers(&[brazil, NUMBER], gone), expected);
        }
        // What is not understood, or about a number that nobody asked for, is no answer.
        let strange = vec![
            user(jid(NUMBER), None, "perhaps", Some(NUMBER)),
            user(jid("15550100003"), None, "out", Some("15550100003")),
        ];
        assert_eq!(answers(&[brazil, NUMBER], strange), []);
    }
}
