//! A WhatsApp server for tests: it listens on the loopback, and the phones of its accounts live inside it.
//!
//! It speaks what a linked device hears and says: WebSocket, Noise, pairing by QR and by code, login, the queries that
//! follow it, end-to-end encrypted messages between devices and to groups, acks, receipts, retries, and an offline
//! queue. It is test equipment: it trusts what it is told, keeps everything in memory, and knows no limits of rate.
//! What it speaks was learned from what clients send and tolerate, so a client that works here may still meet
//! surprises at the real server.
//!
//! # The tour
//!
//! | file | what is there |
//! |---|---|
//! | `server` | sockets: accept, upgrade, handshake, one task a line |
//! | `noise` | the responder's side of XX, IK and XXfallback |
//! | `login` | what follows the handshake: offer, success, failure, the offline queue |
//! | `pairing`, `adv` | QR code and pair code; the signatures by which a phone vouches for a companion |
//! | `queries` | stanzas in; every `iq` and its answer |
//! | `router` | messages and receipts from device to device; who owes an ack for what |
//! | `phone`, `signal` | the simulated phone, and its libsignal state |
//! | `groups` | groups |
//! | `media` | uploads, and what a phone makes of them |
//! | `people` | what the server says of numbers, kinds of groups, timers of chats |
//! | `faults` | a switch for everything that can go wrong |
//! | `saved`, `signal/saved` | accounts and phones as JSON, to go on with later |
//! | `world`, `node` | the state behind all that, one mutex, and the bell that tests wait for; small helpers |
//! | `stock` | not part of the server: the stock client, for the lab's own tests |
//!
//! # Use
//!
//! ```ignore
//! #[path = "lab/mod.rs"]
//! mod lab;
//!
//! let lab = lab::Lab::start();
//! let owner = lab.account("15550100001", "Owner");
//! // … start the client under test on lab.endpoint(), read the QR code it shows …
//! owner.scan(&qr)?;
//! assert!(owner.wait_received(1, Duration::from_secs(10)).len() == 1);
//! ```
//!
//! Everything blocks, nothing is global: any number of labs may run side by side in one process. Dropping a [`Lab`]
//! closes its sockets and joins its thread.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod adv;
mod answers;
mod faults;
mod groups;
mod login;
mod media;
mod node;
mod noise;
mod pairing;
mod people;
mod phone;
mod queries;
mod router;
mod saved;
mod server;
mod signal;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_lite::FutureExt as _;
use smol::Executor;
use smol::net::TcpListener;
use wacore_binary::Jid;

pub use answers::ReactionSeen;
pub use faults::{Failure, Faults, KeyPace, NoKeys, SessionTimer};
pub use media::{MediaFaults, MediaSeen, Upload};
pub use people::GroupKind;
pub use phone::{AutoReceipts, ReceiptSeen, Received};
use world::{Account, Device, LineState, Shared};
pub use world::{Counters, Direction, Naming, Seen};

/// A running lab server.
pub struct Lab {
    shared: Arc<Shared>,
    addr: SocketAddr,
    faults: Faults,
    stop: Option<async_channel::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An open, logged-in connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Counts up over the life of the lab.
    pub id: u64,
    /// The account's number, without `+`.
    pub number: String,
    /// The companion's device number.
    pub device: u16,
    /// The client has left passive mode and was given its offline queue.
    pub active: bool,
    /// It came in by IK.
    pub resumed: bool,
    /// `w:p` queries on this line.
    pub pings: u64,
    /// Stanzas sent on this line that the client owes an ack for: class and id.
    pub acks_owed: Vec<(String, String)>,
    /// When its TCP connection was accepted.
    pub since: Instant,
}

