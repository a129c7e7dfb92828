use super::*;
use crate::conformance::{action, action_with, ledger};
use homeostat_model::Args;

fn config(json: serde_json::Value) -> ExecConfig {
    serde_json::from_value(json).unwrap()
}

fn exec(commands: serde_json::Value) -> (tempfile::TempDir, Exec) {
    let (dir, ledger) = ledger();
    (dir, Exec::new(&config(serde_json::json!({ "commands": commands })), ledger).unwrap())
}

fn args(pairs: &[(&str, &str)]) -> Args {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Arg::from(*value))).collect()
}

fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done(receipt) => receipt.observed,
        other => panic!("expected done, got {other:?}"),
    }
}

#[tokio::test]
async fn a_value_is_one_argument_whatever_it_holds() {
    let (_dir, exec) = exec(serde_json::json!({ "print": {
        "doc": "Prints.", "argv": ["printf", "[%s]\n", "{text}", "--x={text}", "{target_name}"],
        "args": { "text": { "kind": "text", "doc": "Any." } } } }));
    let nasty = "a b; touch /tmp/x $(id) `id` \"'{target}";
    let action = action_with(1, "exec.print", "node/muscle", args(&[("text", nasty)]));
    let observed = done(exec.apply(Time(0), &action).await);
    assert_eq!(observed, format!("exit status 0, 3 lines; it ends: [{nasty}]\n[--x={nasty}]\n[muscle]"));
}

/// Marks that turn the writing around, cursor movements and texts without end do not get into a command line.
#[tokio::test]
async fn lesson_28_what_a_label_may_hold_does_not_reach_a_command_line() {
    let (_dir, exec) = exec(serde_json::json!({ "print": {
        "doc": "Prints.", "argv": ["printf", "[%s]", "{text}"], "args": { "text": { "kind": "text", "doc": "Any." } } } }));
    let long = "x".repeat(257);
    for (text, says) in [
        ("a\u{202e}b", "U+202E"),
        ("a\u{1b}[2Jb", "U+001B"),
        ("a\0b", "NUL"),
        ("a\rb", "U+000D"),
        (long.as_str(), "at most 256"),
        ("-rf", ""),
    ] {
        let action = action_with(1, "exec.print", "node/muscle", args(&[("text", text)]));
        let Outcome::NotDone(fault) = exec.apply(Time(0), &action).await else { panic!("{text:?} was run") };
        assert!(fault.code == FaultCode::NeverStarted && fault.detail.contains(says), "{text:?}: {fault}");
    }
    for target in ["node/a\nb", "node/a\u{2066}b"] {
        let action = action_with(2, "exec.print", target, args(&[("text", "x")]));
        assert!(matches!(exec.apply(Time(0), &action).await, Outcome::NotDone(_)), "{target:?} was run");
    }
    // Several lines are a text like any other, and stay one argument.
    let action = action_with(3, "exec.print", "node/muscle", args(&[("text", "one\n\ttwo")]));
    let observed = done(exec.apply(Time(0), &action).await);
    assert!(observed.starts_with("exit status 0, 2 lines") && observed.ends_with("two]"), "{observed}");
}

#[tokio::test]
async fn the_environment_is_only_what_is_given_and_its_secrets_are_not_shown() {
    let (_dir, exec) = exec(serde_json::json!({ "env": {
        "doc": "Shows.", "argv": ["env"], "env": { "TOKEN": "hunter2-very-secret" } } }));
    let action = action(1, "exec.env", "node/muscle");
    let outcome = exec.apply(Time(0), &action).await;
    assert!(!format!("{outcome:?}{exec:?}").contains("hunter2"), "{outcome:?}");
    let observed = done(outcome);
    let mut lines: Vec<&str> = observed.split_once("ends: ").unwrap().1.lines().collect();
    lines.sort();
    let path = format!("PATH={PATH_DEFAULT}");
    assert_eq!(lines, ["HOMEOSTAT_ACTION_ID=a1", "HOMEOSTAT_TARGET=node/muscle", &path, "TOKEN=<secret>"]);
}

