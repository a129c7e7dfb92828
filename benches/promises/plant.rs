//! The plant with the whole loop on it: steps per second for labs of 6, 100, 1,000 and 10,000 nodes, memory, and the classic lab's
//! virtual time against real time.
//!
//! A step is one read of every sensor, a minute of virtual time, with all policies; every lab has the same share of faults. Each run is
//! a process of its own. What counts is CPU time, because the machine may have other work. An editor breaks this by leaving out
//! policies or faults for large labs only.

use crate::process::{self, own_path};
use crate::report::{Line, median, show};
use homeostat::simulate::{self, Options};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::Span;
use homeostat_sim::run::{Control, Setup, run as run_one};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Nodes, and how often they are measured; the median counts.
const SIZES: [(usize, usize); 4] = [(6, 5), (100, 5), (1_000, 3), (10_000, 1)];
/// Every run is made twice, once until the loop is awake and once longer: the difference is what steps cost.
const AWAKE: Span = Span::from_mins(5);
const STEPS: i64 = 20;
/// The classic lab's share: two or three faults per day in six nodes.
const FAULTS_PER_NODE_DAY: f64 = 2.5 / 6.0;
/// How much of the month is played to compare virtual with real time.
const DAYS: i64 = 4;
const DAY_SECONDS: f64 = 86_400.0;

/// What a run cost.
struct Cost {
    cpu_seconds: f64,
    rss_mib: f64,
}

fn month() -> Setup {
    simulate::setup(&Options { seed: 1, ..Options::default() }).expect("the shipped lab and scenario fit together")
}

/// The child: plays one run and prints CPU seconds and the MiB by which memory grew at most.
pub fn child(args: &[String]) {
    let number = |index: usize| args.get(index).and_then(|text| text.parse::<i64>().ok()).expect("nodes and minutes");
    let (nodes, lasts) = (number(1) as usize, Span::from_mins(number(2)));
    let control = if args.first().is_some_and(|what| what == "alone") { Control::DoNothing } else { Control::Ours };
    let mut setup = Setup { control, ..month() };
    setup.scenario.lasts = lasts;
    if nodes != setup.lab.nodes.len() {
        setup.lab = Arc::new(setup.lab.sized(nodes));
        setup.scenario.random_faults_per_day = FAULTS_PER_NODE_DAY * nodes as f64;
    }
    let work = move || {
        let (before, memory) = (process::cpu_seconds(), process::peak_mib());
        let finished = run_one(&setup).expect("the setup fits together");
        let cpu = process::cpu_seconds() - before;
        eprintln!("{}", finished.figures.evaluations);
        println!("{cpu} {}", process::peak_mib() - memory);
    };
    // Scripts may nest deep: the kernel's own stack size.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn(work).expect("a thread can be started");
    thread.join().expect("the run ends by itself");
}

fn cost(what: &str, nodes: usize, minutes: i64) -> Cost {
    let mut command = Command::new(own_path());
    command.args(["plant-run", what, &nodes.to_string(), &minutes.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text.split_whitespace().filter_map(|figure| figure.parse().ok());
    Cost { cpu_seconds: figures.next().expect("CPU seconds"), rss_mib: figures.next().expect("MiB") }
}

/// Microseconds of CPU per node and step, after the first steps; KiB per node; CPU seconds of the first steps.
fn per_node(what: &str, nodes: usize, times: usize) -> [f64; 3] {
    let awake = (AWAKE.seconds() / 60.0) as i64;
    let rounds: Vec<[f64; 3]> = (0..times)
        .map(|_| {
            let (short, long) = (cost(what, nodes, awake), cost(what, nodes, awake + STEPS));
            let each = (long.cpu_seconds - short.cpu_seconds) / (STEPS as f64 * nodes as f64);
            [each * 1e6, long.rss_mib * 1024.0 / nodes as f64, short.cpu_seconds]
        })
        .collect();
    std::array::from_fn(|figure| median(rounds.iter().map(|round| round[figure]).collect()))
}

fn sizes() {
    let mut each = Vec::new();
    for (nodes, times) in SIZES {
        let [micros, kib, first] = per_node("loop", nodes, times);
        let [alone, ..] = per_node("alone", nodes, times);
        println!(
            "{nodes} nodes: {} steps/s with the loop, {} steps/s of the plant alone; {} and {} us CPU per node and step; \
             {} KiB per node; the first {AWAKE} take {} s CPU",
            show(1e6 / (micros * nodes as f64)),
            show(1e6 / (alone * nodes as f64)),
            show(micros),
            show(alone),
            show(kib),
            show(first)
        );
        each.push((nodes, micros, alone, kib));
    }
    let of = |wanted: usize| each.iter().find(|(nodes, ..)| *nodes == wanted).expect("it was measured");
    let (small, large) = (of(100), of(10_000));
    Line::at_most("plant and loop, cost per node, 10,000 : 100 nodes", "-", large.1 / small.1, 1.5, "", None).say();
    Line::at_most("plant alone, cost per node, 10,000 : 100 nodes", "-", large.2 / small.2, 1.5, "", None).say();
    Line::at_most("memory per node, 10,000 : 100 nodes", "-", large.3 / small.3, 1.5, "", None).say();
}

fn classic() {
    let minutes = DAYS * 24 * 60;
    let run = cost("loop", 6, minutes);
    let times = DAYS as f64 * DAY_SECONDS / run.cpu_seconds;
    println!("classic lab, {DAYS} days: {} s CPU, memory grew by {} KiB per node", show(run.cpu_seconds), show(run.rss_mib * 1024.0 / 6.0));
    Line::at_least("homeostat simulate, six nodes, virtual per CPU time", "real time: 1", times, 100_000.0, "x", Some(times)).say();
}

/// Measures and reports.
pub fn run() {
    classic();
    sizes();
}
