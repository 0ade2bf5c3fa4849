//! What a lab knows of its accounts, as JSON and back: a test can hold a login that another program made earlier.
//!
//! Groups are not in it; whoever restores makes the same ones in the same order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::signal::{Bundle, SignalState, to_bytes, to_text};
use super::world::{Account, Companion, Device};
use super::{Lab, Phone};

impl Lab {
    /// All accounts, phones and companions, without what is under way. Of each companion's one-time keys with the
    /// server, those whose number `keep` wants.
    pub fn save(&self, keep: impl Fn(u32) -> bool) -> Value {
        self.shared
            .lock_quietly(|world| world.accounts.iter().map(|account| save(account, &keep)).collect())
    }

    /// Makes the accounts of an earlier lab, in its order, and returns their phones. To be called on an empty one.
    ///
    /// # Panics
    /// `saved` is not of [`save`](Self::save).
    pub fn restore(&self, saved: &Value) -> Vec<Phone> {
        let accounts = saved.as_array().expect("accounts");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let phones: Vec<Phone> = accounts
            .iter()
            .map(|account| self.account(&text(&account["number"]), &text(&account["name"])))
            .collect();
        let mut world = self.shared.lock();
        for (index, saved) in accounts.iter().enumerate() {
            let account = &mut world.accounts[index];
            account.lid = text(&saved["lid"]);
            account.raw_id = number(&saved["raw_id"]);
            account.phone.signal = SignalState::restore(&saved["signal"]);
            account.companions = companions(&saved["companions"]);
            account.next_device = account.companions.keys().next_back().map_or(1, |last| last + 1);
            for pair in saved["distributed"].as_array().expect("a list") {
                let device = Device {
                    account: number(&pair[1]) as usize,
                    device: number(&pair[2]) as u16,
                };
                account.phone.distributed.insert((text(&pair[0]), device));
            }
        }
        drop(world);
        phones
    }
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("a number")).expect("32 bits")
}

fn save(account: &Account, keep: &impl Fn(u32) -> bool) -> Value {
    let companions: BTreeMap<_, _> = account
        .companions
        .iter()
        .filter(|(_, companion)| companion.linked)
        .map(|(device, companion)| (device.to_string(), save_companion(companion, keep)))
        .collect();
    let distributed: Vec<_> = account
        .phone
        .distributed
        .iter()
        .map(|(group, device)| json!([group, device.account, device.device]))
        .collect();
    json!({
        "number": account.number,
        "lid": account.lid,
        "name": account.name,
        "raw_id": account.raw_id,
        "signal": account.phone.signal.save(),
        "distributed": distributed,
        "companions": companions,
    })
}

fn save_companion(companion: &Companion, keep: &impl Fn(u32) -> bool) -> Value {
    let keys = &companion.keys;
    let one_time = companion.one_time.iter().filter(|(id, _)| keep(*id));
    json!({
        "noise": to_text(&companion.noise_public),
        "registration": keys.registration,
        "identity": to_text(&keys.identity),
        "signed_id": keys.signed_id,
        "signed_public": to_text(&keys.signed_public),
        "signature": to_text(&keys.signature),
        "device_identity": to_text(keys.device_identity.as_deref().unwrap_or_default()),
        "one_time": one_time.map(|(id, key)| json!([id, to_text(key)])).collect::<Vec<_>>(),
    })
}

fn companions(saved: &Value) -> BTreeMap<u16, Companion> {
    let key = |value: &Value| <[u8; 32]>::try_from(to_bytes(value)).expect("32 bytes");
    let saved = saved.as_object().expect("companions");
    let companion = |saved: &Value| Companion {
        noise_public: key(&saved["noise"]),
        keys: Bundle {
            registration: number(&saved["registration"]),
            identity: key(&saved["identity"]),
            signed_id: number(&saved["signed_id"]),
            signed_public: key(&saved["signed_public"]),
            signature: to_bytes(&saved["signature"]),
            one_time: None,
            device_identity: Some(to_bytes(&saved["device_identity"])),
        },
        one_time: saved["one_time"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|pair| (number(&pair[0]), key(&pair[1])))
            .collect(),
        linked: true,
        greeted: true,
        pending: Default::default(),
    };
    saved
        .iter()
        .map(|(device, saved)| (device.parse().expect("a device"), companion(saved)))
        .collect()
}
