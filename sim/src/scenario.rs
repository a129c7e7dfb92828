//! The scenario file: what happens in a lab, how the loop is set, and what must come of it.
//!
//! Plain data; expectations are data too, so that a scenario can be read, shrunk and printed. An editor breaks this by an expectation
//! that is met when nothing happens: each says a least number where it means "it happens".

use crate::plant::Planned;
use homeostat_kernel::arbiter::guards::GUARDS;
use homeostat_model::{AlertStatus, ArbiterSettings, Arg, Autonomy, Command, ReasoningSettings, Span, TopologySettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest run.
pub const DURATION_MAX: Span = Span::from_hours(24 * 366);

/// A person in the lab who answers questions.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// How long it takes.
    pub after: Span,
    /// How much longer it takes at most, by chance.
    #[serde(default)]
    pub spread: Span,
    /// Yes or no.
    pub says: Answer,
}

/// A person's answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Yes.
    Approve,
    /// No.
    Deny,
    /// Yes, and the same yes again a minute later.
    ApproveTwice,
}

/// An order at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderAt {
    /// When, from the beginning.
    pub at: Span,
    /// What.
    pub command: Command,
}

/// An alert at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertAt {
    /// When, from the beginning.
    pub at: Span,
    /// The rule's name.
    pub name: String,
    /// Firing or resolved.
    pub status: AlertStatus,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What the scenario changes in a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// A lower autonomy.
    #[serde(default)]
    pub autonomy: Option<Autonomy>,
    /// Another cooldown.
    #[serde(default)]
    pub cooldown: Option<Span>,
    /// Another rhythm.
    #[serde(default)]
    pub every: Option<Span>,
    /// Other parameters.
    #[serde(default)]
    pub params: BTreeMap<String, Arg>,
}

/// Which lines of a run an expectation is about. What is left out matches anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The verb.
    #[serde(default)]
    pub verb: Option<String>,
    /// The target, whole, or its beginning followed by `*`.
    #[serde(default)]
    pub target: Option<String>,
    /// The policy.
    #[serde(default)]
    pub policy: Option<String>,
    /// Not before.
    #[serde(default)]
    pub from: Option<Span>,
    /// Not after.
    #[serde(default)]
    pub to: Option<Span>,
}

impl Pattern {
    /// Whether it fits.
    pub fn fits(&self, at: Span, policy: &str, verb: &str, target: &str) -> bool {
        let same = |wish: &Option<String>, is: &str| {
            wish.as_ref().is_none_or(|wish| wish.strip_suffix('*').map_or(wish == is, |start| is.starts_with(start)))
        };
        same(&self.verb, verb)
            && same(&self.target, target)
            && same(&self.policy, policy)
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
    }
}

