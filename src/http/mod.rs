//! The HTTP face: status page, JSON API, metrics, webhooks; the same over TCP (loopback unless told otherwise) and over a Unix socket
//! in the data directory, which the command line uses.
//!
//! Reading order: `accept` (connections and their limits), `guard` (what every request passes), `auth` (who may order), `view` (what is
//! shown), then the routes: `pages`, `api`, `asking`, `acting`, `proposing`, `scoring`, `webhooks`, `metrics`, and `agents` (the Model
//! Context Protocol). Reads are open to whoever reaches the listener; orders need a person's token over TCP, questions and proposals
//! anybody's. Deliberately absent: TLS (a reverse proxy's), sessions, scripts in pages. An editor breaks this by adding a route that
//! orders something without asking `auth::operator` (`auth::asker` is for what changes nothing or waits for a person), or by answering
//! an order before the journal has it.

mod accept;
mod acting;
mod agents;
mod answering;
mod api;
mod asking;
mod consulting;
mod notes;
mod pages;
mod proposing;
mod rights;
mod scoring;
mod webhooks;

pub mod auth;
pub mod guard;
pub mod metrics;
pub mod view;

#[cfg(test)]
mod tests;

pub use accept::{Server, serve};
pub use auth::{Peer, Tokens};
pub use webhooks::WebhookStatus;

use crate::config::{Config, McpConfig, WebhooksConfig};
use crate::live::Handle;
use crate::people::People;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use homeostat_model::{Actuator, Secret};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// TCP connections at once.
const CONNECTIONS_MAX: usize = 256;

/// How to serve. Secrets are fetched when the listeners open.
#[derive(Clone)]
pub struct ServeOptions {
    /// The data directory, for actions that memory no longer has.
    pub data: PathBuf,
    /// The TCP address.
    pub listen: SocketAddr,
    /// The Unix socket.
    pub socket: PathBuf,
    /// Names by which this machine may be asked over TCP, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Who may order something over TCP, by name.
    pub tokens: BTreeMap<String, Secret>,
    /// Whether agents are served, and their tokens.
    pub mcp: McpConfig,
    /// How alert deliveries are taken.
    pub webhooks: WebhooksConfig,
    /// Who may ask for what.
    pub people: Arc<People>,
    /// TCP connections at once.
    pub connections_max: usize,
    /// What dry runs ask for their previews.
    pub actuators: Vec<Arc<dyn Actuator>>,
    /// The way to the desk that asks people on their channels, if there are any.
    pub approvals: Option<crate::approvals::Door>,
    /// The way to language models, if there are any: for sentences that the grammar does not understand, and for prose.
    pub thinker: Option<Arc<crate::reasoning::Thinker>>,
}

impl ServeOptions {
    /// As configured; `listen` is the command line's and comes first.
    pub fn new(config: &Config, data: &Path, listen: Option<SocketAddr>) -> ServeOptions {
        ServeOptions {
            data: data.to_owned(),
            listen: listen.unwrap_or(config.listen),
            socket: config.socket_path(data),
            hosts: config.hosts.clone(),
            tokens: config.tokens.clone(),
            mcp: config.mcp.clone(),
            webhooks: config.webhooks.clone(),
            people: Arc::new(People::new(&config.people, &config.roles, &config.ask)),
            connections_max: CONNECTIONS_MAX,
            actuators: Vec::new(),
            approvals: None,
            thinker: None,
        }
    }

