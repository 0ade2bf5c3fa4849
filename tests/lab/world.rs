//! What the lab knows: accounts, companions, groups, open lines. One mutex guards it; the phones' cryptography runs
//! under it, so that a test sees either all of an event or none of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_channel::Sender;
use wacore_binary::{Jid, Node, Server};

use super::faults::Standing;
use super::groups::Group;
use super::media::MediaServer;
use super::noise::ServerKeys;
use super::pairing::{CodePairing, Registration};
use super::people::People;
use super::phone::PhoneState;
use super::signal::Bundle;

/// Stanzas kept in the log; older ones fall out.
const LOG_MAX: usize = 8192;
/// Frames that may wait for a line that does not take them; a line that is further behind is dropped.
pub const LINE_QUEUE_MAX: usize = 4096;

/// A device of an account. Device 0 is the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    pub account: usize,
    pub device: u16,
}

impl Device {
    pub fn is_phone(self) -> bool {
        self.device == 0
    }
}

/// Which of an account's two names an address uses: the phone number or the LID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Pn,
    Lid,
}

impl Naming {
    pub fn of(jid: &Jid) -> Self {
        if jid.server == Server::Lid { Self::Lid } else { Self::Pn }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Pn => Self::Lid,
            Self::Lid => Self::Pn,
        }
    }
}

pub struct Account {
    pub number: String,
    pub lid: String,
    pub name: String,
    pub phone: PhoneState,
    pub companions: BTreeMap<u16, Companion>,
    /// The raw id in every ADV structure of this account.
    pub raw_id: u32,
    pub next_device: u16,
}

/// A linked device as the server knows it: public keys, and what it has not acknowledged yet.
pub struct Companion {
    pub noise_public: [u8; 32],
    pub keys: Bundle,
    pub one_time: VecDeque<(u32, [u8; 32])>,
    /// Linked until the phone logs it out.
    pub linked: bool,
    /// The phone's first messages to its new companion have been sent.
    pub greeted: bool,
    pub pending: VecDeque<Pending>,
}

/// A stanza that a companion owes an ack for; kept until it comes, over any number of lines.
pub struct Pending {
    pub key: AckKey,
    pub node: Node,
    /// The line it was last written to.
    pub sent_on: Option<u64>,
}

/// What an ack is matched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckKey {
    pub class: String,
    pub id: String,
    pub participant: Option<String>,
    pub kind: Option<String>,
}

/// What the task that owns a socket is asked to do.
pub enum Out {
    Node(Node),
    /// The same, not before its time.
    Later(Instant, Node),
    /// Encrypted as it is: not a stanza.
    Sealed(Vec<u8>),
    /// Framed as it is: not even encrypted.
    Framed(Vec<u8>),
    Ping,
    Close(u16),
    Freeze(bool),
    BlackHole(bool),
    /// After everything before it: the end of the stream, without a close frame.
    End(End),
}

/// How a TCP connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Rst,
}

pub enum LineState {
    /// TCP, WebSocket or Noise still in progress.
    Opening,
    Registering(Box<Registration>),
    /// Shaken hands as this device, but the login was refused or is withheld.
    Refused,
    /// Logged in; `active` once the client left passive mode and the offline queue went out.
    Open {
        device: Device,
        active: bool,
    },
}

pub struct Line {
    pub state: LineState,
    pub out: Sender<Out>,
    pub cut: Sender<End>,
    pub resumed: bool,
    pub pings: u64,
    pub since: Instant,
}

/// What the lab has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP connections accepted.
    pub accepted: u64,
    /// WebSocket upgrades granted.
    pub upgrades: u64,
    /// Noise handshakes finished by XX or XXfallback.
    pub handshakes_xx: u64,
    /// Noise handshakes finished by IK.
    pub handshakes_ik: u64,
    /// `success` sent.
    pub logins: u64,
    /// `w:p` queries seen, answered or not.
    pub pings: u64,
    /// WebSocket pongs seen.
    pub ws_pongs: u64,
    /// Lines that have ended, for whatever reason.
    pub ended: u64,
}

/// One line of the stanza log.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: u64,
    pub at: Instant,
    pub direction: Direction,
    pub node: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    FromClient,
    ToClient,
}

pub struct World {
    pub keys: ServerKeys,
    pub accounts: Vec<Account>,
    pub groups: BTreeMap<String, Group>,
    pub lines: BTreeMap<u64, Line>,
    /// Refs shown as QR codes, with the line that shows them.
    pub refs: HashMap<String, u64>,
    /// Pair codes on offer, by phone number.
    pub codes: HashMap<String, CodePairing>,
    pub standing: Standing,
    pub people: People,
    pub media: MediaServer,
    /// Phones share their app state key at every login, not only at the first.
    pub share_keys_always: bool,
    /// The listener is closed; follows `standing.refuse_tcp`.
    pub door_shut: bool,
    /// How phones address people in messages of their own.
    pub naming: Naming,
    pub counters: Counters,
    pub log: VecDeque<Seen>,
    /// Inbound ids that were nobody's to ack; empty for a client in order.
    pub stray_acks: BTreeSet<String>,
    pub next_line: u64,
    pub next_stanza: u64,
    /// The server's part that gives out keys is busy until then.
    pub keys_busy_until: Option<Instant>,
    /// Keys that were asked for, one by one.
    pub keys_asked: u64,
    /// Goes up with every change; see [`Shared::wait`].
    pub generation: u64,
}

