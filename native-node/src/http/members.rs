//! The cluster's members, its leader, and snapshots on demand.

use std::fmt;
use std::time::Duration;

use api::address::Address;
use api::members::{Member, MemberInfo, MemberList, MemberRole, Members};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use raft_core::event::RequestRefusal;
use raft_core::kv::Answer;
use raft_core::membership::{ChangeRefusal, Membership, MembershipChange};
use raft_core::types::{LogIndex, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::dispatch::AuditedChange;
use super::error::ApiError;
use super::kv::json;
use super::{App, request, signed};
use crate::addresses::Book;
use crate::driver::handle::RequestError;

/// How often a new address is written again when the address book changes at the same time.
const MAX_TRIES: u32 = 8;

/// How often a pending snapshot is checked.
const GLANCE: Duration = Duration::from_millis(10);

/// The body of `POST /cluster/members`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": 4, "peer": "127.0.0.1:8004", "client": "127.0.0.1:7004"}))]
struct Join {
    /// The id of the server that joins, changes its addresses, or becomes a voter.
    #[schema(value_type = u64, minimum = 1)]
    id: NodeId,
    /// The address for other servers, as `HOST:PORT`; only together with `client`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    peer: Option<Address>,
    /// The address for clients, as `HOST:PORT`; only together with `peer`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    client: Option<Address>,
    /// Whether the server stays a learner [default: false].
    #[serde(default)]
    learner: bool,
}

/// The body of `PUT /cluster/members`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Voters {
    /// The ids of all voters after the change.
    #[schema(value_type = Vec<u64>)]
    voters: std::collections::BTreeSet<NodeId>,
}

/// The body of `POST /cluster/leader`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Heir {
    /// The id of the next leader. Without it, the leader chooses the most suitable server.
    #[schema(value_type = Option<u64>)]
    to: Option<NodeId>,
}

/// The answer to `POST /cluster/leader`.
#[derive(Debug, Serialize, ToSchema)]
struct Elected {
    /// The id of the new leader.
    #[schema(value_type = u64)]
    leader: NodeId,
}

/// The answer to `POST /cluster/snapshot`.
#[derive(Debug, Serialize, ToSchema)]
struct Saved {
    /// The newest snapshot contains the state up to this entry.
    #[schema(value_type = u64)]
    snapshot_index: LogIndex,
}

/// A requested change of the members.
enum Wish {
    /// A server joins, becomes a voter, or changes its addresses.
    Join(NodeId, Option<Member>, bool),
    Leave(NodeId),
    Voters(std::collections::BTreeSet<NodeId>),
}

/// `/cluster/members` and its subpaths.
pub(super) async fn members(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let id = match parts.uri.path().strip_prefix("/cluster/members/") {
        None => None,
        Some(id) => Some(NodeId(id.parse().map_err(|_| ApiError::RouteNotFound)?)),
    };
    request::no_parameters(&parts.uri)?;
    let (body, permit) = request::body(app, body).await?;
    drop(permit);
    let wish = match (&parts.method, id) {
        (&Method::GET | &Method::HEAD, None) if !app.handle.is_member() => {
            // This server's list is outdated.
            return Err(ApiError::NotAMember(app.leader(app.handle.status().leader)));
        }
        (&Method::GET | &Method::HEAD, None) => {
            let list = list(app, &app.handle.status().membership);
            return Ok(signed(app, json(&list)));
        }
        (&Method::POST, None) => join(request::json_body(&body)?)?,
        (&Method::PUT, None) => set_voters(request::json_body(&body)?),
        (&Method::DELETE, Some(id)) => leave(id),
        _ => return Err(ApiError::RouteNotFound),
    };
    let description = wish.to_string();
    let changed = if app.handle.leads() {
        change(app, wish).await
    } else {
        Err(Failure::Handle(RequestError::NotLeader { leader: app.handle.status().leader }))
    };
    let answer = match changed {
        Ok(membership) => Ok(signed(app, json(&list(app, &membership)))),
        Err(failure) => elsewhere(app, failure, &parts, body).await,
    };
    Ok(done(description, answer))
}

/// The answer to an administrator, with a description of the change for the audit log.
fn done(description: String, answer: Result<Response, ApiError>) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(AuditedChange(description));
    response
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(id, addresses, learner) => {
                write!(
                    f,
                    "add server {} as a {}",
                    id.0,
                    if *learner { "learner" } else { "voter" }
                )?;
                let Some(Member { peer, client }) = addresses else { return Ok(()) };
                write!(f, ", at {peer} for servers and {client} for clients")
            }
            Self::Leave(id) => write!(f, "remove server {}", id.0),
            Self::Voters(voters) => {
                f.write_str("set the voters:")?;
                voters.iter().try_for_each(|id| write!(f, " {}", id.0))
            }
        }
    }
}

