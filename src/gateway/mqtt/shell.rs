//! The loop that drives the client: one connection, the messages that are on their way to disk, one timer.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::dial::{Dialled, dial};
use super::inbound::{Became, Taken, Taker};
use super::outbound::Reporter;
use super::view::MqttView;
use crate::config::{MqttPlan, NodeName};
use crate::gateway::relay::Relay;
use crate::line::{RedialSchedule, Schedule};
use crate::mqtt::{Cause, Client, Delivered, Delivery, Input, Message, Output, Settings, Subscription, topic};
use crate::net::{Stream, Trial};
use crate::util::within;

/// Pauses between connections: a broker that is started again is there after seconds, and what waits for it waits at
/// other brokers' publishers.
const REDIAL: RedialSchedule = RedialSchedule {
    first: Duration::from_secs(1),
    max: Duration::from_secs(60),
    useful: Duration::from_secs(60),
    per_hour_max: 240,
};

/// What is read at a time, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Tests of routes that may be under way at a time: more presses of a button mean nothing.
const TESTS_MAX: usize = 4;

/// How long the test of a route waits to be delivered.
const TEST_PATIENCE: Duration = Duration::from_secs(60);

/// How long the broker may take to read the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The client of the broker that `[mqtt]` names.
pub struct Mqtt {
    plan: MqttPlan,
    schedule: Schedule,
    node: NodeName,
    settings: Settings,
    seed: u64,
    view: Arc<MqttView>,
}

impl Mqtt {
    /// As the plan says, on a host of this name.
    #[must_use]
    pub fn new(plan: MqttPlan, host: &str, schedule: Schedule, seed: u64) -> Self {
        let node = plan.node.clone().unwrap_or_else(|| NodeName::from_host(host));
        let says = |word: &str| Message {
            topic: topic::status(node.as_str()),
            payload: word.as_bytes().to_vec(),
            retain: true,
            ..Message::default()
        };
        let client_id = plan.client_id.clone();
        let settings = Settings {
            version: plan.version,
            client_id: client_id.unwrap_or_else(|| format!("{}-{}", topic::ROOT, node.as_str())),
            keep_alive: plan.keep_alive,
            session_expiry: plan.session_expiry,
            qos: plan.qos,
            subscriptions: [topic::PUBLISH_FILTER.to_owned(), topic::test(node.as_str())]
                .into_iter()
                .chain(plan.subscribe.iter().map(|rule| rule.filter.clone()))
                .map(|filter| Subscription { filter, qos: plan.qos })
                .collect(),
            will: says("offline"),
            birth: says("online"),
            redial: REDIAL,
        };
        let view = Arc::new(MqttView::new(&plan, &node));
        Self {
            plan,
            schedule,
            node,
            settings,
            seed,
            view,
        }
    }

    /// What others see of it.
    #[must_use]
    pub fn view(&self) -> Arc<MqttView> {
        Arc::clone(&self.view)
    }

    /// Hands what comes over to `relay`, until `stop` is heard.
    pub async fn keep(self, relay: Arc<dyn Relay>, stop: impl Future<Output = ()> + Send + 'static) {
        let prefix = self.plan.discovery.clone();
        let reporter = Reporter::new(Arc::clone(&relay), self.node.as_str(), prefix);
        let taker = Taker {
            relay,
            rules: self.plan.subscribe.as_slice().into(),
            client_id: self.settings.client_id.as_str().into(),
        };
        let now = Instant::now();
        let shell = Shell {
            client: Client::new(now, self.settings, self.seed),
            plan: self.plan,
            schedule: self.schedule,
            view: self.view,
            taker,
            taking: VecDeque::new(),
            reporter,
            test_topic: topic::test(self.node.as_str()),
            testing: Vec::new(),
            connection: Connection::None,
            timer: Timer::never(),
            stop: Box::pin(stop),
            told: None,
        };
        shell.run().await;
    }
}

enum Connection {
    None,
    Dialling(Boxed<Result<Dialled, Cause>>),
    Open(Box<Link>),
}

struct Link {
    stream: Stream,
    /// Not yet written.
    out: VecDeque<u8>,
    /// Whether the address works; `None` once it has shown that it does.
    trial: Option<Trial>,
}

/// A message on its way to disk.
struct Taking {
    delivery: Delivery,
    /// The broker sends it again, if it is not acknowledged on this connection.
    comes_again: bool,
    taken: Boxed<Taken>,
}

