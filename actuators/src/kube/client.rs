//! The acting client: connects at the first use, bounds every call, repeats only what may be repeated.
//!
//! kube's own retries are off (they would repeat POSTs for minutes); what is repeated, and how often, stands here. Answers are read
//! up to a cap. Deliberately absent: watches and caches; an actuator looks again instead. An editor breaks this by connecting in
//! `new`, by repeating a POST that is not marked repeatable, or by losing the flag that an earlier attempt may have been carried out.

use super::call::{Call, Kind};
use super::config::{ConnectConfig, KubernetesConfig};
use super::refusal::{Ending, Meaning, Refusal};
use crate::Pace;
use crate::client::backoff;
use crate::redact::resolve;
use homeostat_model::{Fault, FaultCode, Secret, Span};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

/// How much of an answer is read.
const BODY_BYTES_MAX: usize = 16 << 20;
/// How often one call is sent at most.
const ATTEMPTS: u32 = 3;
/// The first wait between two attempts.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many objects one page of a list holds.
const PAGE: &str = "500";
/// How many pages are read; more is a refusal, never a silent cut.
const PAGES_MAX: usize = 40;
/// A namespace that is never touched unless it is named in the configuration.
const KUBE_SYSTEM: &str = "kube-system";

/// A cluster to act on. Shared by all powers; nothing is read or connected before the first call.
pub struct KubeClient {
    connect: ConnectConfig,
    namespaces: Vec<String>,
    field_manager: String,
    call_timeout: Duration,
    poll: Span,
    pace: Pace,
    journal: String,
    client: OnceCell<Client>,
}

