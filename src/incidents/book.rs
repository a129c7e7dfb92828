//! Journal entries in, incidents out: which entries belong to which, and whether it is over.
//!
//! An incident is what was heard about one place (`place`): alerts, and wishes of policies with everything that became of them. It
//! begins with an alert that fires or a wish that is more than watched; it is over when no alert of it fires and no action of it is
//! open, and stays so for [`QUIET`]: what comes back within that is the same incident. Entries are taken in order, one by one, so that
//! the daemon goes on where it was and the command line comes to the same from the whole journal. Deliberately absent: texts (`note`),
//! and causes over several places. An editor breaks this by a rule that depends on where reading began, or on the wall clock: numbers
//! of incidents must stay.

use super::place;
use super::text::clean_to;
use homeostat_kernel::about::of_alert;
use homeostat_kernel::ledger::Phase;
use homeostat_model::{
    ActionId, AlertDelivery, AlertStatus, ClaimSubject, Command, Entry, EntryBody, Event, Origin, Outcome, Proposal, Record, Ruling, Span,
    Target, Time, Verdict,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What comes back within this time after the end is the same incident.
pub const QUIET: Span = Span::from_mins(15);
/// An incident of which nothing is heard for so long is over, although something of it is open: as long as the kernel remembers a
/// silent alert.
pub const SILENT_MAX: Span = Span::from_hours(24);
/// A score may come so long after the end; a note that is written once waits for it.
pub const SCORES_WAIT: Span = Span::from_hours(2);
/// Incidents that are over; the oldest go first.
const CLOSED_MAX: usize = 1_000;
/// Incidents at once; more are counted.
const OPEN_MAX: usize = 500;
/// Entries of one incident; more are counted.
pub const ENTRIES_MAX: usize = 600;
/// Alerts of one incident that are told apart; more are taken as heard.
const ALERTS_MAX: usize = 1_000;
/// Actions of one incident.
const ACTIONS_MAX: usize = 300;
/// Earlier beginnings at the same place that are remembered.
const EARLIER_MAX: usize = 20;
/// A sender's "since" is believed so far back.
const STARTED_BEFORE_MAX: Span = Span::from_hours(24);

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its name: `i` and the number of the entry that began it.
    pub id: String,
    /// Where: a node, a service, a pod …
    pub place: Target,
    /// What began it: an alert's name, or a policy's. Cleaned, but of others.
    pub title: String,
    /// Since when, by the sender of the alert if that is plausible.
    pub started: Time,
    /// Since when it is over; `None`: it is open.
    pub ended: Option<Time>,
    /// Whether it is over for good: nothing can join it any more.
    pub closed: bool,
    /// Whether it is over only because nothing was heard of it for long.
    pub silent: bool,
    /// Whether a score of it is still to come.
    pub awaits_scores: bool,
    /// The last that was heard of it.
    pub heard: Time,
    /// Alerts in all.
    pub alerts: usize,
    /// Alerts that were only repeated.
    pub repeats: u64,
    /// Alerts that fire.
    pub firing: usize,
    /// What was wished, in order.
    pub actions: Vec<ActionId>,
    /// The numbers of its entries, in order.
    pub entries: Vec<u64>,
    /// Entries beyond [`ENTRIES_MAX`].
    pub dropped: u64,
    /// When earlier incidents began at the same place, oldest first.
    pub earlier: Vec<Time>,
}

/// What is known of an action while its incident is.
struct Known {
    incident: u64,
    phase: Option<Phase>,
    claim: Claim,
    judged: bool,
    scored: bool,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Claim {
    None,
    Delivered,
    Visible,
}

impl Known {
    /// Whether something is still to come but a score. Nobody waits for what is only watched.
    fn is_open(&self) -> bool {
        let Some(phase) = self.phase else { return false };
        match phase {
            Phase::Shadowed => false,
            Phase::Done => self.claim == Claim::Visible && !self.judged,
            phase => phase.is_open() || phase.is_running(),
        }
    }

    fn awaits_score(&self) -> bool {
        self.claim == Claim::Visible && !self.scored && (self.judged || self.phase == Some(Phase::Done))
    }
}

/// An incident that may still grow.
struct Open {
    incident: Incident,
    firing: BTreeSet<String>,
    fingerprints: BTreeSet<String>,
}

/// All incidents of the entries taken so far; see the module.
#[derive(Default)]
pub struct Book {
    next_seq: u64,
    open: BTreeMap<u64, Open>,
    by_place: BTreeMap<Target, u64>,
    closed: VecDeque<(u64, Incident)>,
    actions: BTreeMap<ActionId, Known>,
    /// Alerts by fingerprint: whether it fires, its start, and its incident.
    alerts: BTreeMap<String, (bool, Time, u64)>,
    refused: u64,
}

impl Book {
    /// An empty one.
    pub fn new() -> Book {
        Book::default()
    }

