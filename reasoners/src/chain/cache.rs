//! Answers that are given again to the same question: the same model, purpose, words, input, schema and length.
//!
//! Deliberately absent: files. An editor breaks this by leaving a part of the question out of the key, or by keeping what did not match.

use homeostat_model::{Answer, Question, ReasonerSpec, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// All kept answers together have at most so many bytes of JSON.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Answers that are given again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How many are kept; 0: none.
    pub entries_max: usize,
    /// How old they may get.
    #[schemars(with = "String")]
    pub age_max: Span,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig { entries_max: 256, age_max: Span::from_hours(1) }
    }
}

impl CacheConfig {
    /// Every problem, for people.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.entries_max > 10_000 {
            problems.push(format!("`cache.entries_max` is {}, at most 10000 are allowed", self.entries_max));
        }
        if self.age_max < Span::ZERO {
            problems.push(format!("`cache.age_max` is {}, expected 0s or more", self.age_max));
        }
        problems
    }
}

/// A question to a model, by its hash.
pub(super) type Key = [u8; 32];

/// The key. Each part goes in with its length, so that no two questions run together.
pub(super) fn key(spec: &ReasonerSpec, question: &Question) -> Key {
    let mut hash = Sha256::new();
    let purpose = question.purpose.name();
    let tokens = question.tokens_max.to_string();
    for part in [&spec.id, &spec.kind, &spec.model, purpose, &question.system, &question.input, &question.schema, &tokens] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: BTreeMap<Key, (Time, Answer)>,
    bytes: usize,
}

impl Cache {
    pub(super) fn find(&mut self, now: Time, key: &Key, config: CacheConfig) -> Option<Answer> {
        let (at, answer) = self.kept.get(key)?;
        // What is kept from later than now is of a clock that was set back.
        if *at <= now && now.since(*at) <= config.age_max {
            return Some(answer.clone());
        }
        self.forget(&key.clone());
        None
    }

    pub(super) fn keep(&mut self, now: Time, key: Key, answer: &Answer, config: CacheConfig) {
        self.forget(&key);
        let size = answer.json.len();
        while !self.kept.is_empty() && (self.kept.len() >= config.entries_max || self.bytes + size > BYTES_MAX) {
            let oldest = self.kept.iter().min_by_key(|(key, (at, _))| (*at, **key)).map(|(key, _)| *key);
            oldest.iter().for_each(|key| self.forget(key));
        }
        if config.entries_max > 0 && size <= BYTES_MAX {
            self.bytes += size;
            self.kept.insert(key, (now, answer.clone()));
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some((_, answer)) = self.kept.remove(key) {
            self.bytes -= answer.json.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::far_end::question;
    use homeostat_model::{Place, TokenUsage};

    fn answer(bytes: usize) -> Answer {
        Answer {
            json: "x".repeat(bytes),
            usage: TokenUsage::default(),
            model: "m".into(),
            request_id: None,
            latency: Span::ZERO,
            cost_euros: None,
            citations: Vec::new(),
            requests: 1,
            repaired: false,
        }
    }

    #[test]
    fn it_is_bounded_by_number_bytes_and_age() {
        let config = CacheConfig { entries_max: 2, age_max: Span::from_secs(10) };
        let mut cache = Cache::default();
        for (at, key) in [(0, 1), (1, 2), (2, 3)] {
            cache.keep(Time(at), [key; 32], &answer(10), config);
        }
        assert!(cache.find(Time(3), &[1; 32], config).is_none(), "the oldest went");
        assert!(cache.find(Time(10_001), &[2; 32], config).is_some() && cache.find(Time(10_003), &[3; 32], config).is_none(), "too old");
        assert!(cache.find(Time(0), &[2; 32], config).is_none(), "from later than now");
        let wide = CacheConfig { entries_max: 100, ..config };
        for key in 0..10 {
            cache.keep(Time(5), [key; 32], &answer(BYTES_MAX / 4), wide);
        }
        assert!(cache.bytes <= BYTES_MAX && cache.kept.len() == 4, "{} {}", cache.bytes, cache.kept.len());
        cache.keep(Time(6), [99; 32], &answer(1), CacheConfig { entries_max: 0, ..config });
        assert!(cache.kept.is_empty() && cache.bytes == 0);
    }

    #[test]
    fn every_part_of_a_question_is_in_its_key() {
        let spec = ReasonerSpec { id: "a".into(), kind: "b".into(), model: "c".into(), place: Place::Local, node: None };
        let first = question();
        let mut keys = vec![key(&spec, &first)];
        keys.push(key(&ReasonerSpec { model: "d".into(), ..spec.clone() }, &first));
        keys.push(key(&spec, &Question { input: format!("{} ", first.input), ..first.clone() }));
        keys.push(key(&spec, &Question { system: String::new(), ..first.clone() }));
        keys.push(key(&spec, &Question { schema: String::new(), ..first.clone() }));
        keys.push(key(&spec, &Question { tokens_max: 1, ..first.clone() }));
        keys.push(key(&spec, &Question { purpose: homeostat_model::QuestionPurpose::Verify, ..first.clone() }));
        keys.push(key(&spec, &Question { system: format!("{}x", first.system), input: String::new(), ..first.clone() }));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_eq!(key(&spec, &Question { timeout: Span::from_secs(9), ..first.clone() }), key(&spec, &first), "time is no part of it");
    }
}
