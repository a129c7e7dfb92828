//! A node: whether it is on, what it draws, how warm it gets.
//!
//! Deliberately absent: what runs on it (services set `busy` and `memory_used_bytes` each step). An editor breaks this by answering
//! requests from a node that is not [`Node::answers`]: hung, cut off and sleeping nodes all look the same from outside.

use super::storage::{Disk, Filesystem};
use crate::chance;
use crate::lab::{NodeKind, NodeSpec};
use crate::numbers::{JITTER, Machine, ROOM_CELSIUS, SYSTEM_MEMORY, WATTS_EXPONENT};
use homeostat_model::{Span, Time};

/// Whether it is on.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Power {
    /// It runs.
    On,
    /// It falls asleep.
    Suspending {
        /// When it sleeps.
        until: Time,
    },
    /// It sleeps and listens for magic packets.
    Asleep,
    /// It wakes up or boots.
    Starting {
        /// When it answers.
        until: Time,
    },
    /// It is off and listens for magic packets.
    Off,
    /// Its feed is dead.
    Unpowered,
}

impl Power {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Power::On => "on",
            Power::Suspending { .. } => "suspending",
            Power::Asleep => "asleep",
            Power::Starting { .. } => "starting",
            Power::Off => "off",
            Power::Unpowered => "unpowered",
        }
    }
}

/// How far its exporter can be believed.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub enum Exporter {
    /// It shows what is.
    #[default]
    Honest,
    /// It does not answer.
    Down,
    /// It shows what was at this moment, again and again.
    Frozen,
    /// It shows every ratio of use this many times too high.
    Lying(f64),
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its numbers.
    pub machine: Machine,
    /// Its MAC address.
    pub mac: String,
    /// Its feed.
    pub feed: String,
    /// Its switch.
    pub switch: String,
    /// Whether it is meant to sleep when nobody needs it.
    pub sleeps: bool,
    /// Whether it is on.
    pub power: Power,
    /// It is on, and does nothing any more.
    pub hung: bool,
    /// Its network card is dead.
    pub nic_dead: bool,
    /// Its switch is dead.
    pub cut_off: bool,
    /// Magic packets do not reach it (so many more).
    pub packets_lost: u32,
    /// Its next start takes this many times as long.
    pub slow_start: f64,
    /// Nothing new is placed on it.
    pub cordoned: bool,
    /// How far its exporter can be believed.
    pub exporter: Exporter,
    /// The used share of its processors, 0 to 1.
    pub busy: f64,
    /// Used memory, in bytes.
    pub memory_used_bytes: f64,
    /// Power, in watts.
    pub watts: f64,
    /// Energy since the beginning, in joules.
    pub joules: f64,
    /// Temperature of its processors, in °C.
    pub celsius: f64,
    /// For how long it has been up, in seconds.
    pub up_seconds: f64,
    /// How often it started.
    pub starts: u32,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its filesystems.
    pub filesystems: Vec<Filesystem>,
    seed: u64,
}

impl Node {
    pub(super) fn new(spec: &NodeSpec, seed: u64) -> Node {
        let machine = spec.kind.machine();
        let seed = seed ^ chance::hash(&spec.name);
        let power = if spec.sleeps { Power::Asleep } else { Power::On };
        let watts = if spec.sleeps { machine.asleep_watts } else { machine.idle_watts };
        Node {
            name: spec.name.clone(),
            kind: spec.kind,
            machine,
            mac: spec.mac.clone(),
            feed: spec.feed.clone(),
            switch: spec.switch.clone(),
            sleeps: spec.sleeps,
            power,
            hung: false,
            nic_dead: false,
            cut_off: false,
            packets_lost: 0,
            slow_start: 1.0,
            cordoned: false,
            exporter: Exporter::Honest,
            busy: 0.0,
            memory_used_bytes: SYSTEM_MEMORY * machine.memory_bytes,
            watts,
            joules: 0.0,
            celsius: ROOM_CELSIUS + watts * machine.kelvin_per_watt,
            up_seconds: 0.0,
            starts: 0,
            disks: spec.disks.iter().map(Disk::new).collect(),
            filesystems: spec.filesystems.iter().map(Filesystem::new).collect(),
            seed,
        }
    }

