//! Clients of etcd: gRPC with several clients on a connection, as in etcd's own benchmark.

use anyhow::{Context as _, Result};
use etcd_client::{Client, GetOptions, KvClient};

use super::{Operation, VALUE_BYTES, key_name};

/// Maximum number of connections. HTTP/2 carries many requests at once. With 256 and 1000 clients
/// this number gave etcd its best figures here.
const CONNECTIONS: usize = 16;

/// A client on a connection that it may share.
pub(super) struct GrpcClient {
    client: KvClient,
}

/// Connects clients to the servers in turn.
pub(super) async fn connect(addresses: &[String], how_many: usize) -> Result<Vec<GrpcClient>> {
    let mut connections = Vec::new();
    for address in addresses.iter().cycle().take(how_many.min(CONNECTIONS.max(addresses.len()))) {
        let client = Client::connect([address], None).await;
        connections.push(client.with_context(|| format!("cannot connect to {address}"))?);
    }
    let clients = connections.iter().cycle().take(how_many);
    Ok(clients.map(|client| GrpcClient { client: client.kv_client() }).collect())
}

impl GrpcClient {
    pub(super) async fn perform(&mut self, operation: Operation) -> Result<()> {
        let value = [b'v'; VALUE_BYTES];
        match operation {
            Operation::Put(key) => drop(self.client.put(key_name(key), value, None).await?),
            Operation::Get(key) => drop(self.client.get(key_name(key), None).await?),
            Operation::StaleGet(key) => {
                let options = GetOptions::new().with_serializable();
                drop(self.client.get(key_name(key), Some(options)).await?);
            }
        }
        Ok(())
    }
}
