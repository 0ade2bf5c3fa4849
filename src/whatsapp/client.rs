//! The library's client, built from our parts, and what can be seen and done to its line from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use smol::Executor;
use wacore::store::DevicePropsOverride;
use wacore::store::cache::CacheStore;
use waproto::whatsapp::device_props::PlatformType;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::{CacheConfig, Client, MsgSecretPolicy, RawNodeLease};

use super::events::{EventMapper, LineEvent};
use super::handle::Notice;
use super::inbound::InboundRecorder;
use super::parts::ClientParts;
use super::presence::PresenceSuppression;
use super::runtime::SmolRuntime;
use super::transport::LineFactory;
use super::version::WebVersion;
use crate::alert::SessionName;
use crate::line::Cause;
use crate::net::{ConnectionStats, DialError, Ended};
use crate::util::within;

/// The library saves what changed on the device record this often; what must not wait is flushed at once.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// How long the library may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// A client that can open one line after the other.
pub(super) struct LiveClient {
    pub(super) client: Arc<Client>,
    pub(super) events: async_channel::Receiver<LineEvent>,
    pub(super) mapper: Arc<EventMapper>,
    presence: Arc<PresenceSuppression>,
    factory: Arc<LineFactory>,
    /// Frames that were missing already when the line began.
    frames_missing_before: i64,
    /// What passed on the line before the attempt that is under way.
    stats_before: Option<Arc<ConnectionStats>>,
    /// Raw stanzas are forwarded while this lives: causes and proofs of life are read from them.
    _stanzas: RawNodeLease,
}

impl LiveClient {
    /// `notices` are the session's.
    pub(super) async fn build(
        parts: &ClientParts,
        notices: async_channel::Sender<(SessionName, Notice)>,
    ) -> anyhow::Result<Self> {
        if parts.credentials.renew_after_a_copy().await? {
            log::warn!(
                "session {}: a copy of its state was in use; its encryption sessions are made anew",
                parts.plan.name
            );
        }
        let manager = Arc::new(PersistenceManager::new(Arc::new(parts.credentials.clone())).await?);
        let presence = Arc::new(PresenceSuppression::default());
        if let Some(name) = parts.kept_name() {
            presence.remember(&name);
        }
        presence.watch(&manager);
        let WebVersion(primary, secondary, tertiary) = parts.version().await;
        let (mapper, events) = EventMapper::new(Arc::clone(&presence));
        let upgrades = Arc::clone(&mapper);
        let factory = LineFactory::new(
            Arc::clone(&parts.executor),
            parts.plan.endpoint.clone(),
            parts.plan.proxy.clone(),
            parts.schedule.clone(),
        )
        .on_upgrade(move |at| upgrades.emit(LineEvent::Upgraded { at }));
        let factory = Arc::new(factory);
        manager
            .process_command(whatsapp_rust::store::commands::DeviceCommand::SetDeviceProps(shown_as()))
            .await;
        let recorder = InboundRecorder {
            store: parts.store.clone(),
            session: parts.plan.name.clone(),
            timers: Arc::clone(&parts.timers),
            mapper: Arc::clone(&mapper),
            directory: Arc::clone(&parts.directory),
            notices,
        };
        let client = Client::builder()
            .with_runtime(SmolRuntime::new(Arc::clone(&parts.executor)))
            .with_persistence_manager(manager)
            .with_transport_factory_arc(factory.clone())
            .with_http_client_arc(Arc::clone(&parts.http))
            .with_version_override((primary, secondary, tertiary))
            .with_cache_config(caches())
            .with_inbound_durability_hook(recorder)
            // Alerts go out, a few replies come in: years of chat history are of no use here.
            .with_skip_history_sync(true)
            .with_background_saver_interval(SAVE_EVERY)
            .build()
            .await?
            .into_client();
        client.subscribe_handler(mapper.clone()).detach();
        let stanzas = client.acquire_raw_node_forwarding();
        Ok(Self {
            client,
            events,
            mapper,
            presence,
            factory,
            frames_missing_before: 0,
            stats_before: None,
            _stanzas: stanzas,
        })
    }

    /// To be called before the client's `run`.
    pub(super) async fn before_line(&mut self) {
        self.mapper.next_line();
        self.presence.restore().await;
        self.stats_before = self.factory.stats();
        self.frames_missing_before = self.frames_ahead();
        // The supervisor is ours; the library clears it itself on some ends and never sets it back.
        self.client.enable_auto_reconnect.store(false, Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> String {
        self.presence.name()
    }

    /// Whether there was a line to break. While one is only being dialled, nothing tells the library to stop.
    pub(super) fn break_line(&self, why: &str) -> bool {
        let Some(line) = self.factory.line().filter(|line| line.stats().ended().is_none()) else {
            return false;
        };
        line.cut(why);
        true
    }

    pub(super) fn ping_websocket(&self, executor: &Executor<'static>) {
        if let Some(line) = self.factory.line() {
            executor
                .spawn(async move {
                    // A failure ends the line, which is noticed there.
                    let _ = line.ping(b"tautline").await;
                })
                .detach();
        }
    }

    /// When each layer last proved that it lives: any byte, a pong, a stanza.
    pub(super) fn proofs(&self) -> (Option<Instant>, Option<Instant>, Option<Instant>) {
        let stats = self.factory.stats().map(|stats| stats.snapshot());
        let (tcp, websocket) = stats.map_or((None, None), |state| (state.last_read, state.last_pong));
        (tcp, websocket, self.mapper.last_stanza())
    }

    /// Frames of this line that have come and are no stanzas yet.
    pub(super) fn undecoded(&self) -> u64 {
        u64::try_from(self.frames_ahead() - self.frames_missing_before).unwrap_or(0)
    }

    /// Frames that came over those that became stanzas, since the client was made.
    fn frames_ahead(&self) -> i64 {
        let frames = i64::try_from(self.client.stats().frames_received).unwrap_or(i64::MAX);
        frames.saturating_sub(i64::try_from(self.mapper.stanzas()).unwrap_or(i64::MAX))
    }

    /// When the line that is up now was upgraded.
    pub(super) fn upgraded_at(&self) -> Option<Instant> {
        // A send that hangs may still hold the line before.
        let state = self.factory.line()?.stats().snapshot();
        state.upgraded_at.filter(|_| state.ended.is_none())
    }

    /// When something came that only a session that works gives.
    pub(super) fn last_content(&self) -> Option<Instant> {
        self.mapper.last_content()
    }

    /// Bytes on the wire since the attempt began, in and out. None of it when it did not get as far as a line.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let before = |stats: &Arc<ConnectionStats>| {
            self.stats_before
                .as_ref()
                .is_some_and(|before| Arc::ptr_eq(before, stats))
        };
        let state = self
            .factory
            .stats()
            .filter(|stats| !before(stats))
            .map(|stats| stats.snapshot());
        state.map_or((0, 0), |state| (state.bytes_in, state.bytes_out))
    }

