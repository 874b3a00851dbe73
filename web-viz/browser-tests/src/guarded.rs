//! A server that requires an API token and serves the page.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::given;

/// The time limit for the server's start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running cluster of a single server. Dropping it kills the process.
#[derive(Debug)]
pub struct Guarded {
    address: String,
    token: String,
    _process: Child,
    _directory: TempDir,
}

impl Guarded {
    /// Starts the server, which accepts the token of [`Self::token`].
    pub async fn start() -> Result<Self> {
        let binary = given("GLASSRAFT_NODE_BIN", "the built glassraft")?;
        let dist = given("GLASSRAFT_DIST", "the directory of the built page")?;
        let directory = tempfile::tempdir().context("no directory for the server")?;
        let made = Command::new(&binary)
            .args(["token", "new", "--scope", "write", "--name", "page", "--output", "json"])
            .output()
            .await?;
        let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).context("no such field");
        let tokens = directory.path().join("tokens");
        std::fs::write(&tokens, text("line")?)?;
        let (client, peer) = (free_address().await?, free_address().await?);
        let process = Command::new(binary)
            .args(["serve", "--new-cluster", "--id=1", "--cluster-id=guarded"])
            .arg(format!("--members=1={peer}/{client}"))
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--tokens-file")
            .arg(tokens)
            .arg("--web-dir")
            .arg(dist)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("glassraft cannot be started")?;
        timeout(PATIENCE, accepts(&client)).await.context("the server does not serve in time")?;
        Ok(Self {
            address: client,
            token: text("token")?,
            _process: process,
            _directory: directory,
        })
    }

    /// The URL of the page.
    pub fn url(&self) -> String {
        format!("http://{}/#source=live", self.address)
    }

    /// The API token that the server accepts.
    pub fn token(&self) -> &str {
        &self.token
    }
}

async fn accepts(address: &str) {
    while TcpStream::connect(address).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string())
}
