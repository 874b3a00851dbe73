//! Adds to the description what many operations share.

use hyper::Method;
use utoipa::Modify;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

use crate::route::Route;

/// Operations that read the state.
const READS: [&str; 4] = ["get_json", "get_raw", "get_range", "show_lease"];

/// Operations that change the state through the log.
const WRITES: [&str; 10] = [
    "batch",
    "set",
    "put_raw",
    "delete",
    "transact",
    "grant_lease",
    "keep_lease_alive",
    "revoke_lease",
    "open_session",
    "close_session",
];

/// Adds the shared headers and the security scheme.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut OpenApi) {
        let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(
            "If the servers require tokens: an API token with at least the scope that is named. \
             `admin` includes `write`, and `write` includes `read`.",
        ));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        for (path, item) in &mut api.paths.paths {
            let route = Route::of(&path.replace(['{', '}'], ""));
            let all = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in all {
                let Some(operation) = operation else { continue };
                let needed = route.needs(&method).map(|scope| {
                    // Servers without tokens accept all requests.
                    vec![
                        SecurityRequirement::default(),
                        SecurityRequirement::new("bearer", [scope.to_string()]),
                    ]
                });
                operation.security = needed;
            }
        }
        for operation in operations(api) {
            let id = operation.operation_id.clone().unwrap_or_default();
            let (reads, writes) = (READS.contains(&&*id), WRITES.contains(&&*id));
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                if !status.starts_with('2') {
                    continue;
                }
                let mut add = |name: &str, kind: Type, text: &str| {
                    response.headers.insert(name.to_owned(), header(kind, text).into());
                };
                if id != "metrics" {
                    add("x-raft-node", Type::Integer, "The id of the server that answered");
                }
                if reads || writes {
                    let text = "The id of the server that forwarded the request";
                    add("x-raft-forwarded-by", Type::Integer, text);
                    let text = "The store's revision that the request saw or created";
                    add("x-raft-revision", Type::Integer, text);
                }
                if reads {
                    let text = "The consistency of the read; see the parameter `consistency`";
                    add("x-raft-consistency", Type::String, text);
                    let text = "The maximum age of the state of a stale read with `max_staleness`, \
                                in ms";
                    add("x-raft-staleness-ms", Type::Integer, text);
                }
            }
        }
    }
}

/// All operations of all paths.
pub(super) fn operations(api: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    api.paths.paths.values_mut().flat_map(|item| {
        let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        all.into_iter().flatten()
    })
}

pub(super) fn header(kind: Type, text: &str) -> Header {
    let schema = Schema::Object(Object::builder().schema_type(kind).build());
    Header::builder().schema(Some(schema)).description(Some(text)).build()
}
