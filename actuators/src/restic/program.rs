//! One run of restic: its environment, its end, what it said.
//!
//! Deliberately absent: meaning. An editor breaks this by passing a secret as an argument (everybody can read those).

use super::ResticConfig;
use crate::exec::PATH_DEFAULT;
use crate::exec::run::{self, Ended, Launch};
use crate::ledger::{Ledger, Mark, never_started};
use crate::redact::Redactor;
use homeostat_model::{Fault, FaultCode, Outcome};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How much of the output's end is quoted.
const TAIL_CHARS_MAX: usize = 500;

/// restic, ready to run within a deadline.
#[derive(Debug)]
pub(super) struct Program<'a> {
    name: &'a str,
    env: BTreeMap<String, String>,
    redactor: Redactor,
    doing: &'a str,
    deadline: Instant,
    ledger: Option<(&'a Ledger, Mark)>,
}

/// What it said: JSON, one value per line; and other lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    values: Vec<Value>,
    /// The kept output, without secrets.
    pub all: String,
    /// Its end, for people.
    pub end: String,
}

impl Said {
    /// The last message of this type.
    pub(super) fn message(&self, kind: &str) -> Option<Value> {
        self.values.iter().rev().find(|value| value["message_type"] == kind).cloned()
    }
    /// The first value.
    pub(super) fn first(&self) -> Option<Value> {
        self.values.first().cloned()
    }
}

impl<'a> Program<'a> {
    /// Resolves the secrets. The error says which cannot be had.
    pub(super) fn new(config: &'a ResticConfig, doing: &'a str, within: Duration) -> Result<Program<'a>, String> {
        let mut redactor = Redactor::default();
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
        let named = [("RESTIC_REPOSITORY", &config.repository), ("RESTIC_PASSWORD", &config.password)];
        let secrets = named.into_iter().chain(config.env.iter().map(|(name, secret)| (name.as_str(), secret)));
        for (name, secret) in secrets {
            let is_plain = matches!(name, "PATH" | "HOME");
            let value = if is_plain { crate::redact::resolve(secret)? } else { redactor.take(secret)? };
            if value.contains('\0') {
                return Err(format!("the environment variable `{name}` holds a NUL byte"));
            }
            env.insert(name.to_owned(), value);
        }
        Ok(Program { name: &config.program, env, redactor, doing, deadline: Instant::now() + within, ledger: None })
    }

    /// The same, noting each process so that a probe finds it.
    pub(super) fn noting(self, ledger: &'a Ledger, mark: Mark) -> Program<'a> {
        Program { ledger: Some((ledger, mark)), ..self }
    }

    /// Runs it. What exits with 0 is `Ok`. `writes`: whether a kill leaves us in doubt.
    pub(super) async fn run(&self, args: &[String], writes: bool) -> Result<Said, Outcome> {
        let mut argv = vec![self.name.to_owned(), "--json".into()];
        argv.extend(args.iter().cloned());
        let timeout = self.deadline.saturating_duration_since(Instant::now());
        let launch = Launch { argv, env: self.env.clone(), dir: "/".into(), user: None, timeout };
        let ended = run::run(&launch, |identity| {
            for (name, value) in identity {
                let noted = self.ledger.map(|(ledger, mark)| ledger.note(mark, name, value));
                if let Some(Err(fault)) = noted {
                    tracing::warn!(%fault, "The process was not noted; a probe after a crash cannot find it.");
                }
            }
        })
        .await;
        let said = |tail: &run::Tail| {
            let all = self.redactor.clean_tail(&tail.text(), run::TAIL_BYTES_MAX);
            let values = all.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect();
            Said { values, end: self.redactor.clean_tail(&all, TAIL_CHARS_MAX), all }
        };
        let doubt = |code, detail: String| if writes { self.unknown(code, detail) } else { self.not_done(code, detail) };
        match ended {
            Ended::NotStarted(error) => Err(never_started(self.doing, format!("`{}` cannot be started: {error}", self.name))),
            Ended::Exited(0, tail) => Ok(said(&tail)),
            Ended::Exited(status, tail) => Err(self.failed(status, &said(&tail))),
            Ended::Signalled(signal, tail) => Err(doubt(FaultCode::Failed, format!("ended by signal {signal}: {}", said(&tail).end))),
            Ended::Killed(tail) => Err(doubt(FaultCode::TimedOut, format!("killed at its time: {}", said(&tail).end))),
            Ended::Lost(error) => Err(doubt(FaultCode::Internal, format!("its end could not be seen: {error}"))),
        }
    }

    /// An exit status by its meaning: 3 some files could not be read, 10 no repository, 11 locked, 12 wrong password; before 0.17 all is 1.
    fn failed(&self, status: i32, said: &Said) -> Outcome {
        let locked = said.all.contains("unable to create lock") || said.all.contains("already locked");
        let (code, words) = match status {
            3 => (FaultCode::Failed, "the snapshot is incomplete: some files could not be read".to_owned()),
            10 => (FaultCode::NotFound, "there is no repository: run `restic init` once".to_owned()),
            _ if status == 11 || locked => {
                (FaultCode::Conflict, "the repository is locked: somebody works there (nothing is unlocked here)".into())
            }
            12 => (FaultCode::Denied, "the password is wrong".to_owned()),
            _ => (FaultCode::Failed, format!("exit status {status}")),
        };
        self.not_done(code, format!("{words}: {}", said.end))
    }

    pub(super) fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::NotDone(Fault::new(code, self.doing, detail))
    }

    pub(super) fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::Unknown(Fault::new(code, self.doing, detail))
    }
}
