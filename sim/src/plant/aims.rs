//! What the house is for, measured: each aim is met or breached at every step, and what that costs adds up.
//!
//! The meter is the truth that figures and the oracle use; no sensor shows it. An editor breaks this by measuring with a policy's
//! thresholds: these are the users' expectations.

use super::{Node, Plant, Power};
use homeostat_model::Time;
use serde::Serialize;
use std::collections::BTreeMap;

/// Breaches that are kept; older ones are only counted.
const BREACHES_MAX: usize = 20_000;
/// A filesystem with less than this is not well.
const AVAIL_MIN: f64 = 0.10;
/// A node that may sleep is wasted when it was idle for this long, in seconds.
const IDLE_SECONDS_MAX: f64 = 3600.0;

/// What the house is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Aim(pub String);

/// A time in which an aim was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The aim: the thing's name as a target would say it.
    pub aim: Aim,
    /// From when.
    pub from: Time,
    /// Until when; open at the end of the run.
    pub to: Option<Time>,
}

/// What it has cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meter {
    /// Time that is measured, in seconds.
    pub seconds: f64,
    /// Energy used, in joules.
    pub joules: f64,
    /// Energy that a lab without sleep would have used, in joules.
    pub joules_always_on: f64,
    /// Seconds in which users of a service were not served well, over all services.
    pub disrupted_seconds: f64,
    /// Breaches, oldest first.
    pub breaches: Vec<Breach>,
    /// Breaches beyond the limit.
    pub breaches_dropped: u64,
    /// What was lost for good.
    pub losses: Vec<(Time, String)>,
    /// The most capacity beyond what the load needed, as a share of the need, while there were more replicas than the lab file says.
    pub overshoot: f64,
    aims: Vec<State>,
    cursor: usize,
    idle_seconds: BTreeMap<usize, f64>,
}

/// One aim; they are measured in the same order at every step.
#[derive(Clone, Debug, PartialEq)]
struct State {
    aim: Aim,
    outside_seconds: f64,
    breach: Option<usize>,
    outside: bool,
}

impl Meter {
    /// Seconds outside any aim, summed over aims.
    pub fn outside_total_seconds(&self) -> f64 {
        self.aims.iter().map(|state| state.outside_seconds).sum()
    }

    /// Seconds outside aims, by aim, where there were any.
    pub fn outside_seconds(&self) -> impl Iterator<Item = (&Aim, f64)> {
        self.aims.iter().filter(|state| state.outside_seconds > 0.0).map(|state| (&state.aim, state.outside_seconds))
    }

    /// How many aims there are.
    pub fn aims(&self) -> usize {
        self.aims.len()
    }

    /// The aims that are not met just now.
    pub fn breached(&self) -> impl Iterator<Item = &Aim> {
        self.aims.iter().filter(|state| state.outside).map(|state| &state.aim)
    }

    fn met(&mut self, aim: impl FnOnce() -> String, met: bool, now: Time, seconds: f64) {
        let index = self.cursor;
        self.cursor += 1;
        if index == self.aims.len() {
            self.aims.push(State { aim: Aim(aim()), outside_seconds: 0.0, breach: None, outside: false });
        }
        let state = &mut self.aims[index];
        let was_outside = std::mem::replace(&mut state.outside, !met);
        if met {
            if let Some(breach) = state.breach.take() {
                self.breaches[breach].to = Some(now);
            }
            return;
        }
        state.outside_seconds += seconds;
        if state.breach.is_some() {
            return;
        }
        if self.breaches.len() >= BREACHES_MAX {
            self.breaches_dropped += u64::from(!was_outside);
            return;
        }
        state.breach = Some(self.breaches.len());
        self.breaches.push(Breach { aim: state.aim.clone(), from: now, to: None });
    }

    fn lose(&mut self, now: Time, what: String) {
        if self.losses.len() < 1000 && !self.losses.iter().any(|(_, known)| *known == what) {
            self.losses.push((now, what));
        }
    }
}

impl Meter {
    /// One node's part of a step; whether work waits for it.
    pub(super) fn measure_node(&mut self, index: usize, node: &Node, has_work: bool, now: Time, seconds: f64) {
        self.joules += node.watts * seconds;
        let saves = node.sleeps && matches!(node.power, Power::Asleep | Power::Off);
        self.joules_always_on += if saves { node.machine.idle_watts } else { node.watts } * seconds;
        self.met(|| format!("node/{}", node.name), !node.is_missing(), now, seconds);
        if node.sleeps {
            let idle = self.idle_seconds.entry(index).or_default();
            *idle = if node.works() && !has_work { *idle + seconds } else { 0.0 };
            let wasted = *idle > IDLE_SECONDS_MAX;
            self.met(|| format!("power/{}", node.name), !wasted, now, seconds);
        }
        for fs in &node.filesystems {
            self.met(|| format!("filesystem/{}:{}", node.name, fs.mountpoint), fs.avail_ratio() >= AVAIL_MIN, now, seconds);
        }
        for disk in &node.disks {
            self.met(|| format!("disk/{}:{}", node.name, disk.name), !disk.holds_data_and_fails(), now, seconds);
            if disk.dead && disk.data_bytes > 0.0 {
                self.lose(now, format!("the disk {}:{} died with data on it", node.name, disk.name));
            }
        }
    }
}

impl Plant {
    /// Begins a step's measure; the nodes follow, in order, then [`Plant::end_measure`].
    pub(super) fn begin_measure(&mut self, seconds: f64) -> Meter {
        let mut meter = std::mem::take(&mut self.meter);
        meter.seconds += seconds;
        meter.cursor = 0;
        meter
    }

    pub(super) fn end_measure(&mut self, mut meter: Meter, seconds: f64) {
        self.measure_services(&mut meter, seconds);
        let now = self.now;
        for queue in &self.queues {
            let in_time = queue.wait_seconds(now) <= queue.wait_seconds_max;
            meter.met(|| format!("queue/{}", queue.name), in_time, now, seconds);
        }
        for certificate in &self.certificates {
            meter.met(|| format!("certificate/{}", certificate.name), certificate.expires > now, now, seconds);
        }
        for volume in &self.volumes {
            let copies = volume.nodes.iter().filter(|node| self.nodes[**node].answers()).count();
            meter.met(|| format!("volume/{}", volume.name), copies > 0, now, seconds);
        }
        if !self.quorum.is_empty() {
            meter.met(|| "quorum/lab".into(), self.has_quorum(), now, seconds);
        }
        self.meter = meter;
    }

    fn measure_services(&self, meter: &mut Meter, seconds: f64) {
        let now = self.now;
        for service in &self.services {
            let well = service.serves_well();
            meter.disrupted_seconds += if well { 0.0 } else { seconds };
            meter.met(|| format!("service/{}", service.spec.name), well, now, seconds);
            let (have, need) = (service.replicas.len() as f64, f64::from(service.needed()));
            if service.spec.owner.is_none() && service.replicas.len() > service.spec.replicas as usize && have > need {
                meter.overshoot = meter.overshoot.max(have / need - 1.0);
            }
        }
    }
}
