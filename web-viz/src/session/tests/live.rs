//! Tests of a live cluster on the page, with its past. The events come from the simulator, or are
//! generated for very high loads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use api::demo::{Action as DemoAction, ProcessState};
use raft_core::event::{CommitReason, Event, EventKind, NodeState, RequestKind, RoleName};
use raft_core::kv::Command;
use raft_core::log::{Entry, Payload};
use raft_core::membership::Membership;
use raft_core::message::{Body, Message, MessageName};
use raft_core::sim;
use raft_core::types::{
    EventId, LogIndex, LogPosition, MILLISECOND, Micros, NodeId, RequestId, SECOND, Term, Time,
    WriteId,
};
use raft_core::view::DiskHealth;

use crate::address::Place;
use crate::domain::actions::{ClusterAction, DiskAction, LinkAction};
use crate::domain::cluster::Presence;
use crate::domain::feed::{Filter, Weight};
use crate::domain::playback::Speed;
use crate::domain::tape::MarkKind;
use crate::model::UiAction;
use crate::model::live::{Process, Report};
use crate::panel::scrub::geometry::TapeScene;
use crate::session::*;

/// The start time of the servers, by all clocks.
const BEGIN: Micros = 1_790_000_000 * SECOND;

const FRAME: Micros = 16 * MILLISECOND;

/// Servers that send prepared events when their time comes, and a page that shows them.
struct Watched {
    session: Session,
    streams: BTreeMap<NodeId, VecDeque<Event>>,
    wall: Micros,
}

impl Watched {
    /// Three servers with a leader, and three writes.
    fn new() -> Self {
        let mut sim = Sim::new(SimSetup { seed: 7, ..SimSetup::default() });
        sim.advance(Time(2 * SECOND));
        let leads = |event: &&Event| {
            matches!(event.kind, EventKind::RoleChanged { role: RoleName::Leader, .. })
        };
        let node = sim.trace().iter().rfind(leads).unwrap().id.node;
        for (at, value) in [(3, "1"), (5, "2"), (7, "3")] {
            let command = Command::put("x", value);
            sim.act(sim::Action::Write { node, command }).unwrap();
            sim.advance(Time(at * SECOND));
        }
        sim.advance(Time(20 * SECOND));
        Self::of(sim.trace())
    }

    fn of(events: Vec<Event>) -> Self {
        let mut streams = BTreeMap::<NodeId, VecDeque<Event>>::new();
        // Only a simulator can report these.
        let told = |event: &Event| event.id.node != NodeId::ENVIRONMENT;
        for mut event in events.into_iter().filter(told) {
            event.time = Time(BEGIN + event.time.0);
            streams.entry(event.id.node).or_default().push_back(event);
        }
        let mut watched = Self { session: Session::default(), streams, wall: BEGIN };
        watched.session.dispatch(Action::Open(Place::Live(None)));
        let nodes: Vec<NodeId> = watched.streams.keys().copied().collect();
        let place = |node: &NodeId| (*node, format!("http://{node}"));
        watched.report(Report::Members(nodes.iter().map(place).collect()));
        for node in nodes {
            watched.report(Report::Opened(node, BEGIN));
        }
        watched
    }

    fn report(&mut self, report: Report) {
        self.session.dispatch(Action::Live(report));
    }

    /// Runs frames for this long.
    fn pass(&mut self, span: Micros) {
        let until = self.wall + span;
        while self.wall < until {
            self.wall += FRAME;
            self.deliver();
            self.session.dispatch(Action::Frame { elapsed: 16.0, wall: self.wall });
        }
    }

    /// Delivers the events up to now to the page.
    fn deliver(&mut self) {
        let wall = self.wall;
        let mut reports = Vec::new();
        for (node, stream) in &mut self.streams {
            let sent = stream.partition_point(|event| event.time.0 <= wall);
            let events: Vec<Event> = stream.drain(..sent).collect();
            if !events.is_empty() {
                reports.push(Report::Events(*node, events, wall));
            }
        }
        for report in reports {
            self.report(report);
        }
    }

    fn model(&self) -> &Model {
        &self.session.model
    }

    /// The parts of the shown state that can be compared.
    fn shown(&self) -> (Option<NodeId>, LogIndex, String, Vec<u64>) {
        let model = self.model();
        let all = Filter { least: Weight::Routine, ..Filter::default() };
        let lines = model.feed.lines(&all).iter().take(500).map(|line| line.number).collect();
        let headline = model.story.caption.headline.clone();
        (model.cluster.leader(), model.cluster.committed(), headline, lines)
    }
}

