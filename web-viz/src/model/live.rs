//! A live cluster as the page follows it: its servers, their event streams, and the queue that
//! merges the streams into one order ([`merge`]). [`travel`] moves through what was shown.
//!
//! Events are shown with a delay ([`DELAY`]). By then the events of all servers have arrived, and
//! no message is shown to arrive before it was sent.

mod merge;
mod process;
mod sight;
mod travel;

use std::collections::BTreeMap;

use api::demo::ProcessState;
use raft_core::event::{Event, EventKind};
use raft_core::types::{EventId, MILLISECOND, Micros, NodeId, SECOND, Time};
use raft_core::view::DiskHealth;

use super::{Effect, Model};
use crate::domain::cluster::{Presence, names};
use crate::domain::story::Tone;
use merge::Merge;
pub(crate) use process::{FirstWrite, Process};
use sight::Sights;
use travel::Edge;

/// How far the picture is behind the cluster.
const DELAY: Micros = 300 * MILLISECOND;

/// A server that sends nothing for this long is unreachable. Every server has timers to report, so
/// silence is significant.
const SILENCE: Micros = 2_500 * MILLISECOND;

/// How long a server without a stream may be missing before it counts as unreachable. With a
/// supervisor this is longer, because the supervisor's report should come first.
const GRACE: Micros = DELAY;
const SUPERVISED_GRACE: Micros = 900 * MILLISECOND;

/// From this queue length on, events are applied without waiting for a frame. A hidden page draws
/// no frames.
const LONG_QUEUE: usize = 4_000;

/// Above this queue length, the page skips queued events up to a point with the full state.
const LONGEST_QUEUE: usize = 30_000;

/// A leader is lost at the latest this long after its fault.
const LONGEST_LOSS: Micros = 15 * SECOND;

/// Sequence numbers of the events that the page itself creates, far above the servers' own numbers.
const OWN_NUMBERS: u64 = 1 << 48;

/// Reports from a live cluster.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// The members, and the client address of each.
    Members(Vec<(NodeId, String)>),
    /// No server answered at the address.
    Failed(String),
    /// The cluster requires a token, or rejects this one.
    Locked(String),
    /// A server's stream opened at this time, by the page's clock.
    Opened(NodeId, Micros),
    /// A server's stream broke, or failed to open, at this time.
    Lost(NodeId, Micros),
    /// Events of one server, in order, and when they arrived, by the page's clock.
    Events(NodeId, Vec<Event>, Micros),
    /// The processes that the demo's supervisor reports, and when. `None` means there is no
    /// supervisor.
    Processes(Option<Vec<Process>>, Micros),
    /// The demo measured when writes succeeded again after a fault.
    FirstWrite(FirstWrite),
    /// Something could not be done, for this reason.
    Refused(String),
}

/// The state of the connection to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Looking,
    Watching,
    /// No server answered; the page retries.
    Failed(String),
    /// The cluster requires a token, or another token.
    Locked(String),
}

/// A server and the state of its stream.
#[derive(Clone, Debug)]
struct Peer {
    address: String,
    open: bool,
    /// When its last events arrived, by the page's clock.
    heard: Micros,
    /// When its stream broke, or since when the page expects one.
    lost: Micros,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The text in the address field.
    pub(crate) typed: String,
    /// The API token for the cluster. It is sent to this address only, and stored nowhere else.
    pub(crate) token: String,
    pub(crate) phase: Phase,
    peers: BTreeMap<NodeId, Peer>,
    processes: Option<BTreeMap<NodeId, Process>>,
    merge: Merge,
    /// The queue overflowed, so the page must connect again.
    overflowed: bool,
    /// The page's clock at the latest frame.
    wall: Micros,
    /// How many events the page itself has created.
    told: u64,
    sights: Sights,
    /// The latest state, while an earlier moment is shown.
    edge: Option<Box<Edge>>,
    /// The demo's newest measurement.
    pub(crate) first_write: Option<FirstWrite>,
}

impl Live {
    /// The typed text as an address; `None` means the page's own origin.
    pub(crate) fn address_typed(&self) -> Option<String> {
        let typed = self.typed.trim();
        if typed.is_empty() {
            return None;
        }
        let scheme = if typed.contains("://") { "" } else { "http://" };
        Some(format!("{scheme}{}", typed.trim_end_matches('/')))
    }

    /// Starts the search for a cluster. Drops the token if the address is another one.
    pub(super) fn begin(&mut self, cluster: Option<String>) {
        let same = cluster == self.address_typed();
        let token = if same { std::mem::take(&mut self.token) } else { String::new() };
        let typed = cluster.unwrap_or_default();
        *self = Self { typed, token, phase: Phase::Looking, ..Self::default() };
    }

    /// Changes the address. Clears the token, which must not be sent to another address.
    pub(super) fn retype(&mut self, address: String) {
        self.typed = address;
        self.token.clear();
    }

