//! How things look on a terminal: plain tables without frames, cut to the terminal's width.
//!
//! Deliberately absent: colours (output is often read by other programs and by people who cannot see them).

use crate::http::view::{ActionLine, IncidentLine, SeriesLine, distance, evidence_line, moment, number, until};
use comfy_table::{ContentArrangement, Table, presets};
use homeostat_model::{ActionId, Entry, EntryBody, Event, Evidence, Fault, Health, Reason, Record, Stance, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A printed text's control characters must not reach the terminal: texts come from people and workloads.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A table with these columns.
pub fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>()));
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Prints JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A sensor as the daemon tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SensorSeen {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What it reads.
    pub source: String,
    /// How much it sees.
    pub health: Health,
    /// When it last read.
    pub last_read_at: Option<Time>,
    /// Samples of the last read.
    pub samples_last: usize,
    /// Faults of the last read.
    pub faults: Vec<Fault>,
}

/// A policy as the daemon tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicySeen {
    /// Its name.
    pub policy: String,
    /// What it is for.
    pub doc: String,
    /// What it runs for.
    pub runs_for: String,
    /// The longest time between evaluations.
    pub every: String,
    /// The author's ceiling.
    pub autonomy: String,
    /// Targets.
    pub targets: usize,
    /// Of these, by the last result.
    pub results: BTreeMap<String, usize>,
    /// The newest evaluation.
    pub evaluated_at: Option<Time>,
    /// The target nearest to firing.
    #[serde(default)]
    pub nearest: Option<String>,
}

/// A policy on one target as the daemon tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnitSeen {
    symptom: String,
    target: String,
    result: String,
    why: String,
    evaluated_at: Option<Time>,
    next_slot: Time,
    evidence: Vec<Evidence>,
    prints: Vec<String>,
    open: Vec<(ActionId, String, Vec<Reason>)>,
    #[serde(default)]
    distance: Option<homeostat_kernel::policy::Distance>,
}

fn ago(now: Time, at: Option<Time>) -> String {
    at.map_or_else(|| "never".into(), |at| distance(now, at))
}

/// How much a sensor sees, as a word.
pub fn health_name(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Blind => "blind",
    }
}

/// Sensors, each fault on a line of its own.
pub fn sensors(now: Time, sensors: &[SensorSeen]) -> String {
    let row = |s: &SensorSeen| {
        vec![
            s.name.clone(),
            s.kind.clone(),
            health_name(s.health).into(),
            s.samples_last.to_string(),
            ago(now, s.last_read_at),
            s.source.clone(),
        ]
    };
    let mut text = table(&["sensor", "kind", "health", "samples", "read", "source"], sensors.iter().map(row));
    for sensor in sensors {
        for fault in &sensor.faults {
            text += &format!("\n  {}: {}", clean(&sensor.name), clean(&fault.to_string()));
        }
    }
    text
}

/// Policies.
pub fn policies(now: Time, policies: &[PolicySeen]) -> String {
    let row = |p: &PolicySeen| {
        let results: Vec<String> = p.results.iter().map(|(result, count)| format!("{count} {result}")).collect();
        let nearest = p.nearest.clone().unwrap_or_default();
        vec![p.policy.clone(), p.autonomy.clone(), p.targets.to_string(), results.join(", "), ago(now, p.evaluated_at), nearest]
    };
    table(&["policy", "autonomy", "targets", "last results", "evaluated", "nearest to firing"], policies.iter().map(row))
}

/// Series with their newest values.
pub fn series(series: &[SeriesLine]) -> String {
    table(&["series", "newest value"], series.iter().map(|line| vec![line.series.clone(), line.value.clone()]))
}

/// Actions.
pub fn actions(now: Time, actions: &[ActionLine]) -> String {
    let row = |a: &ActionLine| {
        let end = match (&a.outcome, &a.decided_by) {
            (Some(outcome), _) => outcome.clone(),
            (None, Some(decided)) => decided.clone(),
            (None, None) => String::new(),
        };
        let judged = a.judged.clone().unwrap_or_default();
        vec![
            a.id.clone(),
            format!("{} on {}", a.verb, a.target),
            a.because.clone(),
            a.phase.clone(),
            end,
            judged,
            distance(now, a.moved_at),
        ]
    };
    table(&["action", "what", "because", "phase", "outcome or guard", "claim", "moved"], actions.iter().map(row))
}

/// What waits for a person.
pub fn approvals(now: Time, actions: &[ActionLine]) -> String {
    let row = |a: &ActionLine| {
        vec![a.id.clone(), format!("{} on {}", a.verb, a.target), a.because.clone(), ago(now, a.answer_by), a.plan.clone()]
    };
    table(&["action", "what", "because", "answer", "plan"], actions.iter().map(row))
}

/// Incidents.
pub fn incidents(now: Time, incidents: &[IncidentLine]) -> String {
    let row = |i: &IncidentLine| {
        let summary = i.listed.first().and_then(|alert| alert.summary.clone()).unwrap_or_default();
        vec![i.name.clone(), i.node.clone(), format!("{} of {}", i.firing, i.alerts), distance(now, i.since), summary]
    };
    table(&["alert", "node", "firing", "since", "summary"], incidents.iter().map(row))
}

/// What an approval approves.
pub fn plan(now: Time, a: &ActionLine) -> String {
    let mut lines = vec![format!("{}  {} on {}  [{}]", a.id, a.verb, a.target, a.phase)];
    lines.extend(a.args.iter().map(|arg| format!("  with     {arg}")));
    lines.push(format!("  because  {}", a.because));
    lines.push(format!("  wished   {}", a.wished_by));
    lines.push(format!("  claim    {}", a.claim.as_deref().unwrap_or("none")));
    lines.push(format!("  plan     {}", a.plan));
    if a.answer_by.is_some() {
        lines.push(format!("  answer   {}", ago(now, a.answer_by)));
    }
    lines.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")
}

