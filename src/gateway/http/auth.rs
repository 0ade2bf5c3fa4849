//! Who asks, and what they may. The only place where a right is checked.
//!
//! What the place allows and what a token allows add up: a token takes nothing away. So where none is needed, one that
//! nobody knows is passed over; everywhere else it is refused.

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::Problem;
use super::context::{Context, Listener};
use super::credentials::{Credential, presented};
use super::guard;
use super::head::Head;
use crate::access::{Grant, Presented, Right};
use crate::config::Loopback;

/// The right that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To hand in alerts.
    Publish,
    /// To see what there is: status, alerts and their texts, what happened.
    Read,
    /// What reveals contacts, links accounts, or takes an alert out of the relay's hands.
    Admin,
    /// What makes rights or gives keys away: for whoever may open the control socket, and for no token.
    Control,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Read, Self::Admin, Self::Control];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        self.right().map_or("control", Right::name)
    }

    /// The right of a token that is enough for it.
    fn right(self) -> Option<Right> {
        match self {
            Self::Publish => Some(Right::Publish),
            Self::Read => Some(Right::Read),
            Self::Admin => Some(Right::Admin),
            Self::Control => None,
        }
    }
}

/// Where a request over TCP comes from, as far as that gives rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A program on this box, of any user. Loopback has no users.
    Loopback,
    /// Anywhere else, and loopback where its users do not trust each other.
    Elsewhere,
}

impl Place {
    fn may(self, scope: Scope) -> bool {
        match (self, scope) {
            (Self::Loopback, Scope::Publish | Scope::Read) => true,
            (Self::Loopback, Scope::Admin | Scope::Control) => false,
            (Self::Elsewhere, Scope::Publish | Scope::Read | Scope::Admin | Scope::Control) => false,
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever can open the control socket's file owns the relay.
    Control,
    /// Somebody over TCP.
    Tcp { place: Place, token: Option<Held> },
}

/// A token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    grant: Arc<Grant>,
    /// As in [`Credential`].
    ambient: bool,
}

/// Why somebody is nobody.
pub(super) struct Denied {
    pub problem: Problem,
    /// A token came and is not good: why, for the log.
    pub wrong: Option<String>,
}

impl Caller {
    /// Whether `scope` is theirs, on this route or, without one, on any.
    pub fn may(&self, scope: Scope, route: Option<&str>) -> bool {
        match self {
            Self::Control => true,
            Self::Tcp { place, token } => place.may(scope) || token.as_ref().is_some_and(|held| held.may(scope, route)),
        }
    }

    /// Whether `scope` is theirs on all routes.
    pub fn may_everywhere(&self, scope: Scope) -> bool {
        match self {
            Self::Control => true,
            Self::Tcp { place, token } => {
                let unlimited = |held: &Held| held.may(scope, None) && held.grant.routes == crate::access::Routes::All;
                place.may(scope) || token.as_ref().is_some_and(unlimited)
            }
        }
    }

    /// What their token is good for, if they have one.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Control | Self::Tcp { token: None, .. } => None,
            Self::Tcp { token: Some(held), .. } => Some(&held.grant),
        }
    }

    /// Whether neither a place nor a token gives them any right.
    pub fn is_nobody(&self) -> bool {
        let place_gives = |place: Place| Scope::ALL.into_iter().any(|scope| place.may(scope));
        match self {
            Self::Control | Self::Tcp { token: Some(_), .. } => false,
            Self::Tcp { place, token: None } => !place_gives(*place),
        }
    }
}

impl Held {
    fn may(&self, scope: Scope, route: Option<&str>) -> bool {
        let right = scope.right().is_some_and(|right| self.grant.rights.has(right));
        right && route.is_none_or(|route| self.grant.routes.has(route))
    }
}

/// Where whoever is at the other end is.
pub(super) fn address(listener: Listener) -> Option<IpAddr> {
    match listener {
        Listener::Tcp { peer, .. } => Some(peer.ip()),
        Listener::Control => None,
    }
}

