//! Who may come in over TCP, and from where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::access::{Network, Rate};

/// Who may come in over TCP without a token, and how the others are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub loopback: Loopback,
    /// Networks that may publish without a token.
    pub trusted: Vec<Network>,
    /// A reverse proxy stands in front, at one of these addresses; `None`: there is none.
    pub proxies: Option<Vec<Network>>,
    /// Names of this relay beside its addresses, in lower case.
    pub names: Vec<String>,
    /// How often one token or address may ask over the network.
    pub rate: Rate,
    /// There is a certificate: what comes over the network may be encrypted.
    pub tls: bool,
}

/// What a program on this box may do without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loopback {
    /// Publish and read.
    #[default]
    Open,
    /// Nothing: for boxes whose users do not trust each other.
    Token,
}

impl Loopback {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
        }
    }
}

/// A storm of alerts from one sender gets through whole; one that has gone mad sends one a second.
pub(super) const RATE_DEFAULT: Rate = Rate {
    per_minute: 60,
    burst: 300,
};

impl Default for Access {
    fn default() -> Self {
        Self {
            loopback: Loopback::default(),
            trusted: Vec::new(),
            proxies: None,
            names: Vec::new(),
            rate: RATE_DEFAULT,
            tls: false,
        }
    }
}

impl Access {
    /// What a program on this box may do: behind a proxy on the box it cannot be told from those for whom that speaks.
    pub fn loopback_in_force(&self) -> Loopback {
        let proxied = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        match proxied.into_iter().any(|address| self.is_proxy(address)) {
            true => Loopback::Token,
            false => self.loopback,
        }
    }

    /// Whether anything makes it safe to listen beyond loopback.
    pub fn is_for_the_network(&self) -> bool {
        self.tls || self.proxies.is_some() || !self.trusted.is_empty()
    }

    /// Whether anything makes it safe to take mails of the network. An HTTP proxy does not pass any on.
    pub fn takes_mails_of_the_network(&self) -> bool {
        self.tls || !self.trusted.is_empty()
    }

    /// Whether `address` is one of the reverse proxy's.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| within(proxies, address))
    }

    /// Whether `address` may publish without a token.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        within(&self.trusted, address)
    }
}

fn within(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}
