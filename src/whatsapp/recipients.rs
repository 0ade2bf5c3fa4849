//! Before a message goes out: who is to read it, and whether they can.
//!
//! The library encrypts for whomever it has a key of and sends the stanza anyway, if need be to our own phone alone;
//! the server acks that, and nobody else has the message. So the devices are listed and the missing keys are asked for
//! here, before the send, and without a device of the recipient that can read it nothing is sent at all.
//!
//! The library also asks for the keys of a group in one question, under the locks of every device in it, our own
//! phone's among them, so that all other sends wait for the answer. Here they are asked for in batches and without a
//! lock, and what was answered stays when the rest was not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use smol::{Executor, Task};
use wacore::iq::usync::LidQuerySpec;
use wacore::libsignal::store::sender_key_name::SenderKeyName;
use wacore::store::traits::{ProtocolStore as _, SignalStore as _};
use wacore::types::jid::JidExt as _;
use wacore::types::message::AddressingMode;
use wacore_binary::{Jid, JidExt as _};
use whatsapp_rust::lid_pn_cache::LearningSource;
use whatsapp_rust::{Client, ClientError, IqError, SendError, SignalError};

use crate::credentials::{Credentials, LeavingOut};

/// Devices whose keys one question asks for: as many as the library would split a longer list into.
const KEYS_AT_ONCE: usize = 50;

/// Users whose devices one question asks for.
const USERS_AT_ONCE: usize = 256;

/// Questions under way at once: a server that takes its time over each is waited for once for a group of 800. The
/// library asks for all of that in one question.
const QUESTIONS_AT_ONCE: usize = 16;

/// Times that a question which got no list is asked again in halves: enough to find two devices in a batch, and an end
/// where the server gives nobody's keys.
const SPLITS_MAX: usize = 16;

/// How long a message that somebody can read already waits for the keys of others.
const KEYS_PATIENCE: Duration = Duration::from_secs(10);

/// A question for the keys of some devices that is under way, and them.
type Question = Task<(Vec<Jid>, Result<(), SignalError>)>;

/// What a recipient is asked about with.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) client: Arc<Client>,
    pub(super) credentials: Credentials,
    pub(super) executor: Arc<Executor<'static>>,
    /// Told when the server has to be asked, and with every answer.
    pub(super) progress: Arc<dyn Fn() + Send + Sync>,
}

/// The recipient can be written to. To be held until the send is over.
pub(super) struct Prepared {
    _leaving_out: Option<LeavingOut>,
}

/// Our own account, under both names, with this device's number.
#[derive(Clone)]
pub(super) struct Own {
    pn: Jid,
    lid: Option<Jid>,
}

impl Own {
    pub(super) fn of(client: &Client) -> Result<Self, SendError> {
        let pn = client.pn().ok_or(SendError::NotLoggedIn)?;
        let lid = client.lid();
        Ok(Self { pn, lid })
    }

    /// Whether this is any device of our account, or the account itself.
    pub(super) fn is_account(&self, jid: &Jid) -> bool {
        jid.is_same_user_as(&self.pn) || self.lid.as_ref().is_some_and(|lid| jid.is_same_user_as(lid))
    }

    fn is_this_device(&self, jid: &Jid) -> bool {
        self.is_account(jid) && jid.device == self.pn.device
    }

    fn in_group(&self, mode: AddressingMode) -> &Jid {
        match mode {
            AddressingMode::Lid => self.lid.as_ref().unwrap_or(&self.pn),
            AddressingMode::Pn => &self.pn,
        }
    }
}

/// The devices that a message is for, other than this one.
pub(super) struct Audience {
    pub(super) devices: Vec<Jid>,
    /// Our own devices count as readers: the chat with ourselves, and a group in which nobody else is.
    own_counts: bool,
    group: Option<Group>,
}

struct Group {
    jid: Jid,
    own: Jid,
}

/// Devices for which no key could be had, and what the server said.
#[derive(Default)]
struct Lacking {
    devices: HashSet<Jid>,
    why: Option<SendError>,
}

