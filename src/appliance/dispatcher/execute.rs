//! Carries out what the outbox wants done, and tells it what the sessions say.

use std::sync::Arc;

use super::event::{self, Event};
use super::state::{Dispatcher, hold_files};
use crate::alert::{Recipient, SessionName};
use crate::appliance::clock;
use crate::outbox::{AlertRecord, Answer, Answered, Input, Output, Parcel, SendFailure, Transition, TransitionKind};
use crate::store::StoreError;
use crate::store::journal::Event as Told;
use crate::whatsapp::{Again, Command, Notice};

impl Dispatcher {
    /// Gives alerts to a fallback. It is told how that went whatever happens: the client has a deadline for all that
    /// it does.
    fn hand_over(&self, parcel: Parcel) {
        let (fallback_client, ended) = (Arc::clone(&self.fallback_client), self.ended.clone());
        let tallies = Arc::clone(&self.tallies);
        let handed = async move {
            let (to, key) = (parcel.to.clone(), parcel.key.clone());
            let delivered = fallback_client.deliver(&parcel).await;
            tallies.handed_over(&to, delivered.is_ok());
            let input = match delivered {
                Ok(()) => {
                    log::info!(
                        "fallback {to}: {} alert(s) of route {} handed over",
                        parcel.alerts.len(),
                        parcel.route
                    );
                    Input::HandedOver { to, key }
                }
                Err(failure) => {
                    log::warn!("fallback {to}: {}", failure.words);
                    Input::HandoverFailed { to, key, failure }
                }
            };
            let _ = ended.send(Event::HandedOver(Box::new(input))).await;
        };
        self.executor.spawn(handed).detach();
    }

    /// Fetches what the outbox wants done and does it, until it wants nothing more.
    pub(super) fn execute(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send {
                    session,
                    seqs: _,
                    message,
                    fresh,
                } => {
                    let message_id = message.id.clone();
                    let handle = self.sessions.get(&session);
                    if !handle.is_some_and(|handle| handle.try_command(Command::Send { message, fresh })) {
                        let failure = SendFailure::Path("the session takes no commands".to_owned());
                        let failed = Input::SendFailed { message_id, failure };
                        self.outbox.handle(clock::now(), failed);
                    }
                }
                Output::Mark { session, message } => {
                    let message_id = message.id.clone();
                    let (handle, fresh) = (self.sessions.get(&session), false);
                    if !handle.is_some_and(|handle| handle.try_command(Command::Send { message, fresh })) {
                        let failure = SendFailure::Path("the session takes no commands".to_owned());
                        let failed = Input::SendFailed { message_id, failure };
                        self.outbox.handle(clock::now(), failed);
                    }
                }
                Output::SendAgain { session, message, by } => {
                    if let Some(handle) = self.sessions.get(&session) {
                        // With too many commands before it, it is not sent: the device asks again.
                        handle.try_command(Command::SendAgain(Again { message, by }));
                    }
                }
                Output::Persist { record, happened, made } => {
                    warn_of_failures(&record, &happened);
                    hold_files(&self.blobs, &record);
                    self.proofs.look(&record, &happened);
                    self.tallies.alert(&record, &happened);
                    self.put_off.change(*record, happened, made);
                }
                Output::Forget { seq, key, happened } => {
                    self.blobs.release(seq);
                    self.tallies.forgotten(&happened);
                    self.put_off.forget(seq, key, happened);
                }
                Output::ForgetKey { seq } => self.put_off.forget_key(seq),
                Output::Due { seq } => self.tell_listeners(seq),
                Output::Changed { id, step } => self.waiting.changed(&self.outbox, &id, step),
                Output::HandOver(parcel) => self.hand_over(parcel),
                Output::FollowUp { route, alert, follows } => self.follow_up(route, *alert, follows),
                Output::Suspect { session } => {
                    log::info!("session {session}: alerts go out and no acks come back; recycling the line");
                    if let Some(handle) = self.sessions.get(&session) {
                        handle.try_command(Command::Suspect);
                    }
                }
            }
        }
    }

    pub(super) fn on_notice(&mut self, session: SessionName, notice: Notice) {
        let input = match notice {
            Notice::Up => {
                self.tell(Told::Online {
                    session: session.clone(),
                });
                if let Some(handle) = self.sessions.get(&session) {
                    let one_name = |recipient: &Recipient| handle.directory.one_name(recipient);
                    self.outbox.unify(clock::now(), &session, one_name);
                }
                Input::SessionUp(session)
            }
            Notice::Down => Input::SessionDown(session),
            Notice::Offline { cause } => {
                self.tallies.line_ended(&session, cause);
                let cause = cause.to_owned();
                return self.tell(Told::Offline { session, cause });
            }
            Notice::NeedsPerson { cause } => {
                let cause = cause.to_owned();
                return self.tell(Told::NeedsPerson { session, cause });
            }
            Notice::Paired => return self.tell(Told::Paired { session }),
            Notice::Asking { message_id } => Input::Asking { message_id },
            Notice::Incomplete { message_id, words } => Input::Incomplete { message_id, words },
            Notice::Written { message_id } => Input::Written { message_id },
            Notice::SendFailed { message_id, failure } => Input::SendFailed { message_id, failure },
            Notice::Uploaded { message_id } => Input::Uploaded { message_id },
            Notice::Heard { from } => Input::Heard { session, from },
            Notice::Answered { answer, done } => return self.on_answered(&answer, done),
            Notice::Ack { message_id, error } => Input::ServerAck {
                session,
                message_id,
                error,
            },
            Notice::AskedAgain { message_id, from, by } => Input::AskedAgain {
                session,
                message_id,
                from,
                by,
            },
            Notice::Receipt { message_id, kind, from } => Input::Receipt {
                session,
                message_id,
                kind,
                from,
            },
        };
        self.outbox.handle(clock::now(), input);
    }

    /// What nothing follows from needs no write: the message itself is recorded before it is acked.
    fn on_answered(&mut self, answer: &Answer, done: event::Answer<Result<(), StoreError>>) {
        let session = &answer.session;
        match self.outbox.answer(clock::now(), answer) {
            Answered::Acknowledged => return self.rounds.want(done),
            Answered::Unheeded => {
                log::info!("session {session}: an answer to an alert comes from somebody who may not acknowledge it");
                return self.rounds.want(done);
            }
            Answered::Ambiguous(open) => {
                log::info!("session {session}: a word that would acknowledge one alert, and {open} wait for that");
            }
            Answered::Nothing => {}
        }
        let _ = done.try_send(Ok(()));
    }
}

/// The sender of an alert has had its answer long before it fails or expires: the log is one of the places that tell a
/// person.
fn warn_of_failures(record: &AlertRecord, happened: &[Transition]) {
    let is_lost = |happened: &&Transition| matches!(happened.what, TransitionKind::Failed | TransitionKind::Expired);
    for failed in happened.iter().filter(is_lost) {
        let delivery = failed.delivery.and_then(|index| record.deliveries.get(index as usize));
        log::warn!(
            "alert {} on route {} {} for a recipient: {}",
            record.id,
            record.route,
            failed.what.name(),
            delivery.map_or("", |delivery| &delivery.note)
        );
    }
}
