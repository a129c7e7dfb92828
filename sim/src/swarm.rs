//! Many seeds: faults by chance, the checkers on, and where one breaks, the smallest scenario that still does.
//!
//! An editor breaks this by drawing faults from anything but the seed: a failure must repeat with one command.

use crate::chance::{stream, unit_from, wait_seconds};
use crate::checkers::Violation;
use crate::lab::Lab;
use crate::plant::{Fault, Lie, Op, OpKind, Planned};
use crate::run::{Setup, run};
use crate::scenario::OrderAt;
use homeostat_model::{Command, Span};
use rand_pcg::Pcg64Mcg;

/// Faults in one run.
const FAULTS_MAX: usize = 5_000;

/// Faults by chance, so many per day, none in the last twentieth of the run.
pub fn random_faults(lab: &Lab, seed: u64, lasts: Span, per_day: f64) -> Vec<Planned> {
    let mut random = stream(seed, "faults");
    let (mut at, mut faults) = (0.0, Vec::new());
    while per_day > 0.0 && faults.len() < FAULTS_MAX {
        at += wait_seconds(&mut random, per_day / 86_400.0);
        if at > lasts.seconds() * 0.95 {
            break;
        }
        if let Some((fault, hours)) = draw(lab, &mut random) {
            let lasts = hours.map(|hours| Span::from_secs((hours * 3600.0 * (0.5 + unit_from(&mut random))) as i64));
            faults.push(Planned { at: Span::from_secs(at as i64), lasts, fault });
        }
    }
    faults
}

/// Hands off by chance, for ten minutes to an hour each time.
pub fn random_orders(seed: u64, lasts: Span, per_day: f64) -> Vec<OrderAt> {
    let mut random = stream(seed, "orders");
    let (mut at, mut orders) = (0.0, Vec::new());
    while per_day > 0.0 && orders.len() < 1000 {
        at += wait_seconds(&mut random, per_day / 86_400.0);
        let until = at + 600.0 + 3000.0 * unit_from(&mut random);
        if until > lasts.seconds() {
            break;
        }
        orders.push(OrderAt { at: Span::from_secs(at as i64), command: Command::Pause { reason: "by chance".into() } });
        orders.push(OrderAt { at: Span::from_secs(until as i64), command: Command::Resume });
        at = until;
    }
    orders
}

fn pick<'a, T>(random: &mut Pcg64Mcg, things: &'a [T]) -> Option<&'a T> {
    things.get((unit_from(random) * things.len() as f64) as usize)
}

