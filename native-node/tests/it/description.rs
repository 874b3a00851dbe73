//! Checks the API against its description with independent programs: a validator for the document,
//! and a generator of requests that checks the answers.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{CALM, Cluster};
use crate::http::send;

/// The path of schemathesis, set by `cargo xtask test`.
const VARIABLE: &str = "GLASSRAFT_SCHEMATHESIS";

/// Time for generated requests per form of the document, in s.
const BUDGET: u32 = 20;

/// A server error is always wrong, except when a read asks for a revision that does not arrive.
const SETTINGS: &str = r#"
[[operations]]
include-operation-id = ["get_json", "get_raw", "get_range", "show_lease"]
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"#;

/// A fixed seed: each run generates the same first requests.
const SEED: u64 = 20_261_123;

fn run(command: &mut Command) {
    println!("{command:?}");
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}; what it found stands above");
}

/// Guards the API: no request generated from the description breaks a server, and statuses, headers
/// and bodies match the description.
#[tokio::test]
#[ignore = "needs schemathesis; `cargo xtask test` runs it"]
async fn answers_are_as_described() {
    let program = PathBuf::from(std::env::var_os(VARIABLE).expect("the path of schemathesis"));
    let cluster = Cluster::start_with(3, &[CALM[0], CALM[1], "--request-timeout=2s"]);
    let server = cluster.address(cluster.follower().await);
    let document = send("GET", &server, "/openapi.json", &[], "").await.body;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, &document).unwrap();
    run(Command::new(program.with_file_name("openapi-spec-validator")).arg(&file));
    // Most requests with random headers are refused because of these headers. A second form of the
    // document has no headers; more of its requests are executed.
    let mut plain: Value = serde_json::from_slice(&document).unwrap();
    for item in plain["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            if let Some(parameters) = parameters {
                parameters.retain(|parameter| parameter["in"] != "header");
            }
        }
    }
    let plain_file = directory.path().join("plain.json");
    std::fs::write(&plain_file, plain.to_string()).unwrap();
    std::fs::write(directory.path().join("schemathesis.toml"), SETTINGS).unwrap();

    // Excluded: changes of membership and leadership, watches, the trace, and faults. They end or
    // change the cluster under test, never finish, or do not exist here.
    let left_out =
        "^(add_member|set_voters|remove_member|transfer_leadership|watch|trace|.*_faults)$";
    let seed = SEED.to_string();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance,unsupported_method,\
                  allow_header_conformance";
    let (url, budget) = (format!("http://{server}/"), BUDGET.to_string());
    let arguments = [
        "--url",
        &url,
        "--max-time",
        &budget,
        "--seed",
        &seed,
        "--checks",
        checks,
        "--exclude-operation-id-regex",
        left_out,
        "--request-timeout",
        "20",
        "--no-color",
    ];
    println!("seed {seed}");
    for document in [file, plain_file] {
        let mut command = Command::new(&program);
        command.current_dir(directory.path()).arg("run").arg(document).args(arguments);
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    }
    cluster.converged().await;
}
