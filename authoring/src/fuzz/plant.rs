//! A slow plant: what a policy moves answers late, and then only by and by.
//!
//! Each series follows `dy/dt = (aim − y) / τ`, where the aim is moved by every action after a dead time: up or down by the gain
//! (`Push`), or as a load that so many share (`Share`: aim = demand / level). The smallest plants in which a loop can swing by
//! itself (first order plus dead time: Åström and Hägglund, PID Controllers, 1995, chapter 2). Deliberately absent: noise; chance
//! stands in the plant's numbers alone.

use super::play::{Act, Feed};
use super::trace::{Trace, Track};
use homeostat_model::{ClaimSubject, Relation, SeriesKey, Span, Verb};
use std::collections::{BTreeMap, VecDeque};

/// How an action moves the aim.
#[derive(Clone, Debug, PartialEq)]
pub enum Pull {
    /// By so much, up or down.
    Push {
        /// The step, in the series' unit; more than zero.
        gain: f64,
    },
    /// The aim is this demand, shared by a level that actions move by one; at least one is left.
    Share {
        /// The demand, in the series' unit times level.
        demand: f64,
        /// The level at the beginning.
        level: u32,
    },
}

/// One series of the plant.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Which.
    pub key: SeriesKey,
    /// Where it begins, and where it stays if nothing is done (for `Push`).
    pub start: f64,
    /// How actions move it.
    pub pull: Pull,
    /// Steps until an action begins to be felt.
    pub dead: usize,
    /// The time constant in steps; 0: at once.
    pub lag: f64,
    /// At this step, the aim (or the demand) changes to so many times what it was.
    pub shift: Option<(usize, f64)>,
    /// The least and the greatest value.
    pub bounds: (f64, f64),
}

/// The signs of verbs: what is known to lower or raise the series that it acts for. What is not known is told by the claim.
pub type Signs = BTreeMap<Verb, Relation>;

/// A plant that is played, with what it showed so far.
pub struct Plant<'a> {
    bodies: &'a [Body],
    signs: &'a Signs,
    /// Aim (as sum of pushes) or level, and value, by body.
    states: Vec<(f64, f64)>,
    /// Pushes under way: when felt, body, direction.
    coming: VecDeque<(usize, usize, f64)>,
    /// What was shown.
    pub shown: Vec<Track>,
}

impl<'a> Plant<'a> {
    /// A plant at its beginning.
    pub fn new(bodies: &'a [Body], signs: &'a Signs) -> Plant<'a> {
        let begin = |body: &Body| match body.pull {
            Pull::Push { .. } => (0.0, body.start),
            Pull::Share { level, .. } => (f64::from(level), body.start),
        };
        let shown = bodies.iter().map(|body| Track { key: body.key.clone(), values: Vec::new() }).collect();
        Plant { bodies, signs, states: bodies.iter().map(begin).collect(), coming: VecDeque::new(), shown }
    }

    /// What it showed, as a trace.
    pub fn trace(self, interval: Span, steps: usize) -> Trace {
        Trace { interval, steps, tracks: self.shown, alerts: Vec::new() }
    }

    /// Which way an action moves which body: by its claim, by its verb, or against what it was wished for.
    fn moved(&self, act: &Act) -> Vec<(usize, f64)> {
        let claimed = act.claim.as_ref().and_then(|claim| match &claim.subject {
            ClaimSubject::Series { series, relation, .. } => Some((series, *relation)),
            _ => None,
        });
        if let Some((series, relation)) = claimed
            && let Some(body) = self.bodies.iter().position(|body| body.key == *series)
        {
            return vec![(body, sign(relation))];
        }
        if let Some(relation) = self.signs.get(&act.verb) {
            let same = |body: &Body| body.key.to_string() == act.symptom;
            return self.bodies.iter().position(same).map(|body| (body, sign(*relation))).into_iter().collect();
        }
        // The last comparison that held says what was found too high or too low.
        let against = act.evidence.iter().rev().find_map(|evidence| {
            let body = self.bodies.iter().position(|body| Some(&body.key) == evidence.series.as_ref())?;
            let margin = evidence.margins.iter().rev().find(|margin| margin.distance >= 0.0)?;
            Some((body, if margin.relation.starts_with('>') { -1.0 } else { 1.0 }))
        });
        against.into_iter().collect()
    }
}

fn sign(relation: Relation) -> f64 {
    if relation == Relation::Above { 1.0 } else { -1.0 }
}

impl Feed for Plant<'_> {
    fn keys(&self) -> Vec<SeriesKey> {
        self.bodies.iter().map(|body| body.key.clone()).collect()
    }

    fn row(&mut self, step: usize) -> Vec<Option<f64>> {
        while let Some((at, body, direction)) = self.coming.front().copied()
            && at <= step
        {
            self.coming.pop_front();
            let aim = &mut self.states[body].0;
            *aim = match self.bodies[body].pull {
                Pull::Push { gain } => *aim + direction * gain,
                // More of those who share lower what each has to bear.
                Pull::Share { .. } => (*aim - direction).max(1.0),
            };
        }
        for (body, (state, value)) in self.bodies.iter().zip(&mut self.states) {
            let shifted = body.shift.filter(|(at, _)| step >= *at).map_or(1.0, |(_, factor)| factor);
            let aim = match body.pull {
                Pull::Push { .. } => body.start * shifted + *state,
                Pull::Share { demand, .. } => demand * shifted / *state,
            };
            if step > 0 {
                let share = if body.lag > 0.0 { 1.0 - (-1.0 / body.lag).exp() } else { 1.0 };
                *value += (aim - *value) * share;
            }
            *value = value.clamp(body.bounds.0, body.bounds.1);
        }
        // People read four digits; the policy is shown what people read.
        let row: Vec<Option<f64>> = self.states.iter().map(|(_, value)| Some(super::trace::rounded(*value, 4))).collect();
        self.shown.iter_mut().zip(&row).for_each(|(track, value)| track.values.push(*value));
        row
    }

    fn acted(&mut self, act: &Act) {
        for (body, direction) in self.moved(act) {
            let felt = act.step + 1 + self.bodies[body].dead;
            let place = self.coming.partition_point(|(at, ..)| *at <= felt);
            self.coming.insert(place, (felt, body, direction));
        }
    }
}
