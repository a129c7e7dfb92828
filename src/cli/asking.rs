//! Commands that ask the daemon. Those that only read fall back to the journal where no daemon runs, say so, and end with status 3.
//!
//! Deliberately absent: orders without a daemon; an order that nobody takes in must fail. An editor breaks this by letting the
//! journal's answer look like the daemon's.

use super::place::Place;
use super::show::{self, PolicySeen, SensorSeen, UnitSeen};
use super::{Ended, Exit};
use crate::client::{Client, ClientError, escaped};
use crate::http::view::{self, ActionLine, LedgerView, SeriesLine};
use crate::journal::JournalReader;
use homeostat_kernel::Ledger;
use homeostat_kernel::kernel::Explanation;
use homeostat_kernel::ledger::Spent;
use homeostat_model::{ActionId, EntryBody, Health, Time};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct StatusSeen {
    at: Time,
    daemon: DaemonSeen,
    overview: OverviewSeen,
}

#[derive(Deserialize)]
struct DaemonSeen {
    version: String,
    started_at: Time,
    generation: u64,
    ready: bool,
    not_ready_because: Vec<String>,
    sensors: Vec<SensorSeen>,
}

#[derive(Deserialize)]
struct OverviewSeen {
    #[serde(flatten)]
    ledger: LedgerView,
    observer_faults: Vec<String>,
    policies: Vec<PolicySeen>,
    targets: usize,
    stats: Value,
    spent_day: Spent,
    series_total: u64,
    series: Vec<SeriesLine>,
}

#[derive(Deserialize)]
struct ActionSeen {
    line: ActionLine,
    text: String,
}

pub(super) fn client(place: &Place) -> Client {
    Client::new(&place.socket)
}

pub(super) fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

