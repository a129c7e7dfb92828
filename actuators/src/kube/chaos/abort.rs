//! Ending experiments: those of one action, of one target, or all of ours, with or without a daemon.
//!
//! Ours is what carries the label `app.kubernetes.io/managed-by: homeostat`. What makes experiments (Schedules, Workflows) goes first,
//! or it would make new ones. Deliberately absent: other people's experiments. An editor breaks this by waiting for one experiment
//! before all deletes were sent, or by reporting what was deleted as recovered before it is gone.

use super::compose::ChaosKind;
use super::{EXPIRES, HOMEOSTAT, TARGET};
use crate::kube::call::{Call, Kind};
use crate::kube::client::KubeClient;
use crate::kube::frame::{DECISION, MANAGED_BY, Run, Step, seen};
use crate::kube::refusal::Refusal;
use homeostat_model::{Arg, Fault, FaultCode, Outcome, Receipt, Span, Time};
use serde_json::Value;
use std::fmt;
use tokio::time::{Instant, sleep};

/// One of our experiments on the cluster.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub path: String,
    pub uid: String,
    pub name: String,
}

/// What [`abort_all`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AbortReport {
    /// Experiments that are gone: all their targets are recovered. As `podchaos/<namespace>/<name>`.
    pub recovered: Vec<String>,
    /// Experiments that were deleted and are not taken back: a person must look. The finalizer is left alone.
    pub stuck: Vec<String>,
    /// What could not be listed or deleted.
    pub failed: Vec<Fault>,
}

impl AbortReport {
    /// Whether nothing of ours is left.
    pub fn is_clean(&self) -> bool {
        self.stuck.is_empty() && self.failed.is_empty()
    }
}

impl fmt::Display for AbortReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} experiments ended and recovered", self.recovered.len())?;
        self.recovered.iter().try_for_each(|name| writeln!(f, "  {name}"))?;
        for name in &self.stuck {
            writeln!(f, "NOT RECOVERED: {name}: a person must look (is the chaos daemon on that node running?)")?;
        }
        self.failed.iter().try_for_each(|fault| writeln!(f, "FAILED: {fault}"))
    }
}

/// How a call leaves: through an action's run, or by itself.
enum Way<'a> {
    Run(&'a Run<'a>),
    Alone(&'a KubeClient, Instant),
}

impl Way<'_> {
    fn client(&self) -> &KubeClient {
        match self {
            Way::Run(run) => run.client,
            Way::Alone(client, _) => client,
        }
    }
    fn deadline(&self) -> Instant {
        match self {
            Way::Run(run) => run.deadline,
            Way::Alone(_, deadline) => *deadline,
        }
    }
    async fn read(&self, call: &Call) -> Result<Value, Refusal> {
        self.client().call(call, self.deadline()).await
    }
    async fn write(&self, call: &Call) -> Step<Result<Value, Refusal>> {
        match self {
            Way::Run(run) => run.write(call).await,
            Way::Alone(client, deadline) => Ok(client.call(call, *deadline).await),
        }
    }
}

/// The kinds that the server serves, those that make others first.
async fn served(way: &Way<'_>) -> Result<Vec<Kind>, Refusal> {
    let list = match way.read(&Call::get(ChaosKind::Schedule.served().root())).await {
        Ok(list) => list,
        Err(refusal) if refusal.is_gone() => return Ok(Vec::new()),
        Err(refusal) => return Err(refusal),
    };
    let known = list["resources"].as_array().cloned().unwrap_or_default();
    let kinds = ChaosKind::ALL.iter().map(|kind| kind.served());
    Ok(kinds.filter(|kind| known.iter().any(|one| one["name"] == *kind.plural)).collect())
}

/// Our experiments of one kind that `wanted` picks.
async fn ours(way: &Way<'_>, kind: &Kind, wanted: &(dyn Fn(&Value) -> bool + Sync)) -> Result<Vec<Held>, Refusal> {
    let everywhere = [String::new()];
    let client = way.client();
    let namespaces = if client.namespaces().is_empty() { &everywhere[..] } else { client.namespaces() };
    let label = format!("{MANAGED_BY}={HOMEOSTAT}");
    let mut found = Vec::new();
    for namespace in namespaces {
        let listed = client.list(kind, namespace, &[("labelSelector", &label)], way.deadline()).await?;
        for object in listed.iter().filter(|object| wanted(object)) {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let path = kind.path(&text("namespace"), &text("name"));
            let name = format!("{}/{}/{}", kind.plural, text("namespace"), text("name"));
            found.push(Held { path, uid: text("uid"), name });
        }
    }
    Ok(found)
}

/// Deletes all that `wanted` picks; what is found is returned, what fails is put into the report.
async fn delete_all(way: &Way<'_>, wanted: &(dyn Fn(&Value) -> bool + Sync), report: &mut AbortReport) -> Step<Vec<Held>> {
    let doing = format!("end our experiments on {}", way.client().place());
    let kinds = match served(way).await {
        Ok(kinds) => kinds,
        Err(refusal) => {
            report.failed.push(refusal.fault(doing));
            return Ok(Vec::new());
        }
    };
    let mut all = Vec::new();
    for kind in kinds {
        let found = match ours(way, &kind, wanted).await {
            Ok(found) => found,
            Err(refusal) => {
                report.failed.push(refusal.fault(format!("{doing}: list {}", kind.plural)));
                continue;
            }
        };
        for held in found {
            match way.write(&Call::delete(&*held.path, Some(&held.uid), "Background")).await? {
                Ok(_) => all.push(held),
                Err(refusal) if refusal.is_gone() => report.recovered.push(held.name),
                Err(refusal) => report.failed.push(refusal.fault(format!("{doing}: delete {}", held.name))),
            }
        }
    }
    Ok(all)
}

