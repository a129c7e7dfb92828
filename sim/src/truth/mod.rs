//! A small world for scoring, in which it is known what every action really did.
//!
//! The plant shows whether a homelab stays healthy; here the question is whether the kernel tells the truth about its own actions. So
//! there are only nodes with one series each, which drifts, follows the day, remembers, is measured badly and is sometimes lost;
//! troubles that begin and perhaps end by themselves; machines that boot; and actions whose effect is given ([`Answer`]). What the
//! weather does is a function of seed, node and moment: it is the same whatever is done, so that the truth is a difference of two
//! worlds. Deliberately absent: policies, guards and numbers about them (the kernel's), and a homelab's detail (the plant's). An
//! editor breaks this by drawing anything of the weather from a stream that actions move on.

mod driver;
#[cfg(test)]
mod tests;

pub use driver::{Driver, Person, Setup};

use crate::chance;
use homeostat_model::{ActionId, Observation, Sample, SeriesDecl, SeriesKey, Span, Time, Verb};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// What a node's series does by itself. Deviations and sizes in the series' unit.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Weather {
    /// The level.
    pub base: f64,
    /// Rise per day.
    pub trend_per_day: f64,
    /// Amplitude of the daily rhythm; each node has its own phase.
    pub daily: f64,
    /// Deviation of what has memory.
    pub own: f64,
    /// Its memory: after so long 37 % are left.
    pub memory: Span,
    /// Deviation of what all nodes share, with the same memory.
    pub shared: f64,
    /// Deviation of the measurement noise.
    pub white: f64,
    /// Share of samples that are lost, 0 to 1.
    pub missing: f64,
    /// Holes per day and node …
    pub holes_per_day: f64,
    /// … each this long.
    pub hole: Span,
}

impl Weather {
    /// Nothing moves.
    pub const STILL: Weather = Weather {
        base: 0.0,
        trend_per_day: 0.0,
        daily: 0.0,
        own: 0.0,
        memory: Span::from_mins(10),
        shared: 0.0,
        white: 0.0,
        missing: 0.0,
        holes_per_day: 0.0,
        hole: Span::from_mins(20),
    };
}

/// Troubles: steps up in the series, one at a time per node.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Trouble {
    /// How many begin per day and node, while there is none.
    pub per_day: f64,
    /// How far the series steps up.
    pub size: f64,
    /// They end by themselves after so long on average (exponential); `None`: never.
    pub heals_after: Option<Span>,
    /// After one has ended there is none for so long.
    pub rests: Span,
}

/// How far an action moves the series.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Size {
    /// Always as far.
    Always(f64),
    /// With chance `null_share` not at all, else anything from `-most` to `most`.
    Drawn {
        /// 0 to 1.
        null_share: f64,
        /// In the series' unit.
        most: f64,
    },
}

/// What an action really does to its node.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Answer {
    /// It begins after this …
    pub after: Span,
    /// … and up to this much later, evenly.
    pub jitter: Span,
    /// The series moves so far …
    pub moves: Size,
    /// … for this long.
    pub lasts: Span,
    /// It ends a trouble.
    pub heals: bool,
    /// It makes a trouble of this size, which lasts until something ends it or [`Answer::lasts`] is over.
    pub troubles: Option<f64>,
    /// The machine is up afterwards, or down; `None`: as it was.
    pub power: Option<bool>,
}

impl Answer {
    /// It does nothing at all.
    pub const PLACEBO: Answer = Answer {
        after: Span::ZERO,
        jitter: Span::ZERO,
        moves: Size::Always(0.0),
        lasts: Span::from_hours(2),
        heals: false,
        troubles: None,
        power: None,
    };
}

/// What is made.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How many nodes.
    pub nodes: usize,
    /// How often they are read.
    pub interval: Span,
    /// The weather.
    pub weather: Weather,
    /// The troubles.
    pub trouble: Trouble,
    /// What verbs do; what is not listed does nothing.
    pub answers: BTreeMap<Verb, Answer>,
    /// Whether there is a second series, `node_up`.
    pub machines: bool,
}

/// What one action did, for comparison with its score.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Truth {
    /// The node's number.
    pub node: usize,
    /// When it was sent.
    pub sent_at: Time,
    /// How far it moves the series.
    pub moves: f64,
    /// From when on.
    pub from: Time,
    /// Whether it was the end of a trouble.
    pub healed: bool,
}

