//! The search for an order that explains one key's operations.
//!
//! Three observations reduce the search without losing an order:
//! - An operation that only looks and fits the current state can come now, because it changes
//!   nothing.
//! - A write whose value no operation found can come right before another write that is possible at
//!   the same time. By itself it is worth trying only when no other operation can come.
//! - An operation of unknown outcome is only worth ordering right before an operation that looks at
//!   its effect. Otherwise the order explains as much without it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Effect, Operation, Sightings};

/// Searches for an order. `Err` is the maximum number of returned operations that could be
/// explained.
pub(super) fn explain(operations: &[&Operation]) -> Result<(), usize> {
    Search::new(operations).run()
}

/// The calls and returns of all operations in time order, as a doubly linked list. An operation is
/// lifted from the list when it is ordered, and put back if the search fails. Every operation that
/// is called before the first return in the list can come next.
struct Search<'a> {
    operations: &'a [&'a Operation],
    /// Writes that returned and whose value no operation found.
    unseen: Vec<bool>,
    events: Vec<Happening>,
    /// `next[i]` and `previous[i]` of event `i`; the last slot is the head of the list.
    next: Vec<usize>,
    previous: Vec<usize>,
    head: usize,
    /// Returned operations that are not ordered yet.
    missing: usize,
    ordered: BitSet,
}

#[derive(Clone, Copy)]
enum Happening {
    /// Operation `of` is called; its return is event `returns` (`None` when it never returned).
    Call {
        of: usize,
        returns: Option<usize>,
    },
    Return {
        of: usize,
    },
}

/// One step of the search: the calls of the operations that were ordered, and the state before.
struct Step<'a> {
    calls: Vec<usize>,
    before: State<'a>,
    /// The event from which to look for another choice; `None` if there is none.
    resume: Option<usize>,
}

/// The state after an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State<'a> {
    value: Option<&'a Bytes>,
    /// Whether the last operation was of unknown outcome, so the next one must look at the state.
    must_look: bool,
}

