//! Searches for the shortest trace that makes a policy flap, breach a floor, act on stale data, or fail.
//!
//! `look` says what a policy reads; `source` draws what may come in: traces as they are (open loop), and slow plants in which the
//! policy's own actions move the series (`plant`, closed loop); `play` shows it to the production kernel; `property` says what must
//! not happen; `shrink` makes what was found small; `write` makes a test file of it, which fails until the policy is better. All of
//! it from one seed: the same answer each time. Deliberately absent: a promise that nothing is wrong where nothing was found. An
//! editor breaks this by drawing chance from anywhere else than [`source::Dice`].

pub mod look;
pub mod plant;
pub mod play;
pub mod property;
pub mod shrink;
pub mod source;
pub mod trace;
pub mod write;

#[cfg(test)]
mod tests;

pub use play::Bench;
pub use property::{Bounds, Breach, Property};

use anyhow::{Result, anyhow, ensure};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::Span;
use plant::{Body, Plant, Pull, Signs};
use play::{Played, play, play_trace};
use serde::Serialize;
use source::Dice;
use trace::Trace;

/// Steps of one try at most.
const STEPS_MAX: usize = 5_000;
/// Tries at most.
pub const TRIES_MAX: usize = 1_000_000;
/// So many targets are played for the floor.
const FLOOR_TARGETS: usize = 3;
/// After so many finds for one property the shortest is taken.
const FINDS_MAX: usize = 3;

/// What to search for, and how long.
#[derive(Clone, Debug)]
pub struct Search {
    /// Which properties.
    pub properties: Vec<Property>,
    /// The seed.
    pub seed: u64,
    /// How much of the plant's time one try lasts.
    pub lasts: Span,
    /// The time between two reads of a sensor.
    pub interval: Span,
    /// Tries for each property.
    pub tries: usize,
    /// Where properties begin to be broken.
    pub bounds: Bounds,
    /// What verbs do to the series that they are wished for, where the policy's claims do not say.
    pub signs: Signs,
}

