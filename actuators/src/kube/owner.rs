//! Who else holds what we want to change: autoscalers and GitOps. They would put it back; so we say what to do instead.
//!
//! Marks are those that the owners themselves leave: Argo CD's tracking annotation and instance label, Flux' labels, the managers of
//! fields. A kind that the server does not serve owns nothing. Deliberately absent: taking a field by force. An editor breaks this by
//! reading a refused list as "nobody".

use super::call::Kind;
use super::client::KubeClient;
use super::place::{Place, annotation, field, label};
use super::refusal::Refusal;
use super::rights::Rule;
use serde_json::Value;
use tokio::time::Instant;

/// HorizontalPodAutoscalers.
pub const AUTOSCALER: Kind = Kind::namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers");
/// KEDA's ScaledObjects.
pub const SCALED_OBJECT: Kind = Kind::namespaced("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");
/// VerticalPodAutoscalers.
pub const VERTICAL: Kind = Kind::namespaced("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers");
/// Argo CD's applications; only asked whether they are served.
const APPLICATION: Kind = Kind::namespaced("argoproj.io", "v1alpha1", "Application", "applications");

/// The owner of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub who: String,
    /// What to do instead.
    pub instead: String,
}

impl Owner {
    /// In words.
    pub fn words(&self, what: &str) -> String {
        format!("{what} is held by {}; {}", self.who, self.instead)
    }
}

/// The rights for the looks of this file.
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::of(&AUTOSCALER, "", &["list"], "to see whether an autoscaler holds the replicas"),
        Rule::of(&SCALED_OBJECT, "", &["list"], "to see whether KEDA holds the replicas").if_served(),
    ]
}

/// Who holds the number of replicas of `object`, if somebody does.
pub async fn of_replicas(client: &KubeClient, place: &Place, object: &Value, deadline: Instant) -> Result<Option<Owner>, Refusal> {
    if client.serves(&SCALED_OBJECT, "", deadline).await? {
        for one in client.list(&SCALED_OBJECT, &place.namespace, &[], deadline).await? {
            if aims_at(&one, "/spec/scaleTargetRef", place) {
                let name = field(&one, "/metadata/name");
                return Ok(Some(Owner {
                    who: format!("the KEDA ScaledObject {}/{name}", place.namespace),
                    instead: "change its minReplicaCount and maxReplicaCount instead".into(),
                }));
            }
        }
    }
    for one in client.list(&AUTOSCALER, &place.namespace, &[], deadline).await? {
        if aims_at(&one, "/spec/scaleTargetRef", place) {
            let (name, spec) = (field(&one, "/metadata/name"), &one["spec"]);
            return Ok(Some(Owner {
                who: format!("the HorizontalPodAutoscaler {}/{name}", place.namespace),
                instead: format!("change its minReplicas ({}) and maxReplicas ({}) instead", spec["minReplicas"], spec["maxReplicas"]),
            }));
        }
    }
    if let Some(owner) = git(client, object, deadline).await? {
        return Ok(Some(owner));
    }
    Ok(applied_by_other(client, object, &["f:spec", "f:replicas"]))
}

/// Who holds the requests and limits in the pod template of `object`, if somebody does.
pub async fn of_template(client: &KubeClient, place: &Place, object: &Value, deadline: Instant) -> Result<Option<Owner>, Refusal> {
    if client.serves(&VERTICAL, "", deadline).await? {
        for one in client.list(&VERTICAL, &place.namespace, &[], deadline).await? {
            if aims_at(&one, "/spec/targetRef", place) && field(&one, "/spec/updatePolicy/updateMode") != "Off" {
                return Ok(Some(Owner {
                    who: format!("the VerticalPodAutoscaler {}/{}", place.namespace, field(&one, "/metadata/name")),
                    instead: "change its resourcePolicy instead".into(),
                }));
            }
        }
    }
    git(client, object, deadline).await
}

/// GitOps, by its marks.
pub async fn git(client: &KubeClient, object: &Value, deadline: Instant) -> Result<Option<Owner>, Refusal> {
    let change = "change it in Git with a pull request instead".to_owned();
    let argo = |name: &str| Owner { who: format!("Argo CD ({name})"), instead: change.clone() };
    let tracking = annotation(object, "argocd.argoproj.io/tracking-id");
    if !tracking.is_empty() {
        return Ok(Some(argo(tracking)));
    }
    let own_label = label(object, "argocd.argoproj.io/instance");
    if !own_label.is_empty() {
        return Ok(Some(argo(own_label)));
    }
    for (mark, controller) in [("kustomize.toolkit.fluxcd.io/name", "Kustomization"), ("helm.toolkit.fluxcd.io/name", "HelmRelease")] {
        let name = label(object, mark);
        if !name.is_empty() {
            return Ok(Some(Owner { who: format!("Flux ({controller} {name})"), instead: change }));
        }
    }
    // Every Helm chart sets this label; it is Argo CD's mark only where Argo CD is.
    let instance = label(object, "app.kubernetes.io/instance");
    let is_argo = !instance.is_empty()
        && (managers(object).any(|entry| field(entry, "/manager").starts_with("argocd"))
            || client.serves(&APPLICATION, "", deadline).await?);
    Ok(is_argo.then(|| argo(instance)))
}

/// Another manager that declared the field by server-side apply: it will conflict with us, or put it back.
fn applied_by_other(client: &KubeClient, object: &Value, path: &[&str]) -> Option<Owner> {
    let holds = |entry: &Value| !path.iter().fold(&entry["fieldsV1"], |at, key| &at[*key]).is_null();
    let other = managers(object)
        .find(|entry| field(entry, "/operation") == "Apply" && field(entry, "/manager") != client.field_manager() && holds(entry))?;
    let who = format!("the field manager `{}` (server-side apply)", field(other, "/manager"));
    Some(Owner { who, instead: "change it where that manager gets it from, or let it drop the field".into() })
}

fn managers(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten()
}

/// Whether a reference (`apiVersion`, `kind`, `name`) means the place; a kind that is left out means a Deployment (KEDA's default).
fn aims_at(object: &Value, pointer: &str, place: &Place) -> bool {
    let part = |name: &str| field(object, &format!("{pointer}/{name}")).to_owned();
    let (version, kind) = (part("apiVersion"), part("kind"));
    let group = version.split_once('/').map_or("", |(group, _)| group);
    part("name") == place.name
        && (kind == place.kind.kind || (kind.is_empty() && place.kind.kind == "Deployment"))
        && (version.is_empty() || group == place.kind.group)
}
