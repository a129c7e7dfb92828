//! The families of what was learned, earned and spent.
//!
//! Labels are policies, verbs, classes and kinds of targets, never targets; kinds come out of scripts, so the number of lines has a limit
//! of its own, and what is left out shows in the totals (`beliefs`, `standings`).

use super::Page;
use crate::scores::Rules;
use crate::scores::autonomy::effective;
use crate::scores::spending::{figures, limits};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::DrillState;
use homeostat_kernel::score::belief::Belief;
use homeostat_kernel::score::ladder::{BOUND_LEVEL, Standing};
use homeostat_model::{Autonomy, BeliefKey, LadderKey, PolicyId, Spending, Time};
use std::collections::BTreeMap;

/// Beliefs, and standings, that have lines of their own.
const LINES_MAX: usize = 512;

/// What is taken out of the ledger; the numbers are made of it away from the loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    at: Time,
    beliefs: Vec<(BeliefKey, Belief)>,
    beliefs_total: usize,
    standings: Vec<(LadderKey, Standing)>,
    standings_total: usize,
    drills: BTreeMap<PolicyId, DrillState>,
    spent: Vec<(String, Spending)>,
    /// Rhythms by the verb that ran in them.
    trips: BTreeMap<String, u64>,
}

impl Learned {
    pub(super) fn of(ledger: &Ledger, at: Time) -> Learned {
        let (trust, books) = (ledger.trust(), ledger.books());
        let mut trips: BTreeMap<String, u64> = BTreeMap::new();
        for (_, trip) in trust.all_trips().flat_map(|(_, trips)| trips) {
            *trips.entry(trip.verbs.0.to_string()).or_default() += 1;
        }
        Learned {
            at,
            beliefs: trust.beliefs().take(LINES_MAX).map(|(key, belief)| (key.clone(), belief.clone())).collect(),
            beliefs_total: trust.beliefs().count(),
            standings: trust.standings().take(LINES_MAX).map(|(key, standing)| (key.clone(), standing.clone())).collect(),
            standings_total: trust.standings().count(),
            drills: trust.drills().map(|(policy, drill)| (policy.clone(), drill.clone())).collect(),
            spent: books.policies(books.month_of(at)).map(|(policy, spent)| (policy.to_owned(), spent.clone())).collect(),
            trips,
        }
    }
}

fn labels(key: &BeliefKey) -> Vec<(&'static str, String)> {
    vec![("policy", key.policy.to_string()), ("verb", key.verb.to_string()), ("target_class", key.target_class.clone())]
}

fn level(autonomy: Autonomy) -> f64 {
    match autonomy {
        Autonomy::Shadow => 0.0,
        Autonomy::Suggest => 1.0,
        Autonomy::Veto => 2.0,
        Autonomy::Auto => 3.0,
    }
}

pub(super) fn families(page: &mut Page, learned: &Learned, rules: Option<&Rules>) {
    let at = learned.at;
    page.gauge("beliefs", "Policies, verbs and kinds of targets of which something is believed", learned.beliefs_total as f64);
    page.gauge("standings", "Policies, classes and kinds of targets that have a standing", learned.standings_total as f64);
    let bounds = learned.beliefs.iter().map(|(key, belief)| (labels(key), belief.lower_bound(at, BOUND_LEVEL)));
    let help = "The share of actions that help and do not harm is at least this with 95 % certainty, 0 to 1";
    page.put(false, "belief_helped_lower_bound", help, bounds.collect());
    let weights = learned.beliefs.iter().flat_map(|(key, belief)| {
        let found = belief.weights(at);
        let with = |outcome: &str| labels(key).into_iter().chain([("outcome", outcome.to_owned())]).collect::<Vec<_>>();
        [(with("helped"), found.helped), (with("harmed"), found.harmed), (with("neither"), found.neither)]
    });
    page.put(false, "belief_weight", "Scored actions by what they did, in actions; they count less with age", weights.collect());
    let levels = learned.standings.iter().map(|(key, standing)| {
        let may = rules.map_or(standing.level, |rules| effective(rules, key, standing, learned.drills.get(&key.policy), at));
        let labels = vec![("policy", key.policy.to_string()), ("class", key.class.to_string()), ("target_class", key.target_class.clone())];
        (labels, level(may))
    });
    page.put(false, "autonomy_level", "How far a policy may go: 0 shadow, 1 suggest, 2 veto, 3 auto", levels.collect());
    let passed = learned.drills.iter().filter_map(|(policy, drill)| Some((policy, drill.passed_at?.seconds())));
    page.gauges("drill_passed_timestamp_seconds", "When a policy last passed a drill, in seconds since the epoch", "policy", passed);
    let trips = learned.trips.iter().map(|(verb, count)| (verb, *count as f64));
    page.gauges("trips", "Times that actions went round in circles, until a person unlocks, by verb", "verb", trips);
    spent(page, learned, rules);
}

fn spent(page: &mut Page, learned: &Learned, rules: Option<&Rules>) {
    let helps = [
        ("energy_joules", "Energy of this month's actions, in joules"),
        ("euros", "What this month's actions cost, in euros"),
        ("disruption_seconds", "Interruption by this month's actions, in seconds"),
        ("boots", "Boots of this month"),
        ("evictions", "Pods evicted this month"),
        ("tokens", "Tokens of language models of this month"),
        ("power_cycles", "Power cycles of this month"),
    ];
    for (index, (name, help)) in helps.into_iter().enumerate() {
        let by_policy = learned.spent.iter().map(|(policy, spent)| (policy, figures(spent)[index].1));
        page.gauges(&format!("spent_month_{name}"), help, "policy", by_policy);
    }
    for (name, max) in rules.map(|rules| limits(&rules.arbiter.month)).unwrap_or_default() {
        page.gauge(&format!("budget_month_{name}"), "What may be spent in a month, all policies together", max);
    }
}