impl Asking {
    /// Sees to it that a message to `to` can be read there. `afresh` asks the server again who the devices are.
    ///
    /// # Errors
    /// No device of the recipient could be given it, or the server did not answer. Nothing was sent.
    pub(super) async fn prepare(&self, to: &Jid, afresh: bool) -> Result<Prepared, SendError> {
        let own = Own::of(&self.client)?;
        let audience = self.audience(to, &own, afresh).await?;
        let (needs, has_key) = match &audience.group {
            Some(group) => self.without_sender_key(group, &own, &audience.devices).await?,
            None => (audience.devices.clone(), false),
        };
        let counts = |device: &&Jid| audience.own_counts || !own.is_account(device);
        // Who can read it already does not wait long for those who perhaps never can.
        let missing: HashSet<Jid> = self.without_session(needs).await.into_iter().collect();
        let somebody = audience
            .devices
            .iter()
            .filter(counts)
            .any(|device| !missing.contains(device));
        let patience = somebody.then_some(KEYS_PATIENCE);
        let mut lacking = self.ensure_keys(missing.into_iter().collect(), patience).await?;
        let mut readers = audience.devices.iter().filter(counts);
        if !readers.any(|device| !lacking.devices.contains(device)) {
            let count = audience.devices.iter().filter(counts).count();
            return Err(unreachable(count, audience.group.is_some(), lacking.why.take()));
        }
        if lacking.devices.is_empty() {
            return Ok(Prepared { _leaving_out: None });
        }
        log::debug!(
            "{} device(s) are left out: no key of theirs could be had",
            lacking.devices.len()
        );
        if let Some(group) = audience.group.as_ref().filter(|_| !has_key) {
            self.make_sender_key(group).await?;
        }
        let group = audience.group.as_ref().map(|group| &group.jid);
        let hidden = self.by_both_names(lacking.devices).await;
        Ok(Prepared {
            _leaving_out: Some(self.credentials.leave_out(group, hidden)),
        })
    }

    /// Who is to read what is sent to `to`.
    pub(super) async fn audience(&self, to: &Jid, own: &Own, afresh: bool) -> Result<Audience, SendError> {
        if to.is_group() {
            return self.audience_of_group(to, own, afresh).await;
        }
        self.learn_hidden_id(to).await;
        let own_counts = own.is_account(to);
        let account = own.pn.to_non_ad();
        let users: Vec<Jid> = match own_counts {
            true => vec![to.to_non_ad()],
            false => vec![to.to_non_ad(), account],
        };
        let mut devices = self.devices_of(users, afresh).await?;
        devices.retain(|device| !own.is_this_device(device) && !device.is_hosted());
        Ok(Audience {
            devices,
            own_counts,
            group: None,
        })
    }

    /// The library asks for it in the middle of a send, and moves the sessions that it finds by number then. Without an
    /// answer the number will do.
    async fn learn_hidden_id(&self, to: &Jid) {
        if !to.is_pn() || !matches!(self.client.get_lid_pn_entry(to).await, Ok(None)) {
            return;
        }
        let question = LidQuerySpec::new(vec![to.to_non_ad()], self.client.generate_message_id());
        let Ok(answer) = self.client.execute(question).await else {
            return;
        };
        for mapping in &answer.lid_mappings {
            let source = LearningSource::Usync;
            let learnt = self
                .client
                .add_lid_pn_mapping(&mapping.lid, &mapping.phone_number, source);
            if let Err(error) = learnt.await {
                log::debug!("a hidden id was not kept: {error}");
            }
        }
    }

    async fn audience_of_group(&self, to: &Jid, own: &Own, afresh: bool) -> Result<Audience, SendError> {
        let freshness = match afresh {
            true => whatsapp_rust::Freshness::Refresh,
            false => whatsapp_rust::Freshness::CachePreferred,
        };
        let info = self.client.groups().query_info_with_freshness(to, freshness).await?;
        let by_lid = info.addressing_mode == AddressingMode::Lid;
        let mut users: Vec<Jid> = Vec::with_capacity(info.participants.len() + 1);
        for participant in &info.participants {
            // As the library asks: by number where it is known.
            let number = info
                .phone_jid_for_lid_user(&participant.user)
                .filter(|_| participant.is_lid());
            users.push(number.unwrap_or(participant).to_non_ad());
        }
        if !users.iter().any(|user| own.is_account(user)) {
            users.push(own.pn.to_non_ad());
        }
        let own_counts = info.participants.iter().all(|participant| own.is_account(participant));
        let mut devices = self.devices_of(users, afresh).await?;
        if by_lid {
            let named = devices.into_iter().map(|device| info.phone_device_jid_into_lid(device));
            devices = named.collect();
        }
        devices.retain(|device| !own.is_this_device(device) && !device.is_hosted());
        let group = Group {
            jid: to.clone(),
            own: own.in_group(info.addressing_mode).clone(),
        };
        Ok(Audience {
            devices,
            own_counts,
            group: Some(group),
        })
    }

