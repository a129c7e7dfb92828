//! A backtest of all shipped policies over 30 days of 200 series at a minute, on one core, after the fetch: reading Prometheus' answers,
//! naming, evaluation, guards, the book.
//!
//! The answers are made here, day by day, outside of what is measured. Beside it stands `vmalert -replay` of rules like the policies over
//! the same data, where it is installed (`vmalert`).

use crate::report::{Line, show};
use crate::{lab, process, vmalert};
use homeostat::rules::SHIPPED;
use homeostat_authoring::backtest::{Question, Runner};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::{Span, Time};
use homeostat_sensors::prometheus::PrometheusConfig;
use homeostat_sensors::prometheus::history::{HistoryAnswer, HistoryQuery, PrometheusHistory};
use std::fmt::Write as _;

pub const DAYS: i64 = 30;
const NODES: usize = 10;
pub const STEPS_PER_DAY: i64 = 1440;
pub const STEP: Span = Span::from_mins(1);
pub const BEGIN: Time = Time(1_699_920_000_000);

/// How a series moves.
#[derive(Clone, Copy)]
pub enum Moves {
    /// Stays.
    Flat(f64),
    /// A daily wave: middle, width.
    Wave(f64, f64),
    /// A counter: per second.
    Counter(f64),
}

/// A series: metric, labels as JSON, how it moves.
pub type Known = (&'static str, String, Moves);

/// Twenty raw series of each node, as exporters name them.
pub fn series() -> Vec<Known> {
    use Moves::{Counter, Flat, Wave};
    let mut all = Vec::new();
    for node in 0..NODES {
        let at = format!("\"job\":\"node\",\"instance\":\"node-{node}:9100\"");
        let mut add = |name: &'static str, more: &str, moves: Moves| all.push((name, format!("{at}{more}"), moves));
        add("up", "", Flat(1.0));
        for (mount, device) in [("/", "/dev/sda1"), ("/srv", "/dev/sdb1")] {
            let of = format!(",\"mountpoint\":\"{mount}\",\"device\":\"{device}\",\"fstype\":\"ext4\"");
            // One node's disks run nearly full every day; the others' breathe.
            let moves = if node == 0 { Wave(2.5e11, 2.2e11) } else { Wave(6e11, 5e10) };
            add("node_filesystem_avail_bytes", &of, moves);
            add("node_filesystem_size_bytes", &of, Flat(1e12));
            add("node_filesystem_readonly", &of, Flat(0.0));
        }
        add("node_memory_MemAvailable_bytes", "", if node == 0 { Wave(6e9, 5e9) } else { Wave(8e9, 2e9) });
        add("node_memory_MemTotal_bytes", "", Flat(1.6e10));
        for (mode, rate) in [("idle", 2.0), ("user", 1.5), ("system", 0.5)] {
            add("node_cpu_seconds_total", &format!(",\"cpu\":\"0\",\"mode\":\"{mode}\""), Counter(rate));
        }
        add("node_pressure_memory_waiting_seconds_total", "", Counter(0.02));
        add("kepler_node_package_joules_total", "", Counter(45.0));
        add("smartctl_device_smart_status", ",\"device\":\"sda\"", Flat(1.0));
        let pending =
            ",\"device\":\"sda\",\"attribute_id\":\"197\",\"attribute_value_type\":\"raw\",\"attribute_name\":\"Current_Pending_Sector\"";
        add("smartctl_device_attribute", pending, Flat(0.0));
        for pod in ["web", "mail"] {
            add(
                "kube_pod_container_status_restarts_total",
                &format!(",\"namespace\":\"home\",\"pod\":\"{pod}-{node}\",\"container\":\"{pod}\""),
                Counter(0.00002),
            );
        }
        add("probe_success", "", Flat(1.0));
        add("probe_ssl_earliest_cert_expiry", "", Flat(1.71e9));
    }
    all
}

/// The value of a series at a step since the beginning; `number` keeps series apart.
pub fn value((_, _, moves): &Known, number: usize, step: i64) -> f64 {
    let turn = ((step + number as i64 * 97) as f64 / STEPS_PER_DAY as f64 * std::f64::consts::TAU).sin();
    // A little unrest, so that values change as real ones do.
    let unrest = ((step * 7919 + number as i64 * 104_729) % 1000) as f64 / 1e5;
    match *moves {
        Moves::Flat(value) => value,
        Moves::Wave(middle, width) => (middle + width * turn) * (1.0 + unrest),
        Moves::Counter(rate) => rate * (step as f64 * STEP.seconds() + unrest * 100.0),
    }
}

/// One day's answer for one metric.
fn body(of: &[(usize, &Known)], day: i64) -> String {
    let mut text = String::from("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[");
    for (place, (number, known)) in of.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{{\"metric\":{{\"__name__\":\"{}\",{}}},\"values\":[", known.0, known.1);
        for step in day * STEPS_PER_DAY..(day + 1) * STEPS_PER_DAY {
            let at = (BEGIN.millis() + step * STEP.millis()) / 1000;
            let comma = if step == day * STEPS_PER_DAY { "" } else { "," };
            let _ = write!(text, "{comma}[{at},\"{}\"]", value(known, *number, step));
        }
        text.push_str("]}");
    }
    text + "]}}"
}

/// Measures and reports.
pub fn run() {
    // Policies run on their caller's thread and need its stack.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn(measure).expect("a thread can be started");
    thread.join().expect("the measurement ends");
}

fn measure() {
    let policies: Vec<(String, String)> = SHIPPED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let rules = lab::rules(&policies);
    let question = Question {
        version: "shipped".into(),
        policies: rules.policies.iter().map(|policy| policy.id.clone()).collect(),
        rules,
        from: BEGIN,
        to: BEGIN + Span::from_hours(24 * DAYS),
        approve: false,
        is_recorded: false,
    };
    let mut runner = Runner::new(question).unwrap_or_else(|errors| panic!("the shipped policies are sound: {errors:?}"));
    let mut history = PrometheusHistory::new(PrometheusConfig::plain("prometheus", "http://127.0.0.1:9")).expect("the reader can be made");
    let series = series();
    let mut names: Vec<&'static str> = series.iter().map(|(name, ..)| *name).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    let queries: Vec<HistoryQuery> = names.iter().map(|name| HistoryQuery { query: (*name).into(), record: None }).collect();
    let (mut spent, mut reading) = (0.0, 0.0);
    for day in 0..DAYS {
        let of = |name: &&str| body(&series.iter().enumerate().filter(|(_, known)| known.0 == *name).collect::<Vec<_>>(), day);
        let bodies: Vec<String> = names.iter().map(of).collect();
        let from = BEGIN + Span::from_hours(24 * day);
        let steps = (from, from + Span(STEP.millis() * (STEPS_PER_DAY - 1)), STEP);
        let answers: Vec<HistoryAnswer<'_>> =
            queries.iter().zip(&bodies).map(|(asked, body)| HistoryAnswer { asked, body: body.as_bytes() }).collect();
        let before = process::cpu_seconds();
        history.rows(&answers, steps, &mut |row| runner.observe(row.at, row)).expect("the answers can be read");
        spent += process::cpu_seconds() - before;
        if day == 0 {
            // The first day once more without the kernel: what reading alone costs.
            let mut alone = PrometheusHistory::new(PrometheusConfig::plain("alone", "http://127.0.0.1:9")).expect("the reader can be made");
            let before = process::cpu_seconds();
            alone.rows(&answers, steps, &mut |_| {}).expect("the answers can be read");
            reading = process::cpu_seconds() - before;
        }
    }
    let before = process::cpu_seconds();
    let found = runner.finish();
    spent += process::cpu_seconds() - before;
    println!(
        "{} raw series, {} policies: {} reads, {} samples (signals included), {} evaluations ({} undetermined), {} firings; reading and naming alone {} s; peak memory {} MiB",
        series.len(),
        found.policies.len(),
        found.observations,
        found.samples,
        found.evaluations,
        found.undetermined,
        found.firings.len(),
        show(reading * DAYS as f64),
        show(process::peak_mib())
    );
    let yardstick = vmalert::cpu();
    let (told, ratio) = match &yardstick {
        Ok(seconds) => (format!("vmalert -replay with its database: {} CPU s", show(*seconds)), Some(seconds / spent)),
        Err(why) => (format!("none: {why}"), None),
    };
    Line::at_most("backtest, 30 days x 200 series at 60 s x all shipped policies", &told, spent, 20.0, "CPU s", ratio).say();
}
