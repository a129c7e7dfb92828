//! One experiment from its making to its end: made under a fixed name, watched, ended by us at the latest, seen to be recovered.
//!
//! Deliberately absent: taking away finalizers. An experiment that cannot be taken back stays, and a person is told. An editor breaks
//! this by counting an experiment that is gone as one that was injected, or by waiting before the delete of an abort.

use super::compose::Experiment;
use super::status::{self, Phase, Reading};
use super::{Chaos, Prepared, object_name};
use crate::kube::call::Call;
use crate::kube::frame::{DECISION, Run, Step, seen};
use crate::kube::refusal::Meaning;
use homeostat_model::{Arg, FaultCode, Outcome, Receipt, Span};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Notes beside the mark.
const MADE: &str = "made";
const INJECTED: &str = "injected";

/// An experiment that stands, under watch.
struct Watched<'a> {
    run: &'a Run<'a>,
    prepared: &'a Prepared,
    path: String,
    uid: String,
    recovery: Span,
}

impl Chaos {
    /// Makes an experiment and watches it.
    pub(super) async fn made(&self, run: &Run<'_>) -> Step<Receipt> {
        let prepared = self.prepare(run.client, run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
        let pods = self.preflight(run, &prepared).await?;
        let create = self.create(run.client, run.action, &prepared);
        let path = prepared.kind().path(&prepared.namespace, &object_name(run.client, run.action));
        run.read(&create.clone().dry()).await.map_err(|refusal| run.refused(&refusal))?;
        let told = || run.not_done(FaultCode::Conflict, "it was told to stop before it had begun");
        if run.told_to_stop() {
            return Err(told());
        }
        let object = match run.write(&create).await? {
            Ok(object) => object,
            // The answer was lost, or an earlier attempt of ours came through: the fixed name tells.
            Err(refusal) if refusal.meaning() == Meaning::Exists || !refusal.is_definite() => match run.read(&Call::get(&*path)).await {
                Ok(object) => object,
                Err(_) => return Err(run.refused(&refusal)),
            },
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        if object["metadata"]["annotations"][DECISION] != run.decision() {
            return Err(run.not_done(FaultCode::Conflict, format!("{path} is there already and is not of this action")));
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        run.note(MADE, Arg::Text(uid.clone()))?;
        let watched = Watched { run, prepared: &prepared, path, uid, recovery: self.config.recovery_timeout };
        // The order to stop may have come between, and found nothing to delete: it is noted before it is sent, so it shows here.
        if run.told_to_stop() {
            watched.delete().await?;
            watched.gone().await?;
            return Err(told());
        }
        let until_injected = run.action.args.get("until").and_then(Arg::as_text) == Some("injected");
        self.watched(&watched, pods, until_injected).await
    }

    async fn watched(&self, watched: &Watched<'_>, pods: usize, until_injected: bool) -> Step<Receipt> {
        let (run, prepared) = (watched.run, watched.prepared);
        let client = run.client;
        let injected_by = client.deadline(self.config.injection_timeout + self.config.selection_timeout);
        let selected_by = client.deadline(self.config.selection_timeout);
        let over_by = client.deadline(prepared.lasts + self.config.injection_timeout);
        let (mut hit, mut recovering_since) = (false, None);
        loop {
            let reading = match run.glance(&Call::get(&*watched.path)).await {
                Ok(None) => None,
                Ok(Some(object)) => Some(watched.reading(&object)),
                Err(refusal) if refusal.is_gone() => return Err(watched.ended_early(hit)),
                Err(refusal) => return Err(run.refused(&refusal)),
            };
            let now = Instant::now();
            if let Some(reading) = reading {
                if reading.ending {
                    watched.gone().await?;
                    return Err(watched.ended_early(hit || reading.all_were_hit()));
                }
                if !hit && (reading.phase == Phase::Active || reading.all_were_hit()) {
                    hit = true;
                    run.note(INJECTED, Arg::Bool(true))?;
                }
                match reading.phase {
                    Phase::Active if until_injected => {
                        self.guard(watched);
                        return Ok(watched.receipt(format!("all {} targets are hit", reading.records.len().max(pods))));
                    }
                    Phase::Over if prepared.composed() || hit => return watched.finish(&reading).await,
                    Phase::Over => {
                        let detail = format!("it ended without hitting all its targets: {}", reading.shown());
                        return watched.fail(FaultCode::Failed, detail).await;
                    }
                    Phase::NoTarget if now > selected_by => {
                        let detail = "Chaos Mesh found no target (`no target has been selected`)";
                        return watched.fail(FaultCode::NotFound, detail).await;
                    }
                    Phase::Injecting if now > injected_by => {
                        let detail = format!("after {} only {}", self.config.injection_timeout, reading.shown());
                        return watched.fail(FaultCode::Failed, detail).await;
                    }
                    Phase::Waiting if now > injected_by => {
                        let detail = "Chaos Mesh did not look at the experiment; is its controller manager running?";
                        return watched.fail(FaultCode::TimedOut, detail).await;
                    }
                    Phase::Recovering => {
                        let since = *recovering_since.get_or_insert(now);
                        if now > since + client.pace().real(watched.recovery) {
                            watched.delete().await?; // what recovers late will then be gone as well
                            return Err(watched.stuck(&reading));
                        }
                    }
                    _ => {}
                }
                if now > over_by && reading.phase == Phase::Active {
                    return watched.time_is_over(&reading).await;
                }
            }
            if !run.pause().await {
                // Nothing may be left behind without an end.
                watched.delete().await?;
                return Err(run.unknown(FaultCode::TimedOut, "the action's time is over; the experiment is being ended"));
            }
        }
    }

    /// Ends an experiment that is left standing when its time is over, as long as this daemon lives; after that its own duration does.
    fn guard(&self, watched: &Watched<'_>) {
        let Some(client) = self.client.clone() else { return };
        let wait = client.pace().real(watched.prepared.lasts + self.config.injection_timeout);
        let delete = Call::delete(&*watched.path, Some(&watched.uid), "Background");
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Err(refusal) = client.call(&delete, client.look_deadline()).await
                && !refusal.is_gone()
            {
                tracing::error!(path = delete.path(), refusal = refusal.words(), "An experiment could not be ended at its time.");
            }
        });
    }

    /// Looks whether an experiment was done; writes nothing.
    pub(super) async fn seen(&self, run: &Run<'_>) -> Step<Receipt> {
        let prepared = self.prepare(run.client, run.action).map_err(|problem| run.unknown(FaultCode::Malformed, problem))?;
        let path = prepared.kind().path(&prepared.namespace, &object_name(run.client, run.action));
        let was_hit = run.noted(INJECTED).is_some();
        let object = match run.read(&Call::get(&*path)).await {
            Ok(object) => object,
            Err(refusal) if refusal.is_gone() && was_hit => return Ok(seen("it hit all its targets and is gone, so they are recovered")),
            Err(refusal) if refusal.is_gone() && run.over => {
                return Err(run.not_done(FaultCode::NotFound, "the experiment is not there; it was not seen to hit all its targets"));
            }
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let watched = Watched { run, prepared: &prepared, path, uid, recovery: self.config.recovery_timeout };
        let reading = watched.reading(&object);
        let until_injected = run.action.args.get("until").and_then(Arg::as_text) == Some("injected");
        match reading.phase {
            Phase::Active if until_injected => Ok(watched.receipt(reading.shown())),
            Phase::Over if reading.all_were_hit() || prepared.composed() => Ok(watched.receipt(format!("over; {}", reading.held()))),
            Phase::Over if run.over => Err(run.not_done(FaultCode::Failed, format!("it ended: {}", reading.shown()))),
            _ if run.over && reading.ending => Err(watched.stuck(&reading)),
            _ => {
                let detail = format!("the experiment stands ({:?}): {}; `chaos.abort` ends it", reading.phase, reading.shown());
                Err(run.unknown(FaultCode::TimedOut, detail))
            }
        }
    }

    /// Ends the experiment of an action: the delete is the first thing that is sent.
    pub(super) async fn taken_back(&self, run: &Run<'_>, receipt: &Receipt) -> Step<Receipt> {
        let prepared = self.prepare(run.client, run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
        let path = prepared.kind().path(&prepared.namespace, &object_name(run.client, run.action));
        let uid = receipt.undo.get("uid").and_then(Arg::as_text).unwrap_or_default().to_owned();
        let watched = Watched { run, prepared: &prepared, path, uid, recovery: self.config.recovery_timeout };
        if !watched.delete().await? {
            return Ok(seen("the experiment was gone already"));
        }
        watched.gone().await?;
        Ok(seen("the experiment was ended and is gone: all its targets are recovered"))
    }
}

impl Watched<'_> {
    fn reading(&self, object: &Value) -> Reading {
        match &self.prepared.experiment {
            Experiment::Schedule(_) | Experiment::Workflow(_) => status::read_composed(object),
            leaf => status::read(object, leaf.one_shot()),
        }
    }

    fn receipt(&self, observed: String) -> Receipt {
        let undo = BTreeMap::from([("path".to_owned(), Arg::Text(self.path.clone())), ("uid".to_owned(), Arg::Text(self.uid.clone()))]);
        Receipt { observed, undo }
    }

    /// Sends the delete; `false` if it was gone.
    async fn delete(&self) -> Step<bool> {
        let uid = Some(self.uid.as_str()).filter(|uid| !uid.is_empty());
        match self.run.write(&Call::delete(&*self.path, uid, "Background")).await? {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is_gone() => Ok(false),
            Err(refusal) => Err(self.run.refused(&refusal)),
        }
    }

    /// Waits until it and what it made are gone, which means that all targets are recovered.
    async fn gone(&self) -> Step<()> {
        let until = self.run.client.deadline(self.recovery).min(self.run.deadline);
        let mut last = None;
        loop {
            match self.run.glance(&Call::get(&*self.path)).await {
                Err(refusal) if refusal.is_gone() => break,
                Err(refusal) => return Err(self.run.refused(&refusal)),
                Ok(Some(object)) if !self.uid.is_empty() && object["metadata"]["uid"] != self.uid.as_str() => break,
                Ok(Some(object)) => last = Some(self.reading(&object)),
                Ok(None) => {}
            }
            if Instant::now() > until || !self.run.pause().await {
                return Err(match last {
                    Some(reading) => self.stuck(&reading),
                    None => self.run.unknown(FaultCode::TimedOut, "it was not seen whether the experiment is gone"),
                });
            }
        }
        if self.prepared.composed() { self.children_gone(until).await } else { Ok(()) }
    }

    /// Waits until what a Schedule or Workflow made is gone as well.
    async fn children_gone(&self, until: Instant) -> Step<()> {
        let kinds: std::collections::BTreeSet<_> = self.prepared.experiment.leaves().iter().map(Experiment::kind).collect();
        loop {
            let mut left = Vec::new();
            for kind in &kinds {
                let listed = self.run.client.list(&kind.served(), &self.prepared.namespace, &[], self.run.deadline).await;
                let listed = listed.map_err(|refusal| self.run.refused(&refusal))?;
                // Schedules and Workflows label what they make with their own name, under different keys.
                let ours = |object: &&Value| {
                    object["metadata"]["labels"].as_object().is_some_and(|labels| labels.values().any(|value| value == self.name()))
                };
                left.extend(listed.iter().filter(ours).filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)));
            }
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until || !self.run.pause().await {
                return Err(self
                    .run
                    .unknown(FaultCode::TimedOut, format!("RecoveryStuck: {} are still there; a person must look", left.join(", "))));
            }
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// It is over by itself: the object goes as well.
    async fn finish(&self, reading: &Reading) -> Step<Receipt> {
        self.delete().await?;
        self.gone().await?;
        let what = if self.prepared.experiment.one_shot() { "struck" } else { "were hit and are recovered" };
        let observed = if self.prepared.composed() {
            "the workflow is accomplished and gone".to_owned()
        } else {
            format!("{} targets {what}; the experiment is gone", reading.records.len())
        };
        Ok(self.receipt(observed))
    }

    /// Our own deadline.
    async fn time_is_over(&self, reading: &Reading) -> Step<Receipt> {
        self.delete().await?;
        self.gone().await?;
        if matches!(self.prepared.experiment, Experiment::Workflow(_)) {
            return Err(self.run.not_done(FaultCode::TimedOut, "the workflow was not accomplished in its time; it was ended and is gone"));
        }
        Ok(self.receipt(format!("ended at its time, recovered and gone; {} targets were hit", reading.records.len())))
    }

    /// It went wrong: it is ended, and the outcome is `NotDone` only if that was seen.
    async fn fail(&self, code: FaultCode, detail: impl Into<String>) -> Step<Receipt> {
        let detail = detail.into();
        self.delete().await?;
        self.gone().await?;
        Err(self.run.not_done(code, format!("{detail}; it was ended and is gone")))
    }

    fn ended_early(&self, hit: bool) -> Outcome {
        let before = if hit { "after all targets were hit" } else { "before all targets were hit" };
        self.run.not_done(FaultCode::Conflict, format!("somebody ended the experiment early, {before}; it is gone"))
    }

    fn stuck(&self, reading: &Reading) -> Outcome {
        let detail = format!(
            "RecoveryStuck: not taken back within {}; {}. A person must look: is the chaos daemon on that node running? Its finalizer is not removed, that would leave the pods broken",
            self.recovery,
            reading.held()
        );
        self.run.unknown(FaultCode::TimedOut, detail)
    }
}
