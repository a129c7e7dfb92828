//! `homeostat rbac`: the Kubernetes rights that the configuration's actuators need, as manifests; nothing is sent anywhere.
//!
//! One role and one binding for each actuator, so that an installer can leave one out. The rules stand in
//! [`homeostat_actuators::kube_rules`]; here is only how they become objects. Deliberately absent: the ServiceAccount (the deployment
//! brings it) and a right for what is not configured. An editor breaks this by granting cluster-wide where a namespace was named.

use super::args::RbacArgs;
use super::place::Place;
use super::{Ended, Exit, show};
use crate::config::Config;
use anyhow::{anyhow, bail};
use homeostat_actuators::kube_rules::{KUBE_RIGHTS, KubeRights, KubeRule, review_rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The application's name in every label.
const APP: &str = "homeostat";
/// What a request of a promise is made, seen and ended with; server-side apply needs `patch` and `create`.
const REQUEST_VERBS: [&str; 4] = ["get", "create", "patch", "delete"];
const RBAC: &str = "rbac.authorization.k8s.io";

/// One actuator's rights, as wanted by a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The actuator's row.
    pub actuator: &'static str,
    /// The namespaces it may act in; empty: all of them.
    pub namespaces: Vec<String>,
    /// Rules that follow from its settings, such as the kinds of Kratix promises.
    pub more: Vec<KubeRule>,
}

/// Whom the rights are for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The ServiceAccount's namespace.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: String,
}

/// What the configured actuators want. Each has a section of its own name, in `kubernetes` or beside it. Its rights end at the
/// section's `namespace` or `namespaces`, else where its objects live, else at `kubernetes.namespaces`.
pub fn wanted(config: &Config, requests: &[String]) -> anyhow::Result<Vec<Wanted>> {
    let sections = serde_json::to_value(&config.actuators)?;
    Ok(wanted_of(&sections, requests))
}

/// As [`wanted`], from the `actuators` section as it stands in the file.
pub fn wanted_of(sections: &Value, requests: &[String]) -> Vec<Wanted> {
    let cluster = &sections["kubernetes"];
    let of = |rights: &KubeRights| {
        let found = cluster.get(rights.actuator).or_else(|| sections.get(rights.actuator));
        let section = found.filter(|section| !section.is_null())?;
        Some(Wanted {
            actuator: rights.actuator,
            namespaces: namespaces(rights, section, cluster),
            more: following(rights.actuator, section, requests),
        })
    };
    KUBE_RIGHTS.iter().filter_map(of).collect()
}

/// Without settings: what `--actuators` names.
fn named(actuators: &[String], requests: &[String]) -> anyhow::Result<Vec<Wanted>> {
    let known: BTreeSet<&str> = KUBE_RIGHTS.iter().map(|rights| rights.actuator).collect();
    if let Some(unknown) = actuators.iter().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        bail!("`{unknown}` is no actuator that speaks to Kubernetes: expected some of {}", known.join(", "));
    }
    let sections: Value = actuators.iter().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into();
    Ok(wanted_of(&sections, requests))
}

fn namespaces(rights: &KubeRights, section: &Value, cluster: &Value) -> Vec<String> {
    let many = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let mut all = many(&section["namespaces"]);
    all.extend(section["namespace"].as_str().map(str::to_owned));
    if all.is_empty() {
        all.extend(rights.namespace.map(str::to_owned));
    }
    if all.is_empty() {
        all = many(&cluster["namespaces"]);
    }
    all.into_iter().collect()
}

/// Rules that follow from an actuator's settings or, for requests of Kratix promises (whose kinds only the cluster knows), from
/// `requests`: `redis.marketplace.kratix.io`.
fn following(actuator: &str, section: &Value, requests: &[String]) -> Vec<KubeRule> {
    match actuator {
        "velero" if section["restore"] == true => vec![KubeRule::new("velero.io", &["restores"], &["get", "create"])],
        "kratix" => {
            let kind = |name: &String| name.split_once('.').map(|(plural, group)| KubeRule::new(group, &[plural], &REQUEST_VERBS));
            requests.iter().filter_map(kind).collect()
        }
        _ => Vec::new(),
    }
}

/// The manifests: for each actuator a role and its binding, cluster-wide or in each namespace, and the right to ask for one's rights.
/// `dry_run` keeps only what looks.
pub fn manifests(wanted: &[Wanted], holder: &Holder, dry_run: bool) -> Vec<Value> {
    let mut all = pair(None, "review", "Ask what it may do itself.", &[review_rule()], holder);
    for one in wanted {
        let Some(rights) = KubeRights::of(one.actuator) else { continue };
        let rules = rights.rules().into_iter().chain(one.more.iter().cloned());
        let rules: Vec<KubeRule> = if dry_run { rules.filter_map(|rule| rule.reading()).collect() } else { rules.collect() };
        let doc = if dry_run { format!("Only looking, for a dry run. {}", rights.doc) } else { rights.doc.to_owned() };
        let (inside, everywhere): (Vec<KubeRule>, Vec<KubeRule>) =
            rules.into_iter().partition(|rule| rule.namespaced && !one.namespaces.is_empty());
        if !everywhere.is_empty() {
            all.extend(pair(None, one.actuator, &doc, &everywhere, holder));
        }
        for namespace in one.namespaces.iter().filter(|_| !inside.is_empty()) {
            all.extend(pair(Some(namespace), one.actuator, &doc, &inside, holder));
        }
    }
    all
}

