//! How much a leader sends over slow links, and how long that takes.

use raft_core::config::{Config, PEER_QUEUE_BYTES};
use raft_core::event::{Outcome, RequestRefusal};
use raft_core::membership::{ChangeRefusal, MembershipChange};
use raft_core::types::{LogIndex, MILLISECOND, NodeId, SECOND};

use crate::lab::check;
use crate::wire::Wire;

/// 10 Mbit/s, in bytes per second.
const SLOW: u64 = 1_250_000;

const KIB: usize = 1 << 10;

/// A configuration without automatic snapshots.
fn whole_log() -> Config {
    Config { compact_after_entries: u64::MAX, compact_after_bytes: u64::MAX, ..Config::default() }
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / 1e6
}

/// A cluster of three whose last follower lacks this many writes of `bytes`. Returns the follower,
/// and how many bytes of entries it lacks.
fn with_a_follower_behind(config: Config, writes: u64, bytes: usize) -> (Wire, NodeId, u64) {
    let mut wire = Wire::led(3, 3, config);
    let (leader, behind) = (wire.leader().expect("led"), wire.followers()[1]);
    wire.cut(behind);
    let before = wire.status(leader).log_bytes;
    for _ in 0..writes / 10 {
        wire.write(leader, 10, bytes);
        wire.pass(MILLISECOND);
    }
    wire.until("the commit", 10 * SECOND, |wire| {
        let status = wire.status(leader);
        status.commit_index == status.last.index
    });
    let lacks = wire.status(leader).log_bytes - before;
    let link = wire.link(leader, behind);
    (link.carried, link.dropped) = (0, 0);
    (wire, behind, lacks)
}

/// Reconnects the follower and waits until it has caught up. Returns the bytes sent and the time in
/// µs.
fn catch_up(wire: &mut Wire, behind: NodeId, limit: u64) -> (u64, u64) {
    let leader = wire.leader().expect("led");
    let term = wire.status(leader).term;
    wire.mend(behind);
    let took = wire.until("the follower", limit, |wire| {
        wire.status(behind).last_applied == wire.status(leader).last
    });
    assert_eq!(wire.status(behind).term, term, "the leader lost its office");
    let link = wire.link(leader, behind);
    assert_eq!(link.dropped, 0, "the queue dropped what must be sent again");
    (link.carried, took)
}

/// Guards the bound on bytes in flight: a follower lacks more than the queue to it holds, and
/// nothing is dropped and sent again.
#[check]
fn a_follower_that_lacks_more_than_the_queue_holds_gets_it_once() {
    let (mut wire, behind, lacks) = with_a_follower_behind(whole_log(), 4_200, 10 * KIB);
    assert!(lacks > 2 * PEER_QUEUE_BYTES as u64);
    wire.speed = 10 * SLOW;
    let (carried, _) = catch_up(&mut wire, behind, 60 * SECOND);
    assert!(carried <= lacks * 11 / 10, "{} MB for {}", megabytes(carried), megabytes(lacks));
}

/// Guards pacing by acknowledgements: a narrow link carries the log once, in little more than the
/// ideal time, and the follower keeps its leader.
#[check]
fn a_narrow_link_carries_the_log_once() {
    let (mut wire, behind, lacks) = with_a_follower_behind(whole_log(), 1_000, 10 * KIB);
    wire.speed = SLOW;
    let ideal = lacks * SECOND / SLOW;
    let (carried, took) = catch_up(&mut wire, behind, 10 * ideal);
    assert!(carried <= lacks * 13 / 10, "{} MB for {}", megabytes(carried), megabytes(lacks));
    assert!(took <= ideal * 3 / 2, "{took} µs for {ideal}");
}

/// The same for a snapshot whose chunks each take longer than an election timeout.
#[check]
fn a_narrow_link_carries_a_snapshot_once() {
    for max_chunk_bytes in [512 * KIB, 2048 * KIB] {
        let config = Config { keep_entries: 0, max_chunk_bytes, ..whole_log() };
        let (mut wire, behind, lacks) = with_a_follower_behind(config, 1_000, 10 * KIB);
        let leader = wire.leader().expect("led");
        wire.compact(leader);
        assert!(wire.status(leader).base.index > LogIndex(900), "nothing was compacted");
        wire.speed = SLOW;
        let ideal = lacks * SECOND / SLOW;
        let (carried, took) = catch_up(&mut wire, behind, 10 * ideal);
        assert!(carried <= lacks * 13 / 10, "{} MB for {}", megabytes(carried), megabytes(lacks));
        assert!(took <= ideal * 3 / 2, "{took} µs for {ideal}");
        wire.pass(100 * MILLISECOND);
        assert_eq!(wire.status(leader).transfers, 0, "the state is kept for nobody");
    }
}

