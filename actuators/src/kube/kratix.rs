//! `kratix.apply` and `kratix.delete`: resource requests of installed Promises.
//!
//! A request is made by server-side apply under a fixed name, checked by a dry run before, and done when Kratix says `Reconciled` of the
//! generation that the apply made. `Reconciled` means *written to the state store*, not running at the destination: what runs there is a
//! sensor's business. Deliberately absent: touching Promises (deleting one deletes all its requests), taking away finalizers, forcing
//! a field from another manager, replacing (Kratix writes labels of its own). An editor breaks this by reading conditions without
//! comparing `observedGeneration`, or by applying a part of the wish: what is left out of an apply is removed.

mod request;
#[cfg(test)]
mod tests;

use super::call::{Call, Kind, name_problem};
use super::client::KubeClient;
use super::frame::{DECISION, Deed, MANAGED_BY, Run, Step, annotations, seen};
use super::refusal::{Meaning, Refusal};
use super::rights::{Needs, Rule};
use homeostat_model::{
    Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, Target, Verb, VerbSpec,
};
use request::{Standing, kind_of, owned_spec, stands};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The verb that makes or changes a request.
pub const APPLY: &str = "kratix.apply";
/// The verb that deletes a request.
pub const DELETE: &str = "kratix.delete";
/// Promises.
pub const PROMISE: Kind = Kind::cluster("platform.kratix.io", "v1alpha1", "Promise", "promises");
/// The longest spec.
const SPEC_BYTES_MAX: usize = 16 * 1024;
/// How often an apply is sent that finds only status and metadata moved.
const STALE_MAX: u32 = 5;
/// What we write into the label of all that we make.
const HOMEOSTAT: &str = "homeostat";

/// Requests of Kratix Promises: the target is `promise/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KratixConfig {
    /// The Promises of which requests may be made, by name; empty: all that are installed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub promises: BTreeMap<String, PromiseConfig>,
    /// How long Kratix may take until a request is reconciled or gone.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long what was requested needs afterwards before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
    /// How much a deletion can hurt: `irreversible` if a request holds data, `disruptive` if what it made can be made again.
    #[serde(default = "delete_class_default")]
    #[schemars(with = "String")]
    pub delete_class: Class,
    /// Whether requests may be deleted that Homeostat did not make.
    #[serde(default)]
    pub delete_foreign: bool,
    /// The energy that one more request is expected to cost, in joules; for budgets.
    #[serde(default)]
    pub energy_joules: f64,
}

/// What is said of a Promise beforehand. Its kind is found by discovery; this is for asking whether we have the rights, and for roles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromiseConfig {
    /// The API group of its requests, e.g. `marketplace.kratix.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Their plural, e.g. `redis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plural: Option<String>,
}

fn timeout_default() -> Span {
    Span::from_mins(10)
}
fn settle_default() -> Span {
    Span::from_mins(5)
}
fn delete_class_default() -> Class {
    Class::Irreversible
}

/// The power `kratix`.
#[derive(Clone, Debug)]
pub struct Kratix {
    config: KratixConfig,
}

/// What an action asks for.
struct Asked<'a> {
    promise: &'a str,
    namespace: &'a str,
    name: &'a str,
    spec: Value,
}

impl Kratix {
    /// Checks the configuration; sends nothing. Every problem is listed.
    pub fn new(config: &KratixConfig) -> Result<Kratix, Vec<Fault>> {
        let mut problems: Vec<String> = config.promises.keys().filter_map(|name| name_problem(name)).collect();
        if config.timeout <= Span::ZERO {
            problems.push("`timeout` must be more than 0s".into());
        }
        if !matches!(config.delete_class, Class::Disruptive | Class::Irreversible) {
            problems.push(format!("`delete_class` is {}, expected disruptive or irreversible", config.delete_class));
        }
        if !config.energy_joules.is_finite() || config.energy_joules < 0.0 {
            problems.push("`energy_joules` must be a number of at least 0".into());
        }
        if problems.is_empty() {
            return Ok(Kratix { config: config.clone() });
        }
        Err(problems.into_iter().map(|problem| Fault::new(FaultCode::Malformed, "configure `kratix`", problem)).collect())
    }

