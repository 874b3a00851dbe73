//! A server on the ring: the shape shows its role, number and colour its term, an arc its timer,
//! dots its votes.

use std::fmt::Write as _;

use raft_core::event::{RoleName, Timer};
use raft_core::types::{LogIndex, NodeId, Term, Time};
use raft_core::view::{DiskHealth, NodeView};

use super::layout::{Layout, Point, Spot};
use super::marks::Marks;
use crate::domain::cluster::{ClusterModel, Presence};
use crate::num::real;

/// A server, as drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerMark {
    pub(crate) id: NodeId,
    pub(crate) spot: Spot,
    pub(crate) disc: f64,
    pub(crate) presence: Presence,
    pub(crate) role: RoleName,
    pub(crate) term: Term,
    pub(crate) selected: bool,
    /// Its disk holds the chosen index.
    pub(crate) holds: bool,
    pub(crate) timer: Option<Arc>,
    pub(crate) votes: Option<Ballot>,
    /// Its disk has a pending write.
    pub(crate) writing: bool,
    /// What it does, in a few words.
    pub(crate) title: &'static str,
    /// The last log index and the commit index, in one or two lines; empty if there is no room.
    pub(crate) figures: Vec<String>,
    /// A description for screen readers.
    pub(crate) words: String,
}

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arc {
    pub(crate) timer: Timer,
    /// The remaining fraction of the timeout, from 1 to 0.
    pub(crate) left: f64,
}

/// The votes that a candidate has counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ballot {
    pub(crate) yes: usize,
    pub(crate) needed: u64,
    /// Whether these are pre-votes.
    pub(crate) pre: bool,
    /// One dot for each voter, in its direction; `None` if it has not answered yet.
    pub(crate) dots: Vec<(Point, Option<bool>)>,
}

/// Servers that do not vote are drawn smaller by this factor.
const OUTSIDER: f64 = 0.78;

/// The maximum number of characters of one line of figures; scene/layout.rs reserves this room.
const FIGURES: usize = 21;

/// The number of steps of an arc. Finer steps are invisible, and each step changes the document.
const ARC_STEPS: f64 = 240.0;

impl ServerMark {
    /// Draws a server from `cluster`, but with the figures of `read`.
    pub(crate) fn of(
        id: NodeId,
        (cluster, read): (&ClusterModel, &ClusterModel),
        now: Time,
        layout: &Layout,
        marks: &Marks,
    ) -> Self {
        let spot = layout.spot(id).unwrap_or(Spot {
            at: layout.centre,
            label: layout.centre,
            anchor: super::layout::Anchor::Middle,
        });
        let presence = cluster.presence(id);
        let unknown = NodeView::default();
        let node = cluster.node(id).unwrap_or(&unknown);
        let runs = presence == Presence::Up;
        let leads = node.role == RoleName::Leader;
        let outsider = outsider(id, cluster).filter(|_| runs && !leads);
        let mut mark = Self {
            id,
            spot,
            disc: if outsider.is_some() { layout.disc * OUTSIDER } else { layout.disc },
            presence,
            role: node.role,
            term: node.term,
            selected: marks.servers.contains(&id),
            holds: marks.holders.contains(&id),
            timer: arc(node, now).filter(|_| matches!(presence, Presence::Up | Presence::Frozen)),
            votes: ballot(id, node, layout).filter(|_| runs),
            writing: runs && node.writes_in_flight > 0,
            title: outsider
                .or(ailment(node).filter(|_| runs))
                .unwrap_or(title(presence, node.role)),
            figures: Vec::new(),
            words: String::new(),
        };
        let figures = read.node(id).unwrap_or(&unknown);
        let (last, committed) = (figures.last.index, figures.commit_index);
        if layout.roomy {
            mark.figures = figures_of(last, committed);
        }
        mark.words = mark.describe(node, (last, committed));
        mark
    }

