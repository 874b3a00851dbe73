//! `glassraft health`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use api::address::Address;
use bytes::Bytes;
use clap::Args;
use client::ClientError;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use raft_core::types::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::connect::Endpoint;
use crate::config::{self, Layer, Span};
use crate::output;

/// The maximum size of a response, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Check whether a server is alive or ready.
///
/// Use it for container probes, with and without TLS. It sends no token. It does not verify the
/// server's certificate, because it connects to the same machine and receives no secret. Without
/// --endpoint it takes the address from the environment of `glassraft serve`, or from the file of
/// --config.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft health                               for a liveness probe
  glassraft health --ready                       for a readiness probe
  glassraft health --endpoint https://127.0.0.1:7001")]
pub(super) struct HealthArgs {
    /// Check whether the server is ready for requests, not only whether it is alive
    #[arg(long)]
    ready: bool,
    /// The server's address for clients; write https:// before it for TLS
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<Endpoint>,
    /// The server's TOML file
    #[arg(long, env = "GLASSRAFT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The timeout of the check
    #[arg(long, value_name = "TIME", default_value = "2s")]
    timeout: Span,
    /// The server's setting of this name
    #[arg(long, env = "GLASSRAFT_CLIENT", hide = true)]
    client: Option<Address>,
    /// The server's setting of this name
    #[arg(long, env = "GLASSRAFT_TLS_CERT", hide = true)]
    tls_cert: Option<PathBuf>,
}

pub(super) async fn run(arguments: HealthArgs) -> anyhow::Result<()> {
    let path = if arguments.ready { "/readyz" } else { "/livez" };
    let (address, tls) = arguments.place()?;
    let asked = timeout(arguments.timeout.0, ask(&address, tls, path)).await;
    let unavailable = |why: String| ClientError::Unavailable(format!("{address}: {why}"));
    let (status, text) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unavailable(format!("{error:#}")).into()),
        Err(_) => return Err(unavailable("no answer in time".to_owned()).into()),
    };
    if status != StatusCode::OK {
        bail!("{address}{path} answered {status}: {}", text.trim_end());
    }
    output::line(text.trim_end())
}

impl HealthArgs {
    /// The server's address, and whether it uses TLS.
    fn place(&self) -> anyhow::Result<(Address, bool)> {
        if let Some(endpoint) = &self.endpoint {
            return Ok((endpoint.address.clone(), endpoint.tls == Some(true)));
        }
        let file = self.config.as_deref().map(config::read_file).transpose()?;
        let Layer { server, security, .. } = file.unwrap_or_default();
        let own = server.id.zip(server.members.as_ref());
        let own = own.and_then(|(id, members)| Some(members.get(NodeId(id))?.client.clone()));
        let address = self.client.clone().or(server.client).or(own);
        let address = match address {
            Some(address) => address.of_this_machine(),
            None => "127.0.0.1:7001".parse()?,
        };
        Ok((address, self.tls_cert.is_some() || security.tls_cert.is_some()))
    }
}

async fn ask(address: &Address, tls: bool, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address.to_string()).await?;
    if !tls {
        return exchange(stream, address, path).await;
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").context("a name")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    exchange(stream, address, path).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &Address,
    path: &str,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(hyper::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}

/// Accepts every server certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