    /// The number of the next entry to be taken.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Incidents that were not begun because too many were open.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// All incidents, the newest first.
    pub fn incidents(&self) -> Vec<&Incident> {
        let mut all: Vec<&Incident> = self.closed.iter().map(|(_, incident)| incident).collect();
        all.extend(self.open.values().map(|open| &open.incident));
        all.sort_by_key(|incident| std::cmp::Reverse((incident.entries.first().copied(), incident.started)));
        all
    }

    /// One incident by its name; `latest`: the newest one.
    ///
    /// # Errors
    /// What there is instead.
    pub fn find(&self, id: &str) -> Result<&Incident, String> {
        let all = self.incidents();
        if id == "latest" {
            return all.first().copied().ok_or_else(|| "the journal has no incident".to_owned());
        }
        all.iter().find(|incident| incident.id == id).copied().ok_or_else(|| {
            let newest: Vec<&str> = all.iter().take(5).map(|incident| incident.id.as_str()).collect();
            let newest = if newest.is_empty() { "there is none".into() } else { format!("the newest are {}", newest.join(", ")) };
            format!("there is no incident `{}`: {newest}; `homeostat incident list` has all", clean_to(id, 40))
        })
    }

    /// Takes in the next entry; one that was taken already is left out.
    pub fn take(&mut self, entry: &Entry) {
        if entry.seq < self.next_seq {
            return;
        }
        self.next_seq = entry.seq + 1;
        self.close(entry.at);
        match &entry.body {
            EntryBody::Event(Event::Alerted(delivery)) => self.alerted(entry, delivery),
            EntryBody::Event(Event::Settled(id, outcome)) => self.settled(entry, *id, outcome),
            EntryBody::Event(Event::Reverted(id, _)) => self.note_action(entry, *id, |_| ()),
            EntryBody::Event(Event::Ordered(ordered)) => match &ordered.command {
                Command::Approve { action, .. } | Command::Deny { action } | Command::Never { action } => {
                    self.note_action(entry, *action, |_| ());
                }
                Command::Pause { .. } | Command::Resume => self.note_all(entry),
                _ => {}
            },
            EntryBody::Event(Event::Started { .. } | Event::Distrusted { .. }) => self.note_all(entry),
            EntryBody::Event(_) => {}
            EntryBody::Effect(Record::Ruled { action, proposal, ruling, .. }) => self.ruled(entry, *action, proposal, ruling),
            EntryBody::Effect(Record::Tripped(trip)) => {
                if let Some(number) = self.by_place.get(&place::place(&trip.target)).copied() {
                    self.join(number, entry, true);
                }
            }
            EntryBody::Effect(record) => self.recorded(entry, record),
        }
    }

    /// Closes what has been over for long enough at this moment.
    pub fn close(&mut self, now: Time) {
        let over = |open: &Open| match open.incident.ended {
            Some(ended) => now.since(ended) >= QUIET,
            None => now.since(open.incident.heard) >= SILENT_MAX,
        };
        let done: Vec<u64> = self.open.iter().filter(|(_, open)| over(open)).map(|(number, _)| *number).collect();
        for number in done {
            let Some(Open { mut incident, fingerprints, .. }) = self.open.remove(&number) else { continue };
            self.by_place.remove(&incident.place);
            for fingerprint in fingerprints {
                self.alerts.remove(&fingerprint);
            }
            incident.silent = incident.ended.is_none();
            incident.ended = incident.ended.or(Some(incident.heard));
            incident.closed = true;
            incident.firing = 0;
            self.closed.push_back((number, incident));
        }
        while self.closed.len() > CLOSED_MAX {
            if let Some((number, _)) = self.closed.pop_front() {
                self.actions.retain(|_, known| known.incident != number);
            }
        }
    }

