//! Standing selections: which series a selector names, kept right while series come and go.
//!
//! A selection is found under its *anchor*, the most telling thing that it demands: a metric with one label's value, else the metric,
//! else nothing. When a series becomes live or ceases to be, only the selections under its own anchors are tested, so that n
//! sensors that arrive one by one do not cost n². Who uses a selection is told when it has changed; a *fed* one (`for_each`) also says
//! which series came and went. Deliberately absent: any effect on an answer. A selection always says what [`super::Store::select`]
//! would say at that moment, whether it stands since an hour or was resolved just now; so its memory is bounded here and not by the
//! store's cap, which would make what is shed depend on what was asked. An editor breaks this module by changing which series are live
//! without telling it, or by dropping a selection that somebody uses.

use super::SeriesRef;
use super::hash::{FixedHasher, FixedMap};
use super::selector::Selector;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::sync::Arc;

/// Estimated bytes of all selections; beyond it, selectors are resolved anew at each use, which costs time and changes no answer.
pub const STANDING_BYTES_MAX: usize = 128 << 20;
/// Selections that nobody uses are kept up to this number, oldest dropped first: alerts come again.
const IDLE_MAX: usize = 1_000;
/// Estimated bytes of a selection beside its texts and series: entries, matchers, users.
const SELECTION_BYTES: usize = 600;
/// Estimated bytes of a compiled regular expression.
const REGEX_BYTES: usize = 16 << 10;

/// A standing selection's number. Stays valid while somebody uses it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectionId(pub u32);

/// What became of a fed selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub selection: SelectionId,
    /// Series that came, in order of their keys.
    pub added: Vec<SeriesRef>,
    /// Series that went, in order of their references.
    pub removed: Vec<SeriesRef>,
}

struct Selection {
    text: Arc<str>,
    selector: Selector,
    /// In order of their keys.
    series: Vec<SeriesRef>,
    anchor: u64,
    /// In order.
    users: Vec<u32>,
    /// How many want to know which series came and went.
    feeds: u32,
    added: BTreeSet<SeriesRef>,
    removed: BTreeSet<SeriesRef>,
    is_changed: bool,
    is_queued: bool,
}

/// All of them.
#[derive(Default)]
pub struct Standing {
    slab: Vec<Option<Selection>>,
    free: Vec<u32>,
    by_text: FixedMap<Arc<str>, u32>,
    by_anchor: FixedMap<u64, Vec<u32>>,
    changed: Vec<u32>,
    /// Perhaps unused, oldest first.
    idle: VecDeque<u32>,
    bytes: usize,
    tests: u64,
}

impl Standing {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Series that were tested against a selection so far.
    pub fn tests(&self) -> u64 {
        self.tests
    }

    /// Estimated bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The selection of a text.
    pub fn find(&self, text: &str) -> Option<SelectionId> {
        self.by_text.get(text).map(|id| SelectionId(*id))
    }

    /// Its selector and its series, in order of their keys.
    pub fn get(&self, id: SelectionId) -> Option<(&Selector, &[SeriesRef])> {
        let selection = self.slab.get(id.0 as usize)?.as_ref()?;
        Some((&selection.selector, &selection.series))
    }

    /// Whether one more selection may stand.
    pub fn has_room(&self) -> bool {
        self.bytes < STANDING_BYTES_MAX
    }

