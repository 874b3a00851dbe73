//! A live cluster as the page follows it: its servers, their event streams, and the queue that
//! brings the streams into one order ([`merge`]).
//!
//! Events are shown a moment after they happened ([`DELAY`]), so that those of all servers have
//! come and a message is never seen to arrive before it was sent.

mod merge;

use std::collections::BTreeMap;

use raft_core::event::Event;
use raft_core::types::{MILLISECOND, Micros, NodeId, Time};

use super::deeds::Deed;
use super::known::{Presence, names};
use super::story::Tone;
use super::{Effect, Model};
use merge::Merge;

/// How far behind the cluster the picture is.
const DELAY: Micros = 300 * MILLISECOND;

/// A server that sends nothing for this long is out of sight. Every server has timers to report,
/// so silence means something.
const SILENCE: Micros = 2_500 * MILLISECOND;

/// What waits while the picture is held; beyond it the streams are begun anew on resuming.
const LONGEST_QUEUE: usize = 50_000;

/// What a live cluster tells.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// Who belongs to the cluster, and where each serves clients.
    Members(Vec<(NodeId, String)>),
    /// Nobody answered at the address.
    Failed(String),
    /// The cluster lets nobody in without a token, or not with this one.
    Locked(String),
    /// A server's stream is open.
    Opened(NodeId),
    /// A server's stream broke, or could not be opened.
    Lost(NodeId),
    /// Events of one server, in order, and when they came by the page's clock.
    Events(NodeId, Vec<Event>, Micros),
    /// What the demo's supervisor says of its processes; `None` when there is no supervisor.
    Processes(Option<Vec<Process>>),
    /// The demo measured when writes went on after a fault.
    FirstWrite(FirstWrite),
    /// Something could not be done, for this reason.
    Refused(String),
}

/// The demo's measurement of a recovery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FirstWrite {
    /// The server that was disturbed.
    pub(crate) node: NodeId,
    /// From the fault to the first acknowledged write, in milliseconds; `None` when there was none
    /// in time.
    pub(crate) after_ms: Option<f64>,
}

/// A process of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: NodeId,
    pub(crate) pid: Option<u32>,
    pub(crate) state: ProcessState,
}

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    Frozen,
    Dead,
}

/// What the supervisor can do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Kill,
    Restart,
    Freeze,
    Resume,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Freeze => "freeze",
            Self::Resume => "resume",
        }
    }

    /// The verb for a deed, where there is one.
    pub(super) const fn of(deed: Deed) -> Option<(NodeId, Self)> {
        match deed {
            Deed::Crash(node) => Some((node, Self::Kill)),
            Deed::Restart(node) => Some((node, Self::Restart)),
            Deed::Freeze(node) => Some((node, Self::Freeze)),
            Deed::Thaw(node) => Some((node, Self::Resume)),
            Deed::Isolate(_)
            | Deed::Partition(_)
            | Deed::SplitLeader
            | Deed::Heal
            | Deed::Loss(_)
            | Deed::Repeat(_)
            | Deed::Overtake(_)
            | Deed::Delay(_)
            | Deed::Sync(_)
            | Deed::Elect(_)
            | Deed::Link(..)
            | Deed::Disk(..)
            | Deed::Clock(..)
            | Deed::Member(_)
            | Deed::Message(..) => None,
        }
    }
}

/// How the page stands to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Looking,
    Watching,
    /// Nobody answered; the page goes on trying.
    Failed(String),
    /// The cluster asks for a token, or for another one.
    Locked(String),
}

/// One server as the page reaches it.
#[derive(Clone, Debug)]
struct Peer {
    address: String,
    open: bool,
    /// When its newest events came, by the page's clock.
    heard: Micros,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// What stands in the address field.
    pub(crate) typed: String,
    /// The token that the cluster asks for. It is for this address alone, and is kept nowhere else.
    pub(crate) token: String,
    pub(crate) phase: Phase,
    peers: BTreeMap<NodeId, Peer>,
    processes: Option<BTreeMap<NodeId, Process>>,
    merge: Merge,
    overflowed: bool,
    /// The demo's newest measurement.
    pub(crate) first_write: Option<FirstWrite>,
}

