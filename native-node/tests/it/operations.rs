//! Checks what operators get against a running cluster: metrics, dashboard, alarms, the guide, and
//! the files of ops/.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, eventually, program, run_to_end};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The names of this program's metrics in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let own = ["raft_", "kv_", "http_", "trace_", "process_", "glassraft_build", "glassraft_log"];
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| own.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

/// A cluster with every event that creates its own series.
async fn eventful_cluster() -> Cluster {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    client.put(b"x", Bytes::from_static(b"1")).await.unwrap();
    client.request(&Method::POST, "/cluster/snapshot", Bytes::new()).await.unwrap();
    for id in cluster.ids() {
        let mut stranger =
            tokio::net::TcpStream::connect(cluster.peer_address(id).to_string()).await.unwrap();
        stranger.write_all(b"What is this?\r\n\r\n").await.unwrap();
        let _end = stranger.read(&mut [0; 64]).await;
    }
    cluster
}

async fn metrics(cluster: &Cluster, id: usize) -> String {
    let answer = cluster.client(id).request(&Method::GET, "/metrics", Bytes::new()).await.unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The names of all series of all servers, once every kind exists.
async fn all_series(cluster: &Cluster) -> BTreeSet<String> {
    eventually("refusals and round trips are counted", async || {
        let mut all = BTreeSet::new();
        for id in cluster.ids() {
            let text = metrics(cluster, id).await;
            let names = text.lines().filter(|line| !line.starts_with('#'));
            all.extend(names.filter_map(|line| Some(line.split_once(['{', ' '])?.0.to_owned())));
            // A histogram also has a base name.
            let histograms = text.lines().filter_map(|line| {
                line.strip_prefix("# TYPE ")?.strip_suffix(" histogram").map(str::to_owned)
            });
            all.extend(histograms);
        }
        let late = ["raft_peer_refused_total", "raft_peer_round_trip_seconds"];
        late.iter().all(|name| all.contains(*name)).then_some(all)
    })
    .await
}

/// Violations of Prometheus' naming rules and of the OpenMetrics format.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut kinds, mut series) = (BTreeMap::new(), BTreeSet::new());
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                faults.push(format!("{name} is declared twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if help.trim_end_matches('.').len() < 4 {
                faults.push(format!("{name} is not explained"));
            }
            helped.insert(name.to_owned());
        } else if !line.starts_with('#') {
            let (id, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            if value.parse::<f64>().is_err() {
                faults.push(format!("{line} has no value"));
            }
            if !series.insert(id.to_owned()) {
                faults.push(format!("{id} is there twice"));
            }
        }
    }
    for (name, kind) in &kinds {
        let letters =
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let reserved =
            ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
        let parts: BTreeSet<&str> = name.split('_').collect();
        let small = ["ms", "milliseconds", "us", "micros", "minutes", "kb", "mb", "mib", "percent"];
        if !letters || reserved || !helped.contains(name) {
            faults.push(format!("{name} has a name that it must not have, or no help"));
        }
        if small.iter().any(|unit| parts.contains(unit)) {
            faults.push(format!("{name} is not in base units"));
        }
        let sample = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_bucket"),
            _ => name.clone(),
        };
        let own = series.iter().filter(|id| id.split('{').next() == Some(&sample)).count();
        if own == 0 {
            faults.push(format!("{name} is a {kind} without {sample}"));
        }
        if kind == "histogram" && !text.contains(&format!("{name}_count")) {
            faults.push(format!("{name} has no count"));
        }
    }
    if !text.ends_with("# EOF\n") {
        faults.push("the end is missing".to_owned());
    }
    faults
}

