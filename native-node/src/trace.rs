//! The stream of events for subscribers, with bounded work for the node.
//!
//! Without subscribers no event is built. The log counts as a subscriber (`--log raft=debug`).
//! Events go in batches to a task that forms frames and encodes each once for all subscribers. When
//! there are too many for a subscriber, none are built for a moment. An [`EventKind::Summarised`]
//! with the resulting state replaces them. A subscriber that reads too slowly catches up in the
//! same way.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use raft_core::codec::{self, FORMAT_VERSION};
use raft_core::event::{Event, EventKind, NodeState};
use raft_core::kv::Command;
use raft_core::log::{Entries, Entry, Payload};
use raft_core::message::{Body, Message};
use raft_core::replica::Replica;
use raft_core::types::{MILLISECOND, Micros, SECOND, Time};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// The number of events per second that are passed on in the long run.
const EVENTS_PER_SECOND: u64 = 2_000;

/// The number of events that are passed on at once after a quiet time.
const BURST: u64 = 4_000;

/// How long no events are built after there were too many.
const PAUSE: Micros = 200 * MILLISECOND;

/// Events within this time share a frame.
const FRAME_TIME: Duration = Duration::from_millis(10);

/// The maximum number of batches between the driver and the task that forms frames.
const BATCHES: usize = 64;

/// How many frames a subscriber may be behind.
const FRAMES: usize = 256;

/// The maximum bytes of entries, and of pairs, in one event.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// Longer values are shortened in events, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Events that are sent together. Each encoding is made once, when the first subscriber needs it.
#[derive(Debug)]
pub struct Frame {
    events: Vec<Event>,
    text: OnceLock<Utf8Bytes>,
    binary: OnceLock<Bytes>,
    /// Whether a subscriber may start with it: its first event is an [`EventKind::Attached`].
    pub fresh: bool,
}

impl Frame {
    fn new(events: &[Event]) -> Self {
        let fresh = matches!(events[0].kind, EventKind::Attached(_));
        let events = events.to_vec();
        Self { events, text: OnceLock::new(), binary: OnceLock::new(), fresh }
    }

    /// The events as a JSON array.
    pub fn text(&self) -> Utf8Bytes {
        let text =
            || serde_json::to_string(&self.events).expect("every event has a JSON form").into();
        self.text.get_or_init(text).clone()
    }

    /// The codec's [`FORMAT_VERSION`] in two little-endian bytes, then the events in the codec's
    /// format. Readers of the same release, such as the web page, then need no JSON parser.
    pub fn binary(&self) -> Bytes {
        let binary = || {
            let mut bytes = FORMAT_VERSION.to_le_bytes().to_vec();
            codec::encode_into(&self.events, &mut bytes);
            bytes.into()
        };
        self.binary.get_or_init(binary).clone()
    }
}

/// The place where subscribers join.
#[derive(Clone, Debug)]
pub struct Hub {
    frames: broadcast::Sender<Arc<Frame>>,
    /// Subscribers that are new or lost frames, and wait for the state.
    waiting: Arc<AtomicUsize>,
}

impl Hub {
    /// Adds a subscriber. The caller must wake the driver afterwards.
    pub fn join(&self) -> broadcast::Receiver<Arc<Frame>> {
        let receiver = self.frames.subscribe();
        self.ask_for_state();
        receiver
    }

