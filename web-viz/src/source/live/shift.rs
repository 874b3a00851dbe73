//! Corrects the clocks of servers. If a clock agrees with the page's, its times are kept, which
//! makes them comparable between servers. If a clock is far off, all its times are shifted;
//! otherwise the picture would be empty.

use raft_core::event::{Event, EventKind, NodeState};
use raft_core::types::{Micros, SECOND, Time};

/// The shift of a server's times, in microseconds. Its newest event has the time `event` while the
/// page's clock shows `wall`.
pub(super) fn needed(event: Time, wall: Micros) -> i64 {
    let difference = wall.cast_signed().saturating_sub(event.0.cast_signed());
    if difference.unsigned_abs() < SECOND { 0 } else { difference }
}

/// Shifts all times in the events.
pub(in crate::source) fn apply(events: &mut [Event], shift: i64) {
    if shift == 0 {
        return;
    }
    let moved = |time: &mut Time| *time = Time(time.0.saturating_add_signed(shift));
    for event in events {
        moved(&mut event.time);
        match &mut event.kind {
            EventKind::Started(state) | EventKind::Attached(state) => move_state(state, moved),
            EventKind::TimerArmed { due, .. } | EventKind::MessageInTransit { due, .. } => {
                moved(due);
            }
            EventKind::ProgressChanged { progress, .. } => {
                progress.last_contact.iter_mut().for_each(moved);
            }
            EventKind::Crashed
            | EventKind::Frozen
            | EventKind::Thawed
            | EventKind::RoleChanged { .. }
            | EventKind::LeaderKnown { .. }
            | EventKind::TermChanged { .. }
            | EventKind::VoteGranted { .. }
            | EventKind::VoteRefused { .. }
            | EventKind::VoteCounted { .. }
            | EventKind::TimerFired { .. }
            | EventKind::MessageSent(_)
            | EventKind::MessageReceived { .. }
            | EventKind::MessageDropped { .. }
            | EventKind::EntriesAppended { .. }
            | EventKind::LogTruncated { .. }
            | EventKind::LogCompacted { .. }
            | EventKind::WriteStarted { .. }
            | EventKind::WritePersisted { .. }
            | EventKind::WriteFailed { .. }
            | EventKind::CommitAdvanced { .. }
            | EventKind::Applied { .. }
            | EventKind::SnapshotSaved { .. }
            | EventKind::SnapshotInstalled { .. }
            | EventKind::SnapshotIgnored { .. }
            | EventKind::ClientRequest { .. }
            | EventKind::ClientAnswer { .. }
            | EventKind::ReadsConfirmed { .. }
            | EventKind::ConfigurationAppended { .. }
            | EventKind::ConfigurationCommitted { .. }
            | EventKind::ConfigurationRolledBack { .. }
            | EventKind::PeerDismissed { .. }
            | EventKind::PeerLostLog { .. }
            | EventKind::TransferStarted { .. }
            | EventKind::TransferAborted { .. }
            | EventKind::LeaseRead { .. }
            | EventKind::LinkChanged { .. }
            | EventKind::Fault(_)
            | EventKind::StateDiffers { .. }
            | EventKind::Summarised { .. } => {}
        }
    }
}

fn move_state(state: &mut NodeState, moved: impl Fn(&mut Time)) {
    if let Some((_, due, _)) = &mut state.timer {
        moved(due);
    }
    for (_, progress) in &mut state.progress {
        progress.last_contact.iter_mut().for_each(&moved);
    }
}

#[cfg(test)]
mod tests {
    use raft_core::event::Timer;
    use raft_core::types::{EventId, NodeId};

    use super::*;

    /// Guards that small differences stay, which keeps times comparable between servers.
    #[test]
    fn only_a_clock_that_is_far_off_is_moved() {
        let wall = 1_700_000_000 * SECOND;
        assert_eq!(needed(Time(wall - 200_000), wall), 0);
        assert_eq!(needed(Time(wall - 90 * SECOND), wall), 90 * SECOND.cast_signed());
        assert_eq!(needed(Time(wall + 5 * SECOND), wall), -5 * SECOND.cast_signed());
    }

    /// Guards that the due times in events are shifted too: the page draws them as arcs.
    #[test]
    fn what_an_event_says_of_the_future_moves_too() {
        let id = EventId { node: NodeId(1), seq: 1 };
        let kind = EventKind::TimerArmed { timer: Timer::Election, due: Time(1_300) };
        let mut events = [Event { id, time: Time(1_000), cause: None, kind }];
        apply(&mut events, -500);
        assert_eq!(events[0].time, Time(500));
        let kind = EventKind::TimerArmed { timer: Timer::Election, due: Time(800) };
        assert_eq!(events[0].kind, kind);
    }
}