/// Guards that heartbeats overtake entries: a value that takes longer than an election timeout
/// deposes no leader and is sent once.
#[check]
fn large_values_over_a_slow_link_depose_nobody() {
    for (speed, values) in [(SLOW, 10), (SLOW / 10, 3)] {
        let mut wire = Wire::led(3, 3, Config::default());
        let leader = wire.leader().expect("led");
        let term = wire.status(leader).term;
        wire.speed = speed;
        let mut bytes = 0;
        for _ in 0..values {
            let request = wire.write(leader, 1, 1 << 20)[0];
            bytes += 1 << 20;
            wire.until("the answer", 20 * SECOND, |wire| wire.answers.contains_key(&request));
            assert!(matches!(wire.answers[&request], Outcome::Applied { .. }));
        }
        wire.until("the followers", 20 * SECOND, |wire| {
            let last = wire.status(leader).last;
            wire.followers().iter().all(|node| wire.status(*node).last == last)
        });
        assert_eq!(wire.status(leader).term, term);
        for node in wire.followers() {
            let carried = wire.link(leader, node).carried;
            assert!(
                carried <= bytes * 11 / 10,
                "{} MB for {}",
                megabytes(carried),
                megabytes(bytes)
            );
        }
    }
}

/// Guards that an entry larger than the window is sent, and sent alone.
#[check]
fn an_entry_larger_than_the_window_goes_alone() {
    let config = Config { max_in_flight_bytes: 64 * KIB, ..Config::default() };
    let mut wire = Wire::led(3, 3, config);
    let leader = wire.leader().expect("led");
    wire.speed = SLOW;
    wire.write(leader, 1, 10 * KIB);
    for _ in 0..5 {
        wire.write(leader, 1, 256 * KIB);
    }
    for node in wire.followers() {
        assert_eq!(wire.status(leader).peers[&node].in_flight, 1);
    }
    wire.until("all", 10 * SECOND, |wire| {
        let most = wire.status(leader).peers.values().map(|it| it.in_flight).max();
        assert!(most <= Some(1));
        wire.status(leader).commit_index == wire.status(leader).last.index
    });
}

/// Guards that after a broken connection no more than the bytes in flight are sent again, whether
/// or not the transport noticed.
#[check]
fn a_broken_connection_costs_what_was_under_way() {
    for (notices, keep_entries) in [(true, 5_000), (false, 5_000), (true, 0), (false, 0)] {
        let config = Config { keep_entries, ..whole_log() };
        let window = config.max_in_flight_bytes as u64;
        let (mut wire, behind, lacks) = with_a_follower_behind(config, 1_000, 10 * KIB);
        let leader = wire.leader().expect("led");
        wire.compact(leader);
        (wire.speed, wire.notices) = (SLOW, notices);
        wire.mend(behind);
        for _ in 0..3 {
            wire.pass(2 * SECOND);
            wire.break_connections(behind);
        }
        let (carried, _) = catch_up(&mut wire, behind, 60 * SECOND);
        // `carried` counts a message when it leaves, so the message may still be lost.
        let limit = lacks + 3 * window.min(1 << 20) + (1 << 20);
        assert!(carried <= limit, "{} MB for {}", megabytes(carried), megabytes(lacks));
    }
}

/// Guards that entries in flight arrive after a compaction past them, without a snapshot.
#[check]
fn a_compaction_past_what_is_under_way_costs_nothing() {
    let config = Config { keep_entries: 0, ..whole_log() };
    let (mut wire, behind, lacks) = with_a_follower_behind(config, 500, 10 * KIB);
    let leader = wire.leader().expect("led");
    wire.speed = SLOW;
    wire.mend(behind);
    wire.until("all under way", 5 * SECOND, |wire| {
        wire.status(leader).peers[&behind].next_index > wire.status(leader).last.index
    });
    wire.compact(leader);
    assert!(wire.status(leader).base.index > wire.status(leader).peers[&behind].match_index);
    let (carried, _) = catch_up(&mut wire, behind, 20 * SECOND);
    assert!(carried <= lacks * 11 / 10, "{} MB for {}", megabytes(carried), megabytes(lacks));
}

