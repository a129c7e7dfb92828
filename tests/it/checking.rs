//! `homeostat policy check` from outside: what it ends with, and what it says as text and as data.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The status of `policy check` and what was said.
fn check(args: &[&str]) -> (Option<i32>, String) {
    policy(&[&["check"], args].concat())
}

fn policy(args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let Output { status, stdout, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--data")
        .arg(folder.path())
        .arg("policy")
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

/// What heats and what cools at the same temperature: the loop between them is found before it runs.
const FIGHT: [(&str, &str); 2] = [
    (
        "cool",
        r#"fn policy() { #{ for_each: series("room_temperature_celsius"), autonomy: "auto" } }
fn evaluate(t) { if t.last() > 20 { propose(act("http.cool", "room/a", #{})).because("warm").claim(t.below(20).within("5m")); } }
"#,
    ),
    (
        "heat",
        r#"fn policy() { #{ for_each: series("room_temperature_celsius"), autonomy: "auto" } }
fn evaluate(t) { if t.last() < 21 { propose(act("http.heat", "room/a", #{})).because("cold").claim(t.above(21).within("5m")); } }
"#,
    ),
];

#[test]
fn policies_that_fight_fail_the_lint_and_the_shipped_ones_do_not() {
    let (status, said) = policy(&["lint", "policies"]);
    assert_eq!(status, Some(0), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in FIGHT {
        std::fs::write(folder.path().join(format!("{name}.rhai")), text).expect("written");
    }
    let folder = folder.path().display().to_string();
    let (status, said) = policy(&["lint", &folder]);
    assert!(status == Some(1) && said.contains("opposing-policies"), "{status:?} {said}");
    let (_, drawn) = policy(&["lint", "--graph", "dot", &folder]);
    assert!(drawn.starts_with("digraph") && drawn.contains("room_temperature_celsius"), "{drawn}");
}

/// Where it is warm, it reaches behind the end of a list.
const FAILS: &str = r#"fn policy() { #{ for_each: series("room_temperature_celsius"), autonomy: "auto" } }
fn evaluate(t) {
    let names = ["cold", "mild"];
    if t.last() > 20 { propose(notify(names[2])).because("warm"); }
}
"#;

#[test]
fn what_the_fuzzer_finds_ends_with_1_and_is_a_test_that_fails_until_the_policy_is_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("warm.rhai"), FAILS).expect("written");
    let search = |args: &[&str]| policy(&[&["fuzz", &file("warm.rhai"), "--property", "fault", "--tries", "50"], args].concat());
    let (status, said) = search(&["--write", &file("warm.test.yaml")]);
    assert!(status == Some(1) && said.contains("the array has 2 items"), "{status:?} {said}");
    assert_eq!(policy(&["test", &file("warm.test.yaml")]).0, Some(1), "it fails as long as the policy does");
    std::fs::write(file("warm.rhai"), FAILS.replace("names[2]", "names[1]")).expect("written");
    let (status, said) = search(&[]);
    assert_eq!(status, Some(0), "{said}");
}