    /// The names by which agents may ask over HTTP, besides this machine's own; `None`: they are not served.
    fn agent_hosts(&self) -> Option<Vec<String>> {
        let listener = Some(self.listen.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
        self.mcp.http.then(|| self.hosts.iter().cloned().chain(listener).collect())
    }
}

/// What the routes share.
pub(crate) struct App {
    handle: Handle,
    data: PathBuf,
    hosts: Vec<String>,
    tokens: Tokens,
    own_uid: u32,
    webhooks: webhooks::Webhooks,
    people: Arc<People>,
    /// Orders are taken one after the other where rights are kept.
    turn: tokio::sync::Mutex<()>,
    answers: Mutex<BTreeMap<&'static str, u64>>,
    connections_refused: AtomicU64,
    actuators: Vec<Arc<dyn Actuator>>,
    approvals: Option<crate::approvals::Door>,
    thinker: Option<Arc<crate::reasoning::Thinker>>,
    /// Who asks with an agent's token: no tokens of models are spent for them.
    agents: std::collections::BTreeSet<String>,
    guesses: answering::Guesses,
    /// The rules in force as they were last read from the journal.
    rules: Mutex<Option<Arc<crate::scores::Rules>>>,
    /// Incidents, up to the entry that was last looked at.
    incidents: Mutex<crate::incidents::Book>,
}

impl App {
    /// Fetches the secrets; the error names the reference that cannot be had, never a value.
    fn new(handle: Handle, options: &ServeOptions, own_uid: u32) -> Result<App, String> {
        let resolve = |secret: &Secret| secret.resolve(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path));
        let pairs = |tokens: &BTreeMap<String, Secret>| {
            tokens.iter().map(|(name, secret)| Ok((name.clone(), resolve(secret)?))).collect::<Result<Vec<_>, String>>()
        };
        Ok(App {
            handle,
            data: options.data.clone(),
            hosts: options.hosts.clone(),
            tokens: Tokens::new(pairs(&options.tokens)?)?.with(auth::Role::Agent, pairs(&options.mcp.agents)?)?,
            own_uid,
            webhooks: webhooks::Webhooks::new(&options.webhooks)?,
            people: Arc::clone(&options.people),
            turn: tokio::sync::Mutex::new(()),
            answers: Mutex::new(BTreeMap::new()),
            connections_refused: AtomicU64::new(0),
            actuators: options.actuators.clone(),
            approvals: options.approvals.clone(),
            thinker: options.thinker.clone(),
            agents: options.mcp.agents.keys().map(|name| format!("token:{name}")).collect(),
            guesses: answering::Guesses::default(),
            rules: Mutex::new(None),
            incidents: Mutex::default(),
        })
    }

    fn count_answer(&self, status: StatusCode) {
        let class = match status.as_u16() {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += 1;
    }

    fn answers(&self) -> BTreeMap<&'static str, u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }
}

/// A failed request's answer: `{"error": "…"}`.
pub(crate) fn failure(status: StatusCode, error: String) -> Response {
    (status, axum::Json(serde_json::json!({ "error": error }))).into_response()
}

/// All routes. `agents`: the names by which `/mcp` may be asked; `None`: it is not served.
pub(crate) fn router(app: Arc<App>, agents: Option<Vec<String>>) -> Router {
    let api = routes(Arc::clone(&app));
    match agents {
        Some(hosts) => api.clone().merge(agents::routes(app, api, hosts)),
        None => api,
    }
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(pages::status))
        .route("/actions/{id}", get(pages::action))
        .route("/policies/{id}", get(pages::policy))
        .route("/healthz", get(api::healthz))
        .route("/readyz", get(api::readyz))
        .route("/metrics", get(api::metrics))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/incidents", get(api::incidents))
        .route("/api/v1/actions", get(api::actions))
        .route("/api/v1/actions/{id}", get(api::action))
        .route("/api/v1/approvals", get(api::approvals))
        .route("/api/v1/approvals/{id}/approve", post(api::approve))
        .route("/api/v1/approvals/{id}/deny", post(api::deny))
        .route("/api/v1/approvals/{id}/never", post(scoring::never))
        .route("/api/v1/scores", get(scoring::scores))
        .route("/api/v1/scores/{policy}", get(scoring::policy_scores))
        .route("/api/v1/autonomy", get(scoring::autonomy))
        .route("/api/v1/ledger", get(scoring::ledger))
        .route("/api/v1/digest", get(scoring::digest))
        .route("/api/v1/notes", get(notes::list))
        .route("/api/v1/notes/{id}", get(notes::note))
        .route("/api/v1/drills", post(scoring::drill))
        .route("/api/v1/policies", get(api::policies))
        .route("/api/v1/policies/{id}", get(api::policy))
        .route("/api/v1/label/__name__/values", get(api::metric_names))
        .route("/api/v1/evaluate", post(api::evaluate))
        .route("/api/v1/ask", post(asking::ask))
        .route("/api/v1/questions", get(consulting::list).post(consulting::consult))
        .route("/api/v1/propose", post(proposing::propose))
        .route("/api/v1/wishes", post(acting::wish))
        .route("/api/v1/plan", post(acting::plan))
        .route("/api/v1/runs", get(acting::runs))
        .route("/api/v1/runs/{id}/release", post(acting::release))
        .route("/api/v1/playbooks", get(acting::playbooks))
        .route("/api/v1/pause", post(api::pause))
        .route("/api/v1/resume", post(api::resume))
        .route("/api/v1/unlock", post(api::unlock))
        .route("/answer/{token}", get(answering::show).post(answering::answer))
        .route("/slack/interactive", post(answering::slack))
        .route("/webhooks/alertmanager", post(webhooks::alertmanager))
        .route("/webhooks/grafana", post(webhooks::grafana).put(webhooks::grafana))
        .fallback(|| async {
            failure(StatusCode::NOT_FOUND, "there is no such page; `/` has the status, `/api/v1/status` the same as JSON".into())
        })
        .method_not_allowed_fallback(|| async { failure(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method".into()) })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}
