//! A server's access rules and certificates, read from files at its start and again while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth;
use crate::config::{Security, ServeConfig, TlsFiles};
use crate::http::Access;
use crate::http::forward::Forwarder;
use crate::reload::{self, Fingerprint, Watched};
use crate::tls::{self, Acceptor, PeerTls};

/// A server's access rules and certificates.
pub struct Guard {
    /// Decides which requests are allowed.
    pub access: Access,
    /// The TLS acceptor for clients; `None` without TLS.
    pub tls: Option<Acceptor>,
    /// The TLS settings of peer connections; `None` without TLS.
    pub peer_tls: Option<Arc<PeerTls>>,
    /// Forwards requests to the leader.
    pub forwarder: Forwarder,
    /// The files to reload.
    pub watched: Vec<Watched>,
}

impl Guard {
    /// Reads the configured files. Fails if any of them is unusable.
    pub fn read(config: &ServeConfig) -> anyhow::Result<Self> {
        let security = &config.security;
        let mut watched = Vec::new();
        let mut tokens = None;
        if let Some(file) = security.tokens_file.clone() {
            let files = vec![file.clone()];
            let seen = reload::fingerprint(&files);
            let known = Arc::new(ArcSwap::from_pointee(auth::read(&file)?));
            tokens = Some(Arc::clone(&known));
            watched.push(watch("tokens", files, seen, move || {
                known.store(Arc::new(auth::read(&file)?));
                Ok(())
            }));
        }
        let paths = security.tls.as_ref().map(TlsFiles::paths).unwrap_or_default();
        let seen = reload::fingerprint(&paths);
        let roots = security.tls.as_ref().map(|files| tls::roots(&files.ca)).transpose()?;
        let forwarder = Forwarder::new(config.limits.request_timeout, roots);
        let mut acceptor = None;
        if let Some(files) = security.tls.clone() {
            let own = Acceptor::read(&files)?;
            acceptor = Some(own.clone());
            let forwarder = forwarder.clone();
            watched.push(watch("certificates for clients", paths, seen, move || {
                let roots = tls::roots(&files.ca)?;
                own.renew(&files)?;
                forwarder.renew(roots);
                Ok(())
            }));
        }
        let mut peer_tls = None;
        if let Some(files) = security.peer_tls.clone() {
            let paths = files.paths();
            let seen = reload::fingerprint(&paths);
            let own = Arc::new(PeerTls::read(&files, config.id, &config.cluster_id)?);
            peer_tls = Some(Arc::clone(&own));
            watched.push(watch("certificates for servers", paths, seen, move || {
                Ok(own.renew(&files)?)
            }));
        }
        let access = Access::new(tokens, security.open_metrics);
        Ok(Self { access, tls: acceptor, peer_tls, forwarder, watched })
    }

    /// Logs who may access the server.
    pub fn tell(security: &Security, client: SocketAddr, peer: SocketAddr) {
        let open = !client.ip().is_loopback();
        match (security.tokens_file.is_some(), security.tls.is_some()) {
            (false, _) if open => tracing::warn!(
                "clients need no token: everybody who can reach {client} may read and write \
                 everything (--insecure-bind without --tokens-file)"
            ),
            (false, _) => tracing::info!(
                "clients need no token: every program on this machine may read and write \
                 everything. Other machines cannot connect; to allow them, give --tokens-file"
            ),
            (true, false) if open => tracing::warn!(
                "tokens and values are sent to {client} in the clear, unless another layer \
                 encrypts (--insecure-bind without --tls-cert)"
            ),
            (true, _) => {}
        }
        if !peer.ip().is_loopback() && security.peer_tls.is_none() {
            tracing::warn!(
                "servers authenticate with the secret, but their messages to {peer} are sent in \
                 the clear (--peer-tls-cert)"
            );
        }
    }
}

fn watch(
    what: &'static str,
    files: Vec<PathBuf>,
    seen: Fingerprint,
    apply: impl Fn() -> anyhow::Result<()> + Send + Sync + 'static,
) -> Watched {
    Watched { what, files, apply: Box::new(apply), seen }
}
