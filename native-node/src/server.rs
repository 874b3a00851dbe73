//! Puts a server together, runs it, and takes it apart again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::event::{RequestRefusal, RoleName};
use raft_core::kv::{KvStore, Snapshot};
use raft_core::membership::Membership;
use raft_core::message::SnapshotMeta;
use raft_core::replica::{Replica, Start};
use raft_core::types::{LogPosition, NodeId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::ServeConfig;
use crate::driver::{Driver, Ended, Inbox, Peers};
use crate::faults::{Faults, Injector};
use crate::guard::Guard;
use crate::handle::{Handle, RequestError};
use crate::http::{self, App, Origins};
use crate::metrics::Metrics;
use crate::reload;
use crate::storage::disk::FaultyDisk;
use crate::storage::{self, Opened, Storage, StorageEvent};
use crate::trace;
use crate::transport::{self, Arrival, Known, Secret, Transport};
use crate::watch::{self as key_watch, silence_of};

/// How long a server that is told to end goes on answering, so that clients learn from its answers
/// to go elsewhere: a request into a connection that ends is one of unknown outcome.
const LET_GO: Duration = Duration::from_millis(250);

/// Everything that is taken before the server begins: if any of it cannot be had, nothing runs.
struct Taken {
    storage: Storage,
    opened: Opened,
    transport: Transport,
    listener: http::Listener,
    faults: Option<Arc<Injector>>,
}

impl Taken {
    /// What the server remembers of others, and says of itself. It is a stranger when it begins
    /// without a past, or has not been let in since it did.
    fn known(&self, addresses: &Addresses) -> Known {
        let Opened { snapshot, recovered, .. } = &self.opened;
        let empty = snapshot.is_none() && *recovered == Recovered::default();
        let stranger = empty || recovered.hard_state.stranger_until.is_some();
        Known::new(self.storage.peers(), addresses.clone(), stranger)
    }
}

/// Runs a server until `stop`; an error if it could not start or its disk failed.
#[expect(clippy::too_many_lines, reason = "one part after the other, in the order of their start")]
pub async fn serve(config: ServeConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let started = Instant::now();
    let (inbox, mut inbox_receiver) = mpsc::unbounded_channel();
    let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let guard = Guard::read(&config)?;
    let mut taken = take(&config, &guard, inbox.clone()).await?;
    if config.new_cluster {
        found_cluster(&config, &mut taken, &mut inbox_receiver).await?;
    }
    let clock = Clock::start();
    let (client, peer) = (taken.listener.local_address()?, taken.transport.local_address()?);
    let tasks = TaskTracker::new();
    let background = CancellationToken::new();

    let addresses = Addresses::new(config.members.clone());
    let known = taken.known(&addresses);
    let replica = start_replica(&config, taken.opened, clock);
    let (tracer, hub, frames) = trace::channel(clock.now());
    spawn(&tasks, &background, frames);
    let (faults, deliver) = (taken.faults.clone(), deliver_to(inbox.clone()));
    let (outgoing, links) = taken.transport.start(known, &tasks, &background, faults, deliver);
    let peers = Peers::new(config.id, config.members.clone(), addresses.clone(), outgoing);

    let status = Arc::new(ArcSwap::from_pointee(replica.status()));
    let storage = Arc::new(taken.storage);
    let limits = config.limits.clone();
    let revisions = watch::Sender::new(0);
    let (watchers, feed, dispatcher) =
        key_watch::channel(limits.max_watchers, limits.max_watch_bytes);
    let handle = Handle::new(
        inbox.clone(),
        Arc::clone(&status),
        Admission::new(limits.max_requests, limits.max_request_bytes),
        Arc::downgrade(&storage),
        hub,
        revisions.clone(),
        watchers,
        limits.request_timeout,
    );
    let mut metrics = Metrics::default();
    http::register(&mut metrics.registry, &handle, &links);
    let driver = Driver {
        replica,
        clock,
        inbox: inbox_receiver,
        storage,
        peers,
        status: Arc::clone(&status),
        revisions,
        feed,
        tracer,
        metrics: metrics.driver.clone(),
    };
    let mut driver = tokio::spawn(driver.run());
    spawn(&tasks, &background, compact(inbox.clone(), limits.compact_interval));

    let election_timeout = Duration::from_micros(config.raft.election_timeout_max);
    let draining = CancellationToken::new();
    let dispatching = dispatcher.run(status, silence_of(election_timeout), draining.clone());
    spawn(&tasks, &background, dispatching);
    let ending = (stop.clone(), draining.clone());
    tasks.spawn(hand_over(handle.clone(), taken.faults, ending.0, ending.1, election_timeout));
    let app = App {
        id: config.id,
        cluster_id: config.cluster_id.clone(),
        founders: config.members.clone(),
        addresses,
        lease_reads: config.raft.lease_reads,
        client: client.into(),
        handle,
        links,
        clock,
        started,
        client_read_timeout: limits.client_read_timeout,
        silence: 2 * election_timeout,
        change_timeout: limits.request_timeout
            + Duration::from_micros(config.raft.promotion_timeout),
        forwarder: guard.forwarder,
        reads: http::Reads::default(),
        ending: stop.clone(),
        draining: draining.clone(),
        access: guard.access,
        origins: Origins::new(&config.security.cors_origins, client.ip().is_loopback()),
        metrics: metrics.http,
        registry: metrics.registry,
        web_dir: config.web_dir.clone(),
    };
    spawn(&tasks, &background, reload::run(guard.watched, hangups));
    Guard::tell(&config.security, client, peer);
    announce(&config, client, peer);
    let serving = http::serve(taken.listener, Arc::new(app), limits, draining.clone());
    let ended = tokio::select! {
        () = serving => {
            tracing::info!("no requests are left; ending");
            drop(inbox.send(Inbox::Stop));
            driver.await
        }
        ended = &mut driver => ended,
    };
    background.cancel();
    // When the disk failed nobody has told so: what waits for the end must not wait for ever.
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    draining.cancel();
    match ended.context("the driver ended because of a bug")? {
        Ended::Stopped(storage) => close(storage).await,
        Ended::DiskFailed(error) => Err(anyhow::Error::new(error).context("the disk failed")),
    }
}

/// Starts something that goes on until the server ends.
fn spawn<T: Send + 'static>(
    tasks: &TaskTracker,
    end: &CancellationToken,
    work: impl Future<Output = T> + Send + 'static,
) {
    tasks.spawn(end.clone().run_until_cancelled_owned(work));
}

