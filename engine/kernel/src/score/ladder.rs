//! How far a policy may go by itself, computed from what it has shown: shadow → suggest → veto → auto.
//!
//! | what comes | what follows |
//! |---|---|
//! | help on [`EarnedSettings::days_min`] days since the last step, and a lower bound of [`EarnedSettings::lower_bound_min`] | one rung up |
//! | in shadow: symptoms that outlasted the claim's time on as many days, the same bound for their share | one rung up |
//! | one score of harm, found with at least [`EarnedSettings::harm_certainty`] | one rung down, at once; what was shown starts anew |
//! | nothing shown for [`EarnedSettings::expires_after`], above suggest, in a laddered class | one rung down |
//! | a drill failed or overdue, above suggest | to suggest, and not above it before a drill has passed |
//! | another text of policy, playbook or actuator | back to the start |
//!
//! The ceiling (the author's `autonomy:`, lowered by the configuration) holds at every moment. Of several causes the first in the order
//! changed, harmed, drill, expired, earned moves, one rung per call. A day (UTC) on which a step was taken has paid for that step and
//! counts for no other. So with the defaults (the start is suggest) a policy that always helps (p_helped 1) reaches auto on its
//! **6th** day of acting if it acts at least twice a day (3 days per rung), and on its **8th** if it acts once a day: there the bound
//! is what waits, as the fifth help is the first with which Beta(1 + helped, 1) lies above 0.6 with 95 % certainty (5 days, then 3).
//! With a p_helped of 0.975 per score it is the 6th and the 9th. From shadow, with one wish a day that outlasts its claim, 5 more.
//!
//! Deliberately absent: beliefs (the caller gives the bound), journal and clock. An editor breaks this by letting anything rise on what
//! was not shown since the last step, by clearing days without a step's day being spent, or by judging harm after expiry.

use super::belief::{Days, Tally, day_of};
use homeostat_model::{Autonomy, Class, EarnedSettings, Finding, MoveCause, Time};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The certainty of the lower bounds, one-sided.
pub const BOUND_LEVEL: f64 = 0.95;

/// Where a policy stands for one class and kind of target, and what it has shown since it came there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// How much its action can hurt.
    pub class: Class,
    /// The rung, which the ceiling may hide: see [`Standing::effective`].
    pub level: Autonomy,
    /// The last step, or the beginning.
    pub since: Time,
    /// The last time that anything was shown; the beginning, if nothing was.
    pub last_shown: Time,
    /// Days (UTC) since the last step on which it helped or passed a drill.
    #[serde(default)]
    pub helped_since: Days,
    /// Days (UTC) since the last step on which, in shadow, the symptom outlasted the claim's time, or a drill was passed.
    #[serde(default)]
    pub persisted_since: Days,
    /// In shadow: symptoms that outlasted the claim's time (`yes`), and that went by themselves in it (`no`), with [`EarnedSettings::half_life`].
    #[serde(default)]
    pub wishes: Tally,
    /// The day (UTC) of the last step or harm: this day and earlier ones count for nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_day: Option<i64>,
    /// A drill failed or is overdue, and none has passed since.
    #[serde(default)]
    pub drill_owed: bool,
    /// Who or what holds it at suggest or below until a person takes the lock away: a breaker's name, a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<String>,
}

/// One thing that was seen.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Shown {
    /// An action was scored.
    Score {
        /// The word for it.
        finding: Finding,
        /// The chance that it harmed, 0 to 1.
        p_harmed: f64,
    },
    /// In shadow: an action would have been sent, and the claim's time is over. A wish of which nobody could see the end is not told.
    Wish {
        /// The symptom was still there at the end: it did not go by itself.
        persisted: bool,
    },
    /// A drill was passed.
    DrillPassed,
    /// A drill was held and failed.
    DrillFailed,
    /// A drill that the policy needs is overdue.
    DrillOverdue,
    /// The text of policy, playbook or actuator is another.
    Changed,
    /// Only time has passed.
    Nothing,
}

/// One thing that was seen, with what is believed after it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was seen.
    pub shown: Shown,
    /// The lower bound of "helped and did not harm" at [`BOUND_LEVEL`], 0 to 1, with what was seen already in it.
    pub lower_bound: f64,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// To here.
    pub to: Autonomy,
    /// Why.
    pub cause: MoveCause,
    /// In words, with the figures.
    pub evidence: String,
}

