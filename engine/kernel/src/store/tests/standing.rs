//! Postings and standing selections against the naive way: every live series tried with [`Selector::matches`], whatever came and went.

use super::super::group::NONE;
use super::super::index::Index;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TEXTS: [&str; 10] = [
    "m",
    "m{a='3'}",
    "m{b='1',a='2'}",
    "m{a=~'1|4',b='0'}",
    "m{b!='1'}",
    "m{c='',a='5'}",
    "m{c='x'}",
    "{a='3'}",
    "{__name__=~'m|n',b='2'}",
    "n{a='7',b='7'}",
];

/// What a selector selects, tried on everything that is live.
fn naive(index: &Index, selector: &Selector) -> Vec<SeriesRef> {
    let live = index.slots().filter(|slot| index.get(*slot).group != NONE);
    let mut found: Vec<(SeriesKey, SeriesRef)> =
        live.map(|slot| (index.key(slot), index.reference(slot))).filter(|(key, _)| selector.matches(key)).collect();
    found.sort();
    found.into_iter().map(|(_, series)| series).collect()
}

fn key(number: u8) -> SeriesKey {
    let (a, b) = ((number % 12).to_string(), (number / 12 % 10).to_string());
    let metric = if number.is_multiple_of(7) { "n" } else { "m" };
    let extra = if number.is_multiple_of(5) { vec![("c", "x")] } else { Vec::new() };
    SeriesKey::new(metric, [("a", a.as_str()), ("b", b.as_str())].into_iter().chain(extra))
}

#[derive(Clone, Debug)]
enum Step {
    Live(u8),
    End(u8),
    Forget(u8),
    Stand(usize),
    Use(u32, usize),
    Leave(u32),
    Feed(usize),
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..120).prop_map(Step::Live),
        4 => (0u8..120).prop_map(Step::End),
        4 => (0u8..120).prop_map(Step::Forget),
        2 => (0..TEXTS.len()).prop_map(Step::Stand),
        3 => (0u32..4, 0..TEXTS.len()).prop_map(|(user, text)| Step::Use(user, text)),
        1 => (0u32..4).prop_map(Step::Leave),
        1 => (0..TEXTS.len()).prop_map(Step::Feed),
        3 => Just(Step::Take),
    ]
}

/// The index, and what is known about it without asking it.
#[derive(Default)]
struct Bench {
    index: Index,
    used: BTreeMap<u32, Vec<SelectionId>>,
    /// Fed selections, as their changes say.
    fed: BTreeMap<SelectionId, BTreeSet<SeriesRef>>,
    /// What each used selection named when changes were last taken.
    before: BTreeMap<SelectionId, Vec<SeriesRef>>,
}

impl Bench {
    fn stand(&mut self, text: usize) -> SelectionId {
        let text = TEXTS[text];
        self.index.standing.find(text).unwrap_or_else(|| {
            let selector = Selector::parse(text).unwrap();
            let series = self.index.select(&selector);
            self.index.standing.add(text, selector, series)
        })
    }

    fn named(&self, id: SelectionId) -> Vec<SeriesRef> {
        self.index.standing.get(id).unwrap().1.to_vec()
    }

    fn live(&mut self, number: u8) {
        let slot = self.index.find(&key(number)).unwrap_or_else(|| self.index.add(&key(number), 0, 0).unwrap());
        self.index.set_live(slot, 1, u32::from(number));
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Live(number) => self.live(number),
            Step::End(number) => {
                if let Some(slot) = self.index.find(&key(number)) {
                    self.index.set_live(slot, NONE, NONE);
                }
            }
            Step::Forget(number) => {
                if let Some(slot) = self.index.find(&key(number)) {
                    self.index.remove(slot);
                }
            }
            Step::Stand(text) => drop(self.stand(text)),
            Step::Use(user, text) => {
                let id = self.stand(text);
                let before = self.used.get(&user).cloned().unwrap_or_default();
                let mut now = before.clone();
                if !now.contains(&id) {
                    now.push(id);
                }
                self.index.standing.set_user(user, &before, &now);
                self.before.entry(id).or_insert_with(|| self.index.standing.get(id).unwrap().1.to_vec());
                self.used.insert(user, now);
            }
            Step::Leave(user) => {
                let before = self.used.remove(&user).unwrap_or_default();
                self.index.standing.set_user(user, &before, &[]);
            }
            Step::Feed(text) => {
                let id = self.stand(text);
                if !self.fed.contains_key(&id) {
                    self.index.standing.feed(id);
                    self.fed.insert(id, self.named(id).into_iter().collect());
                }
            }
            Step::Take => self.take(),
        }
    }

    /// Whoever uses a selection that names something else is told, and the changes of fed ones add up.
    fn take(&mut self) {
        let mut told = Vec::new();
        for change in self.index.standing.take_changes(&mut told) {
            let Some(known) = self.fed.get_mut(&change.selection) else { panic!("{change:?} is not fed") };
            change.removed.iter().for_each(|series| assert!(known.remove(series), "{series:?} went, and was not there"));
            change.added.iter().for_each(|series| assert!(known.insert(*series), "{series:?} came, and was there"));
        }
        for (id, known) in &self.fed {
            assert_eq!(*known, self.named(*id).into_iter().collect(), "{id:?}");
        }
        for (user, ids) in &self.used {
            for id in ids {
                let is_told = told.contains(user);
                assert!(is_told || self.before.get(id) == Some(&self.named(*id)), "user {user} of {id:?} was not told");
            }
        }
        self.before = self.used.values().flatten().map(|id| (*id, self.named(*id))).collect();
    }
}

proptest! {
    #[test]
    fn every_selection_says_what_the_naive_one_says(base in prop::collection::vec(0u8..120, 40..90), steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::default();
        base.into_iter().for_each(|number| bench.live(number));
        for step in &steps {
            bench.apply(step);
            for text in TEXTS {
                let selector = Selector::parse(text).unwrap();
                let expected = naive(&bench.index, &selector);
                prop_assert_eq!(&bench.index.select(&selector), &expected, "{} after {:?}", text, step);
                if let Some(id) = bench.index.standing.find(text) {
                    prop_assert_eq!(&bench.named(id), &expected, "standing {} after {:?}", text, step);
                }
            }
        }
        bench.take();
    }
}

#[test]
fn what_nobody_uses_is_dropped_oldest_first_and_what_is_used_stays() {
    let mut bench = Bench::default();
    bench.live(3);
    let used = bench.stand(1);
    bench.index.standing.set_user(7, &[], &[used]);
    for number in 0..3_000 {
        let text = format!("m{{a='{number}'}}");
        if bench.index.standing.find(&text).is_none() {
            bench.index.standing.add(&text, Selector::parse(&text).unwrap(), Vec::new());
        }
        bench.index.standing.trim();
    }
    assert!((1_000..=1_001).contains(&bench.index.standing.len()), "{}", bench.index.standing.len());
    assert_eq!((bench.index.standing.find(TEXTS[1]), bench.index.standing.find("m{a='0'}")), (Some(used), None));
    bench.index.standing.set_user(7, &[used], &[]);
    let bytes = bench.index.standing.bytes();
    for number in 3_000..4_001 {
        let text = format!("m{{a='{number}'}}");
        bench.index.standing.add(&text, Selector::parse(&text).unwrap(), Vec::new());
        bench.index.standing.trim();
    }
    assert_eq!(bench.index.standing.find(TEXTS[1]), None);
    assert!(bench.index.standing.bytes() <= bytes + 1_000, "{} after {bytes}", bench.index.standing.bytes());
}
