//! Starts a server, runs it, and shuts it down.

mod ending;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::kv::{KvStore, Snapshot};
use raft_core::limits::Semantics;
use raft_core::membership::Membership;
use raft_core::replica::{Replica, Start};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{LogPosition, NodeId};
use sd_notify::NotifyState;
use storage::disk::FaultyDisk;
use storage::{self, Opened, Storage, StorageEvent};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::{ConfigError, ServeConfig};
use crate::descriptors::{self, Shares};
use crate::driver::handle::{Handle, Quota};
use crate::driver::{Driver, Inbox, Peers};
use crate::faults::Injector;
use crate::guard::Guard;
use crate::http::{self, App, Origins};
use crate::metrics::Metrics;
use crate::reload;
use crate::supervise::{self, Pulse, Supervisor};
use crate::trace;
use crate::transport::version::is_of_first_release;
use crate::transport::{self, Arrival, Known, LeaseTerms, Secret, Spoken, Transport};
use crate::watch::{self as key_watch, silence_of};
use ending::{Leaving, Running};

/// Everything that a server acquires before it starts. If any part is unavailable, nothing runs.
struct Taken {
    storage: Storage,
    opened: Opened,
    transport: Transport,
    listener: http::Listener,
    faults: Option<Arc<Injector>>,
}

impl Taken {
    /// What the server remembers about its peers and says about itself. It is a stranger if it
    /// starts without data, or has not been added since it did.
    fn known(&self, addresses: &Addresses) -> Known {
        let Opened { snapshot, recovered, .. } = &self.opened;
        let empty = snapshot.is_none() && *recovered == Recovered::default();
        let stranger = empty || recovered.hard_state.stranger_until.is_some();
        Known::new(self.storage.peers(), addresses.clone(), stranger)
    }

    /// Which protocol versions are allowed, given the contents of the data directory.
    fn spoken(&self) -> Spoken {
        let Opened { snapshot, recovered, .. } = &self.opened;
        let spoken = Spoken::default();
        if let Some(snapshot) = snapshot {
            spoken.require(snapshot.store.semantics());
        }
        if !recovered.entries.iter().all(is_of_first_release) {
            spoken.require(Semantics::LATEST);
        }
        spoken
    }
}

