//! A sentence that the grammar does not understand, put by a model into one that it does.
//!
//! The model chooses one sentence out of a list made from this house; the grammar then reads that as if the person had said it, so that
//! nothing comes of it that could not have been said plainly, and a request is still a plan that the person confirms. Deliberately absent:
//! answers in a model's words, orders (pause and resume must be said plainly). An editor breaks this by letting the model write.

use super::{Thinker, prompt};
use crate::ask::{Known, Understood, understand};
use crate::live::Handle;
use homeostat_model::{Class, QuestionPurpose};
use serde_json::{Value, json};

/// Sentences to choose from.
const SENTENCES_MAX: usize = 400;
/// Things that sentences are made about.
const THINGS_MAX: usize = 60;
/// How long a person waits for the reading of a sentence.
const PATIENCE: homeostat_model::Span = homeostat_model::Span::from_secs(60);

const READER: &str = "A person asks Homeostat, an engine that keeps a household's machines in order, something in their own words. Choose the \
one sentence of the list that says the same, or null if none does or if you are not sure. You choose how the words are read; you do not answer.";

/// How a sentence was read.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Reworded {
    /// The sentence that was chosen; the grammar understands it.
    pub sentence: String,
    /// By which reasoner.
    pub by: String,
}

/// Everything that can be chosen: each sentence is understood by the grammar as a question or a request.
fn sentences(known: &Known) -> Vec<String> {
    let general =
        ["status", "list incidents", "how much does this month cost", "show savings", "how much power is used", "why", "plan a drill"];
    let mut all: Vec<String> = general.map(str::to_owned).into();
    let things: Vec<&homeostat_model::Target> = known.things().take(THINGS_MAX).collect();
    for thing in &things {
        all.extend([
            format!("status of {thing}"),
            format!("why {thing}"),
            format!("incidents of {thing}"),
            format!("how much power does {thing} use"),
        ]);
    }
    for spec in known.verbs().filter(|spec| spec.class > Class::Notify && spec.args.iter().all(|arg| !arg.required)) {
        let fits = |thing: &&&homeostat_model::Target| {
            let kind = spec.target_kinds.is_empty() || spec.target_kinds.iter().any(|kind| kind == thing.kind());
            kind && spec.targets.as_ref().is_none_or(|targets| targets.contains(thing))
        };
        all.extend(things.iter().filter(fits).map(|thing| format!("{} on {thing}", spec.verb)));
    }
    all.retain(|sentence| matches!(understand(sentence, known), Understood::Question(_) | Understood::Request(_)));
    all.truncate(SENTENCES_MAX);
    all
}

/// Lets a model choose. `None`: nobody could, or nothing fits.
pub async fn reword(thinker: &Thinker, handle: &Handle, known: &Known, text: &str) -> Option<Reworded> {
    let all = sentences(known);
    let schema = json!({
        "type": "object", "required": ["sentence"], "additionalProperties": false,
        "properties": { "sentence": { "anyOf": [{ "type": "null" }, { "type": "string", "enum": all }] } },
    });
    let said = homeostat_kernel::reason::words::one_line(text, 400).text;
    let input = json!({ "said": said, "sentences": all });
    let question = prompt::question(QuestionPurpose::Ask, READER, input.to_string(), schema.to_string(), 256, PATIENCE);
    let answered = thinker.ask_chain(handle, &question).await.ok()?;
    let answer: Value = serde_json::from_str(&answered.answer.json).ok()?;
    let sentence = answer["sentence"].as_str().filter(|chosen| all.iter().any(|known| known == chosen))?.to_owned();
    Some(Reworded { sentence, by: answered.reasoner })
}
