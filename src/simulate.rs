//! `homeostat simulate`: the loop on the plant in virtual time, with its controls, its checkers and its swarm.
//!
//! What is printed to stdout depends on lab, scenario, policies and seed alone, so that two runs can be compared byte by byte; how long
//! it took goes to stderr. Deliberately absent: a journal (the driver of `homeostat_sim::run` keeps entries in memory). An editor
//! breaks this by printing a time of day, or anything that depends on the order in which threads end.

mod table;

use anyhow::{Context, bail};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::{PolicyOverride, PolicySource, Span};
use homeostat_sim::expect;
use homeostat_sim::figures::Figures;
use homeostat_sim::lab::Lab;
use homeostat_sim::run::{Control, Finished, Setup, run as run_one};
use homeostat_sim::scenario::Scenario;
use homeostat_sim::shipped;
use homeostat_sim::swarm::{Failure, try_seed};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// What is played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The lab file; none: the classic lab.
    pub lab: Option<PathBuf>,
    /// The scenario file; none: an ordinary month.
    pub scenario: Option<PathBuf>,
    /// Everything random.
    pub seed: u64,
    /// Another length than the scenario's.
    pub lasts: Option<Span>,
    /// One control alone; none: all three.
    pub control: Option<Control>,
    /// As JSON.
    pub json: bool,
    /// List what was sent, too.
    pub list: bool,
    /// So many seeds from `seed` on, checkers only.
    pub swarm: Option<u64>,
    /// A guard that does not count, in builds that allow it.
    pub broken_guard: Option<String>,
}

/// What the command prints as JSON.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    lab: &'a str,
    scenario: &'a str,
    seed: u64,
    days: f64,
    controls: Vec<Figures>,
    unmet: Vec<String>,
}

/// Plays it and prints what came of it. Whether every expectation was met and no invariant broken.
///
/// # Errors
/// A file cannot be read or does not fit, or the rules are refused.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let setup = setup(options)?;
    if let Some(count) = options.swarm {
        return swarm(&setup, options.seed, count);
    }
    let wanted: Vec<Control> = options.control.map_or_else(|| Control::ALL.to_vec(), |control| vec![control]);
    let began = Instant::now();
    let runs = side_by_side(&setup, &wanted)?;
    let figures: Vec<Figures> = runs.iter().map(|run| run.figures.clone()).collect();
    let ours = runs.iter().find(|run| run.figures.control == Control::Ours.name());
    let unmet = ours.map_or_else(Vec::new, |ours| expect::unmet(&setup.scenario, ours, &figures));
    print(&setup, options, figures, ours, &unmet)?;
    let took = began.elapsed().as_secs_f64();
    eprintln!("{} of virtual time in {took:.1} s, {} control(s)", setup.scenario.lasts, runs.len());
    Ok(unmet.is_empty())
}

/// Lab, scenario and policies as the options say.
///
/// # Errors
/// A file cannot be read or does not fit.
pub fn setup(options: &Options) -> anyhow::Result<Setup> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let (lab, mut policies) = match &options.lab {
        None => (shipped::classic().map_err(anyhow::Error::msg)?, shipped::policies()),
        Some(path) => {
            let lab = Lab::parse(&read(path)?).map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?;
            (lab, folder(&path.with_file_name("policies"))?)
        }
    };
    // The lab's own come first: a policy of the same name replaces the shipped one.
    let own: Vec<String> = policies.iter().map(|policy| policy.id.to_string()).collect();
    policies.extend(general().into_iter().filter(|policy| !own.iter().any(|name| name == policy.id.as_str())));
    let mut scenario = match &options.scenario {
        None => Scenario::parse(shipped::MONTH).map_err(anyhow::Error::msg)?,
        Some(path) => Scenario::parse(&read(path)?).map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?,
    };
    if let Some(lasts) = options.lasts {
        scenario.lasts = lasts;
    }
    Ok(Setup {
        lab: Arc::new(lab),
        scenario,
        policies,
        seed: options.seed,
        control: Control::Ours,
        broken_guard: options.broken_guard.clone(),
    })
}

/// The policies that ship with the binary.
pub fn general() -> Vec<PolicySource> {
    let source = |(name, text): &(&str, &str)| PolicySource {
        id: (*name).into(),
        path: format!("shipped:{name}.rhai"),
        text: (*text).to_owned(),
        overrides: PolicyOverride::default(),
    };
    crate::rules::SHIPPED.iter().map(source).collect()
}

fn folder(path: &Path) -> anyhow::Result<Vec<PolicySource>> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "rhai"));
    files.sort();
    let source = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(PolicySource { id: name.as_str().into(), path: file.display().to_string(), text, overrides: PolicyOverride::default() })
    };
    files.into_iter().map(source).collect()
}

