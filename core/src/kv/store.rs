//! The state itself.

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

/// A value and the revisions that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The bytes.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub value: Bytes,
    /// The store's revision when the key came into being.
    pub create_revision: u64,
    /// The store's revision when it last changed.
    pub mod_revision: u64,
    /// How often it was set since it came into being; 1 for a new key.
    pub version: u64,
    /// The lease with which it ends.
    pub lease: Option<LeaseId>,
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// Its value and revisions.
    pub value: Versioned,
}

impl Pair {
    /// What it takes encoded at most, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        PAIR_OVERHEAD + self.key.len() + self.value.value.len()
    }
}

/// The replicated map, with leases and sessions. Cloning it is O(1).
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    pub(super) keys: OrdMap<Bytes, Versioned>,
    pub(super) revision: u64,
    /// Sum of the hashes of all pairs, kept up to date with each change.
    pub(super) pairs_digest: u64,
    /// Sum of the lengths of all keys and values, in bytes.
    pub(super) bytes: u64,
    /// The time that the cluster has had leaders, in µs, as the log tells.
    pub(super) clock: Micros,
    /// The number of the latest lease or session.
    pub(super) last_id: u64,
    pub(super) leases: Expiring<Lease>,
    pub(super) sessions: Expiring<Session>,
    /// The answers to named requests.
    pub(super) named: Expiring<Session>,
    /// Which key goes with which lease.
    pub(super) tied: OrdSet<(LeaseId, Bytes)>,
    pub(super) changes: Changes,
    /// Which rules commands are applied by.
    pub(super) semantics: Semantics,
}

/// The part of a store that is about time, as far as a screen may want it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timekeeping {
    /// The store's clock, in µs.
    pub clock: Micros,
    /// The number of the latest lease or session.
    pub last_id: u64,
    /// Leases.
    pub leases: Vec<(LeaseId, Lease)>,
    /// Sessions, and after them what is remembered of requests with names of their own.
    pub sessions: Vec<(SessionId, Session)>,
}

impl KvStore {
    // Reading

    /// The number of commands that changed keys so far.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The lengths of all keys and values together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About how much memory the state takes, in bytes: keys and values, leases, sessions and
    /// remembered answers.
    pub fn memory(&self) -> u64 {
        let beside = self.leases.memory() + self.sessions.memory() + self.named.memory();
        self.bytes + PAIR_MEMORY * self.keys.len() as u64 + beside
    }

    /// The time that the cluster has had leaders, in µs, as the log tells.
    pub const fn clock(&self) -> Micros {
        self.clock
    }

    /// Whether anything ends with time.
    pub fn needs_clock(&self) -> bool {
        !self.leases.is_empty() || !self.sessions.is_empty() || !self.named.is_empty()
    }

    /// A key's value.
    pub fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.keys.get(key)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Versioned)> {
        self.keys.iter()
    }

    /// The pairs of a range in the order of their keys.
    pub fn range(&self, range: &KeyRange) -> impl Iterator<Item = (&Bytes, &Versioned)> {
        range.bounds().into_iter().flat_map(|bounds| self.keys.range(bounds))
    }

    /// The latest changes, for those who watch.
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Says up to which revision whoever watches has read the changes: later ones are kept longer.
    /// `u64::MAX` when nobody watches.
    pub fn set_changes_unread_after(&mut self, revision: u64) {
        self.changes.set_unread_after(revision);
    }

    /// A hash of all pairs, whatever their order. Two histories whose pairs have the same hash at a
    /// revision are one history up to there, as far as keys go.
    pub const fn pairs_digest(&self) -> u64 {
        self.pairs_digest
    }

    /// A hash of the whole state; replicas that applied the same entries have the same.
    pub fn digest(&self) -> u64 {
        let pairs = digest::of_numbers([self.revision, self.pairs_digest, self.keys.len() as u64]);
        let time = [self.clock, self.last_id, self.leases.digest()];
        // Sums of hashes: what is in neither table adds nothing.
        let sessions = self.sessions.digest().wrapping_add(self.named.digest());
        let state = digest::of_numbers([pairs, digest::of_numbers(time), sessions]);
        // The first release knew of no others, and its digests are compared with ours.
        match self.semantics {
            Semantics::FIRST => state,
            Semantics(later) => digest::of_numbers([state, u64::from(later), 0]),
        }
    }

    /// What is about time, at most `limit` leases and sessions of it.
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

    /// Applies a command. Depends on the state and the command alone, so that replicas agree. One
    /// with another inside that this release does not know is refused; a replica stops instead.
    pub fn apply(&mut self, command: Command) -> Applied {
        let applied = self.apply_under(command, Rules::default());
        applied.unwrap_or_else(|_| self.refused(Refusal::Malformed))
    }

    /// As [`Self::apply`], under rules of which a simulation may have broken one. When the command
    /// inside this one is not known, nothing has changed.
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

    /// The rules that commands are applied by.
    pub const fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// Later rules hold from here on.
    fn raise_semantics(&mut self, to: Semantics) -> Result<Answer, UnknownCommand> {
        if to > Semantics::LATEST {
            let (to, known) = (to.0, Semantics::LATEST.0);
            return Err(UnknownCommand(format!("apply by rules {to}, of which {known} are known")));
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
        // Should it read too much, nothing of it has happened. A clone is O(1), but makes the changes
        // after it copy what they touch; where nothing is read, or nothing written, none is needed.
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

    /// Carries out one operation of a transaction, at the revision that its changes share. `None` when
    /// it reads more than `room`, in bytes.
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

    // Changing keys at the present revision

    /// Sets a key. Whether it was there before.
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

    /// Removes a key. Whether it was there.
    fn remove(&mut self, key: &Bytes) -> bool {
        let Some(old) = self.keys.remove(key) else { return false };
        let (revision, before) = (self.revision, self.pairs_digest);
        self.changes.push(Change { revision, key: key.clone(), value: None, before });
        self.count_out(key, &old);
        self.tie(key, old.lease, None);
        true
    }

    /// Removes keys as one change. How many were there.
    pub(super) fn remove_all(&mut self, keys: Vec<Bytes>) -> u64 {
        self.revision += 1;
        let removed = keys.into_iter().filter(|key| self.remove(key)).count() as u64;
        if removed == 0 {
            self.revision -= 1;
        }
        removed
    }

    /// Puts a pair in its place as it is. Whether the key was there before.
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

    /// A key goes from one lease to another.
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

    /// A store of these parts, as a screen knows them.
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

    /// Adds a pair as it is; for building a store from a snapshot.
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
