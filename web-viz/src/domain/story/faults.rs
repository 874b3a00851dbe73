//! Captions for disk and clock faults.

use raft_core::event::Fault;

use super::{Caption, Tone, turn};

/// The caption of a fault. Held and copied messages are visible without one.
pub(super) fn fault(fault: &Fault) -> Option<Caption> {
    let (tone, headline, why) = match fault {
        Fault::MessageHeld { .. } | Fault::MessageCopied { .. } => return None,
        Fault::DiskStalled { node } => (
            Tone::Bad,
            format!("The disk of {node} is stalled."),
            "It acknowledges no entry and gives no vote before it is on disk. A leader that cannot \
             write steps down.",
        ),
        Fault::DiskFull { node } => (
            Tone::Bad,
            format!("The disk of {node} is full."),
            "It accepts no more writes of clients, and a leader transfers leadership. It keeps \
             what it acknowledged.",
        ),
        Fault::DiskMended { node } => (
            Tone::Good,
            format!("The disk of {node} works again."),
            "It writes and acknowledges what was pending.",
        ),
        Fault::SnapshotNotSaved { node } => (
            Tone::Bad,
            format!("{node} could not save its snapshot."),
            "It keeps its log and retries later. Nothing is lost.",
        ),
        Fault::RecordTorn { node, .. } => (
            Tone::Bad,
            format!("The power of {node} failed while it wrote a record."),
            "At the next start the checksum shows this, and the server cuts the record off. It had \
             acknowledged nothing in it.",
        ),
        Fault::BitFlipped { node } => (
            Tone::Bad,
            format!("A bit on the disk of {node} changed."),
            "At the next start a checksum shows this. The server then refuses to run: acknowledged \
             data may be lost. Wipe it, remove it, and add it again.",
        ),
        Fault::Wiped { node } => (
            Tone::Bad,
            format!("The disk of {node} is wiped."),
            "It lost its votes and its log. It neither votes nor counts until it is removed from \
             the cluster and added again.",
        ),
        Fault::ClockSet { node, rate_permille: 1000, .. } => (
            Tone::Calm,
            format!("The clock of {node} was set."),
            "Clocks decide when timers expire. For safety, only leases depend on them.",
        ),
        Fault::ClockSet { node, rate_permille, .. } => (
            Tone::Bad,
            format!(
                "The clock of {node} is {}.",
                if *rate_permille > 1000 { "fast" } else { "slow" }
            ),
            "Its timers expire sooner or later than those of the others. That can cause elections, \
             but for safety only leases depend on clocks.",
        ),
    };
    Some(turn(tone, headline, why))
}

#[cfg(test)]
mod tests {
    use raft_core::types::{NodeId, Time};

    use super::*;

    /// Guards that the caption of a clock says in which direction it is wrong.
    #[test]
    fn a_clock_is_fast_or_slow() {
        let set = |rate_permille| {
            let clock = Fault::ClockSet { node: NodeId(2), time: Time(0), rate_permille };
            fault(&clock).unwrap().headline
        };
        assert_eq!(set(2000), "The clock of S2 is fast.");
        assert_eq!(set(500), "The clock of S2 is slow.");
        assert_eq!(set(1000), "The clock of S2 was set.");
    }
}
