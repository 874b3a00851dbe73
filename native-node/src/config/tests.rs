//! Which settings a server rejects, and how sources override each other.

use clap::Parser;

use super::*;

/// A command line with only the settings.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    layer: Layer,
}

fn line(arguments: &[&str]) -> Layer {
    Line::parse_from([&["serve"], arguments].concat()).layer
}

const GOOD: [&str; 8] = [
    "--id=1",
    "--cluster-id=demo",
    "--data=/tmp/one",
    "--members=1=127.0.0.1:8001/127.0.0.1:7001,2=127.0.0.1:8002/127.0.0.1:7002",
    "--election-timeout-min=200ms",
    "--election-timeout-max=400ms",
    "--cors-origins=http://a:1,https://b",
    "--log-format=json",
];

fn with(arguments: &[&str]) -> Layer {
    line(arguments).over(line(&GOOD))
}

/// Guards the order of precedence: the upper layer wins, but only for settings that it has.
#[test]
fn the_upper_layer_wins_where_it_speaks() {
    let file: Layer = toml::from_str(
        "[server]\nid = 7\ncluster_id = 'file'\n[raft]\nheartbeat_interval = '20ms'\n",
    )
    .expect("a good file");
    let layer = line(&["--id=1"]).over(file);
    assert_eq!(layer.server.id, Some(1));
    assert_eq!(layer.server.cluster_id.as_deref(), Some("file"));
    assert_eq!(layer.raft.heartbeat_interval, Some(Span::millis(20)));
}

/// Guards `--print-config`: it prints a configuration file that gives the same settings.
#[test]
fn the_printed_configuration_reads_back_as_itself() {
    let more = [
        "--tokens-file=/tokens",
        "--open-metrics",
        "--tls-cert=/c",
        "--tls-key=/k",
        "--tls-ca=/a",
        "--peer-tls-cert=/pc",
        "--peer-tls-key=/pk",
        "--peer-tls-ca=/pa",
    ];
    let config = ServeConfig::resolve(with(&more)).expect("good settings");
    assert_eq!(config.client.to_string(), "127.0.0.1:7001", "taken from the members");
    assert_eq!(config.raft.election_timeout_max, 400_000);
    let printed = toml::to_string(&config.to_layer()).expect("every setting has a TOML form");
    let read: Layer = toml::from_str(&printed).expect(&printed);
    assert_eq!(read, config.to_layer());
    let again = ServeConfig::resolve(read).expect("good settings");
    assert_eq!(again.to_layer(), config.to_layer());
}

