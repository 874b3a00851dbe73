//! `glassraft bench`: throughput and latency of a running cluster, as a client sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use api::kv::Consistency;
use bytes::Bytes;
use clap::Args;
use client::{Client, ClientError};
use futures_util::stream::{self, StreamExt as _};
use hdrhistogram::Histogram;
use hyper::Method;
use raft_core::kv::{KeyRange, Operation};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep_until, timeout_at};

use super::connect::ClientArgs;
use super::{exit, progress};
use crate::config::Span;

/// The prefix of the keys.
const PREFIX: &str = "glassraft-bench/";

/// The prefix of the keys for idle watchers.
const IDLE: &str = "glassraft-bench-idle/";

/// The maximum recorded latency, in µs.
const LONGEST: u64 = 60_000_000;

/// Measure throughput and latency of a running cluster.
///
/// Each client sends its next request when the previous request is answered. With `--rate` each
/// request has a scheduled time, and latencies count from then. The keys are removed at the end.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft bench                                     writes, 64 clients, 10 s
  glassraft bench --clients 1 --duration 5s           the latency of a single client
  glassraft bench --rate 1000 --duration 1m           the latency below the maximum load
  glassraft bench --reads 90 --output json | jq .reads.p99_ms
  glassraft bench --reads 100 --stale --endpoints 127.0.0.1:7002    the reads of one follower
  glassraft bench --clients 32 --watchers 1000        writes while clients watch other keys

The benchmark puts a high load on the cluster and slows down its other clients.")]
pub(super) struct BenchArgs {
    /// The number of concurrent clients
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    clients: u64,
    /// The duration of the benchmark
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Span,
    /// Requests per second of all clients together [default: as many as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The size of a value, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    value_size: usize,
    /// The percentage of reads; the other requests are writes
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    reads: u64,
    /// Read the server's own state, without contacting a quorum
    #[arg(long)]
    stale: bool,
    /// The number of additional watchers, of keys that do not change
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=20_000))]
    watchers: u64,
    /// The number of different keys
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// The results of one client or of all clients.
struct Seen {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    errors: u64,
    last_error: Option<ClientError>,
}

