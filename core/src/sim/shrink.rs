//! Shortens a failing run: leaves out what the failure does not need ("delta debugging", Zeller
//! 2002).

use super::Deed;

/// Returns some of the deeds, in their order, with which the run still fails. No single deed can be
/// left out, unless the search ended after `tries` runs.
pub fn shrink(deeds: &[Deed], tries: u64, mut fails: impl FnMut(&[Deed]) -> bool) -> Vec<Deed> {
    let mut kept = deeds.to_vec();
    let mut left = tries;
    let mut size = kept.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < kept.len() && left > 0 {
            let to = (from + size).min(kept.len());
            let rest: Vec<Deed> = kept[..from].iter().chain(&kept[to..]).cloned().collect();
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
    use crate::sim::{Action, Deed, Moment};
    use crate::types::{NodeId, Time};

    fn deed(number: u64) -> Deed {
        let at = Moment { happened: number, time: Time(number) };
        Deed { at, action: Action::Crash(NodeId(number)) }
    }

    /// Guards that shrinking keeps exactly the deeds that the failure needs, in order.
    #[test]
    fn what_is_not_needed_is_left_out() {
        let deeds: Vec<Deed> = (1..=200).map(deed).collect();
        for needed in [vec![], vec![7], vec![1, 200], vec![3, 50, 51, 117], vec![198, 199, 200]] {
            let mut runs = 0;
            let left = shrink(&deeds, 10_000, |rest| {
                runs += 1;
                needed.iter().all(|number| rest.contains(&deed(*number)))
            });
            assert_eq!(left, needed.iter().copied().map(deed).collect::<Vec<_>>());
            assert!(runs < 400, "{runs} runs for {needed:?}");
        }
    }

    /// Guards that shrinking ends after the given number of runs, with what it has.
    #[test]
    fn shrinking_ends_after_the_given_number_of_runs() {
        let deeds: Vec<Deed> = (1..=200).map(deed).collect();
        let mut runs = 0;
        let left = shrink(&deeds, 10, |rest| {
            runs += 1;
            rest.contains(&deed(100))
        });
        assert_eq!(runs, 10);
        assert!(left.contains(&deed(100)));
    }
}
