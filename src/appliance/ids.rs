//! Random names: of alerts for people, of messages for WhatsApp, seeds for jitter.

use crate::access;
use crate::outbox::MessageId;

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// ntfy's ids have this length and alphabet; scripts that parse them need not learn another.
const ALERT_ID_CHARS: usize = 12;

/// The kernel's randomness. It fails only before the pool is first seeded, and then it blocks instead.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // Without getrandom (a seccomp filter of another age) ids still must not repeat.
        bytes.fill_with(|| fastrand::u8(..));
    }
    bytes
}

pub(super) fn alert_id() -> String {
    // 62 does not divide 256: the bias towards the first 8 letters is of no consequence for a name.
    random::<ALERT_ID_CHARS>()
        .iter()
        .map(|byte| char::from(ALPHANUMERIC[usize::from(*byte) % 62]))
        .collect()
}

/// `3EB0` and 18 hex digits, the form that WhatsApp Web gives its ids.
pub(super) fn message_id() -> MessageId {
    use std::fmt::Write;
    let mut id = String::from("3EB0");
    for byte in random::<9>() {
        let _ = write!(id, "{byte:02X}");
    }
    MessageId(id)
}

/// A token's secret. Nothing but the kernel's randomness is good enough for it.
///
/// # Errors
/// There is none.
pub(super) fn secret() -> Result<String, String> {
    loop {
        let mut bytes = [0; access::SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        if let Some(secret) = access::secret(&bytes) {
            return Ok(secret);
        }
    }
}

pub(super) fn seed() -> u64 {
    u64::from_le_bytes(random())
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms() {
        assert_eq!(super::alert_id().len(), 12);
        let id = super::message_id().0;
        assert!(id.starts_with("3EB0") && id.len() == 22, "{id}");
        assert_ne!(super::message_id(), super::message_id());
    }
}
