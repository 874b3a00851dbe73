//! Names of the HTTP headers that clients and servers exchange.

use http::HeaderName;

/// The session that a write belongs to; see `POST /sessions`.
pub const SESSION_HEADER: HeaderName = HeaderName::from_static("x-raft-session");

/// The sequence number of a write in its session. Each write has a higher number; a retry has the
/// same number.
pub const SEQUENCE_HEADER: HeaderName = HeaderName::from_static("x-raft-sequence");

/// The client's unique key of a request. The request takes effect once, even if the client retries
/// it.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The id of the server that sent the response.
pub const NODE_HEADER: HeaderName = HeaderName::from_static("x-raft-node");

/// The store's revision that a read saw or a write created.
pub const REVISION_HEADER: HeaderName = HeaderName::from_static("x-raft-revision");

/// The consistency of a read: all committed writes (`linearizable`, `lease`) or possibly old data
/// (`stale`).
pub const CONSISTENCY_HEADER: HeaderName = HeaderName::from_static("x-raft-consistency");

/// The maximum age of the data of a stale read, in ms. Only sent if the request has
/// `max_staleness`.
pub const STALENESS_HEADER: HeaderName = HeaderName::from_static("x-raft-staleness-ms");

/// Why the server that answers a stale read receives no updates: `not-a-member` or `no-leader`.
pub const CUT_OFF_HEADER: HeaderName = HeaderName::from_static("x-raft-cut-off");

/// The id of the server that forwarded the request. A forwarded request is not forwarded again.
pub const FORWARDED_HEADER: HeaderName = HeaderName::from_static("x-raft-forwarded-by");

/// The total size of all keys and values, in bytes, to show progress.
pub const STATE_BYTES_HEADER: HeaderName = HeaderName::from_static("x-raft-state-bytes");
