//! `homeostat demo` as a newcomer runs it: the whole story without a screen, and nothing left behind when it is broken off.

use crate::daemon::{BINARY, free_port};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A demo whose folder is made in `temp`; killed with the test.
struct Demo {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(temp: &Path, args: &[&str]) -> Demo {
        let mut command = Command::new(BINARY);
        command.args(["demo", "--headless", "--json"]).args(args).env("TMPDIR", temp).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Demo { child, lines }
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}")))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// A port of loopback that somebody listens on: the address, and the socket's number, which no other socket gets.
#[derive(Clone, Debug)]
struct Port {
    address: SocketAddr,
    socket: String,
}

/// Every port that is listened on just now; `table` is `tcp` or `udp`.
fn ports(table: &str) -> Vec<Port> {
    let listens = if table == "tcp" { "0A" } else { "07" };
    let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        let address = SocketAddr::from(([127, 0, 0, 1], (address == "0100007F").then(|| u16::from_str_radix(port, 16).ok())??));
        (fields.get(3) == Some(&listens)).then(|| Port { address, socket: fields.get(9).unwrap_or(&"").to_string() })
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Those of a process.
fn ports_of(pid: u32, table: &str) -> Vec<Port> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    ports(table).into_iter().filter(|port| sockets.contains(&port.socket)).collect()
}

fn children_of(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default().split_whitespace().count()).sum()
}

#[test]
fn without_a_screen_the_whole_story_is_told_and_every_chapter_proven() {
    let temp = tempfile::tempdir().unwrap();
    // It ends as soon as the story is told; two minutes are more than three times as much.
    let mut demo = Demo::start(temp.path(), &["--speed", "90", "--for", "2m"]);
    let (mut told, mut kinds, mut summary) = (Vec::new(), std::collections::BTreeSet::new(), None);
    while let Some(line) = demo.next() {
        kinds.insert(line["kind"].as_str().unwrap().to_owned());
        if line["kind"] == "summary" {
            assert!(summary.replace(line).is_none(), "one summary");
        } else {
            assert!(summary.is_none(), "the summary is the last line");
            told.push(line);
        }
    }
    let summary = summary.expect("a summary");
    let lines = told.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let chapters = summary["chapters"].as_array().unwrap();
    for chapter in chapters {
        assert_eq!(chapter["seen"], true, "{chapter}\n{lines}");
    }
    assert!(chapters.len() >= 10 && summary["all_seen"] == true, "{summary}");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    for kind in ["action", "chapter", "fault", "node", "said"] {
        assert!(kinds.contains(kind), "no line tells of {kind}: {kinds:?}");
    }
    let said = told.iter().filter(|line| line["kind"] == "said").any(|line| line["text"].as_str().unwrap().contains("`demo` approved a"));
    assert!(said, "it says that it has answered by itself\n{lines}");
    assert!(summary["claims_failed"].as_u64() >= Some(1) && summary["joules_always_on"].as_f64() > summary["joules"].as_f64(), "{summary}");
    assert!(is_empty(temp.path()), "nothing stays behind");
}

#[test]
fn a_story_that_is_not_told_to_its_end_is_no_success() {
    let temp = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(temp.path(), &["--for", "1s"]);
    let last = std::iter::from_fn(|| demo.next()).last().expect("a summary");
    assert_eq!((&last["kind"], &last["all_seen"]), (&"summary".into(), &false.into()));
    assert_eq!(demo.child.wait().unwrap().code(), Some(4));
    assert!(is_empty(temp.path()));
}

#[test]
fn broken_off_it_leaves_no_file_no_process_and_no_port_behind() {
    for signal in ["INT", "TERM", "HUP"] {
        let temp = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut demo = Demo::start(temp.path(), &["--for", "10m", "--listen", &listen.to_string()]);
        let pid = demo.child.id();
        let first = demo.next().expect("it begins");
        assert!(first["kind"].is_string());
        assert!(!is_empty(temp.path()), "while it runs, its files are there");
        let (tcp, udp) = (ports_of(pid, "tcp"), ports_of(pid, "udp"));
        assert!(tcp.iter().any(|port| port.address == listen) && tcp.len() >= 4 && !udp.is_empty(), "{tcp:?} {udp:?}");
        assert_eq!(children_of(pid), 0);
        let killed = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        let last = std::iter::from_fn(|| demo.next()).last().expect("it says how far it came");
        assert_eq!(last["kind"], "summary", "after SIG{signal}");
        assert_eq!(demo.child.wait().unwrap().code(), Some(4), "after SIG{signal}: not the whole story was seen");
        assert!(is_empty(temp.path()), "after SIG{signal}");
        // Another test may have taken a port that became free; the demo's own sockets are what must be gone.
        let open: Vec<String> = ports("tcp").into_iter().chain(ports("udp")).map(|port| port.socket).collect();
        let left: Vec<&Port> = tcp.iter().chain(&udp).filter(|port| open.contains(&port.socket)).collect();
        assert!(left.is_empty(), "after SIG{signal}: {left:?}");
    }
}

#[test]
fn without_a_terminal_it_says_what_to_do_and_starts_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY).arg("demo").env("TMPDIR", temp.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--headless"), "{output:?}");
    assert!(is_empty(temp.path()));
}
