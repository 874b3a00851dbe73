//! The data of the REST interface: requests, responses, errors, headers and addresses.
//!
//! Servers, clients, the command line, the web page and the tests share these types, so each format
//! is defined once. The crate has no I/O and builds for wasm. Serde converts the types to and from
//! JSON:
//!
//! ```
//! use api::problem::Explanation;
//!
//! let body = r#"{"code": "no_leader", "detail": "no leader is known", "hint": "retry", "retryable": true}"#;
//! let problem: Explanation = serde_json::from_str(body)?;
//! assert!(problem.retryable && problem.code == "no_leader");
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod address;
pub mod demo;
pub mod faults;
pub mod headers;
pub mod json_bytes;
pub mod kv;
pub mod members;
pub mod problem;
pub mod schema;
pub mod status;
pub mod watch;
