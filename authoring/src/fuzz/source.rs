//! Draws traces and plants: what may come in. One seed gives one sequence of tries.

use super::look::{Known, Look};
use super::plant::{Body, Pull};
use super::property::Property;
use super::trace::{AlertMove, Trace, Track, rounded};
use crate::vocabulary::Shape;
use homeostat_model::{AlertStatus, Span};
use homeostat_sim::chance;

/// A sequence of chances that belongs to a seed and a purpose.
pub struct Dice {
    seed: u64,
    thing: u64,
    drawn: i64,
}

impl Dice {
    /// The dice of one try.
    pub fn new(seed: u64, purpose: &str) -> Dice {
        Dice { seed, thing: chance::hash(purpose), drawn: 0 }
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.drawn += 1;
        chance::at(self.seed, self.thing, self.drawn)
    }

    /// In 0..n; 0 for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// In [from, to).
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    fn pick(&mut self, values: &[f64]) -> f64 {
        values.get(self.below(values.len())).copied().unwrap_or(0.0)
    }
}

/// A trace that is as it is.
pub fn open_loop(look: &Look, dice: &mut Dice, property: Property, interval: Span, steps: usize) -> Trace {
    // For the floor, the same happens to all: that is what takes the last one down.
    let together = property == Property::Floor && dice.below(4) > 0;
    let mut tracks: Vec<Track> = Vec::new();
    for known in &look.tracks {
        let twin = together.then(|| look.tracks.iter().zip(&tracks).find(|(other, _)| other.key.metric == known.key.metric)).flatten();
        let values = match twin {
            Some((_, track)) => track.values.clone(),
            None => series(known, dice, property, interval, steps),
        };
        tracks.push(Track { key: known.key.clone(), values });
    }
    Trace { interval, steps, tracks, alerts: alerts(look, dice, steps) }
}

fn series(known: &Known, dice: &mut Dice, property: Property, interval: Span, steps: usize) -> Vec<Option<f64>> {
    let mut levels = known.tries();
    if property == Property::Fault && known.shape != Shape::Flag {
        levels.extend([0.0, -1.0, 1e18, f64::INFINITY]);
    }
    let mut values: Vec<Option<f64>> = wave(&levels, dice, steps).into_iter().map(Some).collect();
    if known.shape == Shape::Counter {
        let rates: Vec<f64> =
            if known.rates.is_empty() { vec![0.0, 0.01, 1.0] } else { known.rates.iter().flat_map(|r| [0.0, *r, r * 2.0]).collect() };
        let mut sum = 0.0;
        let rate = wave(&rates, dice, steps);
        values = rate
            .into_iter()
            .map(|rate| {
                sum += rate * interval.seconds();
                Some(rounded(sum, 9))
            })
            .collect();
    }
    let gaps = match property {
        Property::Stale => 1 + dice.below(2),
        Property::Fault => dice.below(3),
        Property::Flap | Property::Floor => dice.below(5) / 4,
    };
    for _ in 0..gaps {
        let from = dice.below(steps);
        let len = 1 + dice.below(if property == Property::Stale { steps } else { 6 });
        values.iter_mut().skip(from).take(len).for_each(|value| *value = None);
    }
    values
}

/// Still, a step, a square wave, a ramp or a spike.
fn wave(levels: &[f64], dice: &mut Dice, steps: usize) -> Vec<f64> {
    let (a, b) = (dice.pick(levels), dice.pick(levels));
    let at = dice.below(steps.max(1));
    let period = 2 + dice.below(20);
    let kind = dice.below(6);
    let value = |step: usize| match kind {
        0 => a,
        1 => {
            if step < at {
                a
            } else {
                b
            }
        }
        2 | 3 => {
            if (step / period.div_ceil(2)).is_multiple_of(2) {
                a
            } else {
                b
            }
        }
        4 => a + (b - a) * step as f64 / steps.max(1) as f64,
        _ => {
            if (at..at + period / 2 + 1).contains(&step) {
                b
            } else {
                a
            }
        }
    };
    (0..steps).map(|step| rounded(value(step), 6)).collect()
}

/// The alert fires and ends a few times.
fn alerts(look: &Look, dice: &mut Dice, steps: usize) -> Vec<AlertMove> {
    let Some((name, labels)) = &look.alert else { return Vec::new() };
    let (mut moves, mut step) = (Vec::new(), 1 + dice.below(3));
    let every = 1 + dice.below(10);
    let mut status = AlertStatus::Firing;
    while step < steps {
        moves.push(AlertMove { step, name: name.clone(), labels: labels.clone(), status });
        status = if status == AlertStatus::Firing { AlertStatus::Resolved } else { AlertStatus::Firing };
        step += 1 + dice.below(every);
    }
    moves
}

/// A plant: every series that the policy reads, with what moves it drawn around the levels that it is compared with.
pub fn plant(look: &Look, dice: &mut Dice, steps: usize) -> Vec<Body> {
    // Dead time and lag come in sizes from none to a third of the time.
    let slow = [0, 1, 2, 3, 5, 8, 13, 20];
    let room = (steps / 3).max(1);
    look.tracks.iter().map(|known| body(known, dice, &slow, room)).collect()
}

fn body(known: &Known, dice: &mut Dice, slow: &[usize; 8], room: usize) -> Body {
    let levels = if known.levels.is_empty() { known.tries() } else { known.levels.clone() };
    let level = dice.pick(&levels);
    let (low, high) = levels.iter().fold((level, level), |(low, high), value| (low.min(*value), high.max(*value)));
    let width = if high > low { high - low } else { level.abs().max(1.0) * 0.5 };
    let dead = slow[dice.below(slow.len())].min(room);
    let lag = slow[dice.below(slow.len())].min(room) as f64;
    let shift = (dice.below(2) == 0).then(|| (1 + dice.below(room), rounded(dice.between(0.4, 2.0), 2)));
    let key = known.key.clone();
    if known.shape == Shape::Flag {
        let start = dice.below(2) as f64;
        return Body { key, start, pull: Pull::Push { gain: 1.0 }, dead, lag: 0.0, shift: None, bounds: (0.0, 1.0) };
    }
    let bounds = (if low < 0.0 { f64::MIN } else { 0.0 }, f64::MAX);
    if level > 0.0 && known.shape != Shape::Counter && dice.below(2) == 0 {
        let count = 1 + dice.below(8) as u32;
        let demand = rounded(level * f64::from(count) * dice.between(0.6, 1.8), 3);
        let start = rounded(demand / f64::from(count), 4);
        return Body { key, start, pull: Pull::Share { demand, level: count }, dead, lag, shift, bounds };
    }
    let start = rounded(dice.between(low - width, high + width), 3).max(bounds.0);
    let gain = rounded(width * dice.between(0.1, 1.6), 2);
    Body { key, start, pull: Pull::Push { gain }, dead, lag, shift, bounds }
}
