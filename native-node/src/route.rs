//! The table of routes: the pattern, the methods and the needed scope of each.

use hyper::Method;

use crate::auth::Scope;

/// The routes. Metrics use the patterns as labels; the paths themselves would make a metric for
/// each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Reads a key as JSON.
    Get,
    /// Writes a key as JSON.
    Set,
    /// Reads and writes the bytes of a key.
    Kv,
    /// Reads a range of keys.
    Range,
    /// Transactions.
    Txn,
    /// Several operations in one request.
    Batch,
    /// Watches keys.
    Watch,
    /// Leases, and each lease in a subpath.
    Leases,
    /// Sessions, and each session in a subpath.
    Sessions,
    /// Members, and each member in a subpath.
    Members,
    /// Leadership transfers.
    Leader,
    /// Snapshots on demand.
    Snapshot,
    /// Backups.
    Backup,
    /// The status of this server and of the cluster.
    Status,
    /// Liveness probes.
    Livez,
    /// Readiness probes.
    Readyz,
    /// Metrics.
    Metrics,
    /// The event stream.
    Trace,
    /// Injected faults.
    Faults,
    /// The description of the API.
    OpenApi,
    /// The page that shows the description, and its files.
    Docs,
    /// The web page's files, and paths that do not exist.
    Other,
}

struct Row {
    route: Route,
    pattern: &'static str,
    /// The methods of the path itself; empty if the handler decides.
    methods: &'static [Method],
    /// The scope for GET and HEAD, and the scope for all other methods; `None` without a token.
    scopes: Option<(Scope, Scope)>,
}

const GET: &[Method] = &[Method::GET, Method::HEAD];
const ONLY_GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];

/// Probes and pages need no token: they show no stored data.
const NO_TOKEN: Option<(Scope, Scope)> = None;
const READ: Option<(Scope, Scope)> = Some((Scope::Read, Scope::Read));
const READ_OR_WRITE: Option<(Scope, Scope)> = Some((Scope::Read, Scope::Write));
const WRITE: Option<(Scope, Scope)> = Some((Scope::Write, Scope::Write));
/// The status shows the members too.
const READ_OR_ADMIN: Option<(Scope, Scope)> = Some((Scope::Read, Scope::Admin));
const ADMIN: Option<(Scope, Scope)> = Some((Scope::Admin, Scope::Admin));

/// All routes, in the order of their numbers.
const TABLE: [Row; 22] = {
    use Method as M;
    use Route as R;
    [
        row(R::Get, "/get/{key}", GET, READ),
        row(R::Set, "/set", POST, WRITE),
        row(R::Kv, "/kv/{key}", &[M::GET, M::HEAD, M::PUT, M::DELETE], READ_OR_WRITE),
        row(R::Range, "/kv", GET, READ),
        row(R::Txn, "/txn", POST, WRITE),
        row(R::Batch, "/batch", POST, WRITE),
        row(R::Watch, "/watch", ONLY_GET, READ),
        row(R::Leases, "/leases", POST, READ_OR_WRITE),
        row(R::Sessions, "/sessions", &[M::GET, M::HEAD, M::POST], WRITE),
        row(R::Members, "/cluster/members", &[M::GET, M::HEAD, M::POST, M::PUT], READ_OR_ADMIN),
        row(R::Leader, "/cluster/leader", POST, ADMIN),
        row(R::Snapshot, "/cluster/snapshot", POST, ADMIN),
        row(R::Backup, "/cluster/backup", ONLY_GET, ADMIN),
        row(R::Status, "/cluster/status", GET, READ),
        row(R::Livez, "/livez", GET, NO_TOKEN),
        row(R::Readyz, "/readyz", GET, NO_TOKEN),
        row(R::Metrics, "/metrics", GET, READ),
        row(R::Trace, "/trace", GET, READ),
        row(R::Faults, "/faults", &[], ADMIN),
        row(R::OpenApi, "/openapi.json", GET, NO_TOKEN),
        row(R::Docs, "/docs", GET, NO_TOKEN),
        row(R::Other, "other", &[], NO_TOKEN),
    ]
};

const fn row(
    route: Route,
    pattern: &'static str,
    methods: &'static [Method],
    scopes: Option<(Scope, Scope)>,
) -> Row {
    Row { route, pattern, methods, scopes }
}

