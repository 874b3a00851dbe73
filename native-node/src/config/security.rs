//! Who may come in: secrets by file, and on which addresses a server may listen without them.

use std::path::PathBuf;

use super::{Address, ConfigError, SecurityLayer};

/// What one side of a TLS connection needs, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that lead to its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities that the other side is believed by.
    pub ca: PathBuf,
}

impl TlsFiles {
    /// All of them or none.
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

    /// All of them.
    pub fn paths(&self) -> Vec<PathBuf> {
        vec![self.cert.clone(), self.key.clone(), self.ca.clone()]
    }
}

/// Settings of who may come in. Secrets stand in files, never here.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The file with the secret that servers prove to each other.
    pub cluster_secret_file: Option<PathBuf>,
    /// The file with the hashes of clients' tokens; without it everybody is let in.
    pub tokens_file: Option<PathBuf>,
    /// Whether metrics are shown without a token.
    pub open_metrics: bool,
    /// What clients are shown; without it nothing is encrypted.
    pub tls: Option<TlsFiles>,
    /// What servers show each other.
    pub peer_tls: Option<TlsFiles>,
    /// Foreign origins whose pages may use the API.
    pub cors_origins: Vec<String>,
    /// Whether clients may come in on other addresses than loopback without tokens or in the clear.
    pub insecure_bind: bool,
    /// Whether faults can be set over HTTP.
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

    /// The secret that servers prove to each other, from its file.
    pub fn read_secret(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        const SHORTEST: usize = 16;
        let Some(path) = &self.cluster_secret_file else { return Ok(None) };
        let error = |reason| ConfigError::Secret { path: path.clone(), reason };
        let text = std::fs::read(path).map_err(|failure| error(failure.to_string()))?;
        let secret = text.trim_ascii();
        if secret.len() < SHORTEST {
            return Err(error(format!(
                "it has {} bytes, fewer than {SHORTEST}; make one with `openssl rand -hex 32`",
                secret.len()
            )));
        }
        Ok(Some(secret.to_vec()))
    }

    /// Whether a server must prove who it is.
    pub const fn proves_peers(&self) -> bool {
        self.cluster_secret_file.is_some() || self.peer_tls.is_some()
    }

    pub(super) fn validate(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::Origin(origin.clone()));
        }
        self.validate_exposure(client, peer)
    }

    /// Without authentication a server listens on loopback only, unless told otherwise.
    fn validate_exposure(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if self.allow_faults && !client.is_loopback() {
            return Err(ConfigError::FaultsExposed(client.clone()));
        }
        // Whoever passes for a server writes whatever it likes: nobody may want that.
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
