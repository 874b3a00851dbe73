//! Mutual TLS between servers: each shows a certificate of the cluster's authority with its name.
//!
//! Server N of cluster C has the DNS name `node-N.C` on every machine: the certificate states the
//! server's identity, not its address. Each side detects a server that uses another server's
//! address or number.

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

/// The TLS configuration for connections between servers.
pub struct PeerTls {
    id: NodeId,
    cluster_id: String,
    sides: ArcSwap<Sides>,
}

/// The configuration of the dialing side and of the accepting side.
struct Sides {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// The name of a server in certificates.
pub fn peer_name(id: NodeId, cluster_id: &str) -> String {
    format!("node-{}.{cluster_id}", id.0)
}

impl PeerTls {
    /// Reads the files of a server.
    pub fn read(files: &TlsFiles, id: NodeId, cluster_id: &str) -> Result<Self, TlsError> {
        let sides = ArcSwap::from_pointee(sides(files, id, cluster_id)?);
        Ok(Self { id, cluster_id: cluster_id.to_owned(), sides })
    }

    /// Reads the files again. If that fails, the configuration stays as it was.
    pub fn renew(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.sides.store(Arc::new(sides(files, self.id, &self.cluster_id)?));
        Ok(())
    }

    /// Does the handshake with a dialed server, which must be `peer`.
    pub async fn connect(&self, stream: TcpStream, peer: NodeId) -> std::io::Result<Stream> {
        let name = server_name(peer, &self.cluster_id).map_err(std::io::Error::other)?;
        let connector = self.sides.load().connector.clone();
        Ok(Either::Right(TlsStream::Client(connector.connect(name, stream).await?)))
    }

    /// Does the handshake with a server that connected.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let acceptor = self.sides.load().acceptor.clone();
        Ok(Either::Right(TlsStream::Server(acceptor.accept(stream).await?)))
    }

    /// Whether the certificate at the other end of a connection belongs to this server.
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
            "`{name}` is not a DNS name, which mutual TLS needs; choose a --cluster-id of letters, \
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
    // Each connection shows its certificate again: an old certificate must not work after a change.
    client.resumption = Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    Ok(Sides { connector, acceptor })
}