/// Runs controls on threads of their own, and gives them in the order asked for.
///
/// # Errors
/// The rules are refused, or the scenario does not fit the lab.
pub fn side_by_side(setup: &Setup, controls: &[Control]) -> anyhow::Result<Vec<Finished>> {
    std::thread::scope(|scope| {
        let start = |control: &Control| {
            let setup = Setup { control: *control, ..setup.clone() };
            // Policies run on their caller's thread and need its stack.
            std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn_scoped(scope, move || run_one(&setup))
        };
        let threads = controls.iter().map(start).collect::<std::io::Result<Vec<_>>>()?;
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Finished, String>>| match thread.join() {
            Ok(finished) => finished.map_err(anyhow::Error::msg),
            Err(_) => bail!("a run panicked"),
        };
        threads.into_iter().map(join).collect()
    })
}

fn print(setup: &Setup, options: &Options, figures: Vec<Figures>, ours: Option<&Finished>, unmet: &[String]) -> anyhow::Result<()> {
    if options.json {
        let answer = Answer {
            lab: &setup.lab.name,
            scenario: &setup.scenario.name,
            seed: setup.seed,
            days: setup.scenario.lasts.seconds() / 86_400.0,
            controls: figures,
            unmet: unmet.to_vec(),
        };
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    println!("{} in the lab {}, seed {}, {}", setup.scenario.name, setup.lab.name, setup.seed, setup.scenario.lasts);
    println!("{}", table::of(&figures));
    if let Some(ours) = ours.filter(|_| options.list) {
        for line in ours.tally.acts.iter().filter(|line| line.what != "notify") {
            println!("{:>12}  {:<18} {:<22} {}", line.at.to_string(), line.policy, line.verb, line.target);
        }
    }
    for problem in unmet {
        println!("NOT MET: {problem}");
    }
    Ok(())
}

/// Runs seeds on all processors until one breaks an invariant or all are through.
fn swarm(setup: &Setup, from: u64, count: u64) -> anyhow::Result<bool> {
    let began = Instant::now();
    let (failures, tried) = seeds(setup, from, count)?;
    // The lowest seed alone: which others were found before the workers stopped is a matter of timing.
    if let Some(failure) = failures.first() {
        println!("{}", told(failure, setup));
    }
    if failures.is_empty() && tried != count {
        bail!("{tried} of {count} seeds were tried");
    }
    eprintln!("{tried} seeds in {:.1} s", began.elapsed().as_secs_f64());
    let found = failures.first().map(|failure| failure.seed);
    println!(
        "{}",
        found.map_or_else(|| format!("{count} seeds from {from}: every invariant held"), |seed| format!("seed {seed} broke an invariant"))
    );
    Ok(failures.is_empty())
}

/// Tries seeds; ends soon after the first failure. Failures in order of seed, and how many seeds were tried.
///
/// # Errors
/// The setup does not fit together.
pub fn seeds(setup: &Setup, from: u64, count: u64) -> anyhow::Result<(Vec<Failure>, u64)> {
    let (next, stop) = (AtomicU64::new(from), AtomicUsize::new(0));
    let worker = || -> Result<(Vec<Failure>, u64), String> {
        let (mut failures, mut tried) = (Vec::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= from + count || stop.load(Ordering::SeqCst) > 0 {
                return Ok((failures, tried));
            }
            tried += 1;
            let found = try_seed(setup, seed).inspect_err(|_| {
                stop.fetch_add(1, Ordering::SeqCst);
            })?;
            if let Some(failure) = found {
                stop.fetch_add(1, Ordering::SeqCst);
                failures.push(failure);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Result<(Vec<Failure>, u64), String>> = std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn_scoped(scope, worker);
        let threads: Vec<_> = (0..workers).filter_map(|number| spawn(number).ok()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a run panicked".into()))).collect()
    });
    let (mut failures, mut tried) = (Vec::new(), 0);
    for result in results {
        let (found, count) = result.map_err(anyhow::Error::msg)?;
        failures.extend(found);
        tried += count;
    }
    failures.sort_by_key(|failure| failure.seed);
    Ok((failures, tried))
}

/// A failure as people read it, with what repeats it.
pub fn told(failure: &Failure, setup: &Setup) -> String {
    let lab = if setup.lab.name == "classic" { String::new() } else { " --lab FILE".into() };
    format!(
        "seed {} breaks an invariant: {}\nthe smallest run that does, with {} of {} faults:\n---\n{}---\nrepeat it: save the lines above as broken.yaml and run\n  homeostat simulate{lab} --scenario broken.yaml --seed {} --control ours\n",
        failure.seed, failure.violation, failure.faults.0, failure.faults.1, failure.scenario, failure.seed
    )
}
