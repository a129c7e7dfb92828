//! What happened in an incident, in the order of the journal.
//!
//! Rulings that say the same again are told once, with how often. Deliberately absent: probes, notices and the books: they say
//! nothing new of the world. An editor breaks this by reordering: the entry's number is the order.

use super::book::Incident;
use super::note::{
    Statement, alert_name, by_person, deciding, is_delivery, is_here, judged_text, ordered, quote, scored, statement, wish, withdrawn,
};
use crate::http::view::{moment, outcome_text};
use homeostat_model::{ActionId, AlertStatus, Command, Entry, EntryBody, Event, Proposal, Record, Ruling, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What a ruling came to the last time: verdict and guard.
type Ruled = (&'static str, Option<String>);

/// Statements in order of time.
pub(super) fn timeline(incident: &Incident, entries: &[&Entry]) -> Vec<Statement> {
    let mut lines: Vec<Statement> = Vec::new();
    // The newest line about an action's ruling, what it said, and how often it was said again.
    let mut rulings: BTreeMap<ActionId, (usize, Ruled, u64)> = BTreeMap::new();
    let mut firing: BTreeMap<&str, Time> = BTreeMap::new();
    let mut deliveries: BTreeSet<ActionId> = BTreeSet::new();
    for entry in entries {
        let place = (entry.seq, entry.at);
        match &entry.body {
            EntryBody::Event(Event::Alerted(delivery)) => {
                for alert in delivery.alerts.iter().filter(|alert| is_here(incident, alert)) {
                    let fires = alert.status == AlertStatus::Firing;
                    let known = firing.get(alert.fingerprint.as_str());
                    // A repeat, or the end of what was never heard of.
                    let is_told = if fires { known.is_some_and(|starts_at| *starts_at >= alert.starts_at) } else { known.is_none() };
                    if is_told {
                        continue;
                    }
                    if fires {
                        firing.insert(&alert.fingerprint, alert.starts_at)
                    } else {
                        firing.remove(alert.fingerprint.as_str())
                    };
                    let text = if fires { "an alert fires" } else { "an alert has ended" };
                    lines.push(statement(place, None, text, vec![quote("alert", &alert_name(alert))]));
                }
            }
            EntryBody::Effect(Record::Ruled { action, proposal, ruling, .. }) => {
                if is_delivery(proposal) {
                    deliveries.insert(*action);
                }
                let said: Ruled = (ruling.verdict.name(), ruling.decided_by().map(|reason| reason.guard.clone()));
                match rulings.get_mut(action) {
                    Some((_, before, again)) if *before == said => *again += 1,
                    _ => {
                        rulings.insert(*action, (lines.len(), said, 0));
                        lines.push(ruled(place, *action, proposal, ruling));
                    }
                }
            }
            // Their outcome says the same.
            EntryBody::Effect(Record::Judged { action, .. }) if deliveries.contains(action) => {}
            body => lines.extend(other(place, body)),
        }
    }
    for (line, _, again) in rulings.into_values().filter(|(_, _, again)| *again > 0) {
        if let Some(statement) = lines.get_mut(line) {
            statement.text.push_str(&format!(" (and {again} times more)"));
        }
    }
    lines
}

fn ruled(place: (u64, Time), action: ActionId, proposal: &Proposal, ruling: &Ruling) -> Statement {
    let mut quotes = vec![wish(proposal)];
    quotes.extend(deciding(ruling));
    quotes.push(quote("wished by", &proposal.origin.to_string()));
    let who = if by_person(&proposal.origin) { "a person's wish" } else { "wished" };
    statement(place, Some(action), format!("{action}, {who}, is ruled: {}", ruling.verdict.name().replace('_', " ")), quotes)
}

fn other(place: (u64, Time), body: &EntryBody) -> Option<Statement> {
    let said =
        |action: ActionId, text: String, what: &str, words: &str| Some(statement(place, Some(action), text, vec![quote(what, words)]));
    match body {
        EntryBody::Event(Event::Ordered(order)) => {
            let by = quote("by", &order.by);
            match (&order.command, ordered(&order.command)) {
                (_, Some((action, word))) => Some(statement(place, Some(action), format!("a person says {word} {action}"), vec![by])),
                (Command::Pause { reason }, _) => {
                    Some(statement(place, None, "hands-off is ordered: nothing is sent", vec![by, quote("reason", reason)]))
                }
                (Command::Resume, _) => Some(statement(place, None, "hands-off ends", vec![by])),
                _ => None,
            }
        }
        EntryBody::Event(Event::Started { .. }) => Some(statement(place, None, "the engine is started anew", Vec::new())),
        EntryBody::Event(Event::Distrusted { reason }) => {
            Some(statement(place, None, "the engine loses trust and keeps its hands off", vec![quote("reason", reason)]))
        }
        EntryBody::Event(Event::Settled(id, outcome)) => {
            said(*id, format!("{id} ends as {}", outcome.name().replace('_', " ")), "outcome", &outcome_text(outcome))
        }
        EntryBody::Event(Event::Reverted(id, outcome)) => {
            said(*id, format!("{id} is taken back: {}", outcome.name().replace('_', " ")), "outcome", &outcome_text(outcome))
        }
        EntryBody::Event(_) => None,
        EntryBody::Effect(record) => effect(place, record),
    }
}

fn effect(place: (u64, Time), record: &Record) -> Option<Statement> {
    let said =
        |action: ActionId, text: String, what: &str, words: &str| Some(statement(place, Some(action), text, vec![quote(what, words)]));
    match record {
        Record::Act { action, attempt } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            let until = moment(action.lease.expires);
            let what = format!("{} on {}", action.verb, action.target);
            said(action.id, format!("{} is sent{again}, to be begun until {until}", action.id), "wish", &what)
        }
        Record::Revert { action, .. } => Some(statement(place, Some(*action), format!("{action} is to be taken back"), Vec::new())),
        Record::Run { run, step } => said(*run, format!("the run {run} goes on"), "step", &step.text()),
        Record::Settled { action, outcome } => {
            said(*action, format!("{action} ends as {}", outcome.name().replace('_', " ")), "outcome", &outcome_text(outcome))
        }
        Record::Closed { action, why, .. } => said(*action, format!("{action} is closed without an outcome"), "why", why),
        Record::Judged { action, judgement } => said(*action, judged_text(*action, judgement), "seen", &judgement.text),
        Record::Scored { action, score } => Some(scored(*action, place, score)),
        Record::Tripped(trip) => Some(statement(place, None, "actions go to and fro here", vec![quote("rhythm", &trip.text)])),
        Record::Noted(noted) => {
            let (action, why) = withdrawn(noted)?;
            said(action, format!("{action} is withdrawn"), "why", why)
        }
        _ => None,
    }
}
