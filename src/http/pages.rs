//! The pages people read: the status, one action, one policy. Rendered here, without scripts, for a phone too.
//!
//! Texts from people and workloads are escaped by the templates. Deliberately absent: orders; a page that could order something could
//! be made to. An editor breaks this by marking a text as safe.

use super::api::{Answer, PolicyQuery, action_id, explanation, policy_and_units};
use super::view::{self, ActionLine, Overview, evidence_line};
use super::webhooks::unavailable;
use super::{App, failure};
use crate::live::DaemonStatus;
use crate::scores::show::PolicyScores;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use homeostat_kernel::kernel::{Explanation, PolicyView, UnitView};
use homeostat_model::{Health, Stance, Time};
use std::sync::Arc;

/// Targets of one policy's page.
const UNITS_SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    now: Time,
    daemon: &'a DaemonStatus,
    overview: &'a Overview,
    incidents: Vec<&'a view::IncidentLine>,
}

#[derive(Template)]
#[template(path = "action.html")]
struct ActionPage<'a> {
    now: Time,
    line: ActionLine,
    found: &'a Explanation,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage<'a> {
    now: Time,
    policy: &'a PolicyView,
    units: &'a [UnitView],
    left_out: usize,
    scores: Option<PolicyScores>,
}

/// Until when a guard holds, as an appendix to its words.
fn until(now: &Time, stance: &homeostat_model::Stance) -> String {
    view::until(*now, *stance)
}

fn health_name(health: &Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Blind => "blind",
    }
}

fn stance_name(stance: &Stance) -> &'static str {
    match stance {
        Stance::Pass => "pass",
        Stance::Hold { .. } => "hold",
        Stance::Ask { .. } => "ask",
        Stance::Shadow => "shadow",
        Stance::Deny => "deny",
    }
}

/// A moment as a distance, with the moment itself; `never` for none.
fn ago(now: &Time, at: &Option<Time>) -> String {
    at.map_or_else(|| "never".into(), |at| view::distance(*now, at))
}

fn distance(now: &Time, at: &Time) -> String {
    view::distance(*now, *at)
}

fn moment(at: &Time) -> String {
    view::moment(*at)
}

fn number(value: &f64) -> String {
    view::number(*value)
}

fn spent(spent: &homeostat_kernel::ledger::Spent) -> String {
    view::spent(spent)
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be rendered: {error}")),
    }
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Answer<Response> {
    let overview = app.handle.ask(Overview::of).await.map_err(|refused| unavailable(&refused))?;
    let daemon = app.handle.status();
    let incidents = overview.ledger.incidents.iter().filter(|incident| incident.firing > 0).collect();
    Ok(page(&StatusPage { now: app.handle.now(), daemon: &daemon, overview: &overview, incidents }))
}

pub(super) async fn action(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer<Response> {
    let found = explanation(&app, action_id(&id)?).await?;
    Ok(page(&ActionPage { now: app.handle.now(), line: ActionLine::of(&found.action), found: &found }))
}

pub(super) async fn policy(State(app): State<Arc<App>>, Path(id): Path<String>, Query(query): Query<PolicyQuery>) -> Answer<Response> {
    let (policy, units) = policy_and_units(&app, id.clone(), query.target).await?;
    // Without the rules the page still tells what it can.
    let scores = super::scoring::scores_of(&app, id).await.ok();
    let shown = &units[..units.len().min(UNITS_SHOWN)];
    Ok(page(&PolicyPage { now: app.handle.now(), policy: &policy, units: shown, left_out: units.len() - shown.len(), scores }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{JournalStatus, SensorStatus};
    use homeostat_kernel::{Kernel, Ledger};
    use homeostat_model::{
        ActionId, Autonomy, Claim, ClaimSubject, Fault, FaultCode, Origin, Proposal, Reason, Record, Ruling, Span, StoreSettings, Verdict,
    };
    use std::collections::BTreeMap;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let proposal = Proposal {
            origin: Origin::Policy("disk-full".into()),
            symptom: "filesystem{node=\"nas\"}".into(),
            verb: "exec.clean".into(),
            target: "node/nas".into(),
            args: BTreeMap::from([("path".to_owned(), "<script>".into())]),
            because: "<img src=x> has 3 % left".into(),
            evidence: Vec::new(),
            claim: Some(Claim { subject: ClaimSubject::Delivered, within: Span::from_mins(5) }),
            cooldown: Span::from_hours(1),
            settle: None,
            autonomy: Autonomy::Suggest,
            alternatives: Vec::new(),
        };
        let by = Time(3_600_000);
        let reasons = vec![Reason { guard: "autonomy".into(), stance: Stance::Ask { by }, text: "a person must say yes".into() }];
        let ruling = Ruling { verdict: Verdict::AwaitingApproval { by }, reasons };
        ledger.apply_record(Time(0), &Record::Ruled { action: ActionId(7), proposal: Box::new(proposal), ruling, plan: "abc123".into() });
        ledger
    }

    #[test]
    fn the_status_page_shows_what_waits_and_escapes_what_others_wrote() {
        let kernel = Kernel::new(StoreSettings::default());
        let mut overview = Overview::of(&kernel);
        overview.ledger = view::LedgerView::of(&ledger(), 10);
        overview.observer_faults = vec!["node-down".into()];
        let sensor = SensorStatus {
            name: "nas".into(),
            kind: "exposition".into(),
            source: "http://nas:9100/metrics".into(),
            health: Health::Blind,
            last_read_at: Some(Time(50_000)),
            last_ok_at: None,
            read_duration_ms: 1.0,
            samples_last: 0,
            faults: vec![Fault::new(FaultCode::Unreachable, "scrape", "no <route>")],
            reads: 1,
            reads_failed: 1,
            missed: 0,
        };
        let daemon = DaemonStatus {
            version: "1".into(),
            build: "b".into(),
            started_at: Time(0),
            generation: 1,
            ready: false,
            not_ready_because: vec!["the sensor nas is blind".into()],
            journal: JournalStatus::default(),
            sensors: vec![sensor],
            queues: BTreeMap::new(),
            actuators: Vec::new(),
            panics: 0,
            batch_max_ms: 0.0,
        };
        let html = StatusPage { now: Time(60_000), daemon: &daemon, overview: &overview, incidents: Vec::new() }.render().unwrap();
        for shown in [
            "/actions/a7",
            "exec.clean",
            "in 59m",
            "the sensor nas is blind",
            "node-down",
            "blind",
            "homeostat approve a7",
            "homeostat deny a7",
            "http-equiv=\"refresh\"",
        ] {
            assert!(html.contains(shown), "{shown} is not in\n{html}");
        }
        assert!(!html.contains("<img") && !html.contains("<route>") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn the_action_page_explains() {
        let found = Explanation::of(&ledger(), ActionId(7)).unwrap();
        let html = ActionPage { now: Time(60_000), line: ActionLine::of(&found.action), found: &found }.render().unwrap();
        for shown in
            ["autonomy", "a person must say yes", "abc123", "delivered within 5m", "/policies/disk-full", "homeostat deny a7 --never"]
        {
            assert!(html.contains(shown), "{shown} is not in\n{html}");
        }
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    }
}
