//! The daemon's side of reasoning: a question of the kernel goes to the chain of models, and what comes back is handed in as news.
//!
//! Order of one question: ask (with a bounded number of looks), ask the same again without anything that somebody outside wrote, ask a
//! second model for its no. The kernel compares and rules. Clouds are told the redacted form and nothing else. Deliberately absent:
//! judging an answer, and any power: this module cannot give an order. An editor breaks this by sending the kernel an answer whose
//! counterfactual was not asked as if it had been.

mod looks;
mod prompt;
#[cfg(test)]
mod tests;
mod wording;

pub use wording::{Reworded, reword};

use crate::clock::Clock;
use crate::config::{LokiConfig, ReasoningConfig};
use crate::live::Handle;
use homeostat_kernel::reason::NAMING_LABELS;
use homeostat_kernel::store::Selector;
use homeostat_model::{
    Advice, Advised, BoxFuture, Brief, Look, Question, QuestionId, QuestionPurpose, Span, Target, Time, TokenUsage, Verification,
};
use homeostat_reasoners::{Answered, Asking, Chain, Known, Redactor, Spent, Unanswered};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is handed to the dispatcher: how a question of the kernel is thought about.
pub type Think = Arc<dyn Fn(Handle, QuestionId, Box<Brief>) -> BoxFuture<'static, Advice> + Send + Sync>;

/// The file that keeps what reasoners have used up.
const SPENT_FILE: &str = "reasoners.json";
/// How much of the time for an answer one request may take; the rest is for handing it in.
const SHARE_OF_TIME: f64 = 0.9;

/// Asks models.
pub struct Thinker {
    chain: Chain,
    config: ReasoningConfig,
    clock: Arc<dyn Clock>,
    spent_at: PathBuf,
}

/// What was used up along the way.
#[derive(Default)]
struct Tally {
    usage: TokenUsage,
    cost_euros: f64,
    hash: String,
    /// All requests of one question together end by then.
    deadline: Time,
}

impl Tally {
    fn add(&mut self, answered: &Answered) {
        self.usage = self.usage.plus(answered.answer.usage);
        self.cost_euros += answered.answer.cost_euros.unwrap_or_default();
    }

    fn add_fault(&mut self, unanswered: &Unanswered) {
        self.usage = unanswered.left_out.iter().fold(self.usage, |usage, one| usage.plus(one.fault.usage));
    }
}

impl Thinker {
    /// Takes up what was spent before.
    pub fn new(chain: Chain, config: ReasoningConfig, clock: Arc<dyn Clock>, data: &Path) -> Thinker {
        let spent_at = data.join(SPENT_FILE);
        match std::fs::read(&spent_at).map(|bytes| serde_json::from_slice::<Spent>(&bytes)) {
            Ok(Ok(spent)) => chain.restore(spent),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(Err(error)) => tracing::warn!(%error, "What reasoners have used up cannot be read; their budgets begin anew."),
            Err(error) => tracing::warn!(%error, "What reasoners have used up cannot be read; their budgets begin anew."),
        }
        Thinker { chain, config, clock, spent_at }
    }

    /// The chain, for metrics.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// As the dispatcher wants it.
    pub fn think(self: Arc<Thinker>) -> Think {
        Arc::new(move |handle, id, brief| {
            let this = Arc::clone(&self);
            Box::pin(async move { this.advise(&handle, id, &brief).await })
        })
    }

    /// Thinks about one question of the kernel. Never fails: what cannot be answered says why.
    pub async fn advise(&self, handle: &Handle, question: QuestionId, brief: &Brief) -> Advice {
        let began = self.clock.now();
        let within = self.config.answer_within.times(SHARE_OF_TIME).max(Span::from_secs(1));
        let (mut tally, mut looks) = (Tally { deadline: began + within, ..Tally::default() }, Vec::new());
        let end = self.answer(handle, brief, &mut tally, &mut looks).await;
        let (answer, fault, needs) = match end {
            Ok(answer) => (Some(answer), String::new(), None),
            Err(unanswered) => (None, unanswered.to_string(), unanswered.node().cloned()),
        };
        let latency = self.clock.now().since(began);
        Advice { question, answer, fault, needs, looks, prompt_hash: tally.hash, usage: tally.usage, cost_euros: tally.cost_euros, latency }
    }