/// Adds a server, makes it a voter, or changes its addresses.
///
/// A new server votes once it has caught up, unless it stays a learner. Without addresses, a
/// learner becomes a voter; with other addresses, a member moves. The answer comes when the change
/// is complete. A server that makes no progress for `--promotion-timeout` is removed again.
#[utoipa::path(
    post, path = "/cluster/members", operation_id = "add_member", tag = "cluster", request_body = Join,
    responses((status = 200, description = "The members after the change", body = MemberList)),
)]
fn join(wanted: Join) -> Result<Wish, ApiError> {
    let Join { id, peer, client, learner } = wanted;
    let bad = |what: &str| ApiError::BadMember(what.to_owned());
    if id == NodeId::ENVIRONMENT {
        return Err(bad("server ids start at 1"));
    }
    let addresses = match (peer, client) {
        (Some(peer), Some(client)) => Some(Member { peer, client }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(bad("`peer` and `client` belong together: give both addresses or none"));
        }
    };
    if addresses.iter().any(|it| it.peer.port() == 0 || it.client.port() == 0) {
        return Err(bad("the port of a server cannot be 0"));
    }
    Ok(Wish::Join(id, addresses, learner))
}

/// Sets all voters at once.
///
/// Servers that do not vote yet catch up first; voters that are not listed are removed. Meanwhile
/// both sets of voters must agree.
#[utoipa::path(
    put, path = "/cluster/members", operation_id = "set_voters", tag = "cluster", request_body = Voters,
    responses((status = 200, description = "The members after the change", body = MemberList)),
)]
fn set_voters(wanted: Voters) -> Wish {
    Wish::Voters(wanted.voters)
}

/// Removes a server, which may be the leader.
///
/// A removed server that still runs is not ready, and answers reads with `not_a_member`.
#[utoipa::path(
    delete, path = "/cluster/members/{id}", operation_id = "remove_member", tag = "cluster",
    params(("id" = u64, Path, description = "The server's id")),
    responses((status = 200, description = "The members after the change", body = MemberList)),
)]
const fn leave(id: NodeId) -> Wish {
    Wish::Leave(id)
}

/// Why this server did not make a change.
enum Failure {
    Handle(RequestError),
    Api(ApiError),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Handle(error)
    }
}

/// Forwards the request if this server does not lead; otherwise returns the error.
async fn elsewhere(
    app: &App,
    failure: Failure,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ApiError> {
    match failure {
        Failure::Handle(RequestError::NotLeader { leader }) => {
            app.ask_leader_within(leader, parts, body, false, app.change_timeout).await
        }
        Failure::Handle(error) => Err(request::write_error(error)),
        Failure::Api(error) => Err(error),
    }
}

/// Writes addresses first, to have them in the log before the configuration that needs them.
async fn change(app: &App, wish: Wish) -> Result<Membership, Failure> {
    let moved = match &wish {
        Wish::Join(id, Some(member), learner) => {
            let moved = enter(app, *id, member).await?;
            let membership = &app.handle.status().membership;
            let is_there = if *learner {
                membership.learners.contains(id) && !membership.target.contains(id)
            } else {
                let stays = membership.target.is_empty() || membership.target.contains(id);
                membership.is_voter(*id) && stays
            };
            if moved && is_there {
                // Only the addresses change, whatever other change is pending.
                return Ok(membership.clone());
            }
            moved
        }
        Wish::Join(id, None, _) => {
            enter_again(app, std::slice::from_ref(id)).await?;
            false
        }
        Wish::Voters(voters) => {
            enter_again(app, &voters.iter().copied().collect::<Vec<_>>()).await?;
            false
        }
        Wish::Leave(_) => false,
    };
    let known = app.addresses.all();
    let unknown = |id: &NodeId| {
        let what = format!("no address of server {} is known; send its addresses too", id.0);
        Failure::Api(ApiError::BadMember(what))
    };
    let change = match wish {
        Wish::Join(id, addresses, learner) => {
            if addresses.is_none() && known.get(id).is_none() {
                return Err(unknown(&id));
            }
            let add =
                if learner { MembershipChange::AddLearner } else { MembershipChange::AddVoter };
            add(id)
        }
        Wish::Leave(id) => MembershipChange::Remove(id),
        Wish::Voters(voters) => {
            if let Some(id) = voters.iter().find(|id| known.get(**id).is_none()) {
                return Err(unknown(id));
            }
            MembershipChange::SetVoters(voters)
        }
    };
    let permit = app.handle.admit(0)?;
    match app.handle.change_membership(change, permit, app.change_timeout).await {
        Err(RequestError::Refused(RequestRefusal::Membership(ChangeRefusal::NothingToChange)))
            if moved =>
        {
            Ok(app.handle.status().membership.clone())
        }
        changed => Ok(changed?),
    }
}

/// Records in the address book that these servers join, with the addresses that are known already.
async fn enter_again(app: &App, ids: &[NodeId]) -> Result<(), Failure> {
    let membership = app.handle.status().membership.clone();
    for id in ids.iter().filter(|id| !membership.contains(**id)) {
        // The caller rejects servers without an address.
        if let Some(member) = app.addresses.get(*id) {
            enter(app, *id, &member).await?;
        }
    }
    Ok(())
}

/// Writes a server's addresses to the address book, and that it joins if it is not a member.
/// Returns whether the addresses changed.
async fn enter(app: &App, id: NodeId, member: &Member) -> Result<bool, Failure> {
    for _ in 0..MAX_TRIES {
        let store = app.handle.read(false, app.handle.admit(0)?).await?;
        if !app.handle.leads() {
            let leader = app.handle.status().leader;
            return Err(RequestError::NotLeader { leader }.into());
        }
        let book = Book::of(&store);
        let known = book.members.over(&app.founders);
        let membership = app.handle.status().membership.clone();
        let newcomer = (!membership.contains(id)).then_some(id);
        let same = known.get(id) == Some(member) && book.members.get(id).is_some();
        if same && newcomer.is_none() {
            return Ok(false);
        }
        // The addresses of servers that have left are free for others.
        let belonging = known.only(|other| membership.contains(other));
        let members: Members = belonging
            .with(id, member.clone())
            .map_err(|error| Failure::Api(ApiError::BadMember(error.to_string())))?;
        let command = book.with(members, newcomer).replace().encode();
        let (_, applied) = app.handle.propose(command, app.handle.admit(0)?).await?;
        if matches!(applied.answer, Answer::Compared { succeeded: true, .. }) {
            return Ok(known.get(id) != Some(member));
        }
    }
    Err(RequestError::Overloaded.into())
}

/// Lists the members, as this server knows them.
///
/// A server that is not a member rejects the request: its list is outdated.
#[utoipa::path(
    get, path = "/cluster/members", operation_id = "list_members", tag = "cluster",
    responses((status = 200, description = "The members", body = MemberList)),
)]
fn list(app: &App, membership: &Membership) -> MemberList {
    let joining: Vec<NodeId> = membership.joining().collect();
    let role = |id: NodeId| {
        if membership.voters.contains(&id) {
            MemberRole::Voter
        } else if membership.outgoing.contains(&id) {
            MemberRole::Leaving
        } else if joining.contains(&id) {
            MemberRole::Joining
        } else {
            MemberRole::Learner
        }
    };
    let info = |id| MemberInfo { id, role: role(id), addresses: app.addresses.get(id) };
    MemberList {
        leader: app.handle.status().leader,
        joint: membership.is_joint(),
        members: membership.members().into_iter().map(info).collect(),
    }
}