    fn describe(&self, node: &NodeView, (last, committed): (LogIndex, LogIndex)) -> String {
        let mut words = format!("{}, {}, term {}", self.id, self.title, self.term);
        if let Some(candidate) = node.voted_for {
            let _ = write!(words, ", voted for {candidate}");
        }
        if let Some(votes) = &self.votes {
            let _ = write!(words, ", {} of {} needed votes", votes.yes, votes.needed);
        }
        if self.holds {
            words.push_str(", its disk holds the chosen entry");
        }
        if last > LogIndex(0) {
            let _ = write!(words, ", log up to index {last}, committed up to {committed}");
        }
        words
    }
}

fn figures_of(last: LogIndex, committed: LogIndex) -> Vec<String> {
    let one = format!("log {last} · committed {committed}");
    // The layout reserves this room beside a server.
    if one.chars().count() <= FIGURES {
        return vec![one];
    }
    vec![format!("log {last}"), format!("committed {committed}")]
}

/// The title of a server that does not vote.
fn outsider(id: NodeId, cluster: &ClusterModel) -> Option<&'static str> {
    let members = cluster.membership()?;
    if members.is_voter(id) {
        return None;
    }
    Some(if members.learners.contains(&id) { "learner" } else { "no member" })
}

/// The title of a server whose disk has a fault.
const fn ailment(node: &NodeView) -> Option<&'static str> {
    match (node.disk, node.role) {
        (DiskHealth::Well, _) => None,
        (DiskHealth::Stalled, RoleName::Leader) => Some("leader, disk stalled"),
        (DiskHealth::Stalled, _) => Some("disk stalled"),
        (DiskHealth::Full, RoleName::Leader) => Some("leader, disk full"),
        (DiskHealth::Full, _) => Some("disk full"),
    }
}

const fn title(presence: Presence, role: RoleName) -> &'static str {
    match (presence, role) {
        (Presence::Down, _) => "down",
        (Presence::Unreachable, _) => "unreachable",
        (Presence::Frozen, RoleName::Leader) => "leader, frozen",
        (Presence::Frozen, _) => "frozen",
        (Presence::Up, RoleName::Leader) => "leader",
        (Presence::Up, RoleName::Follower) => "follower",
        (Presence::Up, RoleName::Candidate) => "candidate",
        (Presence::Up, RoleName::PreCandidate) => "pre-candidate",
    }
}

fn arc(node: &NodeView, now: Time) -> Option<Arc> {
    let timer = node.timer?;
    let whole = timer.due.since(timer.armed_at);
    let left = real(timer.due.since(now)) / real(whole.max(1));
    let left = (left.clamp(0.0, 1.0) * ARC_STEPS).round() / ARC_STEPS;
    Some(Arc { timer: timer.timer, left })
}

fn ballot(id: NodeId, node: &NodeView, layout: &Layout) -> Option<Ballot> {
    let votes = node.votes.as_ref()?;
    let campaigning = matches!(node.role, RoleName::Candidate | RoleName::PreCandidate);
    if !campaigning {
        return None;
    }
    let own = layout.spot(id)?.at;
    let dot = |voter: NodeId| {
        let bearing = own.bearing(layout.spot(voter)?.at);
        Some((own.at(bearing, layout.disc + 15.0), votes.answers.get(&voter).copied()))
    };
    Some(Ballot {
        yes: votes.answers.values().filter(|granted| **granted).count(),
        needed: votes.needed,
        pre: votes.pre,
        dots: node.membership.peers_of(id).filter_map(dot).collect(),
    })
}

#[cfg(test)]
mod tests {
    use raft_core::event::{EventKind, RoleReason};

    use super::super::layout::Size;
    use super::super::{Scene, Source};
    use super::*;
    use crate::domain::playback::Pace;
    use crate::domain::testing::Script;

    fn scene(script: &Script, now: u64) -> Scene {
        let size = Size { width: 800.0, height: 600.0 };
        let (cluster, marks) = (script.cluster(), Marks::default());
        Scene::of(Source {
            cluster: &cluster,
            read: &cluster,
            now: Time(now),
            pace: Pace::REAL,
            size,
            marks: &marks,
            gesture: crate::scene::DrawnGesture::None,
            refused: None,
        })
    }