    async fn answer(&self, handle: &Handle, brief: &Brief, tally: &mut Tally, looks: &mut Vec<Look>) -> Result<Advised, Unanswered> {
        let private = names_in(brief);
        let (json, answered) = loop {
            let left = self.config.looks_max.saturating_sub(looks.len() as u32);
            let schema = prompt::with_look(&brief.schema, (left > 0).then(|| looks::schema(brief, self.loki().is_some())));
            let question =
                self.question(QuestionPurpose::Advice, prompt::ADVISER, prompt::document(brief, looks, true, None), schema, tally.deadline);
            let answered = self.ask(handle, &question, &private, tally).await?;
            let (json, wanted) = prompt::split_look(&answered.answer.json);
            match wanted.filter(|_| left > 0) {
                Some(asked) => looks.push(looks::look(handle, self.loki(), brief, &asked).await),
                None => break (json, answered),
            }
        };
        // Names come from outside as well, so the question without foreign text is asked of every proposal.
        let json_untold = if proposes(&json) {
            let document = prompt::document(brief, looks, false, None);
            let question = self.question(QuestionPurpose::Advice, prompt::ADVISER, document, brief.schema.clone(), tally.deadline);
            // Only the same mind's word without the text counts; another one would differ for other reasons.
            let again = self.ask(handle, &question, &private, tally).await.ok();
            again.filter(|again| again.reasoner == answered.reasoner).map(|again| again.answer.json)
        } else {
            None
        };
        let verification = if self.config.verify && proposes(&json) {
            Some(self.verify(handle, brief, looks, &json, &answered.reasoner, tally).await)
        } else {
            None
        };
        Ok(Advised { json, json_untold, verification, by: answered.reasoner, model: answered.answer.model })
    }

    /// A second model's no. Where none can be had, that is one.
    async fn verify(&self, handle: &Handle, brief: &Brief, looks: &[Look], json: &str, adviser: &str, tally: &mut Tally) -> Verification {
        let proposal: Value = serde_json::from_str(json).unwrap_or_default();
        let document = prompt::document(brief, looks, true, Some(&proposal));
        let question =
            self.question(QuestionPurpose::Verify, prompt::VERIFIER, document, prompt::VERIFIER_SCHEMA.to_owned(), tally.deadline);
        match self.ask(handle, &question, &names_in(brief), tally).await {
            Ok(answered) if answered.reasoner == adviser => {
                Verification { by: answered.reasoner, veto: Some("the same model cannot check itself".into()) }
            }
            Ok(answered) => {
                let said: Value = serde_json::from_str(&answered.answer.json).unwrap_or_default();
                let why = said["why"].as_str().unwrap_or("no reason was given").to_owned();
                // Whatever is not a plain "no objection" is an objection.
                Verification { by: answered.reasoner, veto: (said["veto"] != Value::Bool(false)).then_some(why) }
            }
            Err(unanswered) => Verification { by: "verifier".into(), veto: Some(format!("it could not be asked: {unanswered}")) },
        }
    }

    fn loki(&self) -> Option<&LokiConfig> {
        self.config.loki.as_ref()
    }

    fn question(&self, purpose: QuestionPurpose, system: &str, input: String, schema: String, deadline: Time) -> Question {
        let timeout = deadline.since(self.clock.now()).max(Span::ZERO);
        prompt::question(purpose, system, input, schema, self.config.tokens_max, timeout)
    }

    /// Who puts an incident's note into words.
    pub fn author(self: Arc<Thinker>, handle: Handle) -> crate::incidents::keep::Author {
        Arc::new(move |question| {
            let (this, handle) = (Arc::clone(&self), handle.clone());
            Box::pin(async move {
                let answered = this.ask_chain(&handle, &question).await;
                answered
                    .map_err(|why| tracing::debug!(%why, "Nobody puts the note into words."))
                    .ok()
                    .map(|answered| (answered.answer.model, answered.answer.json))
            })
        })
    }

    /// Asks the chain; a cloud is told the redacted form, and its answer is read in the house's own names. Used by everything in the daemon
    /// that wants words of a model.
    ///
    /// # Errors
    /// Nobody answered; with why, from each.
    pub async fn ask_chain(&self, handle: &Handle, question: &Question) -> Result<Answered, Unanswered> {
        self.ask(handle, question, &[], &mut Tally::default()).await
    }

