//! What the fuzz targets in `fuzz/` run, and `tests/parts/corpus.rs` replays: bytes that may be anything go in, and a
//! panic is a failure. Not for other use.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::credentials::import::{self, ImportError, Imported};
use crate::credentials::{ROUND_TRIPS, RoundTrip};
use crate::store::inbound::InboundRecord;
use crate::store::tokens::TokenV1;
use crate::store::uploads::UploadV1;
use crate::store::{StoreError, Tree, history, journal, outbox, record};

pub use super::backup::fuzz::{backup, is_whole_backup};
pub use crate::store::log::fuzz::log as frames;

/// Records of trees that are not credentials.
const OTHERS: [(Tree, RoundTrip); 7] = [
    (Tree::Outbox, |bytes| outbox::encode(&outbox::decode_value(bytes)?)),
    (Tree::Inbound, |bytes| round_trip::<InboundRecord>(Tree::Inbound, bytes)),
    (Tree::Journal, |bytes| journal::encode(&journal::decode(bytes)?)),
    (Tree::LineEnd, |bytes| history::encode(&history::decode(bytes)?)),
    (Tree::AlertKey, |bytes| {
        outbox::encode_key(&outbox::decode_key(&[0; 8], bytes)?)
    }),
    (Tree::Token, |bytes| round_trip::<TokenV1>(Tree::Token, bytes)),
    (Tree::Upload, |bytes| round_trip::<UploadV1>(Tree::Upload, bytes)),
];

fn round_trip<T: Serialize + DeserializeOwned>(tree: Tree, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    record::encode(tree, 1, &record::decode::<T>(tree, 1, bytes)?)
}

/// A record: one byte that chooses its form, then the stored value. What is read and written is read again, and then
/// says the same.
///
/// # Panics
/// It does not.
pub fn records(data: &[u8]) {
    let Some((&choice, value)) = data.split_first() else {
        return;
    };
    let count = ROUND_TRIPS.len() + OTHERS.len();
    let (tree, round_trip) = ROUND_TRIPS
        .iter()
        .chain(&OTHERS)
        .nth(choice as usize % count)
        .expect("below their number");
    if let Ok(first) = round_trip(value) {
        let second = round_trip(&first).expect("what was written is readable");
        assert_eq!(first, second, "a {} says something else each time", tree.name());
    }
}

/// The files that [`baileys`] can put its bytes into, each beside a good `creds.json`. The first is that itself.
const PLACES: [&str; 10] = [
    import::CREDS,
    "pre-key-7.json",
    "session-15550100002.0.json",
    "sender-key-120363000000000001@g.us--15550100002--0.json",
    "identity-key-15550100002.0.json",
    "app-state-sync-key-AAAAAAAB.json",
    "app-state-sync-version-regular.json",
    "lid-mapping-15550100002.json",
    "sender-key-memory-120363000000000001@g.us.json",
    "tctoken-15550100002@s.whatsapp.net.json",
];

/// One file of another program's folder: one byte that chooses which, then its content. A last place takes the name
/// from the bytes too, up to the first line end. `creds` is a good login to put the file beside.
///
/// # Panics
/// The import panics, or says something that does not fit a line.
pub fn baileys(creds: &[u8], data: &[u8]) {
    match parsed(creds, data) {
        Ok(imported) => {
            for left in imported.left_out() {
                assert!(!left.reason.contains('\n') && left.reason.len() < 400);
            }
        }
        Err(refusal) => assert!(refusal.to_string().len() < 400),
    }
}

/// Whether [`baileys`] would find a whole file in `data`.
pub fn is_taken(creds: &[u8], data: &[u8]) -> bool {
    parsed(creds, data).is_ok_and(|imported| imported.left_out().is_empty())
}

fn parsed(creds: &[u8], data: &[u8]) -> Result<Imported, ImportError> {
    let (&choice, content) = data.split_first().unwrap_or((&0, &[]));
    let (name, content) = match PLACES.get(choice as usize % (PLACES.len() + 1)) {
        Some(&name) => (name.to_owned(), content),
        None => {
            let end = content.iter().position(|&byte| byte == b'\n').unwrap_or(content.len());
            let (name, rest) = content.split_at(end);
            let rest = rest.get(1..).unwrap_or_default();
            (String::from_utf8_lossy(name).into_owned(), rest)
        }
    };
    if name == import::CREDS {
        return import::parse(content, []);
    }
    import::parse(creds, [(name, Ok(content.to_vec().into()))])
}
