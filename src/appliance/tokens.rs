//! The tokens of the relay: in memory for every request, on disk for every change.

use std::sync::{Arc, Mutex};

use smol::Executor;

use super::dispatcher::storage_refusal;
use super::{clock, ids};
use crate::access::{Digest, Grant, Keyring, Presented, TOKENS_MAX, Token};
use crate::gateway::Refusal;
use crate::gateway::api::{IssuedToken, TokenView};
use crate::store::tokens::{self, Added};
use crate::store::{Store, StoreError};
use crate::util::lock;

/// Shared by the gateway and the status.
pub(super) struct Tokens {
    keyring: Mutex<Keyring>,
    store: Store,
    executor: Arc<Executor<'static>>,
    /// Held while one is made or revoked, so that memory has them in the order of the disk.
    changing: smol::lock::Mutex<()>,
}

impl Tokens {
    /// Those of the store, and a line for each that cannot be read.
    ///
    /// # Errors
    /// The store could not be read at all.
    pub(super) fn open(store: Store, executor: Arc<Executor<'static>>) -> Result<(Self, Vec<String>), StoreError> {
        let (known, damaged) = tokens::load(store.view())?;
        let tokens = Self {
            keyring: Mutex::new(Keyring::new(known)),
            store,
            executor,
            changing: smol::lock::Mutex::new(()),
        };
        Ok((tokens, damaged))
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.keyring).tokens().len()
    }

    pub(super) fn presented(&self, secret: &str) -> Presented {
        let (presented, used) = {
            let mut keyring = lock(&self.keyring);
            let (presented, used) = keyring.use_now(secret, clock::wall_ms());
            (presented, used.cloned())
        };
        if let Some(token) = used {
            // Not before the answer: a request waits for no note of its own.
            let store = self.store.clone();
            let noting = async move {
                if let Err(error) = tokens::note_use(&store, token).await {
                    log::debug!("the use of a token was not noted: {error}");
                }
            };
            self.executor.spawn(noting).detach();
        }
        presented
    }

    pub(super) fn list(&self) -> Vec<TokenView> {
        let now_ms = clock::wall_ms();
        let keyring = lock(&self.keyring);
        keyring
            .tokens()
            .iter()
            .map(|token| TokenView::new(token, now_ms))
            .collect()
    }

    /// # Errors
    /// As [`Relay::new_token`](crate::gateway::Relay::new_token) has them.
    pub(super) async fn make(&self, grant: Grant, expires_in_ms: Option<u64>) -> Result<IssuedToken, Refusal> {
        let _turn = self.changing.lock().await;
        let (secret, token) = new_token(grant, expires_in_ms)?;
        keep_new(&self.store, &token).await?;
        let kept = TokenView::new(&token, token.created_ms);
        lock(&self.keyring).put(token);
        Ok(IssuedToken { token: secret, kept })
    }

    /// # Errors
    /// As [`Relay::revoke_token`](crate::gateway::Relay::revoke_token) has them.
    pub(super) async fn revoke(&self, name: &str) -> Result<(), Refusal> {
        let _turn = self.changing.lock().await;
        // Whatever the disk does: from now on nobody comes in by it.
        lock(&self.keyring).remove(name);
        let there = tokens::remove(&self.store, name).await;
        match there.map_err(|error| storage_refusal(&error))? {
            true => Ok(()),
            false => Err(Refusal::UnknownToken(name.to_owned())),
        }
    }
}

/// A new secret, and what is to be kept of it.
///
/// # Errors
/// There is no randomness.
fn new_token(grant: Grant, expires_in_ms: Option<u64>) -> Result<(String, Token), Refusal> {
    let secret = ids::secret().map_err(Refusal::Unavailable)?;
    let created_ms = clock::wall_ms();
    let token = Token {
        grant: Arc::new(grant),
        digest: Digest::of(&secret),
        created_ms,
        expires_ms: expires_in_ms.map(|after| created_ms.saturating_add(after)),
        used_ms: None,
    };
    Ok((secret, token))
}

async fn keep_new(store: &Store, token: &Token) -> Result<(), Refusal> {
    let name = &token.grant.name;
    let added = tokens::add(store, token.clone()).await;
    match added.map_err(|error| storage_refusal(&error))? {
        Added::Done => Ok(()),
        Added::Taken => Err(Refusal::Conflict(format!(
            "there is a token {name} already: revoke it first, or give the new one another name"
        ))),
        Added::TooMany => Err(Refusal::Conflict(format!(
            "there are {TOKENS_MAX} tokens, as many as there may be: revoke one that nobody uses"
        ))),
    }
}

/// Tokens of a state that no relay has open.
pub mod alone {
    use super::{Grant, IssuedToken, Refusal, Store, TokenView, clock, keep_new, new_token, storage_refusal, tokens};

    /// Makes a token.
    ///
    /// # Errors
    /// As [`Relay::new_token`](crate::gateway::Relay::new_token) has them.
    pub async fn make(store: &Store, grant: Grant, expires_in_ms: Option<u64>) -> Result<IssuedToken, Refusal> {
        let (secret, token) = new_token(grant, expires_in_ms)?;
        keep_new(store, &token).await?;
        let kept = TokenView::new(&token, token.created_ms);
        Ok(IssuedToken { token: secret, kept })
    }

    /// All of them, by name, and a line for each that cannot be read.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn list(store: &Store) -> Result<(Vec<TokenView>, Vec<String>), Refusal> {
        let (known, damaged) = tokens::load(store.view()).map_err(|error| storage_refusal(&error))?;
        let now_ms = clock::wall_ms();
        let views = known.iter().map(|token| TokenView::new(token, now_ms)).collect();
        Ok((views, damaged))
    }

    /// Takes one away.
    ///
    /// # Errors
    /// There is none of this name, or it may still be there.
    pub async fn revoke(store: &Store, name: &str) -> Result<(), Refusal> {
        match tokens::remove(store, name)
            .await
            .map_err(|error| storage_refusal(&error))?
        {
            true => Ok(()),
            false => Err(Refusal::UnknownToken(name.to_owned())),
        }
    }
}