/// A trouble that is there.
#[derive(Copy, Clone, Debug)]
struct Step {
    size: f64,
    until: Option<Time>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    own: f64,
    trouble: Option<Step>,
    /// When the last trouble was there.
    troubled_at: Option<Time>,
    /// What actions do from a moment on, not yet begun.
    coming: Vec<(Time, Answer)>,
    moved: Vec<(Time, Time, f64)>,
    up: bool,
    lost_until: Option<Time>,
}

/// See the module.
pub struct World {
    /// What is made.
    pub recipe: Recipe,
    seed: u64,
    begin: Time,
    now: Time,
    shared: f64,
    nodes: Vec<Node>,
    is_declared: bool,
    /// What every action did.
    pub truths: BTreeMap<ActionId, Truth>,
    /// All that was read, per node: for estimates that are not the kernel's.
    pub seen: Vec<Vec<(Time, f64)>>,
}

/// Uses of chance, kept apart.
const OWN: u64 = 1;
const SHARED: u64 = 2;
const WHITE: u64 = 3;
const LOST: u64 = 4;
const HOLE: u64 = 5;
const BEGIN: u64 = 6;
const HEAL: u64 = 7;
const PHASE: u64 = 8;
const MOVES: u64 = 9;
const JITTER: u64 = 10;

impl World {
    /// A world that begins at a moment.
    pub fn new(recipe: Recipe, seed: u64, begin: Time) -> World {
        let nodes = vec![Node { up: true, ..Node::default() }; recipe.nodes];
        let seen = vec![Vec::new(); recipe.nodes];
        World { recipe, seed, begin, now: begin, shared: 0.0, nodes, is_declared: false, truths: BTreeMap::new(), seen }
    }

    /// A node's name.
    pub fn node(number: usize) -> String {
        format!("n{number}")
    }