/// Guards the past of a live cluster. It is shown as it was, while the cluster runs on and the tape
/// grows. The way back leads to the latest state.
#[test]
fn one_goes_about_in_the_past_while_the_cluster_runs_on() {
    let (mut follows, mut travels) = (Watched::new(), Watched::new());
    let mut both = |span: Micros, follows: &mut Watched| {
        follows.pass(span);
        travels.pass(span);
    };
    both(4 * SECOND, &mut follows);
    let (then, at) = (travels.shown(), travels.model().playback.now);
    assert!(then.0.is_some() && then.1 > LogIndex(0), "{then:?}");
    travels.pass(4 * SECOND);
    follows.pass(4 * SECOND);
    let end = travels.model().history.run.end();
    assert!(travels.model().lag().is_some_and(|lag| lag < 400 * MILLISECOND));

    travels.session.dispatch(Action::Jump(Jump::Time(at)));
    assert!(travels.model().in_the_past() && !travels.model().playback.playing);
    assert_eq!(travels.shown(), then);
    travels.pass(2 * SECOND);
    follows.pass(2 * SECOND);
    assert_eq!(travels.shown(), then, "it stands still");
    assert!(travels.model().history.run.end() >= end.after(SECOND), "the tape grows");
    assert!(travels.model().lag().is_some_and(|lag| lag > 6 * SECOND));

    travels.session.dispatch(Action::Jump(Jump::Back));
    assert_ne!(travels.shown(), then);
    travels.session.dispatch(Action::Step);
    assert_eq!(travels.shown(), then);
    let turn = travels.model().turn_after().unwrap();
    travels.session.dispatch(Action::Jump(turn));
    assert!(travels.model().playback.now > at);
    let event = travels.model().feed.lines(&Filter::default())[0].event.id;
    travels.session.dispatch(Action::Ui(UiAction::Inspect(Some(event))));
    assert!(travels.model().ui.selection.why().is_some());

    travels.session.dispatch(Action::Jump(Jump::End));
    assert!(!travels.model().in_the_past() && travels.model().playback.playing);
    assert_eq!(travels.shown(), follows.shown());
    assert_eq!(travels.model().playback.now, follows.model().playback.now);
    travels.pass(SECOND);
    follows.pass(SECOND);
    assert_eq!(travels.shown(), follows.shown());
}

/// Guards that the past plays at the chosen speed, and continues into the present if that is faster
/// than the cluster.
#[test]
fn the_past_plays_at_the_chosen_speed() {
    let mut watched = Watched::new();
    watched.pass(4 * SECOND);
    watched.session.dispatch(Action::Speed(Speed::at(0)));
    assert!(watched.model().notice.as_ref().unwrap().words.contains("own speed"));
    watched.session.dispatch(Action::TogglePlay);
    assert!(watched.model().in_the_past(), "what is held becomes the past");
    let held = watched.model().playback.now;
    watched.pass(SECOND);
    assert_eq!(watched.model().playback.now, held);
    watched.session.dispatch(Action::Speed(Speed::at(9)));
    watched.session.dispatch(Action::TogglePlay);
    watched.pass(SECOND);
    let played = watched.model().playback.now.since(held);
    assert!((900_000..1_100_000).contains(&played), "{played}");
    assert!(watched.model().in_the_past(), "it does not come nearer");
    watched.session.dispatch(Action::Speed(Speed::at(11)));
    watched.pass(SECOND);
    assert!(!watched.model().in_the_past(), "five times as fast it comes to the present");
    assert!(watched.model().lag().is_some_and(|lag| lag < 400 * MILLISECOND));
    watched.session.dispatch(Action::Jump(Jump::Undo));
    assert!(watched.model().notice.as_ref().unwrap().words.contains("mended, not undone"));
}

fn process(node: u64, state: ProcessState) -> Process {
    let pid = (state != ProcessState::Stopped).then_some(100);
    let (cut_to, disk) = (BTreeSet::new(), DiskHealth::Well);
    Process { id: NodeId(node), pid, state, cut_to, disk }
}