    /// Requests the state again, after frames were lost.
    pub fn ask_for_state(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    /// The number of subscribers.
    pub fn watchers(&self) -> usize {
        self.frames.receiver_count()
    }
}

/// The driver's side of the stream.
#[derive(Debug)]
pub struct Tracer {
    hub: Hub,
    batches: mpsc::Sender<Vec<Event>>,
    state: State,
    /// Whether the log shows events.
    logged: bool,
    /// How many events may still be passed on now.
    credit: u64,
    credited_at: Time,
}

#[derive(Debug)]
enum State {
    /// There are no subscribers.
    Off,
    On,
    /// There were too many events. From this event on nothing was passed on.
    Paused {
        first_missing: u64,
        until: Time,
    },
}

/// Creates the two sides and the task between them.
pub fn channel(now: Time) -> (Tracer, Hub, impl Future<Output = ()> + Send) {
    let (batches, receiver) = mpsc::channel(BATCHES);
    let (frames, _) = broadcast::channel(FRAMES);
    let hub = Hub { frames, waiting: Arc::default() };
    let tracer = Tracer {
        hub: hub.clone(),
        batches,
        state: State::Off,
        logged: tracing::enabled!(target: "raft", tracing::Level::DEBUG),
        credit: BURST,
        credited_at: now,
    };
    (tracer, hub.clone(), write_frames(receiver, hub))
}

impl Tracer {
    /// Takes the events that the replica recorded in this batch, and decides what it records next.
    pub fn after_batch(&mut self, replica: &mut Replica, now: Time) {
        let watched = self.hub.watchers() > 0 || self.logged;
        match self.state {
            State::Off if watched => {
                self.hub.waiting.store(0, Relaxed);
                replica.set_tracing(true);
                replica.attach(now);
                self.state = State::On;
            }
            State::Off => return,
            State::On | State::Paused { .. } if !watched => {
                replica.set_tracing(false);
                drop(replica.events());
                self.state = State::Off;
                return;
            }
            State::On => {
                if self.hub.waiting.swap(0, Relaxed) > 0 {
                    replica.attach(now);
                }
            }
            State::Paused { until, .. } if now < until => return,
            State::Paused { first_missing, .. } => {
                self.hub.waiting.store(0, Relaxed);
                replica.set_tracing(true);
                let missing = replica.next_seq().saturating_sub(first_missing);
                replica.summarise(now, missing);
                self.state = State::On;
            }
        }
        self.pass_on(replica, now);
    }

