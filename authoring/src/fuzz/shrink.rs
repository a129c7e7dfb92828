//! Makes what was found smaller, as long as it still shows the same breach: fewer steps, fewer series, fewer turns, rounder numbers.
//!
//! Greedy, like proptest: each change that keeps the breach is kept, until none does or the tries are used up. An editor breaks this
//! by keeping a change without playing it.

use super::plant::{Body, Pull};
use super::trace::{Trace, rounded};
use anyhow::Result;

/// Plays of one shrinking.
const PLAYS_MAX: usize = 600;

/// Shrinks a trace; `breaks` says at which step it breaks, if it still does. With `shape` the course of the values is kept (they come
/// from a plant): only what lies after the breach, whole series and digits go.
///
/// # Errors
/// A play failed.
pub fn trace(found: Trace, at: usize, shape: bool, mut breaks: impl FnMut(&Trace) -> Result<Option<usize>>) -> Result<Trace> {
    let mut best = found.head(at + 1);
    let mut plays = 0;
    loop {
        let before = best.size();
        for change in candidates(&best, shape) {
            if plays >= PLAYS_MAX {
                return Ok(best);
            }
            // Changes are drawn from the trace as it was; what became of it meanwhile may have made one pointless.
            let next = change(&best);
            if next == best || next.size() >= best.size() || next.steps == 0 {
                continue;
            }
            plays += 1;
            if let Some(step) = breaks(&next)? {
                best = next.head(step + 1);
            }
        }
        if best.size() >= before {
            return Ok(best);
        }
    }
}

type Change = Box<dyn Fn(&Trace) -> Trace>;

fn candidates(trace: &Trace, shape: bool) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for track in (0..trace.tracks.len()).rev() {
        all.push(Box::new(move |trace| {
            let mut next = trace.clone();
            if track < next.tracks.len() {
                next.tracks.remove(track);
            }
            next
        }));
    }
    if !shape {
        let mut len = trace.steps / 2;
        while len > 0 {
            for from in (0..trace.steps).step_by(len).rev() {
                all.push(Box::new(move |trace| if from < trace.steps { trace.without(from, len) } else { trace.clone() }));
            }
            len /= 2;
        }
        for alert in 0..trace.alerts.len() {
            all.push(Box::new(move |trace| {
                let mut next = trace.clone();
                if alert < next.alerts.len() {
                    next.alerts.remove(alert);
                }
                next
            }));
        }
        for track in 0..trace.tracks.len() {
            values(&mut all, trace, track);
        }
    }
    for track in 0..trace.tracks.len() {
        for digits in 1..=3 {
            all.push(Box::new(move |trace| map(trace, track, |value| value.map(|value| rounded(value, digits)))));
        }
    }
    all
}

/// One value for the whole series, gaps closed, and runs that take their neighbour's value.
fn values(all: &mut Vec<Change>, trace: &Trace, track: usize) {
    let mut known: Vec<f64> = trace.tracks[track].values.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    known.dedup();
    known.truncate(8);
    for value in known {
        all.push(Box::new(move |trace| map(trace, track, |_| Some(value))));
    }
    all.push(Box::new(move |trace| {
        let mut last = None;
        map(trace, track, |value| {
            last = value.or(last);
            last
        })
    }));
    let values = &trace.tracks[track].values;
    let ends: Vec<usize> = (1..values.len()).filter(|at| values[*at] != values[at - 1]).chain([values.len()]).collect();
    for pair in ends.windows(2).take(64) {
        let (from, to) = (pair[0], pair[1]);
        all.push(Box::new(move |trace| {
            let mut next = trace.clone();
            if let Some(values) = next.tracks.get_mut(track).map(|track| &mut track.values)
                && to <= values.len()
            {
                let value = values[from - 1];
                values[from..to].fill(value);
            }
            next
        }));
    }
}

fn map(trace: &Trace, track: usize, mut change: impl FnMut(Option<f64>) -> Option<f64>) -> Trace {
    let mut next = trace.clone();
    if let Some(track) = next.tracks.get_mut(track) {
        track.values.iter_mut().for_each(|value| *value = change(*value));
    }
    next
}

