//! The errors of the demo's own routes.

use axum::response::Response;
use hyper::StatusCode as S;

use super::process::ActionError;
use crate::http::error::{answer, kind};

/// The answer without the supervisor's token: only the demo's own page may control the processes.
pub(super) fn wrong_token() -> Response {
    let hint = "send the token of GET /demo/nodes in the header x-demo-token";
    let detail = "the request has no token of this demo, so it may not control the servers";
    answer(kind(S::FORBIDDEN, "wrong_token", "Wrong token", hint), detail.to_owned())
}

/// The answer if the supervisor could not do what was asked.
pub(super) fn refused(error: &ActionError) -> Response {
    let kind = match error {
        ActionError::NoSuchNode(_) => kind(
            S::NOT_FOUND,
            "no_such_node",
            "No such server",
            "GET /demo/nodes lists the servers",
        ),
        ActionError::NoSuchLink(_) => {
            kind(S::NOT_FOUND, "no_such_link", "No such link", "name two different servers")
        }
        ActionError::WrongState { .. } => {
            let hint = "if running: kill, freeze; if frozen: resume, kill; if stopped: restart";
            kind(S::CONFLICT, "wrong_state", "Wrong state", hint)
        }
        ActionError::System(_) => {
            let hint = "see the demo's terminal and the servers' logs";
            kind(S::INTERNAL_SERVER_ERROR, "system", "System error", hint)
        }
    };
    answer(kind, error.to_string())
}
