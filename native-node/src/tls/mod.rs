//! TLS: the certificates that servers show to clients and to each other, and the authorities that
//! they trust.
//!
//! All come from PEM files, which can be read again while the server runs. A handshake uses the
//! current configuration; open connections keep theirs.

mod files;
mod peers;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::either::Either;

use crate::config::TlsFiles;
pub use files::{TlsError, roots};
pub use peers::{PeerTls, peer_name};

/// A connection, encrypted or not.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Accepts TLS connections of clients.
#[derive(Clone)]
pub struct Acceptor(Arc<ArcSwap<ServerConfig>>);

impl Acceptor {
    /// Reads the certificate and the key.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(server(files)?))))
    }

    /// Reads the files again. If that fails, the configuration stays as it was.
    pub fn renew(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.0.store(Arc::new(server(files)?));
        Ok(())
    }

    /// Does the handshake with a client.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let stream = TlsAcceptor::from(self.0.load_full()).accept(stream).await?;
        Ok(Either::Right(TlsStream::Server(stream)))
    }
}

/// A client configuration that trusts these authorities.
pub fn client(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks all versions of TLS that are safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn server(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let (chain, key) = files::identity(files)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks all versions of TLS that are safe")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::new(&files.cert, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The cryptography, named explicitly: another crate's choice must not change ours.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
