//! Soak test: a cluster of real processes under random faults for any length of time, checked
//! continuously.
//!
//! Time is divided into windows. In each window, clients write and read keys of that window and
//! record what they see, while faults start and end. Then all faults are removed, and the window is
//! judged:
//!
//! - Its history is linearizable.
//! - Every acknowledged write is found.
//! - Watchers saw each change once and in order.
//! - All servers have the same state.
//!
//! Then the keys of the window are removed, to keep memory, disk and open files bounded; this is
//! checked too. A seed decides which faults happen. When they happen depends on the machine.
//!
//! Servers and some clients connect over a simulated network ([`crate::network`]). Each server runs
//! in a control group with a memory limit if the system supports it.
//!
//! **Invariant:** Each window has its own keys, which are judged and then removed. The search
//! through a history, memory and disk stay bounded, however long the soak runs.

mod faults;
mod field;
mod figures;
mod links;
mod report;
mod starved;
mod strangers;

use std::path::Path;
use std::time::{Duration, Instant};

use api::address::Address;
use api::kv::Consistency;
use bytes::Bytes;
use fastrand::Rng;

use crate::cluster::{Cluster, Limits, eventually};
use crate::faults::ALLOW_FAULTS;
use crate::load::{InSession, Load, LoadOptions, Seen};
use crate::network::Network;
use crate::usage::MemoryGroup;
use crate::watchers::{self, Watchers};
use faults::Fault;
use field::{Base, Field, UNLIMITED};
use figures::Figures;
pub use report::{FaultReport, Report};

/// Configuration of a soak.
#[derive(Clone, Debug, Default)]
pub struct Soak {
    /// Time during which new windows start.
    pub time: Duration,
    /// Seed for the number of servers and the faults.
    pub seed: u64,
    /// Number of servers; `None` lets the seed choose three to five.
    pub servers: Option<u16>,
    /// Runs only faults whose names contain this.
    pub only: String,
    /// Skips faults whose names contain this, unless it is empty.
    pub skip: String,
}

/// Small limits, to make new segments, snapshots, full disks, rejections and cuts frequent.
/// Election timeouts fit the longest links.
const ARGUMENTS: [&str; 16] = [
    ALLOW_FAULTS,
    "--open-metrics",
    "--segment-bytes=1048576",
    "--compact-after-entries=5000",
    "--keep-entries=500",
    "--keep-bytes=16777216",
    "--compact-interval=20s",
    "--election-timeout-min=500ms",
    "--election-timeout-max=1s",
    "--max-connections=256",
    "--max-watchers=64",
    "--max-requests=100",
    "--max-request-bytes=16777216",
    "--max-answer-bytes=16777216",
    "--client-read-timeout=5s",
    "--client-write-timeout=5s",
];

/// Number of clients; with [`PAUSE`] after each request, it bounds the rate.
const CLIENTS: u64 = 6;

/// Number of these clients that use the simulated network.
const FAR_CLIENTS: u64 = 2;

const PAUSE: Duration = Duration::from_millis(8);

/// Number of watchers in each window.
const WATCHERS: usize = 3;

/// Maximum memory of a server at any time, in bytes. With these settings OPERATIONS.md promises 16
/// MiB each for the log, requests and responses. It adds 64 for a slow disk, 16 for each of four
/// other servers, and some 40 for 256 connections. The state counts twice and is small.
const MAX_MEMORY: u64 = 256 << 20;

/// Maximum size of a data directory, in bytes: far more than needed for its content, and far less
/// than without compaction.
const MAX_DISK: u64 = 128 << 20;

/// Maximum number of open files: two for each client connection, 64 for health checks, and 100 for
/// everything else.
const MAX_FILES: u64 = 2 * 256 + 64 + 100;

/// Timeout of a history search; a longer search counts as not judged.
const MAX_SEARCH: Duration = Duration::from_mins(1);

