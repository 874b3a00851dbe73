//! The state of each server over time, and what changed it. The space-time diagram shows it
//! together with the messages of the view.

use std::collections::{BTreeMap, VecDeque};

use raft_core::event::{CommitReason, Event, EventKind, Fault, RoleName};
use raft_core::types::{LogIndex, MILLISECOND, Micros, NodeId, SECOND, Term, Time};

use super::cluster::{ClusterModel, Presence};

/// How many stretches are kept per server, and how many signs in total. Older ones are dropped.
const KEPT: usize = 10_000;

/// The state of a server in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) presence: Presence,
    pub(crate) role: RoleName,
    /// Whether it is a voter.
    pub(crate) votes: bool,
    pub(crate) term: Term,
}

/// A period in which a server's state stays the same. It lasts until the next stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) state: State,
    pub(crate) from: Time,
    /// How many events there were at its start.
    number: u64,
}

/// An instant in a server's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It wins an election.
    Win,
    /// It crashes, freezes or becomes unreachable.
    Stop,
    /// It runs again.
    Return,
    /// It is the leader, and sees that a majority holds the log up to this index.
    Decide(LogIndex),
    /// It learns that the log is committed up to this index.
    Learn(LogIndex),
}

/// A sign with its server and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) sign: Sign,
    pub(crate) node: NodeId,
    pub(crate) at: Time,
    number: u64,
}

/// A change of a server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    /// The real time, and the server's clock at that time.
    at: Time,
    local: Time,
    rate_permille: u32,
    number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    stretches: BTreeMap<NodeId, VecDeque<Stretch>>,
    signs: VecDeque<Signed>,
    clocks: BTreeMap<NodeId, Vec<Setting>>,
}

impl Lanes {
    /// Applies an event that `cluster` already contains.
    pub(crate) fn observe(&mut self, event: &Event, cluster: &ClusterModel, now: Time) {
        let (node, number) = (event.id.node, cluster.view.events);
        if let EventKind::Fault(Fault::ClockSet { node, time, rate_permille }) = event.kind {
            let setting = Setting { at: event.time, local: time, rate_permille, number };
            self.clocks.entry(node).or_default().push(setting);
        }
        let at = self.truly(node, event.time, now);
        if let EventKind::CommitAdvanced { to, why, .. } = &event.kind {
            let majority = matches!(why, CommitReason::Majority(_));
            let sign = if majority { Sign::Decide(*to) } else { Sign::Learn(*to) };
            self.sign(sign, node, at, number);
        }
        self.look(node, cluster, at);
    }

    /// Records the current state of a server, if it is new.
    pub(crate) fn look(&mut self, node: NodeId, cluster: &ClusterModel, at: Time) {
        let (Some(view), number) = (cluster.node(node), cluster.view.events) else { return };
        let voters = &view.membership.voters;
        let state = State {
            presence: cluster.presence(node),
            role: view.role,
            votes: voters.is_empty() || voters.contains(&node),
            term: view.term,
        };
        let stretches = self.stretches.entry(node).or_default();
        let last = stretches.back().copied();
        if last.is_some_and(|last| last.state == state) {
            return;
        }
        let from = last.map_or(at, |last| at.max(last.from));
        stretches.push_back(Stretch { state, from, number });
        if stretches.len() > KEPT {
            stretches.pop_front();
        }
        let Some(last) = last.map(|last| last.state) else { return };
        match (last.presence.runs(), state.presence.runs()) {
            (true, false) => self.sign(Sign::Stop, node, from, number),
            (false, true) => self.sign(Sign::Return, node, from, number),
            (true, true) if state.role == RoleName::Leader && last.role != RoleName::Leader => {
                self.sign(Sign::Win, node, from, number);
            }
            (true, true) | (false, false) => {}
        }
    }

    fn sign(&mut self, sign: Sign, node: NodeId, at: Time, number: u64) {
        self.signs.push_back(Signed { sign, node, at, number });
        if self.signs.len() > KEPT {
            self.signs.pop_front();
        }
    }

    /// Converts a time on a server's clock to real time, at most `now`. Events and messages carry
    /// the times of their servers' clocks.
    pub(crate) fn truly(&self, node: NodeId, local: Time, now: Time) -> Time {
        let settings = self.clocks.get(&node).into_iter().flatten().rev();
        let since = |set: &Setting| {
            let passed = local.0.checked_sub(set.local.0)?.saturating_mul(1000);
            Some(set.at.after(passed / u64::from(set.rate_permille.max(1))))
        };
        let past = settings.filter_map(since).find(|at| *at <= now);
        past.unwrap_or_else(|| local.min(now))
    }

    /// The lanes as they were after `number` events.
    pub(crate) fn until(&self, number: u64) -> Self {
        let before = |stretches: &VecDeque<Stretch>| {
            stretches.iter().take_while(|it| it.number <= number).copied().collect()
        };
        let clocks = self.clocks.iter().map(|(node, settings)| {
            (*node, settings.iter().filter(|it| it.number <= number).copied().collect())
        });
        Self {
            stretches: self.stretches.iter().map(|(node, all)| (*node, before(all))).collect(),
            signs: self.signs.iter().take_while(|it| it.number <= number).copied().collect(),
            clocks: clocks.collect(),
        }
    }

