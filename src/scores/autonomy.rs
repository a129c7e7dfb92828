//! How far each policy may go, what it lacks for the next rung, and every step that was taken, with its evidence.
//!
//! The rules are the kernel's (`score::ladder`); here they are only told. Deliberately absent: raising anything. An editor breaks this
//! by telling another number of days than the ladder asks for.

use super::rules::Rules;
use crate::cli::show::table;
use crate::http::view::{distance, moment};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::DrillState;
use homeostat_kernel::score::ladder::{BOUND_LEVEL, Standing};
use homeostat_model::{Autonomy, LadderKey, Record, Span, Time};
use serde::{Deserialize, Serialize};

/// Standings and moves in one answer.
pub const LINES_MAX: usize = 500;
/// Moves that a terminal shows.
const MOVES_SHOWN: usize = 20;

/// How a policy's drills stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillLine {
    /// How long a passed one counts; `None`: the policy needs none.
    pub every: Option<String>,
    /// When one was last passed.
    pub passed_at: Option<Time>,
    /// When one was last tried.
    pub tried_at: Option<Time>,
    /// Whether one is under way.
    pub is_running: bool,
    /// Whether one is owed: failed, overdue or never passed.
    pub is_owed: bool,
    /// How the last one ended, in words.
    pub last: Option<String>,
}

/// A step of autonomy, an ended drill or a rhythm that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveLine {
    /// When.
    pub at: Time,
    /// `autonomy`, `drill` or `rhythm`.
    pub kind: String,
    /// About what: a policy with class and kind, or a target.
    pub about: String,
    /// In short: `suggest → veto (earned)`, `passed`.
    pub what: String,
    /// The evidence, in words.
    pub evidence: String,
}

impl MoveLine {
    pub(crate) fn of(at: Time, record: &Record) -> Option<MoveLine> {
        let line = |kind: &str, about: String, what: String, evidence: &str| MoveLine {
            at,
            kind: kind.into(),
            about,
            what,
            evidence: evidence.to_owned(),
        };
        Some(match record {
            Record::Autonomy(step) => {
                let what = format!("{} → {} ({})", step.from.name(), step.to.name(), step.cause.name());
                line("autonomy", step.key.to_string(), what, &step.evidence)
            }
            Record::Drilled(end) => {
                let what = match end.passed {
                    Some(true) => "passed",
                    Some(false) => "failed",
                    None => "could not be held",
                };
                line("drill", end.policy.to_string(), what.into(), &end.text)
            }
            Record::Tripped(trip) => {
                let verbs =
                    if trip.verbs.0 == trip.verbs.1 { trip.verbs.0.to_string() } else { format!("{} and {}", trip.verbs.0, trip.verbs.1) };
                line("rhythm", trip.target.to_string(), format!("{verbs}, every {}", trip.period), &trip.text)
            }
            _ => return None,
        })
    }
}

/// Where a policy stands for one class and kind of target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandingLine {
    /// The policy.
    pub policy: String,
    /// How much its action can hurt.
    pub class: String,
    /// The kind of target.
    pub target_class: String,
    /// The rung that it has earned.
    pub level: Autonomy,
    /// What it may do now: the rung under the ceiling, a lock, and a drill that is owed.
    pub effective: Autonomy,
    /// The most that author and configuration allow; `None`: the policy is not loaded.
    pub ceiling: Option<Autonomy>,
    /// Since the last step.
    pub since: Time,
    /// When anything was last shown.
    pub last_shown: Time,
    /// When it falls a rung if nothing is shown; `None`: it does not.
    pub expires_at: Option<Time>,
    /// Days since the last step on which it showed what the next rung asks for …
    pub days: u32,
    /// … of so many.
    pub days_needed: u32,
    /// The lower bound (95 %) of what the next rung asks for …
    pub lower_bound: f64,
    /// … and how high it must be.
    pub lower_bound_needed: f64,
    /// What holds it at suggest or below.
    pub locked_by: Option<String>,
    /// Its drills.
    pub drill: DrillLine,
    /// What it lacks for the next rung, in words.
    pub next: String,
    /// The last step, with its evidence.
    pub last_move: Option<MoveLine>,
}

/// The table, with what moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutonomyView {
    /// As of when.
    pub at: Time,
    /// The standings.
    pub standings: Vec<StandingLine>,
    /// Steps, drills and rhythms, newest first.
    pub moves: Vec<MoveLine>,
}

impl AutonomyView {
    /// From a ledger.
    pub fn of(ledger: &Ledger, rules: &Rules, at: Time) -> AutonomyView {
        let moves = ledger.trust().moves().rev().filter_map(|(at, record)| MoveLine::of(*at, record));
        AutonomyView { at, standings: standings(ledger, rules, at), moves: moves.take(LINES_MAX).collect() }
    }

    /// As a terminal shows it.
    pub fn text(&self) -> String {
        if self.standings.is_empty() {
            return "no policy has a standing yet: it gets one with its first wish of a class that must be earned".into();
        }
        let columns = ["policy", "class", "to", "may", "at most", "since", "days", "helps at least", "drill", "what it lacks"];
        let mut text = table(&columns, self.standings.iter().map(|line| row(self.at, line)));
        if !self.moves.is_empty() {
            text += "\n\nWhat moved\n";
            let rows = self.moves.iter().take(MOVES_SHOWN);
            text += &table(
                &["when", "about", "what", "evidence"],
                rows.map(|line| vec![moment(line.at), line.about.clone(), line.what.clone(), line.evidence.clone()]),
            );
        }
        text
    }
}

