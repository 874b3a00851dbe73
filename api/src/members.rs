//! The members of the cluster and their addresses: `1=PEER/CLIENT,2=PEER/CLIENT,…`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use raft_core::membership::Membership;
use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::address::{Address, AddressError};

/// The addresses of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The address for other servers.
    pub peer: Address,
    /// The address for clients.
    pub client: Address,
}

/// All servers of the cluster, by id. In TOML each server is a table:
/// `members.1 = { peer = "127.0.0.1:8001", client = "127.0.0.1:7001" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Member>", into = "BTreeMap<String, Member>")]
pub struct Members(BTreeMap<NodeId, Member>);

/// The error for an invalid list of members.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The `=` or the `/` is missing.
    #[error(
        "`{0}` is not a member: write ID=PEER/CLIENT, for instance \
         1=127.0.0.1:8001/127.0.0.1:7001"
    )]
    Notation(String),
    /// The part before `=` is not a valid id.
    #[error("`{0}` is not a server id: an id is a whole number from 1 on")]
    Id(String),
    /// An address is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An id appears twice.
    #[error("server {} appears twice among the members", .0.0)]
    TwiceId(NodeId),
    /// An address appears twice.
    #[error("address {0} appears twice among the members; each server needs its own two")]
    TwiceAddress(Address),
    /// A wildcard address, at which a server can listen but cannot be reached.
    #[error(
        "server {id} cannot be reached at {address}, which means all addresses of a \
         machine. Write the address at which the other servers find it. To listen on all \
         addresses, use --client or --peer", id = .0.0, address = .1
    )]
    Unspecified(NodeId, Address),
    /// The list is empty.
    #[error("the list of members is empty")]
    Empty,
}

impl Members {
    /// The addresses of a server.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.0.get(&id)
    }

    /// All members, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.0.iter().map(|(id, member)| (*id, member))
    }

    /// The initial members of a new cluster.
    pub fn membership(&self) -> Membership {
        Membership::of(self.0.keys().copied())
    }

    /// Adds a server, or changes its addresses.
    pub fn with(&self, id: NodeId, member: Member) -> Result<Self, MembersError> {
        let others = self.iter().filter(|(other, _)| *other != id);
        can_be_reached(id, &member)?;
        Self::checked(others.map(|(id, member)| (id, member.clone())).chain([(id, member)]))
    }

    /// Merges two lists. This list has precedence over `below`.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let below = below.0.iter().filter(|(id, _)| !self.0.contains_key(id));
        Self(self.0.iter().chain(below).map(|(id, member)| (*id, member.clone())).collect())
    }

    /// The members whose id fulfills `wanted`.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(NodeId) -> bool) -> Self {
        let kept = self.iter().filter(|(id, _)| wanted(*id));
        Self(kept.map(|(id, member)| (id, member.clone())).collect())
    }

    /// Rejects wildcard addresses, which cannot be reached.
    pub fn can_be_reached(&self) -> Result<(), MembersError> {
        self.iter().try_for_each(|(id, member)| can_be_reached(id, member))
    }

    fn checked(list: impl IntoIterator<Item = (NodeId, Member)>) -> Result<Self, MembersError> {
        let mut members = BTreeMap::new();
        let mut addresses = std::collections::BTreeSet::new();
        for (id, member) in list {
            for address in [&member.peer, &member.client] {
                // Port 0 means "any free port", so it may appear more than once.
                if address.port() != 0 && !addresses.insert(address.clone()) {
                    return Err(MembersError::TwiceAddress(address.clone()));
                }
            }
            if members.insert(id, member).is_some() {
                return Err(MembersError::TwiceId(id));
            }
        }
        if members.is_empty() { Err(MembersError::Empty) } else { Ok(Self(members)) }
    }
}

fn can_be_reached(id: NodeId, member: &Member) -> Result<(), MembersError> {
    let mut addresses = [&member.peer, &member.client].into_iter();
    match addresses.find(|address| address.is_unspecified()) {
        Some(address) => Err(MembersError::Unspecified(id, address.clone())),
        None => Ok(()),
    }
}

