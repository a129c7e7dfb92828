//! `POST /api/v1/ask`: what a person asks in words. Reads, and at most a plan that is shown; nothing is ordered here.

use super::api::{Answer, asked, refused};
use super::scoring::{look, rules};
use super::{App, acting, failure};
use crate::ask::{Understood, understand};
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
    let known = app.handle.ask(crate::answers::known).await.map_err(refused)?;
    // Reading a long sentence in a large house may take a tenth of a second: not on a thread that serves others.
    let understood = tokio::task::spawn_blocking(move || understand(&text, &known)).await;
    let understood = understood.map_err(|_| failure(StatusCode::INTERNAL_SERVER_ERROR, "the sentence could not be read".into()))?;
    let question = understood.clone();
    let who = by.clone();
    let mut answer = look(&app, move |kernel, rules| crate::answers::answer(kernel, rules, &question, &who)).await?;
    let mut planned = None;
    if let Understood::Request(wish) = &understood {
        let wish = wish.clone();
        let plan = app.handle.ask(move |kernel| kernel.plan(&by, &wish.verb, &wish.target, &wish.args)).await.map_err(refused)?;
        answer.next = Some(do_command(&plan));
        answer.lines.push(cost_line(&app, &plan).await?);
        planned = Some(acting::previewed(&app, plan));
    }
    Ok(Json(json!({ "understood": understood, "answer": answer, "planned": planned })).into_response())
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
