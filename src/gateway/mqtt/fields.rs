//! What stands beside a message in MQTT 5, as the fields that dialects read.

use crate::dialect::Fields;
use crate::mqtt::Publish;

/// What stands beside a message, as ntfy's headers.
pub(super) fn own_fields(publish: &Publish, key: Option<String>) -> Fields<'_> {
    let properties = &publish.properties;
    let ttl = properties.expiry.map(|expiry| expiry.as_secs().max(1).to_string());
    let own = [("x-ttl", ttl), ("x-key", key)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = properties.user.iter();
    let headers: Fields<'_> = given.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.behind(own)
}
