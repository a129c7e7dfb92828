//! The note after an incident, as data: what was seen, done, held and learned, each statement with the entry that it rests on.
//!
//! A statement is a sentence of ours (`text`) and what others wrote beside it (`quotes`): names, reasons, alert texts. Nothing is
//! concluded that no entry says; what is missing is said. Deliberately absent: Markdown (`markdown`), a model's words (`prose`). An
//! editor breaks this by putting a foreign text into `text`, or by a statement without an entry.

use super::book::Incident;
use super::place;
use super::text::clean;
use crate::digest::fixes;
use crate::http::view::{evidence_line, moment, number, outcome_text};
use homeostat_kernel::about::of_alert;
use homeostat_kernel::ledger::OPERATOR;
use homeostat_model::{
    ActionId, Alert, AlertStatus, BeliefKey, ClaimSubject, Class, Command, Entry, EntryBody, Event, Evidence, Finding, Judgement,
    Note as Noted, Origin, Outcome, PolicyId, Proposal, Record, Ruling, Score, Span, Spending, Time, Verdict,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Statements of one section; more are counted.
pub const STATEMENTS_MAX: usize = 120;
/// Annotations of one alert that are quoted.
const ANNOTATIONS_MAX: usize = 4;
/// Reads of one wish that are told.
const EVIDENCE_MAX: usize = 12;
/// Energy as people pay it.
const JOULES_PER_KWH: f64 = 3.6e6;

/// A text that others wrote, cleaned; shown only in quotes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// What it is: `summary`, `because`.
    pub what: String,
    /// The text.
    pub text: String,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// When.
    pub at: Time,
    /// The same for people, local.
    pub when: String,
    /// The journal entry that it rests on.
    pub entry: u64,
    /// The action, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<ActionId>,
    /// What, in our words.
    pub text: String,
    /// What others wrote.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub quotes: Vec<Quote>,
}

/// What it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Energy, in kilowatt hours.
    pub kwh: f64,
    /// Money, in euros.
    pub euros: f64,
    /// How long somebody was interrupted.
    pub disruption: Span,
    /// Boots of machines.
    pub boots: u64,
    /// Evicted pods.
    pub evictions: u64,
    /// Tokens of language models.
    pub tokens: u64,
    /// The entries that it rests on.
    pub entries: Vec<u64>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The incident's name.
    pub id: String,
    /// What began it; of others.
    pub title: Quote,
    /// Where; of others.
    pub place: Quote,
    /// Since when.
    pub started: Time,
    /// The same for people.
    pub started_when: String,
    /// Until when; `None`: it is open.
    pub ended: Option<Time>,
    /// The same for people.
    pub ended_when: Option<String>,
    /// How long it lasted.
    pub lasted: Option<Span>,
    /// Whether it is over only because nothing was heard of it any more.
    pub silent: bool,
    /// Whether a score is still to come.
    pub awaits_scores: bool,
    /// Alerts in all.
    pub alerts: usize,
    /// Alerts that were only repeated.
    pub repeats: u64,
    /// What was read, and what alerts said.
    pub seen: Vec<Statement>,
    /// What happened, in order.
    pub timeline: Vec<Statement>,
    /// What was sent, and what it really did.
    pub tried: Vec<Statement>,
    /// What was not sent, and why.
    pub held: Vec<Statement>,
    /// How often it goes by itself.
    pub natural: Vec<Statement>,
    /// What it cost; `None`: nothing was booked.
    pub cost: Option<Cost>,
    /// What would mend it for good.
    pub fixes: Vec<Statement>,
    /// How often it was there before, and when.
    pub earlier: Vec<String>,
    /// What this note does not know.
    pub missing: Vec<String>,
}