/// How much a plant has to tell.
fn weight(bodies: &[Body]) -> usize {
    let of = |body: &Body| {
        let digits = |value: f64| value.to_string().len();
        let pull = match body.pull {
            Pull::Push { gain } => digits(gain),
            Pull::Share { demand, level } => digits(demand) + level as usize,
        };
        // What it is when left alone follows from demand and level, so it is not counted there.
        let start = if matches!(body.pull, Pull::Push { .. }) { digits(body.start) } else { 0 };
        body.dead + body.lag as usize + digits(body.lag) + start + pull + body.shift.map_or(0, |(at, factor)| 10 + at + digits(factor))
    };
    bodies.iter().map(of).sum()
}

/// Shrinks a plant in the same way.
///
/// # Errors
/// A play failed.
pub fn plant(found: Vec<Body>, mut breaks: impl FnMut(&[Body]) -> Result<bool>) -> Result<Vec<Body>> {
    let mut best = found;
    let mut plays = 0;
    loop {
        let before = weight(&best);
        for number in 0..best.len() {
            for change in BODY_CHANGES {
                if plays >= PLAYS_MAX {
                    return Ok(best);
                }
                let mut next = best.clone();
                change(&mut next[number]);
                if let Pull::Share { demand, level } = next[number].pull {
                    next[number].start = rounded(demand / f64::from(level.max(1)), 4);
                }
                if next == best || weight(&next) >= weight(&best) {
                    continue;
                }
                plays += 1;
                if breaks(&next)? {
                    best = next;
                }
            }
        }
        if weight(&best) >= before {
            return Ok(best);
        }
    }
}

/// What may be simpler in a plant, boldest first.
const BODY_CHANGES: [fn(&mut Body); 12] = [
    |body| body.shift = None,
    |body| body.dead = 0,
    |body| body.lag = 0.0,
    |body| body.dead /= 2,
    |body| body.lag = (body.lag / 2.0).floor(),
    |body| body.dead = body.dead.saturating_sub(1),
    |body| body.lag = (body.lag - 1.0).max(0.0),
    |body| round(body, 1),
    |body| round(body, 2),
    |body| {
        if let Pull::Share { demand, level } = &mut body.pull
            && *level > 1
        {
            *demand = rounded(*demand * f64::from(*level / 2) / f64::from(*level), 3);
            *level /= 2;
        }
    },
    |body| {
        if let Some((at, _)) = &mut body.shift {
            *at = 1.max(*at / 2);
        }
    },
    |body| {
        if let Some((_, factor)) = &mut body.shift {
            *factor = rounded(*factor, 1);
        }
    },
];

fn round(body: &mut Body, digits: usize) {
    match &mut body.pull {
        Pull::Push { gain } => {
            *gain = rounded(*gain, digits);
            body.start = rounded(body.start, digits);
        }
        Pull::Share { demand, .. } => *demand = rounded(*demand, digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::trace::Track;
    use homeostat_model::{SeriesKey, Span};

    #[test]
    fn what_does_not_matter_goes() {
        let noise = |n: usize| Some(0.1 + n as f64 * 0.013_7);
        let track = |name: &str| Track { key: SeriesKey::bare(name), values: (0..60).map(noise).collect() };
        let found = Trace { interval: Span::from_mins(1), steps: 60, tracks: vec![track("a"), track("b")], alerts: Vec::new() };
        // Broken as soon as `a` is above 0.5.
        let breaks = |trace: &Trace| {
            let a = trace.tracks.iter().find(|track| &*track.key.metric == "a");
            Ok(a.and_then(|track| track.values.iter().position(|value| value.is_some_and(|value| value > 0.5))))
        };
        let small = trace(found.clone(), 59, false, breaks).unwrap();
        assert_eq!((small.tracks.len(), small.steps), (1, 1), "{small:?}");
        assert_eq!(small.tracks[0].values, [Some(0.51)], "rounder, and still above");
        let kept = trace(found, 59, true, breaks).unwrap();
        assert!(kept.steps > 20 && kept.tracks.len() == 1, "the course is kept: {kept:?}");
    }
}
