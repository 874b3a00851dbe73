//! The client form: composes requests to the store and keeps their answers.

use std::collections::VecDeque;

use raft_core::event::{Event, EventKind, Outcome};
use raft_core::kv::{Answer, Applied, Command, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use raft_core::membership::MembershipChange;
use raft_core::types::{NodeId, RequestId};

use super::cluster::ClusterModel;

/// The operations that the form offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Op {
    #[default]
    Put,
    Get,
    Delete,
}

impl Op {
    pub(crate) const ALL: [Self; 3] = [Self::Put, Self::Get, Self::Delete];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
        }
    }
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Write(Command),
    Read(String),
    /// A membership change.
    Change(MembershipChange),
    /// A leadership transfer to this server.
    Transfer(NodeId),
}

impl Request {
    fn words(&self) -> String {
        match self {
            Self::Write(command) => command.to_string(),
            Self::Read(key) => format!("get {key}"),
            Self::Change(change) => change.to_string(),
            Self::Transfer(to) => format!("transfer to {to}"),
        }
    }
}

/// A request and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Unique on this page.
    pub(crate) number: u64,
    /// For example `x = 1`.
    pub(crate) words: String,
    pub(crate) request: Request,
    /// The server that received the request last.
    pub(crate) node: NodeId,
    /// Whether the page chose the server, so it can retry at another one.
    follows_leader: bool,
    /// The ID that the simulation assigned.
    id: Option<RequestId>,
    pub(crate) state: AskState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskState {
    Waiting,
    Done(String),
    /// It had no effect, or its effect is unknown.
    Failed(String),
}

/// How many requests are kept.
const KEPT: usize = 30;

#[derive(Clone, Debug)]
pub(crate) struct ClientForm {
    pub(crate) op: Op,
    pub(crate) key: String,
    pub(crate) value: String,
    /// The server that gets the request; `None` means the current leader.
    pub(crate) target: Option<NodeId>,
    /// Newest first.
    pub(crate) asks: VecDeque<Ask>,
    /// The error in the form, if any.
    pub(crate) complaint: Option<String>,
    next: u64,
}

impl Default for ClientForm {
    fn default() -> Self {
        Self {
            op: Op::Put,
            key: "x".to_owned(),
            value: "1".to_owned(),
            target: None,
            asks: VecDeque::new(),
            complaint: None,
            next: 0,
        }
    }
}

impl ClientForm {
    /// Turns the form into a request to the chosen server, or to `leader`.
    pub(crate) fn submit(&mut self, leader: Option<NodeId>) -> Option<Ask> {
        let ask = self.compose(leader);
        self.complaint = ask.as_ref().err().cloned();
        let ask = ask.ok()?;
        self.keep(ask.clone());
        // Prepares a new value, which distinguishes the next write from this one.
        if self.op == Op::Put
            && let Ok(number) = self.value.parse::<u32>()
        {
            self.value = number.wrapping_add(1).to_string();
        }
        Some(ask)
    }

    /// Creates a request to the leader that does not come from the form.
    pub(crate) fn send(&mut self, request: Request, leader: NodeId) -> Ask {
        let ask = self.ask(request, leader, true);
        self.keep(ask.clone());
        ask
    }

    /// Creates a request to exactly this server.
    pub(crate) fn inquire(&mut self, request: Request, node: NodeId) -> Ask {
        let ask = self.ask(request, node, false);
        self.keep(ask.clone());
        ask
    }

    fn keep(&mut self, ask: Ask) {
        self.next += 1;
        self.asks.push_front(ask);
        self.asks.truncate(KEPT);
    }

    fn ask(&self, request: Request, node: NodeId, follows_leader: bool) -> Ask {
        let (words, number) = (request.words(), self.next);
        Ask { number, words, request, node, follows_leader, id: None, state: AskState::Waiting }
    }

