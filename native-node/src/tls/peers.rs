//! Mutual TLS between servers: each shows a certificate of the cluster's authority that names it.
//!
//! Server N of cluster C is the DNS name `node-N.C`, wherever it runs: the certificate says who
//! somebody is, and not at which address. So a server that took another one's address, or that
//! claims another one's number, is found out by either side.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use raft_core::types::NodeId;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::{Resumption, verify_server_name};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::either::Either;

use super::files::{self, TlsError};
use super::{Stream, provider};
use crate::config::TlsFiles;

/// See the module.
pub struct PeerTls {
    id: NodeId,
    cluster_id: String,
    sides: ArcSwap<Sides>,
}

/// What is shown and believed, as the side that dials and as the one that is dialled.
struct Sides {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// The name of a server in certificates.
pub fn peer_name(id: NodeId, cluster_id: &str) -> String {
    format!("node-{}.{cluster_id}", id.0)
}

impl PeerTls {
    /// For a server, from its files.
    pub fn read(files: &TlsFiles, id: NodeId, cluster_id: &str) -> Result<Self, TlsError> {
        let sides = ArcSwap::from_pointee(sides(files, id, cluster_id)?);
        Ok(Self { id, cluster_id: cluster_id.to_owned(), sides })
    }

    /// The same from files that have changed; or as before, if they cannot be used.
    pub fn renew(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.sides.store(Arc::new(sides(files, self.id, &self.cluster_id)?));
        Ok(())
    }

    /// The handshake with a server that was dialled, which must be the one that is meant.
    pub async fn connect(&self, stream: TcpStream, peer: NodeId) -> std::io::Result<Stream> {
        let name = server_name(peer, &self.cluster_id).map_err(std::io::Error::other)?;
        let connector = self.sides.load().connector.clone();
        Ok(Either::Right(TlsStream::Client(connector.connect(name, stream).await?)))
    }

    /// The handshake with a server that connected.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let acceptor = self.sides.load().acceptor.clone();
        Ok(Either::Right(TlsStream::Server(acceptor.accept(stream).await?)))
    }

    /// Whether the certificate at the other end of a connection is that of this server.
    pub fn names(&self, stream: &Stream, peer: NodeId) -> bool {
        let Either::Right(stream) = stream else { return false };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(shown) = shown.and_then(|it| ParsedCertificate::try_from(it).ok()) else {
            return false;
        };
        server_name(peer, &self.cluster_id)
            .is_ok_and(|name| verify_server_name(&shown, &name).is_ok())
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerTls({})", peer_name(self.id, &self.cluster_id))
    }
}

fn server_name(id: NodeId, cluster_id: &str) -> Result<ServerName<'static>, String> {
    let name = peer_name(id, cluster_id);
    ServerName::try_from(name.clone()).map_err(|_| {
        format!(
            "`{name}` is no DNS name, which mutual TLS needs; choose a --cluster-id of letters, \
             digits and dashes"
        )
    })
}

fn sides(files: &TlsFiles, id: NodeId, cluster_id: &str) -> Result<Sides, TlsError> {
    let roots = Arc::new(files::roots(&files.ca)?);
    let (chain, key) = files::identity(files)?;
    let cannot = |error: &dyn fmt::Display| TlsError::new(&files.cert, error);
    let name = server_name(id, cluster_id).map_err(|error| cannot(&error))?;
    let own = ParsedCertificate::try_from(&chain[0]).map_err(|error| cannot(&error))?;
    verify_server_name(&own, &name).map_err(|_| {
        cannot(&format!("it does not name this server, which is `{}`", name.to_str()))
    })?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .map_err(|error| TlsError::new(&files.ca, &error))?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| cannot(&error))?;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| cannot(&error))?;
    // Each connection shows its certificate anew: after a change the old one opens nothing.
    client.resumption = Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    Ok(Sides { connector, acceptor })
}
