//! Membership changes with retries: while clients write and leaders change, an attempt may be
//! rejected.

use std::time::Duration;

use client::Client;
use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

/// Timeout of an attempt; long, because a joining server catches up first.
const TRY: Duration = Duration::from_secs(15);

impl Cluster {
    /// Removes a member.
    pub async fn take_out(&self, id: usize) {
        let client = self.client_of_others(id);
        let path = format!("/cluster/members/{id}");
        eventually("the server is no longer a member", async || {
            drop(client.json(&Method::DELETE, &path, None).await);
            (role(&client, id).await?.is_none()).then_some(())
        })
        .await;
    }

    /// Adds a server and waits until it is a voter.
    pub async fn let_in(&self, id: usize) {
        let client = self.client_of_others(id);
        let (peer, address) = (self.peer_address(id), self.address(id));
        let body = json!({"id": id, "peer": peer.to_string(), "client": address.to_string()});
        eventually("the server is a voter", async || {
            drop(client.json(&Method::POST, "/cluster/members", Some(&body)).await);
            (role(&client, id).await?? == "voter").then_some(())
        })
        .await;
    }

    /// Transfers leadership to a server, unless an election chooses another leader meanwhile.
    pub async fn transfer(&self, to: usize) {
        let client = self.any_client().with_patience(TRY);
        drop(client.json(&Method::POST, "/cluster/leader", Some(&json!({"to": to}))).await);
        self.leader().await;
    }

    /// Waits until a server has applied all but at most 50 of the leader's committed entries.
    pub async fn caught_up(&self, id: usize) {
        eventually("the server has caught up", async || {
            let leader = self.status(self.leader().await).await?;
            let own = self.status(id).await?;
            (own.applied_index.0 + 50 >= leader.commit_index.0).then_some(())
        })
        .await;
    }

    /// Excludes the server itself: after its removal it may never learn of it.
    fn client_of_others(&self, id: usize) -> Client {
        let others = self.ids().filter(|other| *other != id).map(|other| self.address(other));
        self.client_of(others.collect(), TRY)
    }
}

/// Role of a server according to some member; the inner `None` means no member.
async fn role(client: &Client, id: usize) -> Option<Option<String>> {
    // Any member responds with its local state; a lagging member only delays the caller.
    let list = client.json(&Method::GET, "/cluster/members", None).await.ok()?;
    let members = list["members"].as_array()?;
    let found = members.iter().find(|member| member["id"] == id as u64);
    Some(found.map(|member: &Value| member["role"].as_str().unwrap_or_default().to_owned()))
}