    /// Whether what runs on it works, seen from itself.
    pub fn works(&self) -> bool {
        self.power == Power::On && !self.hung
    }

    /// Whether it answers over the network.
    pub fn answers(&self) -> bool {
        self.works() && self.reachable()
    }

    /// Whether the network leads to it.
    pub fn reachable(&self) -> bool {
        !self.nic_dead && !self.cut_off
    }

    /// Whether it does not run although it is meant to.
    pub fn is_missing(&self) -> bool {
        !self.sleeps && !self.answers()
    }

    /// The share of memory that can be had.
    pub fn memory_avail_ratio(&self) -> f64 {
        (1.0 - self.memory_used_bytes / self.machine.memory_bytes).clamp(0.0, 1.0)
    }

    fn jittered(&self, seconds: f64, at: Time) -> Span {
        let factor = 1.0 + JITTER * (2.0 * chance::at(self.seed, 1, at.millis()) - 1.0);
        Span::from_millis((seconds * factor * 1000.0) as i64)
    }

    /// Starts it; from sleep faster than from off. Whether that changes anything.
    pub(super) fn start(&mut self, at: Time) -> bool {
        let seconds = match self.power {
            Power::Asleep => self.machine.resume_seconds,
            Power::Off => self.machine.boot_seconds,
            _ => return false,
        };
        self.power = Power::Starting { until: at + self.jittered(seconds * self.slow_start, at) };
        self.slow_start = 1.0;
        self.starts += 1;
        true
    }

    /// Sends it to sleep.
    pub(super) fn suspend(&mut self, at: Time) -> bool {
        if self.power != Power::On {
            return false;
        }
        self.power = Power::Suspending { until: at + self.jittered(self.machine.suspend_seconds, at) };
        true
    }

    /// Cuts its power and gives it back: cures what hangs.
    pub(super) fn power_cycle(&mut self, at: Time) -> bool {
        if self.power == Power::Unpowered {
            return false;
        }
        (self.power, self.hung) = (Power::Off, false);
        self.start(at)
    }

    pub(super) fn switch_off(&mut self) -> bool {
        let was_on = !matches!(self.power, Power::Off | Power::Unpowered);
        if was_on {
            (self.power, self.hung) = (Power::Off, false);
        }
        was_on
    }

    /// Lets `seconds` pass until `now`.
    pub(super) fn step(&mut self, now: Time, seconds: f64) {
        match self.power {
            Power::Suspending { until } if until <= now => self.power = Power::Asleep,
            Power::Starting { until } if until <= now => {
                (self.power, self.hung) = (Power::On, false);
            }
            _ => {}
        }
        self.up_seconds = if self.power == Power::On { self.up_seconds + seconds } else { 0.0 };
        let machine = &self.machine;
        self.watts = match self.power {
            Power::On | Power::Suspending { .. } => {
                machine.idle_watts + (machine.load_watts - machine.idle_watts) * self.busy.clamp(0.0, 1.0).powf(WATTS_EXPONENT)
            }
            Power::Starting { .. } => (machine.idle_watts + machine.load_watts) / 2.0,
            Power::Asleep => machine.asleep_watts,
            Power::Off => machine.off_watts,
            Power::Unpowered => 0.0,
        };
        self.joules += self.watts * seconds;
        let ends_at = ROOM_CELSIUS + self.watts * machine.kelvin_per_watt;
        self.celsius += (ends_at - self.celsius) * (1.0 - (-seconds / machine.warm_seconds).exp());
    }

    /// How fast its fan turns, in turns per minute: a controller that follows the temperature.
    pub fn fan_rpm(&self) -> f64 {
        if self.power == Power::On { 600.0 + ((self.celsius - 35.0).max(0.0) * 60.0).min(2400.0) } else { 0.0 }
    }
}
