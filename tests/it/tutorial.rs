//! `docs/tutorial.md`, word by word: every command of its `console` blocks is run by a shell, in order, over a day of a real Prometheus.
//!
//! The lines below a command must be part of what it prints, in their order. The test brings what the page takes for granted: the
//! binary in the path, the address of a server, and from the marked place on a running daemon.

use crate::daemon::{BINARY, Daemon, Server, free_port, request, until};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const RUNS_FROM_HERE: &str = "<!-- The daemon runs from here on. -->";

/// One command with what must be seen, or the place from which the daemon runs.
#[derive(Debug, PartialEq)]
enum Step {
    Command { line: usize, text: String, shown: Vec<String> },
    Daemon,
}

fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut inside) = (Vec::new(), false);
    for (at, line) in page.lines().enumerate() {
        match line {
            RUNS_FROM_HERE => steps.push(Step::Daemon),
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
                (Some(text), ..) => steps.push(Step::Command { line: at + 1, text: text.into(), shown: Vec::new() }),
                (None, Some(more), Some(Step::Command { text, .. })) => text.push_str(&format!("\n{more}")),
                (None, None, Some(Step::Command { shown, .. })) => shown.push(line.into()),
                _ => panic!("line {}: no command stands before `{line}`", at + 1),
            },
        }
    }
    steps
}

/// What must be seen and is not.
fn missing<'a>(printed: &str, shown: &'a [String]) -> Option<&'a str> {
    let mut lines = printed.lines();
    shown.iter().map(String::as_str).find(|wanted| !lines.any(|line| line.contains(wanted)))
}

/// A day of a disk that is hot three times: twice very, once a little; one sample a minute, until now.
fn openmetrics() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60 * 60;
    let minutes = 25 * 60;
    let mut text = String::from("# TYPE smartctl_device_temperature gauge\n");
    for minute in 0..minutes {
        let celsius = match minute {
            300..330 | 1000..1040 => 61,
            700..740 => 53,
            _ => 38,
        };
        let labels = "instance=\"nas:9633\",job=\"smartctl\",device=\"sda\",temperature_type=\"current\"";
        let _ = writeln!(text, "smartctl_device_temperature{{{labels}}} {celsius} {}", now - (minutes - minute) * 60);
    }
    text + "# EOF\n"
}

fn prometheus(dir: &Path) -> (Server, u16) {
    let (text, blocks, port) = (dir.join("history.om"), dir.join("tsdb"), free_port());
    std::fs::write(&text, openmetrics()).unwrap();
    let filled = Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&text).arg(&blocks).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    std::fs::write(dir.join("prometheus.yml"), "global: {scrape_interval: 1h}\n").unwrap();
    let server = Server::start(
        "prometheus",
        dir,
        Command::new("prometheus").args([
            &format!("--config.file={}", dir.join("prometheus.yml").display()),
            &format!("--storage.tsdb.path={}", blocks.display()),
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ]),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("Prometheus is ready", Duration::from_secs(30), || match request(address, "GET", "/-/ready", &[], "") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}\n{}", server.log())),
    });
    (server, port)
}

/// A daemon that is started in a folder, as its reader would: names in its configuration begin there.
fn daemon_in(home: &Path) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new(BINARY);
    command.current_dir(home).args(["run", "--listen", &address.to_string()]).arg("--data").arg(home.join("data"));
    let server = Server::start("homeostat", home, &mut command);
    until("the daemon answers", Duration::from_secs(20), || match request(address, "GET", "/healthz", &[], "") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}\n{}", server.log())),
    });
    server
}

