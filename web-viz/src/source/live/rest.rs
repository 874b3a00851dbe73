//! The parts of the servers' HTTP API that the page uses.

use std::collections::BTreeMap;

use api::demo::{self, Failover, Overview};
use api::faults::DiskFaults;
use api::kv::Written;
use api::problem::Explanation;
use api::status::StatusSummary;
use gloo_net::http::{Method, RequestBuilder};
use gloo_net::websocket::futures::WebSocket;
use gloo_utils::errors::JsError;
use raft_core::kv::Command;
use raft_core::types::{NodeId, Time};
use raft_core::view::DiskHealth;
use serde::de::DeserializeOwned;

use crate::domain::form::{Ask, AskState, Request};
use crate::model::live::{FirstWrite, Process};

impl From<demo::Process> for Process {
    fn from(process: demo::Process) -> Self {
        let cut = process.faults.links.iter().filter(|(_, link)| link.cut_to);
        let cut_to = cut.map(|(peer, _)| NodeId(*peer)).collect();
        let disk = match process.faults.disk {
            DiskFaults { stalled: true, .. } => DiskHealth::Stalled,
            DiskFaults { full: true, .. } => DiskHealth::Full,
            DiskFaults { stalled: false, full: false } => DiskHealth::Well,
        };
        Self { id: NodeId(process.id), pid: process.pid, state: process.state, cut_to, disk }
    }
}

impl From<Failover> for FirstWrite {
    fn from(failover: Failover) -> Self {
        let at = Time(failover.at_ms * 1_000);
        Self { node: NodeId(failover.node), at, after_ms: failover.first_write_ms }
    }
}

/// The origin of the page.
pub(super) fn own_origin() -> String {
    gloo_utils::window().location().origin().unwrap_or_default()
}

/// Milliseconds since 1970.
pub(super) fn milliseconds() -> f64 {
    js_sys::Date::now()
}

/// A server's client address as a URL with the scheme of this page.
pub(super) fn address(client: &str) -> String {
    let scheme = if own_origin().starts_with("https") { "https" } else { "http" };
    format!("{scheme}://{client}")
}

/// Opens a server's event stream. The token is sent as a subprotocol, because a page has no other
/// way to send it with a WebSocket. A subprotocol without the token is also offered, for the server
/// to select.
pub(super) fn open_stream(address: &str, token: &str) -> Result<WebSocket, JsError> {
    // http becomes ws, and https becomes wss.
    let url = format!("ws{}/trace?format=binary", address.strip_prefix("http").unwrap_or(address));
    if token.is_empty() {
        return WebSocket::open(&url);
    }
    WebSocket::open_with_protocols(&url, &["glassraft.trace", &format!("bearer.{token}")])
}

/// Why a request has no usable response.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The explanation for the person.
    pub(super) words: String,
    /// Whether the token is missing or insufficient.
    pub(super) locked: bool,
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug)]
enum Proof<'a> {
    /// The person's API token, which can be empty.
    Person(&'a str),
    /// The token that the demo's supervisor gave to its page.
    Supervisor(&'a str),
    Nothing,
}

pub(super) async fn overview(base: &str) -> Result<Overview, Trouble> {
    json(fetch(Method::GET, base, "/demo/nodes", Proof::Nothing, None).await, base)
}

pub(super) async fn status(base: &str, token: &str) -> Result<StatusSummary, Trouble> {
    let path = "/cluster/status?progress=local";
    json(fetch(Method::GET, base, path, Proof::Person(token), None).await, base)
}

pub(super) async fn supervise(base: &str, token: &str, path: &str) -> Result<Overview, Trouble> {
    json(fetch(Method::POST, base, path, Proof::Supervisor(token), None).await, base)
}

/// Sends a write or a read to a server.
pub(super) async fn ask(ask: &Ask, address: &str, token: &str) -> AskState {
    let (method, path, body) = match &ask.request {
        Request::Write(Command::Put { key, value, .. }) => {
            (Method::POST, "/set".to_owned(), Some(set_body(key, value)))
        }
        Request::Write(Command::Delete { key }) => {
            (Method::DELETE, format!("/kv/{}", escaped(&String::from_utf8_lossy(key))), None)
        }
        // The page has no form for these commands.
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
            return AskState::Failed(format!("this page does not send {command} to live servers"));
        }
        Request::Read(key) => (Method::GET, format!("/kv/{}", escaped(key)), None),
        Request::Change(_) | Request::Transfer(_) => {
            return AskState::Failed(
                "this page does not change the members of a live cluster".to_owned(),
            );
        }
    };
    let answer = fetch(method, address, &path, Proof::Person(token), body).await;
    let state = match &ask.request {
        Request::Write(_) | Request::Change(_) | Request::Transfer(_) => {
            json::<Written>(answer, address)
                .map(|done| format!("done at index {}, revision {}", done.index, done.revision))
        }
        Request::Read(key) => text(answer, address).map(|value| format!("{key} = {value}")),
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

/// The status and the body of the response; `None` if there is no response.
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

/// The text of an answer, or why there is none.
fn text(answer: Option<(u16, String)>, address: &str) -> Result<String, Trouble> {
    let trouble = |words, locked| Trouble { words, locked };
    let Some((status, text)) = answer else {
        let words = format!(
            "No server answers at {address}, or it does not allow this page. To allow it, start \
             servers with --cors-origins {}.",
            own_origin()
        );
        return Err(trouble(words, false));
    };
    if status >= 400 {
        let problem = serde_json::from_str::<Explanation>(&text);
        let words = problem.map_or_else(
            |_| format!("{address} is not a Glassraft server: it answers {status}."),
            |problem| format!("{}; {}.", problem.detail, problem.hint.trim_end_matches('.')),
        );
        // Unauthorized, forbidden.
        return Err(trouble(words, status == 401 || status == 403));
    }
    Ok(text)
}

/// The same for an answer in JSON.
fn json<T: DeserializeOwned>(answer: Option<(u16, String)>, address: &str) -> Result<T, Trouble> {
    serde_json::from_str(&text(answer, address)?).map_err(|_| {
        let words = format!("{address} answers, but not like a Glassraft server of this release.");
        Trouble { words, locked: false }
    })
}
