//! A small lab with faces, a clock that the test sets, and a plain HTTP client.

use homeostat_faces::{Faces, FacesSettings, KeplerAge};
use homeostat_model::{Span, Time};
use homeostat_sim::lab::Lab;
use homeostat_sim::plant::{Plant, Sight};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Patience with a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(20);

pub const LAB: &str = r#"
name: small
engine: brain
scrape: 30s
nodes:
  - { name: brain, kind: brain, mac: "02:00:00:00:00:01", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 64e9, used_ratio: 0.4 }] }
  - { name: nano, kind: small, mac: "02:00:00:00:00:11", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 240e9, used_ratio: 0.42 }] }
  - name: nas
    kind: nas
    mac: "02:00:00:00:00:20"
    switch: rack
    feed: wall
    disks: [{ name: sda, size_bytes: 8e12, data_bytes: 400e9, years: 1.5 }, { name: sdb, size_bytes: 8e12, data_bytes: 150e9, years: 4.5 }]
    filesystems: [{ mountpoint: /, size_bytes: 120e9, used_ratio: 0.3 }, { mountpoint: /srv, size_bytes: 4e12, used_ratio: 0.92, cleanable: 0.3 }]
  - { name: muscle, kind: muscle, mac: "02:00:00:00:00:30", sleeps: true, filesystems: [{ mountpoint: /, size_bytes: 2e12, used_ratio: 0.5 }] }
services:
  - { name: web, nodes: [nano, brain], replicas: 2, peak_rps: 22, replica_rps: 20, shape: steady }
  - { name: files, nodes: [nas], replicas: 1, peak_rps: 8, replica_rps: 20, pinned: true, shape: steady }
  - { name: api, nodes: [nano], replicas: 2, peak_rps: 16, replica_rps: 20, shape: steady, owner: !autoscaler { min: 2, max: 5, target: 0.6 } }
queues:
  - { name: inference, node: muscle, jobs_per_day: 400, job_seconds: 240, wait_seconds_max: 900 }
volumes:
  - { name: documents, nodes: [nas, nano] }
certificates:
  - { name: home.lab, days: 90, days_left: 75 }
verbs:
  power.wake: { does: wake, class: restore, settle: 2m }
  http.scale-up: { does: scale, class: restore, settle: 2m, ints: { replicas: [1, 10] } }
  http.scale-down: { does: scale, class: reversible, settle: 2m, ints: { replicas: [1, 10] } }
"#;

/// Monday, 2026-11-16, noon.
const NOON: Time = Time(1_794_830_400_000);

/// A lab, its faces, and its time.
pub struct House {
    pub faces: Faces,
    clock: Arc<AtomicI64>,
}

impl House {
    pub async fn start() -> House {
        House::with(|_| ()).await
    }

    pub async fn with(adapt: impl FnOnce(&mut FacesSettings)) -> House {
        let lab = Arc::new(Lab::parse(LAB).unwrap());
        let clock = Arc::new(AtomicI64::new(NOON.millis()));
        let read = Arc::clone(&clock);
        let mut settings = FacesSettings::new(Arc::new(move || Time(read.load(Ordering::SeqCst))));
        settings.kepler.insert("nas".into(), KeplerAge::Old);
        adapt(&mut settings);
        let faces = Faces::start(Plant::new(lab, 1, NOON), settings).await.unwrap();
        House { faces, clock }
    }

    /// Lets the plant's time pass; it has passed when this returns.
    pub fn pass(&self, span: Span) -> Time {
        let to = Time(self.clock.load(Ordering::SeqCst)) + span;
        self.clock.store(to.millis(), Ordering::SeqCst);
        self.faces.world().advance(to);
        to
    }

    pub fn now(&self) -> Time {
        Time(self.clock.load(Ordering::SeqCst))
    }

    /// Lets something go wrong, now and until it is mended.
    pub fn begin(&self, fault: homeostat_sim::plant::Fault) {
        self.faces.world().with(|plant| plant.begin(fault, None)).unwrap();
    }

    /// What the virtual-time sensors see: metric and labels as text, value.
    pub fn sight(&self, sensor: usize) -> Vec<(homeostat_model::SeriesKey, f64)> {
        let now = self.now();
        self.faces.world().with(|plant| {
            let mut sight = Sight::new(plant, Span::from_secs(30));
            let read = sight.read(plant, sensor, now);
            read.samples.iter().map(|sample| (read.declared[sample.series as usize].key.clone(), sample.value)).collect()
        })
    }

    pub fn node(&self, name: &str) -> SocketAddr {
        self.faces.nodes()[name]
    }
}

/// A bare HTTP/1.1 request on a connection of its own; status and body.
pub async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    request_of(address, method, path, "application/json", body).await
}

/// The same with a body of some kind.
pub async fn request_of(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> Result<(u16, String), String> {
    let fail = |error: std::io::Error| error.to_string();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.map_err(fail)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.map_err(fail)?;
        stream.write_all(body.as_bytes()).await.map_err(fail)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(fail)?;
        let answer = String::from_utf8(answer).map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: `{answer}`"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| head.to_owned())?;
        // Chunked bodies do not occur: every page is whole when it is sent.
        Ok((status, body.to_owned()))
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path, "").await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// A request with an answer in JSON.
pub async fn json(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let (status, text) = request(address, method, path, body).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}")))
}

/// Asks again and again until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asked = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| panic!("waited {LIMIT:?} for: {what}"));
}