impl Live {
    /// What is typed, as an address; `None` for the page's own origin.
    pub(crate) fn address_typed(&self) -> Option<String> {
        let typed = self.typed.trim();
        if typed.is_empty() {
            return None;
        }
        let scheme = if typed.contains("://") { "" } else { "http://" };
        Some(format!("{scheme}{}", typed.trim_end_matches('/')))
    }

    /// Begins to look for a cluster. A token for another one is forgotten.
    pub(super) fn begin(&mut self, cluster: Option<String>) {
        let same = cluster == self.address_typed();
        let token = if same { std::mem::take(&mut self.token) } else { String::new() };
        let typed = cluster.unwrap_or_default();
        *self = Self { typed, token, phase: Phase::Looking, ..Self::default() };
    }

    /// Takes in another address. What lets the person in at one must not be shown to another.
    pub(super) fn retype(&mut self, address: String) {
        self.typed = address;
        self.token.clear();
    }

    /// Whether the person is to be asked for a token.
    pub(crate) fn wants_token(&self) -> bool {
        matches!(self.phase, Phase::Locked(_)) || !self.token.is_empty()
    }

    pub(super) const fn watches(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Where a server serves clients.
    pub(crate) fn client_address(&self, node: NodeId) -> Option<String> {
        self.peers.get(&node).map(|peer| peer.address.clone())
    }

    /// How many of the servers' streams are open, and of how many.
    pub(crate) fn streams(&self) -> (usize, usize) {
        (self.peers.values().filter(|peer| peer.open).count(), self.peers.len())
    }

    pub(crate) fn supervises(&self, node: NodeId) -> bool {
        self.processes.as_ref().is_some_and(|processes| processes.contains_key(&node))
    }

    pub(crate) fn process(&self, node: NodeId) -> Option<&Process> {
        self.processes.as_ref()?.get(&node)
    }

    /// What is known of a server besides its events; `None` when its events tell all.
    fn absence(&self, node: NodeId, peer: &Peer, wall: Micros) -> Option<Presence> {
        match self.process(node).map(|process| process.state) {
            Some(ProcessState::Dead) => return Some(Presence::Down),
            Some(ProcessState::Frozen) => return Some(Presence::Frozen),
            Some(ProcessState::Running) | None => {}
        }
        let silent = wall.saturating_sub(peer.heard) > SILENCE;
        (!peer.open || silent).then_some(Presence::Unreachable)
    }

    fn set_open(&mut self, node: NodeId, open: bool) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.open = open;
            self.merge.set_open(node, open);
        }
    }

    fn enqueue(&mut self, node: NodeId, events: Vec<Event>, wall: Micros) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.heard = wall;
        self.merge.push(node, events, wall);
        if self.merge.len() > LONGEST_QUEUE {
            self.merge = Merge::default();
            self.overflowed = true;
        }
    }
}

impl Model {
    /// The demo's measurement of the newest failover, in milliseconds.
    pub(crate) fn first_write(&self) -> Option<f64> {
        let last = self.reign.last?;
        let measured = self.live.first_write?;
        (measured.node == last.from).then_some(measured.after_ms).flatten()
    }

    pub(super) fn report(&mut self, report: Report) -> Vec<Effect> {
        match report {
            Report::Members(members) => self.members(members),
            Report::Failed(why) => {
                let now = self.playback.now;
                let more = format!("{why} The page goes on trying.");
                self.story.say(Tone::Bad, "No cluster answers.", more, now);
                self.live.phase = Phase::Failed(why);
            }
            Report::Locked(why) => {
                let now = self.playback.now;
                let more = format!("{why} Type one under “Cluster”; one that may read is enough.");
                self.story.say(Tone::Bad, "The cluster asks for a token.", more, now);
                self.live.phase = Phase::Locked(why);
            }
            Report::Opened(node) => self.live.set_open(node, true),
            Report::Lost(node) => self.live.set_open(node, false),
            Report::Events(node, events, wall) => self.live.enqueue(node, events, wall),
            Report::Processes(processes) => {
                self.live.processes = processes.map(|processes| {
                    processes.into_iter().map(|process| (process.id, process)).collect()
                });
            }
            Report::FirstWrite(measured) => self.live.first_write = Some(measured),
            Report::Refused(why) => return self.update(super::Action::Notice(why)),
        }
        Vec::new()
    }

