//! Which scope each route needs, and how a request shows its token.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};

use super::dispatch::Route;
use super::error::ApiError;
use crate::auth::{Scope, Tokens};

/// A page cannot give a WebSocket an `Authorization`; it names its token as a protocol so begun.
const PROTOCOL_PREFIX: &str = "bearer.";

/// The rules of one server.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` lets everybody do everything.
    tokens: Option<Arc<ArcSwap<Tokens>>>,
    /// Whether metrics are for everybody.
    open_metrics: bool,
}

impl Access {
    /// For those who have a token, or for everybody; tokens may change while the server runs.
    pub const fn new(tokens: Option<Arc<ArcSwap<Tokens>>>, open_metrics: bool) -> Self {
        Self { tokens, open_metrics }
    }

    /// Whether anybody must show a token.
    pub(super) const fn asks_for_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Refuses a request that its token does not allow; else whether it shows one that is known.
    pub(super) fn check(
        &self,
        route: Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<bool, ApiError> {
        let Some(tokens) = &self.tokens else { return Ok(false) };
        let Some(needs) = needs(route, method) else { return Ok(false) };
        if route == Route::Metrics && self.open_metrics {
            return Ok(false);
        }
        let shown = shown(route, headers)?;
        let tokens = tokens.load();
        let grant = tokens.find(shown).ok_or(ApiError::Unauthorized("the token is not known"))?;
        if grant.scope >= needs {
            Ok(true)
        } else {
            Err(ApiError::Forbidden { has: grant.scope, needs })
        }
    }

    /// The name of the token that a request shows, if it is known.
    pub(super) fn name(&self, headers: &HeaderMap) -> Option<String> {
        let tokens = self.tokens.as_ref()?.load();
        let shown = shown(Route::Other, headers).ok()?;
        Some(tokens.find(shown)?.name.clone())
    }
}

/// Whether only an administrator may do it.
pub(super) fn is_for_admins(route: Route, method: &Method) -> bool {
    needs(route, method) == Some(Scope::Admin)
}

/// What a request must be allowed; `None` for what everybody may ask.
pub(super) fn needs(route: Route, method: &Method) -> Option<Scope> {
    let (reading, changing) = match route {
        // Probes and pages come without a token, and show nothing that is kept here.
        Route::Livez | Route::Readyz | Route::OpenApi | Route::Docs | Route::Other => return None,
        Route::Get
        | Route::Range
        | Route::Watch
        | Route::Status
        | Route::Metrics
        | Route::Trace => (Scope::Read, Scope::Read),
        Route::Kv | Route::Leases => (Scope::Read, Scope::Write),
        Route::Set | Route::Txn | Route::Batch | Route::Sessions => (Scope::Write, Scope::Write),
        // Who belongs stands in the status too.
        Route::Members => (Scope::Read, Scope::Admin),
        Route::Leader | Route::Snapshot | Route::Backup | Route::Faults => {
            (Scope::Admin, Scope::Admin)
        }
    };
    let reads = matches!(*method, Method::GET | Method::HEAD);
    Some(if reads { reading } else { changing })
}

/// The token in the request's headers.
fn shown(route: Route, headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(ApiError::Unauthorized("there are two Authorization headers"));
        }
        let (scheme, token) = value.as_bytes().split_at_checked(7).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"bearer ") {
            return Ok(token.trim_ascii());
        }
        return Err(ApiError::Unauthorized("the Authorization header is not `Bearer TOKEN`"));
    }
    if route == Route::Trace {
        let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let mut protocols =
            lists.filter_map(|list| list.to_str().ok()).flat_map(|it| it.split(','));
        let token = protocols.find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_PREFIX));
        if let Some(token) = token {
            return Ok(token.as_bytes());
        }
    }
    Err(ApiError::Unauthorized("the request shows no token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the table: what changes something never passes as reading, whatever its method.
    #[test]
    fn each_route_needs_the_least_scope_that_is_safe() {
        for route in Route::ALL {
            let [reads, head, writes, odd] =
                [Method::GET, Method::HEAD, Method::POST, Method::PATCH]
                    .map(|method| needs(route, &method));
            assert_eq!(reads, head, "{route:?}");
            assert!(reads <= writes && writes == odd, "{route:?}");
        }
        assert_eq!(needs(Route::Kv, &Method::GET), Some(Scope::Read));
        assert_eq!(needs(Route::Kv, &Method::DELETE), Some(Scope::Write));
        assert_eq!(needs(Route::Members, &Method::DELETE), Some(Scope::Admin));
        assert_eq!(needs(Route::Livez, &Method::GET), None);
    }

    /// Guards the ways in which a token is shown: exactly these, one at a time.
    #[test]
    fn a_token_is_shown_as_bearer_or_as_a_protocol_of_the_trace() {
        let headers = |list: &[(hyper::header::HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(name.clone(), value.parse().expect("a value"));
            }
            headers
        };
        let authorization = |value| headers(&[(AUTHORIZATION, value)]);
        let found = |route, headers: &HeaderMap| shown(route, headers).ok().map(<[u8]>::to_vec);
        assert_eq!(found(Route::Kv, &authorization("Bearer abc")), Some(b"abc".to_vec()));
        assert_eq!(found(Route::Kv, &authorization("bearer abc")), Some(b"abc".to_vec()));
        for bad in ["", "Bearer", "Basic YTpi", "abc", "Bearerabc"] {
            assert_eq!(found(Route::Kv, &authorization(bad)), None, "{bad}");
        }
        let two = headers(&[(AUTHORIZATION, "Bearer abc"), (AUTHORIZATION, "Bearer abd")]);
        assert_eq!(found(Route::Kv, &two), None);
        let protocols = headers(&[(SEC_WEBSOCKET_PROTOCOL, "glassraft.trace, bearer.abc")]);
        assert_eq!(found(Route::Trace, &protocols), Some(b"abc".to_vec()));
        assert_eq!(found(Route::Kv, &protocols), None, "only where nothing else is possible");
    }
}