/// What is gathered of one action.
struct Deed<'a> {
    proposal: &'a Proposal,
    ruled: (u64, Time),
    ruling: (u64, Time, &'a Ruling),
    sent: Option<(u64, Time, Class)>,
    attempts: u32,
    outcome: Option<(u64, Time, &'a Outcome)>,
    judged: Option<(u64, Time, &'a Judgement)>,
    scored: Option<(u64, Time, &'a Score)>,
    closed: Option<(u64, Time, &'a str)>,
}

impl Note {
    /// From an incident and its entries (others among them are left out).
    pub fn of(incident: &Incident, entries: &[Entry]) -> Note {
        let mine: Vec<&Entry> = entries.iter().filter(|entry| incident.entries.binary_search(&entry.seq).is_ok()).collect();
        let deeds = deeds(incident, &mine);
        let mut note = Note {
            id: incident.id.clone(),
            title: quote("began with", &incident.title),
            place: quote("place", incident.place.as_str()),
            started: incident.started,
            started_when: moment(incident.started),
            ended: incident.ended,
            ended_when: incident.ended.map(moment),
            lasted: incident.ended.map(|ended| ended.since(incident.started)),
            silent: incident.silent,
            awaits_scores: incident.awaits_scores,
            alerts: incident.alerts,
            repeats: incident.repeats,
            seen: seen(incident, &mine, &deeds),
            timeline: super::timeline::timeline(incident, &mine),
            tried: deeds.iter().flat_map(|(id, deed)| tried(*id, deed)).collect(),
            held: deeds.iter().filter_map(|(id, deed)| held(*id, deed)).collect(),
            natural: deeds.iter().filter_map(|(id, deed)| natural(*id, deed)).collect(),
            cost: cost(&mine),
            fixes: fixes_of(incident, &deeds),
            earlier: incident.earlier.iter().map(|at| moment(*at)).collect(),
            missing: Vec::new(),
        };
        note.missing = missing(incident, mine.len(), &note);
        for section in [&mut note.seen, &mut note.timeline, &mut note.tried, &mut note.held, &mut note.natural, &mut note.fixes] {
            section.truncate(STATEMENTS_MAX);
        }
        note
    }
}

fn missing(incident: &Incident, found: usize, note: &Note) -> Vec<String> {
    let mut missing = Vec::new();
    let lost = incident.entries.len().saturating_sub(found);
    if lost > 0 {
        missing.push(format!("{lost} entries of it are not in the journal any more, or cannot be read"));
    }
    if incident.dropped > 0 {
        missing.push(format!("{} further entries or actions were too many to be kept with it", incident.dropped));
    }
    if incident.silent {
        missing.push("how it ended: nothing was heard of it for a day".into());
    }
    if incident.awaits_scores {
        missing.push("a score that is still to come".into());
    }
    let long = [&note.seen, &note.timeline, &note.tried, &note.held].iter().filter(|section| section.len() > STATEMENTS_MAX).count();
    if long > 0 {
        missing.push(format!("{long} sections are longer than the {STATEMENTS_MAX} statements shown here"));
    }
    missing
}

pub(super) fn quote(what: &str, text: &str) -> Quote {
    Quote { what: what.into(), text: clean(text) }
}

pub(super) fn statement(entry: (u64, Time), action: Option<ActionId>, text: impl Into<String>, quotes: Vec<Quote>) -> Statement {
    Statement { at: entry.1, when: moment(entry.1), entry: entry.0, action, text: text.into(), quotes }
}

/// What was wished, as a quote: verb, target and arguments are names of others.
pub(super) fn wish(proposal: &Proposal) -> Quote {
    let args: Vec<String> = proposal.args.iter().map(|(name, arg)| format!("{name} = {arg}")).collect();
    let args = if args.is_empty() { String::new() } else { format!(" ({})", args.join(", ")) };
    quote("wish", &format!("{} on {}{args}", proposal.verb, proposal.target))
}

fn deeds<'a>(incident: &Incident, entries: &[&'a Entry]) -> BTreeMap<ActionId, Deed<'a>> {
    let mut deeds: BTreeMap<ActionId, Deed<'a>> = BTreeMap::new();
    for entry in entries {
        let place = (entry.seq, entry.at);
        match &entry.body {
            EntryBody::Effect(Record::Ruled { action, proposal, ruling, .. }) if incident.actions.contains(action) => {
                let fresh = Deed {
                    proposal,
                    ruled: place,
                    ruling: (place.0, place.1, ruling),
                    sent: None,
                    attempts: 0,
                    outcome: None,
                    judged: None,
                    scored: None,
                    closed: None,
                };
                deeds.entry(*action).or_insert(fresh).ruling = (place.0, place.1, ruling);
            }
            EntryBody::Effect(record) => {
                let Some(deed) = record.action().and_then(|id| deeds.get_mut(&id)) else { continue };
                match record {
                    Record::Act { action, attempt } => {
                        deed.sent.get_or_insert((place.0, place.1, action.class));
                        deed.attempts = *attempt;
                    }
                    Record::Settled { outcome, .. } => deed.outcome = Some((place.0, place.1, outcome)),
                    Record::Judged { judgement, .. } => deed.judged = Some((place.0, place.1, judgement)),
                    Record::Scored { score, .. } => deed.scored = Some((place.0, place.1, score)),
                    Record::Closed { why, .. } => deed.closed = Some((place.0, place.1, why)),
                    _ => {}
                }
            }
            EntryBody::Event(Event::Settled(id, outcome)) => {
                if let Some(deed) = deeds.get_mut(id) {
                    deed.outcome = Some((place.0, place.1, outcome));
                }
            }
            EntryBody::Event(_) => {}
        }
    }
    deeds
}

fn seen(incident: &Incident, entries: &[&Entry], deeds: &BTreeMap<ActionId, Deed<'_>>) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for entry in entries {
        let EntryBody::Event(Event::Alerted(delivery)) = &entry.body else { continue };
        for alert in delivery.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing && is_here(incident, alert)) {
            if told.contains(&alert.fingerprint.as_str()) {
                continue;
            }
            told.push(&alert.fingerprint);
            let mut quotes = vec![quote("alert", &alert_name(alert))];
            let first = ["summary", "description", "message"];
            let ordered = first.iter().filter_map(|name| alert.annotations.get_key_value(*name));
            let rest = alert.annotations.iter().filter(|(name, _)| !first.contains(&name.as_str()));
            quotes.extend(ordered.chain(rest).take(ANNOTATIONS_MAX).map(|(name, text)| quote(&clean(name), text)));
            let values: Vec<String> = alert.values.iter().take(8).map(|(name, value)| format!("{name} = {}", number(*value))).collect();
            if !values.is_empty() {
                quotes.push(quote("values", &values.join(", ")));
            }
            let text = format!("{} said so, firing since {}", delivery.source.name(), moment(alert.starts_at));
            found.push(statement((entry.seq, entry.at), None, text, quotes));
        }
    }
    for (id, deed) in deeds {
        let reads = deed.proposal.evidence.iter().take(EVIDENCE_MAX);
        found.extend(reads.map(|evidence| read(deed.ruled, *id, evidence)));
        if let Some((entry, at, judgement)) = deed.judged {
            found.extend(judgement.evidence.iter().take(EVIDENCE_MAX).map(|evidence| read((entry, at), *id, evidence)));
        }
    }
    found.sort_by_key(|statement| statement.entry);
    found
}