/// Waits until they are gone; the report holds which are and which are not.
async fn wait_gone(way: &Way<'_>, mut left: Vec<Held>, until: Instant, report: &mut AbortReport) {
    loop {
        let mut still = Vec::new();
        for held in left {
            match way.read(&Call::get(&*held.path)).await {
                Err(refusal) if refusal.is_gone() => report.recovered.push(held.name),
                Ok(object) if object["metadata"]["uid"] != held.uid.as_str() => report.recovered.push(held.name),
                _ => still.push(held),
            }
        }
        if still.is_empty() {
            return;
        }
        let client = way.client();
        let wait = client.pace().real(client.poll());
        if Instant::now() + wait >= until {
            report.stuck.extend(still.into_iter().map(|held| held.name));
            return;
        }
        left = still;
        sleep(wait).await;
    }
}

/// Ends all experiments of Homeostat on a cluster and waits, at most `within`, until they are gone, which means that their targets are
/// recovered. Needs no daemon and no ledger. Nothing is forced.
pub async fn abort_all(client: &KubeClient, within: Span) -> AbortReport {
    sweep(client, within, &|_| true).await
}

/// The same for those whose time is over at `now`: what a daemon that was killed left behind.
pub async fn abort_expired(client: &KubeClient, now: Time, within: Span) -> AbortReport {
    let now = crate::rest::rfc3339(now);
    // Both are RFC 3339 in UTC with three digits of a second, so the order of the texts is the order of time.
    sweep(client, within, &|object| object["metadata"]["annotations"][EXPIRES].as_str().is_some_and(|at| at < now.as_str())).await
}

async fn sweep(client: &KubeClient, within: Span, wanted: &(dyn Fn(&Value) -> bool + Sync)) -> AbortReport {
    let until = client.deadline(within);
    let way = Way::Alone(client, until.max(client.look_deadline()));
    let mut report = AbortReport::default();
    match delete_all(&way, wanted, &mut report).await {
        Ok(held) => wait_gone(&way, held, until, &mut report).await,
        Err(Outcome::NotDone(fault) | Outcome::Unknown(fault)) => report.failed.push(fault),
        Err(Outcome::Done(_)) => {}
    }
    report
}

/// Which objects an action `chaos.abort` means.
fn meant<'a>(run: &'a Run<'a>) -> impl Fn(&Value) -> bool + Sync + 'a {
    let decision = match run.action.args.get("action") {
        Some(Arg::Int(id)) => Some(format!("{}-a{id}", run.client.journal())),
        _ => None,
    };
    move |object| {
        let notes = &object["metadata"]["annotations"];
        match &decision {
            Some(decision) => notes[DECISION] == decision.as_str(),
            None => run.action.target.kind() == "chaos" || notes[TARGET] == run.action.target.as_str(),
        }
    }
}

/// `chaos.abort`.
pub(super) async fn act(run: &Run<'_>) -> Step<Receipt> {
    let way = Way::Run(run);
    let mut report = AbortReport::default();
    let held = delete_all(&way, &meant(run), &mut report).await?;
    wait_gone(&way, held, run.deadline, &mut report).await;
    told(run, &report)
}

fn told(run: &Run<'_>, report: &AbortReport) -> Step<Receipt> {
    if !report.stuck.is_empty() {
        let detail = format!(
            "RecoveryStuck: {} deleted and not taken back; a person must look (is the chaos daemon on that node running?). No finalizer is removed",
            report.stuck.join(", ")
        );
        return Err(run.unknown(FaultCode::TimedOut, detail));
    }
    if let Some(fault) = report.failed.first() {
        let detail = format!("{fault}; {} were ended", report.recovered.len());
        return Err(if run.has_changed() { run.unknown(fault.code, detail) } else { run.not_done(fault.code, detail) });
    }
    if report.recovered.is_empty() {
        return Ok(seen("there was nothing to end"));
    }
    Ok(seen(format!("ended and recovered: {}", report.recovered.join(", "))))
}

/// Whether what an action `chaos.abort` meant is gone.
pub(super) async fn look(run: &Run<'_>) -> Step<Receipt> {
    let way = Way::Run(run);
    let mut left = Vec::new();
    for kind in served(&way).await.map_err(|refusal| run.refused(&refusal))? {
        left.extend(ours(&way, &kind, &meant(run)).await.map_err(|refusal| run.refused(&refusal))?);
    }
    if left.is_empty() {
        return Ok(seen("none of them is there"));
    }
    let names: Vec<&str> = left.iter().map(|held| held.name.as_str()).collect();
    Err(run.unknown(FaultCode::TimedOut, format!("still there: {}", names.join(", "))))
}
