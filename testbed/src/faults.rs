//! Faults of links and disks, for servers that run with `--allow-faults`.

use std::collections::BTreeMap;
use std::time::Duration;

use api::faults::Faults;
use bytes::Bytes;
use hyper::Method;

use crate::cluster::{Cluster, eventually};

/// The flag that allows faults.
pub const ALLOW_FAULTS: &str = "--allow-faults";

/// Faults by server number. Changes take effect only with [`Cluster::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(BTreeMap<usize, Faults>);

impl Plan {
    /// The faults of a server, for modification.
    pub fn of(&mut self, id: usize) -> &mut Faults {
        self.0.entry(id).or_default()
    }

    /// Drops everything that `from` sends to `to`.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.of(from).link(to as u64).cut_to = true;
        self.of(to).link(from as u64).cut_from = true;
    }

    /// Cuts the link between two servers in both directions.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts all links of a server in a cluster of `servers` servers.
    pub fn isolate(&mut self, id: usize, servers: usize) {
        for other in (1..=servers).filter(|other| *other != id) {
            self.cut(id, other);
        }
    }
}

impl Cluster {
    /// Replaces the faults of a server and waits until it has accepted them.
    pub async fn set_faults(&self, id: usize, faults: &Faults) {
        let client = self.client_of(vec![self.address(id)], Duration::from_secs(1));
        let body = Bytes::from(serde_json::to_vec(faults).unwrap());
        eventually("the server accepts its faults", async || {
            client.request(&Method::PUT, "/faults", body.clone()).await.ok()
        })
        .await;
    }

    /// Replaces the faults of all running servers.
    pub async fn apply(&self, plan: &Plan) {
        for id in self.running() {
            self.set_faults(id, &plan.0.get(&id).cloned().unwrap_or_default()).await;
        }
    }

    /// Removes all faults from all running servers.
    pub async fn heal(&self) {
        self.apply(&Plan::default()).await;
    }
}