/// Guards users of the metrics: names, units and format follow the conventions, and the expected
/// metrics exist. Dashboard, alarms and guide use no other metrics.
#[tokio::test]
async fn metrics_are_as_prometheus_wants_them_and_as_ops_uses_them() {
    let cluster = eventful_cluster().await;
    let all = all_series(&cluster).await;
    for id in cluster.ids() {
        let text = metrics(&cluster, id).await;
        assert_eq!(faults(&text), Vec::<String>::new(), "{text}");
    }
    for wanted in [
        "raft_term",
        "raft_is_leader",
        "raft_leader_changes_total",
        "raft_commit_index",
        "raft_applied_index",
        "raft_proposals_pending",
        "raft_wal_fsync_duration_seconds_bucket",
        "raft_commit_duration_seconds_bucket",
        "raft_peer_match_index",
        "raft_peer_round_trip_seconds",
        "raft_disk_free_bytes",
        "raft_snapshot_last_timestamp_seconds",
        "http_request_duration_seconds_bucket",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(all.contains(wanted), "{wanted} is missing in {all:#?}");
    }
    for file in ["ops/grafana/glassraft.json", "ops/prometheus/alerts.yml", "docs/OPERATIONS.md"] {
        let used = metric_names(&read(file));
        assert!(used.len() > 10, "{file} uses {used:?}");
        let missing: Vec<&String> = used.difference(&all).collect();
        assert!(missing.is_empty(), "{file} uses what no server has: {missing:?}");
    }
    let alarmed = metric_names(&read("ops/prometheus/alerts.yml"));
    for fault in [
        "raft_halted",
        "raft_disk_full",
        "raft_snapshot_failures_total",
        "raft_peer_refused_total",
        "raft_peer_messages_refused_total",
        "kv_quota_exceeded",
        "glassraft_log_dropped_lines_total",
    ] {
        assert!(alarmed.contains(fault), "there is no alarm for {fault}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("ops/grafana/glassraft.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
}

/// Guards the check above: it finds each violation.
#[test]
fn a_bad_exposition_is_found_out() {
    let good = "# HELP x_seconds What it takes.\n# TYPE x_seconds gauge\nx_seconds 1\n# EOF\n";
    assert_eq!(faults(good), Vec::<String>::new());
    for (from, to) in [
        ("x_seconds", "x_ms"),
        ("x_seconds", "x_total"),
        ("What it takes.", "."),
        ("x_seconds 1", "x_seconds one"),
        ("x_seconds 1", "x_seconds 1\nx_seconds 1"),
        ("gauge", "counter"),
        ("# EOF\n", ""),
    ] {
        assert!(!faults(&good.replace(from, to)).is_empty(), "{from} -> {to}");
    }
}

fn is_flag(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// Guards the guide: each alarm is explained, each flag is one of the program's, each route
/// answers.
#[tokio::test]
async fn the_guide_speaks_of_what_there_is() {
    let guide = read("docs/OPERATIONS.md");
    let alarms = read("ops/prometheus/alerts.yml");
    let alarms: Vec<&str> =
        alarms.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alarms.len() > 10);
    for alarm in alarms {
        assert!(guide.contains(&format!("`{alarm}`")), "the guide does not explain {alarm}");
    }

    let mut helps = String::new();
    let mut waiting = vec![Vec::<String>::new()];
    while let Some(words) = waiting.pop() {
        let mut command = program();
        command.args(&words).arg("--help");
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{words:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        let commands = commands.lines().take_while(|line| !line.is_empty());
        for line in commands.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" && words.len() < 2 {
                waiting.push([&words[..], &[name.to_owned()]].concat());
            }
        }
        helps += &help;
    }
    let flags = guide.split_whitespace().map(|word| {
        word.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .split('=')
            .next()
            .unwrap()
    });
    // Flags of useradd, systemd-run, systemctl, kubectl, cargo and sudo.
    let foreign = [
        "--system",
        "--home-dir",
        "--shell",
        "--uid",
        "--property",
        "--unit",
        "--setenv",
        "--now",
        "--kustomize",
        "--from-file",
        "--test",
    ];
    for flag in flags.filter(|word| is_flag(word)) {
        assert!(helps.contains(flag) || foreign.contains(&flag), "there is no {flag}");
    }

    let cluster = Cluster::start_with(1, &[]);
    cluster.leader().await;
    let routes: Vec<&str> = guide.split('`').filter_map(|code| code.strip_prefix("GET ")).collect();
    assert!(routes.len() > 3, "{routes:?}");
    for route in routes {
        let answer = cluster.client(1).request(&Method::GET, route, Bytes::new()).await;
        assert!(answer.is_ok(), "GET {route}: {:?}", answer.err());
    }
}

/// Guards the files of ops/, if the tools that check them are installed.
#[test]
fn the_files_for_operators_pass_their_tools() {
    let ops = root().join("ops");
    let run = |name: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(name);
        command.args(arguments).current_dir(&ops).stdin(Stdio::null());
        match command.output() {
            Err(_) => eprintln!("note: {name} is not installed; its part is not checked"),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let told = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{name} {arguments:?}: {text}{told}");
            }
        }
    };
    run("promtool", &["check", "rules", "prometheus/alerts.yml"]);
    run("promtool", &["check", "config", "prometheus/prometheus.yml"]);

    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("glassraft.service");
    let text = read("ops/systemd/glassraft.service");
    let own = env!("CARGO_BIN_EXE_glassraft");
    std::fs::write(&unit, text.replace("/usr/local/bin/glassraft", own)).unwrap();
    run("systemd-analyze", &["verify", unit.to_str().unwrap()]);

    for overlay in ["base", "founding"] {
        let from = format!("kubernetes/{overlay}");
        let built = std::process::Command::new("kubectl")
            .args(["kustomize", &from])
            .current_dir(&ops)
            .output();
        let Ok(built) = built else { continue };
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let manifest = directory.path().join(format!("{overlay}.yaml"));
        std::fs::write(&manifest, &built.stdout).unwrap();
        let text = String::from_utf8(built.stdout).unwrap();
        assert_eq!(text.contains("--new-cluster"), overlay == "founding", "founding is a switch");
        run("kubernetes-validate", &["--strict", manifest.to_str().unwrap()]);
    }
}

