//! Whether a person may order what they order, and whether their quota has room; asked where a plan is shown and again where it is ordered.
//!
//! Past orders are counted from the journal, so a restart gives nobody a new quota. Orders with a quota are taken one after the other: two
//! at once could both see the last free place. Deliberately absent: the rules themselves (`people`), and a right to look. An editor breaks
//! this by counting before the turn is taken.

use super::api::{Answer, refused};
use super::scoring::rules;
use super::{App, failure};
use crate::journal::{Filter, JournalReader};
use crate::people::{Deed, Past};
use crate::scores::Rules;
use axum::http::StatusCode;
use homeostat_model::{Command, EntryBody, Event, Target, Time, Verb};
use tokio::sync::MutexGuard;

/// More orders in a month than this are not counted; nobody with a quota may order more.
const ORDERS_COUNTED_MAX: u32 = 20_000;

/// The turn to give one order; hold it until the order is in the journal. 403 with the reason if this login may not give it, 429 if
/// the quota is used up.
pub(super) async fn turn<'a>(app: &'a App, by: &str, command: &Command) -> Answer<Option<MutexGuard<'a, ()>>> {
    if !app.people.rules() {
        return Ok(None);
    }
    let turn = app.turn.lock().await;
    match command {
        Command::Wish { verb, target, .. } => {
            may(app, by, Deed::Do(verb, target))?;
            room(app, by, verb, target).await?;
        }
        Command::Approve { action, .. } => {
            let action = *action;
            let look = move |kernel: &homeostat_kernel::Kernel| {
                kernel.ledger().action(action).map(|state| (state.proposal.verb.clone(), state.proposal.target.clone()))
            };
            if let Some((verb, target)) = app.handle.ask(look).await.map_err(refused)? {
                may(app, by, Deed::Do(&verb, &target))?;
            }
        }
        Command::Resume => may(app, by, Deed::Steer("resume"))?,
        Command::Unlock { .. } => may(app, by, Deed::Steer("unlock"))?,
        Command::Release { .. } => may(app, by, Deed::Steer("release"))?,
        Command::Drill { .. } => may(app, by, Deed::Steer("drill"))?,
        // A no, a stop, a question, and a proposal that waits for a person.
        Command::Deny { .. } | Command::Never { .. } | Command::Pause { .. } | Command::Propose { .. } | Command::Consult { .. } => {}
    }
    Ok(Some(turn))
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
fn may(app: &App, by: &str, deed: Deed<'_>) -> Answer<()> {
    app.people.may(by, deed).map_err(|why| {
        tracing::warn!(by, why, "An order was refused.");
        failure(StatusCode::FORBIDDEN, why)
    })
}

/// What of the quota is used up with this one; 429 if there is no room for it.
async fn room(app: &App, by: &str, verb: &Verb, target: &Target) -> Answer<Option<String>> {
    let said = used(app, by, verb, target).await?;
    said.map_err(|why| failure(StatusCode::TOO_MANY_REQUESTS, why))
}

/// What of the quota is used up with one more order; `Err`: there is no room for it.
pub(super) async fn used(app: &App, by: &str, verb: &Verb, target: &Target) -> Answer<Result<Option<String>, String>> {
    let Some(span) = app.people.looks_back() else { return Ok(Ok(None)) };
    let now = app.handle.now();
    let rules = rules(app).await?;
    let next = costing(&rules, by, verb, now);
    let data = app.data.clone();
    let filter = Filter { name: Some("ordered".into()), from: Some(now - span), limit: ORDERS_COUNTED_MAX, ..Filter::default() };
    let read = tokio::task::spawn_blocking(move || JournalReader::open(&data)?.find(&filter)).await;
    let unavailable = |why: String| failure(StatusCode::SERVICE_UNAVAILABLE, format!("past orders cannot be counted: {why}"));
    let page = read.map_err(|error| unavailable(error.to_string()))?.map_err(|error| unavailable(error.to_string()))?;
    if page.entries.len() >= ORDERS_COUNTED_MAX as usize {
        return Ok(Err(format!("there were {ORDERS_COUNTED_MAX} orders and more; no further ones are counted")));
    }
    let past = page.entries.into_iter().filter_map(|entry| match entry.body {
        EntryBody::Event(Event::Ordered(ordered)) => match ordered.command {
            Command::Wish { verb, .. } => Some(costing(&rules, &ordered.by, &verb, entry.at)),
            _ => None,
        },
        _ => None,
    });
    Ok(app.people.room(Deed::Do(verb, target), &next, &past.collect::<Vec<_>>()))
}

fn costing(rules: &Rules, by: &str, verb: &Verb, at: Time) -> Past {
    let joules = rules.verbs.get(verb).map_or(0.0, |spec| spec.cost.energy_joules);
    Past { by: by.to_owned(), at, joules, euros: rules.tariff().euros(joules, at, at) }
}