/// Says who makes the request, by where it comes from and the tokens in its head. Whoever is nobody yet may still have one
/// in the body: see [`identify_by`].
///
/// # Errors
/// A web page from elsewhere is behind it.
pub(super) fn identify(context: &Context, listener: Listener, head: &Head) -> Result<Caller, Problem> {
    let place = match listener {
        // Its file's mode is the check.
        Listener::Control => return Ok(Caller::Control),
        Listener::Tcp { local, .. } => {
            guard::check(head, local)?;
            match context.access.loopback {
                Loopback::Open => Place::Loopback,
                Loopback::Token => Place::Elsewhere,
            }
        }
    };
    let mut token = None;
    for credential in presented(head) {
        if let Presented::Valid(grant) = context.relay.token(&credential.secret) {
            let ambient = credential.ambient;
            token = Some(Held { grant, ambient });
            break;
        }
    }
    Ok(Caller::Tcp { place, token })
}

/// For whoever is nobody by the head of the request: by a token that stands elsewhere in it, or why not.
///
/// # Errors
/// 401.
pub(super) fn identify_by(context: &Context, head: &Head, elsewhere: Option<&str>) -> Result<Caller, Denied> {
    let credentials = presented(head).into_iter().chain(elsewhere.map(Credential::explicit));
    let mut wrong = None;
    for Credential { secret, ambient } in credentials.filter(|credential| !credential.secret.is_empty()) {
        match context.relay.token(&secret) {
            Presented::Valid(grant) => {
                let token = Some(Held { grant, ambient });
                let place = Place::Elsewhere;
                return Ok(Caller::Tcp { place, token });
            }
            Presented::Expired(grant) => wrong = Some(format!("the token {} has ended", grant.name)),
            Presented::Unknown => {
                wrong.get_or_insert_with(|| "nobody has this token, or it was revoked".into());
            }
        }
    }
    let error = match &wrong {
        Some(why) => format!("{why}: make one with `tautline token new NAME`"),
        None => "a token is needed here: make one with `tautline token new NAME`, and send it as \
                 `Authorization: Bearer …`"
            .into(),
    };
    let problem = Problem::new(401, error);
    Err(Denied { problem, wrong })
}

/// May this caller make this request of an endpoint that takes `scope`, on `route` if its address names one?
///
/// # Errors
/// 403, with what to do instead.
pub(super) fn permit(caller: &Caller, scope: Scope, route: Option<&str>, head: &Head) -> Result<(), Problem> {
    if !caller.may(scope, route) {
        return Err(refusal(caller, scope, route, head));
    }
    let explicit = match caller {
        Caller::Control => true,
        Caller::Tcp { token, .. } => token
            .as_ref()
            .is_some_and(|held| !held.ambient && held.may(scope, route)),
    };
    match scope {
        // A page can cause a GET without an `Origin`, so one that does something is looked at again. No page knows a token.
        Scope::Publish | Scope::Admin if head.method == "GET" && !explicit => guard::check_acting_get(head),
        Scope::Publish | Scope::Read | Scope::Admin | Scope::Control => Ok(()),
    }
}

/// Why `scope` is not theirs.
pub(super) fn refusal(caller: &Caller, scope: Scope, route: Option<&str>, head: &Head) -> Problem {
    let what = format!("{} {}", head.method, head.path);
    let error = match (caller.grant(), scope) {
        (_, Scope::Control) => format!("{what:?} is allowed on the control socket alone: use the tautline command"),
        (None, _) => format!(
            "{what:?} is allowed on the control socket, or with a token that may {}: use the tautline command",
            scope.name()
        ),
        (Some(grant), _) if !grant.rights.has(scope.right().unwrap_or(Right::Admin)) => format!(
            "the token {} may {}, and {what:?} takes {}",
            grant.name,
            grant.rights,
            scope.name()
        ),
        (Some(grant), _) => match route {
            Some(route) => format!(
                "the token {} is not for the route {route:?}: its routes are {}",
                grant.name, grant.routes
            ),
            None => format!(
                "the token {} is for the routes {} alone, and {what:?} is about all",
                grant.name, grant.routes
            ),
        },
    };
    Problem::new(403, error)
}
