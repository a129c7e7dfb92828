//! Backtests end to end: over a recorded run, over a real Prometheus from Debian, and what the report looks like in a real browser.

use crate::daemon::{Server, free_port, request, until};
use crate::scenario::{self, BEGIN, END, FarEnd};
use homeostat::policy::backtest::play_recorded;
use homeostat::virtual_time;
use homeostat_authoring::backtest::{Backtest, Question, Runner, compare, recorded_lines};
use homeostat_model::PolicyId;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs the scenario through the virtual-time driver, with its journal and sample log.
fn record(dir: &Path) {
    let mut core = scenario::core(dir, BEGIN);
    virtual_time::run(&mut core, scenario::script_with_rules(), &mut FarEnd::default(), END);
}

/// A backtest of one policy of the scenario over what was recorded; `others`: the rest of the rules beside it.
fn over(dir: &Path, policy: &str, others: bool, change: impl Fn(&str) -> String) -> Backtest {
    let mut rules = scenario::rules();
    rules.policies.retain(|source| others || source.id.as_str() == policy);
    for source in rules.policies.iter_mut().filter(|source| source.id.as_str() == policy) {
        source.text = change(&source.text);
    }
    let version = format!("{policy}.rhai");
    let question = Question { version, rules, policies: vec![policy.into()], from: BEGIN, to: END, approve: false, is_recorded: true };
    let mut runner = Runner::new(question).unwrap_or_else(|errors| panic!("{errors:?}"));
    play_recorded(dir, BEGIN, END, &mut |entry| runner.take(entry.at, &entry.body)).unwrap();
    runner.finish()
}

#[test]
fn a_backtest_over_a_recorded_run_wishes_what_the_run_wished_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let entries = scenario::entries(dir.path());
    for (policy, least) in [("clean", 1), ("tell", 2)] {
        let recorded = recorded_lines(&entries, &[PolicyId::from(policy)], BEGIN, END);
        assert!(recorded.len() >= least, "{policy}: {recorded:?}");
        for others in [true, false] {
            let found = over(dir.path(), policy, others, str::to_owned);
            let same = compare(&recorded, &found.lines);
            assert_eq!(same.first_difference, None, "{policy}, others {others}");
            assert_eq!(same.equal, recorded.len());
            assert_eq!(found.counterfactual_from, None, "all of it really happened");
        }
        println!("{policy}: {} wishes, byte-equal", recorded.len());
    }
    // A threshold that was never reached: the recorded firing is gone, nothing else has come.
    let before = over(dir.path(), "clean", true, str::to_owned);
    let after = over(dir.path(), "clean", true, |text| text.replace("held_below(0.10", "held_below(0.01"));
    let differs = homeostat_authoring::backtest::diff(&before, &after, homeostat_model::Span::from_secs(30));
    assert_eq!((differs.only_a.len(), differs.only_b.len(), differs.both.len()), (before.firings.len(), 0, 0));
    assert!(!before.firings.is_empty());
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: {program} is not installed (scripts/install-test-tools)");
    }
    found
}

const MINUTE: i64 = 60;
/// Minutes of the 24 hours during which the disk is nearly full, and what is left then.
const DIPS: [(i64, i64, f64); 4] = [(180, 20, 0.05), (500, 30, 0.08), (900, 25, 0.15), (1200, 40, 0.02)];

/// 24 hours of a node_exporter's filesystem, one sample per minute, as OpenMetrics with stamps.
fn openmetrics(begin_seconds: i64) -> String {
    let labels = "{instance=\"nas:9100\",job=\"node\",mountpoint=\"/\",device=\"/dev/sda1\",fstype=\"ext4\"}";
    let mut text = String::new();
    for (name, value) in
        [("node_filesystem_avail_bytes", None), ("node_filesystem_size_bytes", Some(1e12)), ("node_filesystem_readonly", Some(0.0))]
    {
        let _ = writeln!(text, "# TYPE {name} gauge");
        for minute in 0..1440 {
            let dip = DIPS.iter().find(|(from, lasts, _)| (*from..from + lasts).contains(&minute));
            let left = dip.map_or(0.6, |(_, _, left)| *left);
            let _ = writeln!(text, "{name}{labels} {} {}", value.unwrap_or(left * 1e12), begin_seconds + minute * MINUTE);
        }
    }
    text + "# EOF\n"
}

const POLICY: &str = r#"
//! Tells of a full disk.
fn policy() {
    #{ for_each: series("filesystem_avail_ratio"), every: "1m", cooldown: "5m", autonomy: "auto", params: #{ low: 0.1 } }
}
fn evaluate(fs) {
    if fs.held_below(param("low"), "5m") {
        propose(notify(`${fs.mountpoint} on ${fs.node} is almost full`)).because(`${percent(fs.last())} left`);
    }
}
"#;

/// A Prometheus that knows the 24 hours.
fn prometheus(dir: &Path, begin_seconds: i64) -> (Server, u16) {
    let (text, blocks, port) = (dir.join("history.om"), dir.join("tsdb"), free_port());
    std::fs::write(&text, openmetrics(begin_seconds)).unwrap();
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
    until("Prometheus is ready", Duration::from_secs(30), || match request(local(port), "GET", "/-/ready", &[], "") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}\n{}", server.log())),
    });
    (server, port)
}