/// Guards the log: with `raft=debug` it has an event per protocol step, also as JSON; without it
/// none.
#[tokio::test]
async fn the_log_tells_the_protocol_where_it_is_asked_to() {
    for (filter, tells) in [("--log=info,raft=debug", true), ("--log=info", false)] {
        let cluster = Cluster::start_with(1, &[filter, "--log-format=json"]);
        cluster.leader().await;
        cluster.client(1).put(b"x", Bytes::from_static(b"1")).await.unwrap();
        eventually("the log is written", async || {
            let log = std::fs::read_to_string(cluster.log(1)).unwrap();
            let lines: Vec<serde_json::Value> =
                log.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
            let served = lines.iter().any(|line| line["message"] == "serving");
            let events: Vec<_> = lines.into_iter().filter(|it| it["target"] == "raft").collect();
            assert!(events.iter().all(|it| it["seq"].is_u64() && it["message"].is_string()));
            let told = if tells { events.len() > 3 } else { events.is_empty() };
            (served && told).then_some(())
        })
        .await;
    }
}

/// Guards the example configuration: a server accepts it.
#[tokio::test]
async fn the_example_configuration_is_accepted() {
    let mut command = program();
    command.args(["serve", "--print-config", "--config"]);
    command.arg(root().join("ops/systemd/node.toml"));
    command.env("GLASSRAFT_CLUSTER_SECRET_FILE", "/run/credentials/cluster-secret");
    let output = run_to_end(command).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// The code blocks of a section of the guide.
fn commands_of(guide: &str, section: &str) -> String {
    let from = guide.split(&format!("\n## {section}\n")).nth(1).expect(section);
    let section = from.split("\n## ").next().unwrap();
    section.split("```").skip(1).step_by(2).collect()
}

/// A server that ends with its test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Checks that a command of the guide installs each file that the configuration names.
fn check_what_is_installed(configuration: &str) {
    let commands = commands_of(&read("docs/OPERATIONS.md"), "Three machines");
    let named = configuration.split('"').filter(|text| text.starts_with("/etc/glassraft/"));
    let mut installed = BTreeSet::new();
    for line in commands.lines().filter(|line| line.starts_with("install -m")) {
        let line = line.split('#').next().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [.., from, to] = words[..] else { panic!("{line}") };
        let file = Path::new(from).file_name().unwrap().to_str().unwrap();
        installed.insert(if to.ends_with('/') { format!("{to}{file}") } else { to.to_owned() });
    }
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 3, "{named:?}");
    for file in named {
        assert!(installed.contains(file), "{file} is not among {installed:?}");
    }
    assert!(commands.contains("glassraft cert --out certs --cluster-id mine --members $M"));
    assert!(commands.contains("--new-cluster"));
}