    /// The stretches of a server between two times, each with its end, as they were after `number`
    /// events. The stretch that contains `from` is included.
    pub(crate) fn stretches(
        &self,
        node: NodeId,
        number: u64,
        (from, until): (Time, Time),
    ) -> Vec<(Stretch, Time)> {
        let Some(all) = self.stretches.get(&node) else { return Vec::new() };
        let shown = all.partition_point(|it| it.number <= number);
        let first = all.partition_point(|it| it.from <= from).saturating_sub(1).min(shown);
        let ends = all.range(first..shown).skip(1).map(|it| it.from).chain([until]);
        let all = all.range(first..shown).copied().zip(ends);
        all.filter(|(stretch, end)| stretch.from < *end && *end > from).collect()
    }

    /// The signs between two times, as they were after `number` events.
    pub(crate) fn signs(&self, number: u64, (from, until): (Time, Time)) -> Vec<Signed> {
        let shown = self.signs.partition_point(|it| it.number <= number);
        // Times of different servers differ slightly, so the search ends only at a sign that is one
        // second older than the window.
        let long_ago = Time(from.0.saturating_sub(SECOND));
        let recent = self.signs.range(..shown).rev().take_while(|it| it.at >= long_ago);
        recent.filter(|it| (from..=until).contains(&it.at)).copied().collect()
    }
}

/// The time spans that the diagram can show.
pub(crate) const WINDOWS: [Micros; 5] =
    [200 * MILLISECOND, 500 * MILLISECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND];

/// The settings of the diagram.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LanesUi {
    pub(crate) open: bool,
    pub(crate) window: Micros,
    /// The width in pixels.
    pub(crate) width: f64,
}

impl Default for LanesUi {
    fn default() -> Self {
        Self { open: false, window: 2 * SECOND, width: 800.0 }
    }
}

/// Changes of the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LanesAction {
    Toggle,
    Window(Micros),
    Width(f64),
}

impl LanesUi {
    pub(crate) fn update(&mut self, action: LanesAction) {
        match action {
            LanesAction::Toggle => self.open = !self.open,
            LanesAction::Window(window) => self.window = window,
            LanesAction::Width(width) => self.width = width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::Script;

    fn lanes(script: &Script) -> (Lanes, ClusterModel) {
        let (mut lanes, mut cluster) = (Lanes::default(), ClusterModel::default());
        for event in script.events() {
            cluster.view.observe(event);
            lanes.observe(event, &cluster, Time(SECOND));
        }
        (lanes, cluster)
    }

    fn roles(lanes: &Lanes, node: u64, number: u64) -> Vec<(RoleName, u64, u64)> {
        let all = lanes.stretches(NodeId(node), number, (Time(0), Time(100)));
        all.iter().map(|(it, end)| (it.state.role, it.from.0, end.0)).collect()
    }

    /// Guards that each stretch ends where the next begins, and that an earlier moment shows only
    /// what had happened by then.
    #[test]
    fn a_lane_is_what_its_server_was() {
        let script = Script::new(3).wait(10).leader(1, 1).wait(20).crash(1).wait(5).leader(2, 2);
        let (lanes, cluster) = lanes(&script);
        let number = cluster.view.events;
        assert_eq!(
            roles(&lanes, 1, number),
            [(RoleName::Follower, 0, 10), (RoleName::Leader, 10, 30), (RoleName::Leader, 30, 100)]
        );
        assert_eq!(
            roles(&lanes, 1, number - 2),
            [(RoleName::Follower, 0, 10), (RoleName::Leader, 10, 100)],
            "the crash lies ahead"
        );
        let signs = |number| {
            let signs = lanes.signs(number, (Time(0), Time(100)));
            signs.iter().rev().map(|it| (it.sign, it.node.0, it.at.0)).collect::<Vec<_>>()
        };
        let all = [(Sign::Win, 1, 10), (Sign::Stop, 1, 30), (Sign::Win, 2, 35)];
        assert_eq!(signs(number), all);
        assert_eq!(signs(number - 1), all[..2]);
        let parted = lanes.until(number - 2);
        assert_eq!(parted.signs(number, (Time(0), Time(100))).len(), 1);
        assert_eq!(roles(&parted, 1, number).len(), 2);
        let late = lanes.stretches(NodeId(1), number, (Time(40), Time(100)));
        assert_eq!(late.len(), 1, "what is over before the window is left out");
    }

    /// Guards that events of a server with a wrong clock are placed at their real times.
    #[test]
    fn a_wrong_clock_moves_nothing() {
        let fault = Fault::ClockSet { node: NodeId(2), time: Time(1_000), rate_permille: 2000 };
        let script = Script::new(3).wait(100).event(0, EventKind::Fault(fault));
        let (lanes, _) = lanes(&script);
        let truly = |local, now| lanes.truly(NodeId(2), Time(local), Time(now)).0;
        assert_eq!(truly(1_000, 500), 100);
        assert_eq!(truly(1_200, 500), 200);
        assert_eq!(truly(90, 500), 90, "it was right before");
        assert_eq!(lanes.truly(NodeId(1), Time(1_200), Time(5_000)).0, 1_200);
        assert_eq!(truly(9_000, 500), 500, "nothing lies after the present");
    }

    /// Guards that the memory of the lanes is bounded.
    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut script = Script::new(1);
        for term in 1..=KEPT as u64 {
            script = script.wait(1).leader(1, term).follower(1, term);
        }
        let (lanes, _) = lanes(&script);
        assert_eq!((lanes.stretches[&NodeId(1)].len(), lanes.signs.len()), (KEPT, KEPT));
    }
}
