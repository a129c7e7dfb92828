//! A hundred thousand series at five seconds: fetch, read, write to the sample log, append to the windows. CPU of this process per
//! sample; the exporters are another process.

use crate::parse::{SERIES, TARGETS};
use crate::report::{Line, show};
use crate::{exporters, lab, process};
use homeostat::live::{Handle, MakeSensor};
use homeostat_model::{RuleSet, Sensor, Span};
use homeostat_sensors::exposition::{ExpositionConfig, ExpositionSensor};
use homeostat_sensors::normalise::Normaliser;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Span = Span::from_secs(5);
/// First reads declare their series and are not counted.
const WARM_UP: Duration = Duration::from_secs(12);
const MEASURED: Duration = Duration::from_secs(30);
const POLICIES: usize = 50;

fn sensors(exporters: SocketAddr) -> Vec<MakeSensor> {
    let make = |number: usize| {
        let mut config = ExpositionConfig::plain(format!("exporter-{number}"), format!("http://{exporters}/{number}/metrics"));
        config.interval = INTERVAL;
        config.timeout = Span::from_secs(4);
        Arc::new(move || {
            let normaliser = Normaliser::new(Some(config.node()), Vec::new());
            Ok(Box::new(ExpositionSensor::new(config.clone(), Box::new(normaliser))?) as Box<dyn Sensor>)
        }) as MakeSensor
    };
    (0..TARGETS).map(make).collect()
}

/// Policies that look at a hundred series each, over five minutes, whenever one comes.
fn policies() -> RuleSet {
    let text = |number: usize| {
        format!(
            "fn policy() {{ #{{ for_each: series(\"homelab_metric_{:03}_total{{state='active',device='nvme0n1',job=~'exporter-[0-9]'}}\"), every: \"1m\" }} }}\n\
             fn evaluate(s) {{ if s.over(\"5m\").avg() < -1.0 {{ propose(notify(\"low\")).because(\"low\") }} }}",
            number % 40
        )
    };
    lab::rules(&(0..POLICIES).map(|number| (format!("policy-{number:02}"), text(number))).collect::<Vec<_>>())
}

struct Taken {
    samples: f64,
    evaluations: f64,
    cpu: f64,
    threads: BTreeMap<String, f64>,
}

async fn count(handle: &Handle) -> (u64, u64, u64) {
    handle.ask(|kernel| (kernel.stats().samples, kernel.stats().evaluations, kernel.units_len() as u64)).await.expect("the kernel answers")
}

fn by_thread() -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    process::threads().into_iter().for_each(|(name, seconds)| *all.entry(name).or_default() += seconds);
    all
}

fn measure(name: &str, rules: RuleSet) -> Taken {
    let (_exporters, address) = exporters::start();
    let folder = process::folder();
    let runtime = lab::runtime();
    let taken = runtime.block_on(async {
        let (daemon, _arrivals) = lab::start(folder.path(), sensors(address), rules);
        let handle = daemon.handle();
        tokio::time::sleep(WARM_UP).await;
        let (cpu, threads, before) = (process::cpu_seconds(), by_thread(), count(&handle).await);
        tokio::time::sleep(MEASURED).await;
        let after = count(&handle).await;
        let cpu = process::cpu_seconds() - cpu;
        let threads = by_thread().into_iter().map(|(name, seconds)| { let before = threads.get(&name).copied().unwrap_or(0.0); (name, seconds - before) }).collect();
        let taken = Taken { samples: (after.0 - before.0) as f64, evaluations: (after.1 - before.1) as f64, cpu, threads };
        let failed: u64 = handle.status().sensors.iter().map(|sensor| sensor.reads_failed + sensor.missed).sum();
        println!(
            "{name}: {} samples in {MEASURED:?} ({failed} reads failed or missed), {} policy targets, {} evaluations, {} us CPU per sample, RSS {} MiB",
            taken.samples,
            after.2,
            taken.evaluations,
            show(cpu / taken.samples * 1e6),
            show(process::rss_mib(std::process::id()).unwrap_or(f64::NAN))
        );
        daemon.stop(Duration::from_secs(1)).await;
        taken
    });
    for (thread, seconds) in &taken.threads {
        println!("  {name}, thread `{thread}`: {} us per sample", show(seconds / taken.samples * 1e6));
    }
    taken
}

/// Measures and reports.
pub fn run() {
    let plain = measure("without policies", lab::rules(&[]));
    let each = plain.cpu / plain.samples * 1e6;
    let path = format!("scrape + parse + append, {} series at 5 s", TARGETS * SERIES);
    Line::at_most(&path, "quoted from Prometheus 2.42: 2.3 us", each, 0.3, "us CPU/sample", Some(2.3 / each)).say();
    let busy = measure("with policies", policies());
    let extra = (busy.cpu - plain.cpu * busy.samples / plain.samples) / busy.evaluations * 1e6;
    println!("with policies: {} us CPU per evaluation, scheduling included", show(extra));
}
