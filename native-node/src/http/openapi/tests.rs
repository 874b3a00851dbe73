//! Compares the description with the served routes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::all;
use super::*;
use crate::route::Route;

fn document() -> Value {
    serde_json::from_slice(&DOCUMENT).expect("it is JSON")
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations");
        item.iter().map(move |(method, operation)| (&**path, &**method, operation))
    });
    methods.collect()
}

/// Guards that the description contains every served route, and no other.
#[test]
fn every_route_is_described() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(path, _, _)| Route::of(&path.replace(['{', '}'], "")).name())
        .collect();
    let served: BTreeSet<_> = Route::ALL.into_iter().map(Route::name).collect();
    let not_ours = BTreeSet::from([Route::Other.name()]);
    assert_eq!(described, served.difference(&not_ours).copied().collect());
}

/// Guards generated clients: each operation has a unique name, a tag and a summary, and each error
/// code belongs to its status.
#[test]
fn every_operation_is_described_in_full() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().expect("a name");
        assert!(names.insert(name), "{name} stands twice");
        assert!(operation["summary"].is_string(), "{name} has no words");
        let tag = &operation["tags"][0];
        let tags = document["tags"].as_array().expect("tags");
        assert!(tags.iter().any(|known| known["name"] == *tag), "{name} has no group: {tag}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            if let Some(content) = response["content"].get("application/problem+json") {
                let codes = &content["schema"]["allOf"][1]["properties"]["code"]["enum"];
                for code in codes.as_array().expect("codes") {
                    let known = all().into_iter().find(|error| error.code() == code);
                    assert_eq!(known.expect("known").status().as_str(), status, "{name}: {code}");
                }
            }
        }
    }
}

/// Guards that all errors are described, each with its status.
#[test]
fn every_error_is_described() {
    let document = document();
    let problem = &document["components"]["schemas"]["Problem"]["properties"];
    let listed: Vec<_> = problem["code"]["enum"].as_array().expect("codes").clone();
    let codes: Vec<_> = all().iter().map(|error| Value::from(error.code())).collect();
    assert_eq!(listed, codes);
    assert_eq!(codes.iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), codes.len());
    let text = document["info"]["description"].as_str().expect("a description");
    for error in all() {
        let line = format!("| `{}` | {} |", error.code(), error.status().as_u16());
        assert!(text.contains(&line), "{line}");
    }
    // Errors that no described operation returns: the demo's, and those about paths and methods.
    let elsewhere = [
        "method_not_allowed",
        "wrong_token",
        "no_such_node",
        "no_such_link",
        "wrong_state",
        "system",
    ];
    let described: String =
        operations(&document).iter().map(|(_, _, it)| it["responses"].to_string()).collect();
    for error in all() {
        let named = described.contains(&format!("\"{}\"", error.code()));
        assert_ne!(named, elsewhere.contains(&error.code()), "{}", error.code());
    }
}

/// Guards that all references can be resolved.
#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        let path = reference.strip_prefix('#').expect("in the document");
        assert!(document.pointer(path).is_some(), "{reference}");
    }
}