    /// Whether to ask the person for a token.
    pub(crate) fn wants_token(&self) -> bool {
        matches!(self.phase, Phase::Locked(_)) || !self.token.is_empty()
    }

    pub(super) const fn watches(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// How many events are queued.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.merge.len()
    }

    /// The client address of a server.
    pub(crate) fn client_address(&self, node: NodeId) -> Option<String> {
        self.peers.get(&node).map(|peer| peer.address.clone())
    }

    /// How many of the servers' streams are open, and how many there are.
    pub(crate) fn streams(&self) -> (usize, usize) {
        (self.peers.values().filter(|peer| peer.open).count(), self.peers.len())
    }

    pub(crate) const fn is_supervised(&self) -> bool {
        self.processes.is_some()
    }

    /// Whether the supervisor reports cut links or disturbed disks.
    pub(super) fn ails_anything(&self) -> bool {
        let ill = |it: &Process| !it.cut_to.is_empty() || it.disk != DiskHealth::Well;
        self.processes.iter().flatten().any(|(_, process)| ill(process))
    }

    pub(crate) fn process(&self, node: NodeId) -> Option<&Process> {
        self.processes.as_ref()?.get(&node)
    }

    /// Whether a server is unreachable. What the supervisor reports about it becomes events
    /// instead.
    fn is_out_of_sight(&self, node: NodeId, peer: &Peer, wall: Micros) -> bool {
        let grace = match self.process(node).map(|process| process.state) {
            Some(ProcessState::Stopped | ProcessState::Frozen) => return false,
            Some(ProcessState::Running) => SUPERVISED_GRACE,
            None => GRACE,
        };
        let lost = !peer.open && wall.saturating_sub(peer.lost) > grace;
        lost || wall.saturating_sub(peer.heard.max(peer.lost)) > SILENCE
    }

    fn set_open(&mut self, node: NodeId, open: bool, wall: Micros) {
        if let Some(peer) = self.peers.get_mut(&node) {
            if peer.open && !open {
                peer.lost = wall;
            }
            peer.open = open;
            self.merge.set_open(node, open);
        }
    }

    fn enqueue(&mut self, node: NodeId, events: Vec<Event>, wall: Micros) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.heard = wall;
        self.merge.push(node, events, wall);
        if self.merge.len() > LONGEST_QUEUE {
            self.merge.skip();
        }
        if self.merge.len() > LONGEST_QUEUE {
            self.merge.clear();
            self.overflowed = true;
        }
    }

    /// Stores the supervisor's report, and queues the changes as events.
    fn supervised(&mut self, processes: Option<Vec<Process>>, wall: Micros) {
        let Some(processes) = processes else {
            self.processes = None;
            return;
        };
        let after = processes.into_iter().map(|process| (process.id, process)).collect();
        let before = self.processes.get_or_insert_default();
        let changes = process::changes(before, &after);
        for (node, process) in &after {
            let was = before.get(node).map(|process| process.state);
            let stood = matches!(was, Some(ProcessState::Stopped | ProcessState::Frozen));
            if stood
                && process.state == ProcessState::Running
                && let Some(peer) = self.peers.get_mut(node)
            {
                peer.lost = wall;
            }
        }
        self.processes = Some(after);
        for (node, kind) in changes {
            let event = self.tell(node, kind, wall);
            self.merge.push(NodeId::ENVIRONMENT, vec![event], wall);
        }
    }

    /// Creates an event for something that the page knows from another source.
    fn tell(&mut self, node: NodeId, kind: EventKind, wall: Micros) -> Event {
        self.told += 1;
        // The process ended no later than its stream broke.
        let broke = self.peers.get(&node).filter(|peer| !peer.open && peer.lost > 0);
        let time = match (&kind, broke) {
            (EventKind::Crashed, Some(peer)) => Time(peer.lost.min(wall)),
            _ => Time(wall),
        };
        let id = EventId { node, seq: OWN_NUMBERS + self.told };
        Event { id, time, cause: None, kind }
    }
}

impl Model {
    /// The demo's measurement of the newest failover, in milliseconds.
    pub(crate) fn first_write(&self) -> Option<f64> {
        let last = self.leaders.last?;
        let measured = self.live.first_write?;
        // An older measurement belongs to an older fault.
        let fits = measured.node == last.from && last.lost.since(measured.at) < LONGEST_LOSS;
        fits.then_some(measured.after_ms).flatten()
    }