impl<'a> State<'a> {
    /// The state after the operation, if the operation can come next.
    fn after(self, operation: &'a Operation) -> Option<Self> {
        let effect = &operation.effect;
        let possible = effect.fits(self.value) && (effect.looks() || !self.must_look);
        let must_look = operation.returned.is_none();
        possible.then(|| Self { value: effect.after(self.value), must_look })
    }
}

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.called, false, number));
            moments.extend(operation.returned.map(|returned| (returned, true, number)));
        }
        // At equal times calls come before returns: such operations overlap.
        moments.sort_unstable();
        let mut events = Vec::with_capacity(moments.len());
        let mut calls = vec![0; operations.len()];
        for (position, (_, returns, of)) in moments.iter().copied().enumerate() {
            if returns {
                events.push(Happening::Return { of });
                if let Some(Happening::Call { returns, .. }) = events.get_mut(calls[of]) {
                    *returns = Some(position);
                }
            } else {
                calls[of] = position;
                events.push(Happening::Call { of, returns: None });
            }
        }
        let sightings = Sightings::of(operations);
        let is_unseen = |it: &&Operation| {
            let returned = it.returned.is_some();
            returned && matches!(it.effect, Effect::Write(_)) && !sightings.may_tell_of(&it.effect)
        };
        let head = events.len();
        Self {
            operations,
            unseen: operations.iter().map(is_unseen).collect(),
            events,
            next: (0..=head).map(|it| if it == head { 0 } else { it + 1 }).collect(),
            previous: (0..=head).map(|it| if it == 0 { head } else { it - 1 }).collect(),
            head,
            missing: operations.iter().filter(|it| it.returned.is_some()).count(),
            ordered: BitSet::new(operations.len()),
        }
    }

    fn run(mut self) -> Result<(), usize> {
        let total = self.missing;
        let mut best = total;
        let mut seen: BTreeSet<(BitSet, State<'a>)> = BTreeSet::new();
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut state = State { value: None, must_look: false };
        let mut at = self.next[self.head];
        while self.missing > 0 {
            if let Some((step, after)) = self.choose(state, at) {
                self.lift(&step.calls);
                let forced = step.resume.is_none() && step.calls.len() == 1;
                if forced || seen.insert((self.ordered.clone(), after)) {
                    best = best.min(self.missing);
                    steps.push(step);
                    state = after;
                    at = self.next[self.head];
                } else {
                    self.put_back(&step.calls);
                    at = step.resume.unwrap_or(self.head);
                }
                continue;
            }
            // No operation can come next: undo the latest choice that had alternatives.
            let Some(step) = steps.pop() else { return Err(total - best) };
            self.put_back(&step.calls);
            state = step.before;
            at = step.resume.unwrap_or(self.head);
        }
        Ok(())
    }

    /// Chooses what to order next, from event `at` on. The head means that no choice is left.
    fn choose(&self, state: State<'a>, at: usize) -> Option<(Step<'a>, State<'a>)> {
        if at == self.head {
            return None;
        }
        if let Some(step) = self.fitting_look(state) {
            return Some(step);
        }
        let mut event = at;
        while let Happening::Call { of, .. } = *self.events.get(event)? {
            let after = state.after(self.operations[of]).filter(|_| !self.unseen[of]);
            if let Some(after) = after {
                let mut calls = Vec::new();
                if matches!(self.operations[of].effect, Effect::Write(_)) {
                    calls = self.unseen_writes();
                }
                calls.push(event);
                let resume = Some(self.next[event]);
                return Some((Step { calls, before: state, resume }, after));
            }
            event = self.next[event];
        }
        self.unseen_writes_alone(state, event)
    }

    /// An operation that only looks and can come now. No other choice is then needed.
    fn fitting_look(&self, state: State<'a>) -> Option<(Step<'a>, State<'a>)> {
        let looks = |call: &usize| {
            matches!(self.events[*call], Happening::Call { of, .. }
                if self.operations[of].effect.only_looks()
                    && self.operations[of].effect.fits(state.value))
        };
        let call = self.candidates().find(looks)?;
        let after = State { must_look: false, ..state };
        Some((Step { calls: vec![call], before: state, resume: None }, after))
    }

    /// The unseen writes by themselves, if one of them must come next.
    fn unseen_writes_alone(
        &self,
        state: State<'a>,
        first_return: usize,
    ) -> Option<(Step<'a>, State<'a>)> {
        let Happening::Return { of } = *self.events.get(first_return)? else { return None };
        if !self.unseen[of] || state.must_look {
            return None;
        }
        let calls = self.unseen_writes();
        let after =
            State { value: self.operations[of].effect.after(state.value), must_look: false };
        Some((Step { calls, before: state, resume: None }, after))
    }

    fn unseen_writes(&self) -> Vec<usize> {
        let unseen = |call: &usize| matches!(self.events[*call], Happening::Call { of, .. } if self.unseen[of]);
        self.candidates().filter(unseen).collect()
    }

    /// The calls before the first return.
    fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.next[self.head];
        std::iter::successors(Some(first), |event| Some(self.next[*event]))
            .take_while(|event| matches!(self.events.get(*event), Some(Happening::Call { .. })))
    }

    fn lift(&mut self, calls: &[usize]) {
        for call in calls {
            let Happening::Call { of, returns } = self.events[*call] else { continue };
            self.ordered.insert(of);
            self.unlink(*call);
            if let Some(returns) = returns {
                self.unlink(returns);
                self.missing -= 1;
            }
        }
    }

    fn put_back(&mut self, calls: &[usize]) {
        for call in calls.iter().rev() {
            let Happening::Call { of, returns } = self.events[*call] else { continue };
            if let Some(returns) = returns {
                self.link(returns);
                self.missing += 1;
            }
            self.link(*call);
            self.ordered.remove(of);
        }
    }

    fn unlink(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    /// Undoes the latest `unlink` of the event.
    fn link(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        self.next[before] = event;
        self.previous[after] = event;
    }
}

