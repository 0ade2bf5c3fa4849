//! Who asks, and what they may. Rights are checked here; whether a token is for a route too, `routes.rs` and `Call`
//! ask.
//!
//! What the place allows and what a token allows add up: a token takes nothing away. So where none is needed, one that
//! nobody knows is passed over; everywhere else it is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_io::Timer;

use super::answer::Problem;
use super::context::{Context, Listener};
use super::credentials::{Credential, presented};
use super::guard;
use super::head::{Head, Value};
use crate::access::{Asker, Grant, Login, Presented, Right};
use crate::config::Access;
use crate::gateway::api::TokenView;
use crate::gateway::place::Place;

/// The right that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To ask what senders ask before they send: for whoever may do anything here.
    Any,
    /// To hand in alerts.
    Publish,
    /// To see what there is: status, alerts and their texts, what happened.
    Read,
    /// What reveals contacts, links accounts, or takes an alert out of the relay's hands.
    Admin,
    /// What makes rights or gives keys away: for whoever may open the control socket, and for no token.
    Control,
    /// What takes no right: to log in, and the page that asks for it.
    Nothing,
}

impl Scope {
    /// Every scope that is a right of its own, the least first.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Read, Self::Admin, Self::Control];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Nothing => "none",
            Self::Publish | Self::Read | Self::Admin | Self::Control => self.right().map_or("control", Right::name),
        }
    }

    /// The right of a token that is enough for it.
    fn right(self) -> Option<Right> {
        match self {
            // Each right is enough, and every token has one.
            Self::Any => None,
            Self::Publish => Some(Right::Publish),
            Self::Read => Some(Right::Read),
            Self::Admin => Some(Right::Admin),
            Self::Control | Self::Nothing => None,
        }
    }
}

