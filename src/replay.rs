//! Replays a journal: the same events through the same kernel, its effects compared with those that were written.
//!
//! Each start of the daemon is one run: the kernel begins with what the journal knew then. Nothing is sent and nothing is written.
//! Exact equality is promised for equal builds; where builds differ the report says so. An editor breaks this by giving replay a
//! second way to make or feed a kernel.

use crate::boot;
use crate::driver::build_id;
use crate::journal::{JournalError, JournalReader};
use homeostat_kernel::Kernel;
use homeostat_model::{Entry, EntryBody, Event, Record, StoreSettings, Time};
use serde::Serialize;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Where a replay went another way than the journal.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The entry's number.
    pub seq: u64,
    /// Its time.
    pub at: Time,
    /// What the journal says.
    pub journal: String,
    /// What the replay says.
    pub replay: String,
}

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Starts of the daemon that were replayed.
    pub runs: u64,
    /// Events that were handled.
    pub events: u64,
    /// Of these, reads.
    pub observations: u64,
    /// Effects that were compared and found equal.
    pub effects_equal: u64,
    /// The first difference.
    pub first_difference: Option<Difference>,
    /// What limits the promise: other builds, missing samples, unreadable entries.
    pub notes: Vec<String>,
}

struct Run {
    kernel: Kernel,
    produced: VecDeque<Record>,
}

/// Replays from the first start at or after `from_seq`.
///
/// # Errors
/// The journal cannot be read.
pub fn replay(dir: &Path, from_seq: u64) -> Result<Replayed, JournalError> {
    let reader = JournalReader::open(dir)?;
    let starts = starts(&reader);
    let mut report = Replayed::default();
    let mut run: Option<Run> = None;
    for entry in reader.entries(from_seq)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                report.notes.push(format!("an entry cannot be read: {error}"));
                continue;
            }
        };
        if let EntryBody::Event(Event::Started { build, .. }) = &entry.body {
            finish(&mut run, &entry, &mut report);
            if build != build_id() {
                report.notes.push(format!("entry {}: written by build {build}, this is {}; effects may differ", entry.seq, build_id()));
            }
            let store = starts.iter().find(|(seq, _)| *seq == entry.seq).map(|(_, store)| store.clone()).unwrap_or_default();
            let kernel = boot::recover(dir, &store, entry.at, Some(entry.seq))?.kernel;
            run = Some(Run { kernel, produced: VecDeque::new() });
            report.runs += 1;
        }
        let Some(current) = &mut run else { continue };
        if let Some(difference) = current.take(entry, &mut report) {
            report.first_difference = Some(difference);
            return Ok(report);
        }
    }
    if let Some(left) = run.and_then(|mut run| run.produced.pop_front()) {
        report.notes.push(format!("the journal ends before the effect `{}` of its last event", left.name()));
    }
    if report.runs == 0 {
        report.notes.push(format!("there is no start of the daemon at or after entry {from_seq}"));
    }
    Ok(report)
}

/// The numbers of all starts, each with the store settings that were loaded after it.
fn starts(reader: &JournalReader) -> Vec<(u64, StoreSettings)> {
    let mut starts: Vec<(u64, StoreSettings)> = Vec::new();
    let mut waiting = false;
    for entry in reader.events_and_effects(0).flatten() {
        match entry.body {
            EntryBody::Event(Event::Started { .. }) => {
                starts.push((entry.seq, StoreSettings::default()));
                waiting = true;
            }
            EntryBody::Event(Event::Loaded(rules)) if waiting => {
                if let Some(last) = starts.last_mut() {
                    last.1 = rules.store;
                }
                waiting = false;
            }
            _ => {}
        }
    }
    starts
}

/// At the next start, what the last run still had to say was lost with the daemon: a crash between event and effect.
fn finish(run: &mut Option<Run>, next: &Entry, report: &mut Replayed) {
    if let Some(left) = run.take().and_then(|mut run| run.produced.pop_front()) {
        report.notes.push(format!("before entry {}: the daemon stopped before it wrote the effect `{}`", next.seq, left.name()));
    }
}

impl Run {
    fn take(&mut self, entry: Entry, report: &mut Replayed) -> Option<Difference> {
        match entry.body {
            EntryBody::Event(event) => {
                if let Some(extra) = self.produced.pop_front() {
                    return Some(difference(entry.seq, entry.at, &format!("event {}", event.name()), &text(&extra)));
                }
                report.events += 1;
                let name = event.name();
                let handled = catch_unwind(AssertUnwindSafe(|| match event {
                    Event::Observed(observation) => {
                        report.observations += 1;
                        self.kernel.handle_observed(entry.at, &observation);
                    }
                    other => self.kernel.handle(entry.at, other),
                }));
                if handled.is_err() {
                    report.notes.push(format!("entry {}: the kernel panics at this `{name}`, as it did live", entry.seq));
                    self.produced.clear();
                    return None;
                }
                while let Some(effect) = self.kernel.poll_effect() {
                    self.produced.push_back(effect.record());
                }
                None
            }
            EntryBody::Effect(record) => {
                let replayed = self.produced.pop_front().map_or_else(|| "nothing".to_owned(), |record| text(&record));
                let journal = text(&record);
                if replayed == journal {
                    report.effects_equal += 1;
                    return None;
                }
                Some(difference(entry.seq, entry.at, &journal, &replayed))
            }
        }
    }
}

fn text(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| format!("unwritable: {error}"))
}

fn difference(seq: u64, at: Time, journal: &str, replay: &str) -> Difference {
    Difference { seq, at, journal: journal.to_owned(), replay: replay.to_owned() }
}
