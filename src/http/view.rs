//! What people are shown, as plain data that both the daemon's answers and the command line use: one line per action, policy and
//! incident, and the overview of all.
//!
//! Made from the kernel, or, where no daemon runs, from a ledger folded from the journal. Deliberately absent: HTML, colours, and
//! any decision. An editor breaks this by renaming a field: scripts read the JSON.

use homeostat_kernel::kernel::{PolicyView, Stats, UnitView};
use homeostat_kernel::ledger::{ActionState, KnownAlert, Phase, Spent};
use homeostat_kernel::store::{Selector, Store};
use homeostat_kernel::{Kernel, Ledger};
use homeostat_model::{AlertKind, Evidence, Margin, Outcome, ReadingValue, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Actions of the overview.
pub const ACTIONS_SHOWN: usize = 50;
/// Alerts listed by name in one incident; more are counted.
const ALERTS_SHOWN: usize = 20;
/// Incidents in one answer.
const INCIDENTS_MAX: usize = 500;
/// Targets looked at for the nearest margin, over all policies of one overview.
const TARGETS_LOOKED_AT: usize = 500;

/// One action in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionLine {
    /// Its number, `a12`.
    pub id: String,
    /// What.
    pub verb: String,
    /// To what.
    pub target: String,
    /// With what, `name = value`.
    pub args: Vec<String>,
    /// Why, in the author's words.
    pub because: String,
    /// Who wishes it.
    pub wished_by: String,
    /// The policy behind it, if one is.
    pub policy: Option<String>,
    /// The symptom.
    pub symptom: String,
    /// Where it stands.
    pub phase: String,
    /// The newest ruling.
    pub verdict: String,
    /// The guard that decided, and why.
    pub decided_by: Option<String>,
    /// What is claimed.
    pub claim: Option<String>,
    /// Whether the claim held: `held`, `failed`, `undetermined`; nothing before it was judged.
    pub judged: Option<String>,
    /// What the actuator knows.
    pub outcome: Option<String>,
    /// The plan that an approval names.
    pub plan: String,
    /// When it was first ruled on.
    pub ruled_at: Time,
    /// When it was sent, if it was.
    pub sent_at: Option<Time>,
    /// The last thing that happened to it.
    pub moved_at: Time,
    /// Until when a person may answer, if one is asked.
    pub answer_by: Option<Time>,
}

impl ActionLine {
    /// From its state.
    pub fn of(state: &ActionState) -> ActionLine {
        let proposal = &state.proposal;
        ActionLine {
            id: state.id.to_string(),
            verb: proposal.verb.to_string(),
            target: proposal.target.to_string(),
            args: proposal.args.iter().map(|(name, arg)| format!("{name} = {arg}")).collect(),
            because: proposal.because.clone(),
            wished_by: proposal.origin.to_string(),
            policy: proposal.origin.policy().map(ToString::to_string),
            symptom: proposal.symptom.clone(),
            phase: state.phase.name().into(),
            verdict: state.ruling.verdict.name().into(),
            decided_by: state.ruling.decided_by().map(|reason| format!("{}: {}", reason.guard, reason.text)),
            claim: proposal.claim.as_ref().map(ToString::to_string),
            judged: state.judgement.as_ref().map(|judgement| judged_name(judgement.held).into()),
            outcome: state.outcome.as_ref().map(outcome_text),
            plan: state.plan.clone(),
            ruled_at: state.ruled_at,
            sent_at: state.sent_at,
            moved_at: state.moved_at,
            answer_by: match state.phase {
                Phase::Awaiting { by } => Some(by),
                _ => None,
            },
        }
    }
}

fn judged_name(held: Option<bool>) -> &'static str {
    match held {
        Some(true) => "held",
        Some(false) => "failed",
        None => "undetermined",
    }
}

/// An outcome in one line.
pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(receipt) => format!("done: {}", receipt.observed),
        Outcome::NotDone(fault) => format!("not done: {fault}"),
        Outcome::Unknown(fault) => format!("unknown: {fault}"),
    }
}

