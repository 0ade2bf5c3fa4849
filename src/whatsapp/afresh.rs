//! Asking the server anew which LID belongs to a number: the answer to a refusal that says, or may mean, that what is
//! known of the recipient is out of date. Groups and devices are asked for anew by [`recipients`](super::recipients).

use wacore::iq::usync::LidQuerySpec;
use wacore::types::lid_pn::LearningSource;
use wacore_binary::Jid;
use whatsapp_rust::{Client, IqError};

/// Which LID belongs to a number. An answer that has none changes nothing.
///
/// # Errors
/// The question was refused, or not answered.
pub(super) async fn ask_for_lid(client: &Client, number: &Jid, sid: String) -> Result<(), IqError> {
    let answer = client.execute(LidQuerySpec::new(vec![number.to_non_ad()], sid)).await?;
    for mapping in &answer.lid_mappings {
        let learned = client.add_lid_pn_mapping(&mapping.lid, &mapping.phone_number, LearningSource::Usync);
        if let Err(error) = learned.await {
            log::debug!("a LID was not kept: {error:#}");
        }
    }
    Ok(())
}