fn refused(why: ChangeRefusal) -> Outcome {
    Outcome::Refused(RequestRefusal::Membership(why))
}

/// Adds a server during writes; returns the answer to the change.
fn add_under_load(wire: &mut Wire, writes: u64, bytes: usize, limit: u64) -> Outcome {
    let leader = wire.leader().expect("led");
    let request = wire.change(leader, MembershipChange::AddVoter(NodeId(4)));
    let end = wire.now.after(limit);
    while !wire.answers.contains_key(&request) {
        assert!(wire.now < end, "no answer within {limit} µs");
        wire.write(leader, writes, bytes);
        wire.pass(10 * MILLISECOND);
    }
    wire.answers[&request].clone()
}

/// Guards dissertation §4.2.1: a server is promoted under load, although entries are always in
/// flight.
#[check]
fn a_voter_is_added_under_load() {
    let mut wire = Wire::led(4, 3, Config::default());
    wire.delay = 15 * MILLISECOND;
    let outcome = add_under_load(&mut wire, 200, 20, 5 * SECOND);
    assert!(matches!(outcome, Outcome::MembershipChanged { .. }), "{outcome:?}");
}

/// Guards dissertation §4.2.1: a server that takes entries more slowly than they are written is
/// refused as too slow.
#[check]
fn a_server_that_is_too_slow_is_refused() {
    let config = Config { promotion_timeout: 5 * SECOND, ..whole_log() };
    let mut wire = Wire::led(4, 3, config);
    let leader = wire.leader().expect("led");
    wire.write(leader, 10, 100 * KIB);
    wire.pass(SECOND);
    wire.speed = SLOW;
    // 2.5 MB/s over links that carry half of it.
    let outcome = add_under_load(&mut wire, 1, 25 * KIB, 120 * SECOND);
    assert_eq!(outcome, refused(ChangeRefusal::TooSlow));
}

/// Guards that the timeout looks at progress: a state that takes much longer gets through, and a
/// server that stops is refused.
#[check]
fn a_large_state_gets_through_while_it_moves() {
    for stops in [false, true] {
        let config = Config { promotion_timeout: 3 * SECOND, keep_entries: 0, ..whole_log() };
        let mut wire = Wire::led(4, 3, config);
        let leader = wire.leader().expect("led");
        for _ in 0..100 {
            wire.write(leader, 10, 10 * KIB);
            wire.pass(10 * MILLISECOND);
        }
        wire.compact(leader);
        wire.speed = SLOW;
        let request = wire.change(leader, MembershipChange::AddVoter(NodeId(4)));
        wire.pass(6 * SECOND);
        assert!(!wire.answers.contains_key(&request), "it is still on its way");
        if stops {
            wire.cut(NodeId(4));
        }
        wire.until("the answer", 20 * SECOND, |wire| wire.answers.contains_key(&request));
        let outcome = &wire.answers[&request];
        if stops {
            assert_eq!(*outcome, refused(ChangeRefusal::DidNotCatchUp));
            wire.pass(SECOND);
            assert_eq!(wire.status(leader).transfers, 0, "its state is kept for nobody");
        } else {
            assert!(matches!(outcome, Outcome::MembershipChanged { .. }), "{outcome:?}");
        }
    }
}

/// Guards that a snapshot is kept for an unreachable follower for a while, not forever.
#[check]
fn a_dead_follower_pins_no_state() {
    let config = Config { promotion_timeout: 10 * SECOND, keep_entries: 0, ..whole_log() };
    let (mut wire, behind, _) = with_a_follower_behind(config, 1_000, 10 * KIB);
    let leader = wire.leader().expect("led");
    wire.compact(leader);
    wire.speed = SLOW;
    wire.mend(behind);
    wire.pass(2 * SECOND);
    wire.cut(behind);
    wire.pass(5 * SECOND);
    assert_eq!(wire.status(leader).transfers, 1, "it may come back");
    wire.pass(10 * SECOND);
    assert_eq!(wire.status(leader).transfers, 0);
    catch_up(&mut wire, behind, 60 * SECOND);
}