impl Route {
    /// All routes, in the order of their numbers.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Other; TABLE.len()];
        let mut number = 0;
        while number < all.len() {
            all[number] = TABLE[number].route;
            number += 1;
        }
        all
    };

    const fn row(self) -> &'static Row {
        const TABLE: &[Row] = &self::TABLE;
        &TABLE[self as usize]
    }

    /// The pattern, as a metric's label.
    pub const fn name(self) -> &'static str {
        self.row().pattern
    }

    /// The route of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/kv/") {
            return Self::Kv;
        }
        if path.starts_with("/get/") {
            return Self::Get;
        }
        let known = |route: &Self| route.name() == path;
        let above = |route: &Self| {
            let below = path.strip_prefix(route.name());
            route.has_subpaths() && below.is_some_and(|rest| rest.starts_with('/'))
        };
        let mut routes = Self::ALL.into_iter();
        routes.find(|route| known(route) || above(route)).unwrap_or(Self::Other)
    }

    /// The methods of a path; empty if the handler decides.
    pub fn methods(self, path: &str) -> &'static [Method] {
        let below = path.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'));
        match (self, below) {
            (Self::Leases, Some(lease)) => match lease.split_once('/') {
                None => &[Method::GET, Method::HEAD, Method::DELETE],
                Some((_, "keep-alive")) => POST,
                Some(_) => &[],
            },
            (Self::Sessions | Self::Members, Some(_)) => &[Method::DELETE],
            (_, _) => self.row().methods,
        }
    }

    /// The scope that a request needs; `None` if it needs no token.
    pub fn needs(self, method: &Method) -> Option<Scope> {
        let (reading, changing) = self.row().scopes?;
        Some(if matches!(*method, Method::GET | Method::HEAD) { reading } else { changing })
    }

    const fn has_subpaths(self) -> bool {
        matches!(self, Self::Leases | Self::Sessions | Self::Members | Self::Docs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the methods of a path depend on its subpath.
    #[test]
    fn each_path_has_its_methods() {
        for (path, expected) in [
            ("/set", "POST"),
            ("/kv/a/b", "GET HEAD PUT DELETE"),
            ("/leases", "POST"),
            ("/leases/7", "GET HEAD DELETE"),
            ("/leases/7/keep-alive", "POST"),
            ("/leases/7/other", ""),
            ("/sessions", "GET HEAD POST"),
            ("/sessions/7", "DELETE"),
            ("/cluster/members", "GET HEAD POST PUT"),
            ("/cluster/members/4", "DELETE"),
            ("/metrics", "GET HEAD"),
            ("/nothing", ""),
        ] {
            let methods = Route::of(path).methods(path).iter().map(Method::as_str);
            assert_eq!(methods.collect::<Vec<_>>().join(" "), expected, "{path}");
        }
    }

    /// Guards the metrics' labels: they are few, whatever is requested.
    #[test]
    fn paths_are_sorted_by_their_pattern() {
        assert_eq!(Route::of("/kv/a/b"), Route::Kv);
        assert_eq!(Route::of("/get/"), Route::Get);
        assert_eq!(Route::of("/get"), Route::Other);
        assert_eq!(Route::of("/set"), Route::Set);
        assert_eq!(Route::of("/set/x"), Route::Other);
        assert_eq!(Route::of("/cluster/status"), Route::Status);
        assert_eq!(Route::of("/kv"), Route::Range);
        assert_eq!(Route::of("/leases/7/keep-alive"), Route::Leases);
        assert_eq!(Route::of("/cluster/members/4"), Route::Members);
        assert_eq!(Route::of("/leasesx"), Route::Other);
        assert_eq!(Route::of("/txn/x"), Route::Other);
        for (number, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, number);
        }
    }

    /// Guards that routes that change something never pass as reads, whatever the method.
    #[test]
    fn each_route_needs_the_least_scope_that_is_safe() {
        for route in Route::ALL {
            let [reads, head, writes, odd] =
                [Method::GET, Method::HEAD, Method::POST, Method::PATCH]
                    .map(|method| route.needs(&method));
            assert_eq!(reads, head, "{route:?}");
            assert!(reads <= writes && writes == odd, "{route:?}");
        }
        assert_eq!(Route::Kv.needs(&Method::GET), Some(Scope::Read));
        assert_eq!(Route::Kv.needs(&Method::DELETE), Some(Scope::Write));
        assert_eq!(Route::Members.needs(&Method::DELETE), Some(Scope::Admin));
        assert_eq!(Route::Livez.needs(&Method::GET), None);
    }
}