    async fn devices_of(&self, users: Vec<Jid>, afresh: bool) -> Result<Vec<Jid>, SendError> {
        if afresh {
            for user in self.by_both_names(users.iter().cloned().collect()).await {
                self.credentials.delete_devices(&user.user).await.map_err(internal)?;
            }
        }
        let known =
            |client: Arc<Client>, users: Vec<Jid>| async move { client.signal().get_user_devices(&users).await };
        let mut batches: VecDeque<Vec<Jid>> = users.chunks(USERS_AT_ONCE).map(<[Jid]>::to_vec).collect();
        let mut asked: VecDeque<Task<Result<Vec<Jid>, SignalError>>> = VecDeque::new();
        let mut devices = Vec::with_capacity(users.len() * 2);
        let mut seen = HashSet::with_capacity(users.len() * 2);
        loop {
            while asked.len() < QUESTIONS_AT_ONCE
                && let Some(batch) = batches.pop_front()
            {
                asked.push_back(self.executor.spawn(known(Arc::clone(&self.client), batch)));
            }
            let Some(answer) = asked.pop_front() else {
                return Ok(devices);
            };
            let found = answer.await.map_err(send_error)?;
            devices.extend(found.into_iter().filter(|device| seen.insert(device.clone())));
            if !asked.is_empty() {
                (self.progress)();
            }
        }
    }

    /// Which devices of a group have not been given our sender key, and whether there is one at all.
    async fn without_sender_key(
        &self,
        group: &Group,
        own: &Own,
        devices: &[Jid],
    ) -> Result<(Vec<Jid>, bool), SendError> {
        let name = group.jid.to_string();
        let key = SenderKeyName::from_parts(&name, group.own.to_protocol_address().as_str());
        let has_key = self
            .credentials
            .get_sender_key(key.cache_key())
            .await
            .map_err(internal)?
            .is_some();
        if !has_key {
            return Ok((devices.to_vec(), false));
        }
        let rows = self.credentials.get_sender_key_devices(&name).await.map_err(internal)?;
        let given: HashSet<String> = rows
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(device, _)| device)
            .collect();
        // The library gives it to our own devices with every message, and to all of a user's when the phone has lost
        // it.
        let lacks = |device: &&Jid| {
            own.is_account(device)
                || !given.contains(&device.to_string())
                || !given.contains(&device.with_device(0).to_string())
        };
        Ok((devices.iter().filter(lacks).cloned().collect(), true))
    }

    /// Sessions with all of `devices`, as far as keys for them can be had.
    /// With `patience`, no longer than that for one answer.
    async fn ensure_keys(&self, needs: Vec<Jid>, patience: Option<Duration>) -> Result<Lacking, SendError> {
        if needs.is_empty() {
            return Ok(Lacking::default());
        }
        (self.progress)();
        let ask = |client: Arc<Client>, batch: Vec<Jid>, patience: Option<Duration>| async move {
            let late = async {
                match patience {
                    Some(patience) => drop(Timer::after(patience).await),
                    None => future::pending().await,
                }
                Err(SignalError::Internal(IqError::Timeout.into()))
            };
            let answer = future::or(async { client.signal().assert_sessions(&batch).await }, late).await;
            (batch, answer)
        };
        let mut lacking = Lacking::default();
        let whole = needs.chunks(KEYS_AT_ONCE).map(|batch| (batch.to_vec(), patience));
        let mut batches: VecDeque<(Vec<Jid>, Option<Duration>)> = whole.collect();
        let mut asked: VecDeque<Question> = VecDeque::new();
        let mut splits_left = SPLITS_MAX;
        loop {
            while asked.len() < QUESTIONS_AT_ONCE
                && let Some((batch, patience)) = batches.pop_front()
            {
                asked.push_back(self.executor.spawn(ask(Arc::clone(&self.client), batch, patience)));
            }
            let Some(question) = asked.pop_front() else { break };
            let (batch, answer) = question.await;
            (self.progress)();
            match answer.map_err(send_error) {
                Ok(()) => {}
                Err(error) if !is_answer(&error) => return Err(error),
                // One device can cost a whole batch: so ask in halves which it is.
                Err(error) if batch.len() > 1 && splits_left > 0 && !is_rate_limit(&error) => {
                    splits_left -= 1;
                    let (left, right) = batch.split_at(batch.len() / 2);
                    batches.push_back((left.to_vec(), Some(KEYS_PATIENCE)));
                    batches.push_back((right.to_vec(), Some(KEYS_PATIENCE)));
                }
                Err(error) => drop(lacking.why.get_or_insert(error)),
            }
        }
        lacking.devices = self.without_session(needs).await.into_iter().collect();
        Ok(lacking)
    }

    async fn without_session(&self, devices: Vec<Jid>) -> Vec<Jid> {
        let mut without = Vec::new();
        for device in devices {
            if !matches!(self.client.signal().validate_session(&device).await, Ok(true)) {
                without.push(device);
            }
        }
        without
    }

    /// A group without a sender key would make the library ask for everybody's keys by itself, those that are left out
    /// included. What is encrypted here is thrown away.
    async fn make_sender_key(&self, group: &Group) -> Result<(), SendError> {
        let name = group.jid.to_string();
        self.credentials
            .clear_sender_key_devices(&name)
            .await
            .map_err(internal)?;
        let made = self.client.signal().encrypt_group_message(&group.jid, b"").await;
        made.map(drop).map_err(send_error)
    }

    /// Each by its number and by its hidden id, as far as both are known.
    async fn by_both_names(&self, jids: HashSet<Jid>) -> Vec<Jid> {
        let mut names = Vec::with_capacity(jids.len() * 2);
        for jid in jids {
            if let Ok(Some(entry)) = self.client.get_lid_pn_entry(&jid).await {
                names.push(match jid.is_lid() {
                    true => Jid::pn_device(entry.phone_number.as_ref(), jid.device),
                    false => Jid::lid_device(entry.lid.as_ref(), jid.device),
                });
            }
            names.push(jid);
        }
        names
    }

    /// Those of `audience` that a message that went to `reached` cannot be read on. Of our own devices only where they
    /// are the recipient; the others see the next message.
    pub(super) async fn not_reached(
        &self,
        audience: &Audience,
        own: &Own,
        reached: &[Jid],
    ) -> Result<Vec<Jid>, SendError> {
        let keyless = match &audience.group {
            Some(group) => self.without_sender_key(group, own, &audience.devices).await?.0,
            None => audience.devices.clone(),
        };
        let reached = self.by_both_names(reached.iter().cloned().collect()).await;
        let missing = keyless
            .into_iter()
            .filter(|device| audience.own_counts || !own.is_account(device))
            .filter(|device| !reached.contains(device));
        Ok(missing.collect())
    }

    /// Those of `devices` whose keys cannot be had.
    pub(super) async fn lack_keys(&self, devices: Vec<Jid>) -> Result<HashSet<Jid>, SendError> {
        Ok(self.ensure_keys(devices, Some(KEYS_PATIENCE)).await?.devices)
    }

    /// Sessions that give nothing are dropped, so that the next attempt makes new ones.
    pub(super) async fn forget_sessions(&self, to: &Jid) {
        let Ok(own) = Own::of(&self.client) else { return };
        if let Ok(audience) = self.audience(to, &own, false).await {
            let theirs: Vec<Jid> = audience
                .devices
                .into_iter()
                .filter(|device| !own.is_account(device))
                .collect();
            let _ = self.client.signal().delete_sessions(&theirs).await;
        }
    }
}