    fn pass_on(&mut self, replica: &mut Replica, now: Time) {
        let earned = now.since(self.credited_at).saturating_mul(EVENTS_PER_SECOND) / SECOND;
        if earned > 0 {
            self.credit = self.credit.saturating_add(earned).min(BURST);
            self.credited_at = now;
        }
        let events: Vec<Event> = replica.events().collect();
        let Some(first) = events.first().map(|event| event.id.seq) else { return };
        self.credit = self.credit.saturating_sub(events.len() as u64);
        let passed = self.batches.try_send(events).is_ok();
        if self.credit == 0 || !passed {
            let first_missing = if passed { replica.next_seq() } else { first };
            replica.set_tracing(false);
            self.state = State::Paused { first_missing, until: now.after(PAUSE) };
        }
    }
}

/// Forms frames from events, for all subscribers.
async fn write_frames(mut batches: mpsc::Receiver<Vec<Event>>, hub: Hub) {
    while let Some(mut events) = batches.recv().await {
        let more = async {
            while let Some(batch) = batches.recv().await {
                events.extend(batch);
            }
        };
        // Events of the same moment share a frame.
        drop(timeout(FRAME_TIME, more).await);
        events.iter_mut().for_each(slim);
        for event in &events {
            let (seq, time_us) = (event.id.seq, event.time.0);
            tracing::debug!(target: "raft", seq, time_us, "{event}");
        }
        if hub.watchers() == 0 {
            continue;
        }
        for frame in cut(&events) {
            // There may be no receiver left.
            drop(hub.frames.send(Arc::new(Frame::new(frame))));
        }
    }
}

/// Splits before each [`EventKind::Attached`]: a subscriber can start there.
fn cut(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    events
        .chunk_by(|_, next| !matches!(next.kind, EventKind::Attached(_)))
        .filter(|frame| !frame.is_empty())
}

/// Shortens what no screen shows in full: long values, many entries, snapshot chunks.
fn slim(event: &mut Event) {
    match &mut event.kind {
        EventKind::Started(state) | EventKind::Attached(state) => slim_state(state),
        EventKind::EntriesAppended { entries, .. } => slim_shared(entries),
        EventKind::MessageSent(message) => slim_message(message),
        EventKind::ClientRequest {
            operation: raft_core::event::RequestKind::Write(command),
            ..
        } => slim_command(command),
        EventKind::Crashed
        | EventKind::Frozen
        | EventKind::Thawed
        | EventKind::RoleChanged { .. }
        | EventKind::LeaderKnown { .. }
        | EventKind::TermChanged { .. }
        | EventKind::VoteGranted { .. }
        | EventKind::VoteRefused { .. }
        | EventKind::VoteCounted { .. }
        | EventKind::TimerArmed { .. }
        | EventKind::TimerFired { .. }
        | EventKind::MessageInTransit { .. }
        | EventKind::MessageReceived { .. }
        | EventKind::MessageDropped { .. }
        | EventKind::LogTruncated { .. }
        | EventKind::LogCompacted { .. }
        | EventKind::WriteStarted { .. }
        | EventKind::WritePersisted { .. }
        | EventKind::WriteFailed { .. }
        | EventKind::CommitAdvanced { .. }
        | EventKind::Applied { .. }
        | EventKind::SnapshotSaved { .. }
        | EventKind::SnapshotInstalled { .. }
        | EventKind::SnapshotIgnored { .. }
        | EventKind::ProgressChanged { .. }
        | EventKind::ClientRequest { .. }
        | EventKind::ClientAnswer { .. }
        | EventKind::ReadsConfirmed { .. }
        | EventKind::ConfigurationAppended { .. }
        | EventKind::ConfigurationCommitted { .. }
        | EventKind::ConfigurationRolledBack { .. }
        | EventKind::PeerDismissed { .. }
        | EventKind::PeerLostLog { .. }
        | EventKind::TransferStarted { .. }
        | EventKind::TransferAborted { .. }
        | EventKind::LeaseRead { .. }
        | EventKind::LinkChanged { .. }
        | EventKind::Fault(_)
        | EventKind::StateDiffers { .. }
        | EventKind::Summarised { .. } => {}
    }
}

fn slim_state(state: &mut NodeState) {
    slim_entries(&mut state.entries);
    let mut bytes = 0;
    for pair in &mut state.pairs {
        pair.value.value = shortened(&pair.value.value);
        bytes += pair.key.len() + pair.value.value.len();
    }
    if bytes > MAX_EVENT_BYTES {
        // They are shown only when there are few.
        state.pairs.clear();
    }
}

/// Like [`slim_entries`], for shared entries.
fn slim_shared(entries: &mut Entries) {
    let mut own = entries.to_vec();
    slim_entries(&mut own);
    *entries = own.into();
}

/// Keeps as many of the newest entries as fit.
fn slim_entries(entries: &mut Vec<Entry>) {
    for entry in &mut *entries {
        if let Payload::Command(command) = &mut entry.payload {
            slim_command(command);
        }
    }
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.size();
        bytes <= MAX_EVENT_BYTES
    };
    let kept = entries.iter().rev().take_while(fits).count();
    entries.drain(..entries.len() - kept);
}

fn slim_message(message: &mut Message) {
    match &mut message.body {
        Body::AppendEntries { entries, .. } => slim_shared(entries),
        Body::InstallSnapshot { chunk, .. } => chunk.data = Bytes::new(),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::AppendEntriesReply { .. }
        | Body::InstallSnapshotReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::StateDigest { .. } => {}
    }
}

fn slim_command(command: &mut Bytes) {
    if command.len() <= MAX_VALUE_BYTES {
        return;
    }
    *command = match Command::decode(command) {
        Ok(Command::Put { key, value, lease }) => {
            let (key, value) = (shortened(&key), shortened(&value));
            Command::Put { key, value, lease }.encode()
        }
        Ok(Command::Delete { key }) => Command::delete(shortened(&key)).encode(),
        // Subscribers see that there was a command, but not its content.
        Ok(_) | Err(_) => command.slice(..MAX_VALUE_BYTES),
    };
}

/// The beginning of a long value, cut where a character begins.
fn shortened(value: &Bytes) -> Bytes {
    if value.len() <= MAX_VALUE_BYTES {
        return value.clone();
    }
    let within = |at: &usize| value[*at] & 0b1100_0000 == 0b1000_0000;
    let end = (0..=MAX_VALUE_BYTES).rev().find(|at| !within(at)).unwrap_or(MAX_VALUE_BYTES);
    let mut short = value[..end].to_vec();
    short.extend("…".as_bytes());
    short.into()
}