/// Transfers leadership to another server.
#[utoipa::path(
    post, path = "/cluster/leader", operation_id = "transfer_leadership", tag = "cluster",
    request_body(content = Option<Heir>, description = "The body may be empty"),
    responses((status = 200, description = "The new leader", body = Elected)),
)]
pub(super) async fn transfer(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    request::no_parameters(&parts.uri)?;
    let (body, permit) = request::body(app, body).await?;
    let Heir { to } = if body.is_empty() { Heir::default() } else { request::json_body(&body)? };
    let description = to.map_or_else(
        || "transfer leadership".to_owned(),
        |to| format!("transfer leadership to server {}", to.0),
    );
    let answer = match app.handle.transfer_leadership(to, permit).await {
        Ok(leader) => Ok(signed(app, json(&Elected { leader }))),
        Err(error) => elsewhere(app, error.into(), &parts, body).await,
    };
    Ok(done(description, answer))
}

/// Takes a snapshot on this server, and answers once it is on disk.
#[utoipa::path(
    post, path = "/cluster/snapshot", operation_id = "take_snapshot", tag = "cluster",
    responses(
        (status = 200, description = "The snapshot is on disk", body = Saved),
        (status = 202, description = "The server still writes it; the answer names the previous \
            snapshot", body = Saved),
    ),
)]
pub(super) async fn snapshot(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    request::no_parameters(request.uri())?;
    let wanted = app.handle.status().last_applied.index;
    let deadline = Instant::now() + app.forwarder.timeout();
    app.handle.compact();
    loop {
        let (snapshot_index, halted) = {
            let status = app.handle.status();
            (status.snapshot_index, status.halted)
        };
        if snapshot_index >= wanted {
            return Ok(signed(app, json(&Saved { snapshot_index })));
        }
        if halted {
            return Err(ApiError::Stopping);
        }
        if Instant::now() >= deadline {
            // The snapshot continues; /cluster/status shows its progress.
            let mut response = signed(app, json(&Saved { snapshot_index }));
            *response.status_mut() = StatusCode::ACCEPTED;
            return Ok(response);
        }
        // A snapshot that was already pending ends before the requested snapshot can begin.
        app.handle.compact();
        sleep(GLANCE).await;
    }
}
