//! Reports to the log and the metrics what no correct server does.

use raft_core::replica::{Difference, Status};

use crate::metrics::DriverMetrics;

/// The numbers already reported.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    refused: u64,
    differences: u64,
}

impl Alarms {
    /// Reports new refusals and differences. A faulty peer must not flood the log, so a line is
    /// logged only each time the number doubles.
    pub(super) fn tell(&mut self, status: &Status, metrics: &DriverMetrics) {
        let messages = status.refused_messages;
        if messages > self.refused {
            metrics.refused.inc_by(messages - self.refused);
            if let Some((peer, why)) = status.latest_refused
                && has_doubled(messages, self.refused)
            {
                tracing::error!(
                    %peer, messages,
                    "refused a message that no correct server sends: {why}. Check the release, \
                     disk and memory of that server"
                );
            }
            self.refused = messages;
        }
        if status.differences > self.differences {
            metrics.differences.inc_by(status.differences - self.differences);
            if let Some(Difference { peer, index, own, theirs }) = status.latest_difference
                && has_doubled(status.differences, self.differences)
            {
                tracing::error!(
                    %peer, %index, own = format!("{own:016x}"), theirs = format!("{theirs:016x}"),
                    "another member has another state after the same entry; see \
                     GlassraftStateDiffers in docs/OPERATIONS.md"
                );
            }
            self.differences = status.differences;
        }
    }
}

fn has_doubled(count: u64, before: u64) -> bool {
    before == 0 || count.ilog2() > before.ilog2()
}
