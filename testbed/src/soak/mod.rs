//! A cluster of real processes under random faults for as long as one likes, judged all the time.
//!
//! Time is cut into windows. In each, clients write and read keys of that window's own and write
//! down what they saw, while faults come and go; then all is healed, and the window is judged: its
//! history is linearizable, every acknowledged write is found, watchers saw each change once and in
//! order, and all servers hold the same. Then
//! its keys are removed, so that memory and disk stay bounded however long it runs, and that is
//! checked as well. A seed decides what happens; when it happens depends on the machine.

mod deeds;
mod figures;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use native_node::http::request::Consistency;

use crate::cluster::{Cluster, eventually};
use crate::faults::{ALLOW_FAULTS, Plan};
use crate::load::{InSession, Load, LoadOptions, Seen};
use crate::watchers::{self, Watchers};
use deeds::Deed;
use figures::Figures;
pub use report::{DeedReport, Report};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// For how long new windows begin.
    pub time: Duration,
    /// Decides on servers and faults.
    pub seed: u64,
    /// How many servers; from three to five by the seed if nothing is said.
    pub servers: Option<u16>,
}

/// Small figures, so that segments, snapshots and full disks all come often.
const ARGUMENTS: [&str; 5] = [
    ALLOW_FAULTS,
    "--segment-bytes=1048576",
    "--compact-after-entries=5000",
    "--keep-entries=500",
    "--compact-interval=20s",
];

/// How many clients there are, and how long each rests after a request: what bounds the rate.
const CLIENTS: u64 = 6;
const PAUSE: Duration = Duration::from_millis(8);

/// How many watch the keys of a window.
const WATCHERS: usize = 3;

/// No server may use more memory or disk at any time, in bytes: far more than it should need for
/// what it holds, far less than without bounds.
const MAX_MEMORY: u64 = 256 << 20;
const MAX_DISK: u64 = 128 << 20;

/// The search through a history may take so long; longer ones are counted as not judged.
const MAX_SEARCH: Duration = Duration::from_mins(1);

impl Soak {
    /// Runs it. Panics with what went wrong; a report comes only when nothing did.
    pub async fn run(self) -> Report {
        let mut rng = Rng::with_seed(self.seed);
        let servers = self.servers.unwrap_or_else(|| rng.u16(3..=5));
        println!("soak: seed {}, {servers} servers, {:?}", self.seed, self.time);
        let mut report = Report::new(self.seed, servers);
        let mut cluster = Cluster::start_with(servers, &ARGUMENTS);
        cluster.leader().await;
        let start = Instant::now();
        while start.elapsed() < self.time {
            let number = report.windows;
            let mut window = Window { cluster: &mut cluster, rng: &mut rng, report: &mut report };
            window.run(number).await;
            report.windows += 1;
        }
        report.seconds = start.elapsed().as_secs();
        cluster.converged().await;
        check_logs(&cluster);
        report
    }
}

/// What a window works with.
struct Window<'a> {
    cluster: &'a mut Cluster,
    rng: &'a mut Rng,
    report: &'a mut Report,
}

