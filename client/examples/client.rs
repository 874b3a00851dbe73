//! A program that uses a cluster: `cargo run -p client --example client -- 127.0.0.1:7001`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::kv::Consistency;
use bytes::Bytes;
use client::{Client, ClientOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let client = Client::with(ClientOptions {
        // Learn the other servers and the leader.
        follow: true,
        // A write takes effect once, even if the client retries it.
        sessions: Some(ClientOptions::SESSION_TTL),
        ..ClientOptions::new(vec![server.parse()?], Duration::from_secs(5))
    });

    client.put(b"greeting", Bytes::from_static(b"hello")).await?;
    let value = client.get(b"greeting", Consistency::Linearizable).await?;
    println!("{}", String::from_utf8_lossy(&value.context("another client removed the key")?));

    // Concurrent operations share HTTP requests.
    let grouped = client.grouped();
    let writes = (0..1000).map(|number| {
        let grouped = grouped.clone();
        tokio::spawn(async move {
            grouped.put(format!("item/{number}").into(), Bytes::from_static(b"1")).await
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await??;
    }
    Ok(())
}
