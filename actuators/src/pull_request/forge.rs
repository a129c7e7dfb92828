//! What GitHub and Forgejo (Gitea) call the same steps, and how each is looked at afterwards.
//!
//! Every step goes by a fixed name (the branch), so that a repeated or lost one is found again instead of done twice: after any answer
//! that is no plain "yes" the thing itself is looked for. Deliberately absent: merging. An editor breaks this by trusting a lost answer.

use super::{Forge, RepositoryConfig};
use crate::client::Answer;
use crate::rest::{Call, Session, certain, unsure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homeostat_model::{FaultCode, Outcome};
use reqwest::Method;
use serde_json::{Value, json};

/// A file as it is in a branch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub sha: String,
    pub text: String,
}

/// A pull request as it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pull {
    pub number: i64,
    pub is_open: bool,
    pub is_merged: bool,
    pub head_sha: String,
    pub url: String,
}

impl Pull {
    fn read(body: &Value) -> Option<Pull> {
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Pull {
            number: body.get("number")?.as_i64()?,
            is_open: body.get("state")?.as_str()? == "open",
            is_merged: body.get("merged").and_then(Value::as_bool).unwrap_or(false) || !text("/merged_at").is_empty(),
            head_sha: text("/head/sha"),
            url: text("/html_url"),
        })
    }
}

/// One change: what the branch is to hold.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub path: String,
    pub text: String,
    /// The present file's hash; `None`: it is new.
    pub sha: Option<String>,
    pub message: String,
}

/// A repository on its forge.
#[derive(Copy, Clone, Debug)]
pub(super) struct Repository<'a> {
    pub config: &'a RepositoryConfig,
}

impl<'a> Repository<'a> {
    fn path(self, rest: &[&str]) -> Vec<String> {
        let mut path = vec!["repos".to_owned()];
        path.extend(self.config.repository.split('/').map(str::to_owned));
        path.extend(rest.iter().flat_map(|part| part.split('/')).map(str::to_owned));
        path
    }

    /// The repository itself.
    pub(super) fn itself(self) -> Call {
        Call::get(self.path(&[]))
    }

    /// The file at `path` in `branch`.
    pub(super) fn file(self, path: &str, branch: &str) -> Call {
        Call::get(self.path(&["contents", path])).with_query("ref", branch)
    }

    /// The branch.
    pub(super) fn branch(self, branch: &str) -> Call {
        match self.config.forge {
            Forge::Github => Call::get(self.path(&["git", "ref", "heads", branch])),
            Forge::Forgejo => Call::get(self.path(&["branches", branch])),
        }
    }

    /// The pull requests from a branch, open or not.
    pub(super) fn pulls_of(self, branch: &str) -> Call {
        let call = Call::get(self.path(&["pulls"])).with_query("state", "all");
        match self.config.forge {
            Forge::Github => {
                let owner = self.config.repository.split('/').next().unwrap_or_default();
                call.with_query("head", format!("{owner}:{branch}")).with_query("per_page", "5")
            }
            Forge::Forgejo => call.with_query("head", branch).with_query("limit", "5"),
        }
    }

    /// The requests that make the branch and commit the change to it.
    pub(super) fn commits(self, branch: &str, base_sha: &str, change: &Change) -> Vec<Call> {
        let content = STANDARD.encode(&change.text);
        match self.config.forge {
            Forge::Github => {
                let refs = Call::new(Method::POST, self.path(&["git", "refs"]));
                let mut body = json!({ "message": change.message, "content": content, "branch": branch });
                if let Some(sha) = &change.sha {
                    body["sha"] = json!(sha);
                }
                let put = Call::new(Method::PUT, self.path(&["contents", &change.path]));
                vec![refs.json(json!({ "ref": format!("refs/heads/{branch}"), "sha": base_sha })), put.json(body)]
            }
            Forge::Forgejo => {
                let mut file = json!({ "operation": "create", "path": change.path, "content": content });
                if let Some(sha) = &change.sha {
                    file["operation"] = json!("update");
                    file["sha"] = json!(sha);
                }
                let body = json!({ "branch": self.config.base, "new_branch": branch, "message": change.message, "files": [file] });
                vec![Call::new(Method::POST, self.path(&["contents"])).json(body)]
            }
        }
    }

    /// The request that opens the pull request.
    pub(super) fn open(self, branch: &str, title: &str, body: &str) -> Call {
        let mut content = json!({ "title": title, "head": branch, "base": self.config.base, "body": body });
        if self.config.draft {
            match self.config.forge {
                Forge::Github => content["draft"] = json!(true),
                Forge::Forgejo => content["title"] = json!(format!("WIP: {title}")),
            }
        }
        Call::new(Method::POST, self.path(&["pulls"])).json(content)
    }

    /// One pull request.
    pub(super) fn pull(self, number: i64) -> Call {
        Call::get(self.path(&["pulls", &number.to_string()]))
    }

