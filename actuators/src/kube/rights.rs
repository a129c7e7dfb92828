//! Which rights each verb needs, and whether we have them.
//!
//! One list serves three readers: `ready` asks the server about it, `homeostat rbac` writes a role from it, `doctor` names what is
//! missing. Deliberately absent: a right that no call needs; every rule says why it is there. An editor breaks this by adding a
//! call to a power without its rule.

use super::call::{Call, Kind};
use super::client::KubeClient;
use super::refusal::Refusal;
use homeostat_model::{Fault, FaultCode, Verb};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use serde_json::Value;
use tokio::time::Instant;

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, with its subresource: `deployments/scale`.
    pub resource: String,
    /// `get`, `list`, `create`, `update`, `patch`, `delete`.
    pub verbs: Vec<String>,
    /// Whether it is needed in namespaces (a Role) or for the whole cluster (a ClusterRole).
    pub namespaced: bool,
    /// Whether a server without this kind is fine: it is asked for only where the kind is served.
    pub optional: bool,
    /// What it is needed for.
    pub why: String,
}

impl Rule {
    /// A rule for a kind; `resource` may name a subresource: `""`, `scale`.
    pub fn of(kind: &Kind, subresource: &str, verbs: &[&str], why: &str) -> Rule {
        let resource = if subresource.is_empty() { kind.plural.to_string() } else { format!("{}/{subresource}", kind.plural) };
        Rule {
            group: kind.group.to_string(),
            resource,
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            namespaced: kind.namespaced,
            optional: false,
            why: why.to_owned(),
        }
    }

    /// The same, not missed where the kind is not served.
    #[must_use]
    pub fn if_served(self) -> Rule {
        Rule { optional: true, ..self }
    }

    /// The same for all namespaces at once, whatever namespaces are configured: a node's pods live in any.
    #[must_use]
    pub fn everywhere(self) -> Rule {
        Rule { namespaced: false, ..self }
    }

    fn shown(&self, verb: &str, namespace: &str) -> String {
        let group = if self.group.is_empty() { "\"\"" } else { &self.group };
        let place = match (self.namespaced, namespace) {
            (false, _) => "cluster-wide".to_owned(),
            (true, "") => "in all namespaces".to_owned(),
            (true, namespace) => format!("in namespace {namespace}"),
        };
        format!("apiGroups [{group}], resources [{}], verbs [{verb}] {place} ({})", self.resource, self.why)
    }
}

/// What a verb needs: kinds that must be served, and rights.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The verb.
    pub verb: Verb,
    /// Kinds that must be served, each with the subresource that is used.
    pub kinds: Vec<(Kind, &'static str)>,
    /// Rights.
    pub rules: Vec<Rule>,
}

/// The question whether we may.
fn review(rule: &Rule, verb: &str, namespace: &str) -> Call {
    let (resource, subresource) = rule.resource.split_once('/').unwrap_or((&rule.resource, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let attributes = ResourceAttributes {
        group: Some(rule.group.clone()),
        resource: some(resource),
        subresource: some(subresource),
        verb: some(verb),
        namespace: some(namespace).filter(|_| rule.namespaced),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let body = serde_json::to_value(review).unwrap_or(Value::Null);
    Call::create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body).asking()
}

/// Asks whether a right is there: in every configured namespace, or in all of them at once. The answer lists what is missing.
pub async fn missing(client: &KubeClient, rule: &Rule, deadline: Instant) -> Result<Vec<String>, Refusal> {
    let all = [String::new()];
    let namespaces = if rule.namespaced && !client.namespaces().is_empty() { client.namespaces() } else { &all };
    let mut lacking = Vec::new();
    for namespace in namespaces {
        for verb in &rule.verbs {
            let answer = client.call(&review(rule, verb, namespace), deadline).await?;
            let status = &answer["status"];
            if status["allowed"] != true || status["denied"] == true {
                lacking.push(rule.shown(verb, namespace));
            }
        }
    }
    Ok(lacking)
}

/// One fault per verb that cannot be done: no server, a kind that is not served, rights that are missing. Reads only.
pub async fn ready(client: &KubeClient, needs: &[Needs]) -> Vec<(Verb, Fault)> {
    let mut faults = Vec::new();
    for need in needs {
        let doing = format!("get ready for {} on {}", need.verb, client.place());
        if let Err(fault) = ready_for(client, need, doing).await {
            faults.push((need.verb.clone(), fault));
        }
    }
    faults
}

async fn ready_for(client: &KubeClient, need: &Needs, doing: String) -> Result<(), Fault> {
    let lost = |refusal: Refusal| refusal.fault(doing.clone());
    for (kind, subresource) in &need.kinds {
        if !client.serves(kind, subresource, client.look_deadline()).await.map_err(lost)? {
            let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            let detail = format!(
                "the server does not serve {}{part} of {}: install its CustomResourceDefinition, or take the power out of the configuration",
                kind.plural,
                kind.api_version()
            );
            return Err(Fault::new(FaultCode::NotFound, doing, detail));
        }
    }
    let mut lacking = Vec::new();
    for rule in &need.rules {
        if rule.optional && !group_served(client, rule).await.map_err(lost)? {
            continue;
        }
        lacking.extend(missing(client, rule, client.look_deadline()).await.map_err(lost)?);
    }
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Fault::new(FaultCode::Denied, doing, format!("rights are missing; add to Homeostat's role: {}", lacking.join("; "))))
}

async fn group_served(client: &KubeClient, rule: &Rule) -> Result<bool, Refusal> {
    if rule.group.is_empty() {
        return Ok(true);
    }
    match client.call(&Call::get(format!("/apis/{}", rule.group)), client.look_deadline()).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is_gone() => Ok(false),
        Err(refusal) => Err(refusal),
    }
}
