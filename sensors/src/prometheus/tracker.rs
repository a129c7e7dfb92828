//! Which series Prometheus has shown, and the newest sample of each: what makes every sample pass once.
//!
//! Deliberately absent: IO and purpose. An editor breaks this by moving `last` before the observation is certain to be handed
//! over: a dropped read would lose samples.

use super::answer::Item;
use crate::dictionary::Dictionary;
use homeostat_model::{Observation, SeriesKey, Span, StampedSample, Time};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Samples further in the future than this are refused: a clock is wrong, and a window must not be poisoned.
pub(super) const SKEW_MAX: Span = Span::from_mins(10);
/// Series that have not come for longer than this are gone. Prometheus' own lookback.
const GONE_AFTER: Span = Span::from_mins(5);
/// A scrape rhythm slower than this is not believed.
const RHYTHM_MAX: Span = Span::from_mins(5);

/// One known series.
#[derive(Debug)]
struct Tracked {
    key: SeriesKey,
    cohort: u32,
    /// Its number, in this epoch.
    number: u32,
    epoch: u32,
    last: Time,
}

/// Counts of one read.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Samples from the future, refused.
    pub(super) future: u64,
    /// Series over the limit.
    pub(super) over_limit: u64,
}

/// All known series.
#[derive(Debug)]
pub(super) struct Tracker {
    by_hash: HashMap<u64, Vec<Tracked>>,
    count: usize,
    series_max: usize,
    /// Gaps between neighbouring samples seen in this read, in milliseconds.
    gaps: Vec<i64>,
    rhythm: Span,
}

impl Tracker {
    pub(super) fn new(series_max: usize) -> Tracker {
        Tracker { by_hash: HashMap::new(), count: 0, series_max, gaps: Vec::new(), rhythm: Span::ZERO }
    }

    /// How many series are known.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Passes on what is new of one series. `record` replaces its name (and makes its cohort that of the queries).
    pub(super) fn take(
        &mut self,
        item: &Item<'_>,
        record: Option<&str>,
        dictionary: &mut Dictionary,
        into: &mut Observation,
        taken: &mut Taken,
    ) {
        let name = record.unwrap_or(&item.name);
        let hash = hash(name, &item.labels);
        let same = |t: &Tracked| {
            &*t.key.metric == name && t.key.labels.iter().eq(item.labels.iter().filter(|l| !l.1.is_empty()).map(|(n, v)| (&**n, &**v)))
        };
        let bucket = self.by_hash.entry(hash).or_default();
        let position = bucket.iter().position(same);
        let position = match position {
            Some(position) => position,
            None if self.count >= self.series_max => {
                taken.over_limit += 1;
                return;
            }
            None => {
                let key = SeriesKey::new(name, item.labels.iter().map(|(n, v)| (&**n, &**v)));
                let cohort =
                    if record.is_some() { cohort_of("", "\u{1}queries") } else { cohort_of(find(item, "job"), find(item, "instance")) };
                let epoch = dictionary.epoch();
                let Some(number) = dictionary.declare(key.clone(), cohort, into) else { return };
                bucket.push(Tracked { key, cohort, number, epoch, last: Time::MIN });
                self.count += 1;
                bucket.len() - 1
            }
        };
        let tracked = &mut bucket[position];
        if tracked.epoch != dictionary.epoch() {
            let Some(number) = dictionary.declare(tracked.key.clone(), tracked.cohort, into) else { return };
            (tracked.number, tracked.epoch) = (number, dictionary.epoch());
        }
        for (at, value) in &item.values {
            if *at > into.at + SKEW_MAX {
                taken.future += 1;
            } else if *at > tracked.last {
                if tracked.last > Time::MIN {
                    self.gaps.push(at.since(tracked.last).millis());
                }
                tracked.last = *at;
                into.stamped.push(StampedSample { series: tracked.number, at: *at, value: *value });
            }
        }
    }

    /// Drops what has not come for five minutes, into `into.vanished`. Only for reads that saw everything.
    pub(super) fn sweep(&mut self, epoch: u32, into: &mut Observation) {
        let at = into.at;
        self.by_hash.retain(|_, bucket| {
            bucket.retain(|tracked| {
                let gone = at.since(tracked.last) > GONE_AFTER;
                if gone {
                    self.count -= 1;
                    if tracked.epoch == epoch {
                        into.vanished.push(tracked.number);
                    }
                }
                !gone
            });
            !bucket.is_empty()
        });
        into.vanished.sort_unstable();
    }

    /// The scrape rhythm that this read's samples show (their median gap), or the one known before.
    pub(super) fn rhythm(&mut self) -> Span {
        if !self.gaps.is_empty() {
            let middle = self.gaps.len() / 2;
            let (_, median, _) = self.gaps.select_nth_unstable(middle);
            self.rhythm = Span(*median).min(RHYTHM_MAX);
            self.gaps.clear();
        }
        self.rhythm
    }
}

fn find<'i>(item: &'i Item<'_>, name: &str) -> &'i str {
    item.labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

fn hash(name: &str, labels: &[(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    for (name, value) in labels.iter().filter(|label| !label.1.is_empty()) {
        (name, value).hash(&mut hasher);
    }
    hasher.finish()
}

/// What a target scrapes together: FNV-1a over job and instance, never zero.
pub(super) fn cohort_of(job: &str, instance: &str) -> u32 {
    let bytes = job.bytes().chain([0xff]).chain(instance.bytes());
    bytes.fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)).max(1)
}
