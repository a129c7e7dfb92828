//! `${vault:mount/path#key}`: secrets from Vault or OpenBao (KV version 2), read where they are used.
//!
//! [`Vault::install`] makes this the process's reader (see [`homeostat_model::read_vault_with`]), so every part that resolves a
//! [`Secret`] can use such references, sensors too. Resolving is not asynchronous: a value that is not cached is fetched on a thread of its
//! own while the caller waits, at most [`VaultConfig::timeout`] for each of login and read. Values are cached in memory for a bounded
//! time and never written, logged or shown. Deliberately absent: KV version 1, writing, renewing tokens (a login is repeated instead),
//! mounts with `/` in their names. An editor breaks this by quoting an answer that holds a secret.

#[cfg(test)]
mod tests;

use crate::client::Answer;
use crate::rest::{self, Call, Credential, Service, Session, fault_of};
use homeostat_model::{Fault, FaultCode, Outcome, Secret, Span, VaultRef, read_vault_with};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest time a value may be cached.
const CACHE_MAX: Span = Span::from_hours(1);
/// How many secrets are cached.
const CACHED_MAX: usize = 256;
/// After a vault that did not answer, nobody waits for it again so soon.
const DOWN_FOR: Duration = Duration::from_secs(10);
/// The token's header.
const TOKEN: &str = "x-vault-token";

/// A Vault or OpenBao that secrets are read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Its address: `https://vault.lan:8200`.
    pub url: String,
    /// The namespace, if it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A token, from the environment or a file; either this or `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
    /// A login with the pod's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<VaultKubernetesConfig>,
    /// How long a value is used before it is read again; at most an hour.
    #[serde(default = "cache_default")]
    #[schemars(with = "String")]
    pub cache: Span,
    /// How long a login and how long a read may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

/// A login with a Kubernetes service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultKubernetesConfig {
    /// The role.
    pub role: String,
    /// Where the method is mounted.
    #[serde(default = "mount_default")]
    pub mount: String,
    /// The account's token.
    #[serde(default = "jwt_default")]
    pub jwt_file: PathBuf,
}

fn cache_default() -> Span {
    Span::from_mins(5)
}
fn timeout_default() -> Span {
    Span::from_secs(5)
}
fn mount_default() -> String {
    "kubernetes".into()
}
fn jwt_default() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount/token".into()
}

#[derive(Default)]
struct Held {
    /// What a login gave, and until when.
    token: Option<(String, Instant)>,
    /// All keys of a secret by mount and path, and until when.
    values: BTreeMap<(String, String), (BTreeMap<String, String>, Instant)>,
    /// Why the vault did not answer, and until when that is believed.
    down: Option<(String, Instant)>,
}

/// Why nothing was read.
struct Miss {
    text: String,
    /// Whether the vault did not answer at all.
    is_down: bool,
}

/// The reader.
pub struct Vault {
    config: VaultConfig,
    held: Mutex<Held>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.config.url)
    }
}

