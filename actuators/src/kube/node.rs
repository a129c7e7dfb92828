//! `node.cordon`, `node.uncordon` and `node.drain`: taking a node out of use and back.
//!
//! A cordon carries our mark; a person's cordon is never undone. Deliberately absent: powering off (that is `power`'s), and taints.
//! An editor breaks this by draining a node that keeps the cluster together.

use super::call::{Call, NODE, POD};
use super::client::KubeClient;
use super::cordon::{self, Cordon};
use super::drain;
use super::evict::eviction;
use super::frame::{Deed, Run, Step, decision, seen};
use super::place::{Place, cluster, int};
use super::rights::{Needs, Rule};
use homeostat_model::{Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, VerbSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) const CORDON: &str = "node.cordon";
pub(super) const UNCORDON: &str = "node.uncordon";
pub(super) const DRAIN: &str = "node.drain";
/// Pods that a drain is expected to move, for budgets; how many there are is known only when it begins.
const DRAIN_EVICTIONS: u32 = 10;
/// The longest grace that a drain may ask for.
const GRACE_SECONDS_MAX: i64 = 3600;
/// How long a cordon may take.
const CORDON_TIMEOUT: Span = Span::from_mins(1);

/// Cordon, uncordon and drain nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Whether nodes of the control plane may be drained.
    #[serde(default)]
    pub drain_control_plane: bool,
    /// How many pods are on their way out at once.
    #[serde(default = "parallel_default")]
    pub parallel: usize,
    /// Between two requests for a pod that a disruption budget holds.
    #[serde(default = "budget_retry_default")]
    #[schemars(with = "String")]
    pub budget_retry: Span,
    /// How long a drain may take; what has not gone by then ends it, and our cordon is taken back.
    #[serde(default = "drain_timeout_default")]
    #[schemars(with = "String")]
    pub drain_timeout: Span,
    /// How long a node needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

fn parallel_default() -> usize {
    5
}
fn budget_retry_default() -> Span {
    Span::from_secs(5)
}
fn drain_timeout_default() -> Span {
    Span::from_mins(15)
}
fn settle_default() -> Span {
    Span::from_mins(2)
}

/// The power.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) config: NodeConfig,
}

impl Node {
    /// Checks the section; every problem is listed.
    pub fn new(config: &NodeConfig) -> Result<Node, Vec<Fault>> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&config.parallel) {
            problems.push(format!("`parallel` is {}, expected 1 to 100", config.parallel));
        }
        if config.drain_timeout <= Span::ZERO || config.budget_retry <= Span::ZERO || config.settle < Span::ZERO {
            problems.push("`drain_timeout` and `budget_retry` must be more than 0s, `settle` not negative".into());
        }
        let fault = |problem| Fault::new(FaultCode::Malformed, "configure `kubernetes.node`", problem);
        if problems.is_empty() { Ok(Node { config: config.clone() }) } else { Err(problems.into_iter().map(fault).collect()) }
    }

    async fn acted(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = cluster(run.action, NODE).map_err(|fault| run.unsent(fault))?;
        match run.action.verb.as_str() {
            DRAIN => drain::drain(self, run, &place).await,
            UNCORDON => {
                // What was so before is so without a write; the words tell which.
                let observed = cordon::uncordon(run, &place, None, run.deadline).await?;
                Ok(seen(observed))
            }
            _ => match cordon::cordon(run, &place).await? {
                Cordon::Ours(by) if by == run.decision() => Ok(marked(seen("cordoned"), &by)),
                Cordon::Ours(by) => Ok(seen(format!("was already cordoned, by decision {by}"))),
                _ => Ok(seen("was already cordoned, by somebody else; it stays theirs")),
            },
        }
    }

    async fn looked(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = cluster(run.action, NODE).map_err(|fault| run.unsent(fault))?;
        if run.action.verb.as_str() == DRAIN {
            return drain::look(run, &place).await;
        }
        let node = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
        let wants_open = run.action.verb.as_str() == UNCORDON;
        match cordon::of(&node) {
            Cordon::None if wants_open => Ok(seen("not cordoned")),
            Cordon::Ours(by) if !wants_open && by == run.decision() => Ok(marked(seen("cordoned"), &by)),
            Cordon::Ours(_) | Cordon::Others if !wants_open => Ok(seen("cordoned, by another decision or person")),
            found => Err(run.too_late(format!("the node's cordon is {found:?}"))),
        }
    }

    async fn taken_back(&self, run: &Run<'_>, receipt: &Receipt) -> Step<Receipt> {
        let place = cluster(run.action, NODE).map_err(|fault| run.unsent(fault))?;
        let by = match receipt.undo.get("cordoned_by") {
            Some(Arg::Text(by)) => by.clone(),
            // What was half done, or was told to stop while it ran, has no receipt: the mark on the node tells.
            _ => {
                let node = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
                if !is_ours(run, &cordon::of(&node)) {
                    return Ok(seen("no cordon on the node is of this action, so there is nothing to take back"));
                }
                run.decision()
            }
        };
        Ok(seen(cordon::uncordon(run, &place, Some(&by), run.deadline).await?))
    }
}

