//! A reasoner that fails again and again is left alone for a while; then one question tries it.
//!
//! Deliberately absent: what a failure costs. An editor breaks this by counting a refusal: a model that declines works.

use homeostat_model::{ReasonFault, ReasonFaultClass, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider's wish to be left alone is honoured up to this.
const ASKED_MAX: Span = Span::from_hours(1);
/// Nobody is left alone longer; what seems so is of a clock that was set back.
const OPEN_MAX: Span = Span::from_hours(24);

/// When a reasoner that fails is left alone.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// After so many failures in a row.
    pub failures: u32,
    /// For so long; then one question tries it.
    #[schemars(with = "String")]
    pub open_for: Span,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig { failures: 3, open_for: Span::from_mins(5) }
    }
}

impl BreakerConfig {
    /// Every problem, for people.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.failures) {
            problems.push(format!("`breaker.failures` is {}, expected 1 to 100", self.failures));
        }
        if self.open_for <= Span::ZERO || self.open_for > OPEN_MAX {
            problems.push(format!("`breaker.open_for` is {}, expected more than 0s and at most {OPEN_MAX}", self.open_for));
        }
        problems
    }
}

/// What a call says of the service.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It works.
    Good,
    /// It does not; and it asks to be left alone so long.
    Bad(Option<Span>),
    /// Nothing.
    Unknown,
}

impl Health {
    pub(super) fn of(fault: &ReasonFault) -> Health {
        match fault.class {
            ReasonFaultClass::Refused | ReasonFaultClass::Truncated => Health::Good,
            ReasonFaultClass::NotAllowed | ReasonFaultClass::CircuitOpen => Health::Unknown,
            // The question itself was wrong, nothing was sent.
            ReasonFaultClass::BadRequest if fault.requests == 0 => Health::Unknown,
            class => Health::Bad(class.retry_after()),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Time>,
    trying: bool,
}

impl Breaker {
    /// Whether a question may go there now. The first after the time is the trial; it must end in `after` or `release`.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), ReasonFault> {
        let Some(until) = self.open_until else { return Ok(()) };
        let times = self.failures;
        let open = |words: String| Err(ReasonFault::new(ReasonFaultClass::CircuitOpen, words));
        if now < until && until.since(now) <= OPEN_MAX {
            return open(format!("it failed {times} times in a row and is left alone for {} more", until.since(now)));
        }
        if self.trying {
            return open(format!("it failed {times} times in a row and another question is trying it"));
        }
        self.trying = true;
        Ok(())
    }

    /// The call was not made, or nobody waited for its end.
    pub(super) fn release(&mut self) {
        self.trying = false;
    }

    pub(super) fn after(&mut self, now: Time, health: Health, config: BreakerConfig) {
        self.trying = false;
        match health {
            Health::Unknown => {}
            Health::Good => *self = Breaker::default(),
            Health::Bad(asked) => {
                self.failures = self.failures.saturating_add(1);
                let asked = asked.map(|span| now + span.min(ASKED_MAX));
                let ours = (self.failures >= config.failures || self.open_until.is_some()).then(|| now + config.open_for);
                self.open_until = self.open_until.max(asked).max(ours);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_and_lets_one_try() {
        let config = BreakerConfig { failures: 2, open_for: Span::from_secs(60) };
        let mut breaker = Breaker::default();
        for at in [0, 1000] {
            breaker.admit(Time(at)).unwrap();
            breaker.after(Time(at), Health::Bad(None), config);
        }
        assert!(breaker.admit(Time(60_999)).unwrap_err().text.contains("1ms more"));
        breaker.admit(Time(61_000)).unwrap();
        assert!(breaker.admit(Time(61_001)).unwrap_err().text.contains("another question"));
        breaker.release();
        breaker.admit(Time(61_002)).unwrap();
        breaker.after(Time(61_003), Health::Bad(None), config);
        assert!(breaker.admit(Time(121_002)).is_err(), "one failed trial closes it again");
        assert!(breaker.clone().admit(Time(-90_000_000)).is_ok(), "the clock was set back by a day");
        breaker.admit(Time(121_003)).unwrap();
        breaker.after(Time(121_004), Health::Good, config);
        breaker.admit(Time(121_005)).unwrap();
        breaker.after(Time(121_005), Health::Bad(Some(Span::from_secs(7))), config);
        assert!(breaker.admit(Time(128_004)).is_err() && breaker.admit(Time(128_005)).is_ok(), "what is asked for is waited");
    }
}