impl Default for Search {
    fn default() -> Search {
        Search {
            properties: Property::ALL.to_vec(),
            seed: 1,
            lasts: Span::from_hours(1),
            interval: Span::from_mins(1),
            tries: 200,
            bounds: Bounds::default(),
            signs: Signs::new(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The breach.
    pub breach: Breach,
    /// The trace, shrunk.
    pub trace: Trace,
    /// The plant that made it, shrunk; none for a trace that is as it is.
    pub plant: Option<Vec<Body>>,
    /// At which try.
    pub attempt: usize,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The shortest of each property that was broken.
    pub found: Vec<Found>,
    /// Tries in all.
    pub tries: usize,
    /// Of these, those in which something was sent: if it is zero, the search has not reached the policy.
    pub acted: usize,
    /// Of these, those on a plant.
    pub plants: usize,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// A find for other programs.
#[derive(Clone, Debug, Serialize)]
pub struct FoundView {
    /// Which property.
    pub property: Property,
    /// When, from the start.
    pub at: Span,
    /// By which target of the policy.
    pub symptom: String,
    /// What happened.
    pub text: String,
    /// The plant, in words.
    pub plant: Option<String>,
    /// At which try.
    pub attempt: usize,
    /// The test file.
    pub test: String,
}

/// Searches. Runs on a thread of its own, with the stack that policies need.
///
/// # Errors
/// The policy cannot be loaded, or the search asks for more than it may.
pub fn search(bench: &Bench, search: &Search) -> Result<Outcome> {
    ensure!(search.interval >= Span::from_secs(1), "a step is {}, expected at least 1s", search.interval);
    let steps = (search.lasts.millis() / search.interval.millis()) as usize;
    ensure!(
        (4..=STEPS_MAX).contains(&steps),
        "{} in steps of {} are {steps} steps, expected 4 to {STEPS_MAX}",
        search.lasts,
        search.interval
    );
    ensure!(search.tries <= TRIES_MAX, "{} tries, at most {TRIES_MAX} are made", search.tries);
    let work = || {
        let mut outcome = Outcome::default();
        for property in &search.properties {
            Hunt::new(bench.clone(), search, *property, steps)?.run(&mut outcome)?;
        }
        Ok(outcome)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("fuzz".into()).stack_size(2 * STACK_BYTES_MIN).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| anyhow!("the search panicked"))?
    })
}

/// The search for one property.
struct Hunt<'a> {
    bench: Bench,
    search: &'a Search,
    property: Property,
    steps: usize,
    look: look::Look,
}

impl<'a> Hunt<'a> {
    fn new(mut bench: Bench, search: &'a Search, property: Property, steps: usize) -> Result<Hunt<'a>> {
        let targets = if property == Property::Floor { FLOOR_TARGETS } else { 1 };
        let look = look::look(&mut bench, search.interval, targets)?;
        Ok(Hunt { bench, search, property, steps, look })
    }

    fn run(&self, outcome: &mut Outcome) -> Result<()> {
        for note in &self.look.notes {
            if !outcome.notes.contains(note) {
                outcome.notes.push(note.clone());
            }
        }
        let mut finds: Vec<Found> = Vec::new();
        // A loop that swings by itself says more than a trace that pushes it: plants come first.
        let plants = match self.property {
            Property::Flap if !self.look.tracks.is_empty() => self.search.tries / 2,
            Property::Floor if !self.look.tracks.is_empty() => self.search.tries / 4,
            _ => 0,
        };
        for attempt in 0..self.search.tries {
            if finds.len() >= FINDS_MAX || (attempt >= plants && finds.iter().any(|found| found.plant.is_some())) {
                break;
            }
            outcome.tries += 1;
            let mut dice = Dice::new(self.search.seed, &format!("{} {attempt}", self.property.name()));
            let found = if attempt < plants {
                outcome.plants += 1;
                self.try_plant(&mut dice, attempt, outcome)?
            } else {
                self.try_trace(&mut dice, attempt, outcome)?
            };
            finds.extend(found);
        }
        outcome.found.extend(finds.into_iter().min_by_key(|found| found.trace.size()));
        Ok(())
    }

    fn breach(&self, trace: &Trace, played: &Played) -> Result<Option<Breach>> {
        property::breach(self.property, &self.bench, &self.search.bounds, trace, played)
    }

    fn breach_of(&self, trace: &Trace) -> Result<Option<Breach>> {
        self.breach(trace, &play_trace(&self.bench, trace, false)?)
    }

    fn try_trace(&self, dice: &mut Dice, attempt: usize, outcome: &mut Outcome) -> Result<Option<Found>> {
        let trace = source::open_loop(&self.look, dice, self.property, self.search.interval, self.steps);
        let played = play_trace(&self.bench, &trace, false)?;
        outcome.acted += usize::from(!played.acts.is_empty());
        match self.breach(&trace, &played)? {
            Some(breach) => self.shrunk(trace, breach, None, attempt).map(Some),
            None => Ok(None),
        }
    }

    /// Plays a plant and gives what it showed.
    fn on_plant(&self, bodies: &[Body]) -> Result<(Trace, Played)> {
        let mut plant = Plant::new(bodies, &self.search.signs);
        let empty = Trace { interval: self.search.interval, steps: self.steps, tracks: Vec::new(), alerts: Vec::new() };
        let played = play(&self.bench, &empty, &mut plant)?;
        Ok((plant.trace(self.search.interval, self.steps), played))
    }

    fn try_plant(&self, dice: &mut Dice, attempt: usize, outcome: &mut Outcome) -> Result<Option<Found>> {
        let bodies = source::plant(&self.look, dice, self.steps);
        let (trace, played) = self.on_plant(&bodies)?;
        outcome.acted += usize::from(!played.acts.is_empty());
        if self.breach(&trace, &played)?.is_none() {
            return Ok(None);
        }
        let bodies = shrink::plant(bodies, |bodies| {
            let (trace, played) = self.on_plant(bodies)?;
            Ok(self.breach(&trace, &played)?.is_some())
        })?;
        let (trace, _) = self.on_plant(&bodies)?;
        // The record alone must show it as well: that is what the test file holds.
        match self.breach_of(&trace)? {
            Some(breach) => self.shrunk(trace, breach, Some(bodies), attempt).map(Some),
            None => Ok(None),
        }
    }

    fn shrunk(&self, trace: Trace, breach: Breach, plant: Option<Vec<Body>>, attempt: usize) -> Result<Found> {
        let keeps_shape = plant.is_some();
        let small = shrink::trace(trace, breach.step, keeps_shape, |trace| Ok(self.breach_of(trace)?.map(|breach| breach.step)))?;
        let breach = self.breach_of(&small)?.unwrap_or(breach);
        Ok(Found { breach, trace: small, plant, attempt })
    }
}

/// A plant in words.
pub fn plant_words(bodies: &[Body], interval: Span) -> String {
    let span = |steps: f64| Span((steps * interval.millis() as f64) as i64);
    let of = |body: &Body| {
        let pull = match body.pull {
            Pull::Push { gain } => format!("starts at {}, an action moves it by {gain}", body.start),
            Pull::Share { demand, level } => format!("a demand of {demand} shared by {level}, an action adds or takes one"),
        };
        let shift = body.shift.map_or_else(String::new, |(at, factor)| format!(", {factor} times as much from {} on", span(at as f64)));
        format!("{}: {pull}{shift}; felt after {}, time constant {}", body.key, span((body.dead + 1) as f64), span(body.lag))
    };
    bodies.iter().map(of).collect::<Vec<_>>().join("\n")
}
