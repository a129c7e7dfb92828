//! What performance we promise, measured: `make bench`, or `cargo bench --bench promises -- parse policy` for some parts only.
//!
//! Every part runs in a process of its own, so that memory and CPU of one are not another's; inside a part the yardstick and ours
//! are measured interleaved and medians are compared, because absolute figures drift with the machine and ratios hold. A yardstick
//! that cannot be run here is quoted, and says so. Deliberately absent: assertions; a miss is a `no` in the table. An editor breaks
//! this by moving a promise to where the figure is.
#![allow(clippy::disallowed_methods)] // a measurement needs a clock and an environment

mod alert;
mod arrival;
mod backtest;
mod exporters;
mod lab;
mod memory;
mod parse;
mod plant;
mod policy;
mod process;
mod report;
mod scoring;
mod scrape;
mod vmalert;

use report::Line;
use std::process::{Command, Stdio};

/// The parts in the table's order.
const PARTS: [(&str, fn()); 9] = [
    ("parse", parse::run),
    ("scrape", scrape::run),
    ("memory", memory::run),
    ("policy", policy::run),
    ("scoring", scoring::run),
    ("arrival", arrival::run),
    ("alert", alert::run),
    ("plant", plant::run),
    ("backtest", backtest::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match args.first().map(String::as_str) {
        Some("part") => {
            let part = PARTS.iter().find(|(name, _)| args.get(1).is_some_and(|asked| asked == name));
            part.map(|(_, run)| run()).expect("`part` is followed by a part's name");
        }
        Some("exporters") => exporters::serve(),
        Some("senders") => alert::send(&args[1..]),
        Some("plant-run") => plant::child(&args[1..]),
        _ => all(&args),
    }
}

fn all(asked: &[String]) {
    let mut lines: Vec<Line> = Vec::new();
    for (name, _) in PARTS.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|a| a == name)) {
        eprintln!("measuring: {name} …");
        let run = Command::new(process::own_path()).args(["part", name]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = run.expect("this program can be started again");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (rows, notes): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with(report::MARK));
        notes.iter().for_each(|note| println!("{name}: {note}"));
        lines.extend(rows.into_iter().filter_map(Line::parse));
        if !output.status.success() {
            println!("{name}: FAILED, {}", output.status);
        }
    }
    report::print(&lines);
}
