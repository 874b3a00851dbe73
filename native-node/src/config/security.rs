//! Authentication and encryption: secrets in files, and the addresses that need them.

use std::path::PathBuf;

use api::address::Address;

use super::{ConfigError, SecurityLayer};

/// The PEM files for one side of a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with its chain up to the certificate authority.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The certificate authorities that are trusted for the other side.
    pub ca: PathBuf,
}

impl TlsFiles {
    /// Requires all three files or none.
    fn resolve(
        names: &'static str,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        ca: Option<PathBuf>,
    ) -> Result<Option<Self>, ConfigError> {
        match (cert, key, ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => Ok(Some(Self { cert, key, ca })),
            _ => Err(ConfigError::Incomplete(names)),
        }
    }

    /// The paths of the three files.
    pub fn paths(&self) -> Vec<PathBuf> {
        vec![self.cert.clone(), self.key.clone(), self.ca.clone()]
    }
}

/// The settings of authentication, encryption and access. Secrets are in files, never here.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The file with the secret that the servers share.
    pub cluster_secret_file: Option<PathBuf>,
    /// The file with the hashes of the API tokens; without it clients need no token.
    pub tokens_file: Option<PathBuf>,
    /// Whether metrics need no token.
    pub open_metrics: bool,
    /// The certificate for clients; without it client connections are not encrypted.
    pub tls: Option<TlsFiles>,
    /// The certificate for other servers.
    pub peer_tls: Option<TlsFiles>,
    /// Other web origins whose pages may use the API.
    pub cors_origins: Vec<String>,
    /// Whether clients may connect from other machines without tokens or without TLS.
    pub insecure_bind: bool,
    /// Whether clients can inject faults over HTTP.
    pub allow_faults: bool,
}

impl Security {
    pub(super) fn resolve(layer: SecurityLayer) -> Result<Self, ConfigError> {
        let SecurityLayer { tls_cert, tls_key, tls_ca, .. } = layer;
        let SecurityLayer { peer_tls_cert, peer_tls_key, peer_tls_ca, .. } = layer;
        Ok(Self {
            tls: TlsFiles::resolve(
                "--tls-cert, --tls-key and --tls-ca",
                tls_cert,
                tls_key,
                tls_ca,
            )?,
            peer_tls: TlsFiles::resolve(
                "--peer-tls-cert, --peer-tls-key and --peer-tls-ca",
                peer_tls_cert,
                peer_tls_key,
                peer_tls_ca,
            )?,
            cluster_secret_file: layer.cluster_secret_file,
            tokens_file: layer.tokens_file,
            open_metrics: layer.open_metrics.unwrap_or(false),
            cors_origins: layer.cors_origins.unwrap_or_default(),
            insecure_bind: layer.insecure_bind.unwrap_or(false),
            allow_faults: layer.allow_faults.unwrap_or(false),
        })
    }

    pub(super) fn to_layer(&self) -> SecurityLayer {
        let path = |files: &Option<TlsFiles>, pick: fn(&TlsFiles) -> &PathBuf| {
            files.as_ref().map(|files| pick(files).clone())
        };
        SecurityLayer {
            tls_cert: path(&self.tls, |it| &it.cert),
            tls_key: path(&self.tls, |it| &it.key),
            tls_ca: path(&self.tls, |it| &it.ca),
            peer_tls_cert: path(&self.peer_tls, |it| &it.cert),
            peer_tls_key: path(&self.peer_tls, |it| &it.key),
            peer_tls_ca: path(&self.peer_tls, |it| &it.ca),
            cluster_secret_file: self.cluster_secret_file.clone(),
            tokens_file: self.tokens_file.clone(),
            open_metrics: Some(self.open_metrics),
            cors_origins: Some(self.cors_origins.clone()),
            insecure_bind: Some(self.insecure_bind),
            allow_faults: Some(self.allow_faults),
        }
    }

    /// Reads the secret that the servers share from its file.
    pub fn read_secret(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        const SHORTEST: usize = 16;
        let Some(path) = &self.cluster_secret_file else { return Ok(None) };
        let error = |reason| ConfigError::Secret { path: path.clone(), reason };
        let text = std::fs::read(path).map_err(|failure| error(failure.to_string()))?;
        let secret = text.trim_ascii();
        if secret.len() < SHORTEST {
            return Err(error(format!(
                "it has {} bytes, fewer than {SHORTEST}; create it with `openssl rand -hex 32`",
                secret.len()
            )));
        }
        Ok(Some(secret.to_vec()))
    }

    /// Whether servers authenticate each other.
    pub const fn proves_peers(&self) -> bool {
        self.cluster_secret_file.is_some() || self.peer_tls.is_some()
    }

    pub(super) fn validate(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::Origin(origin.clone()));
        }
        self.validate_exposure(client, peer)
    }

    /// Without authentication a server listens on loopback only, unless `insecure_bind` is set.
    fn validate_exposure(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if self.allow_faults && !client.is_loopback() {
            return Err(ConfigError::FaultsExposed(client.clone()));
        }
        // Anybody who can pose as a server can write any data, so `insecure_bind` does not apply
        // here.
        if !peer.is_loopback() && !self.proves_peers() {
            return Err(ConfigError::PeersExposed(peer.clone()));
        }
        if self.insecure_bind {
            return Ok(());
        }
        if !client.is_loopback() && self.tokens_file.is_none() {
            return Err(ConfigError::Exposed(client.clone()));
        }
        if !client.is_loopback() && self.tls.is_none() {
            return Err(ConfigError::InTheClear(client.clone()));
        }
        Ok(())
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && !rest.contains(['/', '?', '#', '@', ' ', '*'])
}
