//! `homeostat policy check` from outside: what it ends with, and what it says as text and as data.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The status and what was said.
fn check(args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let Output { status, stdout, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--data")
        .arg(folder.path())
        .args(["policy", "check"])
        .args(args)
        .output()
        .expect("it runs");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + String::from_utf8_lossy(&stderr).as_ref())
}

#[test]
fn errors_end_with_1_and_warnings_where_they_are_denied() {
    let (status, said) = check(&["policies"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("files checked: 0 errors, 0 warnings"), "{said}");
    let (status, said) = check(&["tests/diagnostics/10-bytes-for-a-ratio.rhai", "tests/diagnostics/43-series-notation.test.yaml"]);
    assert_eq!(status, Some(1), "{said}");
    for part in ["`0.10` of what?", "use `filesystem_avail_ratio`", "10-bytes-for-a-ratio.rhai:7:22", "`three` is not a number", "4 errors"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains('\u{1b}'), "colour is for terminals");
    let warned = "tests/diagnostics/20-contradiction.rhai";
    assert_eq!(check(&[warned]).0, Some(0));
    assert_eq!(check(&["--deny", "warnings", warned]).0, Some(1));
    assert_eq!(check(&["tests/nothing-here.rhai"]).0, Some(1));
}

#[test]
fn findings_are_data_too_and_metrics_may_be_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = folder.path().join("metrics.txt");
    std::fs::write(&names, "# HELP node_up x\nnode_up{node=\"a\"} 1\nnode_load1\n").expect("written");
    let names: &Path = &names;
    let (status, said) = check(&["--json", "--metrics", &names.display().to_string(), "policies/node-down.rhai", "policies/high-cpu.rhai"]);
    assert_eq!(status, Some(0), "{said}");
    let data: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&data["files"], &data["errors"]), (&Value::from(2), &Value::from(0)));
    let findings = data["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{said}");
    assert_eq!((&findings[0]["code"], &findings[0]["severity"]), (&Value::from("not-delivered"), &Value::from("note")));
    assert_eq!((findings[0]["line"].as_u64(), findings[0]["path"].as_str()), (Some(3), Some("policies/high-cpu.rhai")));
}