/// One alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    /// The source's fingerprint.
    pub fingerprint: String,
    /// Whether it is on.
    pub firing: bool,
    /// Its labels as PromQL writes them.
    pub labels: BTreeMap<String, String>,
    /// What its author wrote; tainted.
    pub summary: Option<String>,
    /// When it began, by the sender.
    pub starts_at: Time,
    /// How often it was repeated.
    pub repeats: u64,
}

/// Alerts that belong together: for now those of one rule on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentLine {
    /// The rule's name.
    pub name: String,
    /// The node, as far as the labels tell; may be empty.
    pub node: String,
    /// `condition`, `no_data` or `error`: the worst of what its alerts say about what the rule could see.
    pub kind: AlertKind,
    /// Alerts that are on.
    pub firing: usize,
    /// Alerts in all.
    pub alerts: usize,
    /// When the first of them was heard.
    pub since: Time,
    /// When the last of them was heard, repeats included.
    pub heard_at: Time,
    /// The alerts, firing ones first, at most twenty.
    pub listed: Vec<AlertLine>,
}

/// The node that an alert is about: label `node`, `nodename` or `host`, else `instance` without its port.
fn node_of(known: &KnownAlert) -> String {
    let labels = &known.alert.labels;
    let named = ["node", "nodename", "host"].iter().find_map(|name| labels.get(name));
    let instance = || {
        labels
            .get("instance")
            .map(|text| text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(text, |(host, _)| host))
    };
    named.or_else(instance).unwrap_or("").to_owned()
}

/// Incidents from the known alerts: firing ones first, then the newest first.
pub fn incidents(ledger: &Ledger) -> Vec<IncidentLine> {
    let mut groups: BTreeMap<(String, String), Vec<&KnownAlert>> = BTreeMap::new();
    for known in ledger.alerts() {
        groups.entry((known.alert.name.clone(), node_of(known))).or_default().push(known);
    }
    let mut lines: Vec<IncidentLine> = groups.into_iter().map(|((name, node), alerts)| incident(name, node, alerts)).collect();
    lines.sort_by_key(|line| (line.firing == 0, std::cmp::Reverse(line.since)));
    lines.truncate(INCIDENTS_MAX);
    lines
}

fn incident(name: String, node: String, mut alerts: Vec<&KnownAlert>) -> IncidentLine {
    alerts.sort_by_key(|known| (!known.firing, known.since));
    let severity = |kind: AlertKind| match kind {
        AlertKind::Condition => 0,
        AlertKind::NoData => 1,
        AlertKind::Error => 2,
    };
    IncidentLine {
        name,
        node,
        kind: alerts.iter().map(|known| known.alert.kind).max_by_key(|kind| severity(*kind)).unwrap_or_default(),
        firing: alerts.iter().filter(|known| known.firing).count(),
        alerts: alerts.len(),
        since: alerts.iter().map(|known| known.since).min().unwrap_or_default(),
        heard_at: alerts.iter().map(|known| known.heard_at).max().unwrap_or_default(),
        listed: alerts.into_iter().take(ALERTS_SHOWN).map(alert_line).collect(),
    }
}