impl Vault {
    /// Checks the configuration; connects nowhere. Every problem is listed.
    pub fn new(config: &VaultConfig) -> Result<Vault, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.token.is_some() == config.kubernetes.is_some() {
            problems.push("give either `token` or `kubernetes`".to_owned());
        }
        if matches!(config.token, Some(Secret::Vault(_) | Secret::Literal(_))) {
            problems.push("`token` must come from `${env:…}` or `${file:…}`".to_owned());
        }
        if config.cache < Span::ZERO || config.cache > CACHE_MAX || config.timeout <= Span::ZERO || config.timeout > Span::from_mins(1) {
            problems.push(format!("`cache` must be 0s to {CACHE_MAX}, `timeout` more than 0s and at most 1m"));
        }
        problems.extend(rest::client().and_then(|client| Service::new(&config.url, client, Vec::new())).err());
        if problems.is_empty() {
            return Ok(Vault { config: config.clone(), held: Mutex::default() });
        }
        Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `vault`", text)).collect())
    }

    /// Makes it the reader of all `${vault:…}` in this process.
    pub fn install(self: Arc<Vault>) {
        read_vault_with(move |reference| self.read(reference));
    }

    /// The value of one key. Blocks while it is fetched; the error names the reference and what is missing, never a value.
    pub fn read(&self, reference: &VaultRef) -> Result<String, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (reference.mount.clone(), reference.path.clone());
        let now = Instant::now();
        held.values.retain(|_, (_, until)| *until > now);
        if !held.values.contains_key(&place) {
            if let Some((why, _)) = held.down.as_ref().filter(|(_, until)| *until > now) {
                return Err(format!("{reference}: {why}"));
            }
            let token = held.token.take().filter(|(_, until)| *until > now);
            let (token, values) = self.fetch_aside(token, reference).map_err(|miss| {
                held.down = miss.is_down.then(|| (miss.text.clone(), Instant::now() + DOWN_FOR));
                format!("{reference}: {}", miss.text)
            })?;
            held.token = token;
            if held.values.len() < CACHED_MAX {
                held.values.insert(place.clone(), (values.clone(), now + self.config.cache.to_std()));
            }
            return one(&values, reference);
        }
        held.values.get(&place).map_or_else(|| Err(format!("{reference}: not cached")), |(values, _)| one(values, reference))
    }

    /// Fetches on a thread of its own: the caller may be inside a runtime, which must not be entered twice.
    fn fetch_aside(&self, token: Option<(String, Instant)>, reference: &VaultRef) -> Result<Fetched, Miss> {
        let broken = |text: String| Miss { text, is_down: false };
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| broken(format!("no runtime: {error}")))?.block_on(self.fetch(token, reference))
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(broken("reading it panicked".into())))
    }

    async fn fetch(&self, token: Option<(String, Instant)>, reference: &VaultRef) -> Result<Fetched, Miss> {
        let told = |outcome: Outcome| {
            let fault = fault_of(outcome).unwrap_or_else(|| Fault::new(FaultCode::Internal, "read the vault", "no fault in a failure"));
            Miss { is_down: matches!(fault.code, FaultCode::Unreachable | FaultCode::TimedOut), text: fault.detail }
        };
        let remembered = token.is_some();
        let mut token = match token {
            Some(token) => token,
            None => self.login().await.map_err(told)?,
        };
        let mut read = self.get(&token.0, reference).await;
        if remembered && matches!(&read, Err(Outcome::NotDone(fault)) if fault.code == FaultCode::Denied) {
            token = self.login().await.map_err(told)?; // revoked before its time
            read = self.get(&token.0, reference).await;
        }
        let values = read.map_err(told)?;
        // A configured token is read anew each time: its file may be rotated.
        Ok((self.config.kubernetes.is_some().then_some(token), values))
    }

    /// A token, and until when it may be used.
    async fn login(&self) -> Result<(String, Instant), Outcome> {
        let refuse = |code, detail: String| Outcome::NotDone(Fault::new(code, "log in to the vault", detail));
        let Some(kubernetes) = &self.config.kubernetes else {
            let secret = self.config.token.as_ref().ok_or_else(|| refuse(FaultCode::Malformed, "no `token` is configured".into()))?;
            let token = crate::redact::resolve(secret).map_err(|problem| refuse(FaultCode::Denied, problem))?;
            return Ok((token.trim().to_owned(), Instant::now()));
        };
        let jwt = crate::redact::resolve(&Secret::File(kubernetes.jwt_file.display().to_string()));
        let jwt = jwt.map_err(|problem| refuse(FaultCode::Denied, problem))?;
        let service = self.service(Vec::new()).map_err(|problem| refuse(FaultCode::Malformed, problem))?;
        let mut session = service.session("log in to the vault", self.config.timeout.to_std())?;
        session.redactor.learn(&jwt);
        let path = ["v1", "auth"].into_iter().chain(kubernetes.mount.split('/')).chain(["login"]);
        let call = Call::new(Method::POST, path).json(json!({ "role": kubernetes.role, "jwt": jwt }));
        let answer = session.write(&call, true).await?;
        if !answer.is_success() {
            let role = &kubernetes.role;
            return Err(advised(&session, &call, &answer, &format!("let role `{role}` accept this pod's service account")));
        }
        let body = answer.json().unwrap_or_default();
        let seconds = body["auth"]["lease_duration"].as_u64().unwrap_or(60);
        let token = body["auth"]["client_token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| refuse(FaultCode::Malformed, "the login gave no auth.client_token".into()))?;
        // Used for nine tenths of its time, at most a day.
        Ok((token.to_owned(), Instant::now() + Duration::from_secs(seconds.min(86_400)).mul_f64(0.9)))
    }

    async fn get(&self, token: &str, reference: &VaultRef) -> Result<BTreeMap<String, String>, Outcome> {
        let secret = Secret::Literal(token.to_owned());
        let credential = Credential { header: TOKEN.into(), prefix: String::new(), secret };
        let service = self.service(vec![credential]);
        let service = service.map_err(|problem| Outcome::NotDone(Fault::new(FaultCode::Malformed, "read the vault", problem)))?;
        let session = service.session("read the vault", self.config.timeout.to_std())?;
        let path = ["v1", &reference.mount, "data"].into_iter().chain(reference.path.split('/'));
        let call = Call::get(path);
        let answer = session.read(&call).await?;
        let body = answer.json().unwrap_or_default();
        match answer.status {
            200 => {
                let values = body["data"]["data"].as_object();
                let odd = || session.not_done(FaultCode::Malformed, "there is no data.data: is the mount a KV engine of version 2?");
                let text = |(name, value): (&String, &Value)| {
                    Some((name.clone(), value.as_str().map(str::to_owned).or_else(|| value.is_number().then(|| value.to_string()))?))
                };
                values.map(|values| values.iter().filter_map(text).collect()).ok_or_else(odd)
            }
            404 if body["data"]["metadata"].is_object() => {
                let metadata = &body["data"]["metadata"];
                let how = if metadata["destroyed"] == true { "destroyed" } else { "deleted" };
                Err(session.not_done(FaultCode::NotFound, format!("version {} was {how}", metadata["version"])))
            }
            404 => Err(session.not_done(FaultCode::NotFound, format!("there is no secret at {}/{}", reference.mount, reference.path))),
            _ => {
                let policy = format!("the policy needs `read` on `{}/data/{}`", reference.mount, reference.path);
                Err(advised(&session, &call, &answer, &policy))
            }
        }
    }

    fn service(&self, credentials: Vec<Credential>) -> Result<Service, String> {
        let mut credentials = credentials;
        if let Some(namespace) = &self.config.namespace {
            let (header, secret) = ("x-vault-namespace".to_owned(), Secret::Literal(namespace.clone()));
            credentials.push(Credential { header, prefix: String::new(), secret });
        }
        Ok(Service::new(&self.config.url, rest::client()?, credentials)?.header("x-vault-request", "true"))
    }
}

/// A login's token if it may be kept, and a secret's keys.
type Fetched = (Option<(String, Instant)>, BTreeMap<String, String>);

fn one(values: &BTreeMap<String, String>, reference: &VaultRef) -> Result<String, String> {
    let known = || values.keys().cloned().collect::<Vec<_>>().join(", ");
    values.get(&reference.key).cloned().ok_or_else(|| format!("{reference}: no such key with a text; there are: {}", known()))
}

fn advised(session: &Session<'_>, call: &Call, answer: &Answer, what: &str) -> Outcome {
    let sealed = if answer.status == 503 { "; the vault is sealed or in standby" } else { "" };
    match session.refused(call, answer) {
        Outcome::NotDone(fault) | Outcome::Unknown(fault) => {
            let what = if fault.code == FaultCode::Denied { format!("; {what}") } else { sealed.to_owned() };
            Outcome::NotDone(Fault::new(fault.code, fault.while_doing, format!("{}{what}", fault.detail)))
        }
        done => done,
    }
}