fn row(now: Time, line: &StandingLine) -> Vec<String> {
    let hidden = if line.effective == line.level { String::new() } else { format!(" (earned {})", line.level.name()) };
    vec![
        line.policy.clone(),
        line.class.clone(),
        line.target_class.clone(),
        format!("{}{hidden}", line.effective.name()),
        line.ceiling.map_or("not loaded", Autonomy::name).into(),
        distance(now, line.since),
        format!("{} of {}", line.days, line.days_needed),
        format!("{:.0} of {:.0} %", line.lower_bound * 100.0, line.lower_bound_needed * 100.0),
        drill_text(now, &line.drill),
        line.next.clone(),
    ]
}

fn drill_text(now: Time, drill: &DrillLine) -> String {
    match (&drill.every, drill.passed_at) {
        _ if drill.is_running => "under way".into(),
        (None, None) => "none".into(),
        (_, Some(at)) if !drill.is_owed => format!("passed {}", distance(now, at)),
        (_, Some(at)) => format!("owed, passed {}", distance(now, at)),
        (Some(_), None) => "owed, none passed".into(),
    }
}

/// All standings, at most [`LINES_MAX`].
pub(crate) fn standings(ledger: &Ledger, rules: &Rules, at: Time) -> Vec<StandingLine> {
    ledger.trust().standings().take(LINES_MAX).map(|(key, standing)| line(ledger, rules, key, standing, at)).collect()
}

/// What a policy may do now, as the kernel reckons it: rung, ceiling, lock and owed drill.
pub(crate) fn effective(rules: &Rules, key: &LadderKey, standing: &Standing, drill: Option<&DrillState>, at: Time) -> Autonomy {
    let level = standing.effective(rules.ceiling(&key.policy, key.class).unwrap_or(Autonomy::Auto));
    if owes(rules, key, standing, drill, at) { level.min(Autonomy::Suggest) } else { level }
}

fn owes(rules: &Rules, key: &LadderKey, standing: &Standing, drill: Option<&DrillState>, at: Time) -> bool {
    let every = rules.policies.get(&key.policy).and_then(|facts| facts.drill_every);
    let passed = drill.and_then(|drill| drill.passed_at);
    standing.drill_owed || every.is_some_and(|every| passed.is_none_or(|passed| at.since(passed) > every))
}

fn line(ledger: &Ledger, rules: &Rules, key: &LadderKey, standing: &Standing, at: Time) -> StandingLine {
    let (trust, earned) = (ledger.trust(), &rules.arbiter.earned);
    let ceiling = rules.ceiling(&key.policy, key.class);
    let drill = trust.drill(&key.policy);
    let under = standing.level.min(ceiling.unwrap_or(Autonomy::Auto));
    let (days, lower_bound) = if under == Autonomy::Shadow {
        (standing.persisted_since.count(), standing.wishes.decayed(at, earned.half_life).lower_bound(BOUND_LEVEL))
    } else {
        (standing.helped_since.count(), trust.merit(key).map_or(0.0, |merit| merit.lower_bound(at, BOUND_LEVEL)))
    };
    let is_owed = owes(rules, key, standing, drill, at);
    let laddered = key.class >= earned.from_class;
    let expires =
        (under > Autonomy::Suggest && laddered && earned.expires_after > Span::ZERO).then(|| standing.last_shown + earned.expires_after);
    let mut line = StandingLine {
        policy: key.policy.to_string(),
        class: key.class.to_string(),
        target_class: key.target_class.clone(),
        level: standing.level,
        effective: effective(rules, key, standing, drill, at),
        ceiling,
        since: standing.since,
        last_shown: standing.last_shown,
        expires_at: expires,
        days,
        days_needed: earned.days_min.max(1),
        lower_bound,
        lower_bound_needed: earned.lower_bound_min,
        locked_by: standing.locked_by.clone(),
        drill: drill_line(rules, key, drill, is_owed),
        next: String::new(),
        last_move: trust.moves().rev().find_map(|(at, record)| match record {
            Record::Autonomy(step) if step.key == *key => MoveLine::of(*at, record),
            _ => None,
        }),
    };
    line.next = lacking(&line, under);
    line
}

fn drill_line(rules: &Rules, key: &LadderKey, drill: Option<&DrillState>, is_owed: bool) -> DrillLine {
    DrillLine {
        every: rules.policies.get(&key.policy).and_then(|facts| facts.drill_every).map(|every| every.to_string()),
        passed_at: drill.and_then(|drill| drill.passed_at),
        tried_at: drill.and_then(|drill| drill.tried_at),
        is_running: drill.is_some_and(|drill| drill.fault.is_some()),
        is_owed,
        last: drill.and_then(|drill| drill.last.as_ref()).map(|end| end.text.clone()),
    }
}

fn lacking(line: &StandingLine, under: Autonomy) -> String {
    if let Some(lock) = &line.locked_by {
        return format!("locked by {lock}");
    }
    match line.ceiling {
        None => return "it is not loaded".into(),
        Some(ceiling) if under >= ceiling && !line.drill.is_owed => return "nothing: its author allows no more".into(),
        Some(_) => {}
    }
    let mut lacks = Vec::new();
    if line.drill.is_owed {
        lacks.push(format!("a passed drill (`homeostat drill {}`)", line.policy));
    }
    let word = if under == Autonomy::Shadow { "on which its symptom lasted" } else { "of help" };
    if line.days < line.days_needed {
        lacks.push(format!("{} more days {word}", line.days_needed - line.days));
    }
    if line.lower_bound < line.lower_bound_needed {
        lacks.push(format!("a lower bound of {:.0} %", line.lower_bound_needed * 100.0));
    }
    if lacks.is_empty() { "nothing: the next help moves it".into() } else { lacks.join(", ") }
}
