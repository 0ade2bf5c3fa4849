//! Who asks, and what they may. The only place where a right is checked.

use super::answer::Problem;
use super::context::Listener;
use super::guard;
use super::head::Head;

/// The right that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To hand in alerts.
    Publish,
    /// To see what there is: status, alerts and their texts, what happened.
    Read,
    /// What reveals contacts or keys, links accounts, or takes an alert out of the relay's hands.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Read, Self::Admin];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// Who makes a request. Whoever comes with a token will be a variant of its own, with the scopes of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever can open the control socket's file owns the relay.
    Control,
    /// A program on this box, of any user. Loopback has no users.
    Loopback,
}

impl Caller {
    fn may(self, scope: Scope) -> bool {
        match (self, scope) {
            (Self::Control, Scope::Publish | Scope::Read | Scope::Admin) => true,
            (Self::Loopback, Scope::Publish | Scope::Read) => true,
            (Self::Loopback, Scope::Admin) => false,
        }
    }
}

/// Says who makes the request.
///
/// # Errors
/// A web page from elsewhere is behind it.
pub(super) fn identify(listener: Listener, head: &Head) -> Result<Caller, Problem> {
    match listener {
        Listener::Tcp(address) => guard::check(head, address).map(|()| Caller::Loopback),
        // Its file's mode is the check.
        Listener::Control => Ok(Caller::Control),
    }
}

/// May this caller make this request of an endpoint that takes `scope`?
///
/// # Errors
/// 403, with what to do instead.
pub(super) fn permit(caller: Caller, scope: Scope, head: &Head) -> Result<(), Problem> {
    if !caller.may(scope) {
        let what = format!("{} {}", head.method, head.path);
        let error = format!("{what:?} is allowed on the control socket alone: use the tautline command");
        return Err(Problem::new(403, error));
    }
    match (caller, scope) {
        // A page can cause a GET without an `Origin`, so one that does something is looked at again.
        (Caller::Loopback, Scope::Publish | Scope::Admin) if head.method == "GET" => guard::check_acting_get(head),
        (Caller::Loopback | Caller::Control, Scope::Publish | Scope::Read | Scope::Admin) => Ok(()),
    }
}
