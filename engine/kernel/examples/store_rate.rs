//! Measures the store on node_exporter's series: `cargo run --release -p homeostat-kernel --example store_rate [page.prom]`.
//!
//! Prints nanoseconds per appended sample, bytes per sample and nanoseconds per window operation; in the same run, for comparison,
//! plain 16-byte rings, and what `pco` needs for the same chunks. The page defaults to the captured one of the corpus; without it
//! a synthetic list of the same kind is used.
#![allow(clippy::disallowed_methods)] // a measurement needs a clock, a file and an environment; the engine has none

use homeostat_kernel::store::selector::Test;
use homeostat_kernel::store::{CHUNK_ROWS, Read, Selector, SeriesRef, Store, Window};
use homeostat_model::{Observation, Sample, SensorId, SeriesDecl, SeriesKey, Span, StoreSettings, Time};
use std::hint::black_box;
use std::time::Instant;

const SENSORS: usize = 10;
const STEP_MS: i64 = 15_000;
const ROWS: i64 = 24 * 240;

/// How a series goes on after its first value.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Constant,
    Counter,
    Gauge,
}

struct Source {
    key: SeriesKey,
    kind: Kind,
    value: f64,
    /// Ten to the number of decimals.
    scale: f64,
    step: f64,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Source {
    fn new(text: &str, value: &str, number: usize) -> Option<Source> {
        let selector = Selector::parse(text).ok()?;
        let pairs = selector.matchers().iter().filter(|matcher| matcher.label != "__name__").filter_map(|matcher| match &matcher.test {
            Test::Equal(value) => Some((matcher.label.clone(), value.clone())),
            _ => None,
        });
        let name = selector.metric()?;
        let key = SeriesKey::new(name, pairs);
        let is_counter = ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        let kind = if !number.is_multiple_of(3) {
            Kind::Constant
        } else if is_counter {
            Kind::Counter
        } else {
            Kind::Gauge
        };
        let decimals = value.split(['e', 'E']).next()?.split('.').nth(1).map_or(0, str::len);
        let exponent: i32 = value.split(['e', 'E']).nth(1).and_then(|exponent| exponent.parse().ok()).unwrap_or(0);
        let scale = 10f64.powi((decimals as i32 - exponent).clamp(0, 9));
        let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
        let step = (value.abs() / 2000.0).max(1.0 / scale).max(if is_counter { 3.0 / scale } else { 0.0 });
        Some(Source { key, kind, value, scale, step })
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

fn sources() -> Vec<Source> {
    let corpus =
        std::env::var("HOMEOSTAT_CORPUS").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures").into());
    let default = format!("{corpus}/sensing/captured/expositions/node_exporter_1.5.0.prom");
    let path = std::env::args().nth(1).unwrap_or(default);
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        println!("SKIPPED: no corpus at {path} ({error}); a synthetic list is used");
        (0..507).map(|i| format!("metric_{}_total{{device=\"{i}\"}} {}\n", i % 40, i * i * 97)).collect()
    });
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.enumerate().filter_map(|(number, (key, value))| Source::new(key, value, number)).collect()
}

/// One sensor's sources, and its observation buffer.
struct Feed {
    sources: Vec<Source>,
    obs: Observation,
}

fn feeds(copies: usize) -> Vec<Feed> {
    let make = |number: usize| {
        let mut sources = sources();
        for source in &mut sources {
            let labels = source.key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let labels: Vec<(String, String)> = labels.chain([("instance".into(), format!("node-{number}:9100"))]).collect();
            source.key = SeriesKey::new(source.key.metric.clone(), labels);
        }
        let mut obs = Observation::new(SensorId::new(format!("node-{number}")), Time(0), Span(STEP_MS));
        obs.declared = sources.iter().map(|source| SeriesDecl { key: source.key.clone(), cohort: 0 }).collect();
        Feed { sources, obs }
    };
    (0..copies).map(make).collect()
}

fn fill(feed: &mut Feed, row: i64, random: &mut Random) {
    if row > 0 {
        feed.obs.reset(Time(row * STEP_MS));
        feed.obs.declared_before = feed.sources.len() as u32;
    }
    let samples = feed.sources.iter_mut().enumerate();
    feed.obs.samples.extend(samples.map(|(number, source)| Sample { series: number as u32, value: source.next(random) }));
}

fn time_windows(store: &Store, all: &[SeriesRef], now: Time) {
    let measure = |name: &str, span: Span, op: &dyn Fn(&Window<'_>) -> Read| {
        const ROUNDS: usize = 4;
        let (mut cost, start) = (0u64, Instant::now());
        for _ in 0..ROUNDS {
            for series in all {
                cost += u64::from(black_box(op(&store.window(*series, now, span))).cost);
            }
        }
        let count = (ROUNDS * all.len()) as f64;
        let each = start.elapsed().as_nanos() as f64 / count;
        println!("  {name:<14} {span:>4}: {each:8.0} ns  (touches {:.0})", cost as f64 / count);
    };
    for span in [Span::from_mins(5), Span::from_hours(6)] {
        measure("avg", span, &|w| w.avg());
        measure("max", span, &|w| w.max());
        measure("stddev", span, &|w| w.stddev());
        measure("rate", span, &|w| w.rate());
        measure("held_below", span, &|w| w.held_below(f64::INFINITY));
        measure("quantile", span, &|w| w.quantile(0.9));
        measure("slope", span, &|w| w.slope());
        measure("seconds_until", span, &|w| w.seconds_until(0.0));
    }
    let start = Instant::now();
    for series in all {
        black_box(store.last(*series, now));
    }
    println!("  last               : {:8.0} ns", start.elapsed().as_nanos() as f64 / all.len() as f64);
}

/// Plain rings of (stamp, value): what is compared with.
fn time_rings(values: &[Vec<f64>], rows: usize) {
    let mut rings = vec![vec![(0i64, 0.0f64); 512]; values[0].len()];
    let start = Instant::now();
    for row in 0..rows {
        for (ring, value) in rings.iter_mut().zip(&values[row % values.len()]) {
            ring[row & 511] = (row as i64 * STEP_MS, *value);
        }
    }
    let push = start.elapsed().as_nanos() as f64 / (rows * rings.len()) as f64;
    let start = Instant::now();
    for ring in &rings {
        black_box((rows - 20..rows).map(|row| ring[row & 511].1).sum::<f64>());
    }
    println!("plain 16 B rings: push {push:.1} ns, sum of 20: {:.0} ns", start.elapsed().as_nanos() as f64 / rings.len() as f64);
}

fn time_pco(columns: &[Vec<f64>]) {
    for level in [0, 4, 8] {
        let config = pco::ChunkConfig::default().with_compression_level(level);
        let (mut bytes, mut count, start) = (0usize, 0usize, Instant::now());
        for column in columns.iter().filter(|column| column.iter().any(|value| *value != column[0])) {
            bytes += pco::standalone::simple_compress(column, &config).map_or(0, |packed| packed.len());
            count += column.len();
        }
        let each = start.elapsed().as_nanos() as f64 / count as f64;
        println!(
            "pco level {level}, not constant, chunks of 120: {:.2} B/sample, {each:.0} ns/sample to encode",
            bytes as f64 / count as f64
        );
    }
}

fn main() {
    let mut feeds = feeds(SENSORS);
    let series: usize = feeds.iter().map(|feed| feed.sources.len()).sum();
    let changing = feeds[0].sources.iter().filter(|source| source.kind != Kind::Constant).count();
    println!("{SENSORS} sensors, {series} series ({changing} of {} change), {ROWS} rows at 15 s", feeds[0].sources.len());
    let mut random = Random(7);
    let mut store = Store::new(StoreSettings { memory_bytes_max: 1 << 30, ..StoreSettings::default() });
    let (mut spent, mut slowest, mut woken) = (0u128, 0u128, 0u64);
    // The least time of each row of the chunk cycle, over all cycles: what it costs where nobody else has the processor.
    let mut quiet = [u128::MAX; CHUNK_ROWS];
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for row in 0..ROWS {
        let mut this_row = 0;
        for (number, feed) in feeds.iter_mut().enumerate() {
            fill(feed, row, &mut random);
            if number == 0 && row < 120 {
                rows.push(feed.obs.samples.iter().map(|sample| sample.value).collect());
            }
            let start = Instant::now();
            let appended = store.append(&feed.obs, &mut |_| woken += 1);
            let took = start.elapsed().as_nanos();
            assert_eq!(appended.samples as usize, feed.sources.len());
            spent += if row > 0 { took } else { 0 };
            slowest = slowest.max(if row > 0 { took } else { 0 });
            this_row += took;
        }
        let least = &mut quiet[row as usize % CHUNK_ROWS];
        *least = this_row.min(*least);
    }
    let samples = (ROWS - 1) as f64 * series as f64;
    println!(
        "append: {:.1} ns/sample with sealing; slowest read of {} series {:.2} ms; {woken} woken",
        spent as f64 / samples,
        series / SENSORS,
        slowest as f64 / 1e6
    );
    let quiet = quiet.iter().sum::<u128>() as f64 / (CHUNK_ROWS * series) as f64;
    println!("append, undisturbed: {quiet:.1} ns/sample with sealing");
    let stats = store.stats();
    let per = |bytes: u64| bytes as f64 / stats.samples as f64;
    println!(
        "memory: {:.2} B/sample in all ({:.2} sealed, {:.2} heads, {:.2} identities), {:.1} MB, {} samples",
        per(stats.bytes),
        per(stats.sealed_bytes),
        per(stats.head_bytes),
        per(stats.index_bytes),
        stats.bytes as f64 / 1e6,
        stats.samples
    );
    let now = Time((ROWS - 1) * STEP_MS);
    let start = Instant::now();
    let all = store.select(&Selector::parse("{instance=~\"node-.*\"}").expect("a selector"));
    println!("select all {}: {:.1} ms", all.len(), start.elapsed().as_nanos() as f64 / 1e6);
    println!("windows, over all series:");
    time_windows(&store, &all, now);
    println!("windows, over 200 series (hot):");
    time_windows(&store, &all[..200], now);
    time_rings(&rows, 4096);
    let columns: Vec<Vec<f64>> = (0..rows[0].len()).map(|series| rows.iter().map(|row| row[series]).collect()).collect();
    time_pco(&columns);
}
