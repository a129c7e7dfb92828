//! `POST /api/v1/ask`: what a person asks in words. Reads, and at most a plan that is shown; nothing is ordered here.

use super::api::{Answer, asked, refused};
use super::scoring::{look, rules};
use super::{App, acting, failure};
use crate::ask::{Understood, Wish, understand};
use crate::people::Deed;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    text: String,
}

/// `POST /api/v1/ask` with `{"text": "why is nas slow?"}`.
pub(super) async fn ask(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Asked { text }) = asked(&app, request).await?;
    let people = Arc::clone(&app.people);
    let known = app.handle.ask(move |kernel| crate::answers::known(kernel, &people)).await.map_err(refused)?;
    let known = Arc::new(known);
    let mut understood = read(text.clone(), Arc::clone(&known)).await?;
    let mut reworded = None;
    let is_agent = app.agents.contains(&by);
    if let (Understood::Unknown { .. }, Some(thinker), false) = (&understood, &app.thinker, is_agent) {
        // A model chooses a sentence that could have been said; what follows is the grammar's again.
        reworded = crate::reasoning::reword(thinker, &app.handle, &known, &text).await;
        if let Some(reworded) = &reworded {
            understood = read(reworded.sentence.clone(), known).await?;
        }
    }
    let question = understood.clone();
    let who = by.clone();
    let people = Arc::clone(&app.people);
    let mut answer = look(&app, move |kernel, rules| crate::answers::answer(kernel, rules, &people, &question, &who)).await?;
    let mut planned = None;
    if let Understood::Request(wish) = &understood
        && let Some(quota) = may_be_asked(&app, &by, wish, &mut answer).await?
    {
        let wish = wish.clone();
        let plan = app.handle.ask(move |kernel| kernel.plan(&by, &wish.verb, &wish.target, &wish.args)).await.map_err(refused)?;
        answer.next = Some(do_command(&plan));
        answer.lines.push(cost_line(&app, &plan).await?);
        answer.lines.extend(quota.map(|used| format!("It is {used}.")));
        planned = Some(acting::previewed(&app, plan));
    }
    if let Some(reworded) = &reworded {
        answer.lines.insert(0, format!("Read by {} as: {}", reworded.by, reworded.sentence));
    }
    Ok(Json(json!({ "understood": understood, "answer": answer, "planned": planned, "reworded": reworded })).into_response())
}

/// Reading a long sentence in a large house may take a tenth of a second: not on a thread that serves others.
async fn read(text: String, known: Arc<crate::ask::Known>) -> Answer<Understood> {
    let understood = tokio::task::spawn_blocking(move || understand(&text, &known)).await;
    understood.map_err(|_| failure(StatusCode::INTERNAL_SERVER_ERROR, "the sentence could not be read".into()))
}

/// Whether whoever asks may have this, and what of their quota it is; `None`: not, and the answer says why.
async fn may_be_asked(app: &App, by: &str, wish: &Wish, answer: &mut crate::answers::Answer) -> Answer<Option<Option<String>>> {
    let why = match app.people.may(by, Deed::Do(&wish.verb, &wish.target)) {
        Ok(()) => match super::rights::used(app, by, &wish.verb, &wish.target).await? {
            Ok(used) => return Ok(Some(used)),
            Err(why) => why,
        },
        Err(why) => why,
    };
    answer.lines = vec![format!("Nothing is planned: {why}")];
    Ok(None)
}

/// The command that confirms this very plan.
fn do_command(plan: &homeostat_kernel::kernel::Plan) -> String {
    let quoted = |text: String| format!("'{}'", text.replace('\'', "'\\''"));
    let args: String = plan.args.iter().map(|(name, arg)| format!(" {}", quoted(format!("{name}={arg}")))).collect();
    format!("homeostat do {} {}{args} --plan {}", plan.verb, quoted(plan.target.to_string()), plan.plan)
}

/// What the plan costs, by what its verbs say and the price of the moment.
async fn cost_line(app: &App, plan: &homeostat_kernel::kernel::Plan) -> Answer<String> {
    let rules = rules(app).await?;
    let verbs: Vec<_> = plan.steps.iter().filter_map(|step| step.action.as_ref().map(|action| action.verb.clone())).collect();
    let now = app.handle.now();
    let costs = verbs.iter().filter_map(|verb| rules.verbs.get(verb)).map(|spec| spec.cost);
    let (joules, disruption) = costs
        .fold((0.0, homeostat_model::Span::ZERO), |(joules, disruption), cost| (joules + cost.energy_joules, disruption + cost.disruption));
    let euros = rules.tariff().euros(joules, now, now);
    Ok(format!("By what its verbs say it costs {joules:.0} J ({euros:.4} €) and {disruption} of interruption."))
}