/// Guards the error messages: each names the problem and the remedy.
#[test]
fn unusable_settings_are_refused_with_a_remedy() {
    for (arguments, words) in [
        (&["--id=3"][..], "not among the members"),
        (&["--cluster-id=a b"], "1 to 64 letters"),
        (&["--client=0.0.0.0:7001"], "--insecure-bind"),
        (&["--client=0.0.0.0:7001"], "--tokens-file"),
        (&["--client=0.0.0.0:7001", "--tokens-file=t"], "in the clear"),
        (&["--peer=10.0.0.1:8001"], "--cluster-secret-file"),
        (&["--peer=10.0.0.1:8001"], "--peer-tls-cert"),
        (&["--peer=10.0.0.1:8001", "--tokens-file=t"], "--peer-tls-cert"),
        (&["--peer=0.0.0.0:8001", "--insecure-bind"], "--cluster-secret-file"),
        (&["--tls-cert=c", "--tls-key=k"], "--tls-ca"),
        (&["--peer-tls-ca=c"], "--peer-tls-key"),
        (&["--election-timeout-max=200ms"], "election timeout"),
        (&["--heartbeat-interval=150ms"], "heartbeat"),
        (&["--client=0.0.0.0:1", "--insecure-bind", "--allow-faults"], "--allow-faults"),
        (&["--max-requests=0"], "--max-requests"),
        (&["--request-timeout=0s"], "--request-timeout"),
        (&["--max-batch-bytes=99000000"], "--max-batch-bytes"),
        (&["--segment-bytes=1000"], "--segment-bytes must be from 65536 to 1073741824"),
        (&["--snapshots-kept=1"], "--snapshots-kept must be from 2"),
        (&["--cors-origins=*"], "not a web origin"),
        (&["--cors-origins=http://a/b"], "not a web origin"),
    ] {
        let error = ServeConfig::resolve(with(arguments)).expect_err(words).to_string();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    for (left_out, flag) in [(0, "--id"), (1, "--cluster-id"), (2, "--data"), (3, "--members")] {
        let mut rest = GOOD.to_vec();
        rest.remove(left_out);
        let error = ServeConfig::resolve(line(&rest)).expect_err(flag).to_string();
        assert!(error.contains(flag), "{error}");
    }
    let tls = ["--tls-cert=c", "--tls-key=k", "--tls-ca=a"];
    let exposed = [&["--client=0.0.0.0:1", "--tokens-file=t"][..], &tls].concat();
    assert!(ServeConfig::resolve(with(&exposed)).is_ok(), "tokens that travel encrypted");
    let exposed = [&["--client=0.0.0.0:1"][..], &tls].concat();
    assert!(ServeConfig::resolve(with(&exposed)).is_err(), "encrypted, but open to everybody");
    let peers = ["--peer-tls-cert=c", "--peer-tls-key=k", "--peer-tls-ca=a"];
    let exposed = [&["--peer=10.0.0.1:2"][..], &peers].concat();
    assert!(ServeConfig::resolve(with(&exposed)).is_ok(), "servers with certificates");
    let exposed = ["--peer=10.0.0.1:2", "--cluster-secret-file=s"];
    assert!(ServeConfig::resolve(with(&exposed)).is_ok(), "servers with a secret");
    let open = ["--client=0.0.0.0:1", "--insecure-bind"];
    assert!(ServeConfig::resolve(with(&open)).is_ok(), "said explicitly");
}

/// Guards configuration files: a misspelt key is an error that names it.
#[test]
fn a_misspelt_key_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.toml");
    std::fs::write(&path, "[server]\nidd = 1\n").expect("a file");
    let error = read_file(&path).expect_err("misspelt").to_string();
    assert!(error.contains("idd") && error.contains("node.toml"), "{error}");
    let error = read_file(&directory.path().join("none.toml")).expect_err("missing").to_string();
    assert!(error.contains("none.toml"), "{error}");
}

/// Guards the secret's file: a missing or short secret is an error.
#[test]
fn a_secret_is_read_or_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let config = |path: &Path| {
        let argument = format!("--cluster-secret-file={}", path.display());
        ServeConfig::resolve(with(&[&argument])).expect("good settings")
    };
    assert!(config(&path).security.read_secret().is_err(), "missing");
    std::fs::write(&path, "short\n").expect("a file");
    let error = config(&path).security.read_secret().expect_err("short").to_string();
    assert!(error.contains("openssl rand"), "{error}");
    std::fs::write(&path, "0123456789abcdef\n").expect("a file");
    let secret = config(&path).security.read_secret().expect("a secret").expect("a secret");
    assert_eq!(secret, b"0123456789abcdef");
}

/// Guards that members from a file have reachable addresses, as on the command line.
#[test]
fn members_of_a_file_have_addresses_where_they_are_found() {
    let text = r#"
        [server]
        id = 1
        cluster_id = "c"
        data = "d"
        [server.members]
        1 = { peer = "0.0.0.0:8001", client = "127.0.0.1:7001" }
        [security]
        insecure_bind = true
    "#;
    let layer: Layer = toml::from_str(text).expect("a layer");
    let error = ServeConfig::resolve(layer).expect_err("nobody is at 0.0.0.0").to_string();
    assert!(error.contains("cannot be reached at 0.0.0.0:8001"), "{error}");
}
