//! The replicated key-value state.

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::changes::{Change, Changes};
use super::command::{Answer, Applied, Command, Expected, Refusal, UnknownCommand};
use super::expiry::Expiring;
use super::lease::Lease;
use super::range::KeyRange;
use super::session::Session;
use super::transaction::{Comparison, Operation, OperationResult, Transaction};
use crate::digest;
use crate::limits::{PAIR_MEMORY, PAIR_OVERHEAD, Semantics};
use crate::rules::Rules;
use crate::types::{LeaseId, Micros, SessionId};

/// A value and its revisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The bytes of the value.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub value: Bytes,
    /// The store's revision when the key was created.
    pub create_revision: u64,
    /// The store's revision when the key last changed.
    pub mod_revision: u64,
    /// How often the key was set since its creation; 1 for a new key.
    pub version: u64,
    /// The lease to which the key is attached.
    pub lease: Option<LeaseId>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// The value and its revisions.
    pub value: Versioned,
}

impl Pair {
    /// The maximum encoded size in bytes.
    pub(super) const fn bytes(&self) -> usize {
        PAIR_OVERHEAD + self.key.len() + self.value.value.len()
    }
}

/// The replicated map, with leases and sessions. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    pub(super) keys: OrdMap<Bytes, Versioned>,
    pub(super) revision: u64,
    /// The sum of the hashes of all pairs, updated with each change.
    pub(super) pairs_digest: u64,
    /// The total length of all keys and values, in bytes.
    pub(super) bytes: u64,
    /// The replicated clock: the time during which the cluster had leaders, in µs.
    pub(super) clock: Micros,
    /// The number of the latest lease or session.
    pub(super) last_id: u64,
    pub(super) leases: Expiring<Lease>,
    pub(super) sessions: Expiring<Session>,
    /// The answers to named requests.
    pub(super) named: Expiring<Session>,
    /// The keys that are attached to each lease.
    pub(super) tied: OrdSet<(LeaseId, Bytes)>,
    pub(super) changes: Changes,
    /// The rules by which commands are applied.
    pub(super) semantics: Semantics,
}

/// The clock, leases and sessions of a store, for displays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timekeeping {
    /// The store's clock, in µs.
    pub clock: Micros,
    /// The number of the latest lease or session.
    pub last_id: u64,
    /// The leases.
    pub leases: Vec<(LeaseId, Lease)>,
    /// The sessions, and after them the answers to named requests.
    pub sessions: Vec<(SessionId, Session)>,
}

impl KvStore {
    // Reading

    /// The number of commands that have changed keys.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the store has no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The total length of all keys and values, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The approximate memory of the state in bytes: keys and values, leases, sessions and
    /// remembered answers.
    pub fn memory(&self) -> u64 {
        let beside = self.leases.memory() + self.sessions.memory() + self.named.memory();
        self.bytes + PAIR_MEMORY * self.keys.len() as u64 + beside
    }

    /// The replicated clock: the time during which the cluster had leaders, in µs.
    pub const fn clock(&self) -> Micros {
        self.clock
    }

    /// Whether anything in the state expires.
    pub fn needs_clock(&self) -> bool {
        !self.leases.is_empty() || !self.sessions.is_empty() || !self.named.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.keys.get(key)
    }