impl Lab {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).expect("a free loopback port")
    }

    /// Starts on `addr`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start_on(addr: SocketAddr) -> io::Result<Self> {
        let listener = smol::block_on(TcpListener::bind(addr))?;
        let addr = listener.local_addr()?;
        let media = smol::block_on(TcpListener::bind((addr.ip(), 0)))?;
        let shared = Arc::new(Shared::new());
        shared.lock().media.set_addr(media.local_addr()?);
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let (door, doors) = async_channel::bounded(1);
        let inside = shared.clone();
        let thread = std::thread::Builder::new().name("lab".into()).spawn(move || {
            // Tasks must not own the executor: it would never be dropped, nor would their sockets.
            let ex = Executor::new();
            let stop = async {
                // Ends when the sender is dropped.
                let _ = stopped.recv().await;
            };
            let uploads = media::accept(&ex, inside.clone(), media);
            let lines = server::accept(&ex, inside, addr, listener, doors);
            smol::block_on(ex.run(stop.or(lines).or(uploads)));
        })?;
        let faults = Faults::new(shared.clone(), door);
        Ok(Self {
            shared,
            addr,
            faults,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `ws://127.0.0.1:PORT/ws/chat`.
    pub fn endpoint(&self) -> String {
        format!("ws://{}/ws/chat", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server's static key. A `Device` that has it as its cached leaf key logs in by IK, with unmodified crates.
    pub fn static_key(&self) -> [u8; 32] {
        self.shared.lock().keys.public()
    }

    /// Creates an account with its phone. `number` has country code and digits only.
    ///
    /// # Panics
    /// The number is taken.
    pub fn account(&self, number: &str, name: &str) -> Phone {
        let mut world = self.shared.lock();
        assert!(
            world.accounts.iter().all(|a| a.number != number),
            "the number {number} is taken"
        );
        let index = world.accounts.len();
        world.accounts.push(Account {
            number: number.into(),
            lid: format!("1000000000{:05}", index + 1),
            name: name.into(),
            phone: phone::PhoneState::new(),
            companions: std::collections::BTreeMap::new(),
            raw_id: u32::from_be_bytes(node::random::<4>()) >> 1,
            next_device: 1,
        });
        Phone {
            shared: self.shared.clone(),
            account: index,
        }
    }

    /// Creates a group whose members address each other by LID, as new groups do. Returns `…@g.us`.
    pub fn group(&self, subject: &str, members: &[&Phone]) -> String {
        self.group_by(subject, members, Naming::Lid)
    }

    /// Creates a group with the addressing given.
    pub fn group_by(&self, subject: &str, members: &[&Phone], naming: Naming) -> String {
        let members = members.iter().map(|phone| phone.account).collect();
        groups::create(&mut self.shared.lock(), subject, members, naming)
    }

    /// How phones address people in messages of their own from now on; by number until told otherwise.
    pub fn set_naming(&self, naming: Naming) {
        self.shared.lock().naming = naming;
    }

    /// Whether phones share their app state key at every login. A real one does so once; but a whatsapp-rust process
    /// without a push name waits ten seconds for it at each start, which tests with many restarts may want to be
    /// spared.
    pub fn share_keys_at_every_login(&self, on: bool) {
        self.shared.lock().share_keys_always = on;
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The lines that are logged in now.
    pub fn lines(&self) -> Vec<LineInfo> {
        self.shared.lock_quietly(lines_of)
    }

    pub fn counters(&self) -> Counters {
        self.shared.lock_quietly(|world| world.counters)
    }

    /// The last few thousand stanzas, both ways, oldest first.
    pub fn stanza_log(&self) -> Vec<Seen> {
        self.shared.lock_quietly(|world| world.log.iter().cloned().collect())
    }

    /// Every `<presence>` that clients have sent: its `type`, which is `available` when it has none.
    pub fn presences(&self) -> Vec<String> {
        let log = self.stanza_log();
        let presences = log
            .iter()
            .filter(|s| s.direction == Direction::FromClient && s.node.tag == "presence");
        presences
            .map(|s| node::attr(&s.node, "type").unwrap_or_else(|| "available".into()))
            .collect()
    }

    /// Sends any stanza to the companions of `number`, now or at their next login, until they acknowledge it.
    pub fn deliver(&self, number: &str, node: &wacore_binary::Node) {
        let mut world = self.shared.lock();
        let Some(account) = world.accounts.iter().position(|a| a.number == number) else {
            return;
        };
        let devices: Vec<u16> = world.accounts[account].companions.keys().copied().collect();
        for device in devices {
            router::deliver(&mut world, world::Device { account, device }, node.clone());
        }
    }

    /// Stanzas kept for a companion: not sent yet, or not acknowledged yet.
    pub fn pending(&self, number: &str) -> usize {
        self.shared.lock_quietly(|world| {
            let accounts = world.accounts.iter().filter(|a| a.number == number);
            accounts
                .flat_map(|a| a.companions.values())
                .map(|c| c.pending.len())
                .sum()
        })
    }

    /// How many keys have been asked for, counted by device.
    pub fn keys_asked(&self) -> u64 {
        self.shared.lock_quietly(|world| world.keys_asked)
    }

    /// The numbers of the one-time keys that the server has of a companion, in the order in which it gives them out.
    pub fn pre_key_ids(&self, number: &str, device: u16) -> Vec<u32> {
        self.shared.lock_quietly(|world| {
            let accounts = world.accounts.iter().filter(|a| a.number == number);
            let companions = accounts.filter_map(|a| a.companions.get(&device));
            companions.flat_map(|c| c.one_time.iter().map(|(id, _)| *id)).collect()
        })
    }

    /// Tells a companion that hardly any of its one-time keys are left.
    pub fn ask_for_pre_keys(&self, phone: &Phone, device: u16) {
        let mut world = self.shared.lock();
        let account = phone.account;
        queries::ask_for_pre_keys(&mut world, Device { account, device });
    }

    /// Ids of receipts that clients acknowledged although nobody had sent them. A client in order has none.
    pub fn stray_acks(&self) -> Vec<String> {
        self.shared
            .lock_quietly(|world| world.stray_acks.iter().cloned().collect())
    }

    /// Waits until `condition` holds, at most `timeout`; looks again whenever something has happened here. Says whether
    /// it came to hold. `condition` may call anything of this lab and its phones.
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let generation = self.shared.lock_quietly(|world| world.generation);
            if condition(self) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self
                .shared
                .wait(left, |world| (world.generation != generation).then_some(()))
                .is_none()
            {
                return condition(self);
            }
        }
    }

    /// Waits until `count` lines are logged in and active.
    pub fn wait_lines(&self, count: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |lab| {
            lab.lines().iter().filter(|line| line.active).count() == count
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lines_of(world: &world::World) -> Vec<LineInfo> {
    let open = world.lines.iter().filter_map(|(id, line)| match line.state {
        LineState::Open { device, active } => Some(LineInfo {
            id: *id,
            number: world.accounts[device.account].number.clone(),
            device: device.device,
            active,
            resumed: line.resumed,
            pings: line.pings,
            acks_owed: router::owed(world, device, *id),
            since: line.since,
        }),
        LineState::Opening | LineState::Registering(_) | LineState::Refused => None,
    });
    open.collect()
}

/// The phone of an account. Clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    shared: Arc<Shared>,
    account: usize,
}

impl Phone {
    /// Digits only.
    pub fn number(&self) -> String {
        self.shared.lock_quietly(|w| w.accounts[self.account].number.clone())
    }

    /// The account's LID, digits only.
    pub fn lid(&self) -> String {
        self.shared.lock_quietly(|w| w.accounts[self.account].lid.clone())
    }

    /// Scans a QR code: pairs the client that shows it. Returns its device number once it has signed.
    ///
    /// # Errors
    /// Nobody on this lab shows that code, or the client did not finish.
    pub fn scan(&self, qr_payload: &str) -> Result<u16, String> {
        pairing::scan(&self.shared, self.account, qr_payload)
    }

    /// Types a pair code, `ABCD-EFGH` or without the dash; waits for a client to ask for one if none has yet.
    ///
    /// # Errors
    /// No client asked for a code for this number, the code is wrong, or the client did not finish.
    pub fn enter_code(&self, code: &str) -> Result<u16, String> {
        pairing::enter_code(&self.shared, self.account, code)
    }

    /// "Log out" on the phone, for all its companions: `stream:error` with conflict `device_removed` on open lines, and
    /// `failure 401` at the next login.
    pub fn logout_companion(&self) {
        let mut world = self.shared.lock();
        let devices: Vec<Device> = world
            .devices_of(self.account)
            .into_iter()
            .filter(|d| !d.is_phone())
            .collect();
        for device in devices {
            let line = world.line_of(device);
            queries::unlink(&mut world, device);
            if let Some(line) = line {
                login::say_removed(&mut world, line);
            }
        }
    }

    /// The person changes the account's name; every companion is told.
    pub fn set_name(&self, name: &str) {
        let mut world = self.shared.lock();
        name.clone_into(&mut world.accounts[self.account].name);
        phone::tell_name(&mut world, self.account);
    }

    /// Device numbers of the linked companions.
    pub fn companions(&self) -> Vec<u16> {
        self.shared.lock_quietly(|w| {
            w.devices_of(self.account)
                .into_iter()
                .filter(|d| !d.is_phone())
                .map(|d| d.device)
                .collect()
        })
    }

    /// Sends a text to a number of this lab or to a group; this account's companions get their copy. Returns the id.
    ///
    /// # Panics
    /// There is no such account or group.
    pub fn send_text(&self, to: &str, text: &str) -> String {
        let mut world = self.shared.lock();
        let chat = chat_of(&world, to);
        let message = answers::text_message(text, None);
        let timer = world.accounts[self.account].phone.timers.get(&people::timer_key(&chat));
        let message = people::with_timer(message, timer.copied().unwrap_or(0));
        phone::send(&mut world, self.account, chat, message)
    }

    /// Answers a received message in its chat, quoting it. Returns the answer's id.
    ///
    /// # Panics
    /// This phone has received no message with that id.
    pub fn reply(&self, to_id: &str, text: &str) -> String {
        let mut world = self.shared.lock();
        let received = world.accounts[self.account]
            .phone
            .received
            .iter()
            .find(|r| r.id == to_id);
        let received = received
            .unwrap_or_else(|| panic!("no message {to_id} on this phone"))
            .clone();
        let chat = chat_of(&world, &received.chat);
        let sender: Jid = pairing::number_jid(&received.from);
        phone::send(
            &mut world,
            self.account,
            chat,
            answers::text_message(text, Some((to_id.into(), sender))),
        )
    }

    /// Reacts to a received message in its chat; an empty `emoji` takes the reaction back. Returns the reaction's id.
    ///
    /// # Panics
    /// This phone has received no message with that id.
    pub fn react(&self, to_id: &str, emoji: &str) -> String {
        let chat = self.received().into_iter().find(|r| r.id == to_id);
        let chat = chat.unwrap_or_else(|| panic!("no message {to_id} on this phone")).chat;
        self.react_in(&chat, to_id, emoji)
    }

    /// Reacts to whatever has this id in a chat, whether this phone has it or not.
    ///
    /// # Panics
    /// There is no such account or group.
    pub fn react_in(&self, to: &str, to_id: &str, emoji: &str) -> String {
        let mut world = self.shared.lock();
        let chat = chat_of(&world, to);
        phone::send(&mut world, self.account, chat, answers::reaction_message(to_id, emoji))
    }

    /// Every message this phone has decrypted, each (chat, sender, id) once, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.received.clone())
    }

    /// Every reaction this phone has decrypted, in order of arrival.
    pub fn reactions(&self) -> Vec<ReactionSeen> {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.reactions.clone())
    }

    /// How often any message came over the wire, doubles and unreadable ones included.
    pub fn received_wire(&self) -> usize {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.wire.values().sum())
    }

    /// How often this id came over the wire.
    pub fn wire_count(&self, id: &str) -> usize {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.wire.get(id).copied().unwrap_or(0))
    }

    /// What this phone could not decrypt: id and why. It has asked for each again.
    pub fn unreadable(&self) -> Vec<(String, String)> {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.unreadable.clone())
    }

    /// Waits until `count` messages have been received, at most `timeout`; returns what there is then.
    pub fn wait_received(&self, count: usize, timeout: Duration) -> Vec<Received> {
        let enough = |w: &mut world::World| {
            let received = &w.accounts[self.account].phone.received;
            (received.len() >= count).then(|| received.clone())
        };
        self.shared.wait(timeout, enough).unwrap_or_else(|| self.received())
    }

    /// The phone loses its Signal sessions, as after a restored backup: it cannot read what comes next and asks for it.
    pub fn lose_sessions(&self) {
        self.shared.lock().accounts[self.account].phone.signal.forget_sessions();
    }

    /// The phone loses the keys of all groups too, those of their other members.
    pub fn lose_group_keys(&self) {
        self.shared.lock().accounts[self.account]
            .phone
            .signal
            .forget_sender_keys();
    }

    /// Whether it asks at once for what it cannot read, as phones do that are on; until told otherwise it does.
    pub fn set_asks_again(&self, on: bool) {
        self.shared.lock().accounts[self.account].phone.asks_again = on;
    }

    /// Asks for a message that it could not read, as the `count`th time, with fresh keys in the receipt or without.
    ///
    /// # Panics
    /// It has no unreadable message with that id.
    pub fn ask_again(&self, id: &str, count: u8, with_keys: bool) {
        let asked = phone::ask_for(&mut self.shared.lock(), self.account, id, count, with_keys);
        assert!(asked, "no unreadable message {id} on this phone");
    }

    /// The next `count` messages from this phone do not decrypt at companions; asked again, it sends them properly.
    pub fn garble_next(&self, count: usize) {
        self.shared.lock().accounts[self.account].phone.garble_next = count;
    }

    /// Which receipts the phone sends by itself; delivered and not read until told otherwise.
    pub fn set_auto_receipts(&self, delivered: bool, read: bool) {
        self.shared.lock().accounts[self.account].phone.auto = AutoReceipts { delivered, read };
    }

    /// Sends the delivery receipt of a received message, whatever the automatic ones are set to.
    pub fn mark_delivered(&self, id: &str) {
        phone::send_receipt(&mut self.shared.lock(), self.account, id, None);
    }

    /// Sends the read receipt of a received message.
    pub fn mark_read(&self, id: &str) {
        phone::send_receipt(&mut self.shared.lock(), self.account, id, Some("read"));
    }

    /// Receipts for messages that this phone sent.
    pub fn receipts(&self) -> Vec<ReceiptSeen> {
        self.shared
            .lock_quietly(|w| w.accounts[self.account].phone.receipts.clone())
    }
}

/// The kinds of all `<enc>` in a message, those for single devices included: `pkmsg`, `msg`, `skmsg`.
pub fn encs_of(message: &wacore_binary::Node) -> Vec<String> {
    let mut found = Vec::new();
    for child in node::children(message) {
        match &*child.tag {
            "enc" => found.extend(node::attr(child, "type")),
            "participants" | "to" => found.extend(encs_of(child)),
            _ => {}
        }
    }
    found
}

fn chat_of(world: &world::World, to: &str) -> phone::Chat {
    if let Some(group) = to.strip_suffix("@g.us") {
        assert!(world.groups.contains_key(group), "no group {to} on this lab");
        return phone::Chat::Group(group.into());
    }
    let digits: String = to
        .split('@')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let account = world
        .accounts
        .iter()
        .position(|a| a.number == digits || a.lid == digits);
    phone::Chat::Account(account.unwrap_or_else(|| panic!("no account {to} on this lab")))
}
