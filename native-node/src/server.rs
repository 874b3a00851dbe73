//! Puts a server together, runs it, and takes it apart again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::kv::{KvStore, Snapshot};
use raft_core::message::SnapshotMeta;
use raft_core::replica::{Replica, Start};
use raft_core::types::{LogPosition, NodeId};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::ServeConfig;
use crate::driver::{Driver, Ended, Inbox};
use crate::handle::Handle;
use crate::http::{self, App, Origins, forward::Forwarder};
use crate::metrics::Metrics;
use crate::storage::{self, Opened, Storage, StorageEvent};
use crate::trace;
use crate::transport::{self, Secret, Transport};

/// Everything that is taken before the server begins: if any of it cannot be had, nothing runs.
struct Taken {
    storage: Storage,
    opened: Opened,
    transport: Transport,
    listener: http::Listener,
}

/// Runs a server until `stop`; an error if it could not start or its disk failed.
pub async fn serve(config: ServeConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let started = Instant::now();
    let (inbox, mut inbox_receiver) = mpsc::unbounded_channel();
    let mut taken = take(&config, inbox.clone()).await?;
    found_cluster(&config, &mut taken, &mut inbox_receiver).await?;
    let clock = Clock::start();
    let (client, peer) = (taken.listener.local_address()?, taken.transport.local_address()?);
    let tasks = TaskTracker::new();
    let background = CancellationToken::new();

    let replica = start_replica(&config, taken.opened, clock);
    check_members(&config, &replica)?;
    let (tracer, hub, frames) = trace::channel(clock.now());
    tasks.spawn(background.clone().run_until_cancelled_owned(frames));
    let to_driver = inbox.clone();
    let deliver = move |delivery| drop(to_driver.send(Inbox::Peer(delivery)));
    let (outgoing, links) = taken.transport.start(&tasks, &background, deliver);

    let status = Arc::new(ArcSwap::from_pointee(replica.status()));
    let storage = Arc::new(taken.storage);
    let limits = config.limits.clone();
    let handle = Handle::new(
        inbox.clone(),
        Arc::clone(&status),
        Admission::new(limits.max_requests, limits.max_request_bytes),
        Arc::downgrade(&storage),
        hub,
        limits.request_timeout,
    );
    let mut metrics = Metrics::default();
    http::register(&mut metrics.registry, &handle, &links);
    let driver = Driver {
        replica,
        clock,
        inbox: inbox_receiver,
        storage,
        outgoing,
        status,
        tracer,
        metrics: metrics.driver.clone(),
    };
    let mut driver = tokio::spawn(driver.run());
    tasks.spawn(
        background
            .clone()
            .run_until_cancelled_owned(compact(inbox.clone(), limits.compact_interval)),
    );

    let draining = stop.child_token();
    let app = App {
        id: config.id,
        cluster_id: config.cluster_id.clone(),
        members: config.members.clone(),
        client: client.into(),
        handle,
        links,
        clock,
        started,
        client_read_timeout: limits.client_read_timeout,
        silence: Duration::from_micros(2 * config.raft.election_timeout_max),
        forwarder: Forwarder::new(limits.request_timeout),
        draining: draining.clone(),
        origins: Origins::new(&config.cors_origins, client.ip().is_loopback()),
        metrics: metrics.http,
        registry: metrics.registry,
        web_dir: config.web_dir.clone(),
    };
    tracing::info!(
        id = config.id.0, cluster = config.cluster_id, %client, %peer,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
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
    tasks.close();
    tasks.wait().await;
    match ended.context("the driver ended because of a bug")? {
        Ended::Stopped(storage) => close(storage).await,
        Ended::DiskFailed(error) => {
            draining.cancel();
            Err(anyhow::Error::new(error).context("the disk failed"))
        }
    }
}

async fn take(config: &ServeConfig, inbox: mpsc::UnboundedSender<Inbox>) -> anyhow::Result<Taken> {
    let secret = config.read_secret()?;
    let identity = transport::Identity {
        cluster_id: config.cluster_id.clone(),
        id: config.id,
        secret: Secret::new(secret.as_deref()),
    };
    // Addresses first: a second start of the same server is told that it runs already.
    let transport = Transport::bind(&config.peer, identity, config.members.clone())
        .await
        .with_context(|| taken_address(&config.peer, "peer"))?;
    let listener = http::Listener::bind(&config.client)
        .await
        .with_context(|| taken_address(&config.client, "client"))?;
    let identity = storage::Identity { cluster: config.cluster_id.clone(), node: config.id };
    let data = config.data.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let events = move |event| drop(inbox.send(Inbox::Storage(event)));
        Storage::open(&data, identity, storage::Options::default(), events)
    });
    let (opened, storage) =
        opening.await.context("opening the data directory ended in a bug")??;
    Ok(Taken { storage, opened, transport, listener })
}

fn taken_address(address: &crate::config::Address, flag: &str) -> String {
    format!("cannot listen on {address}; choose another address with --{flag}")
}

/// Makes the first membership durable before this server says a word: the list of members on the
/// command line founds a cluster, but never changes one that exists.
async fn found_cluster(
    config: &ServeConfig,
    taken: &mut Taken,
    inbox: &mut mpsc::UnboundedReceiver<Inbox>,
) -> anyhow::Result<()> {
    if taken.opened.snapshot.is_some() {
        return Ok(());
    }
    if taken.opened.recovered != Recovered::default() {
        bail!(
            "{} holds a log but not the snapshot that it starts from; copy the directory away and \
             start with an empty one only if the other servers are well",
            config.data.display()
        );
    }
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

/// Every member needs an address, and an address makes nobody a member.
fn check_members(config: &ServeConfig, replica: &Replica) -> anyhow::Result<()> {
    let voters = replica.status().membership.voters;
    let listed = config.members.membership().voters;
    if let Some(missing) = voters.difference(&listed).next() {
        bail!(
            "server {} belongs to this cluster but has no address; add it to --members",
            missing.0
        );
    }
    if let Some(extra) = listed.difference(&voters).next() {
        bail!(
            "server {} is not a member of this cluster, which was founded with {}; remove it from \
             --members, or use an empty --data directory for a new cluster",
            extra.0,
            replica.status().membership
        );
    }
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
    let start = Start {
        id: config.id,
        config: config.raft.clone(),
        bootstrap: Bootstrap { membership: config.members.membership() },
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
