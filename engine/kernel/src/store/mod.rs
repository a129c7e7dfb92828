//! The store: bounded time windows of every series, in memory, and PromQL selectors over them.
//!
//! **Data flow.** [`Store::append`] takes an observation; numbers of the sensor's dictionary become series; values go to the head
//! of a *group* (series that share their stamps: a sensor's row, a cohort, or one series alone); full heads are sealed into
//! compressed chunks with summaries. [`Store::select`] finds series, [`Store::last`] and [`Store::window`] read them.
//!
//! **What is a sample.** A NaN is no number: neither Prometheus' stale marker nor an ordinary NaN is stored as a value. Both end
//! the series until its next sample, exactly as being absent from a complete row does. So no answer is ever `Value(NaN)`; an
//! operation whose result would be NaN (`Inf - Inf`) says `NoData`.
//!
//! **Staleness.** The newest sample is current while its age is at most 2.5 of the sensor's intervals, at least one second
//! ([`read::staleness`]); then `last` is `Stale(age)`. A series that ended is `NoData` at once. A blind sensor's series go stale by age.
//!
//! **Time.** Windows are left-open and right-closed, `(now - span, now]`, as in Prometheus 3. Each [`Read`] carries `valid_until`:
//! without new samples, the answer is the same at every moment before it.
//!
//! Deliberately absent: clocks, IO, threads, and answers that depend on when something was sealed, decoded or dropped (what
//! retention drops, no window may see). An editor breaks this module by reading a group's members by position after a sweep, by
//! letting NaN into a head, or by changing what a read would say without calling `fresh` or raising the index generation.

mod append;
mod chunk;
mod codec;
mod dictionary;
mod group;
pub mod hash;
mod index;
mod memory;
mod moments;
pub mod read;
pub mod selector;
mod standing;
mod symbols;
mod trend;
pub mod window;

#[cfg(test)]
mod tests;

pub use index::SeriesRef;
pub use read::Read;
pub use selector::{Selector, SelectorError};
pub use standing::{Change, SelectionId};
pub use window::Window;

use chunk::Scratch;
use codec::ROWS_MAX;
use dictionary::Sensor;
use group::Group;
use homeostat_model::{SensorId, SeriesKey, StoreSettings, Time};
use index::Index;
use std::collections::BTreeMap;

/// Rows of a chunk. More rows pack better and cost more head memory and longer partial decodes.
pub const CHUNK_ROWS: usize = 120;

/// A limit that was reached, for the journal and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// Which: `dictionary`, `owner`, `series_max`, `labels_max`, `label_bytes_max`, `memory_bytes_max` or `stamps`.
    pub limit: &'static str,
    /// What was refused, dropped or shed, and what was expected.
    pub detail: String,
}

/// What became of an observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples that were stored.
    pub samples: u64,
    /// Samples too old for the head, older than the retention, or too far ahead of the observation.
    pub out_of_order: u64,
    /// Samples whose series had a value at that stamp already; the first wins.
    pub duplicates: u64,
    /// NaN: stale markers, and sources that say they have no number.
    pub not_numbers: u64,
    /// Samples of series that were refused or shed, or whose number nobody declared.
    pub refused_samples: u64,
    /// Declared series that were refused.
    pub refused_series: u64,
    /// Series dropped for memory.
    pub shed_series: u64,
    /// Limits that were reached, in the order in which they were; at most 16.
    pub limits: Vec<LimitReached>,
    /// Whether series appeared or disappeared, or a sensor's interval changed: cached selections and reads are void.
    pub index_changed: bool,
    /// Of it: a sensor's interval changed or windows were shortened, so that every read is void.
    pub reads_void: bool,
}

impl Appended {
    fn limit(&mut self, limit: &'static str, detail: String) {
        // One observation can refuse very many series; the counters have them all.
        const LIMITS_MAX: usize = 16;
        if self.limits.len() < LIMITS_MAX {
            self.limits.push(LimitReached { limit, detail });
        }
    }
}

