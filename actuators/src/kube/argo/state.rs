//! What an Argo CD Application says: whether something may be begun, how our operation goes, what an undo needs. Pure.
//!
//! A finished operation stays in `status.operationState` until the next begins (a patch does not clear it), so an operation is ours only
//! if it began anew and carries our decision. Deliberately absent: asking and waiting. An editor breaks this by believing a phase
//! without comparing `startedAt`.

use homeostat_model::FaultCode;
use serde_json::Value;

/// What an action asks of an Application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To bring it to a revision (the tracked one, if none is named).
    Sync { revision: Option<String>, prune: bool },
    /// To bring it back to an entry of its history.
    Rollback { id: i64 },
    /// To compare again.
    Refresh { hard: bool },
}

/// How our operation goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Done, and seen to be.
    Done(String),
    /// It failed.
    Failed(String),
    /// Not yet.
    Waiting(String),
}

fn text<'a>(app: &'a Value, pointer: &str) -> &'a str {
    app.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// When the last operation began; empty if there was none.
pub(super) fn started(app: &Value) -> &str {
    text(app, "/status/operationState/startedAt")
}

/// When it was compared last.
pub(super) fn compared(app: &Value) -> &str {
    text(app, "/status/reconciledAt")
}

/// An entry of the history.
pub(super) fn entry(app: &Value, id: i64) -> Option<&Value> {
    app["status"]["history"].as_array()?.iter().find(|entry| entry["id"] == id)
}

/// The newest entry of the history: what runs now.
pub(super) fn newest(app: &Value) -> Option<i64> {
    app["status"]["history"].as_array()?.iter().filter_map(|entry| entry["id"].as_i64()).max()
}

/// Whether Argo CD syncs it by itself.
pub(super) fn is_automated(app: &Value) -> bool {
    let automated = &app["spec"]["syncPolicy"]["automated"];
    automated.is_object() && automated["enabled"] != false
}

/// Why nothing can be begun now.
pub(super) fn refusal(app: &Value, ask: &Ask) -> Option<(FaultCode, String)> {
    let conflict = |why: String| Some((FaultCode::Conflict, why));
    if !text(app, "/metadata/deletionTimestamp").is_empty() {
        return conflict("the application is being deleted".into());
    }
    if matches!(ask, Ask::Refresh { .. }) {
        return None;
    }
    let phase = text(app, "/status/operationState/phase");
    if app["operation"].is_object() || matches!(phase, "Running" | "Terminating") {
        return conflict("another operation is already in progress".into());
    }
    let Ask::Rollback { id } = ask else { return None };
    if is_automated(app) {
        return conflict(
            "rollback cannot be initiated when auto-sync is enabled: it would be synced forward again; switch it off first".into(),
        );
    }
    if entry(app, *id).is_none() {
        let known: Vec<String> =
            app["status"]["history"].as_array().into_iter().flatten().filter_map(|entry| Some(entry["id"].as_i64()?.to_string())).collect();
        return Some((FaultCode::NotFound, format!("its history has no entry {id}; there are: {}", known.join(", "))));
    }
    None
}

/// Whether it is as asked already.
pub(super) fn is_already(app: &Value, ask: &Ask) -> bool {
    let Ask::Sync { revision, .. } = ask else { return false };
    let healthy = text(app, "/status/health/status") == "Healthy";
    let synced = text(app, "/status/sync/status") == "Synced";
    healthy && synced && revision.as_ref().is_none_or(|revision| text(app, "/status/sync/revision") == revision)
}

/// The revision that an ask leads to, if it names one.
fn wanted<'a>(app: &'a Value, ask: &'a Ask) -> Option<&'a str> {
    match ask {
        Ask::Sync { revision, .. } => revision.as_deref(),
        Ask::Rollback { id } => entry(app, *id).and_then(|entry| entry["revision"].as_str()),
        Ask::Refresh { .. } => None,
    }
}

/// Whether the operation that is shown is ours: it carries our decision, or (a rollback by REST cannot carry any) it leads where ours does.
fn is_ours(app: &Value, ask: &Ask, decision: &str) -> bool {
    let operation = &app["status"]["operationState"]["operation"];
    let marked = operation["info"].as_array().is_some_and(|all| all.iter().any(|info| info["value"] == decision));
    let unmarked = matches!(ask, Ask::Rollback { .. }) && operation["info"].as_array().is_none_or(Vec::is_empty);
    marked || (unmarked && wanted(app, ask).is_some_and(|revision| operation["sync"]["revision"] == revision))
}

