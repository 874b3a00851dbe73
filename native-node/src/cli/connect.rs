//! How client commands connect to the cluster, authenticate and print responses.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use api::address::Address;
use clap::{Args, ValueEnum};
use client::{Client, ClientOptions, Tls, Token};
use raft_core::limits::Semantics;

use crate::config::Span;
pub(super) use crate::output::line;

/// How client commands connect to the cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct ClientArgs {
    /// The servers' addresses for clients. One address is enough; the client tries the others in
    /// turn. Write https:// before an address for TLS
    #[arg(
        long,
        env = "GLASSRAFT_ENDPOINTS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003"
    )]
    pub(super) endpoints: Vec<Endpoint>,
    /// The timeout of the command, including retries
    #[arg(long, env = "GLASSRAFT_TIMEOUT", value_name = "TIME", default_value = "5s")]
    pub(super) timeout: Span,
    /// A file with the API token [env: GLASSRAFT_TOKEN holds the token itself]
    #[arg(long, env = "GLASSRAFT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate authorities of the servers; enables TLS [default: the
    /// system's authorities]
    #[arg(long, env = "GLASSRAFT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the token to other machines without TLS. Others could read and use it, so give this
    /// only if another layer encrypts
    #[arg(long, env = "GLASSRAFT_INSECURE")]
    insecure: bool,
    /// How to print the response
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    pub(super) output: Output,
}

/// An address, and whether its scheme selects TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) tls: Option<bool>,
    pub(super) address: Address,
}

impl FromStr for Endpoint {
    type Err = api::address::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Some(true), rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Some(false), rest)
        } else {
            (None, text)
        };
        Ok(Self { tls, address: rest.strip_suffix('/').unwrap_or(rest).parse()? })
    }
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Text for people.
    Text,
    /// JSON: one document, or one per line if there may be several.
    Json,
}

impl ClientArgs {
    /// A client that follows the leader and retries safely.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        self.patient_client(Duration::ZERO)
    }

    /// The same with at least this timeout.
    pub(super) fn patient_client(&self, least: Duration) -> anyhow::Result<Client> {
        let options = self.options(least)?;
        // A command uses its session once; the session expires soon.
        let longest = Duration::from_micros(Semantics::LATEST.limits().session_ttl);
        let sessions = Some((options.patience * 2).min(longest));
        Ok(Client::with(ClientOptions { follow: true, sessions, ..options }))
    }

    /// A client of exactly the given servers.
    pub(super) fn client_of_these(&self, least: Duration) -> anyhow::Result<Client> {
        Ok(Client::with(self.options(least)?))
    }

    /// A client of one server.
    pub(super) fn client_of(&self, server: Address) -> anyhow::Result<Client> {
        Ok(Client::with(ClientOptions { servers: vec![server], ..self.options(Duration::ZERO)? }))
    }

    fn options(&self, least: Duration) -> anyhow::Result<ClientOptions> {
        let servers: Vec<Address> = self.endpoints.iter().map(|it| it.address.clone()).collect();
        let (token, tls) = (token(self.token_file.as_deref())?, self.tls()?);
        if token.is_some()
            && tls.is_none()
            && !self.insecure
            && let Some(server) = servers.iter().find(|server| !server.is_loopback())
        {
            bail!(
                "the token would be sent to {server} in the clear. Write https:// before the \
                 endpoints, or give --ca. If another layer encrypts, give --insecure"
            );
        }
        let patience = self.timeout.0.max(least);
        let token_in_clear = self.insecure;
        Ok(ClientOptions { token, token_in_clear, tls, ..ClientOptions::new(servers, patience) })
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let says = |tls| self.endpoints.iter().any(|it| it.tls == Some(tls));
        let wanted = says(true) || self.ca.is_some();
        ensure!(
            !(wanted && says(false)),
            "either all endpoints use TLS or none: write https:// for all"
        );
        if !wanted {
            return Ok(None);
        }
        Ok(Some(self.ca.as_deref().map_or_else(Tls::system, Tls::trusting)?))
    }

    /// Prints a response in the selected format.
    pub(super) fn print(
        &self,
        answer: &serde_json::Value,
        in_words: impl FnOnce(&serde_json::Value) -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Json => line(&answer.to_string()),
            Output::Text => line(&in_words(answer)),
        }
    }
}

/// Reads the token from the file or else from the environment. Not from the command line, which all
/// users of the machine can read.
fn token(file: Option<&Path>) -> anyhow::Result<Option<Token>> {
    let text = match (file, std::env::var("GLASSRAFT_TOKEN")) {
        (Some(path), _) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token from {}", path.display()))?,
        (None, Ok(text)) => text,
        (None, Err(std::env::VarError::NotPresent)) => return Ok(None),
        (None, Err(std::env::VarError::NotUnicode(_))) => {
            bail!("GLASSRAFT_TOKEN is not a token: it is not valid UTF-8")
        }
    };
    Ok(Some(Token::new(&text)?))
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    /// Guards endpoints: the scheme is optional, and other schemes are rejected.
    #[test]
    fn endpoints_may_name_their_scheme() {
        let read = |text: &str| text.parse::<Endpoint>();
        let plain = read("127.0.0.1:7001").expect("an address");
        assert_eq!(plain.tls, None);
        let secure = read("https://127.0.0.1:7001/").expect("an address");
        assert_eq!((secure.tls, &secure.address), (Some(true), &plain.address));
        assert_eq!(read("http://127.0.0.1:7001").expect("an address").tls, Some(false));
        assert!(read("ftp://127.0.0.1:7001").is_err() && read("https://127.0.0.1").is_err());
    }
}