    /// What the sockets are set to, and what the kernel refused.
    pub(super) fn tuning(&self) -> (String, Vec<String>) {
        self.factory.stats().map_or_else(Default::default, |stats| {
            (stats.tuning.to_string(), stats.tuning.refused.clone())
        })
    }

    /// Why the last line is no more, as far as the sockets know.
    pub(super) fn how_it_ended(&self, was_up: bool) -> Option<(Cause, String)> {
        if let Some(error) = self.factory.take_last_error() {
            return Some((cause_of_dial(&error), error.to_string()));
        }
        let state = self.factory.stats()?.snapshot();
        let (_, ended) = state.ended?;
        // The library hangs up also when it has waited too long.
        if ended == Ended::Hangup && state.first_unanswered_write.is_some() {
            let cause = if was_up {
                Cause::PongTimeout
            } else {
                Cause::LoginTimeout
            };
            return Some((cause, "no answer".to_owned()));
        }
        Some((cause_of_end(&ended), ended.to_string()))
    }

    /// For good: the library's client cannot be used again after its goodbye.
    pub(super) async fn end(self) {
        self.break_line("the client ends");
        if within(GOODBYE, self.client.disconnect()).await.is_none() {
            log::debug!("the library did not say goodbye in time");
        }
    }
}

/// Who has which device, and which of them our sender key, is read from the store at every send: what
/// `Credentials::leave_out` hides there, a copy in memory would show. The secret of each message, which the library
/// would keep for a month to read what refers to it (votes, reactions in communities), is kept by nobody: nothing here
/// reads that, and a row for each alert sent would be the most that the state holds. What earlier versions kept goes at
/// the end of its month.
fn caches() -> CacheConfig {
    let mut caches = CacheConfig::default();
    caches.sender_key_devices_cache.capacity = 0;
    caches.msg_secret_policy = MsgSecretPolicy::Disabled;
    caches.cache_stores.device_registry_cache = Some(Arc::new(NoCache));
    caches
}

/// Keeps nothing.
struct NoCache;

#[async_trait]
impl CacheStore for NoCache {
    async fn get(&self, _namespace: &str, _key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn set(&self, _namespace: &str, _key: &str, _value: &[u8], _ttl: Option<Duration>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn delete(&self, _namespace: &str, _key: &str) -> anyhow::Result<()> {
        Ok(())
    }

    async fn clear(&self, _namespace: &str) -> anyhow::Result<()> {
        Ok(())
    }
}

/// How the phone lists this device under "linked devices".
fn shown_as() -> DevicePropsOverride {
    DevicePropsOverride::new()
        .with_os("Tautline")
        .with_platform_type(PlatformType::DESKTOP)
}

fn cause_of_dial(error: &DialError) -> Cause {
    use crate::net::Step;
    if error.is_clock() {
        return Cause::ClockSuspect;
    }
    if let DialError::Forbidden { .. } = error {
        return Cause::Forbidden;
    }
    if let DialError::Status { status, .. } = error {
        return match status {
            429 => Cause::RateLimited,
            500..=599 => Cause::ServerTrouble(*status),
            _ => Cause::UpgradeFailed,
        };
    }
    match error.step() {
        Step::Resolve => Cause::Unresolved,
        Step::Dial => Cause::Unreachable,
        Step::Proxy => Cause::ProxyFailed,
        Step::Tls => Cause::TlsFailed,
        Step::Upgrade => Cause::UpgradeFailed,
    }
}

fn cause_of_end(ended: &Ended) -> Cause {
    match ended {
        Ended::ServerClose {
            code: None | Some(1000 | 1001),
            ..
        }
        | Ended::Eof => Cause::Recycled,
        Ended::ServerClose { code: Some(code), .. } => Cause::Closed(*code),
        Ended::Garbage(_) => Cause::OutOfStep,
        Ended::Read(_) | Ended::Write(_) => Cause::PathBroken,
        Ended::WriteDeadline(_) => Cause::WriteTimeout,
        // The library hangs up when it cannot make sense of what it decrypted, or of a login.
        Ended::Hangup => Cause::OutOfStep,
        Ended::Local(_) => Cause::Requested,
    }
}
