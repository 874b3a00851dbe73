//! API tokens: missing, wrong, or with too small a scope.

use std::path::{Path, PathBuf};

use api::address::Address;
use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use crate::cluster::{CALM, Cluster, PATIENCE, eventually, program, run_to_end};
use crate::http::{Answer, send, try_send};

/// A token, and its line in the tokens file.
pub(crate) struct Pass {
    pub(crate) token: String,
    pub(crate) line: String,
}

/// Creates a token with the command line.
pub(crate) async fn new_token(scope: &str) -> Pass {
    let mut command = program();
    command.args(["token", "new", "--output=json", "--name=test", "--scope", scope]);
    let output = run_to_end(command).await;
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    Pass { token: text("token"), line: text("line") }
}

/// A cluster that requires tokens, and a token of each scope.
struct Guarded {
    cluster: Cluster,
    read: Pass,
    write: Pass,
    admin: Pass,
    directory: TempDir,
}

impl Guarded {
    async fn start(nodes: u16, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (read, write, admin) =
            (new_token("read").await, new_token("write").await, new_token("admin").await);
        let file = directory.path().join("tokens");
        let text = [&*read.line, "# those who write", &write.line, &admin.line].join("\n");
        std::fs::write(&file, text).unwrap();
        let file = format!("--tokens-file={}", file.display());
        let cluster = Cluster::start_with(nodes, &[&CALM, arguments, &[&*file]].concat());
        let guarded = Self { cluster, read, write, admin, directory };
        for id in guarded.cluster.ids() {
            let address = guarded.cluster.address(id);
            eventually("it is ready", async || {
                let answer = try_send("GET", &address, "/readyz", &[], "".into()).await.ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
        }
        guarded
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    fn log(&self, id: usize) -> String {
        std::fs::read_to_string(self.cluster.log(id)).unwrap()
    }
}

/// Sends a request with a token.
async fn ask(method: &str, server: &Address, path: &str, token: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let body = body.to_owned();
    send(method, server, path, &[("authorization", &authorization)], body).await
}

/// Every method and route, with a valid body, and the lowest scope that it requires.
const DOORS: [(&str, &str, &str, &str); 40] = [
    ("GET", "/livez", "", "none"),
    ("GET", "/readyz", "", "none"),
    ("GET", "/readyz?verbose", "", "none"),
    ("GET", "/", "", "none"),
    ("GET", "/nowhere", "", "none"),
    ("GET", "/openapi.json", "", "none"),
    ("GET", "/docs", "", "none"),
    ("GET", "/get/a", "", "read"),
    ("GET", "/kv/a", "", "read"),
    ("HEAD", "/kv/a", "", "read"),
    ("GET", "/kv?prefix=a", "", "read"),
    ("GET", "/watch?from=99999999", "", "read"),
    ("GET", "/cluster/status", "", "read"),
    ("GET", "/cluster/members", "", "read"),
    ("GET", "/metrics", "", "read"),
    ("GET", "/trace", "", "read"),
    ("GET", "/leases/1", "", "read"),
    ("POST", "/set", r#"{"key": "a", "value": "1"}"#, "write"),
    ("PUT", "/kv/a", "1", "write"),
    ("DELETE", "/kv/a", "", "write"),
    ("POST", "/txn", r#"{"then": [{"get": {"key": "a"}}]}"#, "write"),
    ("POST", "/batch", r#"{"operations": []}"#, "write"),
    ("POST", "/leases", r#"{"ttl_ms": 60000}"#, "write"),
    ("POST", "/leases/1/keep-alive", "", "write"),
    ("DELETE", "/leases/1", "", "write"),
    ("POST", "/sessions", r#"{"ttl_ms": 60000}"#, "write"),
    ("GET", "/sessions", "", "write"),
    ("DELETE", "/sessions/1", "", "write"),
    ("PATCH", "/kv/a", "", "write"),
    ("POST", "/watch", "", "read"),
    ("POST", "/cluster/members", "{}", "admin"),
    ("PUT", "/cluster/members", "{}", "admin"),
    ("DELETE", "/cluster/members/9", "", "admin"),
    ("POST", "/cluster/leader", "{\"to\": 9}", "admin"),
    ("POST", "/cluster/snapshot", "", "admin"),
    ("GET", "/cluster/backup", "", "admin"),
    ("GET", "/faults", "", "admin"),
    ("PUT", "/faults", "{}", "admin"),
    ("DELETE", "/faults", "", "admin"),
    ("PATCH", "/cluster/backup", "", "admin"),
];

/// The scopes; each includes those before it.
const RANKS: [&str; 4] = ["none", "read", "write", "admin"];

fn rank(scope: &str) -> Option<usize> {
    RANKS.iter().position(|it| *it == scope)
}

/// Guards the table above: it contains every described route.
#[tokio::test]
async fn the_table_of_doors_names_every_route() {
    let it = Guarded::start(1, &[]).await;
    let document = send("GET", &it.cluster.address(1), "/openapi.json", &[], "").await.json();
    let fits = |described: &str, path: &str| {
        let path = path.split('?').next().unwrap();
        let (described, path) = (described.split('/'), path.split('/'));
        described.clone().count() == path.clone().count()
            && described.zip(path).all(|(described, part)| {
                described.starts_with('{') && !part.is_empty() || described == part
            })
    };
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let has = |(known, door, ..): &(&str, &str, &str, &str)| {
                known.eq_ignore_ascii_case(method) && fits(path, door)
            };
            assert!(DOORS.iter().any(has), "{method} {path}");
        }
    }
}

/// Guards every route against every page, whatever its token: a foreign origin is refused; a
/// configured origin or the server's own needs the required scope.
#[tokio::test]
async fn each_door_is_shut_to_pages_of_other_origins() {
    let it = Guarded::start(1, &["--cors-origins=http://localhost:1234"]).await;
    let server = it.cluster.address(1);
    let own = format!("http://{server}");
    let other = new_token("admin").await;
    let bearer = |token: &str| format!("Bearer {token}");
    let credentials = [
        ("none", None, 401),
        // A token of another cluster is invalid here.
        ("none", Some(bearer(&other.token)), 401),
        ("read", Some(bearer(&it.read.token)), 403),
        ("write", Some(bearer(&it.write.token)), 403),
        ("admin", Some(bearer(&it.admin.token)), 403),
    ];
    let page = |origin: &str, good: bool| (Some(origin.to_owned()), good);
    for (method, path, body, needs) in DOORS {
        for (scope, token, refusal) in &credentials {
            for (origin, good) in [
                (None, true),
                page(&own, true),
                page("http://localhost:1234", true),
                page("http://localhost:1235", false),
                page("https://evil.example", false),
                page("null", false),
            ] {
                let mut headers = Vec::new();
                headers.extend(token.as_deref().map(|token| ("authorization", token)));
                headers.extend(origin.as_deref().map(|origin| ("origin", origin)));
                let what = format!("{method} {path} with {scope} from {origin:?}");
                let status = status(method, &server, path, &headers, body).await;
                if !good {
                    assert_eq!(status, 403, "{what}");
                } else if rank(scope) >= rank(needs) {
                    assert!(!matches!(status, 401 | 403), "{what}: {status}");
                } else {
                    assert_eq!(status, *refusal, "{what}");
                }
            }
        }
    }
}

/// The status of an answer whose body may not end.
async fn status(
    method: &str,
    server: &Address,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> u16 {
    let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\n{}content-length: {}\r\n\r\n{body}",
        headers.concat(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

/// Guards every route: without a token, with a wrong one, and with each scope.
#[tokio::test]
async fn each_route_opens_to_its_scope_and_no_lower_one() {
    let it = Guarded::start(1, &[]).await;
    let server = it.cluster.address(1);
    for (method, path, body, needs) in
        DOORS.into_iter().filter(|door| door.1 != "/watch?from=99999999")
    {
        let what = format!("{method} {path}");
        for (scope, token) in [("read", &it.read), ("write", &it.write), ("admin", &it.admin)] {
            let answer = ask(method, &server, path, &token.token, body).await;
            let status = answer.status.as_u16();
            if rank(scope) >= rank(needs) {
                assert!(!matches!(status, 401 | 403), "{what} with {scope}: {status}");
                continue;
            }
            assert_eq!(status, 403, "{what} with {scope}");
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needs}\"");
            assert_eq!(answer.header("www-authenticate"), challenge, "{what} with {scope}");
            let problem = answer.assert_problem(403, "insufficient_scope");
            assert!(problem["detail"].as_str().unwrap().contains(needs), "{problem}");
        }
        let wrong = format!("{}0", it.admin.token);
        for headers in [
            &[][..],
            &[("authorization", format!("Bearer {wrong}"))],
            &[("authorization", it.admin.token.clone())],
            &[("authorization", format!("Basic {}", it.admin.token))],
            &[("x-token", it.admin.token.clone())],
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            let answer = send(method, &server, path, &headers, body.to_owned()).await;
            if needs == "none" {
                assert_ne!(answer.status, 401, "{what}");
            } else {
                assert_eq!(answer.status, 401, "{what} with {headers:?}");
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
                if method != "HEAD" {
                    answer.assert_problem(401, "unauthorized");
                }
            }
        }
    }
}

/// Guards the audit log: each administrative request is logged with the token's name, the change,
/// the client's address and the result, even after forwarding.
#[tokio::test]
async fn what_administrators_do_stands_in_the_log() {
    let it = Guarded::start(3, &[]).await;
    let server = it.cluster.address(1);
    let leader = eventually("a leader is known", async || {
        let status = ask("GET", &server, "/cluster/status", &it.read.token, "").await.json();
        usize::try_from(status["leader"]["id"].as_u64()?).ok()
    })
    .await;
    let follower = it.cluster.ids().find(|id| *id != leader).unwrap();
    let lines = |id: usize| -> Vec<String> {
        let log = it.log(id);
        log.lines().filter(|line| line.contains(" audit: ")).map(str::to_owned).collect()
    };
    let join = r#"{"id": 9, "peer": "127.0.0.1:1", "client": "ä:2"}"#;
    for (id, method, path, body, status, description) in [
        (leader, "POST", "/cluster/snapshot", "", 200, ""),
        (leader, "DELETE", "/cluster/members/9", "", 404, "remove server 9"),
        (follower, "DELETE", "/cluster/members/9", "", 404, "remove server 9"),
        (
            leader,
            "PUT",
            "/cluster/members",
            r#"{"voters": [1, 2, 3]}"#,
            409,
            "set the voters: 1 2 3",
        ),
        (leader, "POST", "/cluster/leader", r#"{"to": 9}"#, 409, "transfer leadership to server 9"),
        (leader, "POST", "/cluster/members", join, 400, ""),
        (leader, "GET", "/cluster/backup", "", 200, ""),
    ] {
        let before = lines(id).len();
        let answer = ask(method, &it.cluster.address(id), path, &it.admin.token, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {:?}", answer.body);
        // Another thread writes the lines: those of a forwarded request may come between.
        let (what, status) = (format!("{method} {path}"), format!("status={status}"));
        let words = [&what, "token=\"test\"", "from=127.0.0.1", description, &status];
        let told = |line: &String| words.iter().all(|word| line.contains(word));
        eventually(&what, async || lines(id).into_iter().skip(before).find(told)).await;
    }
    let passed_on = format!("forwarded_by=\"{follower}\"");
    assert!(lines(leader).iter().any(|line| line.contains(&passed_on)), "{:?}", lines(leader));
    let before = lines(leader).len();
    let server = it.cluster.address(leader);
    ask("POST", &server, "/cluster/snapshot", &it.write.token, "").await;
    send("POST", &server, "/cluster/snapshot", &[], "").await.assert_problem(401, "unauthorized");
    ask("PUT", &server, "/kv/a", &it.admin.token, "1").await;
    ask("POST", &server, "/cluster/snapshot", &it.admin.token, "").await;
    let more = eventually("the last is told", async || {
        let more = lines(leader).split_off(before);
        more.last()?.contains("status=200").then_some(more)
    })
    .await;
    assert!(more.len() == 2 && more[0].contains("status=403"), "{more:?}");
}

/// Guards against two readings of a path, for scope and handler: a path that resembles a guarded
/// route has no handler and reveals nothing.
#[tokio::test]
async fn no_other_spelling_of_a_path_gets_around_its_scope() {
    let page = tempfile::tempdir().unwrap();
    std::fs::write(page.path().join("index.html"), "the page").unwrap();
    std::fs::write(page.path().join(".hidden"), "sha256").unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("tokens"), "sha256").unwrap();
    let link = |name: &str, to: &Path| {
        std::os::unix::fs::symlink(outside.path().join(to), page.path().join(name)).unwrap();
    };
    link("link", Path::new(""));
    link("packed.gz", Path::new("tokens"));
    std::fs::write(page.path().join("packed"), "plain").unwrap();
    let it = Guarded::start(1, &[&format!("--web-dir={}", page.path().display())]).await;
    let server = it.cluster.address(1);
    for path in [
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/livez/../metrics",
        "/%6detrics",
        "/METRICS",
        "/metrics%00",
        "/metrics;a=b",
        "/trace/",
        "/cluster/status/",
        "/cluster%2fstatus",
        "/%63luster/status",
        "//kv/a",
        "/kv%2fa",
        "/../tokens",
        "/..%2ftokens",
        "/%2e%2e/tokens",
        "/index.html/../../tokens",
        "/.hidden",
        "/link",
        "/link/tokens",
        "/packed",
        &format!("/{}", "n".repeat(256)),
        &format!("/{}", "%6e".repeat(300)),
        &format!("/{}/index.html", "n".repeat(1000)),
    ] {
        let answer = send("GET", &server, path, &[], "").await;
        assert!(matches!(answer.status.as_u16(), 401 | 404), "{path}: {}", answer.status);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("raft_term") && !body.contains("sha256"), "{path}: {body}");
    }
    assert_eq!(send("GET", &server, "/", &[], "").await.body, "the page");
    // The query does not affect the scope.
    assert_eq!(send("GET", &server, "/metrics?/livez", &[], "").await.status, 401);
    assert_eq!(send("GET", &server, "/kv/a?x=/livez", &[], "").await.status, 401);
}

/// Guards pages of other origins when tokens are required: the browser's preflight request needs no
/// token, the request itself does.
#[tokio::test]
async fn a_configured_page_needs_a_token_too() {
    let it = Guarded::start(1, &["--cors-origins=http://localhost:1234"]).await;
    let server = it.cluster.address(1);
    let origin = ("origin", "http://localhost:1234");
    let asked = [
        origin,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = send("OPTIONS", &server, "/kv/a", &asked, "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    send("PUT", &server, "/kv/a", &[origin], "1").await.assert_problem(401, "unauthorized");
    let token = format!("Bearer {}", it.write.token);
    let shown = [origin, ("authorization", &*token)];
    assert_eq!(send("PUT", &server, "/kv/a", &shown, "1").await.status, 200);
}

/// Guards metrics for a Prometheus without a token: `--open-metrics` opens them, and nothing else.
#[tokio::test]
async fn metrics_are_open_where_that_is_said() {
    let it = Guarded::start(1, &["--open-metrics"]).await;
    let server = it.cluster.address(1);
    assert_eq!(send("GET", &server, "/metrics", &[], "").await.status, 200);
    assert_eq!(send("GET", &server, "/cluster/status", &[], "").await.status, 401);
}

/// Guards requests through a follower: it forwards the client's token, and the leader checks it.
#[tokio::test]
async fn a_follower_passes_the_token_on() {
    let it = Guarded::start(3, &[]).await;
    for id in it.cluster.ids() {
        let server = it.cluster.address(id);
        let path = format!("/kv/{id}");
        eventually("a write through any server", async || {
            let answer = ask("PUT", &server, &path, &it.write.token, "1").await;
            (answer.status == 200).then_some(())
        })
        .await;
        assert_eq!(ask("PUT", &server, &path, &it.read.token, "2").await.status, 403);
        assert_eq!(ask("GET", &server, &path, &it.read.token, "").await.body, "1");
        // The follower also asks the leader for its progress with the client's token.
        let status = ask("GET", &server, "/cluster/status", &it.read.token, "").await.json();
        assert!(status["progress_from"].is_number(), "{status}");
    }
}

/// Guards rotation: tokens are added and removed without a restart, with and without a signal. Open
/// watches continue, and an unusable file changes nothing.
#[tokio::test]
async fn tokens_are_read_anew_on_sighup() {
    let it = Guarded::start(1, &[]).await;
    let server = it.cluster.address(1);
    let status = async |token: &str| ask("GET", &server, "/kv?prefix=x", token, "").await.status;
    let fresh = new_token("read").await;
    assert_eq!(
        (status(&fresh.token).await, status(&it.read.token).await),
        (401.try_into().unwrap(), 200.try_into().unwrap())
    );

    let mut watch = TcpStream::connect(server.to_string()).await.unwrap();
    let request = format!(
        "GET /watch HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {}\r\n\r\n",
        it.read.token
    );
    watch.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, watch.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    std::fs::write(it.file(), format!("{}\n{}\n", fresh.line, it.write.line)).unwrap();
    it.cluster.signal(1, Signal::HUP);
    eventually("the new token opens", async || (status(&fresh.token).await == 200).then_some(()))
        .await;
    assert_eq!(status(&it.read.token).await, 401, "the old one was taken back");
    assert_eq!(ask("PUT", &server, "/kv/told", &it.write.token, "1").await.status, 200);
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains("told") {
        let read = timeout(PATIENCE, watch.read(&mut bytes)).await.expect("it goes on").unwrap();
        assert!(read > 0, "what runs was cut: {text}");
        text += std::str::from_utf8(&bytes[..read]).unwrap();
    }

    for (bad, words) in [(&*fresh.token, "line 1"), ("", "contains no token")] {
        std::fs::write(it.file(), bad).unwrap();
        it.cluster.signal(1, Signal::HUP);
        eventually("the log says why", async || it.log(1).contains(words).then_some(())).await;
        assert_eq!(status(&fresh.token).await, 200, "what held before goes on holding");
    }
    assert!(!it.log(1).contains(&fresh.token), "the log repeats what stood in the file");

    std::fs::write(it.file(), &it.read.line).unwrap();
    eventually("the change is noticed without a signal", async || {
        (status(&it.read.token).await == 200).then_some(())
    })
    .await;
}

/// Guards the start: with an unusable tokens file the server does not start.
#[tokio::test]
async fn a_server_without_its_tokens_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let argument = format!("--tokens-file={}", file.display());
    let cluster = Cluster::prepare(1, &[&argument]);
    for (text, words) in
        [(None, "cannot read"), (Some("x"), "three words"), (Some("# none"), "no token")]
    {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let output = run_to_end(cluster.command(1)).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(words), "{error}");
    }
}

/// Guards the trace, to which a page cannot send the header: it sends its token as a protocol, and
/// the answer does not repeat it.
#[tokio::test]
async fn a_page_shows_its_token_to_the_trace_as_a_protocol() {
    let it = Guarded::start(1, &[]).await;
    let connect = async |protocols: Option<String>| {
        let url = format!("ws://{}/trace", it.cluster.address(1));
        let mut request = url.into_client_request().unwrap();
        if let Some(protocols) = protocols {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        }
        connect_async(request).await
    };
    let shown = format!("glassraft.trace, bearer.{}", it.read.token);
    let (mut socket, response) = connect(Some(shown)).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "glassraft.trace");
    assert!(matches!(socket.next().await, Some(Ok(Frame::Text(_)))));
    for refused in [None, Some("glassraft.trace, bearer.glr_0".to_owned())] {
        let Err(tungstenite::Error::Http(answer)) = connect(refused).await else {
            panic!("let in");
        };
        assert_eq!(answer.status(), 401);
    }
}

/// Guards the logs: at any level they contain no token.
#[tokio::test]
async fn no_token_stands_in_the_logs() {
    let it = Guarded::start(3, &["--log=trace"]).await;
    for (id, pass) in [(1, &it.read), (2, &it.write), (3, &it.admin)] {
        let server = it.cluster.address(id);
        let token = &pass.token;
        ask("PUT", &server, "/kv/a", token, "1").await;
        ask("GET", &server, "/cluster/status", token, "").await;
        let mut request = format!("ws://{server}/trace").into_client_request().unwrap();
        let protocols = format!("bearer.{token}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        drop(connect_async(request).await);
        it.cluster.signal(id, Signal::HUP);
        eventually("it was read anew", async || {
            it.log(id).contains("reloaded the tokens").then_some(())
        })
        .await;
    }
    for id in it.cluster.ids() {
        let log = it.log(id);
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "nothing much is logged: {log}");
        for pass in [&it.read, &it.write, &it.admin] {
            assert!(!log.contains(&pass.token[4..]), "a token stands in the log of server {id}");
        }
    }
}
