//! Who may come in: secrets by file, and on which addresses a server may listen without them.

use std::path::PathBuf;

use super::{Address, ConfigError, SecurityLayer};

/// Settings of who may come in. Secrets stand in files, never here.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The file with the secret that servers prove to each other.
    pub cluster_secret_file: Option<PathBuf>,
    /// The file with the hashes of clients' tokens; without it everybody is let in.
    pub tokens_file: Option<PathBuf>,
    /// Whether metrics are shown without a token.
    pub open_metrics: bool,
    /// Foreign origins whose pages may use the API.
    pub cors_origins: Vec<String>,
    /// Whether other addresses than loopback are allowed without authentication.
    pub insecure_bind: bool,
    /// Whether faults can be set over HTTP.
    pub allow_faults: bool,
}

impl Security {
    pub(super) fn resolve(layer: SecurityLayer) -> Self {
        Self {
            cluster_secret_file: layer.cluster_secret_file,
            tokens_file: layer.tokens_file,
            open_metrics: layer.open_metrics.unwrap_or(false),
            cors_origins: layer.cors_origins.unwrap_or_default(),
            insecure_bind: layer.insecure_bind.unwrap_or(false),
            allow_faults: layer.allow_faults.unwrap_or(false),
        }
    }

    pub(super) fn to_layer(&self) -> SecurityLayer {
        SecurityLayer {
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

    pub(super) fn validate(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::Origin(origin.clone()));
        }
        self.validate_exposure(client, peer)
    }

    /// Without authentication a server listens on loopback only, unless told otherwise.
    fn validate_exposure(&self, client: &Address, peer: &Address) -> Result<(), ConfigError> {
        if self.allow_faults && !is_loopback(client) {
            return Err(ConfigError::FaultsExposed(client.clone()));
        }
        if self.insecure_bind {
            return Ok(());
        }
        if !is_loopback(client) && self.tokens_file.is_none() {
            return Err(ConfigError::Exposed {
                address: client.clone(),
                who: "client",
                remedy: "make clients show tokens with --tokens-file",
            });
        }
        if !is_loopback(peer) && self.cluster_secret_file.is_none() {
            return Err(ConfigError::Exposed {
                address: peer.clone(),
                who: "server",
                remedy: "give the cluster a secret with --cluster-secret-file",
            });
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

fn is_loopback(address: &Address) -> bool {
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
