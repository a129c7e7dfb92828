//! Reading a page whose layout is known: `prometheus-parse`, ours, and the newline scan as the machine's bound.

use crate::report::{Line, median};
use homeostat_model::{Observation, SensorId, Span, Time};
use homeostat_sensors::exposition::{Format, Numbering, PageMemo, SampleText};
use std::hint::black_box;
use std::time::Instant;

/// Exporters.
pub const TARGETS: usize = 100;
/// Series of each.
pub const SERIES: usize = 1000;
const ROUNDS: usize = 15;

/// A page of about 155 bytes per sample; every `changing`-th value differs from round to round.
pub fn page(round: usize, changing: usize) -> Vec<u8> {
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

struct Target {
    memo: PageMemo,
    numbers: Next,
    into: Observation,
    body: Vec<u8>,
}

/// All targets, each with a memo of its own, so that no cache holds what a real daemon's could not.
struct Ours(Vec<Target>);

impl Ours {
    fn new() -> Ours {
        let target = |_| {
            let into = Observation::new(SensorId::from("bench"), Time(0), Span::from_secs(15));
            Target { memo: PageMemo::new(), numbers: Next(0), into, body: Vec::new() }
        };
        Ours((0..TARGETS).map(target).collect())
    }

    /// Seconds per page; fetching the page is not part of it.
    fn run(&mut self, page: &[u8]) -> f64 {
        let mut total = 0.0;
        for target in &mut self.0 {
            target.into.reset(Time(0));
            target.body.clear();
            target.body.extend_from_slice(page);
            let began = Instant::now();
            let report = target.memo.read(&mut target.body, Format::Text, &mut target.numbers, &mut target.into);
            total += began.elapsed().as_secs_f64();
            assert!(report.samples == SERIES as u64 && report.is_clean());
            black_box(&target.into.samples);
        }
        total / TARGETS as f64
    }
}

fn theirs(page: &[u8]) -> f64 {
    let began = Instant::now();
    let lines = std::str::from_utf8(page).expect("the page is UTF-8").lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("the page is well-formed");
    assert_eq!(black_box(scrape).samples.len(), SERIES);
    began.elapsed().as_secs_f64()
}

fn newlines(page: &[u8]) -> f64 {
    let began = Instant::now();
    assert!(black_box(memchr::memchr_iter(b'\n', black_box(page)).count()) > SERIES);
    began.elapsed().as_secs_f64()
}

/// Measures and reports.
pub fn run() {
    let pages: Vec<Vec<u8>> = (0..8).map(|round| page(round, 3)).collect();
    let mut ours = Ours::new();
    ours.run(&pages[7]);
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        let page = &pages[round % pages.len()];
        times[0].push(median((0..5).map(|_| theirs(page)).collect()));
        times[1].push(ours.run(page));
        times[2].push(median((0..25).map(|_| newlines(page)).collect()));
    }
    let [theirs, ours, scan] = times.map(median);
    let bytes = pages[0].len() as f64;
    println!(
        "{TARGETS} targets x {SERIES} series, {:.0} bytes per sample, a third of the values change; ours {:.1} ns/sample, prometheus-parse {:.0} ns/sample, newline scan {:.1} GB/s",
        bytes / SERIES as f64,
        ours / SERIES as f64 * 1e9,
        theirs / SERIES as f64 * 1e9,
        bytes / scan / 1e9
    );
    let yardstick = format!("prometheus-parse 0.2: {:.0} MB/s", bytes / theirs / 1e6);
    Line::at_least("parse a known page", &yardstick, theirs / ours, 40.0, "x prometheus-parse", Some(theirs / ours)).say();
    let yardstick = format!("newline scan: {:.1} GB/s", bytes / scan / 1e9);
    Line::at_least("parse a known page, one core", &yardstick, bytes / ours / 1e9, 1.5, "GB/s", Some(scan / ours)).say();
}
