//! How fast pages of metrics are read: `prometheus-parse`, our parser, our memo, and the newline scan as the machine's bound.
//!
//! `cargo run --release -p homeostat-sensors --example parse_rate`. All are measured interleaved in one run and the medians are
//! shown as ratios, since absolute figures drift with the machine.

use homeostat_model::{Observation, SensorId, Span, Time};
use homeostat_sensors::exposition::{Format, Numbering, PageMemo, SampleText, Sink, Taken, parse};
use std::hint::black_box;
use std::time::Instant;

const SERIES: usize = 1000;
const ROUNDS: usize = 31;

/// Numbers series as they come.
struct Next(u32);

impl Numbering for Next {
    fn number(&mut self, _: &SampleText<'_, '_>, _: &mut Observation) -> Option<u32> {
        self.0 += 1;
        Some(self.0 - 1)
    }
    fn epoch(&self) -> u32 {
        0
    }
}

/// Takes every sample and keeps a sum.
struct Sum(f64);

impl Sink for Sum {
    fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken {
        self.0 += sample.value + sample.labels.len() as f64;
        Taken::Yes
    }
    fn restart(&mut self) {
        self.0 = 0.0;
    }
}

/// A page of about 155 bytes per sample. `changing`: every how many-th value differs from round to round.
fn page(round: usize, changing: usize) -> Vec<u8> {
    let mut page = String::new();
    for i in 0..SERIES {
        if i % 25 == 0 {
            page.push_str(&format!("# HELP homelab_metric_{:03}_total What this family counts, in words.\n", i / 25));
            page.push_str(&format!("# TYPE homelab_metric_{:03}_total counter\n", i / 25));
        }
        let step = if i % changing == 0 { round } else { 0 };
        let value = match i % 4 {
            0 => format!("{}", 1_000_000 + i * 977 + step * 13),
            1 => format!("{:.2}", 3600.0 + i as f64 * 1.37 + step as f64 * 0.25),
            2 => format!("{:e}", 1.234_567_8e9 + (i * 4096 + step * 512) as f64),
            _ => format!("{}", 0.5 + (i + step) as f64 / 7.0),
        };
        page.push_str(&format!(
            "homelab_metric_{:03}_total{{container=\"worker-{:02}\",device=\"nvme{}n1\",mountpoint=\"/srv/data/volume-{i:04}\",namespace=\"monitoring\",state=\"active\"}} {value}\n",
            i / 25,
            i % 40,
            i % 3
        ));
    }
    page.into_bytes()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Reads prepared pages one after the other with one memo; only the reading is timed.
struct Steady {
    memo: PageMemo,
    numbers: Next,
    into: Observation,
    pages: Vec<Vec<u8>>,
    body: Vec<u8>,
}

impl Steady {
    fn new(changing: usize) -> Steady {
        let into = Observation::new(SensorId::from("bench"), Time(0), Span::from_secs(15));
        let pages = (0..8).map(|round| page(round, changing)).collect();
        Steady { memo: PageMemo::new(), numbers: Next(0), into, pages, body: Vec::new() }
    }

    /// Seconds per page, over all prepared pages.
    fn run(&mut self) -> f64 {
        let mut total = 0.0;
        for page in &self.pages {
            self.into.reset(Time(0));
            self.body.clear();
            self.body.extend_from_slice(page);
            total += seconds(|| {
                let report = self.memo.read(&mut self.body, Format::Text, &mut self.numbers, &mut self.into);
                assert!(report.samples == SERIES as u64 && report.is_clean());
            });
            black_box(&self.into.samples);
        }
        total / self.pages.len() as f64
    }
}

fn main() {
    let cold = page(0, 1);
    let (mut all, mut third) = (Steady::new(1), Steady::new(3));
    all.run();
    third.run();
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(seconds(|| {
            let lines = std::str::from_utf8(&cold).expect("the page is UTF-8").lines().map(|line| Ok(line.to_owned()));
            let scrape = prometheus_parse::Scrape::parse(lines).expect("the page is well-formed");
            assert_eq!(black_box(scrape).samples.len(), SERIES);
        }));
        times[1].push(seconds(|| {
            let mut sum = Sum(0.0);
            let report = parse(black_box(&cold), Format::Text, &mut sum);
            assert!(report.samples == SERIES as u64 && black_box(sum.0) > 0.0);
        }));
        times[2].push(all.run());
        times[3].push(third.run());
        times[4].push(seconds(|| {
            assert!(black_box(memchr::memchr_iter(b'\n', black_box(&cold)).count()) > SERIES);
        }));
    }
    let medians = times.map(median);
    println!(
        "page: {} bytes, {SERIES} samples, {:.0} bytes per sample; medians of {ROUNDS}",
        cold.len(),
        cold.len() as f64 / SERIES as f64
    );
    println!("{:34} {:>10} {:>11} {:>18}", "", "MB/s", "ns/sample", "x prometheus-parse");
    let names =
        ["prometheus-parse 0.2", "parse, labels as slices", "memo, all values change", "memo, a third of the values", "newline scan"];
    for (name, time) in names.iter().zip(medians) {
        let (rate, each) = (cold.len() as f64 / time / 1e6, time / SERIES as f64 * 1e9);
        println!("{name:34} {rate:>10.0} {each:>11.1} {:>18.1}", medians[0] / time);
    }
}
