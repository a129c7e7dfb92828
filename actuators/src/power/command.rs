//! The programs that `power` runs, `ssh` and `ipmitool`: a fixed argument list, an empty input, a bounded output, a bounded time.
//!
//! Deliberately absent: a shell, and anything from an action in an argument. An editor breaks this by letting a dropped future leave a
//! process behind, or by waiting for an `ssh` that hangs.

use super::config::{IpmiConfig, SshConfig};
use crate::redact::Redactor;
use homeostat_model::FaultCode;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// How much of each output is read.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long one run may take: the connection, two missed keep-alives, and some.
const RUN_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 25 });
/// What ssh says on its error output before it has let anything run on the other side.
const SSH_BEFORE: [(&str, FaultCode); 8] = [
    ("Permission denied", FaultCode::Denied),
    ("Host key verification failed", FaultCode::Denied),
    ("Too many authentication failures", FaultCode::Denied),
    ("UNPROTECTED PRIVATE KEY", FaultCode::Denied),
    ("Could not resolve hostname", FaultCode::Unreachable),
    ("ssh: connect to host", FaultCode::Unreachable),
    ("Connection timed out during banner exchange", FaultCode::Unreachable),
    ("no mutual signature", FaultCode::Denied),
];

/// What is known after a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ran {
    /// It ended well; its output.
    Well(String),
    /// It ended with this status; the end of its error output.
    Badly(i32, String),
    /// Surely nothing reached the other side.
    NotSent(FaultCode, String),
    /// Nobody knows: killed at its time, or the connection died.
    Lost(FaultCode, String),
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
    /// Files that must be readable before.
    pub needs: Vec<PathBuf>,
}

impl Program {
    /// `ssh`, never asking, never trusting a new key, ending by itself when the other side is gone.
    pub(super) fn ssh(config: &SshConfig, key_file: &Path, command: &[String]) -> Program {
        let mut args: Vec<String> = ["-T", "-F", "none", "-p"].map(String::from).into();
        args.push(config.port.to_string());
        args.extend(["-i".to_owned(), key_file.display().to_string()]);
        let known = format!("UserKnownHostsFile={}", config.known_hosts.display());
        let options = [
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ConnectionAttempts=1",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=2",
            known.as_str(),
        ];
        args.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option.to_owned()]));
        args.extend(["-l".to_owned(), config.user.clone(), "--".to_owned(), config.host.clone()]);
        args.extend(command.iter().cloned());
        let needs = vec![key_file.to_path_buf(), config.known_hosts.clone()];
        Program { program: config.program.clone(), args, env: Vec::new(), needs }
    }

    /// `ipmitool`; the password goes by the environment, where other users cannot see it.
    pub(super) fn ipmi(config: &IpmiConfig, chassis: &str) -> Program {
        let args = ["-I", "lanplus", "-H", &config.host, "-U", &config.user, "-E", "chassis", "power", chassis];
        Program { program: config.program.clone(), args: args.map(String::from).into(), env: Vec::new(), needs: Vec::new() }
    }

    /// The line, for people.
    pub(super) fn shown(&self) -> String {
        std::iter::once(self.program.display().to_string()).chain(self.args.iter().cloned()).collect::<Vec<_>>().join(" ")
    }

    /// What is missing before it can be run at all; looks at files only.
    pub(super) fn problem(&self) -> Option<(FaultCode, String)> {
        let missing = self.needs.iter().find_map(|path| std::fs::File::open(path).err().map(|error| (path, error)));
        if let Some((path, error)) = missing {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            return Some((
                if denied { FaultCode::Denied } else { FaultCode::NotFound },
                format!("{} cannot be read: {error}", path.display()),
            ));
        }
        let found = if self.program.components().count() > 1 {
            self.program.is_file()
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(&self.program).is_file())
        };
        let shown = self.program.display();
        (!found).then(|| (FaultCode::NotFound, format!("the program `{shown}` is not installed here; install it or name it by `program`")))
    }

    /// Runs it.
    pub(super) async fn run(&self, redactor: &Redactor) -> Ran {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ran::NotSent(FaultCode::NotFound, format!("`{}` does not start: {error}", self.program.display())),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = timeout(RUN_TIMEOUT, async {
            let (out, err) = tokio::join!(read(stdout), read(stderr));
            child.wait().await.map(|status| (status, out, err))
        });
        match ended.await {
            Err(_) => {
                let _ = child.start_kill();
                Ran::Lost(FaultCode::TimedOut, format!("it did not end within {} s and was killed", RUN_TIMEOUT.as_secs()))
            }
            Ok(Err(error)) => Ran::Lost(FaultCode::Failed, format!("its end was not seen: {error}")),
            Ok(Ok((status, out, _))) if status.success() => Ran::Well(out),
            Ok(Ok((status, _, err))) => {
                let words = redactor.clean_tail(&err, 300);
                match status.code() {
                    Some(code) => Ran::Badly(code, words),
                    None => Ran::Lost(FaultCode::Failed, format!("it was ended by a signal; {words}")),
                }
            }
        }
    }

    /// Runs it as `ssh`: status 255 is its own, for a connection that never stood or that died.
    pub(super) async fn run_ssh(&self) -> Ran {
        match self.run(&Redactor::default()).await {
            Ran::Badly(255, words) => match SSH_BEFORE.iter().find(|(sign, _)| words.contains(sign)) {
                Some((_, code)) => Ran::NotSent(*code, words),
                None => Ran::Lost(FaultCode::Unreachable, format!("the connection died: {words}")),
            },
            ran => ran,
        }
    }

    /// Runs it as `ipmitool`, with the password.
    pub(super) async fn run_ipmi(&self, config: &IpmiConfig) -> Ran {
        let mut redactor = Redactor::default();
        let password = match redactor.take(&config.password) {
            Ok(password) => password,
            Err(problem) => return Ran::NotSent(FaultCode::Denied, problem),
        };
        let program = Program { env: vec![("IPMI_PASSWORD", password)], ..self.clone() };
        match program.run(&redactor).await {
            Ran::Badly(_, words) if words.contains("Unable to establish") => Ran::NotSent(FaultCode::Unreachable, words),
            Ran::Badly(_, words) if words.contains("insufficient privilege") => Ran::NotSent(FaultCode::Denied, words),
            ran => ran,
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let mut bytes = Vec::new();
    let mut pipe = pipe.take(OUTPUT_BYTES_MAX as u64);
    let _ = pipe.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What would be taken for an option, or for two arguments.
pub(super) fn word_problem(what: &str, text: &str) -> Option<String> {
    let strange = text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace());
    strange.then(|| format!("`{what}` is `{text}`, expected one word that does not begin with `-`"))
}