    fn alerted(&mut self, entry: &Entry, delivery: &AlertDelivery) {
        for alert in &delivery.alerts {
            let firing = alert.status == AlertStatus::Firing;
            let known = self.alerts.get(&alert.fingerprint).copied();
            // As the kernel tells news from repeats: deliveries have no order.
            let news = known.is_none_or(|(was_firing, starts_at, _)| {
                let same = starts_at == alert.starts_at && was_firing == firing;
                let reopened = starts_at == alert.starts_at && !was_firing && firing;
                !(same || reopened || alert.starts_at < starts_at)
            });
            match known {
                Some((_, _, number)) if !news => {
                    if let Some(open) = self.open.get_mut(&number) {
                        open.incident.repeats += 1;
                        open.incident.heard = entry.at;
                    }
                    continue;
                }
                // The end of something that was never heard of.
                None if !firing => continue,
                _ => {}
            }
            let where_ = place::place(&of_alert(alert));
            let begun = if alert.starts_at <= entry.at && entry.at.since(alert.starts_at) <= STARTED_BEFORE_MAX {
                alert.starts_at
            } else {
                entry.at
            };
            let number = known.map(|(_, _, number)| number).filter(|number| self.open.contains_key(number));
            let number = number.or_else(|| self.by_place.get(&where_).copied());
            let Some(number) = number.or_else(|| self.begin(entry, where_, begun, &format!("alert {}", alert.name))) else { continue };
            let Some(open) = self.open.get_mut(&number) else { continue };
            if !open.fingerprints.contains(&alert.fingerprint) && open.fingerprints.len() >= ALERTS_MAX {
                open.incident.repeats += 1;
                continue;
            }
            if open.fingerprints.insert(alert.fingerprint.clone()) {
                open.incident.alerts += 1;
            }
            if firing {
                open.firing.insert(alert.fingerprint.clone())
            } else {
                open.firing.remove(&alert.fingerprint)
            };
            open.incident.firing = open.firing.len();
            self.alerts.insert(alert.fingerprint.clone(), (firing, alert.starts_at, number));
            self.join(number, entry, true);
        }
    }

    /// The incident of a wish: that of its action, its alert, its run, or of what its symptom or its target is about.
    fn incident_of(&self, action: ActionId, proposal: &Proposal) -> Option<u64> {
        if let Some(known) = self.actions.get(&action) {
            return Some(known.incident);
        }
        let by_origin = match &proposal.origin {
            Origin::Alert(_, fingerprint) => self.alerts.get(fingerprint).map(|(_, _, number)| *number),
            other => other.run().and_then(|run| Some(self.actions.get(&run)?.incident)),
        };
        let at = |target: &Target| self.by_place.get(&place::place(target)).copied();
        by_origin.or_else(|| at(&place::of_symptom(&proposal.symptom)?)).or_else(|| at(&proposal.target))
    }

    fn ruled(&mut self, entry: &Entry, action: ActionId, proposal: &Proposal, ruling: &Ruling) {
        let opens = matches!(proposal.origin, Origin::Policy(_) | Origin::Alert(..)) && ruling.verdict != Verdict::Shadowed;
        let where_ = || place::place(&place::of_symptom(&proposal.symptom).unwrap_or_else(|| proposal.target.clone()));
        let number = self.incident_of(action, proposal).or_else(|| {
            let policy = proposal.origin.policy().filter(|_| opens)?;
            self.begin(entry, where_(), entry.at, &format!("policy {policy}"))
        });
        let Some(number) = number else { return };
        let claim = match proposal.claim.as_ref().map(|claim| &claim.subject) {
            None => Claim::None,
            Some(ClaimSubject::Delivered) => Claim::Delivered,
            Some(_) => Claim::Visible,
        };
        if !self.actions.contains_key(&action) {
            let Some(incident) = self.incident_mut(number) else { return };
            if incident.actions.len() >= ACTIONS_MAX {
                incident.dropped += 1;
                return;
            }
            incident.actions.push(action);
        }
        let known = self.actions.entry(action).or_insert(Known { incident: number, phase: None, claim, judged: false, scored: false });
        known.claim = claim;
        moved(
            known,
            match &entry.body {
                EntryBody::Effect(record) => record,
                EntryBody::Event(_) => return,
            },
        );
        self.join(number, entry, true);
    }

    fn settled(&mut self, entry: &Entry, id: ActionId, outcome: &Outcome) {
        self.note_action(entry, id, |known| {
            if let Some(Ok(phase)) = known.phase.map(|phase| phase.settled(outcome)) {
                known.phase = Some(phase);
            }
        });
    }

