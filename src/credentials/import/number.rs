//! The users that addresses name.

/// Digits, as many as a number or a hidden id can have.
pub(super) fn is_number(user: &str) -> bool {
    (1..=20).contains(&user.len()) && user.bytes().all(|byte| byte.is_ascii_digit())
}