/// A policy on its targets: why it fires, or how far it is from it.
pub fn units(now: Time, units: &[UnitSeen]) -> String {
    let mut lines = Vec::new();
    for unit in units {
        lines.push(format!("{}  {}  [{}]", unit.symptom, unit.target, unit.result));
        lines.push(format!("  evaluated {}, again {} at the latest", ago(now, unit.evaluated_at), distance(now, unit.next_slot)));
        if !unit.why.is_empty() {
            lines.push(format!("  why       {}", unit.why));
        }
        match &unit.distance {
            Some(distance) => {
                lines.push(format!("  distance  {}", distance.text()));
                lines.extend(distance.turns.iter().map(|turn| format!("              {}", turn.text())));
            }
            None if unit.result == "quiet" => {
                lines.push("  distance  not by comparisons of its readings, as far as was looked".into());
            }
            None => {}
        }
        lines.extend(unit.evidence.iter().map(|evidence| format!("  read      {}", evidence_line(evidence))));
        lines.extend(unit.prints.iter().map(|print| format!("  printed   {print}")));
        for (id, phase, reasons) in &unit.open {
            lines.push(format!("  open      {id} {phase}"));
            let holding = reasons.iter().filter(|reason| reason.stance != Stance::Pass);
            let held = |reason: &Reason| format!("    {:<14} {}{}", reason.guard, reason.text, until(now, reason.stance));
            lines.extend(holding.map(held));
        }
    }
    lines.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")
}

/// One journal entry in one line: number, time, event or effect, what about.
pub fn entry(entry: &Entry) -> String {
    let (name, about) = match &entry.body {
        EntryBody::Event(event) => (event.name(), event_text(event)),
        EntryBody::Effect(record) => (record.name(), record_text(record)),
    };
    clean(&format!("{:>8}  {}  {name:<10} {about}", entry.seq, moment(entry.at)))
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Started { generation, build, .. } => format!("generation {generation}, build {build}"),
        Event::Loaded(rules) => format!("{} policies, {} actuators", rules.policies.len(), rules.actuators.len()),
        Event::Tick => String::new(),
        Event::Observed(o) => format!("{}: {} samples, {}", o.sensor, o.samples.len() + o.stamped.len(), health_name(o.health)),
        Event::Alerted(delivery) => {
            let names: Vec<&str> = delivery.alerts.iter().take(5).map(|alert| alert.name.as_str()).collect();
            format!("{}: {} alerts: {}", delivery.source.name(), delivery.alerts.len(), names.join(", "))
        }
        Event::Ordered(ordered) => format!("{}: {:?}", ordered.by, ordered.command),
        Event::Settled(id, outcome) | Event::Reverted(id, outcome) => format!("{id}: {}", crate::http::view::outcome_text(outcome)),
        Event::ClockJumped { from, to } => format!("from {} to {}", moment(*from), moment(*to)),
        Event::Advised(advice) => {
            let by = advice.answer.as_ref().map_or(advice.fault.as_str(), |answer| answer.by.as_str());
            format!("{}: {by}, {} tokens, {}", advice.question, advice.usage.total(), advice.latency)
        }
        Event::Distrusted { reason } => reason.clone(),
    }
}

fn record_text(record: &Record) -> String {
    match record {
        Record::Ruled { action, proposal, ruling, .. } => {
            let why = ruling.decided_by().map_or_else(String::new, |reason| format!(" ({}: {})", reason.guard, reason.text));
            format!("{action}: {} on {}: {}{why}", proposal.verb, proposal.target, ruling.verdict.name())
        }
        Record::Act { action, attempt } => format!("{}: {} on {}, attempt {attempt}", action.id, action.verb, action.target),
        Record::Probe { action } | Record::Revert { action, .. } => action.to_string(),
        Record::Run { run, step } => format!("{run}: {}", step.text()),
        Record::Settled { action, outcome } => format!("{action}: {}", crate::http::view::outcome_text(outcome)),
        Record::Closed { action, why, .. } => format!("{action}: {why}"),
        Record::Judged { action, judgement } => format!("{action}: {}", judgement.text),
        Record::Scored { action, score } => format!("{action}: {}", score.text),
        Record::Spent { action, policy, spending } => {
            let energy = spending.joules / 3_600_000.0;
            format!("{action}: {policy} pays {energy:.3} kWh, {:.2} €, {} of interruption", spending.euros, spending.disruption)
        }
        Record::Autonomy(moved) => {
            format!("{}: {} to {} ({}: {})", moved.key, moved.from.name(), moved.to.name(), moved.cause.name(), moved.evidence)
        }
        Record::Drilled(end) => format!("{}: {}", end.policy, end.text),
        Record::Tripped(trip) => format!("{}: {}", trip.target, trip.text),
        Record::Asked { question, brief } => {
            format!("{question}: {} ({} choices, {} texts from outside)", brief.occasion.title, brief.choices.len(), brief.told.len())
        }
        Record::Announce(notice) => notice.title.clone(),
        Record::Noted(note) => serde_json::to_string(note).unwrap_or_default(),
    }
}

/// A sample of a probe.
pub fn sample(key: &str, value: f64) -> String {
    clean(&format!("{key} {}", if value.is_finite() && value.abs() < 1e6 { number(value) } else { value.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_no_control_characters() {
        let text = table(&["a", "b"], [vec!["x\u{1b}[31mred\u{7}".into(), "y\nz".into()]]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with(" A") || text.starts_with('A'), "{text:?}");
    }
}
