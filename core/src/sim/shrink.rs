//! Shortens a failing run: leaves out what the failure does not need ("delta debugging", Zeller
//! 2002).

use super::JournalEntry;

/// Returns some of the actions, in their order, with which the run still fails. No single action
/// can be left out, unless the search ended after `tries` runs.
pub fn shrink(
    actions: &[JournalEntry],
    tries: u64,
    mut fails: impl FnMut(&[JournalEntry]) -> bool,
) -> Vec<JournalEntry> {
    let mut kept = actions.to_vec();
    let mut left = tries;
    let mut size = kept.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < kept.len() && left > 0 {
            let to = (from + size).min(kept.len());
            let rest: Vec<JournalEntry> = kept[..from].iter().chain(&kept[to..]).cloned().collect();
            left -= 1;
            if fails(&rest) {
                kept = rest;
                shorter = true;
            } else {
                from = to;
            }
        }
        // Halves the size; size 1 is repeated as long as that helps.
        if !shorter || size > 1 {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        size = size.min(kept.len());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::shrink;
    use crate::sim::{Action, JournalEntry, Moment};
    use crate::types::{NodeId, Time};

    fn entry(number: u64) -> JournalEntry {
        let at = Moment { happened: number, time: Time(number) };
        JournalEntry { at, action: Action::Crash(NodeId(number)) }
    }

    /// Guards that shrinking keeps exactly the actions that the failure needs, in order.
    #[test]
    fn what_is_not_needed_is_left_out() {
        let actions: Vec<JournalEntry> = (1..=200).map(entry).collect();
        for needed in [vec![], vec![7], vec![1, 200], vec![3, 50, 51, 117], vec![198, 199, 200]] {
            let mut runs = 0;
            let left = shrink(&actions, 10_000, |rest| {
                runs += 1;
                needed.iter().all(|number| rest.contains(&entry(*number)))
            });
            assert_eq!(left, needed.iter().copied().map(entry).collect::<Vec<_>>());
            assert!(runs < 400, "{runs} runs for {needed:?}");
        }
    }

    /// Guards that shrinking ends after the given number of runs, with what it has.
    #[test]
    fn shrinking_ends_after_the_given_number_of_runs() {
        let actions: Vec<JournalEntry> = (1..=200).map(entry).collect();
        let mut runs = 0;
        let left = shrink(&actions, 10, |rest| {
            runs += 1;
            rest.contains(&entry(100))
        });
        assert_eq!(runs, 10);
        assert!(left.contains(&entry(100)));
    }
}
