//! Memory: windows of a day per sample, all counted, and the idle daemon on this machine.

use crate::process::{Owned, folder, rss_mib};
use crate::report::Line;
use homeostat_kernel::store::selector::Test;
use homeostat_kernel::store::{Selector, Store};
use homeostat_model::{Observation, Sample, SensorId, SeriesDecl, SeriesKey, Span, StoreSettings, Time};
use std::process::{Command, Stdio};
use std::time::Duration;

const SENSORS: usize = 10;
const STEP: Span = Span::from_secs(15);
const ROWS: i64 = 24 * 240;
/// How long the daemon is left alone before it is weighed.
const IDLE: Duration = Duration::from_secs(15);

#[derive(Copy, Clone, PartialEq)]
enum Kind {
    Constant,
    Counter,
    Gauge,
}

/// A series of node_exporter's page and how it goes on: two thirds stand still, counters grow, gauges walk, all rounded to the
/// decimals that the exporter printed.
struct Source {
    key: SeriesKey,
    kind: Kind,
    value: f64,
    scale: f64,
    step: f64,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Source {
    fn new(text: &str, printed: &str, number: usize, instance: &str) -> Option<Source> {
        let selector = Selector::parse(text).ok()?;
        let pairs = selector.matchers().iter().filter(|matcher| matcher.label != "__name__").filter_map(|matcher| match &matcher.test {
            Test::Equal(value) => Some((matcher.label.clone(), value.clone())),
            _ => None,
        });
        let name = selector.metric()?;
        let key = SeriesKey::new(name, pairs.chain([("instance".to_owned(), instance.to_owned())]));
        let counts = ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        let kind = match (number % 3, counts) {
            (0, true) => Kind::Counter,
            (0, false) => Kind::Gauge,
            _ => Kind::Constant,
        };
        let value: f64 = printed.parse().ok().filter(|value: &f64| value.is_finite())?;
        let mut parts = printed.split(['e', 'E']);
        let decimals = parts.next()?.split('.').nth(1).map_or(0, str::len) as i32;
        let exponent: i32 = parts.next().and_then(|exponent| exponent.parse().ok()).unwrap_or(0);
        let scale = 10f64.powi((decimals - exponent).clamp(0, 9));
        let least = if counts { 3.0 } else { 1.0 } / scale;
        Some(Source { key, kind, value, scale, step: (value.abs() / 2000.0).max(least) })
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        let change = match self.kind {
            Kind::Constant => return self.value,
            Kind::Counter => self.step * (0.8 + 0.4 * random.next()),
            Kind::Gauge => self.step * 2.0 * (random.next() - 0.5),
        };
        self.value = ((self.value + change) * self.scale).round() / self.scale;
        self.value
    }
}

/// node_exporter's page: a captured one where there is a corpus, else a list of the same kind.
fn captured() -> String {
    let corpus = std::env::var("HOMEOSTAT_CORPUS").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures").into());
    std::fs::read_to_string(format!("{corpus}/sensing/captured/expositions/node_exporter_1.5.0.prom")).unwrap_or_else(|_| {
        println!("no corpus: a synthetic list of series stands for node_exporter's");
        (0..507).map(|i| format!("node_metric_{}_total{{device=\"{i}\"}} {}\n", i % 40, i * i * 97)).collect()
    })
}

fn fill() -> Store {
    let page = captured();
    let mut feeds: Vec<(Vec<Source>, Observation)> = (0..SENSORS)
        .map(|number| {
            let instance = format!("node-{number}:9100");
            let lines = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).enumerate();
            let sources: Vec<Source> = lines.filter_map(|(number, (key, value))| Source::new(key, value, number, &instance)).collect();
            let mut read = Observation::new(SensorId::new(instance), Time(0), STEP);
            read.declared = sources.iter().map(|source| SeriesDecl { key: source.key.clone(), cohort: 0 }).collect();
            (sources, read)
        })
        .collect();
    let mut random = Random(7);
    let mut store = Store::new(StoreSettings { memory_bytes_max: 1 << 30, ..StoreSettings::default() });
    for row in 0..ROWS {
        for (sources, read) in &mut feeds {
            if row > 0 {
                read.reset(Time(row * STEP.millis()));
                read.declared_before = sources.len() as u32;
            }
            let numbered = (0u32..).zip(sources.iter_mut());
            read.samples.extend(numbered.map(|(series, source)| Sample { series, value: source.next(&mut random) }));
            assert_eq!(store.append(read, &mut |_| {}).samples as usize, sources.len());
        }
    }
    store
}

fn windows() {
    let before = rss_mib(std::process::id()).unwrap_or(f64::NAN);
    let store = fill();
    let stats = store.stats();
    let each = stats.bytes as f64 / stats.samples as f64;
    let resident = (rss_mib(std::process::id()).unwrap_or(f64::NAN) - before) * 1048576.0 / stats.samples as f64;
    println!(
        "windows: {} series, {} samples, {:.1} MB; the process grew by {resident:.2} bytes per sample",
        stats.series,
        stats.samples,
        stats.bytes as f64 / 1e6
    );
    Line::at_most("memory of windows, 24 h at 15 s, all counted", "plain time and value: 16 B", each, 2.0, "B/sample", Some(16.0 / each))
        .say();
}

/// The daemon with its defaults, on this machine.
fn idle() {
    let folder = folder();
    let log = std::fs::File::create(folder.path().join("log")).expect("the folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
    command.args(["run", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data")).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    let mut daemon = Owned(command.spawn().expect("the daemon can be started"));
    std::thread::sleep(IDLE);
    if let Ok(Some(status)) = daemon.0.try_wait() {
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        println!("the daemon ended by itself ({status}), so it was not weighed: {}", log.lines().last().unwrap_or("it said nothing"));
        return;
    }
    let rss = rss_mib(daemon.0.id()).unwrap_or(f64::NAN);
    Line::at_most(
        "idle daemon on this host, RSS",
        "quoted from Prometheus 2.42, 10,000 series: 134 MB",
        rss,
        30.0,
        "MiB",
        Some(134e6 / 1048576.0 / rss),
    )
    .say();
}

/// Measures and reports.
pub fn run() {
    windows();
    idle();
}