/// Guards that the supervisor's reports and unreachable servers are shown at their time, in the
/// past too. Actions are checked against the present.
#[test]
fn faults_of_real_servers_are_right_in_the_past() {
    let mut watched = Watched::new();
    let running = || (1..=3).map(|node| process(node, ProcessState::Running)).collect::<Vec<_>>();
    let wall = watched.wall;
    watched.report(Report::Processes(Some(running()), wall));
    watched.pass(4 * SECOND);
    let (before, leader) =
        (watched.model().playback.now, watched.model().cluster.leader().unwrap());
    let ill = running().into_iter().map(|mut process| {
        if process.id == leader {
            (process.pid, process.state) = (None, ProcessState::Stopped);
        } else {
            process.cut_to.insert(leader);
        }
        process
    });
    watched.streams.remove(&leader);
    let wall = watched.wall;
    watched.report(Report::Lost(leader, wall));
    watched.report(Report::Processes(Some(ill.collect()), wall));
    watched.pass(2 * SECOND);
    let model = watched.model();
    assert_eq!(model.cluster.presence(leader), Presence::Down);
    assert_eq!(model.cluster.view.cut_links.len(), 2);
    assert_eq!(model.leaders.vacancy().map(|(lost, ..)| lost), Some(leader));
    let tape = TapeScene::of(&model.history, 100);
    let kinds: Vec<_> = tape.lanes[0].dots.iter().map(|dot| dot.kind).collect();
    assert!(kinds.contains(&MarkKind::Stop) && kinds.contains(&MarkKind::Cut), "{kinds:?}");
    assert!(tape.lanes[0].bars.iter().all(|bar| (0.0..=1.0).contains(&bar.x)), "{tape:?}");

    watched.session.dispatch(Action::Jump(Jump::Time(before)));
    let model = watched.model();
    assert_eq!(model.cluster.presence(leader), Presence::Up);
    assert_eq!((model.cluster.leader(), model.cluster.view.cut_links.len()), (Some(leader), 0));
    assert_eq!(model.permits(ClusterAction::Restart(leader)), Ok(()), "it is down now");
    let other = NodeId(leader.0 % 3 + 1);
    let asked_for = watched.session.dispatch(Action::Cluster(model_action(other, leader)));
    let healed = DemoAction::HealOneWay(other.0, leader.0);
    assert!(
        matches!(&asked_for[..], [Effect::Supervise(asked)] if *asked == healed),
        "{asked_for:?}"
    );
    assert!(watched.model().notice.as_ref().unwrap().words.contains("as it is now"));
    let stall = Action::Cluster(ClusterAction::Disk(other, DiskAction::Stall));
    assert_eq!(watched.session.dispatch(stall).len(), 1);
    watched.session.dispatch(Action::Cluster(ClusterAction::Elect(other)));
    assert!(watched.model().notice.as_ref().unwrap().words.contains("simulated"));
    watched.session.dispatch(Action::Jump(Jump::End));
    assert_eq!(watched.model().cluster.presence(leader), Presence::Down);
}

fn model_action(from: NodeId, to: NodeId) -> ClusterAction {
    ClusterAction::Link(from, to, LinkAction::Mend)
}

/// Guards that a server that became unreachable, without a supervisor, is still reachable in the
/// past.
#[test]
fn a_server_out_of_sight_was_in_sight_before() {
    let mut watched = Watched::new();
    watched.pass(4 * SECOND);
    let (before, gone) = (watched.model().playback.now, NodeId(3));
    watched.streams.remove(&gone);
    let wall = watched.wall;
    watched.report(Report::Lost(gone, wall));
    watched.pass(2 * SECOND);
    assert_eq!(watched.model().cluster.presence(gone), Presence::Unreachable);
    watched.session.dispatch(Action::Jump(Jump::Time(before)));
    assert_eq!(watched.model().cluster.presence(gone), Presence::Up);
    watched.session.dispatch(Action::Speed(Speed::at(11)));
    watched.session.dispatch(Action::TogglePlay);
    watched.pass(SECOND);
    assert_eq!(watched.model().cluster.presence(gone), Presence::Unreachable);
}

