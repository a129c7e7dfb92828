//! From a read that crosses a threshold to the actuator's call: queue, window, policy, guards, journal on disk, dispatch.

use crate::report::{Line, quantile, show};
use crate::{lab, process};
use homeostat_model::{Observation, Sample, SensorId, SeriesDecl, SeriesKey, Span};
use std::time::{Duration, Instant};

const ROUNDS: usize = 300;
/// Between two rounds, so that each one finds an idle daemon.
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(5);

const HOT: &str = r#"fn policy() { #{ for_each: series("temperature_celsius"), every: "1h", cooldown: "1h", autonomy: "auto" } }
fn evaluate(t) {
    if t.last() > 80.0 {
        propose(notify(t.label("node"))).because(`it is ${t.last()} degrees`);
    }
}"#;

/// A read in which the first `hot` nodes are too warm.
fn read(into: &mut Observation, hot: usize) {
    let value = |node: usize| if node < hot { 90.0 } else { 40.0 };
    into.samples = (0..ROUNDS).map(|node| Sample { series: node as u32, value: value(node) }).collect();
}

/// Measures and reports.
pub fn run() {
    let folder = process::folder();
    let mut times = lab::runtime().block_on(async {
        let (daemon, mut arrivals) = lab::start(folder.path(), Vec::new(), lab::rules(&[("hot".into(), HOT.into())]));
        let handle = daemon.handle();
        let (back, mut buffers) = tokio::sync::mpsc::channel(2);
        let mut first = Box::new(Observation::new(SensorId::from("bench"), handle.now(), Span::from_secs(60)));
        let key = |node: usize| SeriesKey::new("temperature_celsius", [("node", format!("node-{node}"))]);
        first.declared = (0..ROUNDS).map(|node| SeriesDecl { key: key(node), cohort: 0 }).collect();
        read(&mut first, 0);
        handle.observe(first, &back).await.expect("the kernel takes it");
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let mut next = buffers.recv().await.expect("the buffers come back");
            tokio::time::sleep(PAUSE).await;
            next.reset(handle.now());
            next.declared_before = ROUNDS as u32;
            read(&mut next, round + 1);
            let began = Instant::now();
            handle.observe(next, &back).await.expect("the kernel takes it");
            let (title, at) =
                tokio::time::timeout(PATIENCE, arrivals.recv()).await.expect("the effect is sent").expect("the actuator lives");
            assert_eq!(title, format!("node-{round}"));
            times.push(at.duration_since(began).as_secs_f64() * 1e3);
        }
        daemon.stop(Duration::from_secs(1)).await;
        times
    });
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!(
        "{ROUNDS} rounds, {ROUNDS} series each: p50 {} ms, p99 {} ms, longest {} ms",
        show(p50),
        show(p99),
        show(quantile(&mut times, 1.0))
    );
    Line::at_most(
        "sample arrives -> effect sent, p99",
        "quoted from Prometheus + Alertmanager at 1 s: 0.75 s",
        p99,
        10.0,
        "ms",
        Some(750.0 / p99),
    )
    .say();
}