impl Soak {
    /// Runs the soak.
    ///
    /// # Panics
    /// When a check fails.
    pub async fn run(self) -> Report {
        // Hostile clients open many connections.
        native_node::descriptors::share(1).unwrap();
        let mut rng = Rng::with_seed(self.seed);
        let servers = self.servers.unwrap_or_else(|| rng.u16(3..=5));
        println!("soak: seed {}, {servers} servers, {:?}", self.seed, self.time);
        let mut report = Report::new(self.seed, servers);
        let faults = Fault::named(&self.only, &self.skip);
        assert!(!faults.is_empty(), "no fault has such a name; docs/SOAK.md lists the names");
        // Declared before the cluster, to be dropped after it.
        let groups: Vec<_> = (0..servers).map_while(|_| MemoryGroup::new(MAX_MEMORY)).collect();
        if groups.is_empty() {
            println!("soak: no control groups here; memory is measured, but not limited");
        }
        let mut cluster = Cluster::prepare(servers, &ARGUMENTS);
        let token = cluster.ask_for_tokens();
        for (id, group) in cluster.ids().zip(&groups) {
            let group = Some(group.path().to_owned());
            cluster.limit(id, Limits { group, files: None });
        }
        let mut network = Network::between(&mut cluster, UNLIMITED).await;
        let far = network.client_addresses(&cluster).await;
        cluster.start_all();
        cluster.leader().await;
        let start = Instant::now();
        while start.elapsed() < self.time {
            let number = report.windows;
            let mut window = Window {
                cluster: &mut cluster,
                network: &network,
                far: &far,
                faults: &faults,
                token: &token,
                rng: &mut rng,
                report: &mut report,
            };
            window.run(number).await;
            report.windows += 1;
        }
        report.seconds = start.elapsed().as_secs();
        cluster.converged().await;
        check_logs(&cluster);
        report
    }
}

/// The objects that a window works with.
struct Window<'a> {
    cluster: &'a mut Cluster,
    network: &'a Network,
    /// Client addresses of the servers over the simulated network.
    far: &'a [Address],
    token: &'a str,
    faults: &'a [Fault],
    rng: &'a mut Rng,
    report: &'a mut Report,
}

