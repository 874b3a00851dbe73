//! The API held against its description by programs that know nothing of it: one judges the document,
//! the other makes up requests from it, right ones and wrong ones, and judges the answers.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{CALM, Cluster};
use crate::http::send;

/// Where `cargo xtask test` has put schemathesis.
const VARIABLE: &str = "GLASSRAFT_SCHEMATHESIS";

/// How long it may make up requests for each form of the document, in s.
const BUDGET: u32 = 20;

/// A server error is never right, except where a read asks for a revision that does not come.
const SETTINGS: &str = r#"
[[operations]]
include-operation-id = ["get_json", "get_raw", "get_range", "show_lease"]
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"#;

/// What it begins with: the same requests each time.
const SEED: u64 = 20_261_123;

fn run(command: &mut Command) {
    println!("{command:?}");
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}; what it found stands above");
}

/// Guards the interface: no request that can be made up from the description breaks a server, and
/// statuses, headers and bodies are those that are described.
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
    // Most requests with headers at random are refused for them: a second form of the document has
    // none, so that more of the requests are carried out.
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

    // Left out, since it would end or change the cluster under test, or lasts, or is not there:
    // membership (whose reading is in), watching, the trace, and faults.
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