/// Guards that a server that is added while the past is shown exists in the present, but not in the
/// past.
#[test]
fn a_new_member_belongs_to_the_present() {
    let mut watched = Watched::new();
    watched.pass(4 * SECOND);
    watched.session.dispatch(Action::TogglePlay);
    let wall = watched.wall;
    watched.report(Report::Members(vec![(NodeId(4), "http://s4".to_owned())]));
    watched.report(Report::Opened(NodeId(4), wall));
    let state = NodeState { membership: Membership::of((1..=4).map(NodeId)), ..<_>::default() };
    let id = EventId { node: NodeId(4), seq: 1 };
    let kind = EventKind::Attached(Box::new(state));
    let event = Event { id, time: Time(wall), cause: None, kind };
    watched.report(Report::Events(NodeId(4), vec![event], wall));
    watched.pass(SECOND);
    assert_eq!(watched.model().cluster.roster.len(), 3);
    watched.session.dispatch(Action::Jump(Jump::End));
    assert_eq!(watched.model().cluster.roster.len(), 4);
    assert_eq!(watched.model().cluster.presence(NodeId(4)), Presence::Up);
    assert!(watched.model().live.client_address(NodeId(4)).is_some());
}

/// Three servers with writes at any rate.
struct Flood {
    seqs: [u64; 3],
    now: Micros,
    index: u64,
    events: Vec<Event>,
}

impl Flood {
    fn new() -> Self {
        let mut flood = Self { seqs: [0; 3], now: 0, index: 0, events: Vec::new() };
        (1..=3).for_each(|node| flood.attach(node));
        flood
    }

    /// Reports the state of a server.
    fn attach(&mut self, node: u64) {
        let last = LogPosition { term: Term(1), index: LogIndex(self.index) };
        let role = if node == 1 { RoleName::Leader } else { RoleName::Follower };
        let state = NodeState {
            role,
            term: Term(1),
            membership: Membership::of((1..=3).map(NodeId)),
            last,
            base: last,
            commit_index: last.index,
            ..NodeState::default()
        };
        self.event(node, EventKind::Attached(Box::new(state)));
    }

    fn event(&mut self, node: u64, kind: EventKind) -> EventId {
        let seq = &mut self.seqs[usize::try_from(node).unwrap() - 1];
        *seq += 1;
        let id = EventId { node: NodeId(node), seq: *seq };
        self.events.push(Event { id, time: Time(self.now), cause: None, kind });
        id
    }

    fn send(&mut self, from: u64, to: u64, body: Body) -> EventId {
        let seq = self.seqs[usize::try_from(from).unwrap() - 1] + 1;
        let (from, to) = (NodeId(from), NodeId(to));
        let message = Message { from, to, seq, term: Term(1), body };
        self.event(from.0, EventKind::MessageSent(message))
    }

    /// A write, from the client to all three servers: 22 events.
    fn write(&mut self, span: Micros) {
        self.index += 1;
        self.now += span;
        let index = LogIndex(self.index);
        let last = LogPosition { term: Term(1), index };
        let command = Command::put(format!("key-{}", self.index % 1000), "x".repeat(100)).encode();
        let operation = RequestKind::Write(command.clone());
        self.event(1, EventKind::ClientRequest { request: RequestId(self.index), operation });
        let entry = Entry { index, term: Term(1), payload: Payload::Command(command) };
        let appended = EventKind::EntriesAppended { last, entries: vec![entry.clone()].into() };
        self.event(1, appended.clone());
        self.event(1, EventKind::WriteStarted { write: WriteId(self.index), last_index: index });
        for node in [2, 3] {
            let body = Body::AppendEntries {
                prev_log: LogPosition { term: Term(1), index: LogIndex(self.index - 1) },
                entries: vec![entry.clone()].into(),
                leader_commit: LogIndex(self.index - 1),
                round: self.index,
            };
            let message = self.send(1, node, body);
            let name = MessageName::AppendEntries;
            self.event(node, EventKind::MessageReceived { message, name });
            self.event(node, appended.clone());
            let write = WriteId(self.index);
            self.event(node, EventKind::WriteStarted { write, last_index: index });
            self.event(node, EventKind::WritePersisted { write, durable_index: index });
            self.apply(node, last, CommitReason::LeaderCommit);
        }
        let write = WriteId(self.index);
        self.event(1, EventKind::WritePersisted { write, durable_index: index });
        let proof = (1..=3).map(|node| (NodeId(node), index)).collect();
        self.apply(1, last, CommitReason::Majority(proof));
    }

    fn apply(&mut self, node: u64, position: LogPosition, why: CommitReason) {
        let from = LogIndex(position.index.0 - 1);
        self.event(node, EventKind::CommitAdvanced { from, to: position.index, why });
        self.event(node, EventKind::Applied { position, digest: 1, revision: position.index.0 });
    }
}