fn alert_line(known: &KnownAlert) -> AlertLine {
    let alert = &known.alert;
    let summary = ["summary", "description", "message"].iter().find_map(|name| alert.annotations.get(*name));
    AlertLine {
        fingerprint: alert.fingerprint.clone(),
        firing: known.firing,
        labels: alert.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        summary: summary.map(|text| text.chars().take(500).collect()),
        starts_at: alert.starts_at,
        repeats: known.repeats,
    }
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandsOffLine {
    /// Since when.
    pub since: Time,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a ledger tells: also where no daemon runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerView {
    /// Why nothing is sent, if so.
    pub hands_off: Option<HandsOffLine>,
    /// Actions that wait for a person, the most urgent first.
    pub approvals: Vec<ActionLine>,
    /// Actions, the last moved first, at most as many as asked for.
    pub actions: Vec<ActionLine>,
    /// Incidents.
    pub incidents: Vec<IncidentLine>,
    /// Actions by phase.
    pub phases: BTreeMap<String, usize>,
}

impl LedgerView {
    /// From a ledger, with at most `actions_max` actions.
    pub fn of(ledger: &Ledger, actions_max: usize) -> LedgerView {
        let mut phases: BTreeMap<String, usize> = BTreeMap::new();
        for state in ledger.actions() {
            *phases.entry(state.phase.name().into()).or_default() += 1;
        }
        LedgerView {
            hands_off: ledger.hands_off().map(|h| HandsOffLine { since: h.since, by: h.by.clone(), reason: h.reason.clone() }),
            approvals: approvals(ledger),
            actions: actions(ledger, actions_max),
            incidents: incidents(ledger),
            phases,
        }
    }
}

/// Actions that wait for a person, the most urgent first.
pub fn approvals(ledger: &Ledger) -> Vec<ActionLine> {
    let mut waiting: Vec<ActionLine> = ledger.actions().filter(|s| matches!(s.phase, Phase::Awaiting { .. })).map(ActionLine::of).collect();
    waiting.sort_by_key(|line| line.answer_by);
    waiting
}

/// Actions, the last moved first.
pub fn actions(ledger: &Ledger, at_most: usize) -> Vec<ActionLine> {
    let mut states: Vec<&ActionState> = ledger.actions().collect();
    states.sort_by_key(|state| std::cmp::Reverse((state.moved_at, state.id)));
    states.into_iter().take(at_most).map(ActionLine::of).collect()
}

/// A policy and the target that is nearest to firing.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyLine {
    /// The policy.
    #[serde(flatten)]
    pub policy: PolicyView,
    /// The target nearest to firing, and what it lacks.
    pub nearest: Option<String>,
}

/// The overview.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// What the ledger tells.
    #[serde(flatten)]
    pub ledger: LedgerView,
    /// Policies whose targets look bad together.
    pub observer_faults: Vec<String>,
    /// The policies.
    pub policies: Vec<PolicyLine>,
    /// Policy targets in all.
    pub targets: usize,
    /// Counters since the start.
    pub stats: Stats,
    /// What the actions of the last 24 hours cost, by what their verbs say.
    pub spent_day: Spent,
    /// Series in the windows.
    pub series_total: u64,
    /// The first of them by key, with their newest values; none where there are too many to look at them all.
    pub series: Vec<SeriesLine>,
}

/// What was spent, for people: `5m of interruption, 9000 joules, 0.0008 euros`.
pub fn spent(spent: &Spent) -> String {
    let at_least = if spent.complete { "" } else { " at least; older actions are forgotten" };
    format!("{} of interruption, {:.0} joules, {:.4} euros{at_least}", spent.disruption, spent.energy_joules, spent.euros)
}

/// A series and its newest value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesLine {
    /// As PromQL writes it.
    pub series: String,
    /// The newest value, or why there is none.
    pub value: String,
}

/// Series that one overview shows.
const SERIES_SHOWN: usize = 40;
/// With more series than this, none is shown: looking for the first of them would cost the loop too much.
const SERIES_LOOKED_AT: u64 = 2_000;

fn series(store: &Store, now: Time, total: u64) -> Vec<SeriesLine> {
    let Ok(any) = Selector::parse("{__name__=~\".+\"}") else { return Vec::new() };
    if total > SERIES_LOOKED_AT {
        return Vec::new();
    }
    let line = |series| {
        let value = match store.last(series, now).value {
            ReadingValue::Value(value) => number(value),
            other => other.to_string(),
        };
        Some(SeriesLine { series: store.key(series)?.to_string(), value })
    };
    store.select(&any).into_iter().filter_map(line).take(SERIES_SHOWN).collect()
}

