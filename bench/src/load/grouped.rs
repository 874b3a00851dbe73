//! Clients within a program that share requests: a request carries many operations.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use client::{Client, Grouped};

use super::{Operation, VALUE_BYTES, key_name};

/// Timeout of an operation, after which it counts as an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that shares requests with the others.
pub(super) struct GroupedClient {
    client: Grouped,
    value: Bytes,
}

/// Creates clients that share requests.
pub(super) fn connect(addresses: &[String], how_many: usize) -> Result<Vec<GroupedClient>> {
    let servers: Result<Vec<_>, _> = addresses.iter().map(|address| address.parse()).collect();
    let client = Client::new(servers.context("an address")?, PATIENCE).grouped();
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let one = || GroupedClient { client: client.clone(), value: value.clone() };
    Ok((0..how_many).map(|_| one()).collect())
}

impl GroupedClient {
    pub(super) async fn perform(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Put(key) => {
                self.client.put(key_name(key).into(), self.value.clone()).await?;
            }
            Operation::Get(key) | Operation::StaleGet(key) => {
                let found = self.client.get(key_name(key).into()).await?;
                ensure!(found.is_some(), "a key is missing");
            }
        }
        Ok(())
    }
}