/// Guards the page under a flood, and after a long pause. Memory and the work per frame are
/// bounded, the stream stays complete, and skipped events are counted.
#[test]
fn a_flood_is_borne_while_the_past_is_shown() {
    let mut flood = Flood::new();
    // 300,000 events, at about the maximum rate of three servers: some 11,000 per second.
    while flood.events.len() < 300_000 {
        flood.write(2 * MILLISECOND);
    }
    let whole = flood.now;
    let mut watched = Watched::of(flood.events);
    watched.pass(3 * SECOND);
    watched.session.dispatch(Action::TogglePlay);
    let (then, at) = (watched.shown(), watched.model().playback.now);
    let start = Instant::now();
    let mut longest = 0;
    while watched.wall < BEGIN + whole + SECOND {
        let frame = Instant::now();
        watched.pass(FRAME);
        longest = longest.max(frame.elapsed().as_micros());
    }
    println!("followed for {:?}, the longest frame took {longest} µs", start.elapsed());
    assert_eq!(watched.shown(), then, "what is looked at stays");
    let replay = watched.session.replay.as_ref().unwrap();
    assert!((100_000..103_000).contains(&replay.kept()), "{}", replay.kept());
    assert_eq!(watched.model().left_out(), 0);
    let tape = watched.model().history.tape(raft_core::sim::BranchId(0));
    assert!(tape.marks.len() < 1_000, "{}", tape.marks.len());

    // The events after the shown moment were dropped.
    assert!(watched.model().history.begin > at);
    watched.session.dispatch(Action::Step);
    assert!(watched.model().notice.as_ref().unwrap().words.contains("oldest"));
    assert!(watched.model().playback.now > at);
    watched.session.dispatch(Action::Step);
    let middle = Time(watched.model().history.begin.0.midpoint(watched.wall));
    let start = Instant::now();
    watched.session.dispatch(Action::Jump(Jump::Time(middle)));
    println!("a seek took {:?}", start.elapsed());
    let shown = watched.model().cluster.committed();
    let saved = watched.session.dispatch(Action::SaveTrace);
    let [Effect::Give(text)] = &saved[..] else { panic!("{saved:?}") };
    let mut opened = Session::default();
    opened.dispatch(Action::Load(text.clone()));
    assert!(opened.model.notice.as_ref().unwrap().words.starts_with("A recording"));
    opened.dispatch(Action::Jump(Jump::End));
    assert_eq!(
        (opened.model.cluster.committed(), opened.model.cluster.leader()),
        (shown, Some(NodeId(1)))
    );
    opened.dispatch(Action::Jump(Jump::Time(Time(0))));
    assert!(opened.model.cluster.committed() < shown);

    watched.session.dispatch(Action::Jump(Jump::End));
    let end = watched.model().cluster.committed();
    assert!(shown < end && end == LogIndex(flood.index), "{shown} {end}");
}

/// Guards that a page in a hidden tab, which draws no frames, keeps up and keeps its queue short.
#[test]
fn without_frames_nothing_piles_up() {
    let mut flood = Flood::new();
    while flood.events.len() < 60_000 {
        flood.write(2 * MILLISECOND);
    }
    let mut watched = Watched::of(flood.events);
    let end = BEGIN + flood.now + SECOND;
    while watched.wall < end {
        watched.wall += 50 * MILLISECOND;
        watched.deliver();
        assert!(watched.model().live.waiting() < 10_000, "{}", watched.model().live.waiting());
    }
    watched.pass(SECOND);
    assert_eq!(watched.model().cluster.committed(), LogIndex(flood.index));
    assert_eq!(watched.model().left_out(), 0);
}

/// Guards that an overloaded page skips events, counts them, and shows the current state.
#[test]
fn what_is_too_much_is_left_out_and_counted() {
    let mut flood = Flood::new();
    while flood.events.len() < 40_000 {
        flood.write(1);
    }
    (1..=3).for_each(|node| flood.attach(node));
    let mut watched = Watched::of(flood.events);
    watched.wall += SECOND;
    watched.deliver();
    assert!(watched.model().live.waiting() < 30_000);
    watched.pass(3 * SECOND);
    assert!(watched.model().left_out() > 5_000, "{}", watched.model().left_out());
    assert_eq!(watched.model().cluster.committed(), LogIndex(flood.index));
    assert!(watched.model().lag().is_some_and(|lag| lag < 400 * MILLISECOND));
}
