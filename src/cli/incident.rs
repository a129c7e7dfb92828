//! `incident list` and `incident note`: from the daemon, or from the journal where none runs.
//!
//! Deliberately absent: a model's words; those stand in `<data>/notes`. An editor breaks this by printing what others wrote uncleaned.

use super::asking::{client, falls_back, now};
use super::place::Place;
use super::{Ended, Exit, show};
use crate::client::escaped;
use crate::http::view::moment;
use crate::incidents::{Book, Incident, Note, read};
use crate::journal::JournalReader;
use anyhow::anyhow;
use clap::Subcommand;
use homeostat_model::Span;
use serde::Deserialize;
use serde_json::json;

/// About incidents.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List incidents, the newest first
    List {
        /// How far back: `7d`
        #[arg(long, value_name = "DURATION", value_parser = crate::digest::span, default_value = "7d")]
        since: Span,
    },
    /// Print what happened in one: what was seen, tried and held, what it did and cost, and a lasting fix
    Note {
        /// Its name, such as `i1234`; or `latest`
        id: String,
    },
}

/// What the daemon answers.
#[derive(Deserialize)]
struct Listed {
    incidents: Vec<Incident>,
    refused: u64,
}

/// `homeostat incident …`
pub(super) async fn run(place: &Place, command: IncidentCommand, as_json: bool) -> Ended {
    match command {
        IncidentCommand::List { since } => list(place, since, as_json).await,
        IncidentCommand::Note { id } => note(place, &id, as_json).await,
    }
}

async fn list(place: &Place, since: Span, as_json: bool) -> Ended {
    let (listed, exit) = match falls_back(place, client(place).get::<Listed>(&format!("/api/v1/notes?since={since}")).await)? {
        Ok(listed) => (listed, Exit::Ok),
        Err(reader) => {
            let (book, from) = (known(&reader)?, now() - since);
            let incidents = book.incidents().into_iter().filter(|incident| incident.heard >= from).cloned().collect();
            (Listed { incidents, refused: book.refused() }, Exit::NotRunning)
        }
    };
    if as_json {
        show::json(&json!({ "incidents": listed.incidents, "refused": listed.refused }))?;
        return Ok(exit);
    }
    if listed.incidents.is_empty() {
        println!("No incident within {since}.");
    } else {
        println!(
            "{}",
            show::table(&["incident", "where", "began with", "since", "until", "alerts", "actions"], listed.incidents.iter().map(row))
        );
    }
    if listed.refused > 0 {
        println!("{} more were too many at once to be told apart.", listed.refused);
    }
    Ok(exit)
}

fn row(incident: &Incident) -> Vec<String> {
    let until = match incident.ended {
        Some(ended) if incident.silent => format!("silent since {}", moment(ended)),
        Some(ended) => moment(ended),
        None => "open".into(),
    };
    vec![
        incident.id.clone(),
        incident.place.to_string(),
        incident.title.clone(),
        moment(incident.started),
        until,
        incident.alerts.to_string(),
        incident.actions.len().to_string(),
    ]
}

async fn note(place: &Place, id: &str, as_json: bool) -> Ended {
    let path = format!("/api/v1/notes/{}?format=json", escaped(id));
    let (note, exit) = match falls_back(place, client(place).get::<Note>(&path).await)? {
        Ok(note) => (note, Exit::Ok),
        Err(reader) => {
            let book = known(&reader)?;
            let incident = book.find(id).map_err(|why| anyhow!(why))?;
            (read::note(&reader, incident)?, Exit::NotRunning)
        }
    };
    if as_json {
        show::json(&note)?;
    } else {
        print!("{}", note.markdown());
    }
    Ok(exit)
}

fn known(reader: &JournalReader) -> anyhow::Result<Book> {
    let mut book = Book::new();
    let unreadable = read::catch_up(&mut book, reader, now())?;
    if unreadable > 0 {
        eprintln!("homeostat: {unreadable} entries cannot be read and are left out");
    }
    Ok(book)
}