/// Guards "Three machines": the guide's commands install each file that the configuration names.
/// Their certificates, secret and tokens, and that configuration with other addresses and
/// directories, form a cluster that is founded once and restarted machine by machine.
#[tokio::test]
async fn three_machines_are_set_up_as_the_guide_says() {
    let configuration = read("ops/systemd/node.toml");
    check_what_is_installed(&configuration);

    // One machine stands for three, with other ports instead of other addresses.
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let addresses: Vec<[String; 2]> =
        (0..3).map(|_| [(), ()].map(|()| testbed::cluster::free_address().to_string())).collect();
    let members: Vec<String> = (1..=3)
        .map(|id| format!("{id}={}/{}", addresses[id - 1][0], addresses[id - 1][1]))
        .collect();
    let members = members.join(",");
    let run = async |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments);
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["cert", "--out", &at("certs"), "--cluster-id", "mine", "--members", &members]).await;
    let token = run(&["token", "new", "--scope", "admin", "--name", "ops", "--output=json"]).await;
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let start = |id: usize, founding: bool| {
        let machine = directory.path().join(format!("machine-{id}"));
        let etc = machine.join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("tokens"), token["line"].as_str().unwrap()).unwrap();
        std::fs::write(machine.join("cluster-secret"), "0123456789abcdef0123456789abcdef").unwrap();
        for (from, to) in [
            ("ca.pem".to_owned(), "ca.pem"),
            (format!("node-{id}.pem"), "node.pem"),
            (format!("node-{id}-key.pem"), "node-key.pem"),
        ] {
            std::fs::copy(directory.path().join("certs").join(from), etc.join(to)).unwrap();
        }
        let mut own = configuration
            .replace("id = 1", &format!("id = {id}"))
            .replace("/etc/glassraft", etc.to_str().unwrap())
            .replace("/var/lib/glassraft", machine.join("data").to_str().unwrap())
            .replace("0.0.0.0:7001", &addresses[id - 1][1])
            .replace("0.0.0.0:8001", &addresses[id - 1][0]);
        for (other, [peer, client]) in addresses.iter().enumerate() {
            own = own.replace(&format!("10.0.0.{}:8001", other + 1), peer);
            own = own.replace(&format!("10.0.0.{}:7001", other + 1), client);
        }
        assert!(!own.contains("10.0.0."), "{own}");
        std::fs::write(etc.join("node.toml"), own).unwrap();
        let mut command = program();
        command.args(["serve", "--config"]).arg(etc.join("node.toml"));
        command.args(founding.then_some("--new-cluster"));
        command.env("GLASSRAFT_CLUSTER_SECRET_FILE", machine.join("cluster-secret"));
        let log = machine.join("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Server(command.spawn().unwrap())
    };
    let client = |arguments: &[&str]| {
        let endpoints = addresses.iter().map(|[_, client]| format!("https://{client}"));
        let mut command = program();
        command.args(arguments);
        command.env("GLASSRAFT_ENDPOINTS", endpoints.collect::<Vec<_>>().join(","));
        command.env("GLASSRAFT_CA", at("certs/ca.pem"));
        command.env("GLASSRAFT_TOKEN", token["token"].as_str().unwrap());
        command
    };
    let leads = async |what: &str| {
        eventually(what, async || {
            let output = run_to_end(client(&["status", "--output=json"])).await;
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            status["leader"]["id"].as_u64()
        })
        .await;
    };
    let mut servers: Vec<Server> = (1..=3).map(|id| start(id, true)).collect();
    leads("the founders have a leader").await;
    let put = run_to_end(client(&["put", "greeting", "hello", "--timeout=20s"])).await;
    assert!(put.status.success(), "{put:?}");
    for id in 1..=3 {
        let child = &servers[id - 1].0;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = eventually("it ends", async || servers[id - 1].0.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}");
        servers[id - 1] = start(id, false);
        eventually("it is ready", async || {
            let mut probe = program();
            let endpoint = format!("https://{}", addresses[id - 1][1]);
            probe.args(["health", "--ready", "--endpoint", &endpoint]);
            run_to_end(probe).await.status.success().then_some(())
        })
        .await;
    }
    let read = run_to_end(client(&["get", "greeting", "--timeout=20s"])).await;
    assert_eq!(&read.stdout[..], b"hello", "{read:?}");
}

/// Guards "Move a server": once its new address is entered, the others and clients find the moved
/// server.
#[tokio::test]
async fn a_server_moves_to_another_address() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let moved = cluster.follower().await;
    cluster.client(leader).put(b"k", Bytes::from_static(b"1")).await.unwrap();
    cluster.kill(moved);
    let before = cluster.member(moved);
    let [peer, client] = [(), ()].map(|()| testbed::cluster::free_address());
    let after = format!("{moved}={peer}/{client}");
    let mut command = program();
    let members = cluster.members().replace(&before, &after);
    command.args(["serve", "--cluster-id=test", "--members", &members]).args(crate::cluster::CALM);
    command.arg("--id").arg(moved.to_string()).arg("--data").arg(cluster.data(moved));
    let log = std::fs::File::create(cluster.log(moved)).unwrap();
    let _server =
        Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let mut add = program();
    let endpoint = cluster.address(leader).to_string();
    add.args(["member", "add", &after, "--endpoints", &endpoint]);
    let output = run_to_end(add).await;
    assert!(output.status.success(), "{output:?}");
    eventually("the leader reaches it there", async || {
        let status = cluster.status(leader).await?;
        let peer = status.peers.into_iter().find(|it| it.place.id.0 == moved as u64)?;
        (peer.healthy && peer.place.client == client.to_string()).then_some(())
    })
    .await;
    let there = client::Client::new(vec![client], crate::cluster::REQUEST);
    there.put(b"k", Bytes::from_static(b"2")).await.unwrap();
}