/// Where a policy begins: at the ceiling in a class that need not earn anything, else at the lower of start and ceiling.
pub fn start(class: Class, ceiling: Autonomy, settings: &EarnedSettings) -> Autonomy {
    if class < settings.from_class { ceiling } else { settings.start.min(ceiling) }
}

impl Standing {
    /// A policy of which nothing is known yet.
    pub fn begin(class: Class, ceiling: Autonomy, settings: &EarnedSettings, at: Time) -> Standing {
        Standing {
            class,
            level: start(class, ceiling, settings),
            since: at,
            last_shown: at,
            helped_since: Days::default(),
            persisted_since: Days::default(),
            wishes: Tally::default(),
            spent_day: None,
            drill_owed: false,
            locked_by: None,
        }
    }

    /// How far it may go now: never above the ceiling, and while locked never above suggest.
    pub fn effective(&self, ceiling: Autonomy) -> Autonomy {
        let level = self.level.min(ceiling);
        if self.locked_by.is_some() { level.min(Autonomy::Suggest) } else { level }
    }

    /// Forgets the days shown; `at`'s own day counts for nothing any more.
    fn spend(&mut self, at: Time) {
        self.helped_since.clear();
        self.persisted_since.clear();
        self.spent_day = Some(self.spent_day.map_or(day_of(at), |day| day.max(day_of(at))));
    }

    /// The standing with the evidence in it, before any step.
    fn noted(&self, evidence: &Evidence, ceiling: Autonomy, settings: &EarnedSettings, at: Time) -> Standing {
        let mut noted = self.clone();
        let day = Some(day_of(at)).filter(|day| self.spent_day.is_none_or(|spent| *day > spent));
        let shows = match evidence.shown {
            Shown::Score { finding, p_harmed } if is_harm(finding, p_harmed, settings) => {
                noted.spend(at);
                true
            }
            Shown::Score { finding, .. } => {
                if finding == Finding::Helped {
                    day.map(|day| noted.helped_since.insert(day));
                }
                finding != Finding::Inconclusive
            }
            Shown::Wish { persisted } if self.level.min(ceiling) == Autonomy::Shadow => {
                let (yes, no) = if persisted { (1.0, 0.0) } else { (0.0, 1.0) };
                noted.wishes.add(yes, no, at, settings.half_life);
                if persisted {
                    day.map(|day| noted.persisted_since.insert(day));
                }
                true
            }
            Shown::DrillPassed => {
                noted.drill_owed = false;
                day.map(|day| (noted.helped_since.insert(day), noted.persisted_since.insert(day)));
                true
            }
            Shown::DrillFailed => {
                noted.drill_owed = true;
                noted.spend(at);
                true
            }
            Shown::DrillOverdue => {
                noted.drill_owed = true;
                false
            }
            Shown::Changed => {
                noted.wishes = Tally::default();
                noted.spend(at);
                true
            }
            Shown::Wish { .. } | Shown::Nothing => false,
        };
        if shows {
            noted.last_shown = self.last_shown.max(at);
        }
        noted
    }
}

/// Whether a score costs a step.
fn is_harm(finding: Finding, p_harmed: f64, settings: &EarnedSettings) -> bool {
    finding == Finding::Harmed && p_harmed >= settings.harm_certainty
}

/// The rung below; `None` below shadow.
fn below(level: Autonomy) -> Option<Autonomy> {
    Autonomy::ALL.into_iter().rev().find(|other| *other < level)
}

/// The rung above; `None` above auto.
fn above(level: Autonomy) -> Option<Autonomy> {
    Autonomy::ALL.into_iter().find(|other| *other > level)
}

/// The step that the evidence demands; `None`: it stays. Nothing is changed: give the answer to [`apply`]. See the module for the rules.
///
/// `at` is the moment of the evidence, at or after all earlier ones. An [`EarnedSettings::expires_after`] of zero or less never
/// expires; a [`EarnedSettings::days_min`] of 0 counts as 1.
pub fn next(standing: &Standing, evidence: &Evidence, ceiling: Autonomy, settings: &EarnedSettings, at: Time) -> Option<Step> {
    let noted = standing.noted(evidence, ceiling, settings, at);
    let from = standing.level.min(ceiling);
    match evidence.shown {
        Shown::Changed => return changed(&noted, ceiling, settings),
        Shown::Score { finding, p_harmed } if is_harm(finding, p_harmed, settings) => {
            return harmed(standing.level, from, finding, p_harmed, settings);
        }
        _ => {}
    }
    sunk(&noted, evidence, from)
        .or_else(|| expired(standing, from, settings, at))
        .or_else(|| earned(&noted, evidence, from, ceiling, settings, at))
}

