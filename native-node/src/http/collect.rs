//! Metrics that are read from the server at each scrape, not counted as things happen.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use raft_core::event::RoleName;
use raft_core::types::NodeId;

use super::App;
use super::process::ProcessFigures;
use crate::driver::handle::Handle;
use crate::logging;
use crate::transport::{LinkState, Links};

/// Collects the published state, the disk's figures and the connections.
#[derive(Debug)]
pub(crate) struct NodeCollector {
    pub(crate) handle: Handle,
    pub(crate) links: Links,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: u64,
}

/// All metrics in text form.
pub(super) fn encode(app: &App) -> String {
    let mut text = String::new();
    encode_text(&mut text, &app.registry).expect("writing into a string does not fail");
    text
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.encode_raft(&mut out)?;
        self.encode_state(&mut out)?;
        self.encode_progress(&mut out)?;
        self.encode_links(&mut out)?;
        out.total(
            "glassraft_log_dropped_lines",
            "Log lines that could not be written",
            logging::dropped(),
        )?;
        out.total(
            "glassraft_log_left_out_lines",
            "Log lines that were left out because they repeated too often",
            logging::left_out(),
        )?;
        encode_process(&mut out)
    }
}

impl NodeCollector {
    fn encode_raft(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        let leads = u64::from(status.role == RoleName::Leader);
        out.gauge("raft_term", "Current term", status.term.0)?;
        out.gauge("raft_is_leader", "1 if this server is the leader", leads)?;
        out.gauge("raft_has_leader", "1 if a leader is known", status.leader.is_some().into())?;
        let (voters, members) = (&status.membership.voters, status.membership.members());
        out.gauge("raft_voters", "Number of voters", voters.len() as u64)?;
        out.gauge("raft_members", "Number of members, including learners", members.len() as u64)?;
        let is_voter = voters.contains(&status.id).into();
        out.gauge("raft_is_voter", "1 if this server is a voter", is_voter)?;
        let is_member = self.handle.is_member().into();
        out.gauge("raft_is_member", "1 if this server is a member", is_member)?;
        out.gauge("raft_last_index", "Index of the last log entry", status.last.index.0)?;
        out.gauge("raft_durable_index", "Index of the last entry on disk", status.durable_index.0)?;
        out.gauge("raft_commit_index", "Index of the last committed entry", status.commit_index.0)?;
        out.gauge(
            "raft_applied_index",
            "Index of the last applied entry",
            status.last_applied.index.0,
        )?;
        out.gauge(
            "raft_snapshot_index",
            "Index of the last entry in a snapshot",
            status.snapshot_index.0,
        )?;
        out.gauge("raft_proposals_pending", "Writes that wait for commit", status.pending)?;
        out.gauge("raft_log_entries", "Number of log entries in memory", status.log_entries)?;
        out.bytes("raft_log", "Size of the log entries in memory", status.log_bytes)?;
        out.gauge("raft_halted", "1 if the server has stopped permanently", status.halted.into())
    }

    fn encode_state(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        out.gauge("kv_revision", "Revision of the store", status.revision)?;
        out.gauge("kv_keys", "Number of keys", status.keys)?;
        out.bytes("kv_state", "Total length of all keys and values", status.state_bytes)?;
        out.bytes("kv_memory", "Approximate memory use of the state", status.state_memory)?;
        out.bytes(
            "kv_quota",
            "Maximum memory use of the state, 0 for no limit",
            self.handle.quota().bytes(),
        )?;
        let full = self.handle.is_full().into();
        out.gauge("kv_quota_exceeded", "1 while writes that enlarge the state are rejected", full)?;
        out.gauge(
            "http_requests_in_flight",
            "Requests in progress",
            self.handle.requests() as u64,
        )?;
        out.gauge(
            "trace_watchers",
            "Subscribers of the event stream",
            self.handle.watchers() as u64,
        )?;
        out.gauge("kv_watchers", "Watchers of keys", self.handle.key_watchers() as u64)?;
        let waiting = self.handle.key_watch_bytes() as u64;
        out.bytes("kv_watch_queue", "Size of the events that wait for watchers of keys", waiting)?;
        let Some(usage) = self.handle.usage() else { return Ok(()) };
        out.gauge("raft_wal_segments", "Number of log files", usage.log_segments)?;
        out.bytes("raft_wal_disk", "Size of the log files", usage.log_bytes)?;
        out.bytes(
            "raft_wal_queue",
            "Size of the log entries that are not durable yet",
            usage.queued_bytes,
        )?;
        out.bytes("raft_wal_reserve", "Size of the preallocated log files", usage.reserve_bytes)?;
        out.bytes("raft_snapshot_disk", "Size of the snapshot files", usage.snapshot_bytes)?;
        out.gauge("raft_snapshots", "Number of snapshots on disk", usage.snapshots)?;
        let progress = usage.snapshot_progress.unwrap_or_default();
        let gauge = ConstGauge::new(progress);
        let (help, kind) = ("Written part of the snapshot in progress", gauge.metric_type());
        gauge.encode(out.0.encode_descriptor(
            "raft_snapshot_progress_ratio",
            help,
            None,
            kind,
        )?)?;
        out.bytes(
            "raft_disk_free",
            "Free space on the disk of the data directory",
            usage.free_bytes,
        )?;
        out.gauge(
            "raft_disk_full",
            "1 while writes are rejected because the disk is full",
            usage.full.into(),
        )
    }