    /// The request that closes it.
    pub(super) fn close(self, number: i64) -> Call {
        Call::new(Method::PATCH, self.path(&["pulls", &number.to_string()])).json(json!({ "state": "closed" }))
    }

    /// The request that deletes the branch.
    pub(super) fn delete_branch(self, branch: &str) -> Call {
        match self.config.forge {
            Forge::Github => Call::new(Method::DELETE, self.path(&["git", "refs", "heads", branch])),
            Forge::Forgejo => Call::new(Method::DELETE, self.path(&["branches", branch])),
        }
    }

    /// Reads a file; `None`: there is none.
    pub(super) async fn read_file(self, session: &Session<'_>, path: &str, branch: &str) -> Result<Option<File>, Outcome> {
        let Some(body) = session.find(&self.file(path, branch)).await? else { return Ok(None) };
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let decoded = || {
            let packed: String = text("content")?.split_whitespace().collect();
            let bytes = STANDARD.decode(packed).ok()?;
            Some(File { sha: text("sha")?.to_owned(), text: String::from_utf8(bytes).ok()? })
        };
        let detail = || format!("`{path}` in `{branch}` is no text file that the forge hands out (a folder, a link, binary, or too long)");
        decoded().map(Some).ok_or_else(|| session.not_done(FaultCode::Malformed, detail()))
    }

    /// The branch's commit; `None`: there is no such branch.
    pub(super) async fn commit_of(self, session: &Session<'_>, branch: &str) -> Result<Option<String>, Outcome> {
        let Some(body) = session.find(&self.branch(branch)).await? else { return Ok(None) };
        let sha = body.pointer("/object/sha").or_else(|| body.pointer("/commit/id")).and_then(Value::as_str);
        let missing = || session.not_done(FaultCode::Malformed, format!("the answer about branch `{branch}` names no commit"));
        sha.map(|sha| Some(sha.to_owned())).ok_or_else(missing)
    }

    /// The pull request from this branch, the newest if there are several.
    pub(super) async fn find_pull(self, session: &Session<'_>, branch: &str) -> Result<Option<Pull>, Outcome> {
        let list = session.fetch(&self.pulls_of(branch)).await?;
        let of_branch = |body: &&Value| body.pointer("/head/ref").and_then(Value::as_str) == Some(branch);
        let pulls = list.as_array().into_iter().flatten().filter(of_branch).filter_map(Pull::read);
        Ok(pulls.max_by_key(|pull| pull.number))
    }

    /// Reads one pull request.
    pub(super) async fn read_pull(self, session: &Session<'_>, number: i64) -> Result<Option<Pull>, Outcome> {
        Ok(session.find(&self.pull(number)).await?.as_ref().and_then(Pull::read))
    }

    /// Branch and commit. A step that was answered with anything but "yes" counts if the thing is there as wished.
    pub(super) async fn commit(self, session: &Session<'_>, branch: &str, base_sha: &str, change: &Change) -> Result<(), Outcome> {
        for call in self.commits(branch, base_sha, change) {
            let failed = match session.write(&call, true).await {
                Ok(answer) if answer.is_success() => continue,
                Ok(answer) => said_no(session, &call, &answer),
                Err(outcome) => outcome,
            };
            let is_refs = call.path.last().is_some_and(|last| last == "refs");
            let there = if is_refs {
                self.commit_of(session, branch).await.map(|sha| sha.is_some())
            } else {
                self.read_file(session, &change.path, branch).await.map(|file| file.is_some_and(|file| file.text == change.text))
            };
            match there {
                Ok(true) => {}
                Ok(false) => return Err(failed),
                Err(_) => return Err(unsure(failed)),
            }
        }
        Ok(())
    }

    /// Opens the pull request, or finds that it is open.
    pub(super) async fn propose(self, session: &Session<'_>, branch: &str, title: &str, body: &str) -> Result<Pull, Outcome> {
        let call = self.open(branch, title, body);
        let failed = match session.write(&call, true).await {
            Ok(answer) if answer.is_success() => match answer.json().as_ref().and_then(Pull::read) {
                Some(pull) => return Ok(pull),
                None => session.unknown(FaultCode::Malformed, "the pull request's number could not be read from the answer"),
            },
            Ok(answer) => said_no(session, &call, &answer),
            Err(outcome) => outcome,
        };
        match self.find_pull(session, branch).await {
            Ok(Some(pull)) if pull.is_open => Ok(pull),
            Ok(_) => Err(failed),
            Err(_) => Err(unsure(failed)),
        }
    }
}

/// A refusal by its name; GitHub says "rate limit" with 403 too.
fn said_no(session: &Session<'_>, call: &Call, answer: &Answer) -> Outcome {
    let refused = certain(session.refused(call, answer));
    match refused {
        Outcome::NotDone(mut fault) if answer.status == 403 && fault.detail.contains("rate limit") => {
            fault.code = FaultCode::Limit;
            Outcome::NotDone(fault)
        }
        refused => refused,
    }
}
