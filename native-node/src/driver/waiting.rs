//! Pending requests and where their answers go.

use std::collections::HashMap;
use std::time::Duration;

use raft_core::event::Outcome;
use raft_core::kv::KvStore;
use raft_core::membership::Membership;
use raft_core::types::{NodeId, RequestId, Time};

use crate::admission::Permit;
use crate::driver::handle::{Reply, RequestError, Written};
use crate::metrics::DriverMetrics;

/// Where the answer to a request goes.
pub(super) enum Waiting {
    Write {
        reply: Reply<Written>,
        since: Time,
        bytes: usize,
    },
    Read(Reply<KvStore>),
    Membership(Reply<Membership>),
    Transfer(Reply<NodeId>),
    /// A leadership transfer that the driver itself requested.
    OwnTransfer,
}

/// The pending requests.
#[derive(Default)]
pub(super) struct WaitingList {
    last_request: RequestId,
    /// The permit is released with the answer. The driver's own requests have none.
    requests: HashMap<RequestId, (Waiting, Option<Permit>)>,
    write_bytes: usize,
    own_transfer_failed: bool,
}

impl WaitingList {
    /// Adds a request and returns its ID.
    pub(super) fn add(&mut self, waiting: Waiting, permit: Permit) -> RequestId {
        self.insert(waiting, Some(permit))
    }

    /// Adds the driver's own request for a leadership transfer.
    pub(super) fn add_own_transfer(&mut self) -> RequestId {
        self.own_transfer_failed = false;
        self.insert(Waiting::OwnTransfer, None)
    }

    /// Whether the driver's latest own transfer failed.
    pub(super) const fn own_transfer_failed(&self) -> bool {
        self.own_transfer_failed
    }

    /// The bytes of all commands whose outcome is not known yet.
    pub(super) const fn write_bytes(&self) -> usize {
        self.write_bytes
    }

    fn insert(&mut self, waiting: Waiting, permit: Option<Permit>) -> RequestId {
        if let Waiting::Write { bytes, .. } = waiting {
            self.write_bytes += bytes;
        }
        self.last_request = self.last_request.next();
        self.requests.insert(self.last_request, (waiting, permit));
        self.last_request
    }

    /// Answers a request with its outcome. `store` is the current state.
    pub(super) fn answer(
        &mut self,
        request: RequestId,
        outcome: Outcome,
        store: &KvStore,
        now: Time,
        metrics: &DriverMetrics,
    ) {
        let refusal = match outcome {
            Outcome::Malformed => RequestError::Malformed,
            Outcome::NotLeader { leader } => RequestError::NotLeader { leader },
            Outcome::Unknown => RequestError::Unknown,
            Outcome::Halted => RequestError::Halted,
            Outcome::Refused(refusal) => RequestError::Refused(refusal),
            // The client may have given up, here and below.
            Outcome::Applied { position, applied } => {
                let Waiting::Write { reply, since, bytes: _ } = self.take(request) else {
                    unreachable!("only a write is applied")
                };
                let took = Duration::from_micros(now.since(since));
                metrics.commit_duration.observe(took.as_secs_f64());
                drop(reply.send(Ok((position, applied))));
                return;
            }
            Outcome::ReadReady { .. } => {
                let Waiting::Read(reply) = self.take(request) else {
                    unreachable!("only a read is confirmed")
                };
                drop(reply.send(Ok(store.clone())));
                return;
            }
            Outcome::MembershipChanged { index: _, membership } => {
                let Waiting::Membership(reply) = self.take(request) else {
                    unreachable!("only a change of the members changes them")
                };
                drop(reply.send(Ok(*membership)));
                return;
            }
            Outcome::Transferred { to } => {
                match self.take(request) {
                    Waiting::Transfer(reply) => drop(reply.send(Ok(to))),
                    Waiting::OwnTransfer => {}
                    Waiting::Write { .. } | Waiting::Read(_) | Waiting::Membership(_) => {
                        unreachable!("only a hand-over hands over")
                    }
                }
                return;
            }
        };
        self.refuse(request, refusal);
    }

    /// Answers a request with the reason why it was not carried out.
    pub(super) fn refuse(&mut self, request: RequestId, error: RequestError) {
        match self.take(request) {
            Waiting::Write { reply, .. } => drop(reply.send(Err(error))),
            Waiting::Read(reply) => drop(reply.send(Err(error))),
            Waiting::Membership(reply) => drop(reply.send(Err(error))),
            Waiting::Transfer(reply) => drop(reply.send(Err(error))),
            Waiting::OwnTransfer => {
                tracing::warn!(
                    ?error,
                    "leadership was not transferred; it is retried while the disk is full"
                );
                self.own_transfer_failed = true;
            }
        }
    }

    fn take(&mut self, request: RequestId) -> Waiting {
        let (waiting, _) = self.requests.remove(&request).expect("each request is answered once");
        if let Waiting::Write { bytes, .. } = waiting {
            self.write_bytes -= bytes;
        }
        waiting
    }
}
