//! Incidents and their notes on a real daemon.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_becomes_an_incident_with_a_note_that_is_up_to_date() {
    let served = served(|_| ()).await;
    let empty: Value = served.client().get("/api/v1/notes").await.unwrap();
    assert_eq!((&empty["incidents"], &empty["refused"]), (&json!([]), &json!(0)));
    assert_eq!(served.tcp("GET", "/api/v1/notes/latest", &[], "").await.0, 404);
    assert_eq!(served.tcp("POST", "/webhooks/alertmanager", &[], &alertmanager("firing")).await.0, 200);
    let found: Value = served.client().get("/api/v1/notes?since=1d").await.unwrap();
    let incident = &found["incidents"][0];
    assert_eq!((incident["place"].as_str(), incident["firing"].as_u64()), (Some("node/nas"), Some(1)), "{found}");
    let path = format!("/api/v1/notes/{}", incident["id"].as_str().unwrap());
    let (status, headers, text) = served.tcp("GET", &path, &[], "").await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/markdown; charset=utf-8"));
    assert!(text.contains("`node/nas`") && text.contains("an alert fires") && text.contains("not over"), "{text}");
    let note: crate::incidents::Note = served.client().get("/api/v1/notes/latest?format=json").await.unwrap();
    assert_eq!(note.markdown(), text);
    assert_eq!(served.tcp("GET", &format!("{path}?format=pdf"), &[], "").await.0, 400);
    assert_eq!(served.tcp("GET", "/api/v1/notes/i999999", &[], "").await.0, 404);
    assert_eq!(served.tcp("GET", "/api/v1/notes?since=week", &[], "").await.0, 400);
    served.end().await;
}
