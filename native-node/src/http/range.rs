//! `GET /kv?prefix=…`: the keys of a range, in order, page by page.

use std::cmp::Ordering;

use api::headers::{CONSISTENCY_HEADER, REVISION_HEADER};
use api::json_bytes::JsonBytes;
use api::kv::Found;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Uri};
use raft_core::kv::{KeyRange, KvStore};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Document, Outgoing};
use super::error::ApiError;
use super::freshness::{self, Unseen};
use super::kv::{look, shown};
use super::request::{self, ReadOptions};
use super::{App, signed};
use crate::addresses::without_reserved;
use crate::driver::handle::RequestError;

/// The default number of pairs in one answer.
const DEFAULT_LIMIT: usize = 100;

/// The maximum number of pairs in one answer.
pub(super) const MAX_LIMIT: usize = 1000;

/// A page ends once its keys and values have this many bytes.
const PAGE_BYTES: usize = 1 << 20;

/// The parsed parameters.
#[derive(Debug, Default)]
struct Query {
    range: KeyRange,
    limit: Option<usize>,
    revision: Option<u64>,
    read: ReadOptions,
}

/// The query parameters of a range; [`key_range`] parses them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read one by one since keys are bytes")]
pub(super) struct RangeParameters {
    /// Only keys with this prefix, percent-encoded.
    prefix: Option<String>,
    /// Only keys from this key on, percent-encoded.
    start: Option<String>,
    /// Only keys before this key, percent-encoded.
    end: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read one by one")]
struct PageParameters {
    /// The maximum number of keys. A page also ends after about 1 MiB of keys and values.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Reads the keys as they were at this revision. Give the revision of the first page: then all
    /// pages show the same state. The server that sent a page with a `next` holds its state for a
    /// minute after each page, and up to 64 states. After that, and on other servers, the error is
    /// `revision_not_held`. `x-raft-consistency` is `snapshot`.
    revision: Option<u64>,
}

/// Keys of a range, in order.
#[derive(ToSchema)]
struct Page {
    /// The store's revision.
    revision: u64,
    pairs: Vec<Found>,
    /// The `start` of the next page; `null` on the last page.
    #[schema(value_type = Option<JsonBytes>)]
    next: Option<Bytes>,
}

/// Reads a range of keys, page by page.
///
/// A page's `next` is the `start` of the next page.
#[utoipa::path(
    get, path = "/kv", operation_id = "get_range", tag = "keys",
    params(RangeParameters, PageParameters, ReadOptions),
    responses((status = 200, description = "A page of the keys", body = Page)),
)]
pub(super) async fn get(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let Query { range, limit, revision, read } = Query::of(&parts.uri)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let show = |store: &KvStore| {
        let page = page(store, &range, limit);
        if page.next.is_some() {
            app.reads.held.hold(store);
        }
        Outgoing::from(page.document())
    };
    let Some(revision) = revision else { return look(app, &parts, read, show).await };
    let parts = &parts;
    let see = || async move {
        match state_at(app, revision).await {
            Err(Unseen::Handle(RequestError::NotLeader { leader })) => {
                Err(app.ask_leader(leader, parts, Bytes::new(), read.redirect).await)
            }
            seen => seen.map_err(|unseen| Err(unseen.told(app))),
        }
    };
    let answer = match shown(app, see, show).await {
        Ok((answer, _)) => answer,
        Err(elsewhere) => return elsewhere,
    };
    let mut response = signed(app, answer);
    let headers = response.headers_mut();
    headers.insert(REVISION_HEADER, HeaderValue::from(revision));
    headers.insert(CONSISTENCY_HEADER, HeaderValue::from_static("snapshot"));
    Ok(response)
}

/// The state at a revision, if it is held or is the newest.
async fn state_at(app: &App, revision: u64) -> Result<KvStore, Unseen> {
    if let Some(store) = app.reads.held.get(revision) {
        return Ok(store);
    }
    let newest = freshness::see(app, ReadOptions::default()).await?.store;
    match newest.revision().cmp(&revision) {
        Ordering::Equal => Ok(newest),
        Ordering::Greater => Err(Unseen::Api(ApiError::RevisionNotHeld(revision))),
        Ordering::Less => {
            let why = format!(
                "revision {revision} does not exist yet: the newest is {}",
                newest.revision()
            );
            Err(Unseen::Api(ApiError::BadQuery(why)))
        }
    }
}

