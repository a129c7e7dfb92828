//! The drain itself: rounds of looking and evicting until nothing that can go is left.
//!
//! Each round reads the node's pods anew, so that success is seen and not counted up. Pods leave in parallel (an eviction returns at
//! once), at most as many as configured at a time; a spent disruption budget is asked again every five seconds. Deliberately absent:
//! deleting past a budget. An editor breaks this by uncordoning, after a failure, a node that somebody else cordoned.

use super::call::{Call, POD};
use super::cordon::{self, Cordon};
use super::evict::{Allowed, Fate, eviction, fate};
use super::frame::{Deed, Run, Step, seen};
use super::node::{DRAIN, Node, is_ours, marked};
use super::place::{Place, field, flag, int, terminating};
use super::refusal::{Meaning, Refusal};
use super::rights;
use homeostat_model::{FaultCode, Outcome, Receipt, Span};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// How many names stand in a message.
const NAMES_SHOWN: usize = 5;
/// Kept for taking the cordon back when a drain fails, as a part of the time allowed.
const CLEANUP_SHARE: u32 = 10;

/// A drain under way.
struct Drain<'a> {
    node: &'a Node,
    run: &'a Run<'a>,
    place: &'a Place,
    allowed: Allowed,
    grace_seconds: Option<i64>,
    until: Instant,
    /// When a pod (by uid) may be asked for again.
    not_before: BTreeMap<String, Instant>,
    evicted: BTreeSet<String>,
    last: String,
}

/// The pods of a node.
async fn pods(run: &Run<'_>, node: &str, until: Instant) -> Result<Vec<Value>, Refusal> {
    run.client.list(&POD, "", &[("fieldSelector", &format!("spec.nodeName={node}"))], until).await
}

fn allowed(run: &Run<'_>) -> Allowed {
    Allowed { emptydir: flag(run.action, "delete_emptydir"), bare: flag(run.action, "force") }
}

fn uid(pod: &Value) -> String {
    field(pod, "/metadata/uid").to_owned()
}

fn named(pod: &Value) -> String {
    format!("{}/{}", field(pod, "/metadata/namespace"), field(pod, "/metadata/name"))
}

