//! `pull-request.open`: one change to one file, proposed where GitOps owns the field, on GitHub and on Forgejo or Gitea.
//!
//! The branch is `homeostat/<journal>-a<id>`, so one action has one branch and one pull request however often it is tried; a probe
//! finds it by its branch. Undoing closes it and deletes the branch, unless it was merged or somebody pushed to it. Deliberately
//! absent: merging, and files outside the listed folders. An editor breaks this by naming the branch after anything but the action.

mod edit;
mod forge;
#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use forge::{Change, Pull, Repository};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Target, Time, Verb, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest file that is written.
const CONTENT_BYTES_MAX: usize = 32 * 1024;
/// How much of the reason is told.
const REASON_CHARS_MAX: usize = 500;
/// What the token must be allowed.
const RIGHTS: &str = "the token needs to read and write contents and pull requests of this repository";
/// Folders whose files run with the repository's rights.
const GUARDED: [&str; 5] = [".git", ".github", ".forgejo", ".gitea", ".gitlab"];

/// Repositories where changes may be proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequestConfig {
    /// The repositories; `lab` becomes the target `repository/lab`.
    pub repositories: BTreeMap<String, RepositoryConfig>,
    /// How long all requests together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

/// One repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// `github`, or `forgejo` (Gitea speaks the same).
    pub forge: Forge,
    /// The API's base: `https://api.github.com` (the default for GitHub) or `https://git.lan/api/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `owner/name`.
    pub repository: String,
    /// The branch that changes are proposed for.
    #[serde(default = "base_default")]
    pub base: String,
    /// An access token.
    #[schemars(with = "String")]
    pub token: Secret,
    /// The folders (or files) that may be changed, such as `apps/web`; at least one.
    pub paths: Vec<String>,
    /// Whether pull requests begin as drafts.
    #[serde(default)]
    pub draft: bool,
}

/// Who keeps the repository.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forge {
    /// GitHub, or GitHub Enterprise.
    Github,
    /// Forgejo or Gitea.
    Forgejo,
}

fn timeout_default() -> Span {
    Span::from_mins(1)
}
fn base_default() -> String {
    "main".into()
}

#[derive(Debug)]
struct Known {
    config: RepositoryConfig,
    service: Service,
}

/// The actuator `pull-request`.
#[derive(Debug)]
pub struct PullRequest {
    repositories: BTreeMap<Target, Known>,
    spec: VerbSpec,
    journal_id: String,
    pace: Pace,
    ledger: Arc<Ledger>,
}

/// What an action asks for.
#[derive(Copy, Clone, Debug)]
struct Wish<'a> {
    path: &'a str,
    edit: Edit<'a>,
    title: Option<&'a str>,
}