    /// All pairs in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Versioned)> {
        self.keys.iter()
    }

    /// The pairs of a range in key order.
    pub fn range(&self, range: &KeyRange) -> impl Iterator<Item = (&Bytes, &Versioned)> {
        range.bounds().into_iter().flat_map(|bounds| self.keys.range(bounds))
    }

    /// The latest changes, for watchers.
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Sets the revision up to which watchers have read the changes; later changes are kept longer.
    /// `u64::MAX` without watchers.
    pub fn set_changes_unread_after(&mut self, revision: u64) {
        self.changes.set_unread_after(revision);
    }

    /// A hash of all pairs, independent of their order. If two histories have the same hash at a
    /// revision, their keys have one history up to there.
    pub const fn pairs_digest(&self) -> u64 {
        self.pairs_digest
    }

    /// A hash of the whole state. Replicas that applied the same entries have the same hash.
    pub fn digest(&self) -> u64 {
        let pairs = digest::of_numbers([self.revision, self.pairs_digest, self.keys.len() as u64]);
        let time = [self.clock, self.last_id, self.leases.digest()];
        // Both are sums of hashes, so an empty table adds nothing.
        let sessions = self.sessions.digest().wrapping_add(self.named.digest());
        let state = digest::of_numbers([pairs, digest::of_numbers(time), sessions]);
        // The first release has no other rules, and servers compare its digests with these.
        match self.semantics {
            Semantics::FIRST => state,
            Semantics(later) => digest::of_numbers([state, u64::from(later), 0]),
        }
    }

    /// The clock, and at most `limit` leases and `limit` sessions.
    pub fn timekeeping(&self, limit: usize) -> Timekeeping {
        Timekeeping {
            clock: self.clock,
            last_id: self.last_id,
            leases: self.leases().take(limit).map(|(id, lease)| (id, *lease)).collect(),
            sessions: self
                .sessions()
                .chain(self.named.from(0).map(|(id, it)| (SessionId(id), it)))
                .take(limit)
                .map(|(id, it)| (id, it.clone()))
                .collect(),
        }
    }

    // Applying

    /// Applies a command. The result depends only on the state and the command, so replicas agree.
    /// A command with an unknown inner command is rejected; a replica stops instead.
    pub fn apply(&mut self, command: Command) -> Applied {
        let applied = self.apply_under(command, Rules::default());
        applied.unwrap_or_else(|_| self.refused(Refusal::Malformed))
    }

    /// Like [`Self::apply`], with rules that a simulation may have changed. If the inner command is
    /// unknown, the state is unchanged.
    pub(crate) fn apply_under(
        &mut self,
        command: Command,
        rules: Rules,
    ) -> Result<Applied, UnknownCommand> {
        let answer = match command {
            Command::Put { key, value, lease } => self.put_checked(&key, value, lease),
            Command::Delete { key } => {
                let existed = self.remove_all(vec![key]) > 0;
                Answer::Done { existed }
            }
            Command::DeleteRange(range) => {
                let keys = self.range(&range).map(|(key, _)| key.clone()).collect();
                Answer::Removed { keys: self.remove_all(keys) }
            }
            Command::CompareAndSet { key, expected, value } => {
                self.compare_and_set(&key, &expected, value)
            }
            Command::Transaction(transaction) => self.transact(transaction),
            Command::GrantLease { ttl } => self.grant_lease(ttl),
            Command::KeepLeaseAlive(lease) => self.keep_lease_alive(lease),
            Command::RevokeLease(lease) => self.revoke_lease(lease),
            Command::OpenSession { ttl } => self.open_session(ttl),
            Command::CloseSession(session) => self.close_session(session),
            Command::AdvanceClock { to } => self.advance_clock(to),
            Command::RaiseSemantics { to } => self.raise_semantics(to)?,
            Command::InSession { session, sequence, command } => {
                return self.apply_in_session(session, sequence, &command, rules);
            }
            Command::Once { name, fingerprint, ttl, command } => {
                return self.apply_once(name, fingerprint, ttl, &command, rules);
            }
        };
        Ok(Applied { revision: self.revision, answer })
    }

    pub(super) const fn refused(&self, refusal: Refusal) -> Applied {
        Applied { revision: self.revision, answer: Answer::Refused(refusal) }
    }

    pub(super) const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn put_checked(&mut self, key: &Bytes, value: Bytes, lease: Option<LeaseId>) -> Answer {
        if lease.is_some_and(|lease| self.lease(lease).is_none()) {
            return Answer::Refused(Refusal::NoSuchLease);
        }
        self.revision += 1;
        Answer::Done { existed: self.put(key, value, lease) }
    }

    fn compare_and_set(&mut self, key: &Bytes, expected: &Expected, value: Bytes) -> Answer {
        let found = self.pair(key).map(Box::new);
        let succeeded = match (expected, &found) {
            (Expected::Absent, None) | (Expected::Present, Some(_)) => true,
            (Expected::Value(value), Some(pair)) => pair.value.value == *value,
            (Expected::Revision(revision), Some(pair)) => pair.value.mod_revision == *revision,
            (Expected::Absent, Some(_)) | (_, None) => false,
        };
        if succeeded {
            self.revision += 1;
            let lease = found.as_ref().and_then(|pair| pair.value.lease);
            self.put(key, value, lease);
        }
        Answer::Compared { succeeded, found }
    }

    /// The rules by which commands are applied.
    pub const fn semantics(&self) -> Semantics {
        self.semantics
    }

    fn raise_semantics(&mut self, to: Semantics) -> Result<Answer, UnknownCommand> {
        if to > Semantics::LATEST {
            let (to, known) = (to.0, Semantics::LATEST.0);
            return Err(UnknownCommand(format!("apply by rules {to}, newer than {known}")));
        }
        self.semantics = self.semantics.max(to);
        Ok(Answer::Semantics { now: self.semantics })
    }

    /// An empty store that follows these rules.
    pub fn under(semantics: Semantics) -> Self {
        Self { semantics, ..Self::default() }
    }

    fn pair(&self, key: &Bytes) -> Option<Pair> {
        self.get(key).map(|value| Pair { key: key.clone(), value: value.clone() })
    }

    /// All changes of a transaction share one revision.
    fn transact(&mut self, transaction: Transaction) -> Answer {
        let Transaction { compare, then, otherwise } = transaction;
        let succeeded = compare.iter().all(|comparison: &Comparison| comparison.holds(self));
        let operations = if succeeded { then } else { otherwise };
        let no_lease = |operation: &Operation| {
            matches!(operation, Operation::Put { lease: Some(lease), .. }
                if self.lease(*lease).is_none())
        };
        if operations.iter().any(no_lease) {
            return Answer::Refused(Refusal::NoSuchLease);
        }
        // If it reads too much, all its changes are undone. A clone is O(1), but makes later
        // changes copy what they touch. A transaction that only reads or only writes needs no
        // clone.
        let reads = operations.iter().any(Operation::reads);
        let writes = operations.iter().any(|operation| !operation.reads());
        let untouched = (reads && writes).then(|| self.clone());
        let before = self.revision;
        self.revision += 1;
        let (mut changed, mut room) = (false, self.semantics.limits().result_bytes);
        let mut operate = |operation| self.operate(operation, &mut changed, &mut room);
        let results: Option<Vec<_>> = operations.into_iter().map(&mut operate).collect();
        if let (None, Some(untouched)) = (&results, untouched) {
            *self = untouched;
        } else if !changed {
            self.revision = before;
        }
        match results {
            Some(results) => Answer::Transaction { succeeded, results },
            None => Answer::Refused(Refusal::ResultTooLarge),
        }
    }

    /// Executes one operation of a transaction, at the revision that all its changes share. `None`
    /// if it reads more than `room` bytes.
    fn operate(
        &mut self,
        operation: Operation,
        changed: &mut bool,
        room: &mut usize,
    ) -> Option<OperationResult> {
        let mut fits = |pair: Pair| {
            *room = room.checked_sub(pair.bytes())?;
            Some(pair)
        };
        Some(match operation {
            Operation::Get { key } => {
                let pair = self.pair(&key);
                OperationResult::Found(pair.map(|pair| fits(pair).ok_or(())).transpose().ok()?)
            }
            Operation::Range { range, limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let pairs = self.range(&range).take(limit);
                let pair = |(key, value): (&Bytes, &Versioned)| {
                    fits(Pair { key: key.clone(), value: value.clone() })
                };
                OperationResult::Pairs(pairs.map(pair).collect::<Option<_>>()?)
            }
            Operation::Put { key, value, lease } => {
                *changed = true;
                OperationResult::Done { existed: self.put(&key, value, lease) }
            }
            Operation::Delete { key } => {
                let existed = self.remove(&key);
                *changed |= existed;
                OperationResult::Done { existed }
            }
            Operation::DeleteRange(range) => {
                let keys: Vec<Bytes> = self.range(&range).map(|(key, _)| key.clone()).collect();
                let keys = keys.into_iter().filter(|key| self.remove(key)).count() as u64;
                *changed |= keys > 0;
                OperationResult::Removed { keys }
            }
        })
    }

    // Changing keys at the current revision

    /// Sets a key. Returns whether it existed before.
    fn put(&mut self, key: &Bytes, value: Bytes, lease: Option<LeaseId>) -> bool {
        let before = self.keys.get(key);
        let versioned = Versioned {
            value,
            create_revision: before.map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            version: before.map_or(1, |old| old.version + 1),
            lease,
        };
        self.changes.push(Change {
            revision: self.revision,
            key: key.clone(),
            value: Some(versioned.clone()),
            before: self.pairs_digest,
        });
        self.set(key, versioned)
    }

    /// Removes a key. Returns whether it existed.
    fn remove(&mut self, key: &Bytes) -> bool {
        let Some(old) = self.keys.remove(key) else { return false };
        let (revision, before) = (self.revision, self.pairs_digest);
        self.changes.push(Change { revision, key: key.clone(), value: None, before });
        self.count_out(key, &old);
        self.tie(key, old.lease, None);
        true
    }

    /// Removes keys in one revision. Returns how many existed.
    pub(super) fn remove_all(&mut self, keys: Vec<Bytes>) -> u64 {
        self.revision += 1;
        let removed = keys.into_iter().filter(|key| self.remove(key)).count() as u64;
        if removed == 0 {
            self.revision -= 1;
        }
        removed
    }

    /// Inserts a pair unchanged. Returns whether the key existed before.
    fn set(&mut self, key: &Bytes, value: Versioned) -> bool {
        let lease = value.lease;
        self.count_in(key, &value);
        let old = self.keys.insert(key.clone(), value);
        if let Some(old) = &old {
            self.count_out(key, old);
        }
        self.tie(key, old.as_ref().and_then(|old| old.lease), lease);
        old.is_some()
    }

    fn count_in(&mut self, key: &Bytes, value: &Versioned) {
        self.pairs_digest = self.pairs_digest.wrapping_add(pair_digest(key, value));
        self.bytes += pair_bytes(key, value);
    }

    fn count_out(&mut self, key: &Bytes, value: &Versioned) {
        self.pairs_digest = self.pairs_digest.wrapping_sub(pair_digest(key, value));
        self.bytes -= pair_bytes(key, value);
    }

    /// Moves a key from one lease to another.
    fn tie(&mut self, key: &Bytes, from: Option<LeaseId>, to: Option<LeaseId>) {
        if from == to {
            return;
        }
        if let Some(lease) = from {
            self.tied.remove(&(lease, key.clone()));
        }
        if let Some(lease) = to {
            self.tied.insert((lease, key.clone()));
        }
    }

    // Building

    /// Makes a store from the parts that a display knows.
    pub fn of_parts(revision: u64, pairs: &[Pair], timekeeping: &Timekeeping) -> Self {
        let mut store = Self { revision, changes: Changes::since(revision), ..Self::default() };
        (store.clock, store.last_id) = (timekeeping.clock, timekeeping.last_id);
        for pair in pairs {
            store.set(&pair.key, pair.value.clone());
        }
        for (id, lease) in &timekeeping.leases {
            store.leases.insert(id.0, *lease);
        }
        for (id, session) in &timekeeping.sessions {
            store.restore_session(id.0, session.clone());
        }
        store
    }

    /// Inserts a pair unchanged, to build a store from a snapshot.
    pub(super) fn restore(&mut self, key: &Bytes, value: Versioned) {
        self.set(key, value);
    }
}

fn pair_digest(key: &[u8], value: &Versioned) -> u64 {
    let numbers = [value.create_revision, value.mod_revision, value.version];
    let lease = value.lease.map_or(0, |lease| lease.0);
    let seed = digest::of_numbers(numbers).wrapping_add(lease);
    digest::of_bytes(&value.value, digest::of_bytes(key, seed))
}

fn pair_bytes(key: &[u8], value: &Versioned) -> u64 {
    (key.len() + value.value.len()) as u64
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
