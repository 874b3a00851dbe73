//! Tests of the rules against the paper.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Guards that the majority arithmetic agrees with a naive count in small clusters.
    #[test]
    fn the_majority_value_is_reached_by_a_majority_and_no_higher_one_is(
        values in prop::collection::vec(0_u64..6, 1..13)
    ) {
        let membership = Membership::of((1..=values.len() as u64).map(NodeId));
        let value = Rules::default().majority_value(&membership, |node| {
            values[usize::try_from(node.0).expect("small") - 1]
        });
        let reached = |level: u64| values.iter().filter(|own| **own >= level).count();
        prop_assert!(2 * reached(value) > values.len());
        prop_assert!(2 * reached(value + 1) <= values.len());
    }
}

const fn voter(voted_for: Option<NodeId>) -> Voter {
    let last_log = LogPosition::new(2, 5);
    Voter { current_term: Term(3), voted_for, last_log, stranger: false }
}

const fn request(term: u64, last_log: LogPosition) -> VoteRequest {
    VoteRequest { candidate: NodeId(2), term: Term(term), last_log, pre: false }
}

/// Guards each single condition of a vote (§5.2, §5.4.1, dissertation §4.2.3).
#[test]
fn a_vote_needs_every_condition() {
    let rules = Rules::default();
    let good = request(3, LogPosition::new(2, 5));
    assert_eq!(rules.grant_vote(&voter(None), &good), Ok(()));
    assert_eq!(rules.grant_vote(&voter(Some(NodeId(2))), &good), Ok(()));
    assert_eq!(
        rules.grant_vote(&voter(Some(NodeId(1))), &good),
        Err(VoteRefusal::AlreadyVoted(NodeId(1)))
    );
    assert_eq!(
        rules.grant_vote(&voter(None), &request(2, LogPosition::new(9, 9))),
        Err(VoteRefusal::StaleTerm)
    );
    let behind = rules.grant_vote(&voter(None), &request(3, LogPosition::new(1, 9)));
    assert!(matches!(behind, Err(VoteRefusal::LogBehind { .. })));
    let stranger = Voter { stranger: true, ..voter(None) };
    assert_eq!(rules.grant_vote(&stranger, &good), Err(VoteRefusal::Stranger));
    assert_eq!(rules.refuse_unheard(None, false), None);
    assert_eq!(rules.refuse_unheard(None, true), Some(VoteRefusal::JustStarted));
    assert_eq!(
        rules.refuse_unheard(Some(NodeId(1)), false),
        Some(VoteRefusal::LeaderAlive(NodeId(1)))
    );
}

/// Guards that a pre-vote for a term that has already begun is rejected (dissertation §9.6).
#[test]
fn a_pre_vote_is_about_a_term_to_come() {
    let asks = |term| VoteRequest { pre: true, ..request(term, LogPosition::new(2, 5)) };
    let rules = Rules::default();
    assert_eq!(rules.grant_vote(&voter(None), &asks(3)), Err(VoteRefusal::StaleTerm));
    assert_eq!(rules.grant_vote(&voter(Some(NodeId(1))), &asks(4)), Ok(()));
}