impl Window<'_> {
    async fn run(&mut self, number: u64) {
        let base = self.base();
        self.cluster.apply(&base).await;
        let options = LoadOptions {
            prefix: format!("w{number}/"),
            pause: PAUSE,
            sessions: InSession::Half,
            ..LoadOptions::new(CLIENTS)
        };
        let servers: Vec<_> = self.cluster.ids().map(|id| self.cluster.address(id)).collect();
        let watchers = Watchers::start(WATCHERS, &options.prefix, &servers, self.rng.u64(..));
        watchers.reach(0).await;
        let load = Load::with(options, &servers);
        load.more_writes(20).await;
        let mut names = Vec::new();
        for _ in 0..self.rng.u32(1..=3) {
            let deed = Deed::draw(self.rng);
            names.push(deed.name());
            self.disturb(deed, &base, &load).await;
        }
        self.cluster.heal().await;
        load.more_writes(20).await;
        self.report.acknowledged += load.acknowledged();
        self.report.unknown += load.unknown();
        let (writes, unknown) = (load.acknowledged(), load.unknown());
        let seen = load.finish().await;
        println!("window {number}: {}; {writes} writes, {unknown} unknown", names.join(", "));
        watchers.reach(self.cluster.converged().await.state.revision).await;
        let sequences = watchers.finish().await;
        // Whoever is away for too long begins anew, and may have missed a key.
        let kept = if sequences.len() == WATCHERS { &seen.kept[..] } else { &[] };
        watchers::judge(&sequences, kept);
        self.judge(seen).await;
    }

    /// In every third window links are slow and lose messages all the time.
    fn base(&mut self) -> Plan {
        let mut plan = Plan::default();
        if self.rng.u32(0..3) == 0 {
            let ids: Vec<usize> = self.cluster.ids().collect();
            for from in &ids {
                for to in ids.iter().filter(|to| *to != from) {
                    let link = plan.of(*from).link(*to as u64);
                    link.delay_ms = self.rng.u64(0..15);
                    link.drop_permille = self.rng.u32(0..30);
                }
            }
        }
        plan
    }

    /// One fault, from its beginning to the first write after its end.
    async fn disturb(&mut self, deed: Deed, base: &Plan, load: &Load) {
        load.more_writes(1).await;
        load.take_longest_gap();
        let mut figures = Figures::default();
        deed.perform(self.cluster, self.rng, base, &mut figures).await;
        let healed = Instant::now();
        load.more_writes(1).await;
        let recovery = healed.elapsed();
        figures.look(self.cluster);
        let outage = load.take_longest_gap();
        self.report.add(deed.name(), outage, recovery, &figures);
        assert!(
            figures.memory <= MAX_MEMORY && figures.disk <= MAX_DISK,
            "a server used {} bytes of memory and {} of disk at most, more than {MAX_MEMORY} and \
             {MAX_DISK}",
            figures.memory,
            figures.disk
        );
    }

    /// All is whole again: whatever clients were told must be so.
    async fn judge(&mut self, mut seen: Seen) {
        let ended = self.cluster.ended_by_themselves();
        assert!(ended.is_empty(), "servers {ended:?} ended by themselves");
        let client = self.cluster.any_client();
        seen.read_the_end(&client).await;
        let missing = seen.missing(&client).await;
        assert!(missing.is_empty(), "acknowledged, and not found again: {missing:?}");
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

/// What disks are filled with.
const FILLER: Bytes = Bytes::from_static(&[b'f'; 64 << 10]);

/// Fills the leader's disk as far as it goes, and waits until another one leads.
async fn fill_leader(cluster: &Cluster, leader: usize) {
    let client = cluster.client(leader).with_patience(Duration::from_secs(2));
    let other = async || {
        // Refused or not: the next look says what came of it.
        drop(client.put(b"fill", FILLER).await);
        let status = cluster.status(leader).await?;
        status.leader.filter(|place| place.id.0 != leader as u64).map(drop)
    };
    eventually("another one leads, whose disk has room", other).await;
}

/// Fills all disks as far as they go and checks that reads go on meanwhile.
async fn fill_all(cluster: &Cluster, leader: usize) {
    let client = cluster.client(leader).with_patience(Duration::from_secs(2));
    let full = async || {
        let error = client.put(b"fill", FILLER).await.err()?;
        error.to_string().contains("no room").then_some(())
    };
    eventually("the full disks are noticed", full).await;
    let read = async || client.get(b"fill", Consistency::Linearizable).await.ok().flatten();
    let read = eventually("reads go on", read).await;
    assert_eq!(read.len(), FILLER.len());
}

/// A bug of a server shows in its log, even if nobody else noticed.
fn check_logs(cluster: &Cluster) {
    for id in cluster.ids() {
        let log = std::fs::read_to_string(cluster.log(id)).unwrap();
        if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
            panic!("server {id} has a bug: {line}");
        }
    }
}

/// Flips a bit of a file, somewhere in its first `of_the_first` bytes.
fn flip(file: &Path, rng: &mut Rng, of_the_first: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let place = rng.usize(0..bytes.len().min(of_the_first));
    bytes[place] ^= 1 << rng.u32(0..8);
    std::fs::write(file, bytes).unwrap();
}
