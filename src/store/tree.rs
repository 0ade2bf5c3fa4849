//! The collections of the store, in one table: what each is called, whose it is, what a backup does with it, and what
//! it means when a record of it cannot be read.

use super::engine::Collection;

/// Whose records they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The relay's own.
    Relay,
    /// A session's credentials and Signal state, with the session's name as the first part of each key.
    Session,
}

/// What a backup does with a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// Who we are, what our account has told us, and what is addressed by it: nothing of it is used up by use. And what
    /// was promised, and what was received.
    Taken,
    /// Left out: ratchets, keys that are good for one use, and what is only true together with them. To use one again
    /// would use message keys twice.
    UsedUp,
    /// Left out: a copy of what the server knows; the news that change it went to the relay that ran on.
    OutOfDate,
    /// Left out: credentials that were ended, old ratchets among them.
    Ended,
}

/// What goes on without a record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The session does not start.
    Session,
    /// This alert is not sent.
    Alert,
    /// This token gives no right.
    Token,
    /// Everything else.
    Little,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct TreeInfo {
    pub tree: Tree,
    pub name: &'static str,
    pub owner: Owner,
    pub backup: Backup,
    pub loss: Loss,
}

macro_rules! trees {
    ($($(#[$doc:meta])* $tree:ident = $number:literal, $name:literal, $owner:ident, $backup:ident, $loss:ident;)*) => {
        /// A collection of the store. Its number is part of every key on disk: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Tree {
            $($(#[$doc])* $tree = $number,)*
        }

        /// All collections, in the order of their numbers.
        pub const TREES: &[TreeInfo] = &[$(TreeInfo {
            tree: Tree::$tree,
            name: $name,
            owner: Owner::$owner,
            backup: Backup::$backup,
            loss: Loss::$loss,
        },)*];

        impl Tree {
            /// Its row of the table.
            pub const fn info(self) -> &'static TreeInfo {
                // The numbers have gaps, so a row is found by its place among those before it.
                let mut at = 0;
                while TREES[at].tree as u8 != self as u8 {
                    at += 1;
                }
                &TREES[at]
            }
        }
    };
}

trees! {
    /// One-off facts: format version, last good web version.
    Meta = 0, "meta", Relay, Taken, Little;
    Device = 1, "device", Session, Taken, Session;
    Identity = 2, "identity", Session, Taken, Little;
    Session = 3, "session", Session, UsedUp, Little;
    PreKey = 4, "prekey", Session, UsedUp, Little;
    SignedPreKey = 5, "signed-prekey", Session, Taken, Little;
    SenderKey = 6, "sender-key", Session, UsedUp, Little;
    SyncKey = 7, "sync-key", Session, Taken, Little;
    SyncVersion = 8, "sync-version", Session, Taken, Little;
    MutationMac = 9, "mutation-mac", Session, Taken, Little;
    SenderKeyDevice = 10, "sender-key-device", Session, UsedUp, Little;
    LidMapping = 11, "lid-mapping", Session, Taken, Little;
    PnMapping = 12, "pn-mapping", Session, Taken, Little;
    BaseKey = 13, "base-key", Session, UsedUp, Little;
    DeviceList = 14, "device-list", Session, OutOfDate, Little;
    GroupMetadata = 15, "group-metadata", Session, OutOfDate, Little;
    TcToken = 16, "tc-token", Session, Taken, Little;
    SentMessage = 17, "sent-message", Session, UsedUp, Little;
    PendingInbound = 18, "pending-inbound", Session, UsedUp, Little;
    MessageSecret = 19, "message-secret", Session, UsedUp, Little;
    /// Credentials of a session that WhatsApp ended, kept for a person to look at, never loaded again.
    Quarantine = 20, "quarantine", Relay, Ended, Little;
    Outbox = 32, "outbox", Relay, Taken, Alert;
    /// Messages that came in, each once, by their place in the order of arrival.
    Inbound = 33, "inbound", Relay, Taken, Little;
    /// Which message stands at which place.
    InboundIdentity = 34, "inbound-identity", Relay, Taken, Little;
    /// What happened, by number.
    Journal = 35, "journal", Relay, Taken, Little;
    /// What ended each line, and how each run began.
    LineEnd = 36, "line-end", Relay, Taken, Little;
    /// Keys of alerts that are forgotten, by the place of the alert.
    AlertKey = 37, "alert-key", Relay, Taken, Little;
    /// Digests of tokens and what they may, by their names.
    Token = 38, "token", Relay, Taken, Token;
    /// What was uploaded to the media servers, by session, file and kind.
    Upload = 44, "upload", Relay, OutOfDate, Little;
}

impl Tree {
    /// All trees, in the order of their numbers.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        TREES.iter().map(|info| info.tree)
    }

    /// The trees that make up one session's credentials and Signal state.
    pub fn credentials() -> impl DoubleEndedIterator<Item = Self> {
        Self::all().filter(|tree| tree.info().owner == Owner::Session)
    }

    /// The tree with this number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::all().find(|tree| *tree as u8 == number)
    }

    /// The tree of a key as it stands on disk.
    pub fn of_raw_key(raw: &[u8]) -> Option<Self> {
        Self::from_number(*raw.first()?)
    }

    /// `key` as it stands on disk.
    pub fn raw_key(self, key: &[u8]) -> Vec<u8> {
        Collection::from(self).raw_key(key)
    }

    /// For messages.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether its records are part of a backup.
    pub const fn is_in_backup(self) -> bool {
        match self.info().backup {
            Backup::Taken => true,
            Backup::UsedUp | Backup::OutOfDate | Backup::Ended => false,
        }
    }
}

impl From<Tree> for Collection {
    fn from(tree: Tree) -> Self {
        Self {
            number: tree as u8,
            name: tree.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tree_is_found_by_its_number_and_no_two_share_a_name() {
        let names: std::collections::BTreeSet<_> = TREES.iter().map(|info| info.name).collect();
        assert_eq!(names.len(), TREES.len());
        for info in TREES {
            assert_eq!(Tree::from_number(info.tree as u8), Some(info.tree));
            assert_eq!(info.tree.name(), info.name);
        }
        assert_eq!(Tree::from_number(0xFF), None, "it is the index's own");
        assert_eq!(Tree::credentials().count(), 19);
    }
}
