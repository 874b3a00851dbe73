//! Operations of all clients of the simulated cluster, and whether they are linearizable.

use raft_core::history::{Effect, Operation, check};
use raft_core::types::Time;

#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    /// Sorted by the time of the call.
    pub(crate) operations: Vec<Operation>,
    /// The key whose operations are not linearizable, if any.
    pub(crate) wrong: Option<String>,
}

/// An operation as a bar on a time axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    /// For example `x := 1` or `x is 1`.
    pub(crate) words: String,
    /// In percent of the axis.
    pub(crate) from: f64,
    pub(crate) width: f64,
    /// The operation has no answer yet, so its effect is unknown.
    pub(crate) open: bool,
    pub(crate) reads: bool,
    /// The operations on its key are not linearizable.
    pub(crate) wrong: bool,
}

/// How many bars are shown at most.
const SHOWN: usize = 6;

/// The minimum width of a bar, in percent of the axis.
const LEAST: f64 = 1.5;

impl Clients {
    pub(crate) fn judge(mut operations: Vec<Operation>) -> Self {
        operations.sort_by_key(|operation| operation.called);
        let wrong = check(&operations).err();
        let wrong = wrong.map(|wrong| String::from_utf8_lossy(&wrong.key).into_owned());
        Self { operations, wrong }
    }

    /// The newest operations, or the newest on the key that is not linearizable.
    pub(crate) fn bars(&self, now: Time) -> Vec<Bar> {
        let key = |operation: &Operation| String::from_utf8_lossy(&operation.key).into_owned();
        let is_wrong =
            |operation: &&Operation| self.wrong.as_ref().is_none_or(|it| key(operation) == *it);
        let mut shown: Vec<_> = self.operations.iter().rev().filter(is_wrong).take(SHOWN).collect();
        shown.reverse();
        let Some(first) = shown.iter().map(|it| it.called).min() else { return Vec::new() };
        let span = crate::num::real(now.0.saturating_sub(first).max(1));
        let at = |time: u64| 100.0 * crate::num::real(time.saturating_sub(first)) / span;
        let bar = |operation: &&Operation| {
            let from = at(operation.called).min(100.0 - LEAST);
            let to = operation.returned.map_or(100.0, at).min(100.0);
            Bar {
                words: words(&key(operation), &operation.effect),
                from,
                width: (to - from).max(LEAST),
                open: operation.returned.is_none(),
                reads: matches!(operation.effect, Effect::Read(_)),
                wrong: self.wrong.is_some(),
            }
        };
        shown.iter().map(bar).collect()
    }
}

fn words(key: &str, effect: &Effect) -> String {
    let text = |value: &Option<bytes::Bytes>| {
        value.as_ref().map_or("nothing".to_owned(), |it| String::from_utf8_lossy(it).into_owned())
    };
    match effect {
        Effect::Write(None) => format!("delete {key}"),
        Effect::Write(value) => format!("{key} := {}", text(value)),
        Effect::Read(value) => format!("{key} is {}", text(value)),
        Effect::Swap { from, to } => format!("{key}: {} → {}", text(from), text(to)),
        Effect::Missed(expected) => format!("{key} is not {}", text(expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, returned: Option<u64>, effect: Effect) -> Operation {
        Operation { key: "x".into(), called, returned, effect }
    }

    /// Guards that a read that misses an answered write is found, and that an operation without an
    /// answer is drawn up to now.
    #[test]
    fn a_stale_read_is_found_and_open_ends_reach_to_now() {
        let write = operation(10, Some(20), Effect::Write(Some("1".into())));
        let open = operation(30, None, Effect::Write(Some("2".into())));
        let well = Clients::judge(vec![
            open.clone(),
            write.clone(),
            operation(25, Some(35), Effect::Read(Some("1".into()))),
        ]);
        assert_eq!(well.wrong, None);
        let bars = well.bars(Time(50));
        let drawn: Vec<&str> = bars.iter().map(|bar| bar.words.as_str()).collect();
        assert_eq!(drawn, ["x := 1", "x is 1", "x := 2"]);
        assert_eq!((bars[0].from, bars[0].width), (0.0, 25.0));
        assert!(bars[2].open && (bars[2].from + bars[2].width - 100.0).abs() < 1e-9);
        let stale = operation(25, Some(35), Effect::Read(None));
        assert_eq!(Clients::judge(vec![write, open, stale]).wrong, Some("x".to_owned()));
    }
}