#[derive(Copy, Clone, Debug)]
enum Edit<'a> {
    Whole(&'a str),
    Scalar { pointer: &'a str, value: &'a str, from: Option<&'a str> },
}

impl PullRequest {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed. `journal_id` stands in the branch's name.
    pub fn new(config: &PullRequestConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<PullRequest, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut repositories = BTreeMap::new();
        for (name, one) in &config.repositories {
            let mut problems = repository_problems(name, one);
            match service(one) {
                Ok(service) => {
                    drop(repositories.insert(Target::from(format!("repository/{name}")), Known { config: one.clone(), service }))
                }
                Err(problem) => problems.push(problem),
            }
            let what = format!("configure `pull_request` repository `{name}`");
            faults.extend(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, &what, text)));
        }
        if config.timeout <= Span::ZERO || config.repositories.is_empty() {
            let text = "`timeout` must be more than 0s, and `repositories` must hold at least one";
            faults.push(Fault::new(FaultCode::Malformed, "configure `pull_request`", text));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let spec = open_spec(config, repositories.keys().cloned().collect());
        Ok(PullRequest { repositories, spec, journal_id: journal_id.into(), pace: Pace::default(), ledger })
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> PullRequest {
        PullRequest { pace, ..self }
    }

    fn branch(&self, action: &Action) -> String {
        format!("homeostat/{}-{}", self.journal_id, action.id)
    }

    /// The repository and the wish, everything checked.
    fn prepare<'a>(&'a self, action: &'a Action) -> Result<(&'a Known, Wish<'a>), Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let doing = format!("check {} {} on {}", action.id, action.verb, action.target);
        let refuse = |problem: String| Fault::new(FaultCode::Malformed, &doing, problem);
        let known = self
            .repositories
            .get(&action.target)
            .ok_or_else(|| Fault::new(FaultCode::NotFound, &doing, format!("no repository `{}`", action.target)))?;
        let text = |name: &str| action.args.get(name).and_then(Arg::as_text);
        let path = text("path").unwrap_or_default();
        known.allows(path).map_err(&refuse)?;
        let edit = match (text("content"), text("pointer"), text("value")) {
            (Some(content), None, None) if text("from").is_none() => Edit::Whole(content),
            (None, Some(pointer), Some(value)) if pointer.starts_with('/') && !value.contains(['\n', '\r']) => {
                Edit::Scalar { pointer, value, from: text("from") }
            }
            _ => return Err(refuse("give either `content`, or `pointer` (beginning with `/`) and a `value` of one line".into())),
        };
        Ok((known, Wish { path, edit, title: text("title") }))
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let (known, wish) = match self.prepare(action) {
            Ok(prepared) => prepared,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let session = match known.service.session(doing, real_limit(self.pace, action.timeout.min(self.spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.open(&session, known, wish, action).await);
        self.ledger.settle(mark, outcome)
    }

    async fn open(&self, session: &Session<'_>, known: &Known, wish: Wish<'_>, action: &Action) -> Result<Receipt, Outcome> {
        let (repository, branch) = (known.repository(), self.branch(action));
        match repository.find_pull(session, &branch).await? {
            Some(pull) if pull.is_open || pull.is_merged => return Ok(opened(&pull, &branch, "was already open")),
            Some(pull) => return Err(session.not_done(FaultCode::Conflict, format!("somebody closed pull request {}", pull.number))),
            None => {}
        }
        let base = &known.config.base;
        let Some(base_sha) = repository.commit_of(session, base).await? else {
            return Err(session.not_done(FaultCode::NotFound, format!("there is no branch `{base}`")));
        };
        let file = repository.read_file(session, wish.path, base).await?;
        let text = wish.applied(session, file.as_ref().map(|file| file.text.as_str()))?;
        if file.as_ref().is_some_and(|file| file.text == text) {
            let observed = format!("was already so: `{}` in `{base}` holds what was wished", wish.path);
            return Ok(Receipt { observed, ..Receipt::default() });
        }
        let title = wish.title.map_or_else(|| wish.summary(), str::to_owned);
        let change = Change { path: wish.path.into(), text, sha: file.map(|file| file.sha), message: self.message(&title, action) };
        let done = match repository.commit(session, &branch, &base_sha, &change).await {
            Ok(()) => repository.propose(session, &branch, &title, &self.story(action)).await,
            Err(outcome) => Err(outcome),
        };
        match done {
            Ok(pull) => Ok(opened(&pull, &branch, "opened")),
            Err(Outcome::NotDone(fault)) => {
                // Nothing half done stays, if it can be helped; a branch without a pull request changes nothing either.
                let swept = session.write(&repository.delete_branch(&branch), true).await;
                let kept = !swept.is_ok_and(|answer| answer.is_success() || matches!(answer.status, 404 | 422));
                let rest = if kept { format!("; the branch `{branch}` may be left behind") } else { String::new() };
                Err(Outcome::NotDone(Fault::new(fault.code, fault.while_doing, format!("{}{rest}", fault.detail))))
            }
            Err(outcome) => Err(outcome),
        }
    }

    fn message(&self, title: &str, action: &Action) -> String {
        format!("{title}\n\nhomeostat/decision: {}-{}\n", self.journal_id, action.id)
    }

    fn story(&self, action: &Action) -> String {
        let reason: String = action.because.chars().take(REASON_CHARS_MAX).collect();
        format!("{reason}\n\nhomeostat/decision: {}-{}\napp.kubernetes.io/managed-by: homeostat\n", self.journal_id, action.id)
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let known = match self.prepare(action) {
            Ok((known, _)) => known,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let session = match known.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        let branch = self.branch(action);
        match known.repository().find_pull(&session, &branch).await {
            Ok(Some(pull)) if pull.is_open || pull.is_merged => Outcome::Done(opened(&pull, &branch, "is open")),
            Ok(Some(pull)) => session.not_done(FaultCode::Conflict, format!("pull request {} was closed", pull.number)),
            Ok(None) if now.since(started.at) <= self.spec.timeout => {
                session.unknown(FaultCode::TimedOut, format!("there is no pull request from `{branch}` yet"))
            }
            Ok(None) => session.not_done(FaultCode::Failed, format!("there is no pull request from `{branch}`")),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn take_back(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let doing = doing(mark, action);
        let known = match self.prepare(action) {
            Ok((known, _)) => known,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let (Some(Arg::Int(number)), Some(sha)) = (receipt.undo.get("number"), receipt.undo.get("head_sha").and_then(Arg::as_text)) else {
            return never_started(doing, "the receipt names no pull request: nothing was opened");
        };
        let session = match known.service.session(doing, real_limit(self.pace, self.spec.timeout)) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(close(&session, known.repository(), *number, sha, &self.branch(action)).await);
        self.ledger.settle(mark, outcome)
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        for (target, known) in &self.repositories {
            let asked = async {
                let session = known.service.session(format!("ask about {target}"), READY_TIMEOUT)?;
                let Some(found) = session.find(&known.repository().itself()).await? else {
                    let detail = format!("there is no `{}`, or the token may not see it", known.config.repository);
                    return Err(session.not_done(FaultCode::NotFound, detail));
                };
                if found.pointer("/permissions/push").and_then(serde_json::Value::as_bool) == Some(false) {
                    return Err(session.not_done(FaultCode::Denied, "the token may read but not push"));
                }
                let base = known.repository().commit_of(&session, &known.config.base).await?;
                base.ok_or_else(|| session.not_done(FaultCode::NotFound, format!("there is no branch `{}`", known.config.base)))
            };
            if let Some(fault) = asked.await.err().and_then(fault_of) {
                return vec![(self.spec.verb.clone(), advised(fault, RIGHTS))];
            }
        }
        Vec::new()
    }
}

/// Closes the pull request and deletes its branch, unless others have built on it.
async fn close(session: &Session<'_>, repository: Repository<'_>, number: i64, sha: &str, branch: &str) -> Result<Receipt, Outcome> {
    let conflict = |detail: String| Err(session.not_done(FaultCode::Conflict, detail));
    let Some(pull) = repository.read_pull(session, number).await? else {
        return Err(session.not_done(FaultCode::NotFound, format!("pull request {number} is gone")));
    };
    if pull.is_merged {
        return conflict(format!("pull request {number} was merged; propose the opposite change instead"));
    }
    if !sha.is_empty() && pull.head_sha != sha && pull.is_open {
        return conflict(format!("somebody pushed to `{branch}` since; close pull request {number} by hand"));
    }
    if pull.is_open {
        session.send(&repository.close(number), true).await?;
        match repository.read_pull(session, number).await.map_err(unsure)? {
            Some(pull) if !pull.is_open => {}
            _ => return Err(session.unknown(FaultCode::Failed, format!("pull request {number} was told to close and is still open"))),
        }
    }
    let swept = session.write(&repository.delete_branch(branch), true).await;
    let gone = swept.is_ok_and(|answer| answer.is_success() || matches!(answer.status, 404 | 422));
    let rest = if gone { "its branch is deleted" } else { "its branch could not be deleted" };
    Ok(Receipt { observed: format!("pull request {number} is closed, {rest}"), ..Receipt::default() })
}

fn opened(pull: &Pull, branch: &str, how: &str) -> Receipt {
    let state = if pull.is_merged { "merged" } else { how };
    let undo = [
        ("number", Arg::Int(pull.number)),
        ("branch", Arg::from(branch)),
        ("head_sha", Arg::Text(pull.head_sha.clone())),
        ("url", Arg::Text(pull.url.clone())),
    ];
    Receipt {
        observed: format!("pull request {} {state}: {}", pull.number, pull.url),
        undo: undo.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

impl Wish<'_> {
    /// The new text of the file.
    fn applied(&self, session: &Session<'_>, present: Option<&str>) -> Result<String, Outcome> {
        match (self.edit, present) {
            (Edit::Whole(content), _) => Ok(content.to_owned()),
            (Edit::Scalar { .. }, None) => Err(session.not_done(FaultCode::NotFound, format!("there is no file `{}`", self.path))),
            (Edit::Scalar { pointer, value, from }, Some(text)) => {
                edit::replace(self.path, text, pointer, from, value).map_err(|problem| match problem {
                    edit::Problem::NoPlace(why) => session.not_done(FaultCode::Malformed, why),
                    edit::Problem::Stale(why) => session.not_done(FaultCode::Conflict, why),
                })
            }
        }
    }

    fn summary(&self) -> String {
        match self.edit {
            Edit::Whole(_) => format!("Change {}", self.path),
            Edit::Scalar { pointer, value, .. } => format!("Set {pointer} to {value} in {}", self.path),
        }
    }

    /// What the file would hold, as far as that is known without reading it.
    fn foreseen(&self) -> String {
        match self.edit {
            Edit::Whole(content) => content.to_owned(),
            Edit::Scalar { pointer, value, from } => {
                let from = from.map(|from| format!(" (only if it is {from})")).unwrap_or_default();
                format!("<the present file with {pointer} = {value}{from}>")
            }
        }
    }
}

impl Known {
    fn repository(&self) -> Repository<'_> {
        Repository { config: &self.config }
    }

    /// Whether a file may be changed.
    fn allows(&self, path: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('/').collect();
        let odd = |part: &&str| part.is_empty() || *part == "." || *part == ".." || part.chars().any(|c| c.is_control() || c == '\\');
        if parts.iter().any(odd) {
            return Err(format!("`{path}` is not a path inside a repository"));
        }
        let below = |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if parts.iter().any(|part| GUARDED.iter().any(|guarded| guarded.eq_ignore_ascii_case(part))) {
            return Err(format!("`{path}` runs with the repository's rights; it is never changed here"));
        }
        if self.config.paths.iter().any(|folder| below(folder.trim_end_matches('/'))) {
            return Ok(());
        }
        Err(format!("`{path}` is outside of the listed paths: {}", self.config.paths.join(", ")))
    }
}

fn service(config: &RepositoryConfig) -> Result<Service, String> {
    let (base, scheme) = match (config.forge, &config.url) {
        (Forge::Github, None) => ("https://api.github.com", "Bearer"),
        (Forge::Github, Some(url)) => (url.as_str(), "Bearer"),
        (Forge::Forgejo, Some(url)) => (url.as_str(), "token"),
        (Forge::Forgejo, None) => return Err("`url` is missing: expected the API's base, such as `https://git.lan/api/v1`".into()),
    };
    let service = Service::new(base, rest::client()?, vec![Credential::authorization(scheme, &config.token)])?;
    Ok(match config.forge {
        Forge::Github => service.header("accept", "application/vnd.github+json").header("x-github-api-version", "2022-11-28"),
        Forge::Forgejo => service.header("accept", "application/json"),
    })
}

fn repository_problems(name: &str, config: &RepositoryConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !plain(name) {
        problems.push(format!("`{name}` is not a name"));
    }
    if config.repository.split('/').count() != 2 || !config.repository.split('/').all(plain) {
        problems.push(format!("`repository` is `{}`, expected `owner/name`", config.repository));
    }
    if config.base.is_empty() || config.base.starts_with("homeostat/") {
        problems.push("`base` is empty or one of the branches made here".into());
    }
    if config.paths.is_empty() || config.paths.iter().any(|path| path.trim_matches('/').is_empty()) {
        problems.push("`paths` must list the folders that may be changed".into());
    }
    problems
}

impl Actuator for PullRequest {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "pull-request".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.prepare(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (known, wish) = self.prepare(action)?;
        let (repository, branch) = (known.repository(), self.branch(action));
        let reads = [repository.pulls_of(&branch), repository.branch(&known.config.base), repository.file(wish.path, &known.config.base)];
        let title = wish.title.map_or_else(|| wish.summary(), str::to_owned);
        let message = self.message(&title, action);
        let change = Change { path: wish.path.into(), text: String::new(), sha: Some("<present>".into()), message };
        let mut calls: Vec<Call> = reads.to_vec();
        calls.extend(repository.commits(&branch, "<present>", &change));
        calls.push(repository.open(&branch, &title, &self.story(action)));
        let mut planned: Vec<Planned> = calls.iter().map(|call| known.service.planned(call)).collect();
        for step in &mut planned {
            if let Some(body) = step.body.as_mut() {
                let told = serde_json::Value::String(wish.foreseen()).to_string(); // readable here, base64 on the wire
                *body = body.replace("\"content\":\"\"", &format!("\"content\":{told}"));
            }
        }
        Ok(planned)
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.take_back(now, action, receipt))
    }
}

fn open_spec(config: &PullRequestConfig, targets: Vec<Target>) -> VerbSpec {
    let arg = |name: &str, bytes_max: usize, required: bool, doc: &str| ArgSpec {
        name: name.into(),
        kind: ArgKind::Text(bytes_max),
        required,
        doc: doc.into(),
    };
    VerbSpec {
        verb: "pull-request.open".into(),
        class: Class::Reversible,
        args: vec![
            arg("path", 300, true, "The file, from the repository's root."),
            arg("content", CONTENT_BYTES_MAX, false, "The whole new file."),
            arg("pointer", 300, false, "Instead: where in the YAML or JSON file one value is replaced, such as /spec/replicas."),
            arg("value", 500, false, "What it becomes."),
            arg("from", 500, false, "What must stand there now; anything else is refused as stale."),
            arg("title", 200, false, "The pull request's title."),
        ],
        target_kinds: vec!["repository".into()],
        targets: Some(targets),
        opposite: None,
        settle: Span::ZERO,
        timeout: config.timeout,
        revertible: true,
        cost: Cost::default(),
        doc: "Proposes a change of one file as a pull request.".into(),
    }
}