impl Overview {
    /// From the kernel. Targets are looked at for margins up to a limit, so that a page costs the loop little.
    pub fn of(kernel: &Kernel) -> Overview {
        let series_total = kernel.with_store(|store| store.stats().series);
        Overview {
            ledger: LedgerView::of(kernel.ledger(), ACTIONS_SHOWN),
            observer_faults: kernel.observer_faults(),
            policies: policies(kernel),
            targets: kernel.units_len(),
            stats: kernel.stats().clone(),
            spent_day: kernel.spent_day(),
            series_total,
            series: kernel.with_store(|store| series(store, kernel.now(), series_total)),
        }
    }
}

/// The loaded policies, each with its nearest target.
pub fn policies(kernel: &Kernel) -> Vec<PolicyLine> {
    let mut left = TARGETS_LOOKED_AT;
    let line = |policy: PolicyView| {
        let affordable = policy.targets <= left;
        left -= if affordable { policy.targets } else { 0 };
        let nearest = if affordable { nearest(&kernel.explain_policy(&policy.policy, "")) } else { None };
        PolicyLine { policy, nearest }
    };
    kernel.policies().into_iter().map(line).collect()
}

/// Of quiet targets, the one whose false comparison lacks least, in relation to the threshold or the value, whichever is larger.
fn nearest(units: &[UnitView]) -> Option<String> {
    let lacking = |evidence: &Evidence| {
        let value = evidence.value.value()?.abs();
        let lacks = evidence.margins.iter().filter(|m| m.distance < 0.0 && m.distance.is_finite());
        let share = |m: &Margin| -m.distance / threshold(m).abs().max(value).max(1e-9);
        lacks.map(|m| (share(m), m.relation.clone(), -m.distance)).min_by(|a, b| a.0.total_cmp(&b.0))
    };
    // How much data there is says nothing about how far the world is from firing.
    let tells = |evidence: &&Evidence| !evidence.operation.starts_with("coverage");
    let quiet = units.iter().filter(|unit| unit.result == "quiet");
    let candidates = quiet.flat_map(|unit| unit.evidence.iter().filter(tells).filter_map(move |e| Some((unit, e, lacking(e)?))));
    let (unit, evidence, (_, relation, distance)) = candidates.min_by(|a, b| a.2.0.total_cmp(&b.2.0))?;
    let value = number(evidence.value.value()?);
    Some(format!("{}: {} {value} {relation} lacks {}", unit.symptom, evidence.operation, number(distance)))
}

/// The number behind the comparison's sign; 0 if there is none.
fn threshold(margin: &Margin) -> f64 {
    margin.relation.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// One read as people see it: what, of which series, its value, and how far each comparison was from turning over.
pub fn evidence_line(evidence: &Evidence) -> String {
    let series = evidence.series.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
    let value = evidence.value.value().map_or_else(|| evidence.value.to_string(), number);
    let margin = |m: &Margin| format!("{} is {} by {}", m.relation, m.holds(), number(m.distance.abs()));
    let margins: Vec<String> = evidence.margins.iter().map(margin).collect();
    let margins = if margins.is_empty() { String::new() } else { format!("  ({})", margins.join("; ")) };
    format!("{}{series} = {value}{margins}", evidence.operation)
}

/// A number as people read it: four significant digits.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..9).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.*}", (3 - magnitude).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A moment in local time, `2026-02-03 10:15:20`.
pub fn moment(at: Time) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(stamp) => stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "never".into(),
    }
}

/// Until when a guard holds or asks, as an appendix to its words; empty where it does neither.
pub fn until(now: Time, stance: homeostat_model::Stance) -> String {
    use homeostat_model::Stance;
    match stance {
        Stance::Hold { until } => format!(" (holds until {}, {})", moment(until), distance(now, until)),
        Stance::Ask { by } => format!(" (asks until {}, {})", moment(by), distance(now, by)),
        Stance::Pass | Stance::Shadow | Stance::Deny => String::new(),
    }
}

