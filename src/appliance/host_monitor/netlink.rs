//! As much of rtnetlink's language as is needed to see links, addresses and default routes. Bytes in, bytes out.
//!
//! Deliberately absent: everything else, and trust in lengths that others have written.

use std::collections::{BTreeMap, BTreeSet};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
pub(super) const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

/// `RTMGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`.
pub(super) const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const HEADER: usize = 16;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
/// The link works, as far as the kernel knows: cable, association, the other end of a pair.
const IFF_RUNNING: u32 = 0x40;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
/// Not usable: another host has it, or that is not known yet.
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
/// Link-local and narrower scopes have higher numbers.
const RT_SCOPE_LINK: u8 = 253;

const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
/// A half of everything is a default route too: tunnels lay two of these over the real one.
const DEFAULT_LEN_MAX: u8 = 1;

/// Kinds of links that hosts make for containers and machines of their own. They count only if a default route leads
/// over them, as it does inside a container.
const HOUSEHOLD: &[&[u8]] = &[b"veth", b"bridge", b"dummy", b"ifb", b"vxlan", b"nlmon"];

/// One message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// The end of a dump, or a refusal of it.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.kind, NLMSG_DONE | NLMSG_ERROR)
    }

    /// The system's error number, of a refusal.
    pub(super) fn refusal(&self) -> Option<i32> {
        let code = i32::from_ne_bytes(*self.body.first_chunk()?);
        (self.kind == NLMSG_ERROR && code != 0).then_some(code.saturating_neg())
    }

    /// Whether the network may look different now. Of routes only the default ones are worth a look: a host with
    /// containers changes the others all day.
    pub(super) fn matters(&self) -> bool {
        match self.kind {
            RTM_NEWLINK | RTM_DELLINK | RTM_NEWADDR | RTM_DELADDR => true,
            RTM_NEWROUTE | RTM_DELROUTE => self.body.get(1).is_some_and(|len| *len <= DEFAULT_LEN_MAX),
            _ => false,
        }
    }
}

/// The whole messages in `bytes`; a torn one ends them.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?),
            sequence: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Asks for everything of the kind that [`RTM_NEWLINK`], [`RTM_NEWADDR`] or [`RTM_NEWROUTE`] tells of, of all families.
pub(super) fn dump(told_as: u16, sequence: u32) -> Vec<u8> {
    // A get is two above its new, and one byte of family follows the header, padded to four.
    let length = HEADER + 4;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or_default().to_ne_bytes());
    bytes.extend_from_slice(&(told_as + 2).to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.resize(length, 0);
    bytes
}

/// Number and value of each attribute; the two flags in the number are cut off.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let number = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & 0x3FFF;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A route to everything, by what tells it from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DefaultRoute {
    family: u8,
    metric: u32,
    to: Vec<u8>,
    gateway: Vec<u8>,
}

#[derive(Debug, Default)]
struct Link {
    works: bool,
    loopback: bool,
    household: bool,
    addresses: BTreeSet<Vec<u8>>,
    defaults: BTreeSet<DefaultRoute>,
}

/// What three dumps have told.
#[derive(Debug, Default)]
pub(super) struct Dumped {
    links: BTreeMap<u32, Link>,
}

/// The network as far as a line depends on it: of each link that works and leads somewhere, its addresses and default
/// routes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<u32, (BTreeSet<Vec<u8>>, BTreeSet<DefaultRoute>)>);

impl Dumped {
    /// Takes one message of a dump in. What cannot be read is left out.
    pub(super) fn take(&mut self, message: &Message<'_>) {
        let _ = match message.kind {
            RTM_NEWLINK => self.take_link(message.body),
            RTM_NEWADDR => self.take_address(message.body),
            RTM_NEWROUTE => self.take_route(message.body),
            _ => None,
        };
    }

    fn take_link(&mut self, body: &[u8]) -> Option<()> {
        let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
        let info = attributes(body.get(16..)?).find(|(number, _)| *number == IFLA_LINKINFO);
        let kind = info.and_then(|(_, info)| attributes(info).find(|(number, _)| *number == IFLA_INFO_KIND));
        let link = self.links.entry(index).or_default();
        link.works = flags & IFF_UP != 0 && flags & IFF_RUNNING != 0;
        link.loopback = flags & IFF_LOOPBACK != 0;
        link.household = kind.is_some_and(|(_, kind)| {
            let kind = kind.strip_suffix(&[0]).unwrap_or(kind);
            HOUSEHOLD.contains(&kind)
        });
        Some(())
    }

    fn take_address(&mut self, body: &[u8]) -> Option<()> {
        let (short_flags, scope, index) = (*body.get(2)?, *body.get(3)?, u32_at(body, 4)?);
        let (mut address, mut local, mut flags) = (None, None, u32::from(short_flags));
        for (number, value) in attributes(body.get(8..)?) {
            match number {
                IFA_ADDRESS => address = Some(value),
                IFA_LOCAL => local = Some(value),
                IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
                _ => {}
            }
        }
        let waits = flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0;
        if scope < RT_SCOPE_LINK && !waits && flags & IFA_F_DADFAILED == 0 {
            // On a link between two hosts `address` is the other one.
            let own = local.or(address)?.to_vec();
            self.links.entry(index).or_default().addresses.insert(own);
        }
        Some(())
    }

    fn take_route(&mut self, body: &[u8]) -> Option<()> {
        let (family, length, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
        if length > DEFAULT_LEN_MAX || kind != RTN_UNICAST {
            return Some(());
        }
        let mut route = DefaultRoute {
            family,
            metric: 0,
            to: Vec::new(),
            gateway: Vec::new(),
        };
        let mut hops = Vec::new();
        for (number, value) in attributes(body.get(12..)?) {
            match number {
                RTA_DST => route.to = value.to_vec(),
                RTA_OIF => hops.extend(u32_at(value, 0)),
                RTA_GATEWAY | RTA_VIA => route.gateway = value.to_vec(),
                RTA_PRIORITY => route.metric = u32_at(value, 0)?,
                // Each hop says its length and, after two bytes of flags and weight, its link.
                RTA_MULTIPATH => {
                    route.gateway = value.to_vec();
                    hops.extend(next_hops(value));
                }
                _ => {}
            }
        }
        for hop in hops {
            self.links.entry(hop).or_default().defaults.insert(route.clone());
        }
        Some(())
    }

    /// What a line depends on. Where nothing leads out by default, any link may be the one.
    pub(super) fn snapshot(self) -> Snapshot {
        let works =
            |link: &Link| link.works && !link.loopback && !(link.addresses.is_empty() && link.defaults.is_empty());
        let leads_out = self.links.values().any(|link| works(link) && !link.defaults.is_empty());
        let counts = |link: &Link| works(link) && (!link.defaults.is_empty() || !link.household || !leads_out);
        let counted = self.links.into_iter().filter(|(_, link)| counts(link));
        Snapshot(
            counted
                .map(|(index, link)| (index, (link.addresses, link.defaults)))
                .collect(),
        )
    }
}

fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let link = u32_at(bytes, 4)?;
        bytes = bytes.get(length.max(8).next_multiple_of(4)..).unwrap_or_default();
        Some(link)
    })
}

#[cfg(test)]
mod tests;