/// The receipt of a cordon of ours.
pub(super) fn marked(mut receipt: Receipt, decision: &str) -> Receipt {
    receipt.undo = BTreeMap::from([("cordoned_by".to_owned(), Arg::Text(decision.to_owned()))]);
    receipt
}

impl Deed for Node {
    fn spec(&self) -> ActuatorSpec {
        let verb = |name: &str, class, timeout, opposite: Option<&str>, revertible, doc: &str| VerbSpec {
            verb: name.into(),
            class,
            args: Vec::new(),
            target_kinds: vec!["node".into()],
            targets: None,
            opposite: opposite.map(Into::into),
            settle: self.config.settle,
            timeout,
            revertible,
            cost: Cost::default(),
            doc: doc.into(),
        };
        let arg = |name: &str, kind, doc: &str| ArgSpec { name: name.into(), kind, required: false, doc: doc.into() };
        let drain_args = vec![
            arg("delete_emptydir", ArgKind::Bool, "Whether data in emptyDir volumes may be lost."),
            arg("force", ArgKind::Bool, "Whether pods go that no controller brings back."),
            arg("grace_seconds", ArgKind::Int(1, GRACE_SECONDS_MAX), "How long each pod gets to stop; absent: what the pod says."),
        ];
        let doc = "Closes a node for new pods and moves the others away, within their disruption budgets.";
        let drain = VerbSpec {
            args: drain_args,
            cost: Cost { disruption: Span::from_mins(1), evictions: DRAIN_EVICTIONS, ..Cost::default() },
            ..verb(DRAIN, Class::Disruptive, self.config.drain_timeout, None, true, doc)
        };
        let cordon_doc = "Closes a node for new pods.";
        let uncordon_doc = "Opens a node that was cordoned by Homeostat for new pods.";
        let verbs = vec![
            verb(CORDON, Class::Reversible, CORDON_TIMEOUT, Some(UNCORDON), true, cordon_doc),
            verb(UNCORDON, Class::Restore, CORDON_TIMEOUT, Some(CORDON), false, uncordon_doc),
            drain,
        ];
        ActuatorSpec { id: "node".into(), verbs }
    }

    fn needs(&self) -> Vec<Needs> {
        let nodes = Rule::of(&NODE, "", &["get", "patch"], "to cordon and uncordon");
        let plain = |verb: &str| Needs { verb: verb.into(), kinds: Vec::new(), rules: vec![nodes.clone()] };
        let rules = vec![
            nodes.clone(),
            Rule::of(&POD, "", &["list"], "to see what runs on the node").everywhere(),
            Rule::of(&POD, "eviction", &["create"], "to move pods away").everywhere(),
        ];
        vec![plain(CORDON), plain(UNCORDON), Needs { verb: DRAIN.into(), kinds: vec![(POD, "eviction")], rules }]
    }

    fn check(&self, _client: &KubeClient, action: &Action) -> Result<(), Fault> {
        cluster(action, NODE).map(drop)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let place: Place = cluster(action, NODE)?;
        let read = Call::get(place.path());
        if action.verb.as_str() == UNCORDON {
            return Ok(vec![read.clone(), cordon::open(&place, &json!("<as read>")), read]);
        }
        let close = cordon::close(client, action, &place, &json!("<as read>"));
        let mut calls = vec![read.clone(), close.clone().dry(), close, read];
        if action.verb.as_str() == DRAIN {
            let pods = Call::get(POD.list_path("")).with("fieldSelector", format!("spec.nodeName={}", place.name));
            let evict = eviction("<namespace>", "<each pod that goes>", "<its uid>", int(action, "grace_seconds"));
            calls.insert(1, pods.clone());
            calls.insert(2, evict.clone().dry());
            calls.extend([evict, pods]);
        }
        Ok(calls)
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.acted(run))
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.looked(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.taken_back(run, receipt))
    }

    fn instead(&self) -> &'static str {
        "act with `node.cordon` instead"
    }
}

/// Whether our decision is the one that cordoned.
pub(super) fn is_ours(run: &Run<'_>, held: &Cordon) -> bool {
    *held == Cordon::Ours(decision(run.client, run.action))
}