/// How much there is, and what was lost since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series with samples.
    pub series: u64,
    /// Series with samples, and series only declared.
    pub series_known: u64,
    /// Groups of series that share their stamps.
    pub groups: u64,
    /// Samples held.
    pub samples: u64,
    /// Memory in all, in bytes.
    pub bytes: u64,
    /// Of it: uncompressed heads.
    pub head_bytes: u64,
    /// Of it: sealed chunks.
    pub sealed_bytes: u64,
    /// Of it: identities, labels, dictionaries.
    pub index_bytes: u64,
    /// Samples stored since the start.
    pub appended: u64,
    /// Samples refused since the start because of their stamps.
    pub out_of_order: u64,
    /// Duplicates since the start.
    pub duplicates: u64,
    /// NaN since the start.
    pub not_numbers: u64,
    /// Samples of refused, shed or unknown series since the start.
    pub refused_samples: u64,
    /// Series refused since the start.
    pub refused_series: u64,
    /// Series shed for memory since the start.
    pub shed_series: u64,
    /// Chunks dropped for memory before their retention since the start.
    pub shortened_chunks: u64,
}

/// What became of a request for a standing selection.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It stands.
    Selection(SelectionId),
    /// There is no room: what it names at this moment.
    Loose(Selector, Vec<SeriesRef>),
}

/// All windows.
pub struct Store {
    settings: StoreSettings,
    rows_max: usize,
    index: Index,
    groups: Vec<Group>,
    groups_free: Vec<u32>,
    sensors: Vec<Sensor>,
    sensors_by_id: BTreeMap<SensorId, u32>,
    scratch: Scratch,
    /// Row samples whose series is not yet in the row's group; kept for its memory.
    pending: Vec<u32>,
    /// The order of stamped samples by time; kept for its memory.
    order: Vec<u32>,
    /// Bytes of all groups.
    group_bytes: usize,
    /// Bytes of all sensors and their dictionaries.
    dictionary_bytes: usize,
    sweep_at: i64,
    is_full: bool,
    totals: StoreStats,
}

impl Store {
    /// An empty store.
    pub fn new(settings: StoreSettings) -> Store {
        Store::with_chunk_rows(settings, CHUNK_ROWS)
    }

    /// An empty store with chunks of another size (2 to 128 rows), for tests and measurements.
    pub fn with_chunk_rows(settings: StoreSettings, rows: usize) -> Store {
        Store {
            settings,
            rows_max: rows.clamp(2, ROWS_MAX),
            index: Index::default(),
            groups: Vec::new(),
            groups_free: Vec::new(),
            sensors: Vec::new(),
            sensors_by_id: BTreeMap::new(),
            scratch: Scratch::default(),
            pending: Vec::new(),
            order: Vec::new(),
            group_bytes: 0,
            dictionary_bytes: 0,
            sweep_at: i64::MIN,
            is_full: false,
            totals: StoreStats::default(),
        }
    }

    /// Other limits from now on. Series that were shed for memory are taken again.
    pub fn reconfigure(&mut self, settings: StoreSettings) {
        // What the old retention has dropped stays dropped; a longer window says NoData or shows its coverage.
        self.settings = settings;
        self.sweep_at = i64::MIN;
        self.is_full = false;
        self.take_shed_again();
    }

    /// The limits.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// The metrics' names of all series that are kept, in order. Costs as much as there are metrics, not series.
    pub fn metrics(&self) -> Vec<String> {
        self.index.metrics()
    }

    /// Live series (with a sample within the retention) that the selector selects, in order of their keys.
    pub fn select(&self, selector: &Selector) -> Vec<SeriesRef> {
        self.index.select(selector)
    }

    /// The standing selection of a selector's text, kept right from now on; its series if there is no room for one more.
    ///
    /// # Errors
    /// The text is no selector.
    pub fn stand(&mut self, text: &str) -> Result<Standing, SelectorError> {
        if let Some(id) = self.index.standing.find(text) {
            return Ok(Standing::Selection(id));
        }
        let selector = Selector::parse(text)?;
        let series = self.index.select(&selector);
        if !self.index.standing.has_room() {
            return Ok(Standing::Loose(selector, series));
        }
        Ok(Standing::Selection(self.index.standing.add(text, selector, series)))
    }