/// What the loop wakes up for.
enum Event {
    Stop,
    Dialled(Result<Dialled, Cause>),
    /// Bytes have come, this many.
    Read(usize),
    Closed(String),
    Taken(Delivery, Taken),
    /// These messages say how the relay is.
    Reported(Vec<Message>),
    Due,
}

struct Shell {
    client: Client,
    plan: MqttPlan,
    schedule: Schedule,
    view: Arc<MqttView>,
    taker: Taker,
    /// Messages on their way to disk, in the order in which they came.
    taking: VecDeque<Taking>,
    reporter: Reporter,
    test_topic: String,
    /// Tests of routes that are under way.
    testing: Vec<Boxed<()>>,
    connection: Connection,
    timer: Timer,
    stop: Boxed<()>,
    /// The last end that was told at length: the same again is not worth a line.
    told: Option<String>,
}

impl Shell {
    async fn run(mut self) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.client.handle_timeout(Instant::now());
            self.execute();
            self.view.note(&self.client);
            let due = self.client.poll_timeout().map(|(at, _)| at);
            match due.into_iter().chain(self.reporter.timeout()).min() {
                Some(at) => self.timer.set_at(at),
                None => self.timer = Timer::never(),
            }
            let event = poll_fn(|cx| self.poll(cx, &mut buffer)).await;
            let now = Instant::now();
            match event {
                Event::Stop => return self.say_goodbye(now).await,
                Event::Dialled(Ok(dialled)) => {
                    let Dialled { stream, login, trial } = dialled;
                    let (out, trial) = (VecDeque::new(), Some(trial));
                    self.connection = Connection::Open(Box::new(Link { stream, out, trial }));
                    self.client.handle(now, Input::Dialled(login));
                }
                Event::Dialled(Err(cause)) => {
                    self.connection = Connection::None;
                    self.client.handle(now, Input::Failed(cause));
                }
                Event::Read(count) => self.client.handle(now, Input::Received(&buffer[..count])),
                Event::Closed(words) => {
                    self.connection = Connection::None;
                    self.client.handle(now, Input::Closed(words));
                }
                Event::Taken(delivery, taken) => self.taken(now, delivery, taken),
                Event::Reported(messages) => {
                    for message in messages {
                        self.client.handle(now, Input::Publish(message));
                    }
                }
                Event::Due => {}
            }
        }
    }

    /// Does what the client wants.
    fn execute(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Dial => {
                    let dialling = dial(self.plan.clone(), self.schedule.clone());
                    self.connection = Connection::Dialling(Box::pin(dialling));
                }
                Output::Write(bytes) => {
                    if let Connection::Open(link) = &mut self.connection {
                        link.out.extend(bytes);
                    }
                }
                Output::Close => self.connection = Connection::None,
                Output::Deliver(delivered) if delivered.publish.topic == self.test_topic => self.test(&delivered),
                Output::Deliver(delivered) => {
                    let Delivered { delivery, publish } = delivered;
                    self.taking.push_back(Taking {
                        delivery,
                        comes_again: publish.packet.is_some(),
                        taken: Box::pin(self.taker.clone().take(publish)),
                    });
                }
                Output::Up => {
                    log::info!("mqtt: {} has taken the connection", self.plan.broker);
                    self.told = None;
                    let now = Instant::now();
                    let first = self.reporter.connected(now);
                    self.client.handle(now, Input::Publish(first));
                }
                Output::Ended(cause) => {
                    // What waits here beside the copy that the broker sends again would be another alert.
                    self.taking.retain(|taking| !taking.comes_again);
                    self.reporter.disconnected();
                    self.tell(&cause);
                }
            }
        }
    }

    /// Tests the route that somebody names. The message is through at once: a test that is lost is pressed again.
    fn test(&mut self, delivered: &Delivered) {
        let named = String::from_utf8_lossy(&delivered.publish.payload).trim().to_owned();
        let routes = self.taker.relay.routes();
        let route = routes.into_iter().find(|route| route.as_str() == named);
        match route.filter(|_| self.testing.len() < TESTS_MAX) {
            Some(route) => {
                let relay = Arc::clone(&self.taker.relay);
                self.testing.push(Box::pin(async move {
                    match relay.test_route(route.clone(), TEST_PATIENCE).await {
                        Ok(tested) if tested.proven => log::info!("mqtt: the test of {route} was delivered"),
                        Ok(_) => log::warn!("mqtt: the test of {route} is not delivered everywhere yet"),
                        Err(refusal) => log::warn!("mqtt: {route} was not tested: {refusal}"),
                    }
                }));
            }
            None => log::warn!("mqtt: there is no such route to test, or too many are being tested"),
        }
        let (delivery, code, answer) = (delivered.delivery, 0, None);
        let settled = Input::Settled { delivery, code, answer };
        self.client.handle(Instant::now(), settled);
    }

    fn tell(&mut self, cause: &Cause) {
        let words = cause.to_string();
        if self.told.as_ref() == Some(&words) {
            log::debug!("mqtt: {}: {words}", self.plan.broker);
        } else {
            log::warn!("mqtt: {}: {words}", self.plan.broker);
            self.told = Some(words);
        }
    }

    fn taken(&mut self, now: Instant, delivery: Delivery, taken: Taken) {
        let Taken { became, code, answer } = taken;
        self.view.count(&became);
        match &became {
            Became::Rejected(why) => log::warn!("mqtt: a message became no alert: {why}"),
            Became::Accepted | Became::Duplicate | Became::Ignored => {}
        }
        self.client.handle(now, Input::Settled { delivery, code, answer });
    }

    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Event> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Stop);
        }
        for at in 0..self.taking.len() {
            let taking = &mut self.taking[at];
            if let Poll::Ready(taken) = taking.taken.as_mut().poll(cx) {
                let delivery = taking.delivery;
                self.taking.remove(at);
                return Poll::Ready(Event::Taken(delivery, taken));
            }
        }
        self.testing.retain_mut(|test| test.as_mut().poll(cx).is_pending());
        if let Poll::Ready(messages) = self.reporter.poll(cx) {
            return Poll::Ready(Event::Reported(messages));
        }
        let wants_bytes = self.client.wants_bytes();
        let moved = match &mut self.connection {
            Connection::None => Poll::Pending,
            Connection::Dialling(dialling) => dialling.as_mut().poll(cx).map(Event::Dialled),
            Connection::Open(link) => link.poll(cx, wants_bytes, buffer),
        };
        if moved.is_ready() {
            return moved;
        }
        Pin::new(&mut self.timer).poll(cx).map(|_| Event::Due)
    }

    /// The broker is told that this client goes; what it does not read of that in time, its own will says.
    async fn say_goodbye(mut self, now: Instant) {
        self.client.handle(now, Input::Stop);
        let mut last = Vec::new();
        while let Some(output) = self.client.poll_output() {
            if let Output::Write(bytes) = output {
                last.extend(bytes);
            }
        }
        if let Connection::Open(mut link) = self.connection {
            link.out.extend(last);
            let written = within(GOODBYE, async {
                link.stream.write_all(link.out.make_contiguous()).await?;
                link.stream.close().await
            });
            if !matches!(written.await, Some(Ok(()))) {
                log::debug!("mqtt: the broker has not heard the goodbye");
            }
        }
    }
}

