//! What a server checks those who come in with, read from files at its start and again while it
//! runs.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth;
use crate::config::Security;
use crate::http::Access;
use crate::reload::Watched;

/// See the module.
pub struct Guard {
    /// Which requests are let in.
    pub access: Access,
    /// What is to be read anew.
    pub watched: Vec<Watched>,
}

impl Guard {
    /// Reads what the settings name; an error if any of it cannot be used.
    pub fn read(security: &Security) -> anyhow::Result<Self> {
        let mut watched = Vec::new();
        let mut tokens = None;
        if let Some(file) = security.tokens_file.clone() {
            let known = Arc::new(ArcSwap::from_pointee(auth::read(&file)?));
            tokens = Some(Arc::clone(&known));
            watched.push(Watched {
                what: "tokens",
                files: vec![file.clone()],
                apply: Box::new(move || {
                    known.store(Arc::new(auth::read(&file)?));
                    Ok(())
                }),
            });
        }
        Ok(Self { access: Access::new(tokens, security.open_metrics), watched })
    }

    /// Says in the log who is let in.
    pub fn tell(security: &Security, client: SocketAddr, peer: SocketAddr) {
        if security.tokens_file.is_none() {
            if client.ip().is_loopback() {
                tracing::info!(
                    "no tokens are asked for: every program on this machine may read and write \
                     everything, and no other machine can come in (--tokens-file)"
                );
            } else {
                tracing::warn!(
                    "no tokens are asked for: everybody who can reach {client} may read and write \
                     everything (--insecure-bind without --tokens-file)"
                );
            }
        }
        if security.cluster_secret_file.is_none() && !peer.ip().is_loopback() {
            tracing::warn!(
                "servers need not prove who they are: everybody who can reach {peer} may pass for \
                 one (--insecure-bind without --cluster-secret-file)"
            );
        }
    }
}
