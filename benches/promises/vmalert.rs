//! The yardstick of a backtest: `vmalert -replay` of rules like the shipped policies, over the same 30 days in a VictoriaMetrics.
//!
//! Both programs are in Debian's package `victoria-metrics`; they are taken from the path. Their CPU seconds are counted together: the
//! rules are evaluated by the database. Filling it is not counted. Deliberately absent: guards, claims, cooldowns; vmalert has none. An
//! editor breaks this by giving vmalert fewer rules than there are shipped policies.

use crate::backtest::{self, Known};
use crate::process::Owned;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Rules that say what the shipped policies say, as far as PromQL can.
const RULES: &str = r#"
groups:
- name: shipped
  interval: 1m
  rules:
  - {alert: NodeDown, expr: 'up == 0', for: 2m}
  - {alert: ServiceDown, expr: 'probe_success == 0', for: 2m}
  - {alert: DiskFull, expr: 'node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1 unless node_filesystem_readonly == 1', for: 5m}
  - {alert: DiskFullSoon, expr: 'node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.4 and predict_linear(node_filesystem_avail_bytes[6h], 86400) < 0'}
  - {alert: HighCpu, expr: '1 - rate(node_cpu_seconds_total{mode="idle"}[5m]) / ignoring(mode) group_left sum without(mode) (rate(node_cpu_seconds_total[5m])) > 0.95', for: 10m}
  - {alert: HighMemory, expr: 'node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1 and rate(node_pressure_memory_waiting_seconds_total[5m]) > 0.1', for: 5m}
  - {alert: DiskFailing, expr: 'smartctl_device_smart_status == 0 or smartctl_device_attribute{attribute_id="197"} > 0'}
  - {alert: CertificateExpiring, expr: 'probe_ssl_earliest_cert_expiry - time() < 1209600'}
  - {alert: RestartLoop, expr: 'increase(kube_pod_container_status_restarts_total[15m]) > 3'}
  - {alert: EnergyAnomaly, expr: 'rate(kepler_node_package_joules_total[5m]) > 2 * rate(kepler_node_package_joules_total[1d])', for: 15m}
"#;

fn post(port: u16, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// User and system time of a process in seconds; of its ended children where `children` is set.
fn cpu_seconds(pid: &str, children: bool) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let first = if children { 13 } else { 11 };
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // A hundred ticks are a second, on every Linux that Debian builds.
    (ticks(first) + ticks(first + 1)) / 100.0
}

/// One series as VictoriaMetrics imports it.
fn import_line(known: &Known, number: usize) -> String {
    let (name, labels, _) = known;
    let mut line = format!("{{\"metric\":{{\"__name__\":\"{name}\",{labels}}},\"values\":[");
    let steps = backtest::DAYS * backtest::STEPS_PER_DAY;
    for step in 0..steps {
        let _ = write!(line, "{}{}", if step == 0 { "" } else { "," }, backtest::value(known, number, step));
    }
    line.push_str("],\"timestamps\":[");
    for step in 0..steps {
        let _ = write!(line, "{}{}", if step == 0 { "" } else { "," }, backtest::BEGIN.millis() + step * backtest::STEP.millis());
    }
    line + "]}\n"
}

/// CPU seconds of vmalert and the database; why not, where they cannot be measured.
pub fn cpu() -> Result<f64, String> {
    let folder = crate::process::folder();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(|error| error.to_string())?.port();
    let database = Command::new("victoria-metrics")
        .args([
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", folder.path().display()),
            "-retentionPeriod=100y".into(),
        ])
        .args(["-search.latencyOffset=0", "-search.disableCache"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("`victoria-metrics` cannot be started: {error}"))?;
    let database = Owned(database);
    let until = Instant::now() + PATIENCE;
    while post(port, "/internal/force_flush", "").is_err() {
        if Instant::now() > until {
            return Err("the database does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for (number, known) in backtest::series().iter().enumerate() {
        let answer = post(port, "/api/v1/import", &import_line(known, number)).map_err(|error| error.to_string())?;
        if !answer.starts_with("HTTP/1.1 204") {
            return Err(format!("the import was answered with {}", answer.lines().next().unwrap_or_default()));
        }
    }
    post(port, "/internal/force_flush", "").map_err(|error| error.to_string())?;
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, RULES).map_err(|error| error.to_string())?;
    let pid = database.0.id().to_string();
    let before = cpu_seconds(&pid, false) + cpu_seconds("self", true);
    let to = backtest::BEGIN.millis() / 1000 + backtest::DAYS * 86_400 - 60;
    let output = Command::new("vmalert")
        .args([format!("-rule={}", rules.display()), format!("-datasource.url=http://127.0.0.1:{port}")])
        .args([format!("-remoteWrite.url=http://127.0.0.1:{port}"), format!("-replay.timeFrom={}", stamp(backtest::BEGIN.millis() / 1000))])
        .args([format!("-replay.timeTo={}", stamp(to)), "-replay.rulesDelay=0".into(), "-replay.disableProgressBar".into()])
        .arg("-replay.maxDatapointsPerQuery=10000")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`vmalert` cannot be started: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("vmalert failed: {}", text.lines().last().unwrap_or_default()));
    }
    let spent = cpu_seconds(&pid, false) + cpu_seconds("self", true) - before;
    // A replay that saw nothing would be cheap.
    post(port, "/internal/force_flush", "").map_err(|error| error.to_string())?;
    let asked = format!("/api/v1/series?match[]=ALERTS&start={}&end={to}", backtest::BEGIN.millis() / 1000);
    let fired = post(port, &asked, "").map_err(|error| error.to_string())?;
    if !fired.contains("DiskFull") {
        return Err("the replay told of no full disk".into());
    }
    Ok(spent)
}

fn stamp(seconds: i64) -> String {
    let text = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output();
    text.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
