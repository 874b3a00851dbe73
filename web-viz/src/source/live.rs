//! A cluster of real servers: finds its members, keeps an event stream from each, and forwards the
//! person's requests. It only reports; the model decides what is shown.

mod plan;
mod rest;
pub(super) mod shift;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use api::demo::{Action as DemoAction, Overview};
use api::status::StatusSummary;
use futures_util::StreamExt as _;
use gloo_net::websocket::Message;
use gloo_timers::future::sleep;
use raft_core::codec::{self, FORMAT_VERSION};
use raft_core::event::Event;
use raft_core::types::{Micros, NodeId};
use wasm_bindgen_futures::spawn_local;

use crate::dispatch::Dispatch;
use crate::domain::form::Ask;
use crate::model::Action;
use crate::model::live::Report;
use crate::num::whole;
use plan::Plan;

/// How often the source checks its streams.
const LOOK: Duration = Duration::from_millis(400);

pub(crate) struct LiveSource {
    dispatch: Dispatch,
    watch: Option<Rc<Watch>>,
}

/// A cluster that is watched. Its tasks end once another watch replaces it.
struct Watch {
    /// The URL where the search starts.
    base: String,
    dispatch: Dispatch,
    plan: RefCell<Plan>,
    /// The API token; empty if there is none.
    token: String,
    /// The supervisor's token, if there is a supervisor.
    supervisor: RefCell<Option<String>>,
    ended: RefCell<bool>,
}

impl LiveSource {
    pub(crate) const fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, watch: None }
    }

    /// Watches the cluster that has a server at `address`; `None` means the page's own origin. The
    /// servers receive the token unless it is empty.
    pub(crate) fn connect(&mut self, address: Option<String>, token: String) {
        self.disconnect();
        let watch = Rc::new(Watch {
            base: address.unwrap_or_else(rest::own_origin),
            dispatch: self.dispatch.clone(),
            plan: RefCell::default(),
            token,
            supervisor: RefCell::default(),
            ended: RefCell::new(false),
        });
        self.watch = Some(Rc::clone(&watch));
        spawn_local(watch.run());
    }

    pub(crate) fn disconnect(&mut self) {
        if let Some(watch) = self.watch.take() {
            *watch.ended.borrow_mut() = true;
        }
    }

    /// Sends a client's request to the server at `address`.
    pub(crate) fn ask(&self, ask: Ask, address: &str) {
        let (dispatch, address) = (self.dispatch.clone(), address.to_owned());
        let token = self.watch.as_ref().map(|watch| watch.token.clone()).unwrap_or_default();
        spawn_local(async move {
            let state = rest::ask(&ask, &address, &token).await;
            dispatch.emit(Action::Answered(ask.number, state));
        });
    }

    /// Sends an action to the supervisor.
    pub(crate) fn supervise(&self, action: &DemoAction) {
        let Some(watch) = self.watch.clone() else { return };
        let path = action.path();
        spawn_local(async move {
            let token = watch.supervisor.borrow().clone().unwrap_or_default();
            match rest::supervise(&watch.base, &token, &path).await {
                Ok(overview) => watch.take_overview(overview),
                Err(trouble) => watch.report(Report::Refused(trouble.words)),
            }
        });
    }
}

impl Watch {
    fn is_over(&self) -> bool {
        *self.ended.borrow()
    }

    fn report(&self, report: Report) {
        if !self.is_over() {
            self.dispatch.emit(Action::Live(report));
        }
    }

    async fn run(self: Rc<Self>) {
        let supervised = self.find().await;
        while !self.is_over() {
            if supervised && let Ok(overview) = rest::overview(&self.base).await {
                self.take_overview(overview);
            }
            self.mend().await;
            sleep(LOOK).await;
        }
    }