/// Whether an alert of a delivery belongs to this place: one delivery may hold alerts of many.
pub(super) fn is_here(incident: &Incident, alert: &Alert) -> bool {
    place::place(&of_alert(alert)) == incident.place
}

/// An alert's name and labels, as PromQL writes them.
pub(super) fn alert_name(alert: &Alert) -> String {
    let labels: Vec<String> = alert.labels.iter().filter(|(name, _)| *name != "alertname").map(|(n, v)| format!("{n}={v:?}")).collect();
    format!("{}{{{}}}", alert.name, labels.join(","))
}

fn read(entry: (u64, Time), id: ActionId, evidence: &Evidence) -> Statement {
    let sampled = evidence.sampled_at.map_or_else(|| "no sample".to_owned(), |at| format!("sampled {}", moment(at)));
    statement(entry, Some(id), format!("read for {id}, {sampled}"), vec![quote("reading", &evidence_line(evidence))])
}

/// Who wished it, and why.
pub(super) fn origin(proposal: &Proposal) -> Vec<Quote> {
    vec![quote("wished by", &proposal.origin.to_string()), quote("because", &proposal.because)]
}

/// What was sent, what the actuator knew, whether the claim held, and what it really did: one statement for each.
fn tried(id: ActionId, deed: &Deed<'_>) -> Vec<Statement> {
    let Some((entry, at, class)) = deed.sent else { return Vec::new() };
    let times = if deed.attempts > 1 { format!(", {} attempts", deed.attempts) } else { String::new() };
    let mut quotes = vec![wish(deed.proposal)];
    quotes.extend(origin(deed.proposal));
    quotes.extend(deed.proposal.claim.as_ref().map(|claim| quote("claim", &claim.to_string())));
    let mut found = vec![statement((entry, at), Some(id), format!("{id} was sent ({class}{times})"), quotes)];
    match deed.outcome {
        Some((entry, at, outcome)) => {
            let text = format!("{id} ended as {}", outcome.name().replace('_', " "));
            found.push(statement((entry, at), Some(id), text, vec![quote("outcome", &outcome_text(outcome))]));
        }
        None => found.push(statement((entry, at), Some(id), format!("{id}: nothing is known of its outcome"), Vec::new())),
    }
    if let Some((entry, at, judgement)) = deed.judged.filter(|_| !is_delivery(deed.proposal)) {
        found.push(statement((entry, at), Some(id), judged_text(id, judgement), vec![quote("seen", &judgement.text)]));
    }
    if let Some((entry, at, score)) = deed.scored {
        found.push(scored(id, (entry, at), score));
    }
    found
}

