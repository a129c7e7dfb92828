//! What the configured actuators could do now: asked at the start and by `doctor`, by reading only.
//!
//! A verb whose other side lacks something that time does not bring (a kind, a right, a setting) is taken out of what can be wished,
//! aloud; one whose other side is merely not reached stays, because a house starts in any order. Deliberately absent: asking again
//! by itself; a new start does. An editor breaks this by taking an unreachable server for a missing right.

use homeostat_actuators::Annotator;
use homeostat_model::{Action, Actuator, ActuatorSpec, BoxFuture, Fault, FaultCode, Outcome, Planned, Receipt, Time, Verb};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long one actuator may take to look.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// What is missing, by verb. All actuators look at once.
pub async fn look(actuators: &[Arc<dyn Actuator>]) -> Vec<(Verb, Fault)> {
    let looks: Vec<_> = actuators
        .iter()
        .map(|actuator| {
            let actuator = Arc::clone(actuator);
            tokio::spawn(async move {
                let looked = tokio::time::timeout(LOOK_WITHIN, actuator.ready()).await;
                looked.unwrap_or_else(|_| too_slow(actuator.as_ref()))
            })
        })
        .collect();
    let mut missing = Vec::new();
    for look in looks {
        // A panic in a plug stops only that plug, and here not even that.
        missing.extend(look.await.unwrap_or_default());
    }
    missing
}

fn too_slow(actuator: &dyn Actuator) -> Vec<(Verb, Fault)> {
    let text = format!("no answer within {} s", LOOK_WITHIN.as_secs());
    let fault = |verb: &Verb| Fault::new(FaultCode::TimedOut, format!("look whether {verb} can be done"), text.clone());
    actuator.spec().verbs.into_iter().map(|spec| (spec.verb.clone(), fault(&spec.verb))).collect()
}

/// Whether time alone does not mend it.
pub fn disables(fault: &Fault) -> bool {
    matches!(fault.code, FaultCode::NotFound | FaultCode::Denied | FaultCode::Malformed)
}

/// What can be wished: without the verbs that lack something.
pub fn enabled(specs: Vec<ActuatorSpec>, missing: &[(Verb, Fault)]) -> Vec<ActuatorSpec> {
    let off: BTreeSet<&Verb> = missing.iter().filter(|(_, fault)| disables(fault)).map(|(verb, _)| verb).collect();
    let mut specs = specs;
    for spec in &mut specs {
        spec.verbs.retain(|verb| !off.contains(&verb.verb));
    }
    specs
}

/// An actuator whose actions are marked in Grafana, beside and never in the way of them.
pub struct Annotated {
    /// The actuator.
    pub inner: Arc<dyn Actuator>,
    /// What marks.
    pub annotator: Annotator,
}

impl Actuator for Annotated {
    fn spec(&self) -> ActuatorSpec {
        self.inner.spec()
    }
    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.inner.check(action)
    }
    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.inner.preview(action)
    }
    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        self.inner.ready()
    }
    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (annotator, marked) = (self.annotator.clone(), action.clone());
            let begun = tokio::spawn(async move { annotator.begun(now, &marked).await });
            let started = tokio::time::Instant::now();
            let outcome = self.inner.apply(now, action).await;
            let (annotator, marked, ended) = (self.annotator.clone(), action.clone(), outcome.clone());
            tokio::spawn(async move {
                if let Ok(Err(fault)) = begun.await {
                    tracing::warn!(action = %marked.id, %fault, "An action is not marked in Grafana.");
                    return;
                }
                let now = now + homeostat_model::Span::from_millis(i64::try_from(started.elapsed().as_millis()).unwrap_or(0));
                if let Err(fault) = annotator.settled(now, &marked, &ended).await {
                    tracing::warn!(action = %marked.id, %fault, "The end of an action is not marked in Grafana.");
                }
            });
            outcome
        })
    }
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        self.inner.probe(now, action)
    }
    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        self.inner.revert(now, action, receipt)
    }
}

/// Every actuator, marked if there is something to mark with; what only tells is not marked.
pub fn annotated(actuators: Vec<Arc<dyn Actuator>>, annotator: Option<&Annotator>) -> Vec<Arc<dyn Actuator>> {
    let Some(annotator) = annotator else { return actuators };
    let mark = |inner: Arc<dyn Actuator>| -> Arc<dyn Actuator> {
        let tells = matches!(inner.spec().id.as_str(), "notify" | "grafana");
        if tells { inner } else { Arc::new(Annotated { inner, annotator: annotator.clone() }) }
    };
    actuators.into_iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_taken_out_and_what_is_not_reached_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = serde_json::json!({ "exec": { "commands": {
            "a": { "doc": "A.", "argv": ["/bin/true"] }, "b": { "doc": "B.", "argv": ["/bin/true"] } } } });
        let built = homeostat_actuators::build(&serde_json::from_value(config).unwrap(), dir.path(), "j").unwrap();
        let specs: Vec<ActuatorSpec> = built.iter().map(|actuator| actuator.spec()).collect();
        let fault = |code| Fault::new(code, "look", "x");
        let missing = [("exec.a".into(), fault(FaultCode::Denied)), ("exec.b".into(), fault(FaultCode::Unreachable))];
        let left: Vec<String> = enabled(specs, &missing).iter().flat_map(|s| &s.verbs).map(|v| v.verb.to_string()).collect();
        assert_eq!(left, ["exec.b", "notify.send"]);
    }
}
