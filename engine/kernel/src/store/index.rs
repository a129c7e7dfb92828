//! Which series there are: identities, references, look-up and selection.
//!
//! A [`SeriesRef`] is a slot and the number of times the slot has been used, so a reference to a forgotten series is never taken
//! for another one; a slot that was used too often is retired. A series is *live* while it has samples; a series that is only
//! declared keeps its slot but is not selected. *Postings* say which live series of a metric have which value of a label; they are made
//! when a selector first asks for one value of that label, and dropped when no live series has the label: its number may be another
//! text's later. Deliberately absent: samples. An editor breaks this module by changing which series are live without
//! [`Index::set_live`]: postings and standing selections would be wrong.

use super::chunk::ALLOCATION_BYTES;
use super::group::NONE;
use super::hash::{FixedHasher, FixedMap};
use super::selector::{METRIC_NAME, Selector};
use super::standing::{Standing, anchor};
use super::symbols::{Symbol, Symbols};
use homeostat_model::{Labels, SeriesKey};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;

/// Bits of a reference that number the slot; the rest counts the slot's uses.
const SLOT_BITS: u32 = 22;

/// The most series there can ever be, whatever the settings say.
pub const SLOTS_MAX: usize = 1 << SLOT_BITS;

/// So few series are tried one by one; no posting is made or looked at for them.
const FEW: usize = 32;

const USES_MAX: u32 = (1 << (32 - SLOT_BITS)) - 2;

/// A reference to a series. Stays valid until the series is forgotten, then names nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u32);

impl SeriesRef {
    /// A small dense number, for tables by series: at most one series has it at a time.
    pub fn slot(self) -> usize {
        self.0 as usize & (SLOTS_MAX - 1)
    }
}

/// One series.
pub struct Series {
    /// Metric, then label names and values in order.
    symbols: Box<[Symbol]>,
    /// The group that holds its samples; [`NONE`] if it has none.
    pub group: u32,
    /// Its number there.
    pub member: u32,
    /// Dictionary entries that name it.
    pub declared: u32,
    /// The sensor that declared it last.
    pub owner: u32,
    /// The newest explicit stale marker.
    pub marker: i64,
    /// When it was last read.
    pub read_at: i64,
    /// A policy reads it: never shed.
    pub is_protected: bool,
    /// Dropped for memory; its samples are refused until there is room.
    pub is_shed: bool,
    is_used: bool,
    uses: u32,
    next: u32,
}

/// Live series by the value of a label.
type Posting = FixedMap<Symbol, Vec<u32>>;

/// All series.
#[derive(Default)]
pub struct Index {
    symbols: Symbols,
    series: Vec<Series>,
    free: VecDeque<u32>,
    by_hash: FixedMap<u64, u32>,
    by_metric: BTreeMap<Symbol, Vec<u32>>,
    bytes: usize,
    used: usize,
    live: usize,
    /// By metric and label, as far as somebody asked.
    postings: RefCell<BTreeMap<(Symbol, Symbol), Posting>>,
    /// Series that were tested against a selector so far.
    tests: Cell<u64>,
    /// Selections that are kept right.
    pub standing: Standing,
    /// Grows when a series becomes live or ceases to be, and with `voids`.
    pub generation: u64,
    /// Grows when reads are void for another reason: an interval or a window has changed.
    pub voids: u64,
}

impl Index {
    /// The slot of a reference, if it still names a series.
    #[inline]
    pub fn slot(&self, reference: SeriesRef) -> Option<u32> {
        let slot = reference.slot();
        let series = self.series.get(slot)?;
        (series.is_used && series.uses == reference.0 >> SLOT_BITS).then_some(slot as u32)
    }

    /// The reference of a used slot.
    pub fn reference(&self, slot: u32) -> SeriesRef {
        SeriesRef(slot | self.series[slot as usize].uses << SLOT_BITS)
    }

    /// The series of a used slot.
    #[inline]
    pub fn get(&self, slot: u32) -> &Series {
        &self.series[slot as usize]
    }