    fn asked<'a>(&self, client: &KubeClient, action: &'a Action) -> Result<Asked<'a>, String> {
        let text = |name: &str| action.args.get(name).and_then(Arg::as_text).unwrap_or_default();
        let asked = Asked { promise: action.target.name(), namespace: text("namespace"), name: text("name"), spec: Value::Null };
        let names = [asked.promise, asked.namespace, asked.name];
        if let Some(problem) = names.iter().find_map(|name| name_problem(name)).or_else(|| client.namespace_problem(asked.namespace)) {
            return Err(problem);
        }
        if action.verb.as_str() == DELETE {
            return Ok(asked);
        }
        let spec: Value = serde_json::from_str(text("spec")).map_err(|error| format!("`spec` is not JSON: {error}"))?;
        if !spec.is_object() {
            return Err("`spec` is no JSON object".into());
        }
        Ok(Asked { spec, ..asked })
    }

    /// The kind of a Promise's requests, by discovery; a Promise that is not available refuses.
    async fn discovered(&self, run: &Run<'_>, asked: &Asked<'_>, must_be_available: bool) -> Step<Kind> {
        let promise = match run.read(&Call::get(PROMISE.path("", asked.promise))).await {
            Ok(promise) => promise,
            Err(refusal) if refusal.is_gone() => {
                return Err(run.not_done(FaultCode::NotFound, format!("there is no Promise `{}`; nothing was sent", asked.promise)));
            }
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        if must_be_available && promise["status"]["status"] != "Available" {
            let detail = format!(
                "the Promise `{}` is {}, expected Available ({}); nothing was sent",
                asked.promise,
                promise["status"]["status"].as_str().unwrap_or("without a status"),
                request::told(&promise, "Available")
            );
            return Err(run.not_done(FaultCode::Conflict, detail));
        }
        kind_of(&promise).map_err(|problem| run.not_done(FaultCode::Conflict, format!("the Promise `{}` {problem}", asked.promise)))
    }

    async fn current(&self, run: &Run<'_>, path: &str) -> Step<Option<Value>> {
        match run.read(&Call::get(path)).await {
            Ok(object) => Ok(Some(object)),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(run.refused(&refusal)),
        }
    }

    async fn applied(&self, run: &Run<'_>) -> Step<Receipt> {
        let asked = self.asked(run.client, run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
        let kind = self.discovered(run, &asked, true).await?;
        let path = kind.path(asked.namespace, asked.name);
        let mut before = self.current(run, &path).await?;
        if let Some(before) = &before {
            if before["metadata"]["deletionTimestamp"].is_string() {
                return Err(run.not_done(FaultCode::Conflict, format!("{path} is being deleted; nothing was sent")));
            }
            if request::holds(&before["spec"], &asked.spec) && stands(before, None) == Standing::Reconciled {
                return Ok(seen(format!("{path} was already so")));
            }
        }
        let call = |before: Option<&Value>| Call::apply(&*path, wish(run.client, run.action, &kind, &asked, before, asked.spec.clone()));
        self.sent(run, &path, &mut before, &|before| call(before).dry()).await?.map_err(|refusal| run.refused(&refusal))?;
        let undo = undo(run, &path, before.as_ref());
        for (name, value) in &undo {
            run.note(name, value.clone())?;
        }
        let made = match self.sent(run, &path, &mut before, &call).await? {
            Ok(object) => object,
            Err(refusal) if refusal.is_definite() => return Err(run.refused(&refusal)),
            // The answer was lost: our annotation tells.
            Err(refusal) => match run.read(&Call::get(&*path)).await {
                Ok(object) if object["metadata"]["annotations"][DECISION] == run.decision() => object,
                _ => return Err(run.refused(&refusal)),
            },
        };
        let observed = self.reconciled(run, &path, &made, before.as_ref()).await?;
        Ok(Receipt { observed, undo })
    }

    /// Sends an apply that holds only on what was read. Where the wish did not move since (Kratix writes labels, finalizers and the status
    /// all the time), it is read and sent again; a wish that moved was changed by somebody else, and the refusal stands.
    async fn sent(
        &self,
        run: &Run<'_>,
        path: &str,
        before: &mut Option<Value>,
        call: &(dyn Fn(Option<&Value>) -> Call + Sync),
    ) -> Step<Result<Value, Refusal>> {
        let mut attempt = 1;
        loop {
            let call = call(before.as_ref());
            let answer = if call.reads() { run.read(&call).await } else { run.write(&call).await? };
            let stale = answer.as_ref().is_err_and(|refusal| refusal.meaning() == Meaning::Stale && refusal.is_definite());
            if !stale || attempt >= STALE_MAX {
                return Ok(answer);
            }
            let now = self.current(run, path).await?;
            if !same_wish(before.as_ref(), now.as_ref()) {
                return Ok(answer);
            }
            *before = now;
            attempt += 1;
        }
    }

    /// Waits until Kratix has dealt with the generation of `made`.
    async fn reconciled(&self, run: &Run<'_>, path: &str, made: &Value, before: Option<&Value>) -> Step<String> {
        let uid = made["metadata"]["uid"].clone();
        let mut last = Standing::Pending("nothing was seen".into());
        loop {
            match run.glance(&Call::get(path)).await {
                Ok(None) => {}
                Ok(Some(object)) if object["metadata"]["uid"] != uid => {
                    return Err(run.unknown(FaultCode::Conflict, format!("{path} was deleted and made anew by somebody else")));
                }
                Ok(Some(object)) => {
                    last = stands(&object, before);
                    if let Some(end) = ended(run, path, &last) {
                        return end;
                    }
                }
                Err(refusal) if refusal.is_gone() => {
                    return Err(run.not_done(FaultCode::Conflict, format!("{path} was deleted by somebody else")));
                }
                Err(refusal) => return Err(run.refused(&refusal)),
            }
            if !run.pause().await {
                return Err(run.too_late(format!("{path} is pending: {}", last.shown())));
            }
        }
    }

    async fn deleted(&self, run: &Run<'_>) -> Step<Receipt> {
        let asked = self.asked(run.client, run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
        let kind = self.discovered(run, &asked, false).await?;
        let path = kind.path(asked.namespace, asked.name);
        let Some(object) = self.current(run, &path).await? else { return Ok(seen(format!("{path} was already gone"))) };
        if object["metadata"]["labels"][MANAGED_BY] != HOMEOSTAT && !self.config.delete_foreign {
            let detail = format!("{path} was not made by Homeostat; set `kratix.delete_foreign` to delete such ones; nothing was sent");
            return Err(run.not_done(FaultCode::Conflict, detail));
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if object["metadata"]["deletionTimestamp"].is_null() {
            delete(run, &path, &uid).await?;
        }
        gone(run, &path, &uid).await
    }

    async fn probed(&self, run: &Run<'_>) -> Step<Receipt> {
        let asked = self.asked(run.client, run.action).map_err(|problem| run.unknown(FaultCode::Malformed, problem))?;
        let kind = self.discovered(run, &asked, false).await?;
        let path = kind.path(asked.namespace, asked.name);
        let object = self.current(run, &path).await?;
        if run.action.verb.as_str() == DELETE {
            let Some(object) = object else { return Ok(seen(format!("{path} is gone"))) };
            if request::delete_failed(&object) {
                return Err(run.not_done(FaultCode::Failed, delete_failure(&path, &object)));
            }
            return Err(if object["metadata"]["deletionTimestamp"].is_string() {
                run.unknown(FaultCode::TimedOut, still_there(&path, &object))
            } else {
                run.too_late(format!("{path} is there and is not being deleted"))
            });
        }
        let Some(object) = object else { return Err(run.too_late(format!("{path} is not there"))) };
        if object["metadata"]["annotations"][DECISION] != run.decision() || !request::holds(&object["spec"], &asked.spec) {
            return Err(run.too_late(format!("{path} is not what this action asked for")));
        }
        let standing = stands(&object, None);
        match ended(run, &path, &standing) {
            Some(end) => end.map(|observed| Receipt { observed, undo: noted_undo(run) }),
            None => Err(run.unknown(FaultCode::TimedOut, format!("{path} is pending: {}", standing.shown()))),
        }
    }

    async fn taken_back(&self, run: &Run<'_>, receipt: &Receipt) -> Step<Receipt> {
        let asked = self.asked(run.client, run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
        let text = |name: &str| receipt.undo.get(name).and_then(Arg::as_text);
        let kind = self.discovered(run, &asked, false).await?;
        let path = kind.path(asked.namespace, asked.name);
        let mut before = self.current(run, &path).await?;
        let Some(now) = before.clone() else { return gone_before(run, &path, text("made").is_some()) };
        if text("previous").is_none() && text("made").is_none() {
            return Ok(seen(format!("{path} was already as wished before the action; nothing was changed back")));
        }
        let changed = now["metadata"]["annotations"][DECISION] != run.decision() || !request::holds(&now["spec"], &asked.spec);
        if changed {
            return Err(run.not_done(FaultCode::Conflict, format!("{path} was changed since by somebody else; nothing was sent")));
        }
        let uid = now["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if text("made").is_some() {
            if now["metadata"]["deletionTimestamp"].is_null() {
                delete(run, &path, &uid).await?;
            }
            return gone(run, &path, &uid).await;
        }
        let previous: Value = serde_json::from_str(text("previous").unwrap_or("{}")).unwrap_or_else(|_| json!({}));
        let call = |now: Option<&Value>| Call::apply(&*path, wish(run.client, run.action, &kind, &asked, now, previous.clone()));
        self.sent(run, &path, &mut before, &|now| call(now).dry()).await?.map_err(|refusal| run.refused(&refusal))?;
        let made = self.sent(run, &path, &mut before, &call).await?.map_err(|refusal| run.refused(&refusal))?;
        self.reconciled(run, &path, &made, before.as_ref()).await.map(|observed| seen(format!("the previous spec is back; {observed}")))
    }
}

fn gone_before(run: &Run<'_>, path: &str, made: bool) -> Step<Receipt> {
    if made {
        return Ok(seen(format!("{path} was gone already")));
    }
    Err(run.not_done(FaultCode::Conflict, format!("{path} was deleted since; its previous spec is not brought back; nothing was sent")))
}

/// Whether two readings are of the same object with the same spec: the server counts changes of it in `generation`.
fn same_wish(before: Option<&Value>, now: Option<&Value>) -> bool {
    let key = |object: &Value| (object["metadata"]["uid"].clone(), object["metadata"]["generation"].clone());
    match (before, now) {
        (Some(before), Some(now)) => key(before) == key(now) && now["metadata"]["deletionTimestamp"].is_null(),
        _ => false,
    }
}

/// The whole wish as it is applied. The label that says "made by Homeostat" is set only on what we make (or made).
fn wish(client: &KubeClient, action: &Action, kind: &Kind, asked: &Asked<'_>, before: Option<&Value>, spec: Value) -> Value {
    let mut body = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": { "name": asked.name, "namespace": asked.namespace, "annotations": annotations(client, action) },
        "spec": spec,
    });
    if before.is_none_or(|before| before["metadata"]["labels"][MANAGED_BY] == HOMEOSTAT) {
        body["metadata"]["labels"] = json!({ MANAGED_BY: HOMEOSTAT });
    }
    if let Some(version) = before.and_then(|before| before["metadata"]["resourceVersion"].as_str()) {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    body
}

/// What an undo needs: whether we make it, or what of its spec was ours before.
fn undo(run: &Run<'_>, path: &str, before: Option<&Value>) -> BTreeMap<String, Arg> {
    let mut undo = BTreeMap::from([("path".to_owned(), Arg::Text(path.to_owned()))]);
    match before {
        None => drop(undo.insert("made".into(), Arg::Text("by this action".into()))),
        Some(before) => {
            let owned = owned_spec(before, run.client.field_manager());
            undo.insert("previous".into(), Arg::Text(owned.to_string()));
        }
    }
    undo
}

/// The same from the notes beside the mark, for a probe.
fn noted_undo(run: &Run<'_>) -> BTreeMap<String, Arg> {
    ["path", "made", "previous"].into_iter().filter_map(|name| Some((name.to_owned(), run.noted(name)?))).collect()
}

/// How a standing ends a wait, if it does.
fn ended(run: &Run<'_>, path: &str, standing: &Standing) -> Option<Step<String>> {
    match standing {
        Standing::Reconciled => Some(Ok(format!("{path} is Reconciled: it is written to the state store"))),
        Standing::Failed(why) => Some(Err(run.not_done(FaultCode::Failed, format!("{why}. {path} stays; `kratix.delete` takes it away")))),
        Standing::Misplaced(why) => Some(Err(run.not_done(
            FaultCode::Conflict,
            format!("WorksMisplaced: no Destination fits ({why}). {path} stays and is placed as soon as one does"),
        ))),
        Standing::Suspended(why) => Some(Err(run.unknown(FaultCode::Conflict, format!("{why}: {path} waits until somebody resumes it")))),
        Standing::Pending(_) => None,
    }
}

async fn delete(run: &Run<'_>, path: &str, uid: &str) -> Step<()> {
    match run.write(&Call::delete(path, Some(uid), "Background")).await? {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.is_gone() => Ok(()),
        Err(refusal) if refusal.meaning() == Meaning::Stale => {
            Err(run.not_done(FaultCode::Conflict, format!("{path} was deleted and made anew by somebody else: {}", refusal.words())))
        }
        Err(refusal) => Err(run.refused(&refusal)),
    }
}

fn delete_failure(path: &str, object: &Value) -> String {
    format!(
        "DeleteWorkflowFailed: {}. {path} stays with its finalizers, which are never taken away here; mend the pipeline and set the label `kratix.io/manual-reconciliation: \"true\"`",
        request::told(object, "DeleteWorkflowCompleted")
    )
}

fn still_there(path: &str, object: &Value) -> String {
    let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let finalizers: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
    format!("{path} is being deleted and held by {}", finalizers.join(", "))
}

/// Waits until a request is gone; its finalizers are Kratix's business.
async fn gone(run: &Run<'_>, path: &str, uid: &str) -> Step<Receipt> {
    let mut last = format!("{path} was not seen again");
    loop {
        match run.glance(&Call::get(path)).await {
            Err(refusal) if refusal.is_gone() => return Ok(seen(format!("{path} is gone"))),
            Err(refusal) => return Err(run.refused(&refusal)),
            Ok(Some(object)) if object["metadata"]["uid"] != uid => return Ok(seen(format!("{path} is gone; somebody made another one"))),
            Ok(Some(object)) if request::delete_failed(&object) => {
                return Err(run.not_done(FaultCode::Failed, delete_failure(path, &object)));
            }
            Ok(Some(object)) => last = still_there(path, &object),
            Ok(None) => {}
        }
        if !run.pause().await {
            return Err(run.unknown(FaultCode::TimedOut, last));
        }
    }
}

impl Deed for Kratix {
    fn spec(&self) -> ActuatorSpec {
        let text =
            |name: &str, bytes, doc: &str| ArgSpec { name: name.into(), kind: ArgKind::Text(bytes), required: true, doc: doc.into() };
        let named = || vec![text("name", 253, "The request's name."), text("namespace", 63, "The request's namespace.")];
        let promises = &self.config.promises;
        let targets = (!promises.is_empty()).then(|| promises.keys().map(|name| Target::from(format!("promise/{name}"))).collect());
        let mut args = named();
        args.push(text("spec", SPEC_BYTES_MAX, "The request's whole spec as a JSON object."));
        let apply = VerbSpec {
            verb: APPLY.into(),
            class: Class::Reversible,
            args,
            target_kinds: vec!["promise".into()],
            targets,
            opposite: Some(DELETE.into()),
            settle: self.config.settle,
            timeout: self.config.timeout,
            revertible: true,
            cost: Cost { disruption: Span::ZERO, energy_joules: self.config.energy_joules, ..Cost::default() },
            doc: "Makes or changes a request of a Kratix Promise and waits until it is reconciled.".into(),
        };
        let delete = VerbSpec {
            verb: DELETE.into(),
            class: self.config.delete_class,
            args: named(),
            opposite: Some(APPLY.into()),
            revertible: false,
            cost: Cost { disruption: self.config.settle, energy_joules: 0.0, ..Cost::default() },
            doc: "Deletes a request of a Kratix Promise and waits until all that it made is taken away.".into(),
            ..apply.clone()
        };
        ActuatorSpec { id: "kratix".into(), verbs: vec![apply, delete] }
    }

    /// The rights on the requests themselves are asked for where the configuration says their kind; a missing one is told by the dry run
    /// as well, before anything is written.
    fn needs(&self) -> Vec<Needs> {
        let needs = |verb: &str, verbs: &[&str], why: &str| {
            let mut rules = vec![Rule::of(&PROMISE, "", &["get"], "to find the kind of a Promise's requests")];
            for promise in self.config.promises.values() {
                if let (Some(group), Some(plural)) = (&promise.group, &promise.plural) {
                    let kind = Kind { group: group.clone().into(), plural: plural.clone().into(), namespaced: true, ..PROMISE };
                    rules.push(Rule::of(&kind, "", verbs, why));
                }
            }
            Needs { verb: Verb::from(verb), kinds: vec![(PROMISE, "")], rules }
        };
        // An apply that makes something needs `create` as well, and its undo `delete`.
        let apply = needs(APPLY, &["get", "create", "patch", "delete"], "to make, change and take back requests");
        vec![apply, needs(DELETE, &["get", "delete"], "to delete requests")]
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        let doing = || format!("check {} {} on {}", action.id, action.verb, action.target);
        self.asked(client, action).map(drop).map_err(|problem| Fault::new(FaultCode::Malformed, doing(), problem))
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let doing = || format!("preview {} {} on {}", action.id, action.verb, action.target);
        let asked = self.asked(client, action).map_err(|problem| Fault::new(FaultCode::Malformed, doing(), problem))?;
        // Group, version and plural come from the Promise.
        let kind = Kind {
            group: "<group>".into(),
            version: "<version>".into(),
            kind: "<kind>".into(),
            plural: "<plural>".into(),
            namespaced: true,
        };
        let path = kind.path(asked.namespace, asked.name);
        let mut calls = vec![Call::get(PROMISE.path("", asked.promise)), Call::get(&*path)];
        if action.verb.as_str() == DELETE {
            calls.extend([Call::delete(&*path, Some("<uid>"), "Background"), Call::get(&*path)]);
        } else {
            let apply = Call::apply(&*path, wish(client, action, &kind, &asked, None, asked.spec.clone()));
            calls.extend([apply.clone().dry(), apply, Call::get(&*path)]);
        }
        Ok(calls)
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move { if run.action.verb.as_str() == DELETE { self.deleted(run).await } else { self.applied(run).await } })
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.probed(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.taken_back(run, receipt))
    }

    fn instead(&self) -> &'static str {
        "what a deleted request held is lost; make a new one with `kratix.apply`"
    }
}