impl Link {
    /// Writes what is to be written, and reads if that is wanted.
    fn poll(&mut self, cx: &mut Context<'_>, wants_bytes: bool, buffer: &mut [u8]) -> Poll<Event> {
        let closed = |error: io::Error| Poll::Ready(Event::Closed(error.to_string()));
        let mut stream = Pin::new(&mut self.stream);
        while !self.out.is_empty() {
            match stream.as_mut().poll_write(cx, self.out.as_slices().0) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::Closed("it takes no more bytes".to_owned())),
                Poll::Ready(Ok(count)) => drop(self.out.drain(..count)),
                Poll::Ready(Err(error)) => return closed(error),
                Poll::Pending => break,
            }
        }
        // TLS keeps a record of its own until it is flushed.
        if let Poll::Ready(Err(error)) = stream.as_mut().poll_flush(cx) {
            return closed(error);
        }
        if !wants_bytes {
            return Poll::Pending;
        }
        match stream.poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => Poll::Ready(Event::Closed("the broker closed it".to_owned())),
            Poll::Ready(Ok(count)) => {
                if let Some(trial) = self.trial.take() {
                    trial.worked();
                }
                Poll::Ready(Event::Read(count))
            }
            Poll::Ready(Err(error)) => closed(error),
            Poll::Pending => Poll::Pending,
        }
    }
}