/// How long ago, or in how long: `3m ago`, `in 57m`. One unit, so that columns stay narrow.
pub fn distance(now: Time, at: Time) -> String {
    let seconds = (now.millis().saturating_sub(at.millis())) / 1000;
    let length = |s: i64| match s {
        ..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d", s / 86_400),
    };
    if seconds < 0 { format!("in {}", length(-seconds)) } else { format!("{} ago", length(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{Alert, AlertDelivery, AlertSource, AlertStatus, Event, Labels, ReadingValue, SeriesKey};

    fn alert(name: &str, pairs: &[(&str, &str)], status: AlertStatus) -> Alert {
        let labels = Labels::new(pairs.iter().map(|(n, v)| (*n, *v)).chain([("alertname", name)]));
        Alert {
            fingerprint: format!("{name}{pairs:?}"),
            status,
            kind: AlertKind::Condition,
            name: name.into(),
            labels,
            annotations: BTreeMap::from([("summary".into(), "<b>hot</b>".into())]),
            starts_at: Time(5),
            ends_at: None,
            values: BTreeMap::new(),
        }
    }

    #[test]
    fn alerts_of_one_rule_on_one_node_are_one_incident() {
        let mut ledger = Ledger::default();
        let alerts = vec![
            alert("Hot", &[("instance", "nas:9100"), ("disk", "a")], AlertStatus::Firing),
            alert("Hot", &[("node", "nas"), ("disk", "b")], AlertStatus::Resolved),
            alert("Hot", &[("instance", "[fd00::1]:9100")], AlertStatus::Resolved),
            alert("Full", &[("instance", "nas:9100")], AlertStatus::Firing),
        ];
        let delivery =
            AlertDelivery { source: AlertSource::Alertmanager, receiver: "r".into(), group_key: "g".into(), truncated: 0, alerts };
        ledger.apply_event(Time(10), &Event::Alerted(delivery));
        let lines = incidents(&ledger);
        let seen: Vec<(&str, &str, usize, usize)> = lines.iter().map(|l| (l.name.as_str(), l.node.as_str(), l.firing, l.alerts)).collect();
        assert_eq!(seen, [("Full", "nas", 1, 1), ("Hot", "nas", 1, 2), ("Hot", "[fd00::1]", 0, 1)]);
        assert!(lines[1].listed[0].firing && !lines[1].listed[1].firing);
        assert_eq!(lines[1].listed[0].summary.as_deref(), Some("<b>hot</b>"));
    }

    #[test]
    fn the_nearest_target_is_the_one_that_lacks_least_for_its_size() {
        let unit = |symptom: &str, result, value: f64, lack: f64| UnitView {
            policy: "p".into(),
            symptom: symptom.into(),
            target: "t".into(),
            result,
            why: String::new(),
            evaluated_at: None,
            next_slot: Time(0),
            evidence: vec![Evidence {
                operation: "last".into(),
                series: Some(SeriesKey::bare("m")),
                value: ReadingValue::Value(value),
                sampled_at: None,
                margins: vec![Margin { relation: "< 1".into(), distance: -lack }],
            }],
            prints: Vec::new(),
            open: Vec::new(),
            distance: None,
        };
        let units = [unit("far", "quiet", 10.0, 9.0), unit("near", "quiet", 1.25, 0.25), unit("fired", "fired", 1.0, 0.001)];
        assert_eq!(nearest(&units).as_deref(), Some("near: last 1.25 < 1 lacks 0.25"));
        assert_eq!(nearest(&units[2..]), None);
    }

    #[test]
    fn numbers_and_distances_are_short() {
        for (value, text) in
            [(0.0, "0"), (1.0, "1"), (0.123456, "0.1235"), (12.3456, "12.35"), (100_000.0, "100000"), (1e12, "1.000e12"), (-2.5, "-2.5")]
        {
            assert_eq!(number(value), text);
        }
        let now = Time(100_000_000);
        for (millis, text) in [(0, "0s ago"), (90_000, "1m ago"), (-90_000, "in 1m"), (7_380_000, "2h03m ago"), (90_000_000, "1d ago")] {
            assert_eq!(distance(now, Time(now.0 - millis)), text);
        }
    }
}