    /// Searches for the members until it finds them. Returns whether there is a supervisor.
    async fn find(&self) -> bool {
        let mut pause = LOOK;
        while !self.is_over() {
            if let Ok(overview) = rest::overview(&self.base).await {
                self.take_overview(overview);
                return true;
            }
            match rest::status(&self.base, &self.token).await {
                Ok(status) => {
                    self.report(Report::Processes(None, wall()));
                    self.take_status(&status);
                    return false;
                }
                Err(trouble) if trouble.locked => {
                    // Only the person can provide another token.
                    self.report(Report::Locked(trouble.words));
                    return false;
                }
                Err(trouble) => self.report(Report::Failed(trouble.words)),
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(4));
        }
        false
    }

    fn take_overview(&self, overview: Overview) {
        *self.supervisor.borrow_mut() = Some(overview.token);
        let members =
            overview.nodes.iter().map(|node| (NodeId(node.id), rest::address(&node.client)));
        self.take_members(members.collect());
        self.plan.borrow_mut().take_processes(&overview.nodes);
        let processes = overview.nodes.into_iter().map(Into::into).collect();
        self.report(Report::Processes(Some(processes), wall()));
        if let Some(failover) = overview.failover {
            self.report(Report::FirstWrite(failover.into()));
        }
    }

    fn take_status(&self, status: &StatusSummary) {
        let peers = status.peers.iter().map(|peer| (peer.id, &peer.client));
        let all = peers.chain([(status.node.id, &status.node.client)]);
        self.take_members(all.map(|(id, client)| (id, rest::address(client))).collect());
        self.plan.borrow_mut().take_status(status);
    }

    fn take_members(&self, members: Vec<(NodeId, String)>) {
        if self.plan.borrow_mut().take_members(&members) {
            self.report(Report::Members(members));
        }
    }

    /// Opens the missing streams for which an attempt is due.
    async fn mend(self: &Rc<Self>) {
        let witness = self.plan.borrow_mut().witness(rest::milliseconds());
        if let Some(address) = witness
            && let Ok(status) = rest::status(&address, &self.token).await
        {
            self.take_status(&status);
        }
        let now = rest::milliseconds();
        let due = self.plan.borrow_mut().due(now);
        for (node, address) in due {
            spawn_local(Rc::clone(self).follow(node, address));
        }
    }

    /// Reads one server's stream until it ends.
    async fn follow(self: Rc<Self>, node: NodeId, address: String) {
        // The browser rejects a wrong address at once, and reports an absent server after a while.
        if let Ok(mut socket) = rest::open_stream(&address, &self.token) {
            let mut shift = None;
            while let Some(Ok(Message::Bytes(bytes))) = socket.next().await {
                if self.is_over() {
                    return;
                }
                match events_of(&bytes) {
                    Ok(events) => self.pass_on(node, events, &mut shift),
                    Err(error) => {
                        let why = format!(
                            "This page cannot read the events of {node} ({error}). Use a page and \
                             servers of the same release."
                        );
                        self.report(Report::Refused(why));
                        break;
                    }
                }
            }
        }
        self.plan.borrow_mut().closed(node, rest::milliseconds());
        self.report(Report::Lost(node, wall()));
    }

    fn pass_on(&self, node: NodeId, mut events: Vec<Event>, shift: &mut Option<i64>) {
        let wall = wall();
        if let Some(first) = events.first()
            && shift.is_none()
        {
            *shift = Some(shift::needed(first.time, wall));
            self.plan.borrow_mut().opened(node);
            self.report(Report::Opened(node, wall));
        }
        shift::apply(&mut events, shift.unwrap_or_default());
        self.report(Report::Events(node, events, wall));
    }
}

/// The page's clock, in microseconds since 1970.
fn wall() -> Micros {
    whole(rest::milliseconds() * 1000.0)
}

/// Decodes one frame of the server's `/trace?format=binary`.
fn events_of(frame: &[u8]) -> Result<Vec<Event>, String> {
    match frame.split_first_chunk() {
        Some((version, events)) if u16::from_le_bytes(*version) == FORMAT_VERSION => {
            codec::decode(events).map_err(|error| error.to_string())
        }
        Some((version, _)) => {
            let theirs = u16::from_le_bytes(*version);
            Err(format!("it writes format {theirs}, the page reads {FORMAT_VERSION}"))
        }
        None => Err("an empty frame".to_owned()),
    }
}
