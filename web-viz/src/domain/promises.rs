//! The properties that Raft guarantees, in words. They are checked after every event.

use raft_core::invariant::Property;

/// The section and the text of a property.
pub(crate) const fn promise(property: Property) -> (&'static str, &'static str) {
    match property {
        Property::ElectionSafety => ("§5.2", "At most one leader is elected in a term."),
        Property::LeaderAppendOnly => ("§5.3", "A leader only appends to its log."),
        Property::LogMatching => {
            ("§5.3", "Logs with an entry of the same index and term are equal up to it.")
        }
        Property::LeaderCompleteness => {
            ("§5.4", "Committed entries are in the log of every later leader.")
        }
        Property::StateMachineSafety => {
            ("§5.4.3", "No two servers apply different entries at the same index.")
        }
        Property::Monotonicity => {
            ("figure 2", "Terms, commit indexes and applied indexes never decrease.")
        }
        Property::Durability => {
            ("figure 2", "Servers that count for a commit have the entry on disk.")
        }
        Property::StateAgreement => {
            ("§5.4.3", "After the same entry all servers have the same state.")
        }
        Property::OneConfiguration => {
            ("§6", "A membership change is committed before the next begins.")
        }
        Property::Linearizability => {
            ("§8", "A read sees everything that was answered before it began.")
        }
        Property::ExactlyOnce => ("§8", "A request of a session takes effect once."),
    }
}