    fn compose(&self, leader: Option<NodeId>) -> Result<Ask, String> {
        let node = self
            .target
            .or(leader)
            .ok_or("There is no leader now. Wait for the election, or choose a server to ask.")?;
        let key = self.key.trim();
        if key.is_empty() {
            return Err("Enter a key, for example x.".to_owned());
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("A key has at most {MAX_KEY_BYTES} bytes."));
        }
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(format!("A value has at most {MAX_VALUE_BYTES} bytes."));
        }
        let request = match self.op {
            Op::Put => Request::Write(Command::put(key.to_owned(), self.value.clone())),
            Op::Delete => Request::Write(Command::delete(key.to_owned())),
            Op::Get => Request::Read(key.to_owned()),
        };
        Ok(self.ask(request, node, self.target.is_none()))
    }

    /// Stores the ID that the simulator assigned to a request.
    pub(crate) fn taken(&mut self, number: u64, request: RequestId) {
        if let Some(ask) = self.asks.iter_mut().find(|ask| ask.number == number) {
            ask.id = Some(request);
        }
    }

    /// Stores the answer to a request over HTTP, or the simulator's refusal.
    pub(crate) fn settle(&mut self, number: u64, state: AskState) {
        if let Some(ask) = self.asks.iter_mut().find(|ask| ask.number == number) {
            ask.state = state;
        }
    }

    /// Applies an event of a simulated server that `cluster` already contains. Returns a request
    /// that must be retried at another server.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds concern a client")]
    pub(crate) fn observe(&mut self, event: &Event, cluster: &ClusterModel) -> Option<Ask> {
        let node = event.id.node;
        match &event.kind {
            EventKind::ClientAnswer { request, outcome } => {
                let of =
                    |ask: &&mut Ask| ask.id == Some(*request) && ask.state == AskState::Waiting;
                let ask = self.asks.iter_mut().find(of)?;
                if let Outcome::NotLeader { leader: Some(leader) } = outcome
                    && ask.follows_leader
                    && *leader != node
                {
                    (ask.node, ask.id) = (*leader, None);
                    return Some(ask.clone());
                }
                ask.state = answer(&ask.request, outcome, node, cluster);
                None
            }
            EventKind::Crashed | EventKind::WriteFailed { .. } => {
                self.abandon(node);
                None
            }
            _ => None,
        }
    }

    /// Fails the pending requests to a server that crashed.
    fn abandon(&mut self, node: NodeId) {
        let waiting = self
            .asks
            .iter_mut()
            .filter(|ask| ask.node == node && ask.id.is_some() && ask.state == AskState::Waiting);
        for ask in waiting {
            ask.state = AskState::Failed(match ask.request {
                Request::Write(_) => {
                    format!("{node} crashed before it answered: the write may or may not survive")
                }
                Request::Change(_) => {
                    format!("{node} crashed before it answered: the change may or may not survive")
                }
                Request::Read(_) | Request::Transfer(_) => {
                    format!("{node} crashed before it answered")
                }
            });
        }
    }
}

