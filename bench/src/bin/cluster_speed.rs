//! Measures three real servers, and three of etcd if available. `cargo xtask bench` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::cluster::{Cluster, Contender, Setup};
use bench::etcd::{self, CLIENTS, Comparison};
use bench::failover::{self, ELECTION_TIMEOUT, Failovers};
use bench::load::{self, Interface, Load, Work};
use bench::report::{Machine, first_line};
use bench::versions::{self, Versions};
use bench::{disk, plot, snapshots, watching};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::task::LocalSet;

/// Number of keys in measurements that do not vary it.
const KEYS: u64 = 10_000;

/// Measure three real servers
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

#[derive(Args)]
struct Options {
    /// Path of the server program
    #[arg(long)]
    server: PathBuf,
    /// Path of the etcd program; without it nothing is compared
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Directory for figures, plots and the servers' data
    #[arg(long)]
    output: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Measure throughput and latency by number of clients
    Etcd {
        /// Number of measurements of each figure
        #[arg(long)]
        rounds: usize,
        /// Duration of each measurement, in seconds
        #[arg(long)]
        seconds: u64,
        /// Kind of load to measure; repeatable, all by default
        #[arg(long)]
        work: Vec<Work>,
        /// Number of clients; repeatable, 1, 64, 256 and 1000 by default
        #[arg(long)]
        clients: Vec<usize>,
    },
    /// Measure this build of the server beside another one
    Versions {
        /// Path of the other server program
        #[arg(long)]
        before: PathBuf,
        /// Number of pairs of turns for each figure
        #[arg(long)]
        rounds: usize,
        /// Duration of each turn, in seconds
        #[arg(long)]
        seconds: u64,
    },
    /// Measure the time from kill -9 of the leader to the first write
    Failover {
        /// Number of times that each cluster's leader is killed
        #[arg(long)]
        kills: usize,
    },
    /// Measure the cost of snapshots of many keys
    Snapshot {
        /// Number of keys in the store
        #[arg(long)]
        keys: u64,
        /// Duration of each measurement, in seconds
        #[arg(long)]
        seconds: u64,
    },
    /// Measure the cost of a page that follows the servers' events
    Trace {
        /// Number of measurements of each figure
        #[arg(long)]
        rounds: usize,
        /// Duration of each measurement, in seconds
        #[arg(long)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    // A single thread, to leave the other processors to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        tokio::select! {
            done = perform(cli) => done,
            // Dropping the other future ends the servers.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    }))
}

async fn perform(cli: Cli) -> Result<()> {
    let Cli { options, what } = cli;
    match what {
        What::Etcd { rounds, seconds, work, clients } => {
            let work = if work.is_empty() { Work::ALL.to_vec() } else { work };
            let clients = if clients.is_empty() { CLIENTS.to_vec() } else { clients };
            compare(&options, rounds, seconds, &work, &clients).await
        }
        What::Versions { before, rounds, seconds } => {
            side_by_side(&options, before, rounds, seconds).await
        }
        What::Failover { kills } => fail_over(&options, kills).await,
        What::Snapshot { keys, seconds } => snapshot(&options, keys, seconds).await,
        What::Trace { rounds, seconds } => trace(&options, rounds, seconds).await,
    }
}

async fn compare(
    options: &Options,
    rounds: usize,
    seconds: u64,
    work: &[Work],
    clients: &[usize],
) -> Result<()> {
    let mut clusters = Vec::new();
    for contender in [Contender::Glassraft, Contender::Etcd] {
        clusters.extend(start(options, contender, None).await?);
    }
    for cluster in &clusters {
        load::fill(cluster, KEYS).await?;
    }
    let disk = disk::measure(&options.output)?;
    let mut measured = Vec::new();
    for &work in work {
        for &clients in clients {
            eprintln!("{}, {clients} clients", work.name());
            let lasting = Duration::from_secs(seconds);
            let load = Load { work, clients, lasting, keys: KEYS };
            let row = etcd::measure(&clusters, load, rounds).await?;
            for interface in Interface::ALL {
                if let Some(throughput) = row.median(interface, |it| it.throughput) {
                    eprintln!("  {throughput:.0}/s by {}", interface.name());
                }
            }
            measured.push(row);
        }
    }
    let comparison = Comparison {
        machine: Machine::this(),
        etcd: version(options),
        disk,
        seconds,
        rows: measured,
    };
    println!("{comparison}");
    write(options, "etcd", &comparison)?;
    plot::comparison(&comparison, &options.output.join("etcd.svg"))
}

async fn side_by_side(
    options: &Options,
    before: PathBuf,
    pairs: usize,
    seconds: u64,
) -> Result<()> {
    let cluster = async |program: PathBuf, name: &str| {
        let directory = options.output.join("data").join(name);
        let contender = Contender::Glassraft;
        let setup = Setup { contender, program, directory, election_timeout: None };
        let cluster = Cluster::start(setup).await?;
        load::fill(&cluster, KEYS).await?;
        Ok::<_, anyhow::Error>(cluster)
    };
    let before = cluster(before, "before").await?;
    let now = cluster(options.server.clone(), "now").await?;
    let mut rows = Vec::new();
    for work in Work::ALL {
        for clients in versions::CLIENTS {
            for interface in [Interface::Http, Interface::Grouped] {
                if interface.can(work) {
                    eprintln!("{}, {clients} clients, {}", work.name(), interface.name());
                    let lasting = Duration::from_secs(seconds);
                    let load = Load { work, clients, lasting, keys: KEYS };
                    rows.push(versions::measure([&before, &now], interface, load, pairs).await?);
                }
            }
        }
    }
    let report = Versions { machine: Machine::this(), seconds, rows };
    println!("{report}");
    write(options, "versions", &report)
}

async fn fail_over(options: &Options, kills: usize) -> Result<()> {
    let mut failovers = Vec::new();
    for contender in [Contender::Glassraft, Contender::Etcd] {
        let Some(mut cluster) = start(options, contender, Some(ELECTION_TIMEOUT)).await? else {
            continue;
        };
        let mut row = Failovers { contender, milliseconds: Vec::new() };
        for kill in 1..=kills {
            let took = failover::once(&mut cluster).await?;
            eprintln!("{} {kill}/{kills}: {} ms", contender.name(), took.as_millis());
            row.milliseconds.push(took.as_secs_f64() * 1000.0);
        }
        failovers.push(row);
    }
    let report = failover::Report { machine: Machine::this(), etcd: version(options), failovers };
    println!("{report}");
    write(options, "failover", &report)?;
    plot::failovers(&report, &options.output.join("failover.svg"))
}

async fn snapshot(options: &Options, keys: u64, seconds: u64) -> Result<()> {
    let cluster = start(options, Contender::Glassraft, None).await?;
    let mut cluster = cluster.context("the server did not start")?;
    let lasting = Duration::from_secs(seconds);
    let load = Load { work: Work::Put, clients: 64, lasting, keys };
    let report = snapshots::measure(&mut cluster, load, 3).await?;
    println!("{report}");
    write(options, "snapshot", &report)
}

async fn trace(options: &Options, rounds: usize, seconds: u64) -> Result<()> {
    let cluster = start(options, Contender::Glassraft, None).await?;
    let cluster = cluster.context("the server did not start")?;
    load::fill(&cluster, KEYS).await?;
    let lasting = Duration::from_secs(seconds);
    let load = Load { work: Work::Put, clients: 256, lasting, keys: KEYS };
    let report = watching::measure(&cluster, load, rounds).await?;
    println!("{report}");
    write(options, "trace", &report)
}

/// Starts a cluster; `None` for etcd if no program is given.
async fn start(
    options: &Options,
    contender: Contender,
    election_timeout: Option<Duration>,
) -> Result<Option<Cluster>> {
    let program = match contender {
        Contender::Glassraft => Some(options.server.clone()),
        Contender::Etcd => options.etcd.clone(),
    };
    let Some(program) = program else { return Ok(None) };
    let directory = options.output.join("data").join(contender.name());
    let setup = Setup { contender, program, directory, election_timeout };
    Cluster::start(setup).await.map(Some)
}

fn version(options: &Options) -> Option<String> {
    options.etcd.as_deref().and_then(Path::to_str).map(|etcd| first_line(etcd, &["--version"]))
}

fn write(options: &Options, name: &str, report: &impl Serialize) -> Result<()> {
    let file = options.output.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(report)?)
        .with_context(|| format!("cannot write {}", file.display()))
}
