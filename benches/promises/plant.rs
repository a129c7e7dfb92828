//! The plant with the whole loop on it: steps per second for labs of 6, 100, 1,000 and 10,000 nodes, memory, and the classic lab's
//! virtual time against real time.
//!
//! A step is one read of every sensor, a minute of virtual time, with all policies. Labs of different sizes are compared without faults:
//! some faults stop the engine's own host or blind the whole house, and with the same share per node a lab of 10,000 nodes would have one
//! of those within minutes, after which nothing is measured but silence. The classic lab has its faults. Each run is a process of its
//! own. What counts is CPU time, because the machine may have other work. A run that takes too long is ended, larger labs are not tried,
//! and the promise counts as missed. An editor breaks this by leaving out policies for large labs only, or by comparing runs that do not
//! evaluate equally often per node (it is printed).

use crate::process::{self, own_path};
use crate::report::{Line, median, show};
use homeostat::simulate::{self, Options};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::Span;
use homeostat_sim::run::{Control, Setup, run as run_one};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Nodes, and how often they are measured; the median counts.
const SIZES: [(usize, usize); 4] = [(6, 5), (100, 5), (1_000, 3), (10_000, 1)];
/// Every run is made twice, once until the loop is awake and once longer: the difference is what steps cost.
const AWAKE: Span = Span::from_mins(5);
const STEPS: i64 = 20;
/// The plant alone is quick: it goes on until this many nodes have made a step, without faults.
const ALONE_NODE_STEPS: i64 = 200_000;
/// A run that takes longer is ended; its figures are missing.
const PATIENCE: Duration = Duration::from_secs(120);
/// The exit status of a run that was ended.
const TOO_LONG: i32 = 3;
/// How much of the month is played to compare virtual with real time.
const DAYS: i64 = 4;
const DAY_SECONDS: f64 = 86_400.0;

/// What a run cost.
struct Cost {
    cpu_seconds: f64,
    rss_mib: f64,
    evaluations: f64,
}

fn month() -> Setup {
    simulate::setup(&Options { seed: 1, ..Options::default() }).expect("the shipped lab and scenario fit together")
}

/// The child: plays one run and prints CPU seconds, the MiB by which memory grew at most, and evaluations.
pub fn child(args: &[String]) {
    let number = |index: usize| args.get(index).and_then(|text| text.parse::<i64>().ok()).expect("nodes and minutes");
    let (nodes, lasts) = (number(1) as usize, Span::from_mins(number(2)));
    let alone = args.first().is_some_and(|what| what == "alone");
    let control = if alone { Control::DoNothing } else { Control::Ours };
    let mut setup = Setup { control, ..month() };
    setup.scenario.lasts = lasts;
    if nodes != setup.lab.nodes.len() {
        setup.lab = Arc::new(setup.lab.sized(nodes));
    }
    if args.first().is_none_or(|what| what != "classic") {
        setup.scenario.random_faults_per_day = 0.0;
    }
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        std::process::exit(TOO_LONG);
    });
    let work = move || {
        let (before, memory) = (process::cpu_seconds(), process::peak_mib());
        let finished = run_one(&setup).expect("the setup fits together");
        let cpu = process::cpu_seconds() - before;
        println!("{cpu} {} {}", process::peak_mib() - memory, finished.figures.evaluations);
    };
    // Scripts may nest deep: the kernel's own stack size.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn(work).expect("a thread can be started");
    thread.join().expect("the run ends by itself");
}

/// What a run costs; nothing, if it took too long.
fn cost(what: &str, nodes: usize, minutes: i64) -> Option<Cost> {
    let mut command = Command::new(own_path());
    command.args(["plant-run", what, &nodes.to_string(), &minutes.to_string()]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().expect("this program can be started again");
    if output.status.code() == Some(TOO_LONG) {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text.split_whitespace().filter_map(|figure| figure.parse().ok());
    let mut next = |what: &str| figures.next().unwrap_or_else(|| panic!("{what} of {nodes} nodes"));
    Some(Cost { cpu_seconds: next("CPU seconds"), rss_mib: next("MiB"), evaluations: next("evaluations") })
}

/// Microseconds of CPU per node and step, after the first steps; KiB per node; CPU seconds of the first steps; evaluations per node and
/// step after them.
fn per_node(what: &str, nodes: usize, steps: i64, times: usize) -> Option<[f64; 4]> {
    let awake = (AWAKE.seconds() / 60.0) as i64;
    let mut rounds = Vec::new();
    for _ in 0..times {
        let (short, long) = (cost(what, nodes, awake)?, cost(what, nodes, awake + steps)?);
        let each = (long.cpu_seconds - short.cpu_seconds) / (steps as f64 * nodes as f64);
        let evaluations = (long.evaluations - short.evaluations) / (steps as f64 * nodes as f64);
        rounds.push([each * 1e6, long.rss_mib * 1024.0 / nodes as f64, short.cpu_seconds, evaluations]);
    }
    Some(std::array::from_fn(|figure| median(rounds.iter().map(|round: &[f64; 4]| round[figure]).collect())))
}

/// The figures of each size, as far as runs ended in time.
fn measured(what: &str, steps: impl Fn(usize) -> i64) -> Vec<(usize, [f64; 4])> {
    let mut sizes = Vec::new();
    for (nodes, times) in SIZES {
        let Some(figures) = per_node(what, nodes, steps(nodes), times) else {
            println!("{what}, {nodes} nodes: NOT MEASURED, a run took more than {} s; nor any larger lab", PATIENCE.as_secs());
            break;
        };
        let [micros, kib, first, evaluations] = figures.map(show);
        let rate = show(1e6 / (figures[0] * nodes as f64));
        println!(
            "{what}, {nodes} nodes: {rate} steps/s, {micros} us CPU per node and step, {evaluations} evaluations, {kib} KiB per node, {first} s CPU for the first {AWAKE}"
        );
        sizes.push((nodes, figures));
    }
    sizes
}

/// How many times as much of a figure the largest lab needs as one of a hundred nodes; NaN where one was not measured.
fn ratio(sizes: &[(usize, [f64; 4])], figure: usize) -> f64 {
    let of = |wanted: usize| sizes.iter().find(|(nodes, _)| *nodes == wanted).map_or(f64::NAN, |(_, figures)| figures[figure]);
    of(10_000) / of(100)
}

fn sizes() {
    let alone = measured("alone", |nodes| ALONE_NODE_STEPS / nodes as i64);
    let with_loop = measured("loop", |_| STEPS);
    Line::at_most("plant alone, cost per node, 10,000 : 100 nodes", "-", ratio(&alone, 0), 1.5, "", None).say();
    Line::at_most("plant and loop, cost per node, 10,000 : 100 nodes", "-", ratio(&with_loop, 0), 1.5, "", None).say();
    Line::at_most("plant and loop, memory per node, 10,000 : 100 nodes", "-", ratio(&with_loop, 1), 1.5, "", None).say();
}

fn classic() {
    let run = cost("classic", 6, DAYS * 24 * 60);
    if let Some(run) = &run {
        println!(
            "classic lab, {DAYS} days: {} s CPU, memory grew by {} KiB per node",
            show(run.cpu_seconds),
            show(run.rss_mib * 1024.0 / 6.0)
        );
    }
    let times = run.map_or(f64::NAN, |run| DAYS as f64 * DAY_SECONDS / run.cpu_seconds);
    Line::at_least("homeostat simulate, six nodes, virtual per CPU time", "real time: 1", times, 100_000.0, "x", Some(times)).say();
}

/// Measures and reports.
pub fn run() {
    classic();
    sizes();
}
