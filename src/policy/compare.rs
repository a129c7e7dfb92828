//! `homeostat policy compare`: what a candidate wished beside the live policy, out of the journal.
//!
//! Deliberately absent: promoting the candidate. A person moves the file. An editor breaks this by asking anything but the journal:
//! what is compared must be what was ruled.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show};
use crate::http::view;
use crate::journal::JournalReader;
use anyhow::bail;
use homeostat_authoring::twin::{Episode, Reader, SUFFIX, Twins};
use homeostat_model::Span;
use std::collections::BTreeSet;

/// Episodes of one list that are shown.
const SHOWN_MAX: usize = 20;

/// Compares one policy with its candidate, or all that have one.
pub(super) fn compare(place: Place, policy: Option<&str>, tolerance: Span, json: bool) -> Ended {
    let (config, data) = configured(place)?;
    let loaded = crate::rules::policies(&config)?;
    let twins: BTreeSet<&str> = loaded.iter().filter_map(|source| source.id.as_str().strip_suffix(SUFFIX)).collect();
    let wanted: Vec<&str> = match policy {
        Some(name) if twins.contains(name) => vec![name],
        Some(name) => bail!("`{name}` has no candidate (there are: {}); put one into the folder `policies.candidates`", listed(&twins)),
        None if twins.is_empty() => bail!("there is no candidate; put `<policy>.rhai` into the folder `policies.candidates`"),
        None => twins.into_iter().collect(),
    };
    let mut readers: Vec<Reader> = wanted.iter().map(|name| Reader::new(name)).collect();
    for entry in JournalReader::open(&data)?.events_and_effects(0) {
        let entry = entry?;
        readers.iter_mut().for_each(|reader| reader.take(entry.at, &entry.body));
    }
    let found: Vec<Twins> = readers.into_iter().map(|reader| reader.finish(tolerance)).collect();
    if json {
        show::json(&found)?;
    } else {
        found.iter().for_each(print);
    }
    Ok(Exit::Ok)
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() { "none".into() } else { names.iter().copied().collect::<Vec<_>>().join(", ") }
}

fn print(twins: &Twins) {
    let Some(since) = twins.since else {
        println!("{}: the daemon has not loaded it together with its candidate yet", twins.policy);
        return;
    };
    println!(
        "{}  since {}: {} wished by both, {} by the live one alone, {} by the candidate alone",
        twins.policy,
        view::moment(since),
        twins.both.len(),
        twins.only_live.len(),
        twins.only_candidate.len()
    );
    if twins.dropped > 0 {
        println!("  {} more were too many to be kept", twins.dropped);
    }
    let row = |mark: &str, live: Option<&Episode>, candidate: Option<&Episode>| {
        let either = live.or(candidate)?;
        let at = |episode: Option<&Episode>| episode.map_or_else(|| "-".into(), |episode| view::moment(episode.from));
        let became = |episode: Option<&Episode>| episode.map_or_else(|| "-".into(), fate);
        let what = format!("{} on {}", either.verb, either.target);
        Some(
            [mark.to_owned(), what, at(live), became(live), at(candidate), became(candidate)]
                .iter()
                .map(|text| show::clean(text))
                .collect(),
        )
    };
    let both = twins.both.iter().filter_map(|(live, candidate)| row("both", twins.live.get(*live), twins.candidate.get(*candidate)));
    let only_live = twins.only_live.iter().filter_map(|live| row("live", twins.live.get(*live), None));
    let only_candidate = twins.only_candidate.iter().filter_map(|candidate| row("candidate", None, twins.candidate.get(*candidate)));
    // What differs comes first: that is what one wants to know.
    let rows: Vec<Vec<String>> = only_live.take(SHOWN_MAX).chain(only_candidate.take(SHOWN_MAX)).chain(both.take(SHOWN_MAX)).collect();
    if !rows.is_empty() {
        println!("{}", show::table(&["wished by", "what", "live at", "live", "candidate at", "candidate"], rows));
    }
}

fn fate(episode: &Episode) -> String {
    let held = || episode.held_by.as_deref().map_or_else(|| "nothing would hold it".to_owned(), |guard| format!("held by {guard}"));
    match (episode.sent, episode.held) {
        (true, Some(true)) => "sent, its claim held".into(),
        (true, Some(false)) => "sent, its claim failed".into(),
        (true, None) => "sent".into(),
        (false, _) => held(),
    }
}
