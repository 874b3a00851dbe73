//! Whoever looks after servers: asks each for its health all the time, each time by a new connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use native_node::config::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// So long a question may take at most before it counts as not answered.
const LONGEST: Duration = Duration::from_secs(10);

/// What is asked.
const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Asks all servers how they are. Dropping it ends it.
pub struct Health {
    asking: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many answers there were.
    pub answers: u64,
    /// The slowest one.
    pub slowest: Duration,
    /// What was wrong: no answer, or one that must not be.
    pub wrong: Vec<String>,
}

impl Health {
    /// Begins with these servers, which show `/metrics` to everybody.
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
                        // Not ready it may well be: with another leader, or a majority that is slow.
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

    /// Ends it and gives what came of it.
    pub async fn finish(mut self) -> Seen {
        self.asking.shutdown().await;
        self.seen.lock().await.clone()
    }
}

/// Asks once, and gives the status of an answer that came to its end.
async fn ask(server: &Address, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(server.to_string()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default()).unwrap_or_default();
    status.parse().map_err(|_| std::io::Error::other(format!("{} bytes, no answer", answer.len())))
}