/// A fault, and how many hours it lasts; none: until it is mended.
fn draw(lab: &Lab, random: &mut Pcg64Mcg) -> Option<(Fault, Option<f64>)> {
    let kind = (unit_from(random) * 24.0) as u32;
    let fixed: Vec<&crate::lab::NodeSpec> = lab.nodes.iter().filter(|node| !node.sleeps && node.name != lab.engine).collect();
    let node = (*pick(random, &fixed)?).clone();
    let service = pick(random, &lab.services)?.name.clone();
    let sleeper = lab.nodes.iter().find(|node| node.sleeps).map(|node| node.name.clone());
    let verbs: Vec<&String> = lab.verbs.keys().filter(|verb| *verb != "notify.send").collect();
    let name = node.name.clone();
    Some(match kind {
        0 => (Fault::Crash { node: name }, Some(6.0)),
        1 => (Fault::Hang { node: name }, Some(6.0)),
        2 => (Fault::SlowBoot { node: sleeper?, factor: 10.0 }, Some(4.0)),
        3 => (Fault::LostPackets { node: sleeper?, count: 2 }, Some(3.0)),
        4 => (Fault::DeadNic { node: name }, Some(2.0)),
        5 => {
            let disks: Vec<(&str, &str)> =
                lab.nodes.iter().flat_map(|node| node.disks.iter().map(|disk| (node.name.as_str(), disk.name.as_str()))).collect();
            let (node, disk) = *pick(random, &disks)?;
            (Fault::DiskFails { node: node.into(), disk: disk.into(), within: Span::from_hours(24 * 5) }, Some(24.0 * 6.0))
        }
        6 | 7 => (Fault::Leak { service, bytes_per_second: 40_000.0 + 200_000.0 * unit_from(random) }, Some(20.0)),
        8 => {
            let filesystem = pick(random, &node.filesystems)?;
            (Fault::RunawayLog { node: name, mountpoint: filesystem.mountpoint.clone(), per_day: 0.5 + 2.0 * unit_from(random) }, Some(8.0))
        }
        9 | 10 => (Fault::Surge { service, factor: 1.5 + 2.0 * unit_from(random) }, Some(3.0)),
        11 => (Fault::CrashLoop { service, image: false }, Some(8.0)),
        12 => (Fault::CrashLoop { service, image: true }, Some(3.0)),
        13 => (Fault::Misconfigured { service }, Some(3.0)),
        14 => (Fault::RenewalStuck { certificate: pick(random, &lab.certificates)?.name.clone() }, None),
        15 => (Fault::FeedDown { feed: node.feed.clone() }, Some(0.5)),
        16 => (Fault::SwitchDown { switch: node.switch.clone() }, Some(0.3)),
        17 => (Fault::ExporterDown { node: name }, Some(2.0)),
        18 => (Fault::ExporterFrozen { node: name }, Some(2.0)),
        19 => (Fault::ExporterLies { node: name, factor: 1.5 + 2.0 * unit_from(random) }, Some(2.0)),
        20 => (Fault::HouseBlind, Some(0.4)),
        21 => (Fault::EngineCutOff, Some(0.5)),
        22 => (Fault::EngineRestart, Some(0.02)),
        _ if unit_from(random) < 0.3 => (Fault::ClockStep { seconds: if unit_from(random) < 0.5 { 3600 } else { -600 } }, Some(0.1)),
        _ if unit_from(random) < 0.4 => (
            Fault::Person { op: Op { does: OpKind::Wake, target: format!("node/{}", sleeper?).as_str().into(), replicas: None } },
            Some(0.1),
        ),
        _ => {
            let lies = [Lie::DoneSaysError, Lie::NothingSaysDone, Lie::DoneNoAnswer, Lie::NothingNoAnswer, Lie::Refuses];
            (Fault::Actuator { verb: (*pick(random, &verbs)?).clone(), how: *pick(random, &lies)? }, Some(4.0))
        }
    })
}

/// A seed whose run broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was broken, in the smallest run.
    pub violation: Violation,
    /// The smallest scenario that still breaks it, as a file.
    pub scenario: String,
    /// How many faults it needs, of how many there were.
    pub faults: (usize, usize),
}

/// Runs one seed; where it breaks an invariant, shrinks it.
///
/// # Errors
/// The setup does not fit together.
pub fn try_seed(setup: &Setup, seed: u64) -> Result<Option<Failure>, String> {
    let setup = setup.with_seed(seed);
    let violations = run(&setup)?.violations;
    let Some(first) = violations.into_iter().next() else { return Ok(None) };
    Ok(Some(shrink(&setup, first)))
}

/// Leaves out what is not needed to break the same invariant: the end of the run, then fault by fault.
fn shrink(setup: &Setup, violation: Violation) -> Failure {
    let mut best = setup.clone();
    best.scenario.faults = setup.faults();
    best.scenario.orders = setup.orders();
    (best.scenario.random_faults_per_day, best.scenario.random_pauses_per_day) = (0.0, 0.0);
    let all = best.scenario.faults.len();
    let mut found = violation;
    let breaks = |setup: &Setup, invariant: &str| {
        let finished = run(setup).ok()?;
        finished.violations.into_iter().find(|violation| violation.invariant == invariant)
    };
    let short = Span(found.at.since(best.begin()).millis() + 60_000);
    let mut tried = best.clone();
    tried.scenario.lasts = short.min(best.scenario.lasts);
    tried.scenario.faults.retain(|planned| planned.at <= tried.scenario.lasts);
    if let Some(again) = breaks(&tried, found.invariant) {
        (best, found) = (tried, again);
    }
    // Halves, quarters … then single faults, as delta debugging does (Zeller and Hildebrandt 2002).
    let mut size = best.scenario.faults.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        while start < best.scenario.faults.len() {
            let mut tried = best.clone();
            let end = (start + size).min(tried.scenario.faults.len());
            tried.scenario.faults.drain(start..end);
            match breaks(&tried, found.invariant) {
                Some(again) => (best, found) = (tried, again),
                None => start += size,
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    let faults = (best.scenario.faults.len(), all);
    Failure { seed: setup.seed, violation: found, scenario: best.scenario.to_yaml(), faults }
}