/// A set of small numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::check;

    fn operation(called: u64, returned: Option<u64>, effect: Effect) -> Operation {
        Operation { key: Bytes::from_static(b"x"), called, returned, effect }
    }

    fn value(number: u8) -> Option<Bytes> {
        (number > 0).then(|| Bytes::from(vec![b'0' + number]))
    }

    /// Guards the edge cases. Overlapping operations may come in either order, others may not. An
    /// unknown outcome may take effect late or never.
    #[test]
    fn small_histories_are_judged_right() {
        use Effect::{Missed, Read, Swap, Write};
        let cases: Vec<(&str, bool, Vec<Operation>)> = vec![
            ("nothing", true, vec![]),
            ("a read of nothing", true, vec![operation(0, Some(1), Read(None))]),
            (
                "a read of a value that was never written",
                false,
                vec![operation(0, Some(1), Read(value(1)))],
            ),
            (
                "a stale read",
                false,
                vec![operation(0, Some(1), Write(value(1))), operation(2, Some(3), Read(None))],
            ),
            (
                "a read during a write sees the old or the new value",
                true,
                vec![operation(0, Some(5), Write(value(1))), operation(2, Some(3), Read(None))],
            ),
            (
                "a value cannot come and go without a write",
                false,
                vec![
                    operation(0, Some(9), Write(value(1))),
                    operation(1, Some(2), Read(value(1))),
                    operation(3, Some(4), Read(None)),
                ],
            ),
            (
                "an unknown write may happen late",
                true,
                vec![
                    operation(0, None, Write(value(1))),
                    operation(1, Some(2), Read(None)),
                    operation(3, Some(4), Read(value(1))),
                ],
            ),
            (
                "an unknown write happens once",
                false,
                vec![
                    operation(0, None, Write(value(1))),
                    operation(1, Some(2), Read(value(1))),
                    operation(3, Some(4), Write(value(2))),
                    operation(5, Some(6), Read(value(1))),
                ],
            ),
            (
                "two swaps cannot both replace the same value",
                false,
                vec![
                    operation(0, Some(1), Write(value(1))),
                    operation(2, Some(5), Swap { from: value(1), to: value(2) }),
                    operation(2, Some(5), Swap { from: value(1), to: value(3) }),
                ],
            ),
            (
                "a swap cannot miss a value that exists",
                false,
                vec![
                    operation(0, Some(1), Write(value(1))),
                    operation(2, Some(3), Missed(value(1))),
                ],
            ),
            (
                "a swap may miss because of an unknown write that no client read",
                true,
                vec![
                    operation(0, Some(1), Write(value(1))),
                    operation(0, None, Write(value(2))),
                    operation(2, Some(3), Missed(value(1))),
                ],
            ),
        ];
        for (name, linearizable, history) in cases {
            assert_eq!(check(&history).is_ok(), linearizable, "{name}");
        }
    }

    /// Whether some order of the operations explains them; tries all orders one by one.
    fn brute_force(left: &mut Vec<Operation>, state: Option<&Bytes>) -> bool {
        if left.iter().all(|it| it.returned.is_none()) {
            return true;
        }
        (0..left.len()).any(|chosen| {
            let operation = left.remove(chosen);
            let in_time =
                left.iter().all(|it| it.returned.is_none_or(|end| end >= operation.called));
            let fits = in_time && operation.effect.fits(state);
            let explained = fits && brute_force(left, operation.effect.after(state));
            left.insert(chosen, operation);
            explained
        })
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        let effect = prop_oneof![
            (0_u8..3).prop_map(|it| Effect::Write(value(it))),
            (0_u8..3).prop_map(|it| Effect::Read(value(it))),
            (0_u8..3, 0_u8..3).prop_map(|(a, b)| Effect::Swap { from: value(a), to: value(b) }),
            (0_u8..3).prop_map(|it| Effect::Missed(value(it))),
        ];
        (0_u64..20, 0_u64..10, 0_u8..5, effect).prop_map(|(called, span, unknown, effect)| {
            let returned = (unknown > 0 || effect.only_looks()).then_some(called + span);
            operation(called, returned, effect)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// Guards that the search agrees with a search that tries every order.
        #[test]
        fn the_search_agrees_with_brute_force(
            history in prop::collection::vec(any_operation(), 0..7)
        ) {
            let expected = brute_force(&mut history.clone(), None);
            prop_assert_eq!(check(&history).is_ok(), expected);
        }
    }
}
