//! The stock whatsapp-rust client on a small smol runtime: what the lab's own tests drive it with.
//!
//! Everything is the library's own, reconnecting included; only what it asks an embedder for is written here. Events
//! are kept in a list that tests wait on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use async_tungstenite::tungstenite::Message;
use bytes::Bytes;
use futures_lite::StreamExt as _;
use smol::{Executor, Timer};
use wacore::net::{
    DisconnectReason, HttpClient, HttpRequest, HttpResponse, Transport, TransportEvent, TransportFactory,
};
use wacore::pair_code::PairCodeOptions;
use wacore::runtime::{AbortHandle, Runtime};
use wacore::store::InMemoryBackend;
use waproto::whatsapp as wa;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::prelude::{Event, EventHandler, MessageExt as _, SendOptions};
use whatsapp_rust::{Client, Jid};

/// Events kept; a test that makes more is a test to split.
const EVENTS_MAX: usize = 10_000;

/// A running client. Dropping it stops it as a crash would: nothing is flushed, nobody is told.
pub struct Stock {
    client: Arc<Client>,
    happened: Arc<Transition>,
    ex: Arc<Executor<'static>>,
    stop: Option<async_channel::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Transition {
    events: Mutex<Vec<Arc<Event>>>,
    more: Condvar,
}

impl Stock {
    /// Starts a client on `endpoint` with the state in `backend`. Asks for a pair code if `number` is given.
    pub fn start(endpoint: &str, backend: &Arc<InMemoryBackend>, number: Option<&str>) -> Self {
        let ex = Arc::new(Executor::new());
        let happened = Arc::new(Transition::default());
        let mut builder = Bot::builder()
            .with_backend_arc(backend.clone())
            .with_transport_factory(Sockets {
                endpoint: endpoint.into(),
                ex: Arc::downgrade(&ex),
            })
            .with_http_client(NoHttp)
            .with_runtime(OnSmol(Arc::downgrade(&ex)))
            .with_version((2, 3000, 1_035_194_821))
            .with_wanted_pre_key_count(30)
            .with_event_handler(Keep(happened.clone()));
        if let Some(number) = number {
            builder = builder.with_pair_code(PairCodeOptions {
                phone_number: number.into(),
                ..Default::default()
            });
        }
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let (built, client) = std::sync::mpsc::channel();
        let inside = ex.clone();
        let thread = std::thread::spawn(move || {
            smol::block_on(inside.run(async {
                let bot = builder.build().await.expect("everything a bot needs is there");
                built.send(bot.client()).expect("the test waits for it");
                let handle = bot.spawn();
                let _ = stopped.recv().await;
                drop(handle);
            }));
        });
        let client = client.recv().expect("the client was built");
        Self {
            client,
            happened,
            ex,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Waits until an event, old or new, gives something.
    ///
    /// # Panics
    /// None does within `timeout`.
    pub fn wait<T>(&self, what: &str, timeout: Duration, found: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + timeout;
        let mut events = self.happened.events.lock().expect("no panic under this lock");
        loop {
            if let Some(value) = events.iter().find_map(|event| found(event)) {
                return value;
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{what}: not within {timeout:?}; there were {events:?}"));
            events = self
                .happened
                .more
                .wait_timeout(events, left)
                .expect("no panic under this lock")
                .0;
        }
    }

    /// The first QR code shown.
    pub fn qr(&self, timeout: Duration) -> String {
        self.wait("a QR code", timeout, |event| match event {
            Event::PairingQrCode(qr) => Some(qr.code.clone()),
            _ => None,
        })
    }

    pub fn pair_code(&self, timeout: Duration) -> String {
        self.wait("a pair code", timeout, |event| match event {
            Event::PairingCode(code) => Some(code.code.clone()),
            _ => None,
        })
    }

    pub fn wait_connected(&self, timeout: Duration) {
        self.wait("connected", timeout, |event| {
            matches!(event, Event::Connected(_)).then_some(())
        });
    }

    /// Waits for a text and returns the id and the chat of the message that brought it.
    pub fn wait_text(&self, text: &str, timeout: Duration) -> (String, String) {
        self.wait(text, timeout, |event| {
            event.messages().find_map(|m| {
                let found = m.message.text_content() == Some(text);
                found.then(|| (m.info.id.clone(), m.info.source.chat.to_string()))
            })
        })
    }

    /// How many messages with this text have come.
    pub fn count_text(&self, text: &str) -> usize {
        let events = self.happened.events.lock().expect("no panic under this lock");
        events
            .iter()
            .flat_map(|e| e.messages())
            .filter(|m| m.message.text_content() == Some(text))
            .count()
    }

    /// Asks the server for a sign of life. False when none comes within `timeout`.
    pub fn ping(&self, timeout: Duration) -> bool {
        let asked = self
            .client
            .execute(wacore::iq::keepalive::KeepaliveSpec::with_timeout(timeout));
        smol::block_on(self.ex.run(asked)).is_ok()
    }

    /// Sends a text to a number or a group under the id given.
    pub fn send(&self, to: &str, id: &str, text: &str) -> Result<(), String> {
        let to: Jid = if to.contains('@') {
            to.parse().expect("an address")
        } else {
            Jid::pn(to)
        };
        let message = wa::Message {
            conversation: Some(text.into()),
            ..Default::default()
        };
        let options = SendOptions::default().with_message_id(id);
        let sent = self.client.send_message_with_options(to, message, options);
        smol::block_on(self.ex.run(sent)).map(drop).map_err(|e| e.to_string())
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Keep(Arc<Transition>);

impl EventHandler for Keep {
    fn handle_event(&self, event: Arc<Event>) {
        let mut events = self.0.events.lock().expect("no panic under this lock");
        if events.len() < EVENTS_MAX {
            events.push(event);
        }
        self.0.more.notify_all();
    }
}

/// Weak, here and in [`Sockets`]: the executor's tasks own the client, so the client must not own the executor.
struct OnSmol(Weak<Executor<'static>>);

#[async_trait]
impl Runtime for OnSmol {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> AbortHandle {
        /// Detaches its task unless it was cancelled: the handle's `detach` drops the closure without a call.
        struct Guard(Option<smol::Task<()>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                if let Some(task) = self.0.take() {
                    task.detach();
                }
            }
        }
        let Some(ex) = self.0.upgrade() else {
            return AbortHandle::noop();
        };
        let mut guard = Guard(Some(ex.spawn(future)));
        AbortHandle::new(move || drop(guard.0.take()))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            Timer::after(duration).await;
        })
    }

    fn spawn_blocking(&self, f: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(smol::unblock(f))
    }

    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        Some(Box::pin(futures_lite::future::yield_now()))
    }

    fn yield_frequency(&self) -> u32 {
        1
    }
}

/// Loopback needs no media.
struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn execute(&self, _: HttpRequest) -> anyhow::Result<HttpResponse> {
        Err(anyhow::anyhow!("the lab has no HTTP"))
    }
}

struct Sockets {
    endpoint: String,
    ex: Weak<Executor<'static>>,
}

#[async_trait]
impl TransportFactory for Sockets {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let addr = self
            .endpoint
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap_or_default();
        let tcp = smol::net::TcpStream::connect(addr).await?;
        let (ws, _) = async_tungstenite::client_async(&self.endpoint, tcp).await?;
        let (mut writer, mut reader) = ws.split();
        let (out, outs) = async_channel::bounded::<Bytes>(64);
        let (events, received) = async_channel::bounded(64);
        events.send(TransportEvent::Connected).await?;
        let write = async move {
            while let Ok(bytes) = outs.recv().await {
                if writer.send(Message::Binary(bytes)).await.is_err() {
                    return;
                }
            }
        };
        let read = async move {
            let reason = loop {
                match reader.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        if events.send(TransportEvent::DataReceived(bytes)).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map(|f| f.code.into());
                        break DisconnectReason::ServerClose {
                            code,
                            reason: String::new(),
                        };
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break DisconnectReason::ReadError(error.to_string()),
                    None => break DisconnectReason::StreamEnded,
                }
            };
            let _ = events.send(TransportEvent::Disconnected(reason)).await;
        };
        // Both halves end together: when the sender is closed, the socket goes.
        let ex = self
            .ex
            .upgrade()
            .ok_or_else(|| anyhow::anyhow!("the client is being stopped"))?;
        ex.spawn(futures_lite::future::or(write, read)).detach();
        Ok((Arc::new(Wire(out)), received))
    }
}

struct Wire(async_channel::Sender<Bytes>);

#[async_trait]
impl Transport for Wire {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        Ok(self.0.send(data).await?)
    }

    async fn disconnect(&self) {
        self.0.close();
    }
}