/// A role and its binding. Cluster-wide names carry the holder's namespace, so that two installations do not share a role.
fn pair(namespace: Option<&str>, part: &str, doc: &str, rules: &[KubeRule], holder: &Holder) -> Vec<Value> {
    let (role, binding) = if namespace.is_some() { ("Role", "RoleBinding") } else { ("ClusterRole", "ClusterRoleBinding") };
    let name = format!("{}-{part}", holder.service_account);
    let name =
        if namespace.is_some() || holder.namespace == holder.service_account { name } else { format!("{}-{name}", holder.namespace) };
    let metadata = |described: bool| {
        let mut metadata = json!({
            "name": name,
            "labels": {"app.kubernetes.io/name": APP, "app.kubernetes.io/component": "rbac", "app.kubernetes.io/part-of": APP},
        });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        if described {
            metadata["annotations"] = json!({"homeostat/grants": doc});
        }
        metadata
    };
    vec![
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": role, "metadata": metadata(true), "rules": rules}),
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": binding,
            "metadata": metadata(false),
            "roleRef": {"apiGroup": RBAC, "kind": role, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": holder.service_account, "namespace": holder.namespace}],
        }),
    ]
}

/// The manifests as one YAML stream, `kubectl apply -f -` takes it.
///
/// # Errors
/// Only if YAML cannot be written, which would be a defect.
pub fn yaml(manifests: &[Value], head: &str) -> anyhow::Result<String> {
    let mut text = format!("# {head}\n");
    for manifest in manifests {
        let document = serde_saphyr::to_string(manifest)?;
        text.push_str("---\n");
        text.push_str(document.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Every row of the table, for the Helm chart, which makes the same objects from it.
pub fn table() -> Value {
    let row = |rights: &KubeRights| {
        let some = |namespaced: bool, reads: bool| -> Vec<KubeRule> {
            let rules = rights.rules().into_iter().filter(|rule| rule.namespaced == namespaced);
            if reads { rules.filter_map(|rule| rule.reading()).collect() } else { rules.collect() }
        };
        let row = json!({
            "doc": rights.doc, "namespace": rights.namespace.unwrap_or_default(),
            "act": {"namespaced": some(true, false), "cluster": some(false, false)},
            "look": {"namespaced": some(true, true), "cluster": some(false, true)},
        });
        (rights.actuator.to_owned(), row)
    };
    let rows: serde_json::Map<String, Value> = KUBE_RIGHTS.iter().map(row).collect();
    json!({"review": review_rule(), "actuators": rows})
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// `homeostat rbac`
pub(super) fn rbac(place: Place, args: &RbacArgs, json: bool) -> Ended {
    for (option, name) in [("--namespace", &args.namespace), ("--service-account", &args.service_account)] {
        if !is_name(name) {
            return Err(anyhow!("{option} is `{name}`, expected a Kubernetes name: 1 to 63 lower-case letters, digits and `-`"));
        }
    }
    if let Some(kind) = args.requests.iter().find(|kind| !kind.split('.').all(is_name) || !kind.contains('.')) {
        return Err(anyhow!("--requests has `{kind}`, expected a plural and its group: `redis.marketplace.kratix.io`"));
    }
    let config_name = place.config_name();
    let (wanted, source) = if args.actuators.is_empty() {
        (wanted(&place.config?, &args.requests)?, config_name)
    } else {
        (named(&args.actuators, &args.requests)?, format!("--actuators {}", args.actuators.join(",")))
    };
    if wanted.is_empty() {
        eprintln!("homeostat: no actuator of {source} speaks to Kubernetes; it needs no right there");
    }
    if args.requests.is_empty() && wanted.iter().any(|one| one.actuator == "kratix") {
        eprintln!("homeostat: only the cluster knows the kinds of Kratix requests; name them: --requests redis.marketplace.kratix.io");
    }
    let holder = Holder { namespace: args.namespace.clone(), service_account: args.service_account.clone() };
    let manifests = manifests(&wanted, &holder, args.dry_run);
    if json {
        show::json(&json!({"apiVersion": "v1", "kind": "List", "items": manifests}))?;
    } else {
        let names: Vec<&str> = wanted.iter().map(|one| one.actuator).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let what = if args.dry_run { "what they need to look, and no right to write" } else { "what they need" };
        print!("{}", yaml(&manifests, &format!("Made by `homeostat rbac`. Actuators: {names}; {what}."))?);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { namespace: "homeostat".into(), service_account: "homeostat".into() }
    }

    fn rules(manifests: &[Value], name: &str) -> Vec<(Vec<String>, Vec<String>)> {
        let texts = |value: &Value| value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let role = manifests.iter().find(|one| one["metadata"]["name"] == name && one["rules"].is_array()).unwrap();
        role["rules"].as_array().unwrap().iter().map(|rule| (texts(&rule["resources"]), texts(&rule["verbs"]))).collect()
    }

    #[test]
    fn nothing_is_granted_for_what_is_not_configured() {
        let none = manifests(&wanted(&Config::default(), &[]).unwrap(), &holder(), false);
        let kinds: Vec<&str> = none.iter().filter_map(|one| one["kind"].as_str()).collect();
        assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding"]);
        assert_eq!(none[0]["rules"][0]["resources"], json!(["selfsubjectaccessreviews"]));
        let scale =
            manifests(&wanted_of(&json!({"kubernetes": {"scale": {}, "connect": {}, "node": null}, "http": {}}), &[]), &holder(), false);
        assert_eq!(scale.len(), 4);
        assert_eq!(rules(&scale, "homeostat-scale")[0].0, ["deployments/scale", "statefulsets/scale"]);
    }

    #[test]
    fn a_dry_run_only_looks() {
        let all: Vec<String> = KUBE_RIGHTS.iter().map(|rights| rights.actuator.to_owned()).collect();
        for manifest in manifests(&named(&all, &[]).unwrap(), &holder(), true) {
            for rule in manifest["rules"].as_array().into_iter().flatten() {
                let verbs: Vec<&str> = rule["verbs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let asks = rule["resources"] == json!(["selfsubjectaccessreviews"]) && verbs == ["create"];
                assert!(asks || verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)), "{rule}");
            }
        }
    }

    #[test]
    fn rights_end_at_the_named_namespaces() {
        let sections = json!({"chaos": {"namespaces": ["shop", "lab"]}, "velero": {}, "argo": {"namespace": "gitops"}});
        let all = manifests(&wanted_of(&sections, &[]), &holder(), false);
        let places: Vec<(&str, &str)> = all
            .iter()
            .filter(|one| one["kind"] == "Role")
            .map(|one| (one["metadata"]["name"].as_str().unwrap(), one["metadata"]["namespace"].as_str().unwrap()))
            .collect();
        let expected =
            [("homeostat-argo", "gitops"), ("homeostat-chaos", "lab"), ("homeostat-chaos", "shop"), ("homeostat-velero", "velero")];
        assert_eq!(places, expected);
        let wide = all.iter().filter(|one| one["kind"] == "ClusterRole").map(|one| one["rules"][0]["resources"].to_string());
        assert_eq!(wide.collect::<Vec<_>>(), [r#"["selfsubjectaccessreviews"]"#, r#"["namespaces"]"#], "only what no Role can grant");
        let narrow: Vec<Value> = all.iter().filter(|one| one["kind"] == "Role").cloned().collect();
        let chaos = rules(&narrow, "homeostat-chaos");
        assert!(
            chaos.iter().any(|(kinds, verbs)| kinds.contains(&"networkchaos".to_owned()) && verbs.contains(&"create".to_owned())),
            "{chaos:?}"
        );
    }

    #[test]
    fn a_promise_is_requested_but_never_deleted() {
        let sections = json!({"kubernetes": {"kratix": {"promises": ["redis"]}, "velero": {"restore": true}}});
        let all = manifests(&wanted_of(&sections, &["redis.marketplace.kratix.io".into()]), &holder(), false);
        assert!(rules(&all, "homeostat-velero").iter().any(|(resources, verbs)| resources == &["restores"] && verbs == &["get", "create"]));
        let kratix = rules(&all, "homeostat-kratix");
        assert!(kratix.iter().any(|(resources, verbs)| resources == &["redis"] && verbs.contains(&"create".to_owned())));
        let of_promises = kratix.iter().find(|(resources, _)| resources.contains(&"promises".to_owned())).unwrap();
        assert_eq!(of_promises.1, ["get"]);
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_known() {
        let error = named(&["scael".into()], &[]).unwrap_err().to_string();
        assert!(error.contains("scael") && error.contains("scale"), "{error}");
        for bad in ["", "Home", "a b", "-a", "a\n---\nkind: x"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn yaml_reads_back_as_the_same_objects() {
        let all: Vec<String> = KUBE_RIGHTS.iter().map(|rights| rights.actuator.to_owned()).collect();
        let made = manifests(&named(&all, &[]).unwrap(), &Holder { namespace: "ops".into(), ..holder() }, false);
        let text = yaml(&made, "head").unwrap();
        let read: Vec<Value> = text.split("\n---\n").skip(1).map(|one| serde_saphyr::from_str(one).unwrap()).collect();
        assert_eq!(read, made);
        assert!(made.iter().any(|one| one["metadata"]["name"] == "ops-homeostat-scale"), "cluster-wide names tell installations apart");
    }
}
