//! The demo: real processes that are killed and frozen over HTTP, and that all end with it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use api::address::Address;
use bytes::Bytes;
use futures_util::SinkExt;
use native_node::transport::handshake::{Answer, Hello, Refusal, Verdict};
use raft_core::codec;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite};

use crate::cluster::{PATIENCE, eventually, free_ports, program, run_to_end};
use crate::doors::{challenged, hello, word};
use crate::http::{send, try_send};

struct Demo {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    page: Address,
}

impl Demo {
    /// Starts the demo in a directory.
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let port = free_ports(PORTS);
        let mut child = program()
            .args(["demo", "--port", &port.to_string(), "--dir"])
            .arg(directory.join("demo"))
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                println!("demo: {line}");
                drop(sender.send(line));
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, lines, page: format!("127.0.0.1:{port}").parse().unwrap() }
    }

    /// Waits for a line with this prefix.
    fn line(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect(beginning);
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    async fn overview(&self) -> Value {
        send("GET", &self.page, "/demo/nodes", &[], "").await.json()
    }

    async fn act(&self, id: u64, action: &str) -> crate::http::Answer {
        let token = self.overview().await["token"].as_str().unwrap().to_owned();
        let path = format!("/demo/nodes/{id}/{action}");
        send("POST", &self.page, &path, &[("x-demo-token", &token)], "").await
    }

    async fn node(&self, id: u64) -> Value {
        let overview = self.overview().await;
        let node = overview["nodes"].as_array().unwrap().iter().find(|it| it["id"] == id);
        node.unwrap().clone()
    }

    async fn state(&self, id: u64) -> String {
        self.node(id).await["state"].as_str().unwrap().to_owned()
    }

    async fn pids(&self) -> Vec<Pid> {
        let overview = self.overview().await;
        let pids = overview["nodes"].as_array().unwrap().iter().filter_map(|it| it["pid"].as_i64());
        pids.map(|pid| Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()).collect()
    }

    async fn leader(&self) -> u64 {
        eventually("a leader is known", async || {
            for node in self.overview().await["nodes"].as_array().unwrap() {
                if node["state"] != "running" {
                    continue;
                }
                let server: Address = node["client"].as_str().unwrap().parse().unwrap();
                let path = "/cluster/status?progress=local";
                // A server that has just started may not listen yet.
                let status = try_send("GET", &server, path, &[], Bytes::new()).await;
                if status.is_ok_and(|status| status.json()["role"] == "leader") {
                    return node["id"].as_u64();
                }
            }
            None
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The servers notice the end of the demo; see the tests below.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Number of ports that a demo may use, from the page's port on.
const PORTS: u16 = 110;

/// Whether a process exists, possibly as a zombie.
fn is_there(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

async fn all_gone(pids: &[Pid]) {
    eventually("no server is left", async || (!pids.iter().copied().any(is_there)).then_some(()))
        .await;
}

/// Guards the demo from the user's view. It says when it is ready, replaces a killed leader and
/// reports the time. A killed server stays dead until it is restarted, and Ctrl-C leaves no
/// process.
#[tokio::test]
async fn the_demo_survives_what_its_user_does_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(directory.path(), &[]);
    demo.line("The page is not built");
    let ready = demo.line("ready ");
    assert_eq!(ready, format!("ready http://{}", demo.page));
    let page = send("GET", &demo.page, "/", &[], "").await;
    assert!(String::from_utf8_lossy(&page.body).contains("cargo xtask web"));

    let leader = demo.leader().await;
    assert_eq!(demo.act(leader, "kill").await.status, 200);
    assert_eq!(demo.state(leader).await, "stopped");
    let told = demo.line(&format!("kill S{leader}: first write after"));
    assert!(told.contains("leads"), "{told}");
    let measured = demo.overview().await["failover"].clone();
    assert_eq!(measured["node"], leader);
    assert!(measured["first_write_ms"].as_f64().unwrap() < 5000.0, "{measured}");
    demo.act(leader, "kill").await.assert_problem(409, "wrong_state");
    assert_eq!(demo.act(leader, "restart").await.status, 200);
    assert_eq!(demo.state(leader).await, "running");

    let frozen = demo.leader().await;
    assert_eq!(demo.act(frozen, "freeze").await.status, 200);
    assert_eq!(demo.state(frozen).await, "frozen");
    demo.line(&format!("freeze S{frozen}: first write after"));
    writeln!(demo.stdin, "resume {frozen}").unwrap();
    demo.line(&format!("resume S{frozen}: done"));
    assert_eq!(demo.state(frozen).await, "running");
    demo.act(9, "kill").await.assert_problem(404, "no_such_node");
    demo.act(1, "tickle").await.assert_problem(404, "route_not_found");

    // The demo's servers require the secret in its directory.
    let peer = format!("127.0.0.1:{}", demo.page.port() + 101);
    let hello = Hello { cluster_id: "demo".to_owned(), ..hello() };
    let stream = TcpStream::connect(&peer).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{peer}/raft"), stream).await.unwrap();
    challenged(&mut socket, hello.encode()).await.unwrap();
    let answer = codec::encode(&Answer { proof: None });
    socket.send(tungstenite::Message::binary(answer)).await.unwrap();
    let verdict: Verdict = word(&mut socket).await;
    assert_eq!(verdict, Verdict::Refused(Refusal::Proof(hello.from)));

    let pids = demo.pids().await;
    assert_eq!(pids.len(), 3);
    // A frozen server must end too.
    assert_eq!(demo.act(1, "freeze").await.status, 200);
    demo.signal(Signal::INT);
    let ended = eventually("the demo ends", async || demo.child.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
    assert!(!pids.iter().copied().any(is_there), "a server was left behind");
}

/// Guards the demo's link and disk faults: they reach the processes and survive a restart, the
/// recovery is reported, and healing ends them.
#[tokio::test]
async fn the_demo_cuts_links_and_stalls_disks() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(directory.path(), &[]);
    demo.line("ready ");
    let leader = demo.leader().await;
    let other = leader % 3 + 1;
    writeln!(demo.stdin, "isolate {leader}").unwrap();
    demo.line(&format!("isolate S{leader}: done"));
    let told = demo.line(&format!("isolate S{leader}: first write after"));
    assert!(told.contains("leads") && !told.contains(&format!("S{leader} leads")), "{told}");
    let links = demo.node(other).await["faults"]["links"].clone();
    assert_eq!(links[leader.to_string()]["cut_to"], true, "{links}");
    // A cut link stays cut when a server at its end restarts.
    assert_eq!(demo.act(leader, "kill").await.status, 200);
    assert_eq!(demo.act(leader, "restart").await.status, 200);
    let server: Address = demo.node(leader).await["client"].as_str().unwrap().parse().unwrap();
    eventually("the new process is told", async || {
        let faults = try_send("GET", &server, "/faults", &[], Bytes::new()).await.ok()?;
        (faults.json()["links"][other.to_string()]["cut_to"] == true).then_some(())
    })
    .await;
    writeln!(demo.stdin, "heal").unwrap();
    demo.line("heal: done");
    let leader = demo.leader().await;
    assert_eq!(demo.act(leader, "stall").await.status, 200);
    let told = demo.line(&format!("stall S{leader}: first write after"));
    assert!(told.contains("leads"), "{told}");
    let token = demo.overview().await["token"].as_str().unwrap().to_owned();
    let headers = [("x-demo-token", token.as_str())];
    let path = "/demo/links/1/1/cut";
    send("POST", &demo.page, path, &headers, "").await.assert_problem(404, "no_such_link");
    send("POST", &demo.page, "/demo/links/1/2/bend", &headers, "")
        .await
        .assert_problem(404, "route_not_found");
    send("POST", &demo.page, "/demo/heal", &[], "").await.assert_problem(403, "wrong_token");
    assert_eq!(send("POST", &demo.page, "/demo/heal", &headers, "").await.status, 200);
    writeln!(demo.stdin, "cut 1>2").unwrap();
    demo.line("cut 1>2: done");
    demo.signal(Signal::INT);
    let ended = eventually("the demo ends", async || demo.child.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
}

/// Guards that servers end with their demo, even after SIGKILL, and that the next start finds the
/// data.
#[tokio::test]
async fn servers_do_not_outlive_a_demo_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(directory.path(), &[]);
    demo.line("ready ");
    let first: Address =
        demo.overview().await["nodes"][0]["client"].as_str().unwrap().parse().unwrap();
    let set = send("POST", &first, "/set", &[], r#"{"key":"kept","value":"yes"}"#).await;
    assert_eq!(set.status, 200);
    let pids = demo.pids().await;
    assert_eq!(demo.act(2, "freeze").await.status, 200);
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    all_gone(&pids).await;

    let again = Demo::start(directory.path(), &[]);
    again.line("ready ");
    let second: Address =
        again.overview().await["nodes"][1]["client"].as_str().unwrap().parse().unwrap();
    let kept = eventually("a leader answers", async || {
        let answer = send("GET", &second, "/get/kept", &[], "").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(kept.json()["value"], "yes");
}

/// Guards that only the demo's own page can disturb the servers.
#[tokio::test]
async fn only_the_demos_own_page_may_disturb_it() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::start(directory.path(), &[]);
    demo.line("ready ");
    let path = "/demo/nodes/1/kill";
    send("POST", &demo.page, path, &[], "").await.assert_problem(403, "wrong_token");
    let guess = [("x-demo-token", "0123456789abcdef0123456789abcdef")];
    send("POST", &demo.page, path, &guess, "").await.assert_problem(403, "wrong_token");
    let token = demo.overview().await["token"].as_str().unwrap().to_owned();
    for foreign in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        let headers = [("x-demo-token", token.as_str()), ("origin", foreign)];
        let answer = send("POST", &demo.page, path, &headers, "").await;
        answer.assert_problem(403, "origin_not_allowed");
        let answer = send("GET", &demo.page, "/demo/nodes", &headers[1..], "").await;
        answer.assert_problem(403, "origin_not_allowed");
    }
    assert_eq!(demo.state(1).await, "running");
    // The servers accept the origin of the demo's own page.
    let node: Address =
        demo.overview().await["nodes"][0]["client"].as_str().unwrap().parse().unwrap();
    let own = format!("http://{}", demo.page);
    let answer = send("GET", &node, "/cluster/status", &[("origin", &own)], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), own);
}

/// Guards start-up: the error names a port in use and the flag that changes it, and no process
/// remains.
#[tokio::test]
async fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_ports(PORTS);
    let taken = std::net::TcpListener::bind(("127.0.0.1", port + 2)).unwrap();
    let mut command = program();
    command.args(["demo", "--port", &port.to_string(), "--dir"]).arg(directory.path().join("demo"));
    let output = run_to_end(command).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains(&(port + 2).to_string()) && text.contains("--port"), "{text}");
    assert!(text.contains("S2"), "{text}");
    drop(taken);
}
