//! The documentation, embedded, and a search over its sections.
//!
//! Words are counted, rarer ones weigh more, headings weigh most; the order is deterministic. Deliberately absent: stemming, synonyms
//! and any index on disk. An editor breaks this by putting something into `docs/` that is not for everybody who may ask.

use serde_json::{Value, json};
use std::collections::BTreeSet;

// `PAGES`: the pages by file name, as `build.rs` found them.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Characters of one excerpt.
const EXCERPT_CHARS: usize = 1200;
/// Sections of one answer.
pub const SECTIONS_MAX: usize = 8;
/// Characters of a query that are looked at.
pub const QUERY_CHARS_MAX: usize = 300;
/// Words of a query that are looked for.
const WORDS_MAX: usize = 12;
/// What a word in a heading weighs against one in the text.
const HEADING_WEIGHT: f64 = 4.0;

/// A part of a page, from one heading to the next.
struct Section {
    page: &'static str,
    heading: &'static str,
    text: &'static str,
}

fn sections() -> Vec<Section> {
    let mut found = Vec::new();
    for &(page, text) in PAGES {
        let (mut start, mut at, mut heading, mut fenced) = (0, 0, "", false);
        for line in text.split_inclusive('\n') {
            fenced ^= line.starts_with("```");
            if line.starts_with('#') && !fenced {
                found.push(Section { page, heading, text: &text[start..at] });
                (start, heading) = (at, line.trim_start_matches('#').trim());
            }
            at += line.len();
        }
        found.push(Section { page, heading, text: &text[start..] });
    }
    found.retain(|section| !section.text.trim().is_empty());
    found
}

fn words(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| part.chars().count() > 1);
    parts.take(WORDS_MAX * 4).map(str::to_lowercase).collect()
}

/// The text around the first of the words.
fn excerpt(text: &str, words: &[String]) -> String {
    let lower = text.to_lowercase();
    // Lower case may change lengths: a place in one is only near the place in the other.
    let first = words.iter().filter_map(|word| lower.find(word.as_str())).min().unwrap_or(0);
    let before = lower[..first].chars().count().saturating_sub(EXCERPT_CHARS / 3);
    let total = text.chars().count();
    let from = if total <= EXCERPT_CHARS { 0 } else { before.min(total - EXCERPT_CHARS) };
    text.chars().skip(from).take(EXCERPT_CHARS).collect()
}

/// The sections that say most about a query, best first: `{"sections": [{"page", "heading", "excerpt"}], "of": …}`.
pub fn search(query: &str, limit: usize) -> Value {
    let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
    let words: Vec<String> = words(&query).into_iter().take(WORDS_MAX).collect();
    let sections = sections();
    let lowered: Vec<(String, String)> = sections.iter().map(|s| (s.text.to_lowercase(), s.heading.to_lowercase())).collect();
    let rarity = |word: &String| {
        let with = lowered.iter().filter(|(text, _)| text.contains(word.as_str())).count();
        (1.0 + lowered.len() as f64 / (1.0 + with as f64)).ln()
    };
    let weights: Vec<f64> = words.iter().map(rarity).collect();
    let rate = |(text, heading): &(String, String)| -> f64 {
        let one = |(word, weight): (&String, &f64)| {
            let times = text.matches(word.as_str()).count() as f64;
            let headed = if heading.contains(word.as_str()) { HEADING_WEIGHT } else { 0.0 };
            weight * ((1.0 + times).ln() + headed)
        };
        words.iter().zip(&weights).map(one).sum()
    };
    let mut rated: Vec<(f64, usize)> = lowered.iter().map(rate).enumerate().map(|(at, rated)| (rated, at)).collect();
    rated.retain(|(rated, _)| *rated > 0.0);
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let line = |(_, at): &(f64, usize)| {
        let section = &sections[*at];
        json!({ "page": section.page, "heading": section.heading, "excerpt": excerpt(section.text, &words) })
    };
    let found: Vec<Value> = rated.iter().take(limit.clamp(1, SECTIONS_MAX)).map(line).collect();
    json!({ "sections": found, "of": rated.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut on_disk: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
        on_disk.sort();
        assert_eq!(PAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), on_disk);
    }

    #[test]
    fn sections_are_found_by_what_they_say() {
        let found = search("propose_action agent connect stdio", 3);
        assert_eq!(found["sections"][0]["page"], "mcp.md", "{found}");
        assert_eq!(found["sections"].as_array().unwrap().len(), 3, "{found}");
        let found = search("shadow suggest veto auto: how is autonomy earned?", 8);
        assert!(found["sections"].as_array().unwrap().iter().any(|section| section["page"] == "scores.md"), "{found}");
        assert_eq!(search("zzzzqqq", 3)["sections"], json!([]));
        assert_eq!(search("", 3)["of"], 0);
        for section in search(&"wake ".repeat(1000), 100)["sections"].as_array().unwrap() {
            assert!(section["excerpt"].as_str().unwrap().chars().count() <= EXCERPT_CHARS, "{section}");
        }
    }
}