/// Whether its claim is the actuator's own word, which the outcome says already.
pub(super) fn is_delivery(proposal: &Proposal) -> bool {
    matches!(proposal.claim.as_ref().map(|claim| &claim.subject), Some(ClaimSubject::Delivered))
}

pub(super) fn judged_text(id: ActionId, judgement: &Judgement) -> String {
    match judgement.held {
        Some(true) => format!("the claim of {id} came true; that alone is no proof that {id} did it"),
        Some(false) => format!("the claim of {id} did not come true"),
        None => format!("nobody could see whether the claim of {id} came true"),
    }
}

/// A score with its interval.
pub(super) fn scored(id: ActionId, entry: (u64, Time), score: &Score) -> Statement {
    let word = match score.finding {
        Finding::Helped => "helped",
        Finding::NoEffect => "had no effect",
        Finding::Harmed => "did harm",
        Finding::Inconclusive => "cannot be told apart from what would have come anyway",
    };
    if let Some(why) = &score.missing {
        return statement(entry, Some(id), format!("what {id} did cannot be told"), vec![quote("because", why)]);
    }
    let chances = format!("chance of help {:.0} %, of harm {:.0} %", score.p_helped * 100.0, score.p_harmed * 100.0);
    let effect = score.effect.as_ref().map_or_else(String::new, |effect| {
        format!(
            "; effect {} (95 % interval {} to {}), {} came and {} was expected",
            number(effect.effect),
            number(effect.low),
            number(effect.high),
            number(effect.observed),
            number(effect.expected)
        )
    });
    let mut quotes = Vec::new();
    quotes.extend(score.effect.as_ref().map(|effect| quote("series", &effect.series.to_string())));
    quotes.push(quote("in words", &score.text));
    let sides = score.side_effects.iter().filter(|effect| effect.finding == Finding::Harmed);
    quotes.extend(sides.take(4).map(|effect| quote("harmed beside it", &effect.series.to_string())));
    statement(entry, Some(id), format!("{id} {word}: {chances}{effect}"), quotes)
}

/// What was wished and never sent: the guard that held it, and how it ended.
fn held(id: ActionId, deed: &Deed<'_>) -> Option<Statement> {
    if deed.sent.is_some() {
        return None;
    }
    let (entry, at, ruling) = deed.ruling;
    let verdict = match ruling.verdict {
        Verdict::Admitted => "was let through and not sent",
        Verdict::Deferred { .. } => "was put off",
        Verdict::AwaitingApproval { .. } => "was put to a person",
        Verdict::Shadowed => "was only watched",
        Verdict::Denied => "was refused",
    };
    let mut quotes = vec![wish(deed.proposal)];
    quotes.extend(deciding(ruling));
    quotes.extend(origin(deed.proposal));
    let end = deed.closed.map_or_else(String::new, |(entry, when, _)| format!("; closed at {} (entry {entry})", moment(when)));
    quotes.extend(deed.closed.map(|(_, _, why)| quote("closed because", why)));
    Some(statement((entry, at), Some(id), format!("{id} {verdict}{end}"), quotes))
}