#[tokio::test]
async fn an_exit_status_is_an_answer_and_a_missing_program_never_started() {
    let (_dir, exec) = exec(serde_json::json!({
        "fail": { "doc": "Fails.", "argv": ["sh", "-c", "echo broken >&2; exit 3"] },
        "crash": { "doc": "Crashes.", "argv": ["sh", "-c", "kill -SEGV $$"] },
        "none": { "doc": "Is not there.", "argv": ["/nonexistent/program"] } }));
    let Outcome::NotDone(fault) = exec.apply(Time(0), &action(1, "exec.fail", "node/m")).await else { panic!() };
    assert_eq!((fault.code, fault.detail.as_str()), (FaultCode::Failed, "exit status 3, expected 0; 1 line; it ends: broken"));
    let Outcome::Unknown(fault) = exec.apply(Time(0), &action(2, "exec.crash", "node/m")).await else { panic!() };
    assert!(fault.detail.starts_with("ended by signal 11"), "{fault}");
    let Outcome::NotDone(fault) = exec.apply(Time(0), &action(3, "exec.none", "node/m")).await else { panic!() };
    assert_eq!(fault.code, FaultCode::NeverStarted);
}

#[tokio::test]
async fn at_its_time_the_whole_group_is_killed_and_the_end_is_unknown() {
    let (dir, mut exec) = exec(serde_json::json!({ "hang": {
        "doc": "Hangs.", "argv": ["sh", "-c", "echo begun; sleep 600 & echo $! > child; echo $$ > leader; wait"], "timeout": "2s" } }));
    for command in exec.commands.values_mut() {
        command.config.working_dir = Some(dir.path().to_path_buf());
    }
    let action = action(1, "exec.hang", "node/m");
    let Outcome::Unknown(fault) = exec.apply(Time(0), &action).await else { panic!() };
    assert_eq!(fault.code, FaultCode::TimedOut);
    assert!(fault.detail.contains("begun"), "{fault}");
    for file in ["child", "leader"] {
        let pid = std::fs::read_to_string(dir.path().join(file)).unwrap();
        // A killed orphan may be a zombie until init collects it: then its state says so.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{file} {stat}");
    }
}

#[tokio::test]
async fn a_dropped_apply_leaves_no_process_and_an_unknown_end() {
    let (dir, mut exec) = exec(
        serde_json::json!({ "hang": { "doc": "Hangs.", "argv": ["sh", "-c", "echo $$ > leader.new; mv leader.new leader; sleep 600"] } }),
    );
    for command in exec.commands.values_mut() {
        command.config.working_dir = Some(dir.path().to_path_buf());
    }
    let action = action(1, "exec.hang", "node/m");
    let leader = dir.path().join("leader");
    {
        let mut apply = exec.apply(Time(0), &action);
        while !leader.exists() {
            tokio::select! { _ = &mut apply => panic!("it cannot end"), () = tokio::task::yield_now() => {} }
        }
        let Outcome::Unknown(fault) = exec.probe(Time(0), &action).await else { panic!() };
        assert!(fault.detail.starts_with("it still runs as process "), "{fault}");
    }
    let stat = format!("/proc/{}/stat", std::fs::read_to_string(&leader).unwrap().trim());
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("the process must be gone");
    let Outcome::Unknown(fault) = exec.probe(Time(0), &action).await else { panic!() };
    assert!(fault.detail.contains("nobody saw how it ended"), "{fault}");
    assert!(matches!(exec.apply(Time(0), &action).await, Outcome::Unknown(_)), "not begun twice");
}

#[tokio::test]
async fn endless_output_is_cut_and_counted() {
    let (_dir, exec) = exec(serde_json::json!({ "noise": { "doc": "Prints.", "argv": ["seq", "1", "200000"] } }));
    let observed = done(exec.apply(Time(0), &action(1, "exec.noise", "node/m")).await);
    assert!(observed.starts_with("exit status 0, 200000 lines; it ends: …"), "{observed}");
    assert!(observed.ends_with("\n200000") && observed.len() < 1000, "{observed}");
}