    async fn ask(&self, handle: &Handle, question: &Question, private: &[String], tally: &mut Tally) -> Result<Answered, Unanswered> {
        // Without the names of this house nothing can be redacted, so no cloud is told anything.
        let around = handle.ask(|kernel| (sleeping(kernel), names(kernel))).await.ok();
        let is_redacted = around.is_some();
        let (asleep, mut hosts) = around.unwrap_or_default();
        hosts.extend_from_slice(private);
        let known = Known { hosts, people: self.config.private.clone(), ..Known::default() };
        let mut redactor = Redactor::new(&known);
        let cloud = redactor.question(question);
        tally.hash = hash(question);
        let now = || self.clock.now();
        let asked = self.chain.ask(&now, Asking { local: question, cloud: is_redacted.then_some(&cloud), asleep: &asleep }).await;
        self.keep_spent();
        match asked {
            Ok(mut answered) => {
                tally.add(&answered);
                if answered.place == homeostat_model::Place::Cloud {
                    answered.answer = redactor.answer(answered.answer);
                }
                Ok(answered)
            }
            Err(unanswered) => {
                tally.add_fault(&unanswered);
                Err(unanswered)
            }
        }
    }

    /// Writes down what was spent, beside the old file first. What cannot be written is said; the budget in memory holds.
    fn keep_spent(&self) {
        let fresh = self.spent_at.with_extension("json.new");
        let bytes = serde_json::to_vec(&self.chain.spent()).unwrap_or_default();
        if let Err(error) = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &self.spent_at)) {
            tracing::warn!(%error, "What reasoners have used up cannot be written down; after a restart it is forgotten.");
        }
    }
}

fn proposes(json: &str) -> bool {
    serde_json::from_str::<Value>(json).is_ok_and(|answer| !answer["proposal"].is_null())
}

fn hash(question: &Question) -> String {
    let digest = Sha256::digest([question.system.as_bytes(), question.input.as_bytes(), question.schema.as_bytes()].join(&0));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The nodes that are known to be down.
fn sleeping(kernel: &homeostat_kernel::Kernel) -> BTreeSet<Target> {
    let Ok(selector) = Selector::parse("node_up") else { return BTreeSet::new() };
    let now = kernel.now();
    kernel.with_store(|store| {
        let down = |series: homeostat_kernel::store::SeriesRef| {
            let off = store.last(series, now).value.value().is_some_and(|value| value < 0.5);
            let node = store.key(series)?.labels.get("node")?.to_owned();
            off.then(|| Target::new(format!("node/{node}")))
        };
        store.select(&selector).into_iter().filter_map(down).collect()
    })
}

/// Every name that no cloud is told: of targets, whole and in parts.
fn names(kernel: &homeostat_kernel::Kernel) -> Vec<String> {
    let listed = kernel.verb_specs().filter_map(|spec| spec.targets.clone()).flatten();
    let wished = kernel.ledger().actions().map(|state| state.proposal.target.clone());
    let alerts = kernel.ledger().alerts().flat_map(|known| known.alert.labels.iter().filter(|(label, _)| NAMING_LABELS.contains(label)));
    let alerts = alerts.map(|(_, value)| value.to_owned());
    let names: BTreeSet<String> = kernel.things().iter().chain(&listed.collect::<Vec<_>>()).flat_map(parts).chain(alerts).collect();
    names.into_iter().chain(wished.flat_map(|target| parts(&target))).collect()
}

/// Every name that a brief holds.
fn names_in(brief: &Brief) -> Vec<String> {
    let targets = brief.targets.iter().chain([&brief.occasion.target]).flat_map(parts);
    let claimed = brief.claims.iter().filter_map(|claim| match &claim.subject {
        homeostat_model::ClaimSubject::Series { series, .. } => Some(series),
        _ => None,
    });
    let labels = brief.readings.iter().filter_map(|reading| reading.series.as_ref()).chain(claimed).flat_map(|key| key.labels.iter());
    let named = labels.filter(|(label, _)| NAMING_LABELS.contains(label)).map(|(_, value)| value.to_owned());
    // Words of ours are no names of this house: `job="node"`.
    targets.chain(named).filter(|name| name.len() > 1 && !prompt::KINDS.contains(&name.as_str())).collect()
}

/// A target's name, whole and in parts. One letter is no name that could be told from a word.
fn parts(target: &Target) -> Vec<String> {
    let name = target.name();
    std::iter::once(name).chain(name.split(['/', ':'])).filter(|part| part.len() > 1).map(str::to_owned).collect()
}
