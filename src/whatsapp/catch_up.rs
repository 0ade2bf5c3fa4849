//! A message that was acked, and the server knows of devices that it was not made for: somebody has linked one while
//! nobody told us. They are asked for, and get the message under its id.

use wacore_binary::JidExt as _;
use whatsapp_rust::{MessageRetransmission, SendError};

use super::recipients::Asking;
use super::written::Flight;
use crate::outbox::MessageId;

/// Devices that one message is sent to afterwards. More than that are no new devices but another group.
const DEVICES_MAX: usize = 32;

/// The library sends to one device only what that device has asked for again; this is the first time.
const FIRST_TIME: u8 = 1;

/// Gives the message to the devices that it was not made for. `None`: all have it; else words for what is missing.
pub(super) async fn catch_up(asking: &Asking, id: &MessageId, mut flight: Flight) -> Option<String> {
    match send_to_the_rest(asking, id, &mut flight).await {
        Ok(0) => None,
        Ok(missing) => Some(format!("{missing} device(s) of the recipient could not be given it")),
        Err(error) => Some(format!(
            "the recipient has devices that were not known, and they could not be asked for: {error}"
        )),
    }
}

/// How many devices are still without it.
async fn send_to_the_rest(asking: &Asking, id: &MessageId, flight: &mut Flight) -> Result<usize, SendError> {
    let reached = flight.devices();
    let audience = asking.audience(&flight.chat, &flight.own, true).await?;
    let missing = asking.not_reached(&audience, &flight.own, &reached).await?;
    if missing.is_empty() {
        return Ok(0);
    }
    log::info!(
        "{} device(s) of a recipient were not known; the message is sent to them",
        missing.len()
    );
    let lacking = asking.lack_keys(missing.clone()).await?;
    let mut without = 0;
    for (at, device) in missing.iter().enumerate() {
        if at >= DEVICES_MAX || lacking.contains(device) {
            without += 1;
            continue;
        }
        let message = (*flight.message).clone();
        let mut sending =
            MessageRetransmission::new(flight.chat.clone(), device.clone(), message, id.0.clone(), FIRST_TIME);
        if !flight.chat.is_group() && flight.own.is_account(device) {
            sending = sending.with_recipient(flight.chat.to_non_ad());
        }
        if let Err(error) = asking.client.retransmit_message(sending).await {
            log::info!("a device that was not known could not be given the message: {error}");
            without += 1;
        }
    }
    Ok(without)
}
