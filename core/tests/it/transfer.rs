//! Leadership transfer (dissertation §3.10).

use raft_core::event::{EventKind, Outcome, RequestRefusal, RoleName};
use raft_core::kv::Command;
use raft_core::log::Entries;
use raft_core::message::Body;
use raft_core::replica::Input;
use raft_core::sim::Action;
use raft_core::types::{LogPosition, MILLISECOND, RequestId};

use crate::lab::{Alone, Cluster, S2, S3, check};

/// Guards that the named server leads within less than an election timeout, and that no write is
/// lost.
#[check]
fn leadership_goes_where_it_is_wanted() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(5, seed);
        cluster.put("x", "1");
        let old = cluster.sim.leader().expect("led");
        let heir = cluster.others(old)[usize::try_from(seed % 4).expect("small")];
        let began = cluster.sim.now();
        cluster.act(Action::Transfer { node: old, to: Some(heir) });
        cluster.until("the heir", |sim| sim.leader() == Some(heir));
        let took = cluster.sim.now().since(began);
        assert!(took < 150 * MILLISECOND, "seed {seed}: {took} µs");
        let all = cluster.sim.ids();
        cluster.await_value(&all, "x", "1");
        cluster.pass(200 * MILLISECOND);
        let told = |event: &raft_core::event::Event| {
            matches!(&event.kind, EventKind::ClientAnswer { outcome: Outcome::Transferred { to }, .. }
                if *to == heir)
        };
        assert!(cluster.events.iter().any(told), "seed {seed}");
    }
}

/// Guards that a write that the old leader accepted before the transfer does not get an unknown
/// outcome.
#[check]
fn writes_before_the_hand_over_are_answered() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        let old = cluster.sim.leader().expect("led");
        for key in ["a", "b", "c"] {
            cluster.act(Action::Write { node: old, command: Command::put(key, "1") });
        }
        cluster.act(Action::Transfer { node: old, to: None });
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != old));
        cluster.pass(100 * MILLISECOND);
        let unknown = |event: &raft_core::event::Event| {
            matches!(&event.kind, EventKind::ClientAnswer { outcome: Outcome::Unknown, .. })
        };
        assert!(!cluster.events.iter().any(unknown), "seed {seed}");
    }
}

/// Guards that the answer to a transfer names the server that leads, not the target. If another
/// server won, a transfer to a named target failed; a transfer without a target succeeded.
#[check]
fn a_hand_over_is_done_when_the_heir_leads() {
    let heartbeat = Body::AppendEntries {
        prev_log: LogPosition::new(1, 1),
        entries: Entries::default(),
        leader_commit: 1.into(),
        round: 1,
    };
    let failed = Outcome::Refused(RequestRefusal::TransferTimedOut);
    for (wanted, winner, expected) in [
        (Some(S2), S2, Outcome::Transferred { to: S2 }),
        (Some(S2), S3, failed.clone()),
        (None, S2, Outcome::Transferred { to: S2 }),
        (None, S3, Outcome::Transferred { to: S3 }),
    ] {
        for asked_for_votes in [false, true] {
            let mut alone = Alone::leader();
            alone.step(Input::TransferLeadership { request: RequestId(1), to: wanted });
            assert!(alone.sent.iter().any(|it| it.to == S2 && it.body == Body::TimeoutNow));
            let last_log = LogPosition::new(1, 1);
            if asked_for_votes {
                alone.receive(S2, 2, Body::RequestVote { last_log, transfer: true });
            } else {
                alone.receive(S3, 2, Body::RequestVoteReply { granted: false });
            }
            assert_eq!(alone.replica.status().role, RoleName::Follower);
            assert_eq!(alone.answers, [], "nobody leads yet");
            alone.receive(winner, 3, heartbeat.clone());
            assert_eq!(alone.answers, [(RequestId(1), expected.clone())]);
        }
    }
}
