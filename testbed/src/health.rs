//! Checks the health of each server continuously, with a new connection for each request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::address::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Delay between two requests to a server.
const PAUSE: Duration = Duration::from_millis(100);

/// Timeout of a request.
const LONGEST: Duration = Duration::from_secs(10);

/// The requested paths.
const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Checks the health of all servers. Dropping it stops the checks.
pub struct Health {
    asking: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

/// Results of the checks.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Number of good responses.
    pub answers: u64,
    /// Duration of the slowest request.
    pub slowest: Duration,
    /// Requests without a response, or with an unexpected one.
    pub wrong: Vec<String>,
}

impl Health {
    /// Starts checking these servers, which must show `/metrics` without a token.
    pub fn watch(servers: Vec<Address>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut asking = JoinSet::new();
        for server in servers {
            let seen = Arc::clone(&seen);
            asking.spawn(async move {
                for path in PATHS.iter().cycle() {
                    let begun = Instant::now();
                    let answer = timeout(LONGEST, ask(&server, path)).await;
                    let mut seen = seen.lock().await;
                    seen.slowest = seen.slowest.max(begun.elapsed());
                    match answer {
                        // A server may be not ready after a leader change or with a slow quorum.
                        Ok(Ok(status)) if status == 200 || (status, *path) == (503, "/readyz") => {
                            seen.answers += 1;
                        }
                        other => seen.wrong.push(format!("{server}{path}: {other:?}")),
                    }
                    drop(seen);
                    sleep(PAUSE).await;
                }
            });
        }
        Self { asking, seen }
    }

    /// Stops the checks and returns the results.
    pub async fn finish(mut self) -> Seen {
        self.asking.shutdown().await;
        self.seen.lock().await.clone()
    }
}

/// Sends a request and returns the status of a complete response.
async fn ask(server: &Address, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(server.to_string()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default()).unwrap_or_default();
    status.parse().map_err(|_| std::io::Error::other(format!("{} bytes, no status", answer.len())))
}