impl World {
    fn new() -> Self {
        Self {
            keys: ServerKeys::generate(),
            accounts: Vec::new(),
            groups: BTreeMap::new(),
            lines: BTreeMap::new(),
            refs: HashMap::new(),
            codes: HashMap::new(),
            standing: Standing::default(),
            people: People::default(),
            media: MediaServer::default(),
            share_keys_always: false,
            door_shut: false,
            naming: Naming::Pn,
            counters: Counters::default(),
            log: VecDeque::new(),
            stray_acks: BTreeSet::new(),
            next_line: 1,
            next_stanza: 1,
            keys_busy_until: None,
            keys_asked: 0,
            generation: 0,
        }
    }

    /// Whose address this is, if it is anybody's here.
    pub fn resolve(&self, jid: &Jid) -> Option<Device> {
        let account = self.accounts.iter().position(|a| match jid.server {
            Server::Pn => a.number == jid.user.as_str(),
            Server::Lid => a.lid == jid.user.as_str(),
            _ => false,
        })?;
        Some(Device {
            account,
            device: jid.device,
        })
    }

    /// The address of a device; a phone's has no device part.
    pub fn jid(&self, device: Device, naming: Naming) -> Jid {
        let account = &self.accounts[device.account];
        match naming {
            Naming::Pn => Jid::pn_device(account.number.as_str(), device.device),
            Naming::Lid => Jid::lid_device(account.lid.as_str(), device.device),
        }
    }

    /// The one name a phone files its Signal sessions under, whichever way the peer is addressed.
    pub fn signal_name(&self, device: Device) -> String {
        format!("{}:{}", self.accounts[device.account].lid, device.device)
    }

    pub fn companion(&mut self, device: Device) -> Option<&mut Companion> {
        self.accounts
            .get_mut(device.account)?
            .companions
            .get_mut(&device.device)
    }

    /// The phone and the linked companions of an account.
    pub fn devices_of(&self, account: usize) -> Vec<Device> {
        let linked = self.accounts[account]
            .companions
            .iter()
            .filter(|(_, c)| c.linked)
            .map(|(id, _)| *id);
        std::iter::once(0)
            .chain(linked)
            .map(|device| Device { account, device })
            .collect()
    }

    /// A bundle for whoever wants to write to `device`; takes one of its one-time prekeys.
    pub fn take_bundle(&mut self, device: Device) -> Option<Bundle> {
        if device.is_phone() {
            return Some(self.accounts.get_mut(device.account)?.phone.signal.bundle());
        }
        let companion = self.companion(device).filter(|c| c.linked)?;
        let mut bundle = companion.keys.clone();
        bundle.one_time = companion.one_time.pop_front();
        Some(bundle)
    }

    /// The line a device is logged in on.
    pub fn line_of(&self, device: Device) -> Option<u64> {
        self.lines.iter().find_map(|(id, line)| match line.state {
            LineState::Open { device: open, .. } if open == device => Some(*id),
            _ => None,
        })
    }

    pub fn device_on(&self, line: u64) -> Option<Device> {
        match self.lines.get(&line)?.state {
            LineState::Open { device, .. } => Some(device),
            LineState::Opening | LineState::Registering(_) | LineState::Refused => None,
        }
    }

    /// Puts something into a line's queue. A line whose queue is full is reset: it has not read for thousands of
    /// frames.
    pub fn push(&mut self, line: u64, out: Out) {
        let Some(entry) = self.lines.get(&line) else { return };
        if let Out::Node(node) = &out {
            let seen = Seen {
                line,
                at: Instant::now(),
                direction: Direction::ToClient,
                node: node.clone(),
            };
            if entry.out.try_send(out).is_err() {
                let _ = entry.cut.try_send(End::Rst);
            }
            self.note(seen);
        } else if entry.out.try_send(out).is_err() {
            let _ = entry.cut.try_send(End::Rst);
        }
    }

    pub fn send(&mut self, line: u64, node: Node) {
        self.push(line, Out::Node(node));
    }

    pub fn note(&mut self, seen: Seen) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(seen);
        self.generation += 1;
    }

    pub fn stanza_id(&mut self) -> String {
        self.next_stanza += 1;
        format!("lab-{}", self.next_stanza)
    }
}

/// The world and the bell that rings when it has changed.
pub struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

/// The locked world; unlocking rings the bell.
pub struct Guard<'a> {
    world: Option<MutexGuard<'a, World>>,
    changed: &'a Condvar,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            world: Mutex::new(World::new()),
            changed: Condvar::new(),
        }
    }

    pub fn lock(&self) -> Guard<'_> {
        // A panic under the lock is a bug of the lab; the tests that still run see the state it left.
        let world = self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Guard {
            world: Some(world),
            changed: &self.changed,
        }
    }

    /// A look that changes nothing and rings no bell.
    pub fn lock_quietly<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Waits until `found` finds something, at most `timeout`. Wakes only when the world has changed.
    pub fn wait<T>(&self, timeout: Duration, mut found: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut world = self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        loop {
            if let Some(value) = found(&mut world) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            world = self
                .changed
                .wait_timeout(world, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }
}

impl std::ops::Deref for Guard<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        self.world.as_ref().expect("held until dropped")
    }
}

impl std::ops::DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.world.as_mut().expect("held until dropped")
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(mut world) = self.world.take() {
            world.generation += 1;
        }
        self.changed.notify_all();
    }
}