/// Guards operators who see an alarm: the guide explains each reason for which peers are refused.
#[test]
fn each_reason_to_refuse_a_peer_is_explained() {
    let code = read("native-node/src/transport/handshake.rs");
    let codes = code.split("pub const fn code(&self)").nth(1).expect("the codes");
    let codes = codes.split("\n    }\n").next().unwrap();
    let codes: Vec<&str> = codes.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() > 10, "{codes:?}");
    let guide = read("docs/OPERATIONS.md");
    let table = guide.split("\nReasons of `GlassraftPeersRefused`:\n").nth(1).expect("a table");
    let table = table.split("\n## ").next().unwrap();
    for code in codes {
        assert!(table.contains(&format!("`{code}`")), "no row for {code}");
    }
}

/// Guards the documents' promises: each test named in a table exists.
#[test]
fn each_promise_names_a_test_that_exists() {
    for document in ["docs/OPERATIONS.md", "docs/SECURITY.md"] {
        let text = read(document);
        let table = text.split("\n## What holds these promises\n").nth(1).expect(document);
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert!(rows.len() > 10, "{document}: {rows:?}");
        for row in rows {
            let [_, promise, held_by, _] = row.split('|').collect::<Vec<_>>()[..] else {
                panic!("{document}: {row}")
            };
            let inside = held_by.contains("in `native-node/src`");
            let directory = if inside { "native-node/src" } else { "native-node/tests/it" };
            let file = |module: &str| match module.split('/').next() {
                Some("client" | "core" | "storage" | "web-viz") => format!("{module}.rs"),
                _ => format!("{directory}/{module}.rs"),
            };
            let names = held_by.split('`').skip(1).step_by(2);
            let tests: Vec<_> = names.filter_map(|test| test.split_once("::")).collect();
            assert!(!tests.is_empty(), "{document}: nothing holds {promise}");
            for (module, test) in tests {
                let code = read(&file(module));
                // The test may be in a module of the file.
                let (_, name) = test.rsplit_once("::").unwrap_or(("", test));
                let at = code.find(&format!("fn {name}(")).unwrap_or_else(|| {
                    panic!("{document}: there is no {module}::{test}, which is to hold {promise}")
                });
                let before = code[..at].trim_end().trim_end_matches("async").trim_end();
                let attribute = before.lines().last().unwrap();
                let is_test = attribute.contains("test") || attribute.contains("check");
                assert!(is_test, "{module}::{test}: {attribute}");
            }
        }
    }
}

/// Guards the decisions: each file that a record names exists, and contains the tests named there.
#[test]
fn each_decision_names_what_enforces_it() {
    let records = std::fs::read_dir(root().join("docs/decisions")).unwrap();
    let records = records.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let records: Vec<_> = records.filter(|name| name.starts_with('0')).collect();
    assert!(records.len() >= 12, "{records:?}");
    for record in records {
        let text = read(&format!("docs/decisions/{record}"));
        let items = text.split("\n## Enforced by\n").nth(1).expect(&record);
        let (mut files, mut tests) = (0, 0);
        for item in items.split("\n- ") {
            let mut file = None;
            for name in item.split('`').skip(1).step_by(2) {
                if name.contains('/') {
                    let path = root().join(name);
                    assert!(path.exists(), "{record}: there is no {name}");
                    file = path.is_file().then(|| std::fs::read_to_string(&path).unwrap());
                    files += 1;
                } else if name.contains('_') {
                    let code =
                        file.as_ref().unwrap_or_else(|| panic!("{record}: {name} is where?"));
                    assert!(code.contains(name), "{record}: no `{name}` in its file");
                    tests += usize::from(code.contains(&format!("fn {name}(")));
                }
            }
        }
        assert!(files > 0 && tests > 0, "{record}: {files} files, {tests} tests");
    }
}