impl Seen {
    fn new() -> Self {
        let empty = || Histogram::new_with_max(LONGEST, 3).expect("the bounds are good");
        Self { reads: empty(), writes: empty(), errors: 0, last_error: None }
    }

    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.errors += other.errors;
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

/// The parameters that all clients share.
struct Plan {
    /// Writes use no sessions: the benchmark does not measure the cost of sessions.
    client: Client,
    value: Bytes,
    keys: u64,
    reads: u64,
    consistency: Consistency,
    /// The time between two requests of a client, if the rate is limited.
    pace: Option<Duration>,
    /// When the clients stop sending.
    end: Instant,
    done: AtomicU64,
}

pub(super) async fn run(arguments: BenchArgs) -> anyhow::Result<()> {
    let BenchArgs { clients, duration, rate, value_size, reads, stale, watchers, keys, client } =
        arguments;
    ensure!(
        value_size <= raft_core::kv::MAX_VALUE_BYTES,
        "--value-size is too large: a value has at most 1 MiB"
    );
    let value = Bytes::from(vec![b'v'; value_size]);
    let loader = client.client_of_these(Duration::ZERO)?;
    // Fail early if the cluster does not accept writes.
    loader.put(format!("{PREFIX}0").as_bytes(), value.clone()).await?;
    // Dropping this set ends the watchers.
    let watching = begin_to_watch(&loader, watchers).await?;
    let start = Instant::now();
    let plan = Arc::new(Plan {
        client: loader,
        value,
        keys,
        reads,
        consistency: if stale { Consistency::Stale } else { Consistency::Linearizable },
        pace: rate.map(|rate| Duration::from_secs(clients) / rate),
        end: start + duration.0,
        done: AtomicU64::new(0),
    });
    let interrupted = exit::interrupted()?;
    let mut workers = JoinSet::new();
    for number in 0..clients {
        // Start the clients evenly spread, to avoid bursts.
        let begin = start
            + plan.pace.unwrap_or_default() * u32::try_from(number)? / u32::try_from(clients)?;
        workers.spawn(work(Arc::clone(&plan), number, begin));
    }
    tokio::select! {
        () = watch(&plan, start) => {}
        signal = interrupted => {
            workers.shutdown().await;
            remove_keys(&plan.client).await?;
            return Err(anyhow::Error::new(signal).context("the measurement is incomplete"));
        }
    }
    let mut seen = Seen::new();
    while let Some(worker) = workers.join_next().await {
        seen.add(worker?);
    }
    let elapsed = start.elapsed();
    drop(watching);
    remove_keys(&plan.client).await?;
    if let (Some(error), 0) = (&seen.last_error, seen.reads.len() + seen.writes.len()) {
        anyhow::bail!("no request succeeded; the last error: {error}");
    }
    let answer = json!({
        "clients": clients, "watchers": watchers, "seconds": elapsed.as_secs_f64(), "value_bytes": value_size,
        "rate": rate, "reads_percent": reads, "consistency": plan.consistency.name(),
        "requests_per_second": per_second(seen.reads.len() + seen.writes.len(), elapsed),
        "errors": seen.errors, "retries": plan.client.retries(),
        "last_error": seen.last_error.as_ref().map(ToString::to_string),
        "reads": figures(&seen.reads, elapsed), "writes": figures(&seen.writes, elapsed),
    });
    client.print(&answer, in_words)
}

/// Starts watchers of keys that do not change; returns when all watches are open.
async fn begin_to_watch(client: &Client, count: u64) -> anyhow::Result<JoinSet<()>> {
    /// How many connections are opened at the same time.
    const AT_ONCE: usize = 64;
    let mut watching = JoinSet::new();
    let mut beginning = stream::iter(0..count)
        .map(|number| async move {
            let mut one = client.watch(&format!("prefix={IDLE}{number}/"), None);
            one.next().await.map(|_| one)
        })
        .buffer_unordered(AT_ONCE);
    while let Some(begun) = beginning.next().await {
        let mut one = begun?;
        watching.spawn(async move { while one.next().await.is_ok() {} });
    }
    Ok(watching)
}

async fn remove_keys(client: &Client) -> Result<(), ClientError> {
    let range = json!({"then": [Operation::DeleteRange(KeyRange::prefix(PREFIX))]});
    client.json(&Method::POST, "/txn", Some(&range)).await.map(drop)
}

/// Waits until the end and shows the progress.
async fn watch(plan: &Plan, start: Instant) {
    const GLANCE: Duration = Duration::from_millis(250);
    let bar = progress::spinner("measuring".to_owned());
    while Instant::now() < plan.end {
        sleep_until((Instant::now() + GLANCE).min(plan.end).into()).await;
        let done = plan.done.load(Ordering::Relaxed);
        bar.set_message(format!("{done} requests, {:.0}/s", per_second(done, start.elapsed())));
    }
    bar.finish_and_clear();
}

async fn work(plan: Arc<Plan>, number: u64, begin: Instant) -> Seen {
    let mut seen = Seen::new();
    // A late request is sent later, and its delay counts as latency.
    let mut pace = plan.pace.map(|pace| interval_at(begin.into(), pace));
    // A pseudorandom sequence of keys and kinds, different for each client.
    let mut draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while Instant::now() < plan.end {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        let key = format!("{PREFIX}{}", (draw >> 8) % plan.keys);
        let reads = draw % 100 < plan.reads;
        let start = match &mut pace {
            Some(pace) => match timeout_at(plan.end.into(), pace.tick()).await {
                Ok(due) => due.into_std(),
                Err(_) => break,
            },
            None => Instant::now(),
        };
        let result = if reads {
            plan.client.get(key.as_bytes(), plan.consistency).await.map(drop)
        } else {
            plan.client.put(key.as_bytes(), plan.value.clone()).await.map(drop)
        };
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(LONGEST);
        match result {
            Ok(()) if reads => seen.reads.saturating_record(micros),
            Ok(()) => seen.writes.saturating_record(micros),
            Err(error) => {
                seen.errors += 1;
                seen.last_error = Some(error);
                continue;
            }
        }
        plan.done.fetch_add(1, Ordering::Relaxed);
    }
    seen
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Throughput and latencies; `null` without requests.
fn figures(histogram: &Histogram<u64>, elapsed: Duration) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    json!({
        "requests": histogram.len(), "per_second": per_second(histogram.len(), elapsed),
        "p50_ms": millis(at(0.5)), "p99_ms": millis(at(0.99)), "p99_9_ms": millis(at(0.999)),
        "max_ms": millis(Duration::from_micros(histogram.max())),
    })
}

fn in_words(answer: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let mut lines = vec![format!(
        "{:<7}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "per s", "p50", "p99", "p99.9", "max"
    )];
    for kind in ["reads", "writes"] {
        let figures = &answer[kind];
        if figures.is_null() {
            continue;
        }
        let millis = ["p50_ms", "p99_ms", "p99_9_ms", "max_ms"]
            .map(|figure| format!("{:>7.2} ms", number(&figures[figure])));
        let per_second = number(&figures["per_second"]);
        lines.push(format!("{kind:<7}{per_second:>10.0}{}", millis.concat()));
    }
    if answer["errors"] != 0 {
        let last = answer["last_error"].as_str().unwrap_or_default();
        lines.push(format!("{} errors; the last error: {last}", answer["errors"]));
    }
    lines.join("\n")
}