/// Runs a server until `stop` is cancelled. Fails if the server cannot start, its disk fails, or a
/// required task ends.
#[expect(clippy::too_many_lines, reason = "one part after the other, in the order of their start")]
pub async fn serve(config: ServeConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let started = Instant::now();
    let (inbox, mut inbox_receiver) = mpsc::unbounded_channel();
    let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let guard = Guard::read(&config)?;
    // Start one blocking thread now. Later calls wait for it if the system allows no other thread;
    // without it, the first blocking call would end the server.
    tokio::task::spawn_blocking(|| ()).await.context("cannot start a thread")?;
    let shares = descriptors::share(config.limits.max_connections)?;
    let mut taken = take(&config, &guard, shares, inbox.clone()).await?;
    found_cluster(&config, &mut taken, &mut inbox_receiver).await?;
    let clock = Clock::start();
    let (client, peer) = (taken.listener.local_address()?, taken.transport.local_address()?);
    let (supervisor, lost) = Supervisor::new();

    let addresses = Addresses::new(config.members.clone());
    let (known, spoken) = (taken.known(&addresses), taken.spoken());
    let replica = start_replica(&config, taken.opened, clock);
    let (tracer, hub, frames) = trace::channel(clock.now());
    supervisor.spawn("the task that encodes events", frames);
    let (faults, deliver) = (taken.faults.clone(), deliver_to(inbox.clone()));
    let (outgoing, links) = taken.transport.start(known, spoken, &supervisor, faults, deliver);
    let peers = Peers::new(config.id, config.members.clone(), addresses.clone(), outgoing);

    let status = Arc::new(ArcSwap::from_pointee(replica.status()));
    let storage = Arc::new(taken.storage);
    let watching = watch_storage(Arc::downgrade(&storage), taken.faults.is_some());
    supervisor.spawn("the task that watches the storage", watching);
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
    )
    .within(Quota::of_bytes(limits.quota_bytes));
    let pulse = Pulse::default();
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
        max_uncommitted_bytes: limits.max_request_bytes,
        feed,
        tracer,
        metrics: metrics.driver.clone(),
        quota: handle.quota(),
        pulse: pulse.clone(),
    };
    let driver = tokio::spawn(supervise::planted("the driver", driver.run()));
    watch_driver(pulse.clone(), inbox.clone())?;
    let compacting = compact(inbox.clone(), limits.compact_interval);
    supervisor.spawn("the timer of compactions", compacting);

    let election_timeout = Duration::from_micros(config.raft.election_timeout_max);
    let draining = CancellationToken::new();
    let (silence, end) = (silence_of(election_timeout), draining.clone());
    supervisor.spawn("the dispatcher of watched keys", async move {
        dispatcher.run(status, silence, end.clone()).await;
        if end.is_cancelled() {
            // The dispatcher ends before the server does; this is not a failure to report.
            std::future::pending::<()>().await;
        }
    });
    let leaving = Leaving {
        handle: handle.clone(),
        faults: taken.faults,
        stop: stop.clone(),
        draining: draining.clone(),
        patience: election_timeout,
        delay: limits.shutdown_delay,
    };
    supervisor.tasks().spawn(leaving.run());
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
        pulse: pulse.clone(),
        started,
        client_read_timeout: limits.client_read_timeout,
        silence: 2 * election_timeout,
        change_timeout: limits.request_timeout
            + Duration::from_micros(config.raft.promotion_timeout),
        forwarder: guard.forwarder,
        reads: http::Reads::new(limits.max_answer_bytes),
        ending: stop.clone(),
        draining: draining.clone(),
        access: guard.access,
        origins: Origins::new(&config.security.cors_origins, client.ip().is_loopback()),
        metrics: metrics.http,
        registry: metrics.registry,
        web_dir: config.web_dir.clone(),
    };
    supervisor.spawn("the task that reloads files", reload::run(guard.watched, hangups));
    Guard::tell(&config.security, client, peer);
    announce(&config, client, peer);
    supervise::notify(&[NotifyState::Ready]);
    let serving = http::serve(taken.listener, Arc::new(app), limits, shares, draining.clone());
    let running = Running { supervisor, lost, driver, inbox, pulse, stop, draining };
    running.until_end(serving).await
}

/// Checks that the driver's loop runs, and notifies the service manager.
fn watch_driver(pulse: Pulse, inbox: mpsc::UnboundedSender<Inbox>) -> anyhow::Result<()> {
    let wake = move || drop(inbox.send(Inbox::Wake));
    let turned = || supervise::notify(&[NotifyState::Watchdog]);
    supervise::watch(pulse, wake, turned).context("cannot start the thread that watches the driver")
}

