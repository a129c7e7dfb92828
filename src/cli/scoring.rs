//! `scores`, `autonomy`, `ledger`, `digest`, `drill`: from the daemon, or from the journal folded where none runs.
//!
//! Both ways make the same data, and it is drawn here. Deliberately absent: numbers. An editor breaks this by asking the daemon for
//! text: what a script reads and what a person sees must be one thing.

use super::args::{DigestArgs, DigestFormat};
use super::asking::{client, falls_back, folded, now, print_answer, standing};
use super::place::Place;
use super::{Ended, Exit, show};
use crate::client::escaped;
use crate::digest::Digest;
use crate::journal::JournalReader;
use crate::scores::autonomy::AutonomyView;
use crate::scores::show::PolicyScores;
use crate::scores::spending::SpendingView;
use crate::scores::table::ScoreTable;
use crate::scores::{Rules, forest, svg};
use anyhow::Context;
use homeostat_kernel::Ledger;
use homeostat_kernel::score::books::Month;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where output is no terminal.
const WIDTH_USUAL: usize = 120;

fn width() -> usize {
    comfy_table::Table::new().width().map_or(WIDTH_USUAL, usize::from)
}

/// The daemon's answer, or the same made from the journal.
async fn asked<T: DeserializeOwned>(
    place: &Place,
    path: &str,
    from_journal: impl FnOnce(&Ledger, &Rules) -> Result<T, String>,
) -> anyhow::Result<(T, Exit)> {
    match falls_back(place, client(place).get::<T>(path).await)? {
        Ok(answer) => Ok((answer, Exit::Ok)),
        Err(reader) => {
            let (ledger, rules) = known(&reader)?;
            Ok((from_journal(&ledger, &rules).map_err(anyhow::Error::msg)?, Exit::NotRunning))
        }
    }
}

fn known(reader: &JournalReader) -> anyhow::Result<(Ledger, Rules)> {
    Ok((folded(reader), Rules::read(reader, None)?))
}

fn print<T: Serialize>(value: &T, as_json: bool, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    if as_json {
        return show::json(value);
    }
    println!("{}", text(value).trim_end());
    Ok(())
}

/// `homeostat scores`
pub(super) async fn scores(place: &Place, as_json: bool) -> Ended {
    let (table, exit) = asked(place, "/api/v1/scores", |ledger, rules| Ok(ScoreTable::of(ledger, rules, now()))).await?;
    print(&table, as_json, ScoreTable::text)?;
    Ok(exit)
}

/// `homeostat scores show`
pub(super) async fn show(place: &Place, policy: &str, file: Option<PathBuf>, as_json: bool) -> Ended {
    let path = format!("/api/v1/scores/{}", escaped(policy));
    let (scores, exit) = asked(place, &path, |ledger, rules| PolicyScores::of(ledger, rules, policy, now())).await?;
    print(&scores, as_json, |scores| forest::text(scores, width()))?;
    if let Some(file) = file {
        write(&file, &svg::policy(&scores))?;
    }
    Ok(exit)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    eprintln!("written to {}", file.display());
    Ok(())
}

/// `homeostat autonomy`
pub(super) async fn autonomy(place: &Place, as_json: bool) -> Ended {
    let (view, exit) = asked(place, "/api/v1/autonomy", |ledger, rules| Ok(AutonomyView::of(ledger, rules, now()))).await?;
    print(&view, as_json, AutonomyView::text)?;
    Ok(exit)
}

/// `homeostat ledger`
pub(super) async fn ledger(place: &Place, month: Option<Month>, as_json: bool) -> Ended {
    let path = month.map_or_else(|| "/api/v1/ledger".to_owned(), |month| format!("/api/v1/ledger?month={month}"));
    let (view, exit) = asked(place, &path, |ledger, rules| Ok(SpendingView::of(ledger, rules, now(), month))).await?;
    print(&view, as_json, SpendingView::text)?;
    Ok(exit)
}

/// `homeostat digest`
pub(super) async fn digest(place: &Place, args: &DigestArgs, as_json: bool) -> Ended {
    let DigestArgs { format, since, output } = args;
    let path = format!("/api/v1/digest?since={since}");
    let (digest, exit) = asked(place, &path, |ledger, rules| Ok(Digest::of(ledger, rules, now(), *since))).await?;
    let text = match format {
        _ if as_json => serde_json::to_string_pretty(&digest)?,
        DigestFormat::Markdown => digest.markdown(),
        DigestFormat::Html => digest.html(),
        DigestFormat::Short => digest.short(),
    };
    match output {
        Some(file) => write(file, &text)?,
        None => println!("{}", text.trim_end()),
    }
    Ok(exit)
}

/// `homeostat drill`
pub(super) async fn drill(place: &Place, policy: &str, as_json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/drills", &json!({ "policy": policy })).await?;
    print_answer(&answer, as_json, |answer| {
        format!("The drill of {policy} has begun: {}; `homeostat autonomy` tells how it ended.", standing(answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::journal::{JournalSettings, Recorder};

    /// A journal in which nothing has happened yet, and no daemon.
    fn alone() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        drop(Recorder::open(dir.path(), JournalSettings::default(), now()).unwrap());
        let (data, socket) = (dir.path().to_owned(), dir.path().join("homeostat.sock"));
        (dir, Place { config_path: None, config: Ok(Config::default()), data, socket })
    }

    #[tokio::test]
    async fn without_a_daemon_the_journal_answers_and_says_so_by_its_status() {
        let (dir, place) = alone();
        assert_eq!(scores(&place, false).await.unwrap(), Exit::NotRunning);
        assert_eq!(autonomy(&place, false).await.unwrap(), Exit::NotRunning);
        assert_eq!(ledger(&place, None, true).await.unwrap(), Exit::NotRunning);
        let file = dir.path().join("week.html");
        let args = DigestArgs { format: DigestFormat::Html, since: crate::digest::WEEK, output: Some(file.clone()) };
        assert_eq!(digest(&place, &args, false).await.unwrap(), Exit::NotRunning);
        assert!(std::fs::read_to_string(&file).unwrap().contains("0 actions"));
        let error = show(&place, "disk-full", None, false).await.unwrap_err();
        assert!(error.to_string().contains("there is no policy `disk-full`"), "{error}");
    }

    #[tokio::test]
    async fn orders_need_a_daemon() {
        let (_dir, place) = alone();
        let error = drill(&place, "node-down", false).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(crate::client::ClientError::NotRunning { .. })), "{error}");
    }
}
