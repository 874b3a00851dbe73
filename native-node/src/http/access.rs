//! The scope that each route needs, and where a request carries its token.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};

use super::error::ApiError;
use crate::auth::Tokens;
use crate::route::Route;

/// A page cannot set `Authorization` on a WebSocket; it sends its token as a subprotocol with this
/// prefix.
const PROTOCOL_PREFIX: &str = "bearer.";

/// The access rules of one server.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` allows all requests.
    tokens: Option<Arc<ArcSwap<Tokens>>>,
    /// Whether metrics need no token.
    open_metrics: bool,
}

impl Access {
    /// Requires one of these tokens, or none; tokens may change while the server runs.
    pub const fn new(tokens: Option<Arc<ArcSwap<Tokens>>>, open_metrics: bool) -> Self {
        Self { tokens, open_metrics }
    }

    /// Whether requests need a token.
    pub(super) const fn asks_for_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Rejects a request that its token does not allow. Otherwise returns whether it has a known
    /// token.
    pub(super) fn check(
        &self,
        route: Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<bool, ApiError> {
        let Some(tokens) = &self.tokens else { return Ok(false) };
        let Some(needs) = route.needs(method) else { return Ok(false) };
        if route == Route::Metrics && self.open_metrics {
            return Ok(false);
        }
        let shown = shown(route, headers)?;
        let tokens = tokens.load();
        let grant = tokens.find(shown).ok_or(ApiError::Unauthorized("the token is unknown"))?;
        if grant.scope >= needs {
            Ok(true)
        } else {
            Err(ApiError::Forbidden { has: grant.scope, needs })
        }
    }

    /// The name of a request's token, if it is known.
    pub(super) fn name(&self, headers: &HeaderMap) -> Option<String> {
        let tokens = self.tokens.as_ref()?.load();
        let shown = shown(Route::Other, headers).ok()?;
        Some(tokens.find(shown)?.name.clone())
    }
}

/// The token in the request's headers.
fn shown(route: Route, headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(ApiError::Unauthorized("there is more than one Authorization header"));
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
    Err(ApiError::Unauthorized("the request has no token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that tokens are accepted in exactly these ways, one at a time.
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
