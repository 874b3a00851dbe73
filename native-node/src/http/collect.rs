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
        out.total("glassraft_log_dropped_lines", "Could not be written", logging::dropped())?;
        out.total("glassraft_log_left_out_lines", "Repeated too often", logging::left_out())?;
        encode_process(&mut out)
    }
}

impl NodeCollector {
    fn encode_raft(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        let leads = u64::from(status.role == RoleName::Leader);
        out.gauge("raft_term", "Current term", status.term.0)?;
        out.gauge("raft_is_leader", "1 on the leader", leads)?;
        out.gauge("raft_has_leader", "1 if a leader is known", status.leader.is_some().into())?;
        let (voters, members) = (&status.membership.voters, status.membership.members());
        out.gauge("raft_voters", "Members that vote", voters.len() as u64)?;
        out.gauge("raft_members", "Members, learners included", members.len() as u64)?;
        let is_voter = voters.contains(&status.id).into();
        out.gauge("raft_is_voter", "1 if this server votes", is_voter)?;
        let is_member = self.handle.is_member().into();
        out.gauge("raft_is_member", "1 if this server belongs to the cluster", is_member)?;
        out.gauge("raft_last_index", "Last entry of the log", status.last.index.0)?;
        out.gauge("raft_durable_index", "Last entry on disk", status.durable_index.0)?;
        out.gauge("raft_commit_index", "Last committed entry", status.commit_index.0)?;
        out.gauge("raft_applied_index", "Last applied entry", status.last_applied.index.0)?;
        out.gauge("raft_snapshot_index", "Last entry in a snapshot", status.snapshot_index.0)?;
        out.gauge("raft_proposals_pending", "Writes awaiting commit", status.pending)?;
        out.gauge("raft_log_entries", "Log entries in memory", status.log_entries)?;
        out.bytes("raft_log", "Log entries in memory", status.log_bytes)?;
        out.gauge("raft_halted", "1 once the server has stopped for good", status.halted.into())
    }

    fn encode_state(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        out.gauge("kv_revision", "Changes of the state", status.revision)?;
        out.gauge("kv_keys", "Keys", status.keys)?;
        out.bytes("kv_state", "Lengths of all keys and values", status.state_bytes)?;
        out.bytes("kv_memory", "Memory that the whole state takes, about", status.state_memory)?;
        out.bytes("kv_quota", "Memory it may take, 0 for any", self.handle.quota().bytes())?;
        let full = self.handle.is_full().into();
        out.gauge("kv_quota_exceeded", "1 while what makes the state larger is refused", full)?;
        out.gauge("http_requests_in_flight", "Requests", self.handle.requests() as u64)?;
        out.gauge("trace_watchers", "Watchers of events", self.handle.watchers() as u64)?;
        out.gauge("kv_watchers", "Watchers of keys", self.handle.key_watchers() as u64)?;
        let waiting = self.handle.key_watch_bytes() as u64;
        out.bytes("kv_watch_queue", "Events that wait for watchers of keys", waiting)?;
        let Some(usage) = self.handle.usage() else { return Ok(()) };
        out.gauge("raft_wal_segments", "Files of the log", usage.log_segments)?;
        out.bytes("raft_wal_disk", "Files of the log", usage.log_bytes)?;
        out.bytes("raft_wal_queue", "Log entries not durable yet", usage.queued_bytes)?;
        out.bytes("raft_wal_reserve", "Files set aside for the log", usage.reserve_bytes)?;
        out.bytes("raft_snapshot_disk", "Files of snapshots", usage.snapshot_bytes)?;
        out.gauge("raft_snapshots", "Snapshots on disk", usage.snapshots)?;
        let progress = usage.snapshot_progress.unwrap_or_default();
        let gauge = ConstGauge::new(progress);
        let (help, kind) = ("How much of a snapshot under way is written", gauge.metric_type());
        gauge.encode(out.0.encode_descriptor(
            "raft_snapshot_progress_ratio",
            help,
            None,
            kind,
        )?)?;
        out.bytes("raft_disk_free", "Free on the disk of the data directory", usage.free_bytes)?;
        out.gauge("raft_disk_full", "1 while new writes are refused for it", usage.full.into())
    }

    fn encode_progress(&self, out: &mut Out<'_>) -> fmt::Result {
        let status = self.handle.status();
        let members = status.membership.peers_of(status.id);
        let differs = members.map(|id| (id, status.differing.contains(&id).into()));
        let help = "1 if that member had another state when it was compared last";
        out.peers("raft_peer_state_differs", help, differs)?;
        let (peers, last) = (&status.peers, status.last.index.0);
        let matched = peers.iter().map(|(id, progress)| (*id, progress.match_index.0));
        out.peers("raft_peer_match_index", "Replicated there", matched)?;
        let lag = peers.iter().map(|(id, it)| (*id, last.saturating_sub(it.match_index.0)));
        out.peers("raft_peer_lag_entries", "Entries not replicated there", lag)?;
        let in_flight = peers.iter().map(|(id, progress)| (*id, progress.in_flight));
        out.peers("raft_peer_in_flight", "Messages with entries not answered", in_flight)
    }

    fn encode_links(&self, out: &mut Out<'_>) -> fmt::Result {
        let links: Vec<_> = self.links.all().into_iter().collect();
        let all = |pick: fn(&LinkState) -> u64| links.iter().map(move |(id, it)| (*id, pick(it)));
        let connected = all(|it| it.connected.into());
        out.peers("raft_peer_connected", "1 if messages can be sent there", connected)?;
        out.peers("raft_peer_queue_messages", "Messages that wait", all(|it| it.queued))?;
        out.peers("raft_peer_queue_bytes", "Bytes that wait", all(|it| it.queued_bytes))?;
        let measured = |it: &LinkState| it.round_trip.map(|span| span.as_secs_f64());
        let round_trips = links.iter().filter_map(|(id, it)| Some((*id, measured(it)?)));
        let gauges = round_trips.map(|(id, seconds)| (id, ConstGauge::new(seconds)));
        out.family("raft_peer_round_trip_seconds", "Last measured", gauges)?;
        out.peer_totals("raft_peer_connects", "Connections made", all(|it| it.connects))?;
        out.peer_totals("raft_peer_failures", "Connections that broke", all(|it| it.failures))?;
        out.peer_totals("raft_peer_dropped_messages", "Not sent", all(|it| it.dropped))?;
        out.peer_totals("raft_peer_sent_bytes", "Sent", all(|it| it.sent_bytes))?;
        out.peer_totals("raft_peer_received_bytes", "Received", all(|it| it.received_bytes))
    }
}

/// Standard process metrics.
fn encode_process(out: &mut Out<'_>) -> fmt::Result {
    let figures = ProcessFigures::now();
    if let Some(seconds) = figures.cpu_seconds {
        let counter = ConstCounter::new(seconds);
        let help = "Time on processors, in user and kernel mode";
        let (unit, kind) = (Some(&Unit::Seconds), counter.metric_type());
        counter.encode(out.0.encode_descriptor("process_cpu", help, unit, kind)?)?;
    }
    if let Some(seconds) = figures.start_time {
        out.seconds("process_start_time", "When the process began, since 1970", seconds)?;
    }
    let gauges = [
        ("process_threads", "Threads", None, figures.threads),
        ("process_open_fds", "Open file descriptors", None, figures.open_fds),
        ("process_max_fds", "File descriptors that it may open", None, figures.max_fds),
        ("process_virtual_memory", "Addresses taken", Some(&Unit::Bytes), figures.virtual_bytes),
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
