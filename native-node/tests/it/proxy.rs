//! A network that loses answers: a proxy for one server that cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::address::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Forwards connections to a server, and cuts some that change a key.
pub(crate) struct Proxy {
    pub(crate) address: Address,
    cuts: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Cuts the connection at every `every`th change, in turn when the answer arrives and once the
    /// request is forwarded. 0 cuts none.
    pub(crate) async fn start(server: Address, every: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let cuts = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&cuts);
        let accepting = tokio::spawn(async move {
            let changes = Arc::<AtomicU64>::default();
            while let Ok((client, _)) = listener.accept().await {
                let (server, changes) = (server.clone(), Arc::clone(&changes));
                let cuts = Arc::clone(&counted);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server.to_string()).await else { return };
                    // Both connections end when this returns.
                    drop(pass(client, server, every, &changes, &cuts).await);
                });
            }
        });
        Self { address, cuts, accepting }
    }

    /// The number of connections cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    every: u64,
    changes: &AtomicU64,
    cuts: &AtomicU64,
) -> std::io::Result<()> {
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut cut_at_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let read = read?;
                server.write_all(&request[..read]).await?;
                if read == 0 {
                    return Ok(());
                }
                if request.starts_with(b"PUT /kv/") {
                    let number = changes.fetch_add(1, Ordering::Relaxed) + 1;
                    if every > 0 && number.is_multiple_of(every) {
                        cuts.fetch_add(1, Ordering::Relaxed);
                        if (number / every).is_multiple_of(2) {
                            return Ok(());
                        }
                        cut_at_answer = true;
                    }
                }
            }
            read = server.read(&mut answer) => {
                let read = read?;
                if read == 0 || cut_at_answer {
                    return Ok(());
                }
                client.write_all(&answer[..read]).await?;
            }
        }
    }
}