fn announce(config: &ServeConfig, client: SocketAddr, peer: SocketAddr) {
    tracing::info!(
        id = config.id.0, cluster = config.cluster_id, %client, %peer,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
}

/// Passes what arrives from other servers to the driver.
fn deliver_to(inbox: mpsc::UnboundedSender<Inbox>) -> impl Fn(Arrival) + Send + Sync {
    move |arrival| {
        drop(inbox.send(match arrival {
            Arrival::Messages(delivery) => Inbox::Peer(delivery),
            Arrival::Met { peer, address } => Inbox::Met(peer, address),
            Arrival::Lost(peer) => Inbox::SendFailed(peer),
        }));
    }
}

async fn take(
    config: &ServeConfig,
    guard: &Guard,
    shares: Shares,
    inbox: mpsc::UnboundedSender<Inbox>,
) -> anyhow::Result<Taken> {
    let secret = config.security.read_secret()?;
    let identity = transport::Identity {
        cluster_id: config.cluster_id.clone(),
        id: config.id,
        address: own_address(config),
        lease: config.raft.lease_reads.then_some(LeaseTerms {
            election_timeout_min: config.raft.election_timeout_min,
            max_clock_drift_permille: config.raft.max_clock_drift_permille,
        }),
        secret: Secret::new(secret.as_deref()),
        tls: guard.peer_tls.clone(),
        timings: transport::Timings::of(&config.raft),
        handshakes: shares.handshakes,
    };
    // Bind the addresses first, to stop a second start of the same server here.
    let transport = Transport::bind(&config.peer, identity)
        .await
        .with_context(|| taken_address(&config.peer, "peer"))?;
    // The system decides what `localhost` means, so check the bound address.
    ensure!(
        transport.local_address()?.ip().is_loopback() || config.security.proves_peers(),
        ConfigError::PeersExposed(config.peer.clone())
    );
    let listener = http::Listener::bind(&config.client, guard.tls.clone())
        .await
        .with_context(|| taken_address(&config.client, "client"))?;
    let identity = storage::Identity { cluster: config.cluster_id.clone(), node: config.id };
    let data = config.data.clone();
    let options =
        storage::Options { thread_begun: supervise::planted_here, ..config.storage.clone() };
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
        opening.await.context("a bug ended the opening of the data directory")??;
    ensure!(
        opened.snapshot.is_some() || opened.recovered.tells_members(),
        "{}: the log exists, but the snapshots are gone, and the members of the cluster are \
         unknown. Put the snapshots back if you have them. Otherwise remove this server \
         (`glassraft member remove ID`), empty its directory, start it without --new-cluster, and \
         add it again",
        config.data.display()
    );
    Ok(Taken { storage, opened, transport, listener, faults })
}

fn taken_address(address: &api::address::Address, flag: &str) -> String {
    format!("cannot listen on {address}; choose another address with --{flag}")
}

/// The address at which peers reach this server.
fn own_address(config: &ServeConfig) -> api::address::Address {
    config.members.get(config.id).map_or_else(|| config.peer.clone(), |own| own.peer.clone())
}

/// Makes the first membership durable before this server sends anything. Requires `--new-cluster`:
/// a server that lost its disk must not take its empty directory for a new cluster's.
async fn found_cluster(
    config: &ServeConfig,
    taken: &mut Taken,
    inbox: &mut mpsc::UnboundedReceiver<Inbox>,
) -> anyhow::Result<()> {
    if !config.new_cluster {
        return Ok(());
    }
    ensure!(
        taken.opened.snapshot.is_none() && taken.opened.recovered == Recovered::default(),
        "{} contains the data of a server that ran before. Start it without --new-cluster, or use \
         an empty --data directory for a new cluster",
        config.data.display()
    );
    let meta = SnapshotMeta { last: LogPosition::ZERO, membership: config.members.membership() };
    // A server that joins later replays the whole log, so founders start with the first rules too.
    let snapshot = Snapshot { meta, store: KvStore::under(Semantics::FIRST) };
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
            None => bail!("the storage stopped at the start"),
        }
    }
    let (peers, digest) = (taken.storage.peers(), snapshot.store.digest());
    tokio::task::spawn_blocking(move || peers.note_founding(digest))
        .await
        .context("a bug ended the creation of the cluster")??;
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
             (`glassraft member add`). To create a new cluster, give --new-cluster"
        );
    }
    let start = Start {
        id: config.id,
        config: config.raft.clone(),
        // The snapshot or the log holds the members. Without either, the server is a stranger.
        bootstrap: Bootstrap { membership: Membership::default() },
        recovered: opened.recovered,
        snapshot: opened.snapshot,
        // Every cluster starts with the rules of the first release, and the leader raises them.
        semantics: Semantics::FIRST,
        seed: seed(config.id),
        // Above all event numbers of earlier runs: events are far fewer than microseconds.
        first_seq: now.0,
    };
    Replica::new(start, now, false)
}

/// Election timeouts must differ between servers and between runs.
fn seed(id: NodeId) -> u64 {
    getrandom::u64().unwrap_or(id.0)
}

/// Requests a compaction at regular intervals, to compact a slowly growing log too.
async fn compact(inbox: mpsc::UnboundedSender<Inbox>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        drop(inbox.send(Inbox::Compact));
    }
}

/// Logs when the storage hangs. If writes hang for too long, it gives the storage up: the server
/// then ends, and the service manager notices. If faults are allowed (`played`), it only waits.
async fn watch_storage(storage: Weak<Storage>, played: bool) {
    let mut ticks = interval(storage::PATIENCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(storage) = storage.upgrade() else { return };
        let Some(stall) = storage.stall(storage::PATIENCE) else { continue };
        tracing::error!(since = ?stall.since, "{} hangs: the disk does not answer", stall.what);
        if stall.blocks_writes && stall.since > storage::GIVE_UP && !played {
            storage.give_up(stall.since);
            // The driver ends the server, and this task with it.
            std::future::pending::<()>().await;
        }
    }
}