/// How our operation goes; `before` is when the last one before ours began, or when it was compared last.
pub(super) fn progress(app: &Value, ask: &Ask, before: &str, decision: &str) -> Progress {
    let health = text(app, "/status/health/status");
    let sync = text(app, "/status/sync/status");
    let shown = format!("{sync}, {health}");
    if matches!(ask, Ask::Refresh { .. }) {
        let waits = app["metadata"]["annotations"]["argocd.argoproj.io/refresh"].is_string() || compared(app) == before;
        return if waits { Progress::Waiting(format!("compared at {before}")) } else { Progress::Done(format!("compared anew: {shown}")) };
    }
    let state = &app["status"]["operationState"];
    if started(app).is_empty() || started(app) == before {
        return Progress::Waiting("the operation has not begun".into());
    }
    if !is_ours(app, ask, decision) {
        return Progress::Waiting(format!("another operation began at {}", started(app)));
    }
    let message: String = state["message"].as_str().unwrap_or("no message").chars().take(300).collect();
    match state["phase"].as_str().unwrap_or_default() {
        "Succeeded" => {}
        "Failed" | "Error" => return Progress::Failed(message),
        other => return Progress::Waiting(format!("{other}: {message}")),
    }
    let revision = state["syncResult"]["revision"].as_str().unwrap_or_default();
    if wanted(app, ask).is_some_and(|wanted| !revision.is_empty() && revision != wanted) {
        return Progress::Failed(format!("it ended at revision {revision}, not at the one asked for"));
    }
    // What was brought to another revision than the tracked one is OutOfSync, and rightly so.
    let in_sync = sync == "Synced" || !matches!(ask, Ask::Sync { revision: None, .. });
    if in_sync && health == "Healthy" {
        return Progress::Done(format!("at revision {revision}: {shown}"));
    }
    Progress::Waiting(format!("the operation succeeded; it is {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(started: &str, phase: &str, decision: &str, sync: &str, health: &str) -> Value {
        json!({ "metadata": { "name": "web" }, "spec": { "project": "home" }, "status": {
            "sync": { "status": sync, "revision": "abc" }, "health": { "status": health },
            "history": [{ "id": 3, "revision": "old" }, { "id": 4, "revision": "abc" }],
            "operationState": { "phase": phase, "startedAt": started, "message": "m", "syncResult": { "revision": "abc" },
                "operation": { "info": [{ "name": "decision", "value": decision }], "sync": {} } } } })
    }
    const SYNC: Ask = Ask::Sync { revision: None, prune: false };

    #[test]
    fn a_stale_operation_is_never_ours() {
        let stale = app("t1", "Succeeded", "j1-a1", "Synced", "Healthy");
        assert_eq!(progress(&stale, &SYNC, "t1", "j1-a1"), Progress::Waiting("the operation has not begun".into()));
        assert!(matches!(progress(&stale, &SYNC, "t0", "j1-a1"), Progress::Done(_)));
        assert!(matches!(progress(&stale, &SYNC, "t0", "j1-a2"), Progress::Waiting(why) if why.contains("another")));
    }

    #[test]
    fn success_needs_synced_and_healthy() {
        for (phase, sync, health, expected) in [
            ("Succeeded", "Synced", "Healthy", "Done"),
            ("Succeeded", "Synced", "Progressing", "Waiting"),
            ("Succeeded", "Synced", "Degraded", "Waiting"),
            ("Succeeded", "OutOfSync", "Healthy", "Waiting"),
            ("Running", "OutOfSync", "Healthy", "Waiting"),
            ("Failed", "OutOfSync", "Healthy", "Failed"),
            ("Error", "Synced", "Healthy", "Failed"),
        ] {
            let got = format!("{:?}", progress(&app("t2", phase, "d", sync, health), &SYNC, "t1", "d"));
            assert!(got.starts_with(expected), "{phase} {sync} {health}: {got}");
        }
    }

    #[test]
    fn what_cannot_be_begun_says_why_in_argos_words() {
        let mut busy = app("t1", "Running", "x", "Synced", "Healthy");
        assert!(refusal(&busy, &SYNC).unwrap().1.contains("already in progress"));
        assert_eq!(refusal(&busy, &Ask::Refresh { hard: false }), None);
        busy["status"]["operationState"]["phase"] = json!("Succeeded");
        assert_eq!(refusal(&busy, &SYNC), None);
        let back = Ask::Rollback { id: 3 };
        assert_eq!(refusal(&busy, &back), None);
        assert!(refusal(&busy, &Ask::Rollback { id: 9 }).unwrap().1.contains("there are: 3, 4"));
        busy["spec"]["syncPolicy"] = json!({ "automated": {} });
        assert!(refusal(&busy, &back).unwrap().1.contains("auto-sync"));
        busy["spec"]["syncPolicy"] = json!({ "automated": { "enabled": false } });
        assert_eq!(refusal(&busy, &back), None);
        busy["operation"] = json!({ "sync": {} });
        assert_eq!(refusal(&busy, &SYNC).unwrap().0, FaultCode::Conflict);
    }

    #[test]
    fn a_rollback_is_out_of_sync_and_done() {
        let mut rolled = app("t2", "Succeeded", "d", "OutOfSync", "Healthy");
        rolled["status"]["operationState"]["syncResult"]["revision"] = json!("old");
        rolled["status"]["operationState"]["operation"] = json!({ "sync": { "revision": "old" } }); // by REST: no info
        assert!(matches!(progress(&rolled, &Ask::Rollback { id: 3 }, "t1", "d"), Progress::Done(_)));
        assert_eq!(newest(&rolled), Some(4));
    }
}