    /// Watches the cluster that is typed.
    pub(super) fn connect(&self) -> Effect {
        Effect::Connect(self.live.address_typed(), self.live.token.clone())
    }

    /// Says where the page looks for a cluster.
    pub(super) fn look(&mut self, cluster: Option<String>) {
        let place = cluster.clone().unwrap_or_else(|| "the page's own address".to_owned());
        self.live.begin(cluster);
        let why = format!("The page asks at {place} who belongs to the cluster.");
        self.story.say(Tone::Calm, "Looking for the cluster.", why, Time(0));
    }

    fn members(&mut self, members: Vec<(NodeId, String)>) {
        if self.live.phase != Phase::Watching {
            let why = "What is seen happened a moment ago, in real time; messages are slowed down \
                       so that they can be seen.";
            let names = names(members.iter().map(|(node, _)| *node));
            let headline = format!("Watching {names}.");
            self.story.say(Tone::Calm, &headline, why.to_owned(), self.playback.now);
        }
        self.live.phase = Phase::Watching;
        self.known.change().roster.extend(members.iter().map(|(node, _)| *node));
        for (node, address) in members {
            let fresh = Peer { address: address.clone(), open: false, heard: 0 };
            self.live.peers.entry(node).or_insert(fresh).address = address;
        }
    }

    /// Shows what happened up to a moment ago.
    pub(super) fn catch_up(&mut self, wall: Micros) -> Vec<Effect> {
        if self.live.overflowed {
            self.live.overflowed = false;
            return vec![self.connect()];
        }
        let now = Time(wall.saturating_sub(DELAY));
        self.playback.now = now;
        while let Some(event) = self.live.merge.pop(now, wall) {
            self.observe(event);
        }
        self.note_absences(wall);
        Vec::new()
    }

    /// Tells the view who is out of sight, and the story when that changes.
    fn note_absences(&mut self, wall: Micros) {
        let absent: BTreeMap<NodeId, Presence> = self
            .live
            .peers
            .iter()
            .filter_map(|(node, peer)| {
                self.live.absence(*node, peer, wall).map(|presence| (*node, presence))
            })
            .collect();
        if absent == self.known.absent {
            return;
        }
        let led = self.known.leader();
        let before = std::mem::replace(&mut self.known.change().absent, absent.clone());
        let (now, pace) = (self.playback.now, self.pace());
        for node in before.keys().chain(absent.keys()) {
            self.history.look(*node, &self.known, now);
        }
        for (node, presence) in &absent {
            if before.get(node) == Some(presence) {
                continue;
            }
            let seen = self.live.merge.newest(*node).unwrap_or(now).min(now);
            self.reign.out_of_sight(*node, seen);
            self.story.absent(*node, *presence, &self.known, led, (now, pace));
        }
        for node in before.keys().filter(|node| !absent.contains_key(node)) {
            self.reign.in_sight(*node, &self.known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;

    /// Guards the token: it is kept while the page tries again, and is shown to no other cluster.
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

    /// Guards the person who has no token yet: the field appears when the cluster asks for one.
    #[test]
    fn a_locked_cluster_asks_for_a_token() {
        let mut model = Model::default();
        model.update(Action::ClusterConnect);
        assert!(!model.live.wants_token());
        model.update(Action::Live(Report::Locked("a token is needed".to_owned())));
        assert!(model.live.wants_token());
    }
}