    /// A standing selection's selector and its series, in order of their keys.
    pub fn selection(&self, id: SelectionId) -> Option<(&Selector, &[SeriesRef])> {
        self.index.standing.get(id)
    }

    /// Notes which selections a user uses now instead of those before.
    pub fn set_selections(&mut self, user: u32, before: &[SelectionId], now: &[SelectionId]) {
        self.index.standing.set_user(user, before, now);
    }

    /// The fed selection of a selector: what comes and goes in it from now on is in [`Store::take_changes`]. There is always room for it.
    pub fn feed(&mut self, text: &str, selector: &Selector) -> SelectionId {
        let id = self.index.standing.find(text).unwrap_or_else(|| {
            let series = self.index.select(selector);
            self.index.standing.add(text, selector.clone(), series)
        });
        self.index.standing.feed(id);
        id
    }

    /// Takes [`Store::feed`] back.
    pub fn unfeed(&mut self, id: SelectionId) {
        self.index.standing.unfeed(id);
    }

    /// Takes what has changed in standing selections since the last time: who uses a changed one (with repeats), and what came and went
    /// in fed ones.
    pub fn take_changes(&mut self, users: &mut Vec<u32>) -> Vec<Change> {
        let mut changes = self.index.standing.take_changes(users);
        for change in &mut changes {
            change.added.sort_unstable_by(|a, b| self.index.compare(a.slot() as u32, b.slot() as u32));
        }
        changes
    }

    /// Drops standing selections that nobody uses and that do not fit; not during an evaluation.
    pub fn trim_selections(&mut self) {
        self.index.standing.trim();
    }

    /// Series that were tested against selectors since the start: what selecting has cost.
    pub fn selector_tests(&self) -> u64 {
        self.index.tests()
    }

    /// Estimated memory of standing selections, in bytes; it is not part of the cap.
    pub fn selection_bytes(&self) -> usize {
        self.index.standing.bytes()
    }

    /// Changes when a series appears or disappears or reads are void for another reason, so that callers can keep selections.
    pub fn index_generation(&self) -> u64 {
        self.index.generation
    }

    /// The identity of a series; `None` once it is forgotten.
    pub fn key(&self, series: SeriesRef) -> Option<SeriesKey> {
        self.index.slot(series).map(|slot| self.index.key(slot))
    }

    /// One label's value; `__name__` gives the metric's name.
    pub fn label(&self, series: SeriesRef, name: &str) -> Option<&str> {
        self.index.label(self.index.slot(series)?, name)
    }

    /// The series of an identity: live, or declared by a sensor and without samples.
    pub fn find(&self, key: &SeriesKey) -> Option<SeriesRef> {
        self.index.find(key).map(|slot| self.index.reference(slot))
    }

    /// Marks a series as a policy's input: it is never shed for memory.
    pub fn protect(&mut self, series: SeriesRef) {
        if let Some(slot) = self.index.slot(series) {
            self.index.get_mut(slot).is_protected = true;
        }
    }

    /// Takes all protection back, before the inputs of other policies are protected.
    pub fn unprotect_all(&mut self) {
        let slots: Vec<u32> = self.index.slots().collect();
        slots.into_iter().for_each(|slot| self.index.get_mut(slot).is_protected = false);
    }

    /// Notes that a series was read: the least recently read are shed first.
    pub fn touch(&mut self, series: SeriesRef, now: Time) {
        if let Some(slot) = self.index.slot(series) {
            let read_at = &mut self.index.get_mut(slot).read_at;
            *read_at = now.0.max(*read_at);
        }
    }

    /// How much there is. Walks all groups.
    pub fn stats(&self) -> StoreStats {
        let sum = |of: fn(&Group) -> u64| self.groups.iter().map(of).sum::<u64>();
        StoreStats {
            series: self.index.live() as u64,
            series_known: self.index.used() as u64,
            groups: (self.groups.len() - self.groups_free.len()) as u64,
            samples: sum(|group| group.samples),
            bytes: self.bytes() as u64,
            head_bytes: sum(|group| group.head_bytes() as u64),
            sealed_bytes: sum(|group| group.sealed_bytes as u64),
            index_bytes: self.index_bytes() as u64,
            ..self.totals
        }
    }
}