    fn recorded(&mut self, entry: &Entry, record: &Record) {
        let Some(id) = record.action() else { return };
        self.note_action(entry, id, |known| match record {
            Record::Judged { .. } => known.judged = true,
            Record::Scored { .. } => known.scored = true,
            Record::Settled { outcome, .. } => {
                known.phase = Some(match outcome {
                    Outcome::Done(_) => Phase::Done,
                    _ => Phase::NotDone { never_started: false },
                });
            }
            record => moved(known, record),
        });
    }

    fn note_action(&mut self, entry: &Entry, id: ActionId, change: impl FnOnce(&mut Known)) {
        let Some(known) = self.actions.get_mut(&id) else { return };
        change(known);
        let number = known.incident;
        self.join(number, entry, false);
    }

    fn note_all(&mut self, entry: &Entry) {
        let open: Vec<u64> = self.open.iter().filter(|(_, open)| open.incident.ended.is_none()).map(|(number, _)| *number).collect();
        open.into_iter().for_each(|number| self.join(number, entry, false));
    }

    fn begin(&mut self, entry: &Entry, place: Target, started: Time, title: &str) -> Option<u64> {
        if self.open.len() >= OPEN_MAX {
            self.refused += 1;
            return None;
        }
        let number = self.free_number(entry.seq);
        let mut earlier: Vec<Time> =
            self.closed.iter().rev().filter(|(_, old)| old.place == place).take(EARLIER_MAX).map(|(_, old)| old.started).collect();
        earlier.reverse();
        let incident = Incident {
            id: name_of(number),
            place: place.clone(),
            title: clean_to(title, 120),
            started,
            ended: None,
            closed: false,
            silent: false,
            awaits_scores: false,
            heard: entry.at,
            alerts: 0,
            repeats: 0,
            firing: 0,
            actions: Vec::new(),
            entries: Vec::new(),
            dropped: 0,
            earlier,
        };
        self.by_place.insert(place, number);
        self.open.insert(number, Open { incident, firing: BTreeSet::new(), fingerprints: BTreeSet::new() });
        Some(number)
    }

    /// One delivery may begin several: the entry's number, and which of its incidents.
    fn free_number(&self, seq: u64) -> u64 {
        let first = seq.saturating_mul(ONE_ENTRY);
        (first..first + ONE_ENTRY - 1).find(|number| !self.open.contains_key(number)).unwrap_or(first + ONE_ENTRY - 1)
    }

    fn incident_mut(&mut self, number: u64) -> Option<&mut Incident> {
        match self.open.get_mut(&number) {
            Some(open) => Some(&mut open.incident),
            None => self.closed.iter_mut().rev().find(|(known, _)| *known == number).map(|(_, incident)| incident),
        }
    }

    /// Writes an entry down with its incident, and looks whether that is over. `wakes`: it is news of the world, not only an answer.
    fn join(&mut self, number: u64, entry: &Entry, wakes: bool) {
        let states = |incident: &Incident| {
            let known = || incident.actions.iter().filter_map(|id| self.actions.get(id));
            (known().any(Known::is_open), known().any(Known::awaits_score))
        };
        let (is_acting, awaits_scores) = match self.open.get(&number) {
            Some(open) => states(&open.incident),
            None => self.closed.iter().rev().find(|(known, _)| *known == number).map_or((false, false), |(_, incident)| states(incident)),
        };
        let Some(incident) = self.incident_mut(number) else { return };
        if incident.entries.last() != Some(&entry.seq) {
            if incident.entries.len() < ENTRIES_MAX { incident.entries.push(entry.seq) } else { incident.dropped += 1 }
        }
        incident.awaits_scores = awaits_scores;
        if incident.closed {
            return;
        }
        incident.heard = entry.at;
        let is_over = incident.firing == 0 && !is_acting;
        incident.ended = match incident.ended {
            _ if !is_over => None,
            Some(ended) if !wakes => Some(ended),
            _ => Some(entry.at),
        };
    }
}

/// Incidents that one entry can begin.
const ONE_ENTRY: u64 = 1_000;

fn name_of(number: u64) -> String {
    match (number / ONE_ENTRY, number % ONE_ENTRY) {
        (seq, 0) => format!("i{seq}"),
        (seq, nth) => format!("i{seq}-{nth}"),
    }
}

fn moved(known: &mut Known, record: &Record) {
    if !matches!(record, Record::Ruled { .. } | Record::Act { .. } | Record::Probe { .. } | Record::Closed { .. }) {
        return;
    }
    if let Ok(phase) = Phase::after(known.phase, record) {
        known.phase = Some(phase);
    }
}