fn parse_id(text: &str) -> Result<NodeId, MembersError> {
    match text.trim().parse() {
        Ok(id) if NodeId(id) != NodeId::ENVIRONMENT => Ok(NodeId(id)),
        _ => Err(MembersError::Id(text.to_owned())),
    }
}

fn parse_member(text: &str) -> Result<(NodeId, Member), MembersError> {
    let notation = || MembersError::Notation(text.to_owned());
    let (id, addresses) = text.split_once('=').ok_or_else(notation)?;
    let (peer, client) = addresses.split_once('/').ok_or_else(notation)?;
    Ok((parse_id(id)?, Member { peer: peer.trim().parse()?, client: client.trim().parse()? }))
}

impl FromStr for Members {
    type Err = MembersError;

    fn from_str(text: &str) -> Result<Self, MembersError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let members = Self::checked(parts.map(parse_member).collect::<Result<Vec<_>, _>>()?)?;
        members.can_be_reached()?;
        Ok(members)
    }
}

impl TryFrom<BTreeMap<String, Member>> for Members {
    type Error = MembersError;

    fn try_from(table: BTreeMap<String, Member>) -> Result<Self, MembersError> {
        let list = table.into_iter().map(|(id, member)| Ok((parse_id(&id)?, member)));
        Self::checked(list.collect::<Result<Vec<_>, MembersError>>()?)
    }
}

impl From<Members> for BTreeMap<String, Member> {
    fn from(members: Members) -> Self {
        members.0.into_iter().map(|(id, member)| (id.0.to_string(), member)).collect()
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (id, member)) in self.0.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            write!(f, "{comma}{}={}/{}", id.0, member.peer, member.client)?;
        }
        Ok(())
    }
}

/// The response to requests about members.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    /// The leader, if the server knows it.
    #[schema(value_type = Option<u64>)]
    pub leader: Option<NodeId>,
    /// Whether a membership change is in progress, which needs a quorum of the old and of the new
    /// voters.
    pub joint: bool,
    /// All members.
    pub members: Vec<MemberInfo>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberInfo {
    /// The server's id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// The member's role.
    pub role: MemberRole,
    /// The addresses, if they are known.
    #[serde(flatten)]
    #[schema(value_type = Found)]
    pub addresses: Option<Member>,
}

/// The addresses of a member in JSON. Both are missing if they are not known.
#[derive(ToSchema)]
#[schema(as = Addresses)]
#[expect(dead_code, reason = "it describes")]
struct Found {
    /// The address for other servers.
    #[schema(required = false, nullable = false)]
    peer: Option<String>,
    /// The address for clients.
    #[schema(required = false, nullable = false)]
    client: Option<String>,
}

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// The server votes and counts toward the quorum.
    Voter,
    /// The server votes until the current membership change is complete.
    Leaving,
    /// The server replicates the log but does not vote.
    Learner,
    /// The server replicates the log. It becomes a voter when it has caught up.
    Joining,
}

#[cfg(test)]
mod tests {
    use super::Members;

    /// Guards the notation in both directions.
    #[test]
    fn members_read_back_as_written() {
        let text = "1=127.0.0.1:8001/127.0.0.1:7001,2=b:8002/b:7002";
        let members: Members = text.parse().expect("two members");
        assert_eq!(members.to_string(), text);
        assert_eq!(members.membership().voters.len(), 2);
    }

    /// Guards that a cluster does not start with an invalid list of members.
    #[test]
    fn unusable_lists_are_refused_with_the_reason() {
        for (bad, reason) in [
            ("", "empty"),
            ("1", "ID=PEER/CLIENT"),
            ("1=a:1", "ID=PEER/CLIENT"),
            ("0=a:1/a:2", "from 1 on"),
            ("x=a:1/a:2", "from 1 on"),
            ("1=a/a:2", "port is missing"),
            ("1=0.0.0.0:1/a:2", "cannot be reached at 0.0.0.0:1"),
            ("1=a:1/[::]:2", "cannot be reached at [::]:2"),
            ("1=a:1/a:2,1=a:3/a:4", "server 1 appears twice"),
            ("1=a:1/a:2,2=a:2/a:3", "address a:2 appears twice"),
        ] {
            let error = bad.parse::<Members>().expect_err(bad).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
