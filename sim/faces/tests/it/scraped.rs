//! Debian's own Prometheus and promtool read every page.

use crate::lab::{House, LIMIT, get, request};
use homeostat_model::Span;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn installed(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|output| output.status.success());
    if !there {
        println!("SKIPPED: {program} is not installed; `make test` installs it");
        assert!(std::env::var_os("CI").is_none(), "in CI the servers must be there: {program} is missing");
    }
    there
}

/// Every page there is: job, address, path.
fn pages(house: &House) -> Vec<(&'static str, SocketAddr, String)> {
    // The muscle sleeps: nobody can read its pages.
    let awake = house.faces.pages().into_iter().filter(|page| page.node.as_deref() != Some("muscle"));
    let mut pages: Vec<_> = awake
        .map(|page| {
            let (address, path) = page.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
            (page.job, address.parse().unwrap(), format!("/{path}"))
        })
        .collect();
    assert!(pages.len() > 12, "{pages:?}");
    for (module, target) in [("http_2xx", "nobody"), ("tcp_connect", "files"), ("icmp", "nas")] {
        pages.push(("blackbox", house.faces.house(), format!("/probe?module={module}&target={target}")));
    }
    pages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_no_page_unreadable() {
    if !installed("promtool") {
        return;
    }
    let house = House::start().await;
    house.begin(homeostat_sim::plant::Fault::CrashLoop { service: "web".into(), image: true });
    house.pass(Span::from_mins(30));
    for (job, address, path) in pages(&house) {
        let (status, text) = get(address, &path).await;
        assert_eq!(status, 200, "{job} {path}");
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // 3 is taste (the real exporters have the same names), anything else is an error.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{job} {path}: {said}");
        assert!(!said.contains("error while linting"), "{job} {path}: {said}");
        for line in said.lines() {
            assert!(is_taste(line), "{job} {path}: {line}");
        }
    }
    house.faces.stop().await;
}

/// What promtool dislikes in the real exporters' own names too.
fn is_taste(line: &str) -> bool {
    let theirs = [
        "kepler_node_info",
        "smartctl_device_power_cycle_count",
        "smartctl_device_power_on_seconds",
        "kepler_exporter_build_info",
        "node_memory_",
    ];
    theirs.iter().any(|name| line.starts_with(name)) || line.contains("metric names should not contain abbreviated units")
}

/// A Prometheus that ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &std::path::Path, port: u16, pages: &[(&str, SocketAddr, String)]) -> Prometheus {
    let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
    for (number, (job, address, path)) in pages.iter().enumerate() {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let params: Vec<String> = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| format!("{k}: ['{v}']")).collect();
        config.push_str(&format!(
            "- {{job_name: '{job}-{number}', metrics_path: {path}, params: {{{}}}, static_configs: [{{targets: ['{address}']}}]}}\n",
            params.join(", ")
        ));
    }
    std::fs::write(dir.join("prometheus.yml"), config).unwrap();
    let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
    let child = Command::new("prometheus")
        .args([
            format!("--config.file={}", dir.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Prometheus(child)
}

/// How often each target was scraped, and its state.
async fn targets(address: SocketAddr) -> Result<Vec<serde_json::Value>, String> {
    let (_, body) = request(address, "GET", "/api/v1/targets?state=active", "").await?;
    // The answer may be chunked: the JSON is from the first brace to the last.
    let body = body.find('{').zip(body.rfind('}')).map(|(from, to)| body[from..=to].to_owned()).ok_or("no JSON")?;
    let body: serde_json::Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    body["data"]["activeTargets"].as_array().cloned().ok_or_else(|| format!("{body}"))
}

/// One value of an instant query.
async fn query(address: SocketAddr, query: &str) -> Option<f64> {
    let (_, body) = request(address, "GET", &format!("/api/v1/query?query={query}"), "").await.ok()?;
    let body: serde_json::Value = serde_json::from_str(&body[body.find('{')?..=body.rfind('}')?]).ok()?;
    body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_every_face() {
    if !installed("prometheus") {
        return;
    }
    let house = House::start().await;
    house.pass(Span::from_mins(5));
    let pages = pages(&house);
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let prometheus = start(dir.path(), port, &pages);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let scraped = async {
        loop {
            // Three rounds of each, with the plant's time going on.
            house.pass(Span::from_secs(30));
            let rounds = query(address, "min(count_over_time(up[5m]))").await.unwrap_or(0.0);
            let jobs = query(address, "count(up)").await.unwrap_or(0.0);
            if rounds >= 3.0 && jobs as usize == pages.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(3 * LIMIT, scraped).await.is_err() {
        panic!("not scraped: {:?}\n{}", targets(address).await, std::fs::read_to_string(dir.path().join("prometheus.log")).unwrap());
    }
    let list = targets(address).await.unwrap();
    assert_eq!(list.len(), pages.len());
    for target in &list {
        assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");
    }
    assert_eq!(query(address, "min_over_time(min(up)[5m:1s])").await, Some(1.0), "never was a scrape lost");
    assert_eq!(query(address, "sum(kube_pod_status_ready{condition=\"true\"})").await, Some(5.0));
    drop(prometheus);
    house.faces.stop().await;
}