    /// Guards that the arc shows the remaining fraction of the timeout.
    #[test]
    fn the_arc_drains_with_the_timer() {
        let armed = EventKind::TimerArmed { timer: Timer::Election, due: Time(300_000) };
        let script = Script::new(3).wait(100_000).event(2, armed);
        let left = |now| scene(&script, now).servers[1].timer.unwrap().left;
        assert!((left(100_000) - 1.0).abs() < 1e-9);
        assert!((left(200_000) - 0.5).abs() < 1e-9);
        assert!(left(400_000).abs() < 1e-9);
        assert!(scene(&script.crash(2), 200_000).servers[1].timer.is_none());
    }

    /// Guards that each voter's dot lies in its direction, and that dots are shown only during a
    /// campaign.
    #[test]
    fn votes_lie_at_the_bearing_of_their_voters() {
        let counted = |voter: u64, granted| EventKind::VoteCounted {
            voter: NodeId(voter),
            granted,
            pre: false,
            votes: 1,
            needed: 2,
        };
        let (role, why) = (RoleName::Candidate, RoleReason::PreVotesWon);
        let script = Script::new(3)
            .event(1, EventKind::RoleChanged { role, term: Term(1), why })
            .event(1, counted(1, true))
            .event(1, counted(2, false));
        let scene = scene(&script, 0);
        let ballot = scene.servers[0].votes.clone().unwrap();
        assert_eq!((ballot.yes, ballot.needed), (1, 2));
        let answers: Vec<_> = ballot.dots.iter().map(|(_, answer)| *answer).collect();
        assert_eq!(answers, [Some(false), None]);
        let (own, peer) = (scene.servers[0].spot.at, scene.servers[1].spot.at);
        let dot = ballot.dots[0].0;
        assert!((own.bearing(dot) - own.bearing(peer)).abs() < 1e-6);
        let won = script.leader(1, 1);
        assert!(super::tests::scene(&won, 0).servers[0].votes.is_none());
    }

    /// Guards that figures, drawn or for screen readers, come from the reading and do not change
    /// with every frame of a flood of events. Everything that moves shows the present.
    #[test]
    fn figures_are_of_the_reading() {
        let size = Size { width: 800.0, height: 600.0 };
        let (follows, leads) = (Script::new(3), Script::new(3).leader(1, 1));
        let committed = |script: Script, to: u64| {
            let (from, to) = (LogIndex(0), LogIndex(to));
            let why = raft_core::event::CommitReason::LeaderCommit;
            script.event(1, EventKind::CommitAdvanced { from, to, why }).cluster()
        };
        let (cluster, read) = (committed(leads, 9), committed(follows, 7));
        let layout = Layout::of(size, &cluster.roster);
        let mark =
            ServerMark::of(NodeId(1), (&cluster, &read), Time(0), &layout, &Marks::default());
        assert_eq!(mark.figures, ["log 0 · committed 7"]);
        assert_eq!(mark.role, RoleName::Leader);
    }

    /// Guards that the figures of long logs are not cut off and do not overlap anything.
    #[test]
    fn long_figures_take_two_lines() {
        let lines = |last, committed| figures_of(LogIndex(last), LogIndex(committed));
        assert_eq!(lines(99, 98), ["log 99 · committed 98"]);
        assert_eq!(lines(70_396, 70_358), ["log 70396", "committed 70358"]);
    }

    /// Guards what a screen reader says about a server.
    #[test]
    fn a_server_is_described_in_words() {
        let words = scene(&Script::new(3).leader(1, 2), 0).servers[0].words.clone();
        assert_eq!(words, "S1, leader, term 2");
        let words = scene(&Script::new(3).leader(1, 2).crash(1), 0).servers[0].words.clone();
        assert_eq!(words, "S1, down, term 2");
        let hangs = EventKind::Fault(raft_core::event::Fault::DiskStalled { node: NodeId(1) });
        let words = scene(&Script::new(3).leader(1, 2).event(0, hangs), 0).servers[0].words.clone();
        assert_eq!(words, "S1, leader, disk stalled, term 2");
    }
}
