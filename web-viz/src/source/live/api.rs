//! The server's interface as the page uses it.

use std::collections::BTreeMap;

use gloo_net::http::{Method, RequestBuilder};
use gloo_net::websocket::futures::WebSocket;
use gloo_utils::errors::JsError;
use raft_core::kv::Command;
use raft_core::types::{NodeId, Time};
use raft_core::view::DiskHealth;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::desk::{Ask, AskState, Request};
use crate::model::live::{FirstWrite, Process, ProcessState};

/// What the page needs of `GET /cluster/status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) node: Place,
    pub(super) peers: Vec<PeerStatus>,
}

/// A server and where it serves clients.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) id: NodeId,
    pub(super) client: String,
}

/// Another server, as the one that answers sees it.
#[derive(Debug, Deserialize)]
pub(super) struct PeerStatus {
    pub(super) id: NodeId,
    pub(super) client: String,
    pub(super) connected: bool,
}

/// What the page needs of `GET /demo/nodes`.
#[derive(Debug, Deserialize)]
pub(super) struct Overview {
    pub(super) token: String,
    pub(super) nodes: Vec<Node>,
    pub(super) failover: Option<Failover>,
}

/// One process of the demo.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) client: String,
    pub(super) pid: Option<u32>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) faults: Faults,
}

/// What the demo does to a process beside that.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Faults {
    /// By the number of the other server.
    #[serde(default)]
    links: BTreeMap<String, LinkFaults>,
    #[serde(default)]
    disk: DiskFaults,
}

#[derive(Debug, Deserialize)]
struct LinkFaults {
    cut_to: bool,
}

#[derive(Debug, Default, Deserialize)]
struct DiskFaults {
    stalled: bool,
    full: bool,
}

/// The demo's measurement of a recovery.
#[derive(Debug, Deserialize)]
pub(super) struct Failover {
    node: NodeId,
    at_ms: u64,
    first_write_ms: Option<f64>,
}

impl Node {
    pub(super) fn state(&self) -> ProcessState {
        match self.state.as_str() {
            "running" => ProcessState::Running,
            "frozen" => ProcessState::Frozen,
            _ => ProcessState::Dead,
        }
    }
}

impl From<Node> for Process {
    fn from(node: Node) -> Self {
        let cut = node.faults.links.iter().filter(|(_, link)| link.cut_to);
        let cut_to = cut.filter_map(|(peer, _)| peer.parse().ok().map(NodeId)).collect();
        let disk = match node.faults.disk {
            DiskFaults { stalled: true, .. } => DiskHealth::Stalled,
            DiskFaults { full: true, .. } => DiskHealth::Full,
            DiskFaults { stalled: false, full: false } => DiskHealth::Well,
        };
        Self { id: node.id, pid: node.pid, state: node.state(), cut_to, disk }
    }
}

impl From<Failover> for FirstWrite {
    fn from(failover: Failover) -> Self {
        let at = Time(failover.at_ms * 1_000);
        Self { node: failover.node, at, after_ms: failover.first_write_ms }
    }
}

/// What the page needs of an error's body.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    hint: String,
}

/// What the page needs of the answer to a write.
#[derive(Debug, Deserialize)]
struct Written {
    revision: u64,
    index: u64,
}

/// What the page needs of the answer to a read.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(with = "raft_core::codec::text_or_bytes")]
    value: bytes::Bytes,
}

/// Where the page came from.
pub(super) fn own_origin() -> String {
    gloo_utils::window().location().origin().unwrap_or_default()
}

/// Milliseconds since 1970.
pub(super) fn milliseconds() -> f64 {
    js_sys::Date::now()
}

/// A server's address for clients as a URL, in the scheme of this page.
pub(super) fn address(client: &str) -> String {
    let scheme = if own_origin().starts_with("https") { "https" } else { "http" };
    format!("{scheme}://{client}")
}

/// Opens a server's event stream. The token goes as a protocol, since a page cannot send it otherwise
/// with a WebSocket; a protocol without one is offered too, for the server to choose.
pub(super) fn open_stream(address: &str, token: &str) -> Result<WebSocket, JsError> {
    // http becomes ws, https wss.
    let url = format!("ws{}/trace?format=binary", address.strip_prefix("http").unwrap_or(address));
    if token.is_empty() {
        return WebSocket::open(&url);
    }
    WebSocket::open_with_protocols(&url, &["glassraft.trace", &format!("bearer.{token}")])
}

/// Why there is no answer to read.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In words.
    pub(super) words: String,
    /// Whether a token is missing, or another one is needed.
    pub(super) locked: bool,
}