    /// Handles a report from a live cluster. It concerns the latest state, whatever moment is
    /// shown.
    pub(super) fn report(&mut self, report: Report) -> Vec<Effect> {
        match report {
            Report::Members(members) => self.at_edge(|model| model.members(members)),
            Report::Failed(why) => {
                let more = format!("{why} The page keeps retrying.");
                self.at_edge(|model| model.trouble("No cluster answers.", more));
                self.live.phase = Phase::Failed(why);
            }
            Report::Locked(why) => {
                let more = format!(
                    "{why} Enter a token under “Cluster”; a token that may read is enough."
                );
                self.at_edge(|model| model.trouble("The cluster asks for an API token.", more));
                self.live.phase = Phase::Locked(why);
            }
            Report::Opened(node, wall) => self.live.set_open(node, true, wall),
            Report::Lost(node, wall) => self.live.set_open(node, false, wall),
            Report::Events(node, events, wall) => {
                self.live.enqueue(node, events, wall);
                if self.live.merge.len() > LONG_QUEUE {
                    return self.at_edge(|model| model.catch_up(wall));
                }
            }
            Report::Processes(processes, wall) => self.live.supervised(processes, wall),
            Report::FirstWrite(measured) => self.live.first_write = Some(measured),
            Report::Refused(why) => return self.update(super::Action::Notice(why)),
        }
        Vec::new()
    }

    fn trouble(&mut self, headline: &str, why: String) {
        self.story.say(Tone::Bad, headline, why, self.playback.now);
    }

    /// Watches the cluster at the typed address.
    pub(super) fn connect(&self) -> Effect {
        Effect::Connect(self.live.address_typed(), self.live.token.clone())
    }

    /// Starts the search for a cluster, and says where the page searches.
    pub(super) fn look(&mut self, cluster: Option<String>) {
        let place = cluster.clone().unwrap_or_else(|| "its own address".to_owned());
        self.live.begin(cluster);
        let why = format!("The page asks {place} for the members of the cluster.");
        self.story.say(Tone::Calm, "Looking for the cluster.", why, Time(0));
    }

    fn members(&mut self, members: Vec<(NodeId, String)>) {
        if self.live.phase != Phase::Watching {
            let why = "The picture is a moment behind, in real time. Messages are slowed down to \
                       be visible.";
            let names = names(members.iter().map(|(node, _)| *node));
            let headline = format!("Watching {names}.");
            self.story.say(Tone::Calm, &headline, why.to_owned(), self.playback.now);
        }
        self.live.phase = Phase::Watching;
        self.cluster.change().roster.extend(members.iter().map(|(node, _)| *node));
        for (node, address) in members {
            let fresh = Peer { address: address.clone(), open: false, heard: 0, lost: 0 };
            self.live.peers.entry(node).or_insert(fresh).address = address;
        }
    }

    /// Updates which servers are unreachable, and reports changes to the caption and the failover
    /// clock.
    fn note_absences(&mut self, wall: Micros) {
        let gone = |(node, peer): &(&NodeId, &Peer)| self.live.is_out_of_sight(**node, peer, wall);
        let gone = self.live.peers.iter().filter(gone);
        let absent: BTreeMap<NodeId, Presence> =
            gone.map(|(node, _)| (*node, Presence::Unreachable)).collect();
        if absent == self.cluster.absent {
            return;
        }
        let before = std::mem::replace(&mut self.cluster.change().absent, absent.clone());
        let (now, pace) = (self.playback.now, self.pace());
        for node in before.keys().chain(absent.keys()) {
            self.history.look(*node, &self.cluster, now);
        }
        for node in absent.keys().filter(|node| !before.contains_key(node)) {
            let seen = self.live.merge.newest(*node).unwrap_or(now).min(now);
            self.leaders.out_of_sight(*node, seen);
            self.story.out_of_sight(*node, (now, pace));
        }
        for node in before.keys().filter(|node| !absent.contains_key(node)) {
            self.leaders.in_sight(*node, &self.cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;

    /// Guards that the token is kept for retries, and is sent to no other cluster.
    #[test]
    fn a_token_is_for_one_address_alone() {
        let mut model = Model::default();
        model.update(Action::ClusterTyped("s1:7001".to_owned()));
        model.update(Action::TokenTyped(" secret ".to_owned()));
        let effects = model.update(Action::ClusterConnect);
        let shown = |effects: &[Effect]| {
            effects.iter().find_map(|effect| {
                let Effect::Connect(address, token) = effect else { return None };
                Some((address.clone(), token.clone()))
            })
        };
        let expected = (Some("http://s1:7001".to_owned()), "secret".to_owned());
        assert_eq!(shown(&effects), Some(expected.clone()));
        assert_eq!(shown(&model.update(Action::ClusterConnect)), Some(expected));
        model.update(Action::ClusterTyped("s2:7001".to_owned()));
        let other = Some((Some("http://s2:7001".to_owned()), String::new()));
        assert_eq!(shown(&model.update(Action::ClusterConnect)), other);
    }

    /// Guards that the token field appears when the cluster asks for a token.
    #[test]
    fn a_locked_cluster_asks_for_a_token() {
        let mut model = Model::default();
        model.update(Action::ClusterConnect);
        assert!(!model.live.wants_token());
        model.update(Action::Live(Report::Locked("a token is needed".to_owned())));
        assert!(model.live.wants_token());
    }
}
