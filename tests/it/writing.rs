//! The way of a policy from nothing to tests that pass, by the binary: `policy new`, `test` with coverage and JUnit, `watch`.

use std::path::Path;
use std::process::{Command, Output};

fn homeostat(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeostat")).current_dir(dir).arg("--data").arg(dir.join("data")).args(args).output().expect("it runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs it and expects this status; gives what it printed.
fn run(dir: &Path, args: &[&str], status: i32) -> String {
    let output = homeostat(dir, args);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", said(&output));
    said(&output)
}

#[test]
fn a_new_policy_passes_and_a_change_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    for (name, template, metric) in [
        ("hot-disk", "threshold", Some("disk_celsius")),
        ("full-soon", "trend", None),
        ("passed-on", "alert", Some("DiskFull")),
        ("silent", "absent", None),
    ] {
        let mut args = vec!["policy", "new", name, "--template", template];
        args.extend(metric.iter().flat_map(|metric| ["--metric", metric]));
        run(dir, &args, 0);
    }
    let again = run(dir, &["policy", "new", "hot-disk"], 1);
    assert!(again.contains("is there already"), "{again}");
    assert!(run(dir, &["policy", "new", "Hot Disk"], 1).contains("is not a policy's name"));

    let passed = run(dir, &["policy", "test", "policies", "--coverage", "--junit", "junit.xml"], 0);
    assert!(passed.contains("test hot-disk: at 40m: proposes notify.send ... ok"), "{passed}");
    assert!(passed.contains("hot-disk: 3 of 3 branches, 100.0 %"), "{passed}");
    assert!(passed.contains("test result: ok. "), "{passed}");
    let xml = std::fs::read_to_string(dir.join("junit.xml")).expect("the results are written");
    assert!(xml.contains("<testsuite name=\"hot-disk\"") && !xml.contains("<failure"), "{xml}");
    let one = run(dir, &["policy", "test", "policies/hot-disk.rhai", "--name", "at 40m"], 0);
    assert!(one.contains("1 passed; 0 failed; 3 filtered out"), "{one}");
    assert!(run(dir, &["policy", "watch", "--once"], 0).contains("no recording"));

    // Another number: the tests say what is there instead, in each of the ways to ask.
    let policy = dir.join("policies/hot-disk.rhai");
    let text = std::fs::read_to_string(&policy).expect("it was written");
    std::fs::write(&policy, text.replace("high: 50.0", "high: 60.0")).expect("it can be edited");
    let failed = run(dir, &["policy", "test", "policies/hot-disk.rhai", "--junit", "junit.xml"], 1);
    assert!(failed.contains("---- hot-disk: at 40m: proposes notify.send ----"), "{failed}");
    assert!(failed.contains("held above 60 for 10m") && failed.contains("> 60 false by 5"), "{failed}");
    assert!(std::fs::read_to_string(dir.join("junit.xml")).expect("the results are written").contains("<failure message="));
    let json: serde_json::Value =
        serde_json::from_slice(&homeostat(dir, &["policy", "test", "policies/hot-disk.rhai", "--json"]).stdout).expect("JSON");
    assert_eq!(json["files"][0]["policy"], "hot-disk");
    assert!(json["failed"].as_u64() > Some(0), "{json}");
    let screen = run(dir, &["policy", "watch", "--once"], 1);
    assert!(screen.contains("FAILED") && screen.contains("> 60 false by 5"), "{screen}");

    // A test file that cannot be read says where.
    std::fs::write(dir.join("policies/hot-disk.test.yaml"), "policy: hot-disk\ninterval: 1m\nexpect:\n  - { at: 1m, quite: x }\n")
        .expect("written");
    let broken = run(dir, &["policy", "test", "policies/hot-disk.rhai"], 1);
    assert!(broken.contains("policies/hot-disk.test.yaml:4:15"), "{broken}");
}