    /// Adds the selection of a text that is not known, with the series that it names now.
    pub fn add(&mut self, text: &str, selector: Selector, series: Vec<SeriesRef>) -> SelectionId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() as u32 - 1
        });
        let text: Arc<str> = text.into();
        let anchor = self.anchor_of(&selector);
        self.by_text.insert(Arc::clone(&text), id);
        self.by_anchor.entry(anchor).or_default().push(id);
        let selection = Selection {
            text,
            selector,
            series,
            anchor,
            users: Vec::new(),
            feeds: 0,
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            is_changed: false,
            is_queued: true,
        };
        self.bytes += bytes_of(&selection);
        self.slab[id as usize] = Some(selection);
        self.idle.push_back(id);
        SelectionId(id)
    }

    /// The least crowded of the places under which a selector can be found: what tells many selections apart tells most.
    fn anchor_of(&self, selector: &Selector) -> u64 {
        let Some(metric) = selector.metric() else { return anchor("", "", "") };
        let crowd = |anchor: &u64| self.by_anchor.get(anchor).map_or(0, Vec::len);
        let places = selector.equalities().map(|(label, value)| anchor(metric, label, value));
        places.min_by_key(crowd).unwrap_or_else(|| anchor(metric, "", ""))
    }

    /// Says that a series became live or ceased to be: which anchors it has, whether a selector selects it, and how a selected series'
    /// key compares with its own.
    pub fn tell(
        &mut self,
        anchors: &[u64],
        series: SeriesRef,
        is_live: bool,
        selects: impl Fn(&Selector) -> bool,
        compare: impl Fn(SeriesRef) -> Ordering,
    ) {
        for anchor in anchors {
            let Some(ids) = self.by_anchor.get(anchor) else { continue };
            for id in ids {
                let Some(selection) = &mut self.slab[*id as usize] else { continue };
                self.tests += 1;
                if !selects(&selection.selector) {
                    continue;
                }
                match selection.series.binary_search_by(|other| compare(*other)) {
                    Err(at) if is_live => selection.series.insert(at, series),
                    Ok(at) if !is_live => drop(selection.series.remove(at)),
                    // Two of its anchors have the same hash: it was told already.
                    _ => continue,
                }
                if is_live {
                    self.bytes += size_of::<SeriesRef>()
                } else {
                    self.bytes -= size_of::<SeriesRef>()
                }
                if selection.feeds > 0 {
                    let (to, from) = match is_live {
                        true => (&mut selection.added, &mut selection.removed),
                        false => (&mut selection.removed, &mut selection.added),
                    };
                    if !from.remove(&series) {
                        to.insert(series);
                    }
                }
                if !selection.is_changed {
                    selection.is_changed = true;
                    self.changed.push(*id);
                }
            }
        }
    }

    /// Notes which selections a user uses now instead of those before; both without repeats.
    pub fn set_user(&mut self, user: u32, before: &[SelectionId], now: &[SelectionId]) {
        for id in before.iter().filter(|id| !now.contains(id)) {
            if let Some(selection) = &mut self.slab[id.0 as usize] {
                if let Ok(at) = selection.users.binary_search(&user) {
                    selection.users.remove(at);
                }
                self.rest(*id);
            }
        }
        for id in now.iter().filter(|id| !before.contains(id)) {
            if let Some(selection) = &mut self.slab[id.0 as usize]
                && let Err(at) = selection.users.binary_search(&user)
            {
                selection.users.insert(at, user);
            }
        }
    }

    /// One more that wants to know which series come and go from now on.
    pub fn feed(&mut self, id: SelectionId) {
        if let Some(selection) = &mut self.slab[id.0 as usize] {
            selection.feeds += 1;
        }
    }

    /// One fewer.
    pub fn unfeed(&mut self, id: SelectionId) {
        if let Some(selection) = &mut self.slab[id.0 as usize] {
            selection.feeds = selection.feeds.saturating_sub(1);
            if selection.feeds == 0 {
                selection.added.clear();
                selection.removed.clear();
            }
        }
        self.rest(id);
    }

    /// Queues a selection to be dropped, if nobody uses it.
    fn rest(&mut self, id: SelectionId) {
        if let Some(selection) = &mut self.slab[id.0 as usize]
            && selection.is_unused()
            && !selection.is_queued
        {
            selection.is_queued = true;
            self.idle.push_back(id.0);
        }
    }

    /// Drops what nobody uses and does not fit. Not while an evaluation runs: what that has asked for is not noted as used yet.
    pub fn trim(&mut self) {
        while self.idle.len() > IDLE_MAX || (self.bytes > STANDING_BYTES_MAX / 8 * 7 && !self.idle.is_empty()) {
            let Some(id) = self.idle.pop_front() else { return };
            let Some(selection) = &mut self.slab[id as usize] else { continue };
            selection.is_queued = false;
            if selection.is_unused() {
                self.remove(id);
            }
        }
    }

    fn remove(&mut self, id: u32) {
        let Some(selection) = self.slab[id as usize].take() else { return };
        self.bytes -= bytes_of(&selection);
        self.by_text.remove(&selection.text);
        if let Some(ids) = self.by_anchor.get_mut(&selection.anchor) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_anchor.remove(&selection.anchor);
            }
        }
        if selection.is_changed {
            self.changed.retain(|other| *other != id);
        }
        self.free.push(id);
    }

    /// Takes what has changed since the last time: everybody who uses a changed selection (with repeats, into `users`), and what came and
    /// went in the fed ones, in order of their numbers; `added` is not in order yet.
    pub fn take_changes(&mut self, users: &mut Vec<u32>) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(selection) = &mut self.slab[id as usize] else { continue };
            selection.is_changed = false;
            users.extend_from_slice(&selection.users);
            if selection.feeds > 0 {
                let added = std::mem::take(&mut selection.added).into_iter().collect();
                let removed = std::mem::take(&mut selection.removed).into_iter().collect();
                changes.push(Change { selection: SelectionId(id), added, removed });
            }
        }
        changes.sort_unstable_by_key(|change| change.selection);
        changes
    }
}

impl Selection {
    fn is_unused(&self) -> bool {
        self.users.is_empty() && self.feeds == 0
    }
}

/// The place of selections that demand a metric with a label's value; without value a metric, without metric nothing. A collision
/// costs a test and nothing else.
pub fn anchor(metric: &str, label: &str, value: &str) -> u64 {
    let mut hasher = FixedHasher::default();
    for text in [metric, label, value] {
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

fn bytes_of(selection: &Selection) -> usize {
    let regexes = selection.selector.regexes();
    SELECTION_BYTES + 4 * selection.text.len() + regexes * REGEX_BYTES + selection.series.len() * size_of::<SeriesRef>()
}
