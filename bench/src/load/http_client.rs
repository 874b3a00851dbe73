//! Clients of this project's servers: HTTP with a connection for each client.

use anyhow::{Context as _, Result, ensure};

use super::http::{Connection, request};
use super::{Operation, VALUE_BYTES, key_name};

/// A client with its own connection.
pub(super) struct HttpClient {
    address: String,
    /// `None` after the connection broke.
    connection: Option<Connection>,
    request: Vec<u8>,
}

/// Connects clients to the servers in turn.
pub(super) async fn connect(addresses: &[String], how_many: usize) -> Result<Vec<HttpClient>> {
    let mut clients = Vec::new();
    for address in addresses.iter().cycle().take(how_many) {
        let connection = Connection::open(address).await;
        let connection = connection.with_context(|| format!("cannot connect to {address}"))?;
        clients.push(HttpClient {
            address: address.clone(),
            connection: Some(connection),
            request: Vec::new(),
        });
    }
    Ok(clients)
}

impl HttpClient {
    pub(super) async fn perform(&mut self, operation: Operation) -> Result<()> {
        self.request = encode(operation);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.address).await?),
        };
        let status = connection.exchange(&self.request).await.map(|answer| answer.status);
        if status.is_err() {
            self.connection = None;
        }
        ensure!(status? == 200, "the server answered with an error");
        Ok(())
    }
}

fn encode(operation: Operation) -> Vec<u8> {
    match operation {
        Operation::Put(key) => {
            request("PUT", &format!("/kv/{}", key_name(key)), &[b'v'; VALUE_BYTES])
        }
        Operation::Get(key) => request("GET", &format!("/kv/{}", key_name(key)), b""),
        Operation::StaleGet(key) => {
            request("GET", &format!("/kv/{}?consistency=stale", key_name(key)), b"")
        }
    }
}