fn homeostat(dir: &Path, args: &[&str]) -> (bool, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_homeostat")).current_dir(dir).arg("--data").arg(dir.join("data")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn begin() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    // Whole minutes, and old enough that nothing of it can still change.
    (now - 28 * 3600) / MINUTE * MINUTE
}

fn stamp(seconds: i64) -> String {
    // As the command takes it.
    Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap()
}

#[test]
fn a_policy_is_backtested_over_a_day_of_a_real_prometheus_and_the_report_shows_it() {
    if !installed("prometheus") || !installed("promtool") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let begin = begin();
    let (mut server, port) = prometheus(dir, begin);
    std::fs::write(dir.join("full.rhai"), POLICY).unwrap();
    std::fs::write(dir.join("before.rhai"), POLICY.replace("low: 0.1", "low: 0.2")).unwrap();
    let (from, to, url) = (stamp(begin), stamp(begin + 1440 * MINUTE), format!("http://127.0.0.1:{port}"));
    let args = ["policy", "backtest", "full.rhai", "--from", &from, "--to", &to, "--server", &url];
    let (ok, _, errors) = homeostat(dir, &[&args[..], &["--offline"]].concat());
    assert!(!ok && errors.contains("--offline"), "nothing is kept yet: {errors}");
    let (ok, out, errors) = homeostat(dir, &[&args[..], &["--json", "--html", "report.html", "--against", "before.rhai"]].concat());
    assert!(ok, "{errors}");
    assert!(errors.contains("fetching history"), "progress is told: {errors}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let firings = found["backtest"]["firings"].as_array().unwrap();
    let at: Vec<i64> = firings.iter().map(|firing| (firing["from"].as_i64().unwrap() / 1000 - begin) / MINUTE).collect();
    // Three dips lie under a tenth; each is told with its fifth sample: a window of five minutes does not hold its own beginning.
    let expected: Vec<i64> = DIPS.iter().filter(|dip| dip.2 < 0.1).map(|dip| dip.0 + 4).collect();
    assert_eq!(at, expected);
    assert_eq!(found["backtest"]["claims"]["came_true_anyway"], 0, "a delivery that was only assumed proves nothing");
    assert!(firings[0]["symptom"].as_str().unwrap().starts_with("filesystem_avail_ratio{"), "named as live");
    assert_eq!(firings[0]["because"], "5.0 % left");
    // The version before would have told of the fourth, too, and of nothing else.
    let (a, b) = (&found["diff"]["only_a"], &found["diff"]["only_b"]);
    assert_eq!((a.as_array().unwrap().len(), b.as_array().unwrap().len()), (1, 0));
    let only = &found["against"]["firings"][a[0].as_u64().unwrap() as usize];
    assert_eq!((only["from"].as_i64().unwrap() / 1000 - begin) / MINUTE, DIPS[2].0 + 4);
    // What was fetched is kept: without the server the answer is the same.
    server.kill();
    let (ok, kept, errors) = homeostat(dir, &[&args[..], &["--json", "--offline", "--against", "before.rhai"]].concat());
    assert!(ok, "{errors}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).unwrap()["backtest"]["firings"], found["backtest"]["firings"]);
    let (ok, text, _) = homeostat(dir, &[&args[..], &["--offline"]].concat());
    assert!(ok && text.contains("3 firings") && text.contains("counterfactual"), "{text}");
    looked_at(dir, firings.len());
}

/// The report in a real browser: its plot has the firings, and is not blank.
fn looked_at(dir: &Path, firings: usize) {
    if !installed("chromium") {
        return;
    }
    let browser = |args: &[&str]| {
        let profile = format!("--user-data-dir={}", dir.join("browser").display());
        let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,900", &profile];
        let output = Command::new("timeout").arg("120").arg("chromium").args(fixed).args(args).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "chromium: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let page = |name: &str| format!("file://{}", dir.join(name).display());
    let dom = browser(&["--dump-dom", &page("report.html")]);
    assert_eq!(dom.matches("<g data-firing=").count(), firings, "a mark per firing");
    assert!(dom.contains(&format!("data-firings=\"{firings}\"")) && dom.contains("data-threshold=\"&lt; 0.1\""), "the threshold is drawn");
    assert_eq!(dom.matches("data-diff=\"only-a\"").count(), 1);
    // Not blank: the picture holds far more than that of an empty page of the same size.
    std::fs::write(dir.join("blank.html"), "<!doctype html><title>blank</title>").unwrap();
    for name in ["report", "blank"] {
        browser(&[&format!("--screenshot={}", dir.join(format!("{name}.png")).display()), &page(&format!("{name}.html"))]);
    }
    let bytes = |name: &str| std::fs::metadata(dir.join(name)).map_or(0, |data| data.len());
    let (drawn, blank) = (bytes("report.png"), bytes("blank.png"));
    assert!(blank > 0 && drawn > 3 * blank, "report {drawn} bytes, blank {blank} bytes");
    println!("screenshot: {drawn} bytes, a blank page has {blank}");
}
