//! Backups and restores against the face; the phases are set as Velero sets them.

use crate::conformance::action_with;
use crate::kube::chaos::tests::deeds::{definition, done, not_done};
use crate::kube::tests::Cluster;
use homeostat_kube_face::Settings;
use homeostat_model::{Action, Arg, Args, FaultCode, Outcome, Span, Time};
use serde_json::{Value, json};

async fn lab(location: &str) -> Cluster {
    let section = json!({ "velero": { "timeout": "5s", "restore": true } });
    let cluster = Cluster::start_as(Settings::default(), section).await;
    for (kind, plural) in [
        ("Backup", "backups"),
        ("Restore", "restores"),
        ("BackupStorageLocation", "backupstoragelocations"),
        ("DeleteBackupRequest", "deletebackuprequests"),
    ] {
        cluster.server.upsert(definition("velero.io", "v1", kind, plural)).unwrap();
    }
    let location = json!({ "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default", "namespace": "velero" },
        "spec": {}, "status": { "phase": location } });
    cluster.server.upsert(location).unwrap();
    cluster
}

fn backup(id: u64) -> Action {
    Action { timeout: Span::from_secs(20), ..action_with(id, "velero.backup", "namespace/web", Args::new()) }
}

/// Velero's part: gives the object its phase as soon as it is there.
async fn velero(cluster: &Cluster, shelf: &str, name: &str, status: Value) {
    cluster.until(|server| server.get(shelf, "velero", name).is_some()).await;
    assert!(cluster.server.amend(shelf, "velero", name, |object| object["status"] = status));
}

async fn ends(cluster: &Cluster, action: &Action, status: Value) -> Outcome {
    let name = format!("homeostat-j1-{}", action.id);
    let shelf = if action.verb.as_str() == "velero.backup" { "backups.velero.io" } else { "restores.velero.io" };
    let actuator = cluster.actuator("velero");
    tokio::join!(actuator.apply(Time(0), action), velero(cluster, shelf, &name, status)).0
}

#[tokio::test]
async fn a_backup_counts_when_it_is_complete_and_goes_by_request() {
    let cluster = lab("Available").await;
    let receipt = done(ends(&cluster, &backup(1), json!({ "phase": "Completed" })).await);
    let object = cluster.server.get("backups.velero.io", "velero", "homeostat-j1-a1").unwrap();
    assert_eq!(
        object["spec"],
        json!({ "includedNamespaces": ["web"], "snapshotVolumes": true, "ttl": "72h0m0s", "storageLocation": "default" })
    );
    let gone = async {
        cluster.until(|server| server.get("deletebackuprequests.velero.io", "velero", "homeostat-j1-a1").is_some()).await;
        assert!(cluster.server.delete("backups.velero.io", "velero", "homeostat-j1-a1"));
    };
    let actuator = cluster.actuator("velero");
    let action = backup(1);
    let (reverted, ()) = tokio::join!(actuator.revert(Time(0), &action, &receipt), gone);
    assert!(done(reverted).observed.contains("is deleted"));
}

#[tokio::test]
async fn partly_failed_is_not_good_enough() {
    let cluster = lab("Available").await;
    for (id, status, part) in [
        (1, json!({ "phase": "PartiallyFailed", "errors": 2 }), "PartiallyFailed, 2 errors"),
        (2, json!({ "phase": "FailedValidation", "validationErrors": ["no such namespace"] }), "no such namespace"),
        (3, json!({ "phase": "Failed", "failureReason": "disk full" }), "disk full"),
    ] {
        not_done(ends(&cluster, &backup(id), status).await, FaultCode::Failed, part);
    }
    let going = ends(&cluster, &backup(4), json!({ "phase": "FinalizingPartiallyFailed" })).await;
    assert!(matches!(&going, Outcome::Unknown(fault) if fault.detail.contains("not at its end")), "{going:?}");
}

#[tokio::test]
async fn without_its_storage_nothing_is_begun() {
    let cluster = lab("Unavailable").await;
    let actuator = cluster.actuator("velero");
    not_done(actuator.apply(Time(0), &backup(1)).await, FaultCode::Conflict, "is Unavailable");
    assert!(cluster.server.list("backups.velero.io").is_empty());
    assert_eq!(actuator.ready().await, Vec::new());
    let planned = actuator.preview(&backup(2)).unwrap();
    assert_eq!(planned.iter().filter(|one| one.writes).count(), 1);
}

#[tokio::test]
async fn a_restore_rests_on_a_complete_backup_of_that_namespace() {
    let cluster = lab("Available").await;
    let restore = |id, target: &str| {
        let args = Args::from([("backup".to_owned(), Arg::from("nightly"))]);
        Action { timeout: Span::from_secs(20), ..action_with(id, "velero.restore", target, args) }
    };
    let actuator = cluster.actuator("velero");
    not_done(actuator.apply(Time(0), &restore(1, "namespace/web")).await, FaultCode::NotFound, "no Backup `nightly`");
    let nightly = |phase: &str| {
        json!({ "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "nightly", "namespace": "velero" },
            "spec": { "includedNamespaces": ["web"] }, "status": { "phase": phase } })
    };
    cluster.server.upsert(nightly("PartiallyFailed")).unwrap();
    not_done(actuator.apply(Time(0), &restore(2, "namespace/web")).await, FaultCode::Conflict, "expected Completed");
    cluster.server.upsert(nightly("Completed")).unwrap();
    not_done(actuator.apply(Time(0), &restore(3, "namespace/db")).await, FaultCode::NotFound, "does not hold");
    done(ends(&cluster, &restore(4, "namespace/web"), json!({ "phase": "Completed" })).await);
    let made = cluster.server.get("restores.velero.io", "velero", "homeostat-j1-a4").unwrap();
    assert_eq!((&made["spec"]["backupName"], &made["spec"]["existingResourcePolicy"]), (&json!("nightly"), &json!("none")));
}