/// The guard that decided, and its words.
pub(super) fn deciding(ruling: &Ruling) -> Option<Quote> {
    let reason = ruling.decided_by()?;
    Some(quote(&format!("decided by {}", clean(&reason.guard)), &reason.text))
}

fn natural(id: ActionId, deed: &Deed<'_>) -> Option<Statement> {
    let (entry, at, score) = deed.scored?;
    // A chance that rests on nobody's watching says nothing.
    let natural = score.natural.filter(|natural| natural.at_risk > 0)?;
    let text = format!(
        "left alone it goes by itself with a chance of {:.0} % in the judged time ({} earlier episodes that had lasted {} as well)",
        natural.odds * 100.0,
        natural.at_risk,
        natural.lasted
    );
    Some(statement((entry, at), Some(id), text, Vec::new()))
}

fn cost(entries: &[&Entry]) -> Option<Cost> {
    let mut sum = Spending::default();
    let mut rests_on = Vec::new();
    for entry in entries {
        if let EntryBody::Effect(Record::Spent { spending, .. }) = &entry.body {
            sum.add(spending);
            rests_on.push(entry.seq);
        }
    }
    rests_on.first()?;
    let Spending { joules, euros, disruption, boots, evictions, tokens, .. } = sum;
    Some(Cost { kwh: joules / JOULES_PER_KWH, euros, disruption, boots, evictions, tokens, entries: rests_on })
}

/// One suggestion per thing that was done to the world, by the rules of the digest.
fn fixes_of(incident: &Incident, deeds: &BTreeMap<ActionId, Deed<'_>>) -> Vec<Statement> {
    let every = every(incident);
    let mut by_text: BTreeMap<String, Statement> = BTreeMap::new();
    let acted = |deed: &Deed<'_>| deed.sent.is_some_and(|(_, _, class)| class > Class::Notify);
    let any_acted = deeds.values().any(acted);
    // Where nothing was done but telling people, the direction comes from what was told.
    for (id, deed) in deeds.iter().filter(|(_, deed)| acted(deed) || !any_acted) {
        let proposal = deed.proposal;
        let policy = proposal.origin.policy().cloned().unwrap_or_else(|| PolicyId::from(OPERATOR));
        let key = BeliefKey { policy, verb: proposal.verb.clone(), target_class: proposal.target.kind().into() };
        let by_claim = proposal.claim.as_ref().and_then(|claim| match &claim.subject {
            ClaimSubject::Series { series, relation, .. } => Some((&*series.metric, *relation)),
            _ => None,
        });
        let text = fixes::fix(&key, &proposal.target, by_claim, every.as_deref(), *id);
        by_text.entry(text.clone()).or_insert_with(|| statement(deed.ruled, Some(*id), "by what is known", vec![quote("fix", &text)]));
    }
    by_text.into_values().collect()
}

/// The middle time between the beginnings at this place, in words, if there were others.
fn every(incident: &Incident) -> Option<String> {
    let starts: Vec<Time> = incident.earlier.iter().copied().chain([incident.started]).collect();
    let mut apart: Vec<Span> = starts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    apart.sort_unstable();
    let minutes = apart.get(apart.len() / 2)?.millis() / 60_000;
    Some(Span::from_mins(if minutes > 2_880 { minutes / 60 * 60 } else { minutes.max(1) }).to_string())
}

/// An order about an action.
pub(super) fn ordered(command: &Command) -> Option<(ActionId, &'static str)> {
    match command {
        Command::Approve { action, .. } => Some((*action, "yes to")),
        Command::Deny { action } => Some((*action, "no to")),
        Command::Never { action } => Some((*action, "no, and never again, to")),
        _ => None,
    }
}

/// Whether a note in the journal is about an action's end.
pub(super) fn withdrawn(noted: &Noted) -> Option<(ActionId, &str)> {
    match noted {
        Noted::Withdrawn { action, why } => Some((*action, why)),
        _ => None,
    }
}

/// Whether a person wished it.
pub(super) fn by_person(origin: &Origin) -> bool {
    matches!(origin, Origin::Operator(_))
}
