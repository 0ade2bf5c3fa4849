//! What a run needs to know, without a question left open.

use std::net::SocketAddr;
use std::time::Duration;

use super::fallback::{FallbackPlan, RouteFallback};
use super::{Access, AttachmentsPlan, Endpoint, HookPlan, MqttPlan, Proxy, TlsFiles, Url};
use crate::alert::{FallbackName, Recipient, RouteName, SessionName};
use crate::outbox::{AckRules, Escalate, Flapping, Group, Pace, Quiet, Repeat};

/// Everything a run needs to know, whichever file, environment or default it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `None` is `auto`: detect.
    pub board: Option<String>,
    /// In which texts say the time, by its name in the IANA database; `None` is `system`.
    pub time_zone: Option<String>,
    /// At least one; names are unique.
    pub sessions: Vec<SessionPlan>,
    /// Every one names a session that exists; names are unique.
    pub routes: Vec<RoutePlan>,
    pub gateway: GatewayPlan,
    pub smtp: SmtpPlan,
    pub mail: MailPlan,
    /// The broker that alerts come from.
    pub mqtt: Option<MqttPlan>,
    pub heartbeat: Option<HeartbeatPlan>,
    pub attachments: AttachmentsPlan,
    /// Names are unique.
    pub fallbacks: Vec<FallbackPlan>,
    /// Which of them are told what health finds. Empty: nobody is.
    pub health_fallbacks: Vec<FallbackName>,
    /// Names are unique.
    pub hooks: Vec<HookPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlan {
    pub name: SessionName,
    /// Where the server is. WhatsApp's own unless a test says otherwise.
    pub endpoint: Endpoint,
    /// From the config, else from `https_proxy`/`all_proxy` unless `no_proxy` names the endpoint's host.
    pub proxy: Option<Proxy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    pub name: RouteName,
    pub session: SessionName,
    /// At least one, without repetition.
    pub to: Vec<Recipient>,
    /// What is not sent within this time expires. `None`: it waits for ever.
    pub ttl: Option<Duration>,
    /// What goes out later than this says when it was accepted. `None` is `off`.
    pub mark_late: Option<Duration>,
    /// What goes into one message together. `None`: each alert is its own.
    pub group: Option<Group>,
    /// When it is quiet.
    pub quiet: Option<Quiet>,
    /// How fast its messages may follow each other.
    pub pace: Option<Pace>,
    /// When something turns too often. `None` is `off`.
    pub flapping: Option<Flapping>,
    /// `None`: its alerts wait for WhatsApp alone.
    pub fallback: Option<RouteFallback>,
    /// What is said again until somebody acknowledges it.
    pub repeat: Option<Repeat>,
    /// Who is told of what nobody acknowledges.
    pub escalate: Option<Escalate>,
    /// Which answers in a chat acknowledge its alerts.
    pub acks: AckRules,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Beyond loopback only where `access` makes that safe.
    pub listen: Vec<SocketAddr>,
    pub access: Access,
    pub tls: Option<TlsFiles>,
}

/// Mails by SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmtpPlan {
    /// Beyond loopback only where `[gateway]` has a certificate or a trusted network. Mostly empty.
    pub listen: Vec<SocketAddr>,
}

/// Which route a mail is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailPlan {
    /// For addresses that lead nowhere. `None`: the only route, if there is one alone.
    pub route: Option<RouteName>,
    /// Addresses, or what stands in them before the `@`, and the configured routes that they lead to.
    pub routes: Vec<(String, RouteName)>,
}

/// What is fetched for as long as alerts would go out, so that somebody else notices when they would not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatPlan {
    pub url: Url,
    /// From one fetch to the next.
    pub interval: Duration,
    /// From the environment, as for sessions.
    pub proxy: Option<Proxy>,
}
