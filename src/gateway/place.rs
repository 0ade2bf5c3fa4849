//! Where a connection over TCP comes from, as far as that gives rights. Every way in asks here.

use std::net::IpAddr;

use crate::config::{Access, Loopback};

/// Where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A program on this box, of any user. Loopback has no users.
    Loopback,
    /// A network that the owner trusts to publish.
    Trusted,
    /// Anywhere else, and loopback where its users do not trust each other.
    Elsewhere,
}

impl Place {
    /// The place of a peer that speaks for itself.
    pub fn of(access: &Access, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        match (peer.is_loopback(), access.loopback) {
            (true, Loopback::Open) => Self::Loopback,
            (true, Loopback::Token) => Self::Elsewhere,
            (false, _) if access.is_trusted(peer) => Self::Trusted,
            (false, _) => Self::Elsewhere,
        }
    }

    /// Whether nobody there needs a token to publish.
    pub fn is_enough_to_publish(self) -> bool {
        match self {
            Self::Loopback | Self::Trusted => true,
            Self::Elsewhere => false,
        }
    }
}