impl Window<'_> {
    async fn run(&mut self, number: u64) {
        let base = Base::draw(self.cluster, self.network, self.rng);
        base.restore(self.network);
        self.cluster.apply(&base.plan).await;
        let options = LoadOptions {
            prefix: format!("w{number}/"),
            pause: PAUSE,
            sessions: InSession::Half,
            token: self.cluster.token().cloned(),
            far: self.far.to_vec(),
            far_clients: FAR_CLIENTS,
            ..LoadOptions::new(CLIENTS)
        };
        let servers: Vec<_> = self.cluster.ids().map(|id| self.cluster.address(id)).collect();
        let everywhere = [&servers, self.far].concat();
        let (token, draw) = (self.cluster.token(), self.rng.u64(..));
        let watchers = Watchers::start(WATCHERS, &options.prefix, &everywhere, token, draw);
        watchers.reach(0).await;
        let load = Load::with(options, &servers);
        load.more_writes(20).await;
        let mut names = Vec::new();
        for _ in 0..self.rng.u32(1..=3) {
            let fault = self.faults[self.rng.usize(..self.faults.len())];
            names.push(fault.name());
            self.disturb(fault, &base, &load).await;
        }
        self.cluster.heal().await;
        for (from, to) in self.network.pairs() {
            self.network.change(from, to, |now| *now = UNLIMITED);
        }
        load.more_writes(20).await;
        self.report.acknowledged += load.acknowledged();
        self.report.unknown += load.unknown();
        let (writes, unknown) = (load.acknowledged(), load.unknown());
        let seen = load.finish().await;
        println!("window {number}: {}; {writes} writes, {unknown} unknown", names.join(", "));
        watchers.reach(self.cluster.converged().await.state.revision).await;
        let sequences = watchers.finish().await;
        // A watcher that is away for too long starts again and may have missed a key.
        let kept = if sequences.len() == WATCHERS { &seen.kept[..] } else { &[] };
        watchers::judge(&sequences, kept);
        self.judge(seen).await;
    }

    /// Runs a fault, from its start to the first write after its end.
    async fn disturb(&mut self, fault: Fault, base: &Base, load: &Load) {
        load.more_writes(1).await;
        load.take_longest_gap();
        let mut field = Field {
            cluster: self.cluster,
            network: self.network,
            rng: self.rng,
            base,
            load,
            token: self.token,
            figures: Figures::default(),
        };
        fault.perform(&mut field).await;
        let healed = Instant::now();
        load.more_writes(1).await;
        let recovery = healed.elapsed();
        let mut figures = field.figures;
        figures.look(self.cluster);
        let outage = load.take_longest_gap();
        self.report.add(fault.name(), outage, recovery, &figures);
        assert!(
            figures.memory <= MAX_MEMORY && figures.disk <= MAX_DISK && figures.files <= MAX_FILES,
            "{}: a server used too much: {figures:?}. Allowed are {MAX_MEMORY} bytes of memory, \
             {MAX_DISK} of disk and {MAX_FILES} open files",
            fault.name()
        );
    }

    /// Checks, after all faults are removed, that what clients were told is true.
    async fn judge(&mut self, mut seen: Seen) {
        let ended = self.cluster.ended_by_themselves();
        assert!(ended.is_empty(), "servers {ended:?} ended unexpectedly");
        let client = self.cluster.any_client();
        seen.read_the_end(&client).await;
        let missing = seen.missing(&client).await;
        assert!(missing.is_empty(), "acknowledged writes are missing: {missing:?}");
        self.report.operations += seen.operations.len() as u64;
        self.report.kept += seen.kept.len() as u64;
        let history = seen.clone();
        let search = tokio::task::spawn_blocking(move || history.check());
        match tokio::time::timeout(MAX_SEARCH, search).await {
            Ok(verdict) => {
                if let Err(violation) = verdict.unwrap() {
                    panic!("{violation}");
                }
            }
            Err(_) => self.report.not_judged += 1,
        }
        self.cluster.converged().await;
        seen.remove_all(&client).await;
        check_logs(self.cluster);
    }
}

/// Value that fills disks.
const FILLER: Bytes = Bytes::from_static(&[b'f'; 64 << 10]);

/// Fills the leader's disk and waits until another server leads.
async fn fill_leader(cluster: &Cluster, leader: usize) {
    let client = cluster.client(leader).with_patience(Duration::from_secs(2));
    let other = async || {
        // Ignore the result: the status below decides.
        drop(client.put(b"fill", FILLER).await);
        let status = cluster.status(leader).await?;
        status.leader.filter(|place| place.id.0 != leader as u64).map(drop)
    };
    eventually("another server leads, whose disk has space", other).await;
}

/// Fills all disks and checks that reads still succeed.
async fn fill_all(cluster: &Cluster, leader: usize) {
    let client = cluster.client(leader).with_patience(Duration::from_secs(2));
    let full = async || {
        let error = client.put(b"fill", FILLER).await.err()?;
        error.to_string().contains("no room").then_some(())
    };
    eventually("the leader notices the full disks", full).await;
    let read = async || client.get(b"fill", Consistency::Linearizable).await.ok().flatten();
    let read = eventually("reads still succeed", read).await;
    assert_eq!(read.len(), FILLER.len());
}

/// Checks that no server's log reports a panic.
fn check_logs(cluster: &Cluster) {
    for id in cluster.ids() {
        let log = std::fs::read_to_string(cluster.log(id)).unwrap();
        if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
            panic!("server {id} has a bug: {line}");
        }
    }
}

/// Flips a random bit in the first `of_the_first` bytes of a file.
fn flip(file: &Path, rng: &mut Rng, of_the_first: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let place = rng.usize(0..bytes.len().min(of_the_first));
    bytes[place] ^= 1 << rng.u32(0..8);
    std::fs::write(file, bytes).unwrap();
}