impl std::fmt::Debug for KubeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeClient").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl KubeClient {
    /// Checks the shared part of the section; connects to nothing. `journal` is the journal's id: it stands in every
    /// `homeostat/decision`. Every problem is listed.
    pub fn new(config: &KubernetesConfig, journal: &str, pace: Pace) -> Result<KubeClient, Vec<Fault>> {
        let faults = config.problems();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(KubeClient {
            connect: config.connect.clone(),
            namespaces: config.namespaces.clone(),
            field_manager: config.field_manager.clone(),
            call_timeout: config.call_timeout.to_std(),
            poll: config.poll,
            pace,
            journal: journal.to_owned(),
            client: OnceCell::new(),
        })
    }

    /// Where it acts, for people and previews: the server's address without credentials, or the kubeconfig's context.
    pub fn place(&self) -> String {
        match &self.connect {
            ConnectConfig::Server { url, .. } => url.trim_end_matches('/').to_owned(),
            ConnectConfig::InCluster {} => "https://kubernetes.default.svc".into(),
            ConnectConfig::Kubeconfig { context, .. } => format!("kubeconfig://{}", context.as_deref().unwrap_or("current-context")),
        }
    }

    /// The journal's id.
    pub fn journal(&self) -> &str {
        &self.journal
    }
    /// The name under which the server records what was set.
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }
    /// How fast the daemon's time runs.
    pub fn pace(&self) -> Pace {
        self.pace
    }
    /// Between two looks, in the daemon's time.
    pub fn poll(&self) -> Span {
        self.poll
    }
    /// The namespaces that may be changed; empty: all but `kube-system`.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Why nothing may be changed in a namespace, if nothing may.
    pub fn namespace_problem(&self, namespace: &str) -> Option<String> {
        let listed = self.namespaces.iter().any(|known| known == namespace);
        if listed || (self.namespaces.is_empty() && namespace != KUBE_SYSTEM) {
            return None;
        }
        let known = if self.namespaces.is_empty() { "all but kube-system".into() } else { self.namespaces.join(", ") };
        Some(format!("namespace `{namespace}` is not among those of `kubernetes.namespaces` ({known})"))
    }

    /// Sends one call: within `deadline`, each attempt within the configured `call_timeout`, repeated (at most three times in all,
    /// with jitter, as long as the server asks) if the answer is one that passes and the call may be repeated.
    pub async fn call(&self, call: &Call, deadline: Instant) -> Result<Value, Refusal> {
        let mut lost = false;
        let mut attempt = 1;
        loop {
            let refusal = match self.once(call, deadline).await {
                Ok(value) => return Ok(value),
                Err(refusal) => Refusal { lost, wrote: !call.reads(), ..refusal },
            };
            let unsent = matches!(refusal.ending, Ending::NotSent(_));
            let throttled = matches!(refusal.ending, Ending::Answered { code: 429, .. });
            let again = match refusal.meaning() {
                Meaning::Later => call.is_repeatable() || unsent || throttled,
                Meaning::Lost => call.is_repeatable(),
                _ => false,
            };
            lost |= !Refusal { lost: false, ..refusal.clone() }.is_definite();
            let wait = refusal.retry_after().unwrap_or_default().max(backoff(BACKOFF, attempt));
            if !again || attempt >= ATTEMPTS || Instant::now() + wait >= deadline {
                return Err(refusal);
            }
            sleep(wait).await;
            attempt += 1;
        }
    }

    /// All objects of a kind in a namespace (empty: everywhere) that fit `selectors` (`labelSelector`, `fieldSelector`). A list that
    /// expires between two pages is begun again once.
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: &str,
        selectors: &[(&'static str, &str)],
        deadline: Instant,
    ) -> Result<Vec<Value>, Refusal> {
        match self.list_once(kind, namespace, selectors, deadline).await {
            Err(refusal) if refusal.meaning() == Meaning::Expired => self.list_once(kind, namespace, selectors, deadline).await,
            other => other,
        }
    }

    async fn list_once(
        &self,
        kind: &Kind,
        namespace: &str,
        selectors: &[(&'static str, &str)],
        deadline: Instant,
    ) -> Result<Vec<Value>, Refusal> {
        let mut items = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let mut call = Call::get(kind.list_path(namespace)).with("limit", PAGE);
            for (name, value) in selectors {
                call = call.with(name, *value);
            }
            if !token.is_empty() {
                call = call.with("continue", token.clone());
            }
            let mut page = self.call(&call, deadline).await?;
            match page["items"].take() {
                Value::Array(more) => items.extend(more),
                _ => return Err(unreadable(format!("a list of {} without `items`", kind.plural))),
            }
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return Ok(items);
            }
        }
        Err(unreadable(format!("more than {PAGES_MAX} pages of {}", kind.plural)))
    }

    /// Whether the server serves this kind (is its CRD installed?), and the subresource if one is named.
    pub async fn serves(&self, kind: &Kind, subresource: &str, deadline: Instant) -> Result<bool, Refusal> {
        let wanted = if subresource.is_empty() { kind.plural.to_string() } else { format!("{}/{subresource}", kind.plural) };
        match self.call(&Call::get(kind.root()), deadline).await {
            Ok(list) => Ok(list["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == wanted.as_str()))),
            Err(refusal) if refusal.is_gone() => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// The end of something that may take `allowed` of the daemon's time.
    pub fn deadline(&self, allowed: Span) -> Instant {
        Instant::now() + self.pace.real(allowed)
    }

    /// The end of a short look: three calls' time.
    pub fn look_deadline(&self) -> Instant {
        Instant::now() + self.call_timeout * ATTEMPTS
    }

    async fn once(&self, call: &Call, deadline: Instant) -> Result<Value, Refusal> {
        let within = deadline.saturating_duration_since(Instant::now()).min(self.call_timeout);
        let client = match timeout(within, self.client.get_or_try_init(|| connect(&self.connect))).await {
            Ok(Ok(client)) => client,
            Ok(Err(why)) => return Err(refusal(Ending::NotSent(why))),
            Err(_) => return Err(refusal(Ending::NotSent("the credentials did not come in time".into()))),
        };
        match timeout(within, self.exchange(client, call)).await {
            Ok(result) => result,
            Err(_) => Err(refusal(Ending::NoAnswer(FaultCode::TimedOut, format!("nothing within {:.1} s", within.as_secs_f64())))),
        }
    }

    async fn exchange(&self, client: &Client, call: &Call) -> Result<Value, Refusal> {
        let body = call.body().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(call.method().clone())
            .uri(call.target(&self.field_manager))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("homeostat/", env!("CARGO_PKG_VERSION")));
        if call.body().is_some() {
            request = request.header(CONTENT_TYPE, call.content_type());
        }
        let request = request.body(Body::from(body)).map_err(|error| refusal(Ending::NotSent(error.to_string())))?;
        let response = client.send(request).await.map_err(|error| refusal(unanswered(&error)))?;
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let bytes = read(response.into_body()).await?;
        if (200..300).contains(&status) {
            serde_json::from_slice(&bytes).map_err(|error| unreadable(format!("HTTP {status}: {error}")))
        } else {
            Err(Refusal::answered(status, &bytes, retry_after))
        }
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| refusal(Ending::NoAnswer(FaultCode::Unreachable, chain(&error))))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(unreadable(format!("more than {BODY_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn refusal(ending: Ending) -> Refusal {
    Refusal { ending, lost: false, wrote: false }
}

fn unreadable(why: String) -> Refusal {
    refusal(Ending::Unreadable(why))
}

/// Whether an error of the transport surely came before anything left.
fn unanswered(error: &kube::Error) -> Ending {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect) {
            return Ending::NotSent(chain(error));
        }
        cause = inner.source();
    }
    match error {
        // Credentials come before the request.
        kube::Error::Auth(_) => Ending::NotSent(chain(error)),
        _ => Ending::NoAnswer(FaultCode::Unreachable, chain(error)),
    }
}

/// An error and its causes; kube's texts hold addresses and paths, no credentials.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = inner.source();
    }
    words.chars().take(400).collect()
}

/// Reads what is needed to connect, and builds the client; the connection itself stands at the first request.
async fn connect(how: &ConnectConfig) -> Result<Client, String> {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = match how {
        ConnectConfig::Kubeconfig { path, context } => {
            let file = Kubeconfig::read_from(path).map_err(|error| chain(&error))?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| format!("kubeconfig `{path}`: {}", chain(&error)))?
        }
        ConnectConfig::InCluster {} => Config::incluster().map_err(|error| format!("not in a cluster: {}", chain(&error)))?,
        ConnectConfig::Server { url, token, ca_file } => {
            let mut config = Config::new(url.parse().map_err(|error| format!("`connect.url`: {error}"))?);
            match token {
                // A file is read again by kube when it is rotated.
                Some(Secret::File(path)) => config.auth_info.token_file = Some(path.clone()),
                Some(secret) => config.auth_info.token = Some(resolve(secret)?.into()),
                None => {}
            }
            config.root_cert_file = ca_file.as_ref().map(Into::into);
            config
        }
    };
    config.default_retry = false;
    config.proxy_url = None;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|error| chain(&error))
}