#[test]
fn the_tutorial_is_followed_word_by_word() {
    let is_installed = |program: &str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    let has_prometheus = is_installed("prometheus") && is_installed("promtool");
    if !has_prometheus {
        println!("SKIPPED: the commands that ask Prometheus; it is not installed (scripts/install-test-tools)");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tutorial.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 15 && steps.contains(&Step::Daemon), "the page was read: {steps:?}");
    let (lab, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = has_prometheus.then(|| prometheus(lab.path()));
    std::os::unix::fs::symlink(BINARY, lab.path().join("homeostat")).unwrap();
    let path = format!("{}:{}", lab.path().display(), std::env::var("PATH").unwrap_or_default());
    let address = format!("http://127.0.0.1:{}", server.as_ref().map_or(0, |(_, port)| *port));
    let mut daemon = None;
    for step in &steps {
        let Step::Command { line, text, shown } = step else {
            daemon = Some(daemon_in(home.path()));
            continue;
        };
        if text.contains("PROMETHEUS") && !has_prometheus {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", text]).current_dir(home.path()).env("PATH", &path).env("PROMETHEUS", &address);
        let output = shell.env("HOMEOSTAT_DATA", home.path().join("data")).env_remove("HOMEOSTAT_CONFIG").output().unwrap();
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let status = i32::from(text.ends_with("# exits with 1"));
        assert_eq!(output.status.code(), Some(status), "line {line}: {text}\n{printed}");
        assert_eq!(missing(&printed, shown), None, "line {line}: {text}\n{printed}");
    }
    drop(daemon);
}

#[test]
fn what_is_not_printed_is_missed() {
    let page = "a\n```console\n$ one\nx\ny\n$ two <<END\n> more\n> END\n```\n$ three\n";
    let command = |line, text: &str, shown: &[&str]| Step::Command {
        line,
        text: text.into(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(steps(page), [command(3, "one", &["x", "y"]), command(6, "two <<END\nmore\nEND", &[])]);
    let wanted = ["x".to_owned(), "y".to_owned()];
    assert_eq!(missing("ax\nby\n", &wanted), None);
    assert_eq!(missing("ay\nbx\n", &wanted), Some("y"));
}

/// Each line that is fed to `policy repl` is answered by the running daemon, or told to be wrong; nothing is left behind.
#[test]
fn the_repl_asks_the_running_daemon() {
    use std::io::Write;
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let ask = |data: &Path, lines: &str, args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["policy", "repl"]).args(args).arg("--data").arg(data);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, _, errors) = ask(dir.path(), "1\n", &[]);
    assert_eq!(status, Some(3), "no daemon: {errors}");
    let daemon = Daemon::start(dir.path(), None);
    // Its own host is what a daemon without a configuration reads.
    until("the host was read", Duration::from_secs(30), || match ask(&daemon.data, "all(\"node_load1\").len() > 0\n", &[]) {
        (Some(0), out, _) if out.trim() == "true" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let lines = "let s = all(\"node_load1\")[0]\ns.last() < 100000\nplot(s, \"10m\")\n\n.names\npropose(notify(\"x\")).because(\"y\")\n";
    let (status, out, errors) = ask(&daemon.data, lines, &[]);
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{out}");
    for part in ["true\n", "< 100000 true by", "│", "now\n", "let s = all(", "would wish notify.send (title: x) because y"] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    let (status, out, errors) = ask(&daemon.data, "serie(\"x\")\nseries(\"no_such\").last()\nloop { }\n.nonsense\n2 + 2\n", &[]);
    assert_eq!((status, out.as_str()), (Some(1), "4\n"), "{errors}");
    for part in ["did you mean `series`?", "undetermined: series no_such: no data", "operations", "there is no `.nonsense`"] {
        assert!(errors.contains(part), "{part} is missing:\n{errors}");
    }
    let (_, out, _) = ask(&daemon.data, "s\n1 + 1\n", &["--json"]);
    let answers: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(answers[0]["error"].as_str().unwrap().contains("no variable `s`") && answers[1]["value"] == 2.0, "{out}");
    // The loop stands still while it answers: who may not order may not ask.
    let json = [("Content-Type", "application/json")];
    let (status, body) = request(daemon.address, "POST", "/api/v1/evaluate", &json, "{\"text\":\"1\"}").unwrap();
    assert!([401, 403].contains(&status), "{status} {body}");
    let actions = daemon.json(&["actions"]).to_string();
    assert!(!actions.contains("\"y\""), "what was only asked is no wish: {actions}");
}
