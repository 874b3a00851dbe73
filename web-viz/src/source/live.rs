//! A cluster of real servers: finds its members, keeps a stream of events from each, and passes
//! the person's wishes on. It decides nothing about the picture; it reports.

mod api;
mod plan;
pub(super) mod shift;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use gloo_net::websocket::Message;
use gloo_timers::future::sleep;
use raft_core::codec::{self, FORMAT_VERSION};
use raft_core::event::Event;
use raft_core::types::{Micros, NodeId};
use wasm_bindgen_futures::spawn_local;

use crate::model::Action;
use crate::model::desk::Ask;
use crate::model::live::{Order, Report};
use crate::num::whole;
use crate::view::Dispatch;
use plan::Plan;

/// How often the source looks after its streams.
const LOOK: Duration = Duration::from_millis(400);

/// See the module.
pub(crate) struct LiveSource {
    dispatch: Dispatch,
    watch: Option<Rc<Watch>>,
}

/// One cluster being watched. Tasks hold it weakly in effect: they end once it is replaced.
struct Watch {
    /// Where the search begins.
    base: String,
    dispatch: Dispatch,
    plan: RefCell<Plan>,
    /// What lets the person in; empty where nothing is asked for.
    token: String,
    /// The supervisor's token, when there is a supervisor.
    supervisor: RefCell<Option<String>>,
    ended: RefCell<bool>,
}

impl LiveSource {
    pub(crate) const fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, watch: None }
    }

    /// Watches the cluster of which a server is at `address`; `None` for the page's own origin. Its
    /// servers are shown the token, unless it is empty.
    pub(crate) fn connect(&mut self, address: Option<String>, token: String) {
        self.disconnect();
        let watch = Rc::new(Watch {
            base: address.unwrap_or_else(api::own_origin),
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

    /// Puts a client's question to the server at `address`.
    pub(crate) fn ask(&self, ask: Ask, address: &str) {
        let (dispatch, address) = (self.dispatch.clone(), address.to_owned());
        let token = self.watch.as_ref().map(|watch| watch.token.clone()).unwrap_or_default();
        spawn_local(async move {
            let state = api::ask(&ask, &address, &token).await;
            dispatch.emit(Action::Answered(ask.number, state));
        });
    }

    /// Asks the supervisor to do something to its cluster.
    pub(crate) fn supervise(&self, order: &Order) {
        let Some(watch) = self.watch.clone() else { return };
        let path = order.path();
        spawn_local(async move {
            let token = watch.supervisor.borrow().clone().unwrap_or_default();
            match api::supervise(&watch.base, &token, &path).await {
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
            if supervised && let Ok(overview) = api::overview(&self.base).await {
                self.take_overview(overview);
            }
            self.mend().await;
            sleep(LOOK).await;
        }
    }

    /// Finds the members; tries until it does. Whether there is a supervisor.
    async fn find(&self) -> bool {
        let mut pause = LOOK;
        while !self.is_over() {
            if let Ok(overview) = api::overview(&self.base).await {
                self.take_overview(overview);
                return true;
            }
            match api::status(&self.base, &self.token).await {
                Ok(status) => {
                    self.report(Report::Processes(None, wall()));
                    self.take_status(&status);
                    return false;
                }
                Err(trouble) if trouble.locked => {
                    // Only the person can change that.
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

    fn take_overview(&self, overview: api::Overview) {
        *self.supervisor.borrow_mut() = Some(overview.token);
        let members = overview.nodes.iter().map(|node| (node.id, api::address(&node.client)));
        self.take_members(members.collect());
        self.plan.borrow_mut().take_processes(&overview.nodes);
        let processes = overview.nodes.into_iter().map(Into::into).collect();
        self.report(Report::Processes(Some(processes), wall()));
        if let Some(failover) = overview.failover {
            self.report(Report::FirstWrite(failover.into()));
        }
    }

    fn take_status(&self, status: &api::Status) {
        let peers = status.peers.iter().map(|peer| (peer.id, &peer.client));
        let all = peers.chain([(status.node.id, &status.node.client)]);
        self.take_members(all.map(|(id, client)| (id, api::address(client))).collect());
        self.plan.borrow_mut().take_status(status);
    }

    fn take_members(&self, members: Vec<(NodeId, String)>) {
        if self.plan.borrow_mut().take_members(&members) {
            self.report(Report::Members(members));
        }
    }

    /// Opens the streams that are missing, where that promises something.
    async fn mend(self: &Rc<Self>) {
        let witness = self.plan.borrow_mut().witness(api::milliseconds());
        if let Some(address) = witness
            && let Ok(status) = api::status(&address, &self.token).await
        {
            self.take_status(&status);
        }
        let now = api::milliseconds();
        let due = self.plan.borrow_mut().due(now);
        for (node, address) in due {
            spawn_local(Rc::clone(self).follow(node, address));
        }
    }

    /// Follows one server's stream until it ends.
    async fn follow(self: Rc<Self>, node: NodeId, address: String) {
        // A wrong address is found out by the browser at once, an absent server after a while.
        if let Ok(mut socket) = api::open_stream(&address, &self.token) {
            let mut shift = None;
            while let Some(Ok(Message::Bytes(bytes))) = socket.next().await {
                if self.is_over() {
                    return;
                }
                match events_of(&bytes) {
                    Ok(events) => self.pass_on(node, events, &mut shift),
                    Err(error) => {
                        let why = format!(
                            "{node} sends events that this page does not understand; the page and \
                             the server should be of one release ({error})."
                        );
                        self.report(Report::Refused(why));
                        break;
                    }
                }
            }
        }
        self.plan.borrow_mut().closed(node, api::milliseconds());
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
    whole(api::milliseconds() * 1000.0)
}

/// The events of one frame; see the server's `/trace?format=binary`.
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