fn answer(request: &Request, outcome: &Outcome, node: NodeId, cluster: &ClusterModel) -> AskState {
    match (outcome, request) {
        (Outcome::ReadReady { .. }, Request::Read(key)) => {
            let stored = cluster.node(node).and_then(|node| node.store.get(key.as_bytes()));
            AskState::Done(stored.map_or_else(
                || format!("{key} does not exist"),
                |found| format!("{key} = {}", String::from_utf8_lossy(&found.value)),
            ))
        }
        // A command that the state refuses is applied too: it changed nothing.
        (Outcome::Applied { applied: Applied { answer: Answer::Refused(_), .. }, .. }, _) => {
            AskState::Failed(outcome.to_string())
        }
        (
            Outcome::Applied { .. }
            | Outcome::ReadReady { .. }
            | Outcome::MembershipChanged { .. }
            | Outcome::Transferred { .. },
            _,
        ) => AskState::Done(outcome.to_string()),
        (
            Outcome::Malformed
            | Outcome::NotLeader { .. }
            | Outcome::Unknown
            | Outcome::Halted
            | Outcome::Refused(_),
            _,
        ) => AskState::Failed(outcome.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use raft_core::kv::Refusal;
    use raft_core::types::{EventId, LogPosition, Time};

    use super::*;
    use crate::domain::testing::Script;

    fn event(node: u64, kind: EventKind) -> Event {
        let id = EventId { node: NodeId(node), seq: 0 };
        Event { id, time: Time(0), cause: None, kind }
    }

    fn answered(node: u64, request: u64, outcome: Outcome) -> Event {
        event(node, EventKind::ClientAnswer { request: RequestId(request), outcome })
    }

    /// Guards that an invalid form explains its error and sends nothing.
    #[test]
    fn a_bad_form_gets_advice() {
        let mut form = ClientForm::default();
        assert!(form.submit(None).is_none());
        assert!(form.complaint.as_ref().unwrap().contains("no leader"));
        form.key = "  ".to_owned();
        assert!(form.submit(Some(NodeId(1))).is_none());
        assert!(form.complaint.as_ref().unwrap().contains("Enter a key"));
        form.key = "k".repeat(MAX_KEY_BYTES + 1);
        assert!(form.submit(Some(NodeId(1))).is_none());
        form.key = "k".to_owned();
        assert_eq!(form.submit(Some(NodeId(1))).unwrap().words, "k = 1");
        assert_eq!(form.complaint, None);
        assert_eq!(form.value, "2", "the next write differs");
        assert_eq!(form.asks.len(), 1);
    }

    /// Guards that a client without a known leader follows the leader hint.
    #[test]
    fn a_question_follows_the_hint_to_the_leader() {
        let cluster = Script::new(3).cluster();
        let mut form = ClientForm::default();
        form.submit(Some(NodeId(1)));
        form.taken(0, RequestId(7));
        let hint = Outcome::NotLeader { leader: Some(NodeId(2)) };
        let again = form.observe(&answered(1, 7, hint.clone()), &cluster).unwrap();
        assert_eq!(again.node, NodeId(2));
        form.taken(0, RequestId(1));
        assert_eq!(form.asks[0].state, AskState::Waiting);
        form.observe(&answered(2, 1, Outcome::Unknown), &cluster);
        assert!(matches!(form.asks[0].state, AskState::Failed(_)));

        form.target = Some(NodeId(1));
        form.submit(None);
        form.taken(1, RequestId(8));
        assert!(
            form.observe(&answered(1, 8, hint), &cluster).is_none(),
            "asked for S1, not another"
        );
        assert!(matches!(form.asks[0].state, AskState::Failed(_)));
    }

    /// Guards that a command that changed nothing is not shown as done.
    #[test]
    fn a_refused_command_is_not_done() {
        let cluster = Script::new(3).cluster();
        for (answer, is_done) in [
            (Answer::Done { existed: false }, true),
            (Answer::Refused(Refusal::NoSuchLease), false),
        ] {
            let mut form = ClientForm::default();
            form.submit(Some(NodeId(1)));
            form.taken(0, RequestId(7));
            let applied = Applied { revision: 1, answer };
            let outcome = Outcome::Applied { position: LogPosition::new(1, 2), applied };
            form.observe(&answered(1, 7, outcome), &cluster);
            let state = &form.asks[0].state;
            assert_eq!(matches!(state, AskState::Done(_)), is_done, "{state:?}");
        }
    }

    /// Guards that a pending write is reported as neither done nor undone if its server crashes.
    #[test]
    fn a_crash_leaves_a_waiting_write_open() {
        let cluster = Script::new(3).cluster();
        let mut form = ClientForm::default();
        form.submit(Some(NodeId(1)));
        form.taken(0, RequestId(7));
        form.observe(&event(1, EventKind::Crashed), &cluster);
        let AskState::Failed(words) = &form.asks[0].state else { panic!("{:?}", form.asks[0]) };
        assert!(words.contains("may or may not"), "{words}");
    }
}
