//! OpenAPI schemas for types of the core, which does not depend on OpenAPI.

use raft_core::event::{ProgressMode, RoleName};
use serde::Serialize;
use utoipa::openapi::schema::{Object, Schema, Type};

/// The schema of a server's role.
pub fn role() -> Schema {
    use RoleName as R;
    names("A server's role", &[R::Follower, R::PreCandidate, R::Candidate, R::Leader])
}

/// The schema of how a leader sends to a follower.
pub fn progress_mode() -> Schema {
    use ProgressMode as M;
    names("How the leader sends entries to it", &[M::Probe, M::Replicate, M::Snapshot, M::Lost])
}

/// The schema of an enum whose values serialize to names.
fn names<T: Serialize>(what: &str, all: &[T]) -> Schema {
    let names = all.iter().map(|one| serde_json::to_value(one).expect("a name has a JSON form"));
    let object = Object::builder().schema_type(Type::String).enum_values(Some(names));
    Schema::Object(object.description(Some(what)).build())
}