    /// Whether a node's machine is up.
    pub fn is_up(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.up)
    }

    /// Puts a machine up or down, by hand.
    pub fn set_up(&mut self, number: usize, up: bool) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.up = up;
        }
    }

    /// Whether a node has a trouble now.
    pub fn is_troubled(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.trouble.is_some())
    }

    /// How far from where it would be without actions a node's series is at a moment: the known effect of everything that was done.
    pub fn moved(&self, number: usize, at: Time) -> f64 {
        self.nodes.get(number).map_or(0.0, |node| node.moved_at(at))
    }

    fn unit(&self, purpose: u64, number: usize, at: Time) -> f64 {
        chance::at(self.seed, purpose.wrapping_mul(0x1_0001).wrapping_add(number as u64), at.millis())
    }

    /// Standard normal (Box and Muller).
    fn normal(&self, purpose: u64, number: usize, at: Time) -> f64 {
        let (one, other) = (self.unit(purpose, number, at), self.unit(purpose + 100, number, at));
        (-2.0 * (1.0 - one).ln()).sqrt() * (TAU * other).cos()
    }

    /// The world moves on by one interval and is read.
    pub fn read(&mut self, now: Time) -> Observation {
        self.step(now);
        let mut read = Observation::new("truth".into(), now, self.recipe.interval);
        let series = if self.recipe.machines { 2 } else { 1 } * self.recipe.nodes;
        if self.is_declared {
            read.declared_before = series as u32;
        } else {
            let named = |metric: &str, number| SeriesDecl { key: SeriesKey::new(metric, [("node", World::node(number))]), cohort: 0 };
            read.declared = (0..self.recipe.nodes).map(|number| named("symptom", number)).collect();
            if self.recipe.machines {
                read.declared.extend((0..self.recipe.nodes).map(|number| named("node_up", number)));
            }
            self.is_declared = true;
        }
        for number in 0..self.recipe.nodes {
            if self.is_lost(number, now) {
                continue;
            }
            let value = self.value(number, now);
            self.seen[number].push((now, value));
            read.samples.push(Sample { series: number as u32, value });
        }
        if self.recipe.machines {
            let up = |number: usize| f64::from(u8::from(self.nodes[number].up));
            let machines = (0..self.recipe.nodes).map(|number| Sample { series: (self.recipe.nodes + number) as u32, value: up(number) });
            read.samples.extend(machines);
        }
        read
    }

    fn step(&mut self, now: Time) {
        let apart = now.since(self.now).seconds();
        self.now = now;
        let keeps = (-apart / self.recipe.weather.memory.seconds()).exp();
        let fresh = (1.0 - keeps * keeps).sqrt();
        self.shared = keeps * self.shared + fresh * self.normal(SHARED, 0, now);
        for number in 0..self.nodes.len() {
            let drawn = self.normal(OWN, number, now);
            let trouble = self.recipe.trouble;
            let begins = self.unit(BEGIN, number, now) < trouble.per_day * apart / 86_400.0;
            let healing = trouble.heals_after.map(|mean| mean.seconds() * -(1.0 - self.unit(HEAL, number, now)).ln());
            let node = &mut self.nodes[number];
            node.own = keeps * node.own + fresh * drawn;
            node.trouble = node.trouble.filter(|step| step.until.is_none_or(|until| now < until));
            let rested = node.troubled_at.is_none_or(|at| now.since(at) >= trouble.rests);
            if node.trouble.is_none() && begins && rested {
                let until = healing.map(|seconds| now + Span::from_millis((seconds * 1000.0) as i64));
                node.trouble = Some(Step { size: trouble.size, until });
            }
            node.begin_due(now);
            if node.trouble.is_some() {
                node.troubled_at = Some(now);
            }
        }
    }

    fn is_lost(&mut self, number: usize, now: Time) -> bool {
        let weather = self.recipe.weather;
        let begins = self.unit(HOLE, number, now) < weather.holes_per_day * self.recipe.interval.seconds() / 86_400.0;
        if begins {
            self.nodes[number].lost_until = Some(now + weather.hole);
        }
        self.nodes[number].lost_until.is_some_and(|until| now < until) || self.unit(LOST, number, now) < weather.missing
    }

    fn value(&self, number: usize, now: Time) -> f64 {
        let (weather, node) = (&self.recipe.weather, &self.nodes[number]);
        let days = now.since(self.begin).seconds() / 86_400.0;
        let phase = self.unit(PHASE, number, self.begin);
        weather.base
            + weather.trend_per_day * days
            + weather.daily * (TAU * (days + phase)).sin()
            + weather.own * node.own
            + weather.shared * self.shared
            + weather.white * self.normal(WHITE, number, now)
            + node.trouble.map_or(0.0, |step| step.size)
            + node.moved_at(now)
    }

    /// Something is done to a node.
    pub fn act(&mut self, action: ActionId, verb: &Verb, number: usize, now: Time) {
        let Some(answer) = self.recipe.answers.get(verb).copied() else { return };
        let late = self.unit(JITTER, number, now) * answer.jitter.seconds();
        let from = now + answer.after + Span::from_millis((late * 1000.0) as i64);
        let moves = match answer.moves {
            Size::Always(moves) => moves,
            Size::Drawn { null_share, most } => {
                let drawn = self.unit(MOVES, number, now);
                if drawn < null_share { 0.0 } else { most * (2.0 * (drawn - null_share) / (1.0 - null_share) - 1.0) }
            }
        };
        let node = &mut self.nodes[number];
        let healed = answer.heals && node.trouble.is_some();
        self.truths.insert(action, Truth { node: number, sent_at: now, moves, from, healed });
        if moves != 0.0 {
            node.moved.push((from, from + answer.lasts, moves));
        }
        if answer.power == Some(false) {
            // Off is off at once, whatever was booting.
            node.coming.retain(|(_, coming)| coming.power.is_none());
        }
        node.coming.push((from, answer));
        node.begin_due(now);
    }
}

impl Node {
    fn moved_at(&self, at: Time) -> f64 {
        self.moved.iter().filter(|(from, until, _)| (*from..*until).contains(&at)).map(|(_, _, size)| size).sum()
    }

    /// Applies what was to begin by now.
    fn begin_due(&mut self, now: Time) {
        for (from, answer) in self.coming.extract_if(.., |(from, _)| *from <= now) {
            if answer.heals {
                self.trouble = None;
            }
            if let Some(size) = answer.troubles {
                self.trouble = Some(Step { size, until: Some(from + answer.lasts) });
            }
            self.up = answer.power.unwrap_or(self.up);
        }
        // What nobody will ask about any more.
        self.moved.retain(|(_, until, _)| now.since(*until) < Span::from_hours(24));
    }
}