fn announce(config: &ServeConfig, client: SocketAddr, peer: SocketAddr) {
    tracing::info!(
        id = config.id.0, cluster = config.cluster_id, %client, %peer,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
}

/// What comes from other servers goes to the driver.
fn deliver_to(inbox: mpsc::UnboundedSender<Inbox>) -> impl Fn(Arrival) + Clone + Send + Sync {
    move |arrival| {
        drop(inbox.send(match arrival {
            Arrival::Messages(delivery) => Inbox::Peer(delivery),
            Arrival::Met { peer, address } => Inbox::Met(peer, address),
        }));
    }
}

async fn take(
    config: &ServeConfig,
    guard: &Guard,
    inbox: mpsc::UnboundedSender<Inbox>,
) -> anyhow::Result<Taken> {
    let secret = config.security.read_secret()?;
    let identity = transport::Identity {
        cluster_id: config.cluster_id.clone(),
        id: config.id,
        address: own_address(config),
        lease: config.lease_terms(),
        secret: Secret::new(secret.as_deref()),
        tls: guard.peer_tls.clone(),
    };
    // Addresses first: a second start of the same server is told that it runs already.
    let transport = Transport::bind(&config.peer, identity)
        .await
        .with_context(|| taken_address(&config.peer, "peer"))?;
    let listener = http::Listener::bind(&config.client, guard.tls.clone())
        .await
        .with_context(|| taken_address(&config.client, "client"))?;
    let identity = storage::Identity { cluster: config.cluster_id.clone(), node: config.id };
    let (data, options) = (config.data.clone(), config.storage.clone());
    let faults = config.security.allow_faults.then(|| Arc::new(Injector::default()));
    let disk_faults = faults.as_ref().map(|faults| faults.disk());
    let opening = tokio::task::spawn_blocking(move || {
        let events = move |event| drop(inbox.send(Inbox::Storage(event)));
        match disk_faults {
            None => Storage::open(&data, identity, options, events),
            Some(switch) => {
                let disk = Arc::new(FaultyDisk::new(switch));
                Storage::open_on(disk, &data, identity, options, events)
            }
        }
    });
    let (opened, storage) =
        opening.await.context("opening the data directory ended in a bug")??;
    Ok(Taken { storage, opened, transport, listener, faults })
}

fn taken_address(address: &crate::config::Address, flag: &str) -> String {
    format!("cannot listen on {address}; choose another address with --{flag}")
}

/// Where the others reach this server.
fn own_address(config: &ServeConfig) -> crate::config::Address {
    config.members.get(config.id).map_or_else(|| config.peer.clone(), |own| own.peer.clone())
}

/// Makes the first membership durable before this server says a word. Only when it is told to: a
/// server that lost its disk must not take its empty directory for a new cluster's.
async fn found_cluster(
    config: &ServeConfig,
    taken: &mut Taken,
    inbox: &mut mpsc::UnboundedReceiver<Inbox>,
) -> anyhow::Result<()> {
    ensure!(
        taken.opened.snapshot.is_none() && taken.opened.recovered == Recovered::default(),
        "{} holds the data of a server that has been running; start it without --new-cluster, or \
         give a new cluster an empty --data directory",
        config.data.display()
    );
    let meta = SnapshotMeta { last: LogPosition::ZERO, membership: config.members.membership() };
    let snapshot = Snapshot { meta, store: KvStore::default() };
    taken.storage.save_snapshot(snapshot.clone());
    loop {
        match inbox.recv().await {
            Some(Inbox::Storage(StorageEvent::SnapshotSaved { .. })) => break,
            Some(Inbox::Storage(
                StorageEvent::SnapshotFailed { error, .. } | StorageEvent::Failed { error, .. },
            )) => {
                return Err(anyhow::Error::new(error).context("cannot write the first snapshot"));
            }
            Some(_) => {}
            None => bail!("the storage ended before it began"),
        }
    }
    taken.opened.snapshot = Some(snapshot);
    Ok(())
}

fn start_replica(config: &ServeConfig, opened: Opened, clock: Clock) -> Replica {
    let now = clock.now();
    let snapshot = opened.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.last.index.0);
    tracing::info!(
        fresh = opened.fresh,
        term = opened.recovered.hard_state.current_term.0,
        snapshot,
        entries = opened.recovered.entries.len(),
        "recovered"
    );
    if opened.snapshot.is_none() && opened.recovered == Recovered::default() {
        tracing::warn!(
            "the data directory is empty: this server waits until it is added to a cluster \
             (`native-node member add`). A new cluster is founded with --new-cluster"
        );
    }
    let start = Start {
        id: config.id,
        config: config.raft.clone(),
        // The members are in the snapshot or the log. Without either it is a stranger.
        bootstrap: Bootstrap { membership: Membership::default() },
        recovered: opened.recovered,
        snapshot: opened.snapshot,
        seed: seed(config.id),
        // Above all numbers of earlier runs: events are far fewer than microseconds.
        first_seq: now.0,
    };
    Replica::new(start, now, false)
}