/// Proves to a server who asks.
#[derive(Clone, Copy, Debug)]
enum Proof<'a> {
    /// The person's token, if any.
    Person(&'a str),
    /// What the demo's supervisor gave to its page.
    Supervisor(&'a str),
    Nothing,
}

pub(super) async fn overview(base: &str) -> Result<Overview, Trouble> {
    json(fetch(Method::GET, base, "/demo/nodes", Proof::Nothing, None).await, base)
}

pub(super) async fn status(base: &str, token: &str) -> Result<Status, Trouble> {
    let path = "/cluster/status?progress=local";
    json(fetch(Method::GET, base, path, Proof::Person(token), None).await, base)
}

pub(super) async fn supervise(base: &str, token: &str, path: &str) -> Result<Overview, Trouble> {
    json(fetch(Method::POST, base, path, Proof::Supervisor(token), None).await, base)
}

/// Asks a server for a write or a read.
pub(super) async fn ask(ask: &Ask, address: &str, token: &str) -> AskState {
    let (method, path, body) = match &ask.request {
        Request::Write(Command::Put { key, value, .. }) => {
            (Method::POST, "/set".to_owned(), Some(set_body(key, value)))
        }
        Request::Write(Command::Delete { key }) => {
            (Method::DELETE, format!("/kv/{}", escaped(&String::from_utf8_lossy(key))), None)
        }
        // The page has no form for these.
        Request::Write(
            command @ (Command::DeleteRange(_)
            | Command::CompareAndSet { .. }
            | Command::Transaction(_)
            | Command::GrantLease { .. }
            | Command::KeepLeaseAlive(_)
            | Command::RevokeLease(_)
            | Command::OpenSession { .. }
            | Command::CloseSession(_)
            | Command::InSession { .. }
            | Command::Once { .. }
            | Command::AdvanceClock { .. }
            | Command::RaiseSemantics { .. }),
        ) => {
            return AskState::Failed(format!("a live server is not asked for {command} from here"));
        }
        Request::Read(key) => (Method::GET, format!("/get/{}", escaped(key)), None),
        Request::Change(_) | Request::Transfer(_) => {
            return AskState::Failed(
                "a live cluster's members are not changed from here".to_owned(),
            );
        }
    };
    let answer = fetch(method, address, &path, Proof::Person(token), body).await;
    let state = match &ask.request {
        Request::Write(_) | Request::Change(_) | Request::Transfer(_) => {
            json::<Written>(answer, address)
                .map(|done| format!("done at index {}, revision {}", done.index, done.revision))
        }
        Request::Read(key) => json::<Found>(answer, address)
            .map(|found| format!("{key} = {}", String::from_utf8_lossy(&found.value))),
    };
    state.map_or_else(|trouble| AskState::Failed(trouble.words), AskState::Done)
}

fn set_body(key: &[u8], value: &[u8]) -> String {
    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
    let body = BTreeMap::from([("key", key), ("value", value)]);
    serde_json::to_string(&body).expect("texts have a JSON form")
}

fn escaped(text: &str) -> String {
    js_sys::encode_uri_component(text).into()
}

/// The status and the text of an answer; `None` when there was none.
async fn fetch(
    method: Method,
    base: &str,
    path: &str,
    proof: Proof<'_>,
    body: Option<String>,
) -> Option<(u16, String)> {
    let mut request = RequestBuilder::new(&format!("{base}{path}")).method(method);
    match proof {
        Proof::Person("") | Proof::Nothing => {}
        Proof::Person(token) => {
            request = request.header("authorization", &format!("Bearer {token}"));
        }
        Proof::Supervisor(token) => request = request.header("x-demo-token", token),
    }
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body),
        None => request.build(),
    };
    let response = request.ok()?.send().await.ok()?;
    Some((response.status(), response.text().await.ok()?))
}

/// Reads an answer, or says in words why there is none.
fn json<T: DeserializeOwned>(answer: Option<(u16, String)>, address: &str) -> Result<T, Trouble> {
    let trouble = |words, locked| Trouble { words, locked };
    let Some((status, text)) = answer else {
        let words = format!(
            "Nothing answers at {address}, or it does not let this page in (a server does with \
             --cors-origins {}).",
            own_origin()
        );
        return Err(trouble(words, false));
    };
    if status >= 400 {
        let problem = serde_json::from_str::<Problem>(&text);
        let words = problem.map_or_else(
            |_| format!("{address} is no Glassraft server: it answers {status}."),
            |problem| format!("{}; {}", problem.detail, problem.hint),
        );
        // Unauthorized, forbidden.
        return Err(trouble(words, status == 401 || status == 403));
    }
    serde_json::from_str(&text).map_err(|_| {
        let words = format!("{address} answers, but not like a Glassraft server of this release.");
        trouble(words, false)
    })
}
