//! Changes of a cluster's members, tried until they hold: while clients write and leaders change, a
//! single try may be refused for a moment.

use std::time::Duration;

use hyper::Method;
use native_node::client::Client;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

/// How long one try may take: a server that joins catches up first.
const TRY: Duration = Duration::from_secs(15);

impl Cluster {
    /// A member is taken out.
    pub async fn take_out(&self, id: usize) {
        let client = self.client_of_others(id);
        let path = format!("/cluster/members/{id}");
        eventually("it is no member any more", async || {
            drop(client.json(&Method::DELETE, &path, None).await);
            (role(&client, id).await?.is_none()).then_some(())
        })
        .await;
    }

    /// A server is let in and votes.
    pub async fn let_in(&self, id: usize) {
        let client = self.client_of_others(id);
        let (peer, address) = (self.peer_address(id), self.address(id));
        let body = json!({"id": id, "peer": peer.to_string(), "client": address.to_string()});
        eventually("it votes", async || {
            drop(client.json(&Method::POST, "/cluster/members", Some(&body)).await);
            (role(&client, id).await?? == "voter").then_some(())
        })
        .await;
    }

    /// Leadership goes to a server, unless an election decides otherwise meanwhile.
    pub async fn transfer(&self, to: usize) {
        let client = self.any_client().with_patience(TRY);
        drop(client.json(&Method::POST, "/cluster/leader", Some(&json!({"to": to}))).await);
        self.leader().await;
    }

    /// Waits until a server has about what the leader has committed.
    pub async fn caught_up(&self, id: usize) {
        eventually("it has caught up", async || {
            let leader = self.status(self.leader().await).await?;
            let own = self.status(id).await?;
            (own.applied_index.0 + 50 >= leader.commit_index.0).then_some(())
        })
        .await;
    }

    /// A server that was taken out may never hear of it, and would be the last to ask.
    fn client_of_others(&self, id: usize) -> Client {
        let others = self.ids().filter(|other| *other != id).map(|other| self.address(other));
        self.client_of(others.collect(), TRY)
    }
}

/// What a server is to the cluster, as some member knows it: the inner `None` for no member.
async fn role(client: &Client, id: usize) -> Option<Option<String>> {
    // Any member answers this from what it knows; one that lags only makes this wait.
    let list = client.json(&Method::GET, "/cluster/members", None).await.ok()?;
    let members = list["members"].as_array()?;
    let found = members.iter().find(|member| member["id"] == id as u64);
    Some(found.map(|member: &Value| member["role"].as_str().unwrap_or_default().to_owned()))
}