/// Election timeouts must differ between servers and between runs.
fn seed(id: NodeId) -> u64 {
    getrandom::u64().unwrap_or(id.0)
}

/// Once the server is told to end, lets another one lead before it takes no more requests: the
/// cluster then need not wait until it is missed.
async fn hand_over(
    handle: Handle,
    faults: Option<Arc<Injector>>,
    stop: CancellationToken,
    draining: CancellationToken,
    patience: Duration,
) {
    stop.cancelled().await;
    if let Some(faults) = faults {
        // It must not hang on a fault that it was only playing.
        faults.set(Faults::default());
    }
    let alone = handle.status().membership.voters.len() <= 1;
    let deadline = tokio::time::Instant::now() + patience;
    while handle.status().role == RoleName::Leader
        && !alone
        && let Ok(permit) = handle.admit(0)
    {
        match timeout_at(deadline, handle.transfer_leadership(None, permit)).await {
            Ok(Ok(heir)) => tracing::info!(%heir, "handed leadership over"),
            // It leads since a moment ago and has heard of nobody yet.
            Ok(Err(RequestError::Refused(RequestRefusal::NotAVoter)))
                if tokio::time::Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
            Ok(Err(error)) => tracing::warn!(?error, "could not hand leadership over"),
            Err(_) => tracing::warn!("could not hand leadership over in time"),
        }
        break;
    }
    sleep(LET_GO).await;
    draining.cancel();
}

/// Asks for a compaction now and then, so that a log that grows slowly is compacted too.
async fn compact(inbox: mpsc::UnboundedSender<Inbox>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        drop(inbox.send(Inbox::Compact));
    }
}

/// Writes what waits and closes the data directory.
async fn close(storage: Arc<Storage>) -> anyhow::Result<()> {
    let Some(storage) = Arc::into_inner(storage) else {
        // A request for the disk's figures holds it for a moment; what matters is written anyway
        // when the last one lets go.
        return Ok(());
    };
    let closing = tokio::task::spawn_blocking(move || storage.close());
    closing.await.context("closing the data directory ended in a bug")??;
    tracing::info!("everything is on disk; goodbye");
    Ok(())
}
