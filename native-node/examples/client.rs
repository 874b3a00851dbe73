//! A program that uses a cluster: `cargo run -p native-node --example client -- 127.0.0.1:7001`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use native_node::client::{Client, ClientOptions};
use native_node::http::request::Consistency;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let client = Client::with(ClientOptions {
        // It learns of the other servers, and of who leads.
        follow: true,
        // A write takes effect once, however often it is sent again.
        sessions: Some(ClientOptions::SESSION_TTL),
        ..ClientOptions::new(vec![server.parse()?], Duration::from_secs(5))
    });

    client.put(b"greeting", Bytes::from_static(b"hello")).await?;
    let value = client.get(b"greeting", Consistency::Linearizable).await?;
    println!("{}", String::from_utf8_lossy(&value.context("somebody has removed it")?));

    // Many at once: operations that come at the same time share an exchange.
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