/// Puts evidence and the step that [`next`] demanded of it into the standing.
pub fn apply(standing: &mut Standing, evidence: &Evidence, step: Option<&Step>, ceiling: Autonomy, settings: &EarnedSettings, at: Time) {
    *standing = standing.noted(evidence, ceiling, settings, at);
    if let Some(step) = step {
        standing.level = step.to;
        standing.since = at;
        standing.spend(at);
    }
}

/// [`next`] and [`apply`] in one: what a caller does with every piece of evidence, and with [`Shown::Nothing`] about once a day.
pub fn advance(standing: &mut Standing, evidence: &Evidence, ceiling: Autonomy, settings: &EarnedSettings, at: Time) -> Option<Step> {
    let step = next(standing, evidence, ceiling, settings, at);
    apply(standing, evidence, step.as_ref(), ceiling, settings, at);
    step
}

/// Back to the start, which may be higher or lower; with a drill owed not above suggest.
fn changed(noted: &Standing, ceiling: Autonomy, settings: &EarnedSettings) -> Option<Step> {
    let begin = start(noted.class, ceiling, settings);
    let to = if noted.drill_owed { begin.min(Autonomy::Suggest) } else { begin };
    (to != noted.level).then(|| Step {
        to,
        cause: MoveCause::Changed,
        evidence: format!("policy, playbook or actuator changed: from {} back to the start, {}", noted.level.name(), to.name()),
    })
}

/// One rung below what it could do; what a ceiling at shadow hides falls to shadow.
fn harmed(level: Autonomy, from: Autonomy, finding: Finding, p_harmed: f64, settings: &EarnedSettings) -> Option<Step> {
    let to = below(from).unwrap_or(Autonomy::Shadow);
    if to == level {
        return None;
    }
    let certainty = settings.harm_certainty;
    let evidence = format!("one action was scored {finding}, harm with certainty {p_harmed:.2}; {certainty:.2} costs a step");
    Some(Step { to, cause: MoveCause::Harmed, evidence })
}

/// To suggest, while a drill is owed.
fn sunk(noted: &Standing, evidence: &Evidence, from: Autonomy) -> Option<Step> {
    let why = match evidence.shown {
        Shown::DrillFailed => "a drill failed",
        Shown::DrillOverdue => "the drill is overdue",
        _ => "no drill has passed since one failed or was overdue",
    };
    (noted.drill_owed && from > Autonomy::Suggest).then(|| Step {
        to: Autonomy::Suggest,
        cause: MoveCause::Drill,
        evidence: format!("{why}: not above suggest before one has passed"),
    })
}

/// One rung down after a long silence; a fresh silence begins with each step.
fn expired(standing: &Standing, from: Autonomy, settings: &EarnedSettings, at: Time) -> Option<Step> {
    let silence = at.since(standing.last_shown.max(standing.since));
    let limit = settings.expires_after;
    let laddered = standing.class >= settings.from_class;
    if !laddered || from <= Autonomy::Suggest || limit.millis() <= 0 || silence < limit {
        return None;
    }
    let evidence = format!("nothing was shown for {silence}; after {limit} a step is lost");
    Some(Step { to: below(from)?, cause: MoveCause::Expired, evidence })
}

/// One rung up, if enough was shown on enough days.
fn earned(noted: &Standing, evidence: &Evidence, from: Autonomy, ceiling: Autonomy, settings: &EarnedSettings, at: Time) -> Option<Step> {
    let to = above(from).filter(|to| *to <= ceiling)?;
    if noted.locked_by.is_some() || (noted.drill_owed && to > Autonomy::Suggest) {
        return None;
    }
    let (days, bound, what) = if from == Autonomy::Shadow {
        let bound = noted.wishes.decayed(at, settings.half_life).lower_bound(BOUND_LEVEL);
        (noted.persisted_since.count(), bound, "in shadow the symptom outlasted the claim's time")
    } else {
        (noted.helped_since.count(), evidence.lower_bound, "helped")
    };
    let (days_min, bound_min) = (settings.days_min.max(1), settings.lower_bound_min);
    (days >= days_min && bound >= bound_min).then(|| Step {
        to,
        cause: MoveCause::Earned,
        evidence: format!(
            "{what} on {days} days of {days_min} needed, lower bound {bound:.2} of {bound_min:.2} needed, no harm since the last step"
        ),
    })
}
