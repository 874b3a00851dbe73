//! Captions for disk and clock faults.

use raft_core::event::Fault;

use super::{Caption, Tone, turn};

/// The caption of a fault. Held and copied messages are visible without one.
pub(super) fn fault(fault: &Fault) -> Option<Caption> {
    let (tone, headline, why) = match fault {
        Fault::MessageHeld { .. } | Fault::MessageCopied { .. } => return None,
        Fault::DiskStalled { node } => (
            Tone::Bad,
            format!("The disk of {node} hangs."),
            "What is not on disk is not promised: it acknowledges no entry and gives no vote. A \
             leader that cannot write gives way to another.",
        ),
        Fault::DiskFull { node } => (
            Tone::Bad,
            format!("The disk of {node} has no room."),
            "It takes no more of what clients write, and a leader gives way to another. What it \
             acknowledged stays.",
        ),
        Fault::DiskMended { node } => (
            Tone::Good,
            format!("The disk of {node} works again."),
            "What waited is written now, and acknowledged.",
        ),
        Fault::SnapshotNotSaved { node } => (
            Tone::Bad,
            format!("{node} could not save its snapshot."),
            "It keeps its log as it is and tries again later. Nothing is lost.",
        ),
        Fault::RecordTorn { node, .. } => (
            Tone::Bad,
            format!("The power of {node} failed in the middle of a record."),
            "Its checksum tells at the next start, which cuts the torn record off. Nobody was told \
             that it was there.",
        ),
        Fault::BitFlipped { node } => (
            Tone::Bad,
            format!("A bit on the disk of {node} has changed."),
            "A checksum tells at the next start, and then the server refuses to run: it may have \
             promised what it no longer has. Wipe it, remove it, and add it anew.",
        ),
        Fault::Wiped { node } => (
            Tone::Bad,
            format!("The disk of {node} is empty."),
            "It has forgotten its votes and its log, so it neither votes nor counts until it was \
             removed from the cluster and added to it again.",
        ),
        Fault::ClockSet { node, rate_permille: 1000, .. } => (
            Tone::Calm,
            format!("The clock of {node} was set."),
            "Raft's safety never hangs on clocks. They only say when to become impatient.",
        ),
        Fault::ClockSet { node, rate_permille, .. } => (
            Tone::Bad,
            format!(
                "The clock of {node} is {}.",
                if *rate_permille > 1000 { "fast" } else { "slow" }
            ),
            "It is more or less patient than the others. That can cost elections, but no safety: only \
             leases count on clocks.",
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