    fn encode_progress(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        let members = status.membership.peers_of(status.id);
        let differs = members.map(|id| (id, status.differing.contains(&id).into()));
        let help = "1 if the state of the member differed in the last comparison";
        out.peers("raft_peer_state_differs", help, differs)?;
        let (peers, last) = (&status.peers, status.last.index.0);
        let matched = peers.iter().map(|(id, progress)| (*id, progress.match_index.0));
        out.peers(
            "raft_peer_match_index",
            "Index of the last entry that is replicated to the peer",
            matched,
        )?;
        let lag = peers.iter().map(|(id, it)| (*id, last.saturating_sub(it.match_index.0)));
        out.peers("raft_peer_lag_entries", "Entries that are not replicated to the peer yet", lag)?;
        let in_flight = peers.iter().map(|(id, progress)| (*id, progress.in_flight));
        out.peers("raft_peer_in_flight", "Unanswered messages with entries", in_flight)
    }

    fn encode_links(&self, out: &mut Out<'_>) -> fmt::Result {
        let links: Vec<_> = self.links.all().into_iter().collect();
        let all = |pick: fn(&LinkState) -> u64| links.iter().map(move |(id, it)| (*id, pick(it)));
        let connected = all(|it| it.connected.into());
        out.peers("raft_peer_connected", "1 if messages can be sent to the peer", connected)?;
        out.peers(
            "raft_peer_queue_messages",
            "Messages that wait for the peer",
            all(|it| it.queued),
        )?;
        out.peers(
            "raft_peer_queue_bytes",
            "Bytes that wait for the peer",
            all(|it| it.queued_bytes),
        )?;
        let measured = |it: &LinkState| it.round_trip.map(|span| span.as_secs_f64());
        let round_trips = links.iter().filter_map(|(id, it)| Some((*id, measured(it)?)));
        let gauges = round_trips.map(|(id, seconds)| (id, ConstGauge::new(seconds)));
        out.family("raft_peer_round_trip_seconds", "Latest round-trip time to the peer", gauges)?;
        out.peer_totals(
            "raft_peer_connects",
            "Connections opened to the peer",
            all(|it| it.connects),
        )?;
        out.peer_totals(
            "raft_peer_failures",
            "Connections to the peer that failed",
            all(|it| it.failures),
        )?;
        out.peer_totals(
            "raft_peer_dropped_messages",
            "Messages to the peer that were dropped",
            all(|it| it.dropped),
        )?;
        out.peer_totals("raft_peer_sent_bytes", "Bytes sent to the peer", all(|it| it.sent_bytes))?;
        out.peer_totals(
            "raft_peer_received_bytes",
            "Bytes received from the peer",
            all(|it| it.received_bytes),
        )
    }
}

/// Standard process metrics.
fn encode_process(out: &mut Out<'_>) -> fmt::Result {
    let figures = ProcessFigures::now();
    if let Some(seconds) = figures.cpu_seconds {
        let counter = ConstCounter::new(seconds);
        let help = "CPU time in user and kernel mode";
        let (unit, kind) = (Some(&Unit::Seconds), counter.metric_type());
        counter.encode(out.0.encode_descriptor("process_cpu", help, unit, kind)?)?;
    }
    if let Some(seconds) = figures.start_time {
        out.seconds("process_start_time", "Start time of the process, since 1970", seconds)?;
    }
    let gauges = [
        ("process_threads", "Number of threads", None, figures.threads),
        ("process_open_fds", "Open file descriptors", None, figures.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors", None, figures.max_fds),
        ("process_virtual_memory", "Virtual memory", Some(&Unit::Bytes), figures.virtual_bytes),
        ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), figures.resident_bytes),
    ];
    for (name, help, unit, value) in gauges {
        if let Some(value) = value {
            out.one(name, help, unit, value)?;
        }
    }
    Ok(())
}

/// Shorthand for the encoder.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, None, value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let (gauge, unit) = (ConstGauge::new(value), Some(&Unit::Seconds));
        gauge.encode(self.0.encode_descriptor(name, help, unit, gauge.metric_type())?)
    }

    fn total(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        let kind = counter.metric_type();
        counter.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, Some(&Unit::Bytes), value)
    }

    fn one(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, unit, gauge.metric_type())?)
    }

    fn peers(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (NodeId, u64)>,
    ) -> fmt::Result {
        self.family(name, help, values.map(|(peer, value)| (peer, ConstGauge::new(value))))
    }

    fn peer_totals(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (NodeId, u64)>,
    ) -> fmt::Result {
        self.family(name, help, values.map(|(peer, value)| (peer, ConstCounter::new(value))))
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        metrics: impl Iterator<Item = (NodeId, M)>,
    ) -> fmt::Result {
        let mut metrics = metrics.peekable();
        let Some((_, first)) = metrics.peek() else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (peer, metric) in metrics {
            let labels = PeerLabels { peer: peer.0 };
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