#[test]
fn a_cut_line_is_not_shown() {
    let mut tail = Tail::default();
    tail.push(&vec![b'x'; run::TAIL_BYTES_MAX]);
    tail.push(b"y\nlast");
    assert_eq!((tail.text().as_str(), tail.lines()), ("last", 2));
}

#[test]
fn check_refuses_options_kinds_patterns_and_unknown_things() {
    let (_dir, exec) = exec(serde_json::json!({ "mount": {
        "doc": "Mounts.", "argv": ["mount", "{path}", "{flag}", "{count}"], "target_kinds": ["node"],
        "args": { "path": { "kind": "text", "doc": "Path.", "pattern": "[-/a-z]+" },
                  "flag": { "kind": "text", "doc": "Flag.", "allow_leading_dash": true, "default": "-r" },
                  "count": { "kind": "int", "doc": "Count.", "min": 0, "max": 3, "default": 1 } } } }));
    let with = |pairs: &[(&str, &str)]| action_with(1, "exec.mount", "node/m", args(pairs));
    assert_eq!(exec.check(&with(&[("path", "/mnt"), ("flag", "-w")])), Ok(()));
    let refused = |action: &Action| exec.check(action).unwrap_err().detail;
    assert!(refused(&with(&[("path", "-rf")])).contains("begins with `-`"));
    assert!(refused(&with(&[("path", "/MNT")])).contains("does not match"));
    assert!(refused(&with(&[])).contains("needs the argument `path`"));
    assert!(refused(&with(&[("path", "/a"), ("flag", "a\0b")])).contains("NUL"));
    assert!(refused(&with(&[("path", "/a"), ("count", "2")])).contains("expected Int"));
    assert!(refused(&with(&[("path", "/a"), ("else", "2")])).contains("no argument `else`"));
    assert!(refused(&action_with(1, "exec.mount", "disk/m", args(&[("path", "/a")]))).contains("the target's kind"));
    assert!(refused(&action(1, "exec.unmount", "node/m")).contains("there are: exec.mount"));
    let (_dir, bare) = self::exec(serde_json::json!({ "x": { "doc": "X.", "argv": ["x", "{target_name}"] } }));
    assert!(bare.check(&action(1, "exec.x", "node/-rf")).is_err(), "a target is no option either");
}

#[test]
fn every_problem_of_a_configuration_is_listed() {
    let (_dir, ledger) = ledger();
    let faults = Exec::new(
        &config(serde_json::json!({ "commands": {
            "a b": { "doc": " ", "argv": ["{target}", "{nothing}", "{"], "timeout": "0s", "env": { "HOMEOSTAT_X": "1" }, "working_dir": "rel" },
            "c": { "doc": "C.", "argv": [], "args": { "target": { "kind": "text", "doc": "", "pattern": "(" } } } } })),
        ledger,
    )
    .unwrap_err();
    let text = faults.iter().map(|fault| fault.detail.as_str()).collect::<Vec<_>>().join("\n");
    for part in [
        "not a name",
        "`doc` is empty",
        "`timeout`",
        "working_dir",
        "HOMEOSTAT_",
        "argv[0]",
        "`{nothing}`",
        "argv[2]",
        "`argv` is empty",
        "built-in",
        "regular expression",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[tokio::test]
async fn it_runs_as_the_user_it_is_told() {
    let (own, own_group) = (rustix::process::getuid(), rustix::process::getgid());
    // Only root can become somebody else.
    let (uid, gid) = if own.is_root() { (65_534, 65_534) } else { (own.as_raw(), own_group.as_raw()) };
    let (_dir, exec) = exec(serde_json::json!({ "who": { "doc": "Says who.", "argv": ["id"], "user": { "uid": uid, "gid": gid } } }));
    let observed = done(exec.apply(Time(0), &action(1, "exec.who", "node/m")).await);
    assert!(observed.contains(&format!("uid={uid}")) && observed.contains(&format!("gid={gid}")), "{observed}");
    assert!(!own.is_root() || !observed.contains("0(root)"), "no group of root is kept: {observed}");
}
