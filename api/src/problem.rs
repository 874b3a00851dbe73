//! Errors as clients receive them: responses of type `application/problem+json` (RFC 9457).

use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::members::Member;

/// The parts of an error that a client uses. A part that the server does not send is empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Explanation {
    /// The stable name of the error.
    pub code: String,
    /// The cause of this error.
    #[serde(default)]
    pub detail: String,
    /// What the user can do.
    #[serde(default)]
    pub hint: String,
    /// Whether the client may retry the request.
    #[serde(default)]
    pub retryable: bool,
    /// The leader, if the client should send the request there.
    #[serde(default)]
    pub leader: Option<Leader>,
}

/// The server to which the client should send the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leader {
    /// The server's id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// The address for clients.
    pub client: String,
}

impl Leader {
    /// Takes the address from the list of members.
    pub fn new(id: NodeId, member: &Member) -> Self {
        Self { id, client: member.client.to_string() }
    }
}
