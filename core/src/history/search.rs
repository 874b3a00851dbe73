//! The search for an order that explains one key's operations.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Effect, Operation};

/// Looks for an order. `Err` tells how many returned operations could be explained at most.
pub(super) fn explain(operations: &[&Operation]) -> Result<(), usize> {
    Search::new(operations).run()
}

/// The calls and returns of all operations in the order of time, as a doubly linked list from
/// which an operation is lifted once it is ordered, and put back when that led nowhere.
struct Search<'a> {
    operations: &'a [&'a Operation],
    events: Vec<Happening>,
    /// `next[i]` and `previous[i]` of event `i`; the last slot is the head of the list.
    next: Vec<usize>,
    previous: Vec<usize>,
    head: usize,
    /// Returned operations that are not ordered yet.
    missing: usize,
}

#[derive(Clone, Copy)]
enum Happening {
    /// Operation `of` is called; its return is event `returns` (`None` when it never returned).
    Call {
        of: usize,
        returns: Option<usize>,
    },
    Return,
}

/// One step of the search: which operation was ordered, and the state before it.
struct Step<'a> {
    call: usize,
    before: Option<&'a Bytes>,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.called, false, number));
            moments.extend(operation.returned.map(|returned| (returned, true, number)));
        }
        // At one and the same time calls come before returns: such operations overlap.
        moments.sort_unstable();
        let mut events = Vec::with_capacity(moments.len());
        let mut calls = vec![0; operations.len()];
        for (position, (_, returns, of)) in moments.iter().enumerate() {
            if *returns {
                events.push(Happening::Return);
                if let Some(Happening::Call { returns, .. }) = events.get_mut(calls[*of]) {
                    *returns = Some(position);
                }
            } else {
                calls[*of] = position;
                events.push(Happening::Call { of: *of, returns: None });
            }
        }
        let head = events.len();
        let next = (0..=head).map(|it| if it == head { 0 } else { it + 1 }).collect();
        let previous = (0..=head).map(|it| if it == 0 { head } else { it - 1 }).collect();
        let missing = operations.iter().filter(|it| it.returned.is_some()).count();
        Self { operations, events, next, previous, head, missing }
    }

    fn run(mut self) -> Result<(), usize> {
        let total = self.missing;
        let mut best = total;
        let mut ordered = BitSet::new(self.operations.len());
        let mut seen: BTreeSet<(BitSet, Option<&Bytes>)> = BTreeSet::new();
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut state: Option<&'a Bytes> = None;
        let mut at = self.next[self.head];
        while self.missing > 0 {
            let call = (at != self.head).then(|| self.events[at]);
            if let Some(Happening::Call { of, returns }) = call {
                let effect = &self.operations[of].effect;
                if effect.fits(state) {
                    let after = effect.after();
                    ordered.insert(of);
                    if seen.insert((ordered.clone(), after)) {
                        steps.push(Step { call: at, before: state });
                        state = after;
                        self.lift(at, returns);
                        best = best.min(self.missing);
                        at = self.next[self.head];
                        continue;
                    }
                    ordered.remove(of);
                }
                at = self.next[at];
                continue;
            }
            // An operation that must come before this return could not be ordered: undo.
            let Some(step) = steps.pop() else { return Err(total - best) };
            if let Happening::Call { of, returns } = self.events[step.call] {
                ordered.remove(of);
                self.put_back(step.call, returns);
            }
            state = step.before;
            at = self.next[step.call];
        }
        Ok(())
    }

    fn lift(&mut self, call: usize, returns: Option<usize>) {
        self.unlink(call);
        if let Some(returns) = returns {
            self.unlink(returns);
            self.missing -= 1;
        }
    }

    fn put_back(&mut self, call: usize, returns: Option<usize>) {
        if let Some(returns) = returns {
            self.link(returns);
            self.missing += 1;
        }
        self.link(call);
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

impl Effect {
    /// Whether it leaves the state as it is.
    #[cfg(test)]
    const fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
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

    /// Guards the edge cases by name: what overlaps may come in either order, what does not may
    /// not, and an unknown outcome may have happened late or never.
    #[test]
    fn small_histories_are_judged_right() {
        use Effect::{Read, Swap, Write};
        let cases: Vec<(&str, bool, Vec<Operation>)> = vec![
            ("nothing", true, vec![]),
            ("a read of nothing", true, vec![operation(0, Some(1), Read(None))]),
            (
                "a read of what was never written",
                false,
                vec![operation(0, Some(1), Read(value(1)))],
            ),
            (
                "a stale read",
                false,
                vec![operation(0, Some(1), Write(value(1))), operation(2, Some(3), Read(None))],
            ),
            (
                "a read beside a write sees either",
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
                "two swaps cannot both take the same value",
                false,
                vec![
                    operation(0, Some(1), Write(value(1))),
                    operation(2, Some(5), Swap { from: value(1), to: value(2) }),
                    operation(2, Some(5), Swap { from: value(1), to: value(3) }),
                ],
            ),
        ];
        for (name, linearizable, history) in cases {
            assert_eq!(check(&history).is_ok(), linearizable, "{name}");
        }
    }

    /// Whether some order of the operations explains them: all orders, tried one by one.
    fn brute_force(left: &mut Vec<Operation>, state: Option<&Bytes>) -> bool {
        if left.iter().all(|it| it.returned.is_none()) {
            return true;
        }
        (0..left.len()).any(|chosen| {
            let operation = left.remove(chosen);
            let in_time =
                left.iter().all(|it| it.returned.is_none_or(|end| end >= operation.called));
            let fits = in_time && operation.effect.fits(state);
            let explained = fits && brute_force(left, operation.effect.after());
            left.insert(chosen, operation);
            explained
        })
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        let effect = prop_oneof![
            (0_u8..3).prop_map(|it| Effect::Write(value(it))),
            (0_u8..3).prop_map(|it| Effect::Read(value(it))),
            (0_u8..3, 0_u8..3).prop_map(|(a, b)| Effect::Swap { from: value(a), to: value(b) }),
        ];
        (0_u64..20, 0_u64..10, 0_u8..5, effect).prop_map(|(called, span, unknown, effect)| {
            let returned = (unknown > 0 || effect.is_read()).then_some(called + span);
            operation(called, returned, effect)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// Guards the search against one that tries everything.
        #[test]
        fn the_search_agrees_with_brute_force(
            history in prop::collection::vec(any_operation(), 0..7)
        ) {
            let expected = brute_force(&mut history.clone(), None);
            prop_assert_eq!(check(&history).is_ok(), expected);
        }
    }
}
