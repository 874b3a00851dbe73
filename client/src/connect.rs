//! Connections to servers: a pool, optional TLS, and the API token on each request.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::address::Address;
use api::headers::{SEQUENCE_HEADER, SESSION_HEADER};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::call::Call;
use super::sessions::Ticket;

/// The timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that were idle for longer are not used again, because the server may close them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The API token that authenticates the client.
#[derive(Clone)]
pub struct Token(HeaderValue);

/// The error for text that cannot be a token.
#[derive(Debug, thiserror::Error)]
#[error("the token is empty or has invalid characters: a token is one line of visible ASCII")]
pub struct BadToken;

impl Token {
    /// Reads a token; white space around it is ignored.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| BadToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Which certificates of servers the client trusts.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

/// The error if TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with certificates cannot be used.
    #[error("cannot read certificates from {}: {why}; it must be a PEM file", .path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The system's certificates cannot be read.
    #[error("cannot read the system's certificates: {0}; give your servers' issuer with --ca")]
    System(String),
}

impl Tls {
    /// Trusts servers with a certificate of an issuer in this PEM file.
    pub fn trusting(path: &Path) -> Result<Self, TlsError> {
        let error = |why: String| TlsError::Certificates { path: path.to_owned(), why };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|failure| error(failure.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let certificate = certificate.map_err(|failure| error(failure.to_string()))?;
            roots.add(certificate).map_err(|failure| error(failure.to_string()))?;
        }
        if roots.is_empty() {
            return Err(error("it contains no certificate".to_owned()));
        }
        Ok(Self::of(roots))
    }

    /// Trusts servers whose certificates the system accepts.
    pub fn system() -> Result<Self, TlsError> {
        let builder = builder().with_native_roots();
        let builder = builder.map_err(|error| TlsError::System(error.to_string()))?;
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }

    fn of(roots: RootCertStore) -> Self {
        Self(Arc::new(builder().with_root_certificates(roots).with_no_client_auth()))
    }
}

fn builder()
-> tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
}

/// The pool of connections, with the token and the scheme for requests.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: &'static str,
    token: Option<Token>,
    /// Whether the token is sent to loopback addresses only.
    token_stays_here: bool,
}

/// Why there is no response.
pub(super) enum NoAnswer {
    /// The request was not sent.
    NotSent(String),
    /// The request may have arrived.
    Broken(String),
}

impl Connections {
    pub(super) fn new(tls: Option<Tls>, token: Option<Token>, token_in_clear: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(false);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let token_stays_here = tls.is_none() && !token_in_clear;
        let Tls(tls) = tls.unwrap_or_else(|| Tls::of(RootCertStore::empty()));
        let builder = HttpsConnectorBuilder::new().with_tls_config((*tls).clone());
        let builder =
            if scheme == "https" { builder.https_only() } else { builder.https_or_http() };
        let connector = builder.enable_http1().wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { pool, scheme, token, token_stays_here }
    }

    /// Sends a request once.
    pub(super) async fn send(
        &self,
        server: &Address,
        call: &Call,
        ticket: Option<Ticket>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        if self.token_stays_here && self.token.is_some() && !server.is_loopback() {
            let why = "without TLS, the token would be sent there in the clear";
            return Err(NoAnswer::NotSent(why.to_owned()));
        }
        let uri = format!("{}://{server}{}", self.scheme, call.path);
        let mut request = Request::builder().method(call.method.clone()).uri(uri);
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            headers.extend(self.token.iter().map(|token| (AUTHORIZATION, token.0.clone())));
            if let Some(Ticket { session, sequence }) = ticket {
                headers.insert(SESSION_HEADER, session.into());
                headers.insert(SEQUENCE_HEADER, sequence.into());
            }
        }
        let request = request.body(Full::new(call.body.clone()));
        let request = request.map_err(|error| NoAnswer::NotSent(error.to_string()))?;
        self.pool.request(request).await.map_err(|error| {
            let why = in_words(&error);
            if error.is_connect() { NoAnswer::NotSent(why) } else { NoAnswer::Broken(why) }
        })
    }
}

/// The innermost cause of an error: the outer errors only tell where it happened.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a token cannot end the header and does not appear in logs.
    #[test]
    fn tokens_are_one_line_and_never_shown() {
        let token = Token::new(" secret\n").expect("a token");
        assert_eq!(token.0.as_bytes(), b"Bearer secret");
        assert_eq!(format!("{token:?} {:?}", token.0), "Token Sensitive");
        for bad in ["", " ", "a b", "a\nb", "\u{e9}"] {
            assert!(Token::new(bad).is_err(), "{bad:?}");
        }
    }

    /// Guards that tokens are not sent to another machine without TLS, unless an option allows it.
    /// A client can learn of a server that its user does not know.
    #[tokio::test]
    async fn a_token_does_not_leave_the_machine_in_the_clear() {
        // No server listens on the first address, and the second is not routed.
        let [here, far]: [Address; 2] =
            ["127.0.0.1:9", "192.0.2.1:9"].map(|text| text.parse().expect("an address"));
        let call = Call::new(hyper::Method::GET, "/livez");
        let why = async |connections: Connections, server: &Address| {
            let sending = connections.send(server, &call, None);
            match tokio::time::timeout(CONNECT_TIMEOUT / 4, sending).await {
                Ok(Err(NoAnswer::NotSent(why) | NoAnswer::Broken(why))) => why,
                Ok(Ok(_)) => "an answer".to_owned(),
                Err(_) => "it is on its way".to_owned(),
            }
        };
        let token = || Some(Token::new("secret").expect("a token"));
        let refused = |why: &str| why.contains("in the clear");
        assert!(refused(&why(Connections::new(None, token(), false), &far).await));
        assert!(!refused(&why(Connections::new(None, token(), false), &here).await));
        assert!(!refused(&why(Connections::new(None, token(), true), &far).await));
        assert!(!refused(&why(Connections::new(None, None, false), &far).await));
        let tls = || Some(Tls::of(RootCertStore::empty()));
        assert!(!refused(&why(Connections::new(tls(), token(), false), &far).await));
    }

    /// Guards `--ca`: a file without certificates is an error, not an empty set of issuers.
    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Tls::trusting(file.path()).expect_err("it is empty").to_string();
        assert!(error.contains("PEM"), "{error}");
        assert!(Tls::trusting(Path::new("/does/not/exist")).is_err());
    }
}
