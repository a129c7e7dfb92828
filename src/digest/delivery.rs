//! The digest by itself: at a time of day, over the notification channels in short, and in full as a file.
//!
//! It runs beside the loop and only asks it. Without a state of its own: what was missed while nothing ran is not made up for; ask
//! with `homeostat digest --since`. Deliberately absent: retries; the channels have theirs. An editor breaks this by letting it wait on
//! the loop's thread, or by sending twice for one moment.

use super::Digest;
use crate::config::{DigestConfig, DigestFile};
use crate::dispatch::Announce;
use crate::journal::JournalReader;
use crate::live::Handle;
use crate::scores::Rules;
use homeostat_model::{Notice, NoticeKind, Span, Time, Weekday};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are kept; the oldest go first.
const FILES_MAX: usize = 100;
/// The clock is looked at this often, as it may jump.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// When the next one is due, after `now`; `None`: it is switched off. Local time is so many minutes ahead of UTC.
pub fn next_after(config: &DigestConfig, utc_offset_minutes: i32, now: Time) -> Option<Time> {
    let at = i64::from(config.at?.0) * MINUTE;
    let offset = i64::from(utc_offset_minutes) * MINUTE;
    let today = now.millis().saturating_add(offset).div_euclid(DAY);
    (today..=today + 7).find_map(|day| {
        // The first of January 1970 was a Thursday.
        let weekday = Weekday::ALL[(day + 3).rem_euclid(7) as usize];
        let due = Time(day * DAY + at - offset);
        (due > now && (config.weekdays.is_empty() || config.weekdays.contains(&weekday))).then_some(due)
    })
}

/// Delivers until it is aborted; ends at once where it is switched off.
pub async fn run(config: DigestConfig, utc_offset_minutes: i32, data: PathBuf, handle: Handle, announce: Announce) {
    while let Some(due) = next_after(&config, utc_offset_minutes, handle.now()) {
        while handle.now() < due {
            tokio::time::sleep(handle.clock().wait_until(due).min(LOOK_EVERY)).await;
        }
        if let Err(error) = deliver(&config, &data, &handle, &announce).await {
            tracing::warn!(error, "The digest was not delivered; `homeostat digest` prints it.");
        }
    }
}

/// Makes a digest now, writes the file if one is configured, and tells the short form.
///
/// # Errors
/// Why there is no digest, or no file; without a file it is still told.
pub async fn deliver(config: &DigestConfig, data: &Path, handle: &Handle, announce: &Announce) -> Result<(), String> {
    let journal = data.to_owned();
    let read = tokio::task::spawn_blocking(move || Rules::read(&JournalReader::open(&journal)?, None)).await;
    let rules = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let (at, span) = (handle.now(), config.span);
    let digest = handle.ask(move |kernel| Digest::of(kernel.ledger(), &rules, at, span)).await.map_err(|refused| refused.to_string())?;
    let text = match config.file {
        DigestFile::None => None,
        DigestFile::Markdown => Some((digest.markdown(), "md")),
        DigestFile::Html => Some((digest.html(), "html")),
    };
    let title = format!("Homeostat, {} to {}", digest.since_day, digest.day);
    let (dir, day) = (data.join("digests"), digest.day.clone());
    let written = match text {
        None => Ok(None),
        Some((text, ending)) => {
            let path = dir.join(format!("{day}.{ending}"));
            tokio::task::spawn_blocking(move || write(&dir, &path, &text).map(|()| Some(path))).await.map_err(|error| error.to_string())?
        }
    };
    let whole = written.as_ref().ok().and_then(Option::as_ref).map_or_else(String::new, |path| format!("\nin full: {}", path.display()));
    // Of the kinds of notices, this one is told with the usual priority and asks for nothing.
    announce(Notice { kind: NoticeKind::Autonomy, action: None, title, text: digest.short() + whole.as_str() }).await;
    written.map(|_| ()).map_err(|error| format!("write the digest: {error}"))
}

/// Whole or not at all; and the oldest go where there are too many.
fn write(dir: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // Their names are their days.
    files.sort_unstable();
    let too_many = files.len().saturating_sub(FILES_MAX);
    files.iter().take(too_many).try_for_each(std::fs::remove_file)
}

/// The usual span of a delivered digest.
pub(crate) const SPAN_USUAL: Span = super::WEEK;