impl Place {
    fn may(self, scope: Scope) -> bool {
        match (self, scope) {
            (_, Scope::Nothing) => true,
            (Self::Loopback, Scope::Any | Scope::Publish | Scope::Read) => true,
            (Self::Loopback, Scope::Admin | Scope::Control) => false,
            (Self::Trusted, Scope::Any | Scope::Publish) => true,
            (Self::Trusted, Scope::Read | Scope::Admin | Scope::Control) => false,
            (Self::Elsewhere, Scope::Any | Scope::Publish | Scope::Read | Scope::Admin | Scope::Control) => false,
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Whoever can open the control socket's file owns the relay.
    Control,
    /// Somebody over TCP.
    Tcp { place: Place, token: Option<Held> },
}

/// A token that is good.
#[derive(Debug, Clone)]
pub(super) struct Held {
    grant: Arc<Grant>,
    /// As in [`Credential`].
    ambient: bool,
    /// It was shown when this began, and is not in the request.
    login: Option<Arc<Login>>,
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

    /// Whether `scope` is still theirs, by the tokens that there are now.
    pub fn lasts(&self, scope: Scope, tokens: impl FnOnce() -> Vec<TokenView>) -> bool {
        match self {
            Self::Control => true,
            Self::Tcp { place, token: None } => place.may(scope),
            Self::Tcp {
                place,
                token: Some(held),
            } => {
                let login = held.login.as_ref();
                let lasts = login.is_none_or(|login| login.is_good(Instant::now()));
                place.may(scope) || lasts && tokens().iter().any(|token| token.gives(&held.grant))
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

    /// The login that they came with.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Self::Control | Self::Tcp { token: None, .. } => None,
            Self::Tcp { token: Some(held), .. } => held.login.as_deref(),
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
        let right = match scope {
            Scope::Nothing => return true,
            Scope::Any => true,
            Scope::Publish | Scope::Read | Scope::Admin | Scope::Control => {
                scope.right().is_some_and(|right| self.grant.rights.has(right))
            }
        };
        right && route.is_none_or(|route| self.grant.routes.has(route))
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    place: Place,
    /// The client's address, as far as a proxy's word is taken for it; absent on the control socket.
    pub client: Option<IpAddr>,
    /// A proxy has handed it on.
    proxied: bool,
}

impl Origin {
    /// Whether it came over the network. What runs on this box is as fast as it is.
    fn is_elsewhere(&self) -> bool {
        self.proxied || self.client.is_none_or(|client| !client.is_loopback())
    }
}

/// Counts a request over the network: by the token, or by the address of whoever has none.
///
/// # Errors
/// 429, when to come again.
pub(super) fn admit(context: &Context, origin: Option<Origin>, caller: &Caller) -> Result<(), Problem> {
    let Some(origin) = origin.filter(Origin::is_elsewhere) else {
        return Ok(());
    };
    let asker = match (caller.grant(), origin.client) {
        (Some(grant), _) => Asker::Token(grant.name.clone()),
        (None, Some(address)) => Asker::at(address),
        (None, None) => return Ok(()),
    };
    context.admit(&asker).map_err(|wait| {
        let rate = context.access.rate;
        let who = match &asker {
            Asker::Token(name) => format!("the token {name}"),
            Asker::Address(_) => "this address".into(),
        };
        let error = format!(
            "{who} asks more often than {} times a minute, after {} at once",
            rate.per_minute, rate.burst
        );
        Problem::new(429, error).retry_after(wait)
    })
}

/// Says where a request comes from.
///
/// # Errors
/// 403: nobody is answered there, token or not.
pub(super) fn origin(access: &Access, listener: Listener, head: &Head) -> Result<Option<Origin>, Problem> {
    let Listener::Tcp { peer, secure, .. } = listener else {
        // Its file's mode is the check.
        return Ok(None);
    };
    let peer = peer.ip().to_canonical();
    if access.is_proxy(peer) {
        let client = forwarded_for(access, head);
        let trusted = client.is_some_and(|client| access.is_trusted(client));
        return Ok(Some(Origin {
            place: if trusted { Place::Trusted } else { Place::Elsewhere },
            client: client.or(Some(peer)),
            proxied: true,
        }));
    }
    let place = match Place::of(access, peer) {
        Place::Elsewhere if !secure && !peer.is_loopback() => {
            let error = match (access.tls, &access.proxies) {
                (true, _) => "use https:// here: a token would be readable on the way",
                (false, Some(_)) => "this relay answers its proxy alone",
                (false, None) => "this relay answers the networks that it trusts alone",
            };
            return Err(Problem::new(403, error));
        }
        place => place,
    };
    Ok(Some(Origin {
        place,
        client: Some(peer),
        proxied: false,
    }))
}

/// The client that a proxy speaks for: the last address that no proxy of ours is. What stands before it anybody may
/// have written.
fn forwarded_for(access: &Access, head: &Head) -> Option<IpAddr> {
    let values = head.headers().filter(|(name, _)| *name == "x-forwarded-for");
    let values: Vec<&str> = values
        .map(|(_, value)| std::str::from_utf8(value).unwrap_or_default())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in values.into_iter().rev() {
        let address: IpAddr = hop.trim().parse().ok()?;
        let address = address.to_canonical();
        if !access.is_proxy(address) {
            return Some(address);
        }
    }
    None
}

/// Says who makes the request, by where it comes from and the tokens in its head. Whoever is nobody yet may still have
/// one in the body: see [`identify_by`].
///
/// # Errors
/// A web page from elsewhere is behind it.
pub(super) fn identify(
    context: &Context,
    listener: Listener,
    origin: Option<Origin>,
    head: &Head,
) -> Result<Caller, Problem> {
    let (Some(Origin { place, client, proxied }), Listener::Tcp { local, secure, .. }) = (origin, listener) else {
        return Ok(Caller::Control);
    };
    let mut token = None;
    for credential in presented(head) {
        if let Presented::Valid(grant) = context.relay.token(&credential.secret) {
            let ambient = credential.ambient;
            token = Some(Held {
                grant,
                ambient,
                login: None,
            });
            break;
        }
    }
    if token.is_none() {
        token = logged_in(context, listener, head);
    }
    if !proxied && client.is_some_and(|client| client.is_loopback()) {
        guard::check(head, local, secure)?;
    } else {
        let forwarded = ["x-forwarded-host", "host"].into_iter().skip(usize::from(!proxied));
        let host = forwarded
            .filter(|name| head.has(name))
            .find_map(|name| match head.value(name) {
                Value::Text(host) => Some(host),
                Value::Absent | Value::Unreadable => None,
            });
        // Whoever is nobody is refused for that, whatever they call the relay.
        let known = token.is_some() || place == Place::Elsewhere;
        guard::check_beyond(head, host.unwrap_or_default(), &context.access.names, known)?;
    }
    Ok(Caller::Tcp { place, token })
}

/// For whoever is nobody by the head of the request: by a token that stands elsewhere in it, or why not.
///
/// # Errors
/// 401.
pub(super) fn identify_by(context: &Context, head: &Head, elsewhere: Option<&str>) -> Result<Caller, Denied> {
    let credentials = presented(head).into_iter().chain(elsewhere.map(Credential::explicit));
    let mut denial = None;
    for Credential { secret, ambient } in credentials.filter(|credential| !credential.secret.is_empty()) {
        match context.relay.token(&secret) {
            Presented::Valid(grant) => {
                let token = Some(Held {
                    grant,
                    ambient,
                    login: None,
                });
                let place = Place::Elsewhere;
                return Ok(Caller::Tcp { place, token });
            }
            presented @ Presented::Expired(_) => denial = Some(denied(&presented)),
            Presented::Unknown => {
                denial.get_or_insert_with(|| denied(&Presented::Unknown));
            }
        }
    }
    Err(denial.unwrap_or_else(|| Denied {
        problem: Problem::new(
            401,
            "a token is needed here: make one with `tautline token new NAME`, and send it as `Authorization: Bearer …`",
        ),
        wrong: None,
    }))
}

/// Why a token that is not good lets nobody in.
pub(super) fn denied(presented: &Presented) -> Denied {
    let why = match presented {
        Presented::Expired(grant) | Presented::Valid(grant) => format!("the token {} has ended", grant.name),
        Presented::Unknown => "nobody has this token, or it was revoked".into(),
    };
    Denied {
        problem: Problem::new(401, format!("{why}: make one with `tautline token new NAME`")),
        wrong: Some(why),
    }
}

/// Says no to whoever is nobody; to one with a wrong token after a while.
pub(super) async fn refuse(context: &Context, from: Option<IpAddr>, head: &Head, denied: Denied) -> Problem {
    let Some(why) = denied.wrong else {
        return denied.problem;
    };
    let what = format!("{} {}", head.method, head.path);
    context.refused.note(from, &what, &why);
    let Some(_slot) = context.guess_slot() else {
        return Problem::new(429, "too many wrong tokens come at once");
    };
    Timer::after(context.limits.wrong_token).await;
    denied.problem
}

/// The login that a browser brings in its cookie, if its token is still what it was.
fn logged_in(context: &Context, listener: Listener, head: &Head) -> Option<Held> {
    let (name, _) = cookie_of(&context.access, listener, head);
    let cookies = head.headers().filter(|(name, _)| *name == "cookie");
    let mut pairs = cookies
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, secret) = pairs.find(|(given, _)| *given == name)?;
    let login = context.logins.find(secret, Instant::now())?;
    let grant = Arc::clone(&login.grant);
    let is_still = context.relay.tokens().iter().any(|token| token.gives(&grant));
    is_still.then_some(Held {
        grant,
        ambient: true,
        login: Some(login),
    })
}

/// The name of the cookie of a login here, and whether it goes by TLS alone.
pub(super) fn cookie_of(access: &Access, listener: Listener, head: &Head) -> (String, bool) {
    let Listener::Tcp { local, peer, secure } = listener else {
        return (String::new(), false);
    };
    let by_tls = secure
        || access.is_proxy(peer.ip().to_canonical())
            && matches!(head.value("x-forwarded-proto"), Value::Text(proto) if proto.eq_ignore_ascii_case("https"));
    match by_tls {
        true => ("__Host-tautline".to_owned(), true),
        false => (format!("tautline-{}", local.port()), false),
    }
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
        // A page can cause a GET without an `Origin`, so one that does something is looked at again. No page knows a
        // token.
        Scope::Publish | Scope::Admin if head.method == "GET" && !explicit => guard::check_acting_get(head),
        Scope::Any | Scope::Publish | Scope::Read | Scope::Admin | Scope::Control | Scope::Nothing => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::super::head::parse;
    use super::*;
    use crate::config::Loopback;

    fn place(access: &Access, peer: &str, secure: bool) -> Result<Place, String> {
        let listener = Listener::Tcp {
            local: "192.0.2.1:7373".parse().unwrap(),
            peer: std::net::SocketAddr::new(peer.parse().unwrap(), 1),
            secure,
        };
        let head = parse(b"POST /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.168.1.7\r\n\r\n").unwrap();
        match origin(access, listener, &head) {
            Ok(origin) => Ok(origin.unwrap().place),
            Err(problem) => Err(problem.body().error.clone()),
        }
    }

    #[test]
    fn an_address_gives_what_the_configuration_says_and_no_more() {
        let lan = vec!["192.168.1.0/24".parse().unwrap()];
        let trusting = Access {
            trusted: lan.clone(),
            ..Access::default()
        };
        assert_eq!(place(&trusting, "127.0.0.1", false), Ok(Place::Loopback));
        assert_eq!(place(&trusting, "::ffff:192.168.1.9", false), Ok(Place::Trusted));
        // Nobody else can send a token that is not read on the way.
        assert!(
            place(&trusting, "203.0.113.9", false)
                .unwrap_err()
                .contains("trusts alone")
        );
        let closed = Access {
            loopback: Loopback::Token,
            ..trusting.clone()
        };
        assert_eq!(place(&closed, "::1", false), Ok(Place::Elsewhere));
        let encrypted = Access {
            tls: true,
            ..trusting.clone()
        };
        assert_eq!(place(&encrypted, "203.0.113.9", true), Ok(Place::Elsewhere));
        assert!(place(&encrypted, "203.0.113.9", false).unwrap_err().contains("https"));
        assert_eq!(place(&encrypted, "192.168.1.9", false), Ok(Place::Trusted));
        let proxied = Access {
            proxies: Some(vec!["192.168.1.2".parse().unwrap()]),
            ..trusting
        };
        assert_eq!(
            place(&proxied, "192.168.1.2", false),
            Ok(Place::Trusted),
            "by the client's address"
        );
        assert_eq!(place(&proxied, "127.0.0.1", false), Ok(Place::Loopback));
        assert!(
            place(&proxied, "203.0.113.9", false)
                .unwrap_err()
                .contains("its proxy alone")
        );
    }
}