/// Whether no daemon runs and there is a journal to read instead.
pub(super) fn falls_back<T>(place: &Place, asked: Result<T, ClientError>) -> anyhow::Result<Result<T, JournalReader>> {
    match asked {
        Ok(answer) => Ok(Ok(answer)),
        Err(error @ ClientError::NotRunning { .. }) => match JournalReader::open(&place.data) {
            Ok(reader) => {
                eprintln!("homeostat: {error}");
                eprintln!("This is what the journal in {} says; nothing is running:\n", place.data.display());
                Ok(Err(reader))
            }
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// What the journal knows.
pub(super) fn folded(reader: &JournalReader) -> Ledger {
    let mut ledger = Ledger::default();
    for entry in reader.events_and_effects(0) {
        match entry {
            Ok(entry) => match &entry.body {
                EntryBody::Event(event) => ledger.apply_event(entry.at, event),
                EntryBody::Effect(record) => ledger.apply_record(entry.at, record),
            },
            Err(error) => eprintln!("homeostat: an entry is left out: {error}"),
        }
    }
    ledger
}

fn print_section(title: &str, text: &str) {
    println!("\n{title}\n{text}");
}

fn print_ledger(now: Time, ledger: &LedgerView) {
    if let Some(hands_off) = &ledger.hands_off {
        let reason = show::clean(&hands_off.reason);
        println!(
            "HANDS OFF {} by {}: {reason}. Nothing is sent until `homeostat resume`.",
            view::distance(now, hands_off.since),
            hands_off.by
        );
    }
    if !ledger.approvals.is_empty() {
        print_section("Waiting for a person (`homeostat approve <action>`)", &show::approvals(now, &ledger.approvals));
    }
    let firing: Vec<_> = ledger.incidents.iter().filter(|incident| incident.firing > 0).cloned().collect();
    if !firing.is_empty() {
        print_section("Incidents", &show::incidents(now, &firing));
    }
}

/// `homeostat status`
pub(super) async fn status(place: &Place, json: bool) -> Ended {
    let answer: Value = match falls_back(place, client(place).get("/api/v1/status").await)? {
        Ok(answer) => answer,
        Err(reader) => return status_of_journal(&reader, json),
    };
    let seen: StatusSeen = serde_json::from_value(answer.clone())?;
    let well = seen.daemon.ready
        && seen.overview.ledger.hands_off.is_none()
        && seen.overview.observer_faults.is_empty()
        && seen.daemon.sensors.iter().all(|sensor| sensor.health != Health::Blind);
    if json {
        show::json(&answer)?;
    } else {
        print_status(&seen);
    }
    Ok(if well { Exit::Ok } else { Exit::Unhealthy })
}

fn print_status(seen: &StatusSeen) {
    let (now, daemon) = (seen.at, &seen.daemon);
    println!(
        "Homeostat {}, started {} (start {} on this journal)",
        daemon.version,
        view::distance(now, daemon.started_at),
        daemon.generation
    );
    if !daemon.ready {
        println!("NOT READY: {}", daemon.not_ready_because.join("; "));
    }
    for policy in &seen.overview.observer_faults {
        println!("OBSERVER FAULT: many targets of {policy} look bad at once; its wishes wait.");
    }
    print_ledger(now, &seen.overview.ledger);
    print_section("Sensors", &show::sensors(now, &daemon.sensors));
    print_section("Policies", &show::policies(now, &seen.overview.policies));
    if !seen.overview.series.is_empty() {
        print_section(
            &format!("Series ({} of {})", seen.overview.series.len(), seen.overview.series_total),
            &show::series(&seen.overview.series),
        );
    }
    let recent: Vec<ActionLine> = seen.overview.ledger.actions.iter().take(10).cloned().collect();
    if !recent.is_empty() {
        print_section("Recent actions (`homeostat explain <action>`)", &show::actions(now, &recent));
    }
    let count = |name: &str| seen.overview.stats[name].as_u64().unwrap_or(0);
    let (samples, evaluations, acts) = (count("samples"), count("evaluations"), count("acts"));
    println!(
        "\n{} series, {samples} samples, {evaluations} evaluations of {} targets, {acts} actions sent since the start",
        seen.overview.series_total, seen.overview.targets
    );
    println!("What was done within a day costs, by what the verbs say: {}", view::spent(&seen.overview.spent_day));
}

fn status_of_journal(reader: &JournalReader, json: bool) -> Ended {
    let ledger = folded(reader);
    let seen = LedgerView::of(&ledger, view::ACTIONS_SHOWN);
    if json {
        show::json(&json!({ "at": now(), "daemon": null, "overview": seen }))?;
    } else {
        print_ledger(now(), &seen);
        print_section("Last actions", &show::actions(now(), &seen.actions[..seen.actions.len().min(10)]));
    }
    Ok(Exit::NotRunning)
}

/// Whether a text names an action: `a12` or `12`.
fn as_action(what: &str) -> Option<ActionId> {
    what.parse().ok()
}

/// `homeostat explain`
pub(super) async fn explain(place: &Place, what: &str, target: &str, json: bool) -> Ended {
    match as_action(what) {
        Some(id) => explain_action(place, id, json).await,
        None => explain_policy(place, what, target, json).await,
    }
}

async fn explain_action(place: &Place, id: ActionId, json: bool) -> Ended {
    let answer: Value = match falls_back(place, client(place).get(&format!("/api/v1/actions/{id}")).await)? {
        Ok(answer) => answer,
        Err(reader) => {
            let found = Explanation::of(&folded(&reader), id);
            let found = found.ok_or_else(|| {
                anyhow::anyhow!("there is no action {id} in the journal's last {} actions", homeostat_kernel::ledger::ACTIONS_MAX)
            })?;
            if json {
                show::json(&found)?
            } else {
                print_lines(&found.text(view::moment))
            }
            return Ok(Exit::NotRunning);
        }
    };
    if json {
        show::json(&answer)?;
    } else {
        print_lines(&serde_json::from_value::<ActionSeen>(answer)?.text);
    }
    Ok(Exit::Ok)
}

fn print_lines(text: &str) {
    for line in text.lines() {
        println!("{}", show::clean(line));
    }
}

async fn explain_policy(place: &Place, policy: &str, target: &str, json: bool) -> Ended {
    #[derive(Deserialize)]
    struct Seen {
        policy: PolicySeen,
        units: Vec<UnitSeen>,
    }
    let path = format!("/api/v1/policies/{}?target={}", escaped(policy), escaped(target));
    let answer: Value = client(place).get(&path).await?;
    if json {
        show::json(&answer)?;
        return Ok(Exit::Ok);
    }
    let seen: Seen = serde_json::from_value(answer)?;
    let policy = &seen.policy;
    println!("{}  {}", policy.policy, show::clean(&policy.doc));
    println!(
        "runs for {}, at the latest every {}; autonomy {}; {} targets\n",
        policy.runs_for, policy.every, policy.autonomy, policy.targets
    );
    if seen.units.is_empty() {
        println!("no target{}", if target.is_empty() { String::new() } else { format!(" whose name holds `{target}`") });
    } else {
        println!("{}", show::units(now(), &seen.units));
    }
    Ok(Exit::Ok)
}

/// `homeostat actions`
pub(super) async fn actions(place: &Place, limit: usize, json: bool) -> Ended {
    #[derive(Deserialize)]
    struct Seen {
        actions: Vec<ActionLine>,
    }
    let (actions, exit) = match falls_back(place, client(place).get::<Seen>(&format!("/api/v1/actions?limit={limit}")).await)? {
        Ok(seen) => (seen.actions, Exit::Ok),
        Err(reader) => (view::actions(&folded(&reader), limit), Exit::NotRunning),
    };
    if json {
        show::json(&actions)?
    } else {
        println!("{}", show::actions(now(), &actions))
    }
    Ok(exit)
}

fn checked_action(id: &str) -> anyhow::Result<ActionId> {
    as_action(id).ok_or_else(|| anyhow::anyhow!("`{}` is not an action: expected a number such as `a12`", show::clean(id)))
}

/// Prints what an order led to.
pub(super) fn print_answer(answer: &Value, json: bool, text: impl FnOnce(&Value) -> String) -> Ended {
    if json {
        show::json(answer)?
    } else {
        println!("{}", show::clean(&text(answer)))
    }
    Ok(Exit::Ok)
}

pub(super) fn standing(answer: &Value) -> String {
    let field = |name: &str| answer["action"][name].as_str().unwrap_or("?").to_owned();
    format!("{} is {} now", field("id"), field("phase"))
}

/// `homeostat approve`: shows what is approved, then approves exactly that.
pub(super) async fn approve(place: &Place, id: &str, plan: Option<String>, json: bool) -> Ended {
    let id = checked_action(id)?;
    let shown: ActionSeen = client(place).get(&format!("/api/v1/actions/{id}")).await?;
    if !json {
        println!("{}\n", show::plan(now(), &shown.line));
    }
    // The plan that was just shown, so that what changes in between is refused.
    let plan = plan.unwrap_or(shown.line.plan);
    let answer: Value = client(place).post(&format!("/api/v1/approvals/{id}/approve"), &json!({ "plan": plan })).await?;
    print_answer(&answer, json, |answer| format!("Approved: {}.", standing(answer)))
}

/// `homeostat deny`; `never`: for good.
pub(super) async fn deny(place: &Place, id: &str, never: bool, json: bool) -> Ended {
    let id = checked_action(id)?;
    let word = if never { "never" } else { "deny" };
    let answer: Value = client(place).post(&format!("/api/v1/approvals/{id}/{word}"), &json!({})).await?;
    print_answer(&answer, json, |answer| match answer["action"]["policy"].as_str().filter(|_| never) {
        Some(policy) => {
            let symptom = answer["action"]["symptom"].as_str().unwrap_or("?");
            format!("Denied for good: {}. `homeostat unlock {policy} '{symptom}'` allows it again.", standing(answer))
        }
        None => format!("Denied: {}.", standing(answer)),
    })
}

/// `homeostat pause`
pub(super) async fn pause(place: &Place, reason: &str, json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/pause", &json!({ "reason": reason })).await?;
    print_answer(&answer, json, |answer| {
        let why = answer["hands_off"]["reason"].as_str().unwrap_or("?");
        format!("Hands off ({why}): sensing goes on, nothing is sent until `homeostat resume`.")
    })
}

/// `homeostat resume`
pub(super) async fn resume(place: &Place, json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/resume", &json!({})).await?;
    print_answer(&answer, json, |_| "Homeostat acts again.".into())
}

/// `homeostat unlock`
pub(super) async fn unlock(place: &Place, policy: &str, symptom: &str, json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/unlock", &json!({ "policy": policy, "symptom": symptom })).await?;
    print_answer(&answer, json, |_| format!("Attempts of {policy} {symptom} are forgotten."))
}
