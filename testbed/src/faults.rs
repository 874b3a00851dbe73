//! What goes wrong with links and disks of servers that run with `--allow-faults`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use native_node::faults::Faults;

use crate::cluster::{Cluster, eventually};

/// The flag without which servers have no faults.
pub const ALLOW_FAULTS: &str = "--allow-faults";

/// What is to be wrong with each server, by number. Changes here reach nobody before
/// [`Cluster::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(BTreeMap<usize, Faults>);

impl Plan {
    /// What is wrong with one server, to be changed.
    pub fn of(&mut self, id: usize) -> &mut Faults {
        self.0.entry(id).or_default()
    }

    /// Nothing arrives at `to` that `from` sends.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.of(from).link(to as u64).cut_to = true;
        self.of(to).link(from as u64).cut_from = true;
    }

    /// Nothing passes between the two.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Nothing passes between this server and any other of so many.
    pub fn isolate(&mut self, id: usize, servers: usize) {
        for other in (1..=servers).filter(|other| *other != id) {
            self.cut(id, other);
        }
    }
}

impl Cluster {
    /// Makes exactly this wrong with a server; waits until the server knows.
    pub async fn set_faults(&self, id: usize, faults: &Faults) {
        let client = self.client_of(vec![self.address(id)], Duration::from_secs(1));
        let body = Bytes::from(serde_json::to_vec(faults).unwrap());
        eventually("the server takes its faults", async || {
            client.request(&Method::PUT, "/faults", body.clone()).await.ok()
        })
        .await;
    }

    /// Makes exactly this wrong with the servers that run.
    pub async fn apply(&self, plan: &Plan) {
        for id in self.running() {
            self.set_faults(id, &plan.0.get(&id).cloned().unwrap_or_default()).await;
        }
    }

    /// Nothing is wrong with any server that runs.
    pub async fn heal(&self) {
        self.apply(&Plan::default()).await;
    }
}