/// The server asks us to go slower.
const RATE_LIMITED: u16 = 429;

fn is_rate_limit(error: &SendError) -> bool {
    matches!(error, SendError::Iq(IqError::ServerError { code: RATE_LIMITED, .. }))
}

/// The server said something, or took too long over it; else the line is gone and no further question will be answered.
fn is_answer(error: &SendError) -> bool {
    match error {
        SendError::Iq(error) => matches!(
            error,
            IqError::ServerError { .. }
                | IqError::Timeout
                | IqError::ParseError(_)
                | IqError::UnexpectedResponseType { .. }
        ),
        SendError::Internal(_) => true,
        _ => false,
    }
}

/// Words for a message that nobody could be given. What the server said about the keys is no word about the recipient:
/// only its wish for less is passed on as it is.
fn unreachable(devices: usize, group: bool, why: Option<SendError>) -> SendError {
    let whose = if group {
        "any member of the group"
    } else {
        "the recipient"
    };
    match why {
        Some(error) if is_rate_limit(&error) => error,
        Some(error) => SendError::Internal(anyhow::anyhow!(
            "not sent: the keys of {whose} could not be had: {error}"
        )),
        None if devices == 0 => SendError::Internal(anyhow::anyhow!("not sent: WhatsApp names no device of {whose}")),
        None => SendError::Internal(anyhow::anyhow!(
            "not sent: WhatsApp has no usable key for any of the {devices} device(s) of {whose}"
        )),
    }
}

fn internal(error: wacore::store::error::StoreError) -> SendError {
    SendError::Internal(error.into())
}

/// As the library's own sends report it, so that codes are judged in one place.
fn send_error(error: SignalError) -> SendError {
    let error = match error {
        SignalError::Internal(error) => error,
        other => return SendError::Internal(other.into()),
    };
    let error = match error.downcast::<IqError>() {
        Ok(error) => return SendError::Iq(error),
        Err(error) => error,
    };
    match error.downcast::<ClientError>() {
        Ok(error) => error.into(),
        Err(error) => SendError::Internal(error),
    }
}
