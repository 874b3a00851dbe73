//! Tests admission under shuttle, which tries different thread schedules.

use std::sync::Arc;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
}

#[path = "../admission.rs"]
#[allow(clippy::duplicate_mod, unreachable_pub, reason = "the same file with other primitives")]
mod admission;

use admission::Admission;

/// How many schedules are tried.
const ORDERS: usize = 2_000;

/// Guards memory against any number of clients, and that finished requests free their room.
#[test]
fn requests_beyond_the_bounds_are_turned_away_until_others_end() {
    let check = || {
        let admission = Admission::new(2, 100);
        let first = admission.admit(60).expect("room");
        assert!(admission.admit(60).is_none(), "too many bytes");
        let second = admission.admit(40).expect("room");
        assert!(admission.admit(0).is_none(), "too many requests");
        drop((first, second));
        assert_eq!(admission.requests(), 0);
        let large = admission.admit(1000).expect("alone, it may be larger than the bound");
        assert!(admission.admit(1).is_none());
        drop(large);
        let (mut slow, _other) = (admission.admit(0).expect("room"), admission.admit(10));
        assert!(slow.grow(50) && slow.grow(40), "what has arrived fits");
        assert!(!slow.grow(1), "more does not");
        drop(slow);
        drop(admission.admit(90).expect("all that arrived is given back"));
    };
    shuttle::check_random(check, 1);
}

/// Guards the same for concurrent requests: in every schedule the limits hold, and in the end all
/// room is free.
#[test]
fn no_order_of_requests_lets_too_many_in() {
    use shuttle::sync::atomic::{AtomicUsize, Ordering};

    let check = || {
        let admission = Admission::new(2, 100);
        let (inside, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let client = |wanted: usize| {
            let (admission, inside, bytes) =
                (Arc::clone(&admission), Arc::clone(&inside), Arc::clone(&bytes));
            shuttle::thread::spawn(move || {
                for _ in 0..2 {
                    let Some(permit) = admission.admit(wanted) else { continue };
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                    assert!(bytes.fetch_add(wanted, Ordering::SeqCst) + wanted <= 100);
                    bytes.fetch_sub(wanted, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        };
        for client in [60, 40, 50].map(client) {
            client.join().expect("it ends");
        }
        assert_eq!(admission.requests(), 0);
        drop(admission.admit(100).expect("all room is back"));
    };
    shuttle::check_random(check, ORDERS);
}