    /// The series of a used slot.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> &mut Series {
        &mut self.series[slot as usize]
    }

    /// All used slots.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        (0..self.series.len() as u32).filter(|slot| self.series[*slot as usize].is_used)
    }

    /// Series with a slot: live or only declared.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Series with samples.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Estimated memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.symbols.bytes() + self.series.capacity() * size_of::<Series>()
    }

    /// The slot of a key.
    pub fn find(&self, key: &SeriesKey) -> Option<u32> {
        // Almost every key fits the array; the few with more labels take the slow road.
        let mut found = [0; 64];
        let count = 1 + 2 * key.labels.len();
        if count > found.len() {
            let found: Option<Vec<Symbol>> = texts(key).map(|text| self.symbols.find(text)).collect();
            return self.find_symbols(&found?);
        }
        for (symbol, text) in found.iter_mut().zip(texts(key)) {
            *symbol = self.symbols.find(text)?;
        }
        self.find_symbols(&found[..count])
    }

    fn find_symbols(&self, symbols: &[Symbol]) -> Option<u32> {
        let mut slot = *self.by_hash.get(&hash(symbols))?;
        while slot != NONE && *self.series[slot as usize].symbols != *symbols {
            slot = self.series[slot as usize].next;
        }
        (slot != NONE).then_some(slot)
    }

    /// Adds a series that [`Index::find`] does not know; `None` if there are no slots left.
    pub fn add(&mut self, key: &SeriesKey, owner: u32, at: i64) -> Option<u32> {
        let slot = match self.free.pop_front() {
            Some(slot) => slot,
            None if self.series.len() < SLOTS_MAX => {
                self.series.push(Series {
                    symbols: Box::default(),
                    group: NONE,
                    member: NONE,
                    declared: 0,
                    owner,
                    marker: i64::MIN,
                    read_at: at,
                    is_protected: false,
                    is_shed: false,
                    is_used: false,
                    uses: 0,
                    next: NONE,
                });
                (self.series.len() - 1) as u32
            }
            None => return None,
        };
        let symbols: Box<[Symbol]> = texts(key).map(|text| self.symbols.take(text)).collect();
        let next = self.by_hash.insert(hash(&symbols), slot).unwrap_or(NONE);
        self.bytes += series_bytes(&symbols);
        self.used += 1;
        let series = &mut self.series[slot as usize];
        let uses = series.uses;
        *series = Series {
            symbols,
            group: NONE,
            member: NONE,
            declared: 0,
            owner,
            marker: i64::MIN,
            read_at: at,
            is_protected: false,
            is_shed: false,
            is_used: true,
            uses,
            next,
        };
        Some(slot)
    }

    /// Forgets a series: its reference names nothing from now on.
    pub fn remove(&mut self, slot: u32) {
        self.set_live(slot, NONE, NONE);
        let series = &mut self.series[slot as usize];
        let symbols = std::mem::take(&mut series.symbols);
        let next = series.next;
        (series.is_used, series.uses) = (false, series.uses + 1);
        if series.uses <= USES_MAX {
            self.free.push_back(slot);
        }
        self.bytes -= series_bytes(&symbols);
        self.used -= 1;
        let hash = hash(&symbols);
        let head = self.by_hash[&hash];
        if head == slot {
            if next == NONE {
                self.by_hash.remove(&hash)
            } else {
                self.by_hash.insert(hash, next)
            };
        } else {
            let mut before = head;
            while self.series[before as usize].next != slot {
                before = self.series[before as usize].next;
            }
            self.series[before as usize].next = next;
        }
        symbols.iter().for_each(|symbol| self.symbols.give_back(*symbol));
    }

    /// Says where a series' samples are; [`NONE`] for nowhere.
    pub fn set_live(&mut self, slot: u32, group: u32, member: u32) {
        let series = &mut self.series[slot as usize];
        let was_live = series.group != NONE;
        (series.group, series.member) = (group, member);
        let metric = series.symbols[0];
        if was_live == (group != NONE) {
            return;
        }
        self.generation += 1;
        let slots = self.by_metric.entry(metric).or_default();
        if was_live {
            self.live -= 1;
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_metric.remove(&metric);
            }
        } else {
            self.live += 1;
            slots.push(slot);
        }
        self.post(slot, !was_live);
        if !self.standing.is_empty() {
            self.tell_standing(slot, !was_live);
        }
    }

    /// Says that reads are void although no series came or went.
    pub fn void_reads(&mut self) {
        self.generation += 1;
        self.voids += 1;
    }

    /// Brings the postings up to date that a series belongs to.
    fn post(&mut self, slot: u32, is_live: bool) {
        let postings = self.postings.get_mut();
        if postings.is_empty() {
            return;
        }
        let symbols = &self.series[slot as usize].symbols;
        for pair in symbols[1..].chunks_exact(2) {
            let Some(posting) = postings.get_mut(&(symbols[0], pair[0])) else { continue };
            let slots = posting.entry(pair[1]).or_default();
            if is_live {
                slots.push(slot);
                continue;
            }
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                posting.remove(&pair[1]);
            }
            if posting.is_empty() {
                postings.remove(&(symbols[0], pair[0]));
            }
        }
    }

    fn tell_standing(&mut self, slot: u32, is_live: bool) {
        let mut standing = std::mem::take(&mut self.standing);
        let symbols = &self.series[slot as usize].symbols;
        let text = |symbol: &Symbol| &**self.symbols.text(*symbol);
        let metric = text(&symbols[0]);
        let mut anchors = vec![anchor("", "", ""), anchor(metric, "", "")];
        anchors.extend(symbols[1..].chunks_exact(2).map(|pair| anchor(metric, text(&pair[0]), text(&pair[1]))));
        let selects = |selector: &Selector| self.is_selected(selector, slot);
        standing.tell(&anchors, self.reference(slot), is_live, selects, |other| self.compare(other.slot() as u32, slot));
        self.standing = standing;
    }

    /// The identity of a used slot.
    pub fn key(&self, slot: u32) -> SeriesKey {
        let symbols = &self.series[slot as usize].symbols;
        let text = |symbol: &Symbol| self.symbols.text(*symbol).clone();
        SeriesKey {
            metric: text(&symbols[0]),
            labels: Labels::new(symbols[1..].chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1])))),
        }
    }

    /// One label of a used slot; [`METRIC_NAME`] gives the metric's name.
    pub fn label(&self, slot: u32, name: &str) -> Option<&str> {
        let symbols = &self.series[slot as usize].symbols;
        if name == METRIC_NAME {
            return Some(self.symbols.text(symbols[0]));
        }
        let pair = symbols[1..].chunks_exact(2).find(|pair| **self.symbols.text(pair[0]) == *name)?;
        Some(self.symbols.text(pair[1]))
    }

    /// The metrics of all series that are kept, in order.
    pub fn metrics(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_metric.keys().map(|metric| self.symbols.text(*metric).to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Live series that a selector selects, in order of their keys.
    pub fn select(&self, selector: &Selector) -> Vec<SeriesRef> {
        let mut slots = self.candidates(selector);
        self.tests.set(self.tests.get() + slots.len() as u64);
        slots.retain(|slot| self.is_selected(selector, *slot));
        slots.sort_unstable_by(|a, b| self.compare(*a, *b));
        slots.into_iter().map(|slot| self.reference(slot)).collect()
    }

    fn is_selected(&self, selector: &Selector, slot: u32) -> bool {
        selector.matches_labels(|label| self.label(slot, label).unwrap_or(""))
    }

    /// Live series among which are all that a selector selects.
    fn candidates(&self, selector: &Selector) -> Vec<u32> {
        let Some(metric) = selector.metric() else { return self.by_metric.values().flatten().copied().collect() };
        let found = self.symbols.find(metric).and_then(|symbol| Some((symbol, self.by_metric.get(&symbol)?)));
        let Some((metric, all)) = found else { return Vec::new() };
        let mut postings = self.postings.borrow_mut();
        let mut least = (all.len(), None);
        for (label, value) in selector.equalities() {
            if least.0 <= FEW {
                break;
            }
            // A text that no series has is the value of none.
            let (Some(label), Some(value)) = (self.symbols.find(label), self.symbols.find(value)) else { return Vec::new() };
            let place = (metric, label);
            let posting = postings.entry(place).or_insert_with(|| self.posting(all, label));
            let length = posting.get(&value).map_or(0, Vec::len);
            if posting.is_empty() {
                postings.remove(&place);
            }
            if length < least.0 {
                least = (length, Some((place, value)));
            }
        }
        match least {
            (0, _) => Vec::new(),
            (_, None) => all.clone(),
            (_, Some((place, value))) => postings.get(&place).and_then(|posting| posting.get(&value)).cloned().unwrap_or_default(),
        }
    }

    fn posting(&self, slots: &[u32], label: Symbol) -> Posting {
        let mut posting = Posting::default();
        for slot in slots {
            let symbols = &self.series[*slot as usize].symbols;
            if let Some(pair) = symbols[1..].chunks_exact(2).find(|pair| pair[0] == label) {
                posting.entry(pair[1]).or_default().push(*slot);
            }
        }
        posting
    }

    /// Series that were tested against a selector so far, by a search or because they came or went.
    pub fn tests(&self) -> u64 {
        self.tests.get() + self.standing.tests()
    }

    /// The order of two series' keys.
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.series[a as usize].symbols, &self.series[b as usize].symbols);
        let differ = a.iter().zip(b.iter()).find(|(a, b)| a != b);
        differ.map_or(a.len().cmp(&b.len()), |(a, b)| self.symbols.text(*a).cmp(self.symbols.text(*b)))
    }
}

fn texts(key: &SeriesKey) -> impl Iterator<Item = &str> {
    std::iter::once(&*key.metric).chain(key.labels.iter().flat_map(|(name, value)| [name, value]))
}

fn hash(symbols: &[Symbol]) -> u64 {
    let mut hasher = FixedHasher::default();
    symbols.iter().for_each(|symbol| hasher.write_u32(*symbol));
    hasher.finish()
}

/// A series' share of the maps, beside its slot.
fn series_bytes(symbols: &[Symbol]) -> usize {
    symbols.len() * 4 + ALLOCATION_BYTES + 24 + 4
}