impl Query {
    fn of(uri: &Uri) -> Result<Self, ApiError> {
        let mut query = Self { range: key_range(uri)?, ..Self::default() };
        for (name, value) in request::parameters(uri) {
            match name {
                "prefix" | "start" | "end" => {}
                "limit" => {
                    let limit = request::parameter(name, &value)?;
                    if !(1..=MAX_LIMIT).contains(&limit) {
                        let what = format!("limit must be from 1 to {MAX_LIMIT}");
                        return Err(ApiError::BadQuery(what));
                    }
                    query.limit = Some(limit);
                }
                "revision" => query.revision = Some(request::parameter(name, &value)?),
                "consistency" => query.read.consistency = request::parameter(name, &value)?,
                "max_staleness" => {
                    query.read.max_staleness = Some(request::parameter(name, &value)?);
                }
                "min_revision" => {
                    query.read.min_revision = Some(request::parameter(name, &value)?);
                }
                "redirect" => query.read.redirect = request::parameter(name, &value)?,
                other => return Err(ApiError::BadQuery(format!("unknown parameter `{other}`"))),
            }
        }
        Ok(query)
    }
}

/// The intersection of `prefix`, `start` (inclusive) and `end` (exclusive).
pub(super) fn key_range(uri: &Uri) -> Result<KeyRange, ApiError> {
    request::check_parameters(uri)?;
    let mut range = KeyRange::all();
    for (name, key) in request::parameters(uri) {
        if name == "end" && key.is_empty() {
            let why = "`end` is empty: omit it to read up to the last key";
            return Err(ApiError::BadQuery(why.to_owned()));
        }
        let given = match name {
            "prefix" => KeyRange::prefix(key),
            "start" => KeyRange { start: key, end: None },
            "end" => KeyRange { start: Bytes::new(), end: Some(key) },
            _ => continue,
        };
        if given.start.len() > raft_core::kv::MAX_KEY_BYTES {
            let limit = raft_core::kv::MAX_KEY_BYTES;
            return Err(ApiError::TooLarge { what: "key", limit });
        }
        range.start = range.start.max(given.start);
        range.end = match (range.end, given.end) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    Ok(without_reserved(range))
}

impl Page {
    fn document(&self) -> Document {
        let Self { revision, pairs, next } = self;
        let mut document = Document::default();
        document.raw("{\"revision\":");
        document.plain(revision);
        document.raw(",\"pairs\":");
        document.list(pairs, Document::found);
        document.raw(",\"next\":");
        match next {
            Some(next) => document.bytes(next),
            None => document.raw("null"),
        }
        document.raw("}");
        document
    }
}

fn page(store: &KvStore, range: &KeyRange, limit: usize) -> Page {
    let (mut pairs, mut bytes, mut next) = (Vec::new(), 0, None);
    for (key, value) in store.range(range) {
        if pairs.len() == limit || bytes >= PAGE_BYTES {
            next = Some(key.clone());
            break;
        }
        bytes += key.len() + value.value.len();
        pairs.push(Found::new(key, value));
    }
    Page { revision: store.revision(), pairs, next }
}

#[cfg(test)]
mod tests {
    use api::kv::Consistency;
    use raft_core::kv::Command;

    use super::*;

    fn query(text: &str) -> Result<Query, ApiError> {
        Query::of(&format!("/kv?{text}").parse().expect("a URI"))
    }

    /// Guards that keys in parameters are bytes, and that invalid parameters are rejected.
    #[test]
    fn ranges_are_understood_or_refused() {
        let both = query("prefix=a%2F&start=a%2Fm&limit=5").expect("good");
        assert_eq!((&both.range.start[..], both.limit), (&b"a/m"[..], Some(5)));
        assert_eq!(both.range.end.as_deref(), Some(&b"a0"[..]));
        assert_eq!(query("prefix=%80").expect("bytes").range.start, &b"\x80"[..]);
        assert_eq!(query("consistency=stale").expect("good").read.consistency, Consistency::Stale);
        assert_eq!(query("start=a+b").expect("good").range.start, &b"a b"[..]);
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "revision=x",
            "consistency=maybe",
            "prefix=a&prefix=a",
            "prefix=%zz",
            "min_revision=-1",
            "start=p&end=",
            "end",
        ] {
            assert!(matches!(query(bad), Err(ApiError::BadQuery(_))), "{bad}");
        }
    }

    /// Guards that the pages add up to the range, each bounded in number and bytes.
    #[test]
    fn pages_add_up_to_the_range() {
        let mut store = KvStore::default();
        for number in 0..10 {
            let value = vec![b'v'; if number < 8 { 10 } else { PAGE_BYTES }];
            store.apply(Command::put(format!("k{number}"), value));
        }
        store.apply(Command::put("other", "x"));
        let (mut range, mut sizes) = (KeyRange::prefix("k"), Vec::new());
        loop {
            let page = page(&store, &range, 4);
            sizes.push(page.pairs.len());
            let Some(next) = page.next else { break };
            range.start = next;
        }
        assert_eq!(sizes, [4, 4, 1, 1]);
    }
}