fn names(pods: &[&Value]) -> String {
    let shown: Vec<String> = pods.iter().take(NAMES_SHOWN).map(|pod| named(pod)).collect();
    let more = pods.len().saturating_sub(NAMES_SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Drains a node; see [`Node`].
pub(super) async fn drain<'a>(node: &'a Node, run: &'a Run<'a>, place: &'a Place) -> Step<Receipt> {
    may(node, run).await?;
    let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
    let labels = &object["metadata"]["labels"];
    let is_control =
        ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"].iter().any(|role| labels.get(*role).is_some());
    if is_control && !node.config.drain_control_plane {
        return Err(
            run.not_done(FaultCode::Denied, "the node belongs to the control plane; `kubernetes.node.drain_control_plane` would allow it")
        );
    }
    let left = run.deadline.saturating_duration_since(Instant::now());
    let mut drain = Drain {
        node,
        run,
        place,
        allowed: allowed(run),
        grace_seconds: int(run.action, "grace_seconds"),
        until: run.deadline - left / CLEANUP_SHARE,
        not_before: BTreeMap::new(),
        evicted: BTreeSet::new(),
        last: "nothing was seen of it".into(),
    };
    drain.rehearse().await?;
    let held = cordon::cordon(run, place).await?;
    match drain.rounds().await {
        Ok(observed) => Ok(if is_ours(run, &held) { marked(seen(observed), &run.decision()) } else { seen(observed) }),
        Err(outcome) => Err(drain.given_up(outcome, &held).await),
    }
}

/// Asks the server whether we may, before anything is touched.
async fn may(node: &Node, run: &Run<'_>) -> Step<()> {
    let mut lacking = Vec::new();
    for need in node.needs().into_iter().filter(|need| need.verb.as_str() == DRAIN) {
        for rule in &need.rules {
            lacking.extend(rights::missing(run.client, rule, run.deadline).await.map_err(|refusal| run.refused(&refusal))?);
        }
    }
    if lacking.is_empty() { Ok(()) } else { Err(run.not_done(FaultCode::Denied, format!("rights are missing: {}", lacking.join("; ")))) }
}

impl Drain<'_> {
    /// Looks at every pod, and lets the server try its eviction, before the node is touched. What a budget holds may be free later.
    async fn rehearse(&self) -> Step<()> {
        let refused = |refusal: Refusal| self.run.refused(&refusal);
        let pods = pods(self.run, &self.place.name, self.until).await.map_err(refused)?;
        self.forbidden(&pods)?;
        for pod in pods.iter().filter(|pod| fate(pod, self.allowed) == Fate::Goes && !terminating(pod)) {
            match self.run.read(&self.eviction(pod).dry()).await {
                Err(refusal) if matches!(refusal.meaning(), Meaning::Denied | Meaning::Invalid | Meaning::TwoBudgets) => {
                    let detail = format!("{} cannot be evicted: {}", named(pod), refusal.words());
                    return Err(self.run.not_done(refusal.code(), detail));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn eviction(&self, pod: &Value) -> Call {
        eviction(field(pod, "/metadata/namespace"), field(pod, "/metadata/name"), &uid(pod), self.grace_seconds)
    }

    /// Refuses what the filters or the configured namespaces forbid.
    fn forbidden(&self, pods: &[Value]) -> Step<()> {
        let mut why = Vec::new();
        for pod in pods {
            let namespace = field(pod, "/metadata/namespace");
            match fate(pod, self.allowed) {
                Fate::Forbids(reason) => why.push(reason),
                Fate::Goes if !self.run.client.namespaces().is_empty() => {
                    why.extend(self.run.client.namespace_problem(namespace).map(|problem| format!("{}: {problem}", named(pod))));
                }
                _ => {}
            }
        }
        if why.is_empty() {
            return Ok(());
        }
        let count = why.len();
        why.truncate(NAMES_SHOWN);
        Err(self.run.not_done(FaultCode::Conflict, format!("{count} pods forbid the drain: {}", why.join("; "))))
    }

    /// Rounds until nothing is left that can go.
    async fn rounds(&mut self) -> Step<String> {
        let poll = self.run.client.poll();
        loop {
            // The order to stop is noted before it is followed: either it shows here, or it finds the cordon and takes it away.
            if self.run.told_to_stop() {
                return Err(self.run.not_done(FaultCode::Conflict, "it was told to stop"));
            }
            match pods(self.run, &self.place.name, self.until).await {
                Ok(pods) => {
                    self.forbidden(&pods)?;
                    let left: Vec<&Value> = pods.iter().filter(|pod| fate(pod, self.allowed) == Fate::Goes).collect();
                    if left.is_empty() {
                        return self.closed(pods.len()).await;
                    }
                    self.last = format!("{} pods are still there: {}", left.len(), names(&left));
                    self.round(&left).await?;
                }
                Err(refusal) if refusal.is_passing() => self.last = refusal.words(),
                Err(refusal) => return Err(self.run.refused(&refusal)),
            }
            if !self.pause(poll).await {
                return Err(self.run.unknown(FaultCode::TimedOut, self.last.clone()));
            }
        }
    }

    async fn pause(&self, span: Span) -> bool {
        let wait = self.run.client.pace().real(span);
        if Instant::now() + wait >= self.until {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }

    /// One round of evictions.
    async fn round(&mut self, left: &[&Value]) -> Step<()> {
        let mut leaving = left.iter().filter(|pod| terminating(pod)).count();
        for pod in left.iter().filter(|pod| !terminating(pod)) {
            let id = uid(pod);
            if leaving >= self.node.config.parallel {
                break;
            }
            if self.not_before.get(&id).is_some_and(|at| *at > Instant::now()) {
                continue;
            }
            match self.run.write(&self.eviction(pod)).await? {
                Ok(_) => {
                    leaving += 1;
                    self.evicted.insert(id.clone());
                    // Seen again next round as leaving; asked again only if it is not.
                    self.wait_for(id, self.node.config.budget_retry);
                }
                Err(refusal) => match refusal.meaning() {
                    // Gone, or another pod of that name: the next round sees it.
                    Meaning::Gone | Meaning::Stale | Meaning::Exists => {}
                    Meaning::Budget => {
                        let asked = refusal.retry_after().unwrap_or_default();
                        let asked = Span(i64::try_from(asked.as_millis()).unwrap_or(0));
                        self.wait_for(id, self.node.config.budget_retry.max(asked));
                        self.last = format!("{} is held by its disruption budget: {}", named(pod), refusal.words());
                    }
                    Meaning::Later | Meaning::Lost | Meaning::Expired => self.last = refusal.words(),
                    Meaning::Denied | Meaning::Invalid | Meaning::TwoBudgets | Meaning::Owned => {
                        let detail = format!("{} cannot be evicted: {}", named(pod), refusal.words());
                        return Err(self.run.not_done(refusal.code(), detail));
                    }
                },
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, uid: String, span: Span) {
        self.not_before.insert(uid, Instant::now() + self.run.client.pace().real(span));
    }

    /// Nothing is left; the node must still be closed, or new pods are on their way.
    async fn closed(&self, staying: usize) -> Step<String> {
        let node = self.run.read(&Call::get(self.place.path())).await.map_err(|refusal| self.run.refused(&refusal))?;
        if cordon::of(&node) == Cordon::None {
            return Err(self.run.not_done(FaultCode::Conflict, "somebody uncordoned the node during the drain"));
        }
        Ok(format!("{} pods evicted and gone; {staying} of DaemonSets and static pods stay; cordoned", self.evicted.len()))
    }

    /// After a failure: our cordon is taken back. What is known depends on whether the server still answers.
    async fn given_up(&self, outcome: Outcome, held: &Cordon) -> Outcome {
        let (Outcome::NotDone(mut fault) | Outcome::Unknown(mut fault)) = outcome else { return outcome };
        let evicted = format!("{} pods were evicted", self.evicted.len());
        if !is_ours(self.run, held) {
            fault.detail = format!("{}; {evicted}; the cordon is not ours and stays", fault.detail);
            // The list answered (or refused) definitely, unless the server was gone.
            return match pods(self.run, &self.place.name, self.run.client.look_deadline()).await {
                Ok(_) => Outcome::NotDone(fault),
                Err(_) => Outcome::Unknown(fault),
            };
        }
        match cordon::uncordon(self.run, self.place, Some(&self.run.decision()), self.run.client.look_deadline()).await {
            Ok(how) => {
                fault.detail = format!("{}; {evicted}; {how} again", fault.detail);
                Outcome::NotDone(fault)
            }
            Err(Outcome::NotDone(other) | Outcome::Unknown(other)) => {
                fault.detail = format!("{}; {evicted}; our cordon could not be taken back: {}", fault.detail, other.detail);
                Outcome::Unknown(fault)
            }
            Err(Outcome::Done(_)) => Outcome::Unknown(fault),
        }
    }
}

/// Whether the node is drained: closed, and only pods of DaemonSets and static ones left. What is not, and whose time is over, is half
/// done while the cordon is of this very action: a look writes nothing, so `revert` takes it back.
pub(super) async fn look(run: &Run<'_>, place: &Place) -> Step<Receipt> {
    let node = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
    let pods = pods(run, &place.name, run.deadline).await.map_err(|refusal| run.refused(&refusal))?;
    let held = cordon::of(&node);
    let left: Vec<&Value> = pods.iter().filter(|pod| fate(pod, Allowed { emptydir: true, bare: true }) == Fate::Goes).collect();
    if left.is_empty() && held != Cordon::None {
        let receipt = seen(format!("drained: {} of DaemonSets and static pods stay; cordoned", pods.len()));
        return Ok(if is_ours(run, &held) { marked(receipt, &run.decision()) } else { receipt });
    }
    let cordoned = match &held {
        Cordon::None => "not cordoned".to_owned(),
        Cordon::Ours(by) => format!("still cordoned by {by}; taking it back, or `node.uncordon`, opens it"),
        Cordon::Others => "cordoned by somebody else".to_owned(),
    };
    let words = if left.is_empty() { "no pod is left".into() } else { format!("{} pods are left: {}", left.len(), names(&left)) };
    let detail = format!("{words}; the node is {cordoned}");
    Err(if run.over && is_ours(run, &held) { run.not_done(FaultCode::HalfDone, detail) } else { run.too_late(detail) })
}