/// What must come of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Expect {
    /// So many actions were sent.
    Acts {
        /// Which.
        #[serde(default)]
        of: Pattern,
        /// At least.
        #[serde(default)]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// So many rulings were decided in this way.
    Ruled {
        /// Which.
        #[serde(default)]
        of: Pattern,
        /// The verdict's name: `denied`, `deferred`, `awaiting_approval`, `shadowed`, `admitted`.
        verdict: String,
        /// The guard that decided.
        #[serde(default)]
        guard: Option<String>,
        /// At least.
        #[serde(default = "one")]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// So many claims turned out so.
    Claims {
        /// Which.
        #[serde(default)]
        of: Pattern,
        /// True, false, or absent: nobody could see.
        held: Option<bool>,
        /// At least.
        #[serde(default = "one")]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// So many notes of this name: `undetermined`, `observer_fault`, `order_refused`, `duplicate_alerts` …
    Notes {
        /// Its name.
        name: String,
        /// At least.
        #[serde(default = "one")]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// An aim was outside for at most so long, in all.
    Outside {
        /// The aim: `service/web`, `filesystem/nas:/srv`; `*` for all together.
        aim: String,
        /// At most.
        max: Span,
        /// At least: the fault was felt.
        #[serde(default)]
        min: Option<Span>,
    },
    /// Actions that the oracle calls useless or harmful.
    Wrong {
        /// At most so many useless ones.
        useless_max: usize,
        /// At most so many harmful ones.
        harmful_max: usize,
    },
    /// So many runs of playbooks ended so.
    Runs {
        /// Which; the verb is `playbook.<name>`.
        #[serde(default)]
        of: Pattern,
        /// In which way.
        end: homeostat_model::RunEnd,
        /// At least.
        #[serde(default = "one")]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// So many actions were told to take themselves back.
    Reverts {
        /// Which.
        #[serde(default)]
        of: Pattern,
        /// At least.
        #[serde(default)]
        min: usize,
        /// At most.
        #[serde(default)]
        max: Option<usize>,
    },
    /// At the end these targets stand as they stood when the first run began, or, with `differs`, otherwise.
    AsBefore {
        /// `node/nano-1`, `service/web`, `disk/nas:sdb`.
        targets: Vec<String>,
        /// Something has changed about each.
        #[serde(default)]
        differs: bool,
    },
    /// Something was lost for good, so often at most.
    Losses {
        /// At most.
        max: usize,
    },
    /// Ours did better than a control, by wrong actions, disruption and losses.
    BetterThan {
        /// `do-nothing` or `blind-apply`.
        control: crate::run::Control,
        /// In what: `harmful`, `disrupted`, `outside`, `losses`, `energy`.
        by: String,
    },
}

fn one() -> usize {
    1
}

impl Expect {
    /// The lines that it is about.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Expect::Acts { of, .. }
            | Expect::Ruled { of, .. }
            | Expect::Claims { of, .. }
            | Expect::Runs { of, .. }
            | Expect::Reverts { of, .. } => Some(of),
            _ => None,
        }
    }

    /// Why it says nothing, if so.
    pub fn problem(&self) -> Option<String> {
        const VERDICTS: [&str; 5] = ["admitted", "deferred", "awaiting_approval", "shadowed", "denied"];
        match self {
            Expect::Acts { min: 0, max: None, .. } | Expect::Runs { min: 0, max: None, .. } | Expect::Reverts { min: 0, max: None, .. } => {
                Some("expects any number of actions: give `min` or `max`".into())
            }
            Expect::AsBefore { targets, .. } if targets.is_empty() => Some("expects nothing of no target".into()),
            Expect::Ruled { verdict, .. } if !VERDICTS.contains(&verdict.as_str()) => {
                Some(format!("expects the verdict `{verdict}` (there are: {})", VERDICTS.join(", ")))
            }
            Expect::Ruled { guard: Some(guard), .. } if !GUARDS.iter().any(|known| known.name == guard) => {
                let known: Vec<&str> = GUARDS.iter().map(|guard| guard.name).collect();
                Some(format!("expects something of the guard `{guard}` (there are: {})", known.join(", ")))
            }
            _ => None,
        }
    }
}

/// The whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The lesson of `docs/safety.md` that it proves.
    #[serde(default)]
    pub lesson: Option<u32>,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub doc: String,
    /// How long it runs.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// The hour of a Monday at which it begins.
    #[serde(default)]
    pub begins_at_hour: i64,
    /// Times per day, by chance, that a person says hands off for a while.
    #[serde(default)]
    pub random_pauses_per_day: f64,
    /// The policies that run; empty: all of the lab's and the shipped ones, unless there are scripts; `*`: all of them beside the scripts.
    #[serde(default)]
    pub policies: Vec<String>,
    /// The shipped playbooks that are offered; where there is one, the lab has what playbooks need (`labs/classic/playbooks.yaml`).
    #[serde(default)]
    pub playbooks: Vec<String>,
    /// Policies of the scenario's own, by name.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    /// What it changes in policies, by name.
    #[serde(default)]
    pub changes: BTreeMap<String, PolicyChange>,
    /// The arbiter's settings where they differ.
    #[serde(default)]
    pub arbiter: Option<ArbiterSettings>,
    /// What hangs on what, who owns which field, what is healthy: what the guards that look around know. Absent: nothing.
    #[serde(default)]
    pub topology: Option<TopologySettings>,
    /// When models are asked; absent: never. Who thinks is up to the caller of the run.
    #[serde(default)]
    pub reasoning: Option<ReasoningSettings>,
    /// Who answers; absent: nobody.
    #[serde(default)]
    pub person: Option<Person>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Planned>,
    /// Faults by chance, from the seed, so many per day.
    #[serde(default)]
    pub random_faults_per_day: f64,
    /// Orders.
    #[serde(default)]
    pub orders: Vec<OrderAt>,
    /// Alerts.
    #[serde(default)]
    pub alerts: Vec<AlertAt>,
    /// The guard that it proves: without it, the expectations are not met.
    #[serde(default)]
    pub breaks: Option<String>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Vec<Expect>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = serde_saphyr::from_str(text).map_err(|error| format!("the scenario cannot be read: {error}"))?;
        if scenario.lasts <= Span::ZERO || scenario.lasts > DURATION_MAX {
            return Err(format!(
                "the scenario `{}` lasts {}, expected more than 0s and at most {DURATION_MAX}",
                scenario.name, scenario.lasts
            ));
        }
        Ok(scenario)
    }

    /// As a file.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# cannot be written: {error}"))
    }
}
