//! Tests of the facts that the inspector shows.

use raft_core::event::{EventKind, RoleName, RoleReason};
use raft_core::types::{Term, Time};

use super::*;
use crate::address::Place;
use crate::domain::run::SimSetup;
use crate::domain::testing::Script;
use crate::model::{Action, UiAction};
use crate::session::Session;

fn value(facts: &[Fact], name: &str) -> String {
    facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone()).unwrap_or_default()
}

fn shown<'a>(session: &'a Session, name: &str) -> &'a Shown {
    let found = session.model.inspected.facts.iter().find(|it| it.fact.name == name);
    found.unwrap_or_else(|| panic!("no {name} among {:?}", session.model.inspected.facts))
}

fn opened() -> Session {
    let mut session = Session::default();
    session.dispatch(Action::Open(Place::Simulate(SimSetup { seed: 7, ..SimSetup::default() })));
    session
}

/// Guards the names and values of a server's state.
#[test]
fn a_server_is_told_in_the_papers_names() {
    let counted = |voter, granted| EventKind::VoteCounted {
        voter: NodeId(voter),
        granted,
        pre: false,
        votes: 1,
        needed: 2,
    };
    let candidate = EventKind::RoleChanged {
        role: RoleName::Candidate,
        term: Term(4),
        why: RoleReason::PreVotesWon,
    };
    let script = Script::new(3).event(2, candidate).event(2, counted(2, true));
    let cluster = script.clone().event(2, counted(1, false)).cluster();
    let facts = server::facts(&cluster, NodeId(2));
    assert_eq!(value(&facts, "current_term"), "4");
    assert_eq!(value(&facts, "votes"), "1 of 2 needed: S2, no from S1, 1 open");
    assert_eq!(value(&facts, "voted_for"), NONE);
    assert_eq!(value(&facts, "members"), "S1 S2 S3");
    let down = server::facts(&script.crash(2).cluster(), NodeId(2));
    assert_eq!(value(&down, "role"), "down, was candidate");
    assert_eq!(down.len(), facts.len(), "nothing moves");
}

/// Guards that the marks after a step are exactly the changes of that step, with the previous
/// values.
#[test]
fn a_step_marks_what_it_changed() {
    let mut session = opened();
    session.dispatch(Action::Ui(UiAction::Select(Some(NodeId(1)))));
    assert!(session.model.inspected.facts.iter().all(|it| it.was().is_none()), "nothing before");
    let mut term = "0".to_owned();
    for _ in 0..400 {
        session.dispatch(Action::Step);
        let now = shown(&session, "current_term");
        if now.fact.value != term {
            assert_eq!(now.was(), Some(term.as_str()));
            term.clone_from(&now.fact.value);
            session.dispatch(Action::Step);
            assert_eq!(shown(&session, "current_term").was(), None, "only the last step");
        }
    }
    assert_ne!(term, "0", "an election was seen");
}

/// Guards that marks expire while the clock runs.
#[test]
fn a_mark_fades_while_the_clock_runs() {
    let mut session = opened();
    session.dispatch(Action::Ui(UiAction::Select(Some(NodeId(1)))));
    let frame = |session: &mut Session| {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    };
    for _ in 0..4_000 {
        if shown(&session, "current_term").was().is_some() {
            break;
        }
        frame(&mut session);
    }
    assert_eq!(shown(&session, "current_term").was(), Some("0"));
    let frames = (0..100).take_while(|_| {
        frame(&mut session);
        shown(&session, "current_term").was().is_some()
    });
    let frames = frames.count();
    assert!((30..45).contains(&frames), "{frames} frames of 16 ms");
}

/// Guards the leader's table: one row per follower, with the leader's view of it.
#[test]
fn a_leader_tells_of_its_followers() {
    let mut session = opened();
    while session.model.cluster.leader().is_none() {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    }
    for _ in 0..200 {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    }
    let leader = session.model.cluster.leader().unwrap();
    session.dispatch(Action::Ui(UiAction::Select(Some(leader))));
    let rows: Vec<_> =
        session.model.inspected.facts.iter().filter(|it| it.fact.of.is_some()).collect();
    assert_eq!(rows.len(), 2 * 5);
    assert!(rows.iter().any(|it| it.fact.name == "match_index" && it.fact.value == "1"));
    let (name, left) = session.model.flowing().unwrap();
    assert!(name == "timer" && left.starts_with("heartbeat"), "{left}");
}

/// Guards that all fields of every message kind are shown, and how a message ended.
#[test]
fn a_message_is_told_with_all_its_fields() {
    let mut session = opened();
    while session.model.cluster.committed().0 == 0 {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    }
    let mut seen = std::collections::BTreeSet::new();
    for flight in session.model.cluster.view.messages.values() {
        let facts = message::facts(flight, SourceKind::Simulate);
        let name = flight.message.body.name().to_string();
        let field = match name.as_str() {
            "PreVote" => "next_term",
            "RequestVote" => "last_log_index",
            "PreVoteReply" | "RequestVoteReply" => "vote_granted",
            "Heartbeat" | "AppendEntries" => "prev_log_index",
            _ => "match_index",
        };
        assert!(!value(&facts, field).is_empty(), "{name}: {facts:?}");
        seen.insert(name);
    }
    assert!(seen.len() > 5, "{seen:?}");
    let ended = session.model.cluster.view.messages.iter().find(|(_, it)| it.end.is_some());
    let id = *ended.unwrap().0;
    session.dispatch(Action::Ui(UiAction::Pick(id)));
    assert!(shown(&session, "status").fact.value.starts_with("arrived after"));
    assert_eq!(moment(Time(1_234_567), SourceKind::Simulate), "1.234 s");
}

/// Guards the facts of an index: its entry, the disks that hold it, and its state on each server.
#[test]
fn an_index_is_told_on_every_server() {
    let mut session = opened();
    while session.model.cluster.committed().0 == 0 {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    }
    session.dispatch(Action::Ui(UiAction::Column(Some(raft_core::types::LogIndex(1)))));
    assert!(shown(&session, "majority").fact.value.starts_with("reached: "));
    let states = session.model.inspected.facts.iter().filter(|it| it.fact.name == "state");
    assert_eq!(states.count(), 3);
}
