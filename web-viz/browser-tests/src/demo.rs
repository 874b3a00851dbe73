//! A cluster of real servers that also serve the page.

use std::hash::{BuildHasher as _, RandomState};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::given;

/// The time limit for the cluster's start and end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Election timeouts for busy machines, where late heartbeats would otherwise start elections.
const PATIENT: [(&str, &str); 2] =
    [("GLASSRAFT_ELECTION_TIMEOUT_MIN", "1s"), ("GLASSRAFT_ELECTION_TIMEOUT_MAX", "2s")];

/// The maximum number of port ranges that are tried.
const ATTEMPTS: u16 = 20;

/// A running `glassraft demo`. Dropping it kills the process.
#[derive(Debug)]
pub struct Demo {
    process: Child,
    /// Its standard input, kept open because the demo reads commands from there.
    stdin: Option<ChildStdin>,
    url: String,
    port: u16,
    directory: TempDir,
}

/// An ended demo with the data of its servers.
#[derive(Debug)]
pub struct Ended {
    port: u16,
    directory: TempDir,
}

impl Ended {
    /// Starts the demo again, with the same port and data.
    ///
    /// # Errors
    /// Fails if the demo does not start.
    pub async fn start(self) -> Result<Demo> {
        Demo::start_at(self.port, self.directory).await
    }
}

impl Demo {
    /// Starts three servers and waits until they have a leader and the page is served.
    ///
    /// # Errors
    /// Fails if they do not start.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir().context("no directory for the servers")?;
        Self::start_at(free_port().await?, directory).await
    }

    async fn start_at(port: u16, directory: TempDir) -> Result<Self> {
        let binary = given("GLASSRAFT_NODE_BIN", "the built glassraft")?;
        let dist = given("GLASSRAFT_DIST", "the directory of the built page")?;
        let mut process = Command::new(binary)
            .arg("demo")
            .args(["--port", &port.to_string()])
            .arg("--dir")
            .arg(directory.path())
            .arg("--web-dir")
            .arg(dist)
            .envs(PATIENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("glassraft cannot be started")?;
        let stdout = process.stdout.take().context("the demo has no output")?;
        let ready = timeout(PATIENCE, ready_line(BufReader::new(stdout))).await;
        let url = ready.context("the demo is not ready in time")??;
        let stdin = process.stdin.take();
        Ok(Self { process, stdin, url, port, directory })
    }

    /// The URL of the page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The client address of a server.
    pub fn server(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.port + number)
    }

    /// The peer address of a server.
    pub fn peer(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.port + 100 + number)
    }

    /// The value of a server's metric; 0 if the server does not report it.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn metric(&self, number: u16, name: &str) -> Result<u64> {
        let mut stream = TcpStream::connect(self.server(number)).await?;
        let host = self.server(number);
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.context("no figures")??;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "no figures: {answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(Ok(0), |value| value.parse().context("a figure that is no number"))
    }

    /// Sends writes to the cluster for `span`, as fast as possible or at `rate` per second. Returns
    /// the writes per second.
    ///
    /// # Errors
    /// Fails if the load cannot run.
    pub async fn load(&self, span: Duration, rate: Option<u32>) -> Result<f64> {
        let binary = given("GLASSRAFT_NODE_BIN", "the built glassraft")?;
        let servers = [1, 2, 3].map(|number| self.server(number)).join(",");
        let load = Command::new(binary)
            .args(["bench", "--output", "json", "--clients", "256", "--endpoints", &servers])
            .args(["--duration", &format!("{}s", span.as_secs())])
            .args(rate.into_iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]))
            .kill_on_drop(true)
            .output();
        let done = timeout(span + PATIENCE, load).await.context("the load does not end")??;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "the load failed: {said}");
        let answer: serde_json::Value = serde_json::from_slice(&done.stdout)?;
        answer["writes"]["per_second"].as_f64().context("the load does not say how much it was")
    }

    /// Shuts all processes down gracefully. Without this call they are killed.
    pub async fn end(self) -> Ended {
        let Self { mut process, mut stdin, port, directory, .. } = self;
        if let Some(mut stdin) = stdin.take() {
            // A demo that has already ended reads no command.
            let _ = stdin.write_all(b"quit\n").await;
            let _ = stdin.flush().await;
            let _ = timeout(PATIENCE, process.wait()).await;
        }
        let _ = process.kill().await;
        Ended { port, directory }
    }
}

/// Reads up to the line `ready http://…`.
async fn ready_line(mut output: BufReader<tokio::process::ChildStdout>) -> Result<String> {
    let (mut line, mut said) = (String::new(), String::new());
    while output.read_line(&mut line).await? > 0 {
        if let Some(url) = line.trim().strip_prefix("ready ") {
            let url = url.to_owned();
            tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
            return Ok(url);
        }
        said.push_str(&line);
        line.clear();
    }
    anyhow::bail!("the demo ended before it was ready; it said:\n{said}")
}

/// Finds a base port such that all ports that the demo derives from it are free, for now. It lies
/// below the range of ephemeral ports.
async fn free_port() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        // Tests run in parallel, so each starts at a random port.
        let port = 10_000 + u16::try_from(RandomState::new().hash_one(()) % 20_000)?;
        let mut free = true;
        for offset in [0, 1, 2, 3, 101, 102, 103] {
            free &= TcpListener::bind(("127.0.0.1", port + offset)).await.is_ok();
        }
        if free {
            return Ok(port);
        }
    }
    anyhow::bail!("no range of ports is free")
}
