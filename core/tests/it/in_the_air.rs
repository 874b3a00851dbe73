//! Single messages in flight: each can be held, released, delayed, copied and dropped.

use raft_core::event::{Event, EventKind, Fault};
use raft_core::message::{Body, Message};
use raft_core::sim::{Action, ActionError, NetworkConfig, SimConfig, Simulation};
use raft_core::types::{EventId, MILLISECOND, NodeId, SECOND};
use raft_core::view::ClusterView;

use crate::lab::{Cluster, S1, S2, S3, check, value_at};

/// A cluster of three with manual elections, led by S1.
fn scripted() -> Cluster {
    let config = SimConfig { manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.act(Action::Elect(S1));
    assert_eq!(cluster.await_leader(), S1);
    cluster.pass(20 * MILLISECOND);
    cluster
}

/// The id of the newest matching message in flight.
fn flying(sim: &Simulation, fits: impl Fn(&Message) -> bool) -> EventId {
    let found = sim.flying().filter(|flying| fits(&flying.message)).last();
    found.expect("such a message is in the air").id
}

/// Writes at S1, and returns the id of the message that carries the entry to `to`.
fn propose(cluster: &mut Cluster, to: NodeId, value: &'static str) -> EventId {
    let command = raft_core::kv::Command::put("x", value);
    cluster.act(Action::Write { node: S1, command });
    let entries =
        |body: &Body| matches!(body, Body::AppendEntries { entries, .. } if !entries.is_empty());
    flying(&cluster.sim, |message| message.to == to && entries(&message.body))
}

fn receipts(events: &[Event], message: EventId) -> usize {
    let received = |event: &&Event| matches!(&event.kind, EventKind::MessageReceived { message: it, .. } if *it == message);
    events.iter().filter(received).count()
}

/// Guards scripted lessons: no server campaigns unless told to, and leaders keep leading.
#[check]
fn with_manual_elections_only_a_command_elects() {
    let mut cluster = Cluster::new(SimConfig { manual_elections: true, ..SimConfig::default() });
    cluster.pass(10 * SECOND);
    assert_eq!(cluster.sim.leader(), None);
    let campaigns = |event: &Event| matches!(event.kind, EventKind::TimerFired { .. });
    assert!(!cluster.events.iter().any(campaigns));
    cluster.act(Action::Elect(S2));
    assert_eq!(cluster.await_leader(), S2);
    cluster.pass(SECOND);
    assert_eq!(cluster.sim.leader(), Some(S2), "heartbeats keep it in office");
}

/// Guards that a held message stays in flight, is overtaken, and arrives when released.
#[check]
fn a_held_message_stays_in_the_air_until_released() {
    let mut cluster = scripted();
    let first = propose(&mut cluster, S2, "1");
    cluster.act(Action::Hold(first));
    assert_eq!(cluster.sim.act(Action::Hold(first)), Err(ActionError::Held(first)));
    cluster.events.clear();
    cluster.pass(SECOND);
    assert_eq!(receipts(&cluster.events, first), 0);
    let held = cluster.sim.flying().find(|flying| flying.id == first).expect("still there");
    assert_eq!(held.due, None);
    cluster.act(Action::Release(first));
    cluster.pass(0);
    assert_eq!(receipts(&cluster.events, first), 1);
    assert_eq!(cluster.sim.act(Action::Release(first)), Err(ActionError::NotFlying(first)));
}

/// Guards that a delayed message arrives later by the delay, and once.
#[check]
fn a_message_that_is_put_off_arrives_later() {
    let mut cluster = scripted();
    let message = propose(&mut cluster, S2, "1");
    let due = cluster.sim.flying().find(|it| it.id == message).and_then(|it| it.due);
    let due = due.expect("it flies");
    cluster.act(Action::Delay { message, by: 200 * MILLISECOND });
    cluster.events.clear();
    let late = due.after(200 * MILLISECOND);
    cluster.pass(late.since(cluster.sim.now()) - 1);
    assert_eq!(receipts(&cluster.events, message), 0);
    cluster.pass(1);
    assert_eq!(receipts(&cluster.events, message), 1);
}

/// Guards that a copy has its own id, so it can be held while the original arrives. The receiver
/// gets the original twice, and the view shows both.
#[check]
fn a_copy_of_a_message_can_be_held_by_itself() {
    let mut cluster = scripted();
    let original = propose(&mut cluster, S3, "1");
    cluster.act(Action::Duplicate(original));
    let copied =
        |flying: &&raft_core::sim::Flying| flying.message.id() == original && flying.id != original;
    let copy = cluster.sim.flying().find(copied).expect("it flies").id;
    cluster.act(Action::Hold(copy));
    cluster.pass(SECOND);
    assert_eq!(receipts(&cluster.events, original), 1);
    assert_eq!(value_at(&cluster.sim, S3, "x").as_deref(), Some("1"));
    cluster.act(Action::Release(copy));
    cluster.pass(0);
    assert_eq!(receipts(&cluster.events, original), 2);
    let told = |event: &Event| matches!(&event.kind, EventKind::Fault(Fault::MessageCopied { message, .. }) if *message == original);
    assert!(cluster.events.iter().any(told));
    let mut view = ClusterView::default();
    cluster.events.iter().for_each(|event| view.observe(event));
    assert!(view.messages[&original].end.is_some() && view.messages[&copy].end.is_some());
    assert!(!view.messages[&copy].held);
}

/// Whether S2 receives S1's messages in the order of sending, and how many twice.
fn order_under(quality: NetworkConfig) -> (bool, usize) {
    let mut cluster = scripted();
    cluster.act(Action::SetLinkQuality { from: S1, to: S2, quality: Some(quality) });
    cluster.events.clear();
    cluster.pass(10 * SECOND);
    let from_first = |event: &Event| match &event.kind {
        EventKind::MessageReceived { message, .. } if event.id.node == S2 => {
            (message.node == S1).then_some(message.seq)
        }
        _ => None,
    };
    let seqs: Vec<u64> = cluster.events.iter().filter_map(from_first).collect();
    assert!(seqs.len() > 100, "S1 leads");
    let mut distinct = seqs.clone();
    distinct.sort_unstable();
    distinct.dedup();
    (seqs.is_sorted(), seqs.len() - distinct.len())
}

/// Guards that links reorder and repeat messages only if configured to.
#[check]
fn links_reorder_and_repeat_only_when_told_to() {
    let link = NetworkConfig { delay_max: 150 * MILLISECOND, ..NetworkConfig::default() };
    assert_eq!(order_under(link), (true, 0));
    let (sorted, repeated) = order_under(NetworkConfig { reorder_permille: 300, ..link });
    assert!(!sorted && repeated == 0);
    assert!(order_under(NetworkConfig { duplicate_permille: 300, ..link }).1 > 10);
}

/// Guards that a fault of one direction of one link affects no other link, and healing ends it.
#[check]
fn one_link_can_be_worse_than_all_others() {
    let mut cluster = scripted();
    let quality = Some(NetworkConfig { loss_permille: 1000, ..NetworkConfig::default() });
    cluster.act(Action::SetLinkQuality { from: S1, to: S2, quality });
    let lost = propose(&mut cluster, S3, "1");
    cluster.act(Action::Release(lost));
    cluster.await_value(&[S1, S3], "x", "1");
    cluster.pass(SECOND);
    assert_eq!(value_at(&cluster.sim, S2, "x"), None);
    cluster.act(Action::Heal);
    cluster.await_value(&[S2], "x", "1");
}
