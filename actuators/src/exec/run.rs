//! One process from start to end: own group, closed input, captured output, killed at its time.
//!
//! Deliberately absent: deciding what the end means (see `told` beside it). The output's end is kept, at most [`TAIL_BYTES_MAX`];
//! a grandchild that keeps the pipes open is not waited for. An editor breaks this by forgetting the guard: a dropped future must
//! not leave a process behind.

use super::Identity;
use homeostat_model::{Arg, Span};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How much of the output's end is kept, both streams together.
pub(crate) const TAIL_BYTES_MAX: usize = 64 * 1024;
/// Between asking the group to end and killing it.
const GRACE: Duration = Duration::from_secs(5);
/// The same, with the time to read the last output, for the verb's timeout.
pub(crate) const GRACE_SPAN: Span = Span::from_secs(7);
/// How long output that is still in the pipes is read after the end.
const DRAIN: Duration = Duration::from_secs(1);

/// What to start.
pub(crate) struct Launch {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub dir: PathBuf,
    pub user: Option<(u32, u32)>,
    pub timeout: Duration,
}

/// How it ended.
pub(crate) enum Ended {
    NotStarted(std::io::Error),
    Exited(i32, Tail),
    Signalled(i32, Tail),
    Killed(Tail),
    Lost(std::io::Error),
}

/// The end of an output, and how many lines there were in all.
#[derive(Clone, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    line_breaks: u64,
    ends_in_break: bool,
    cut: bool,
}

impl Tail {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.line_breaks += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.ends_in_break = chunk.last().map_or(self.ends_in_break, |byte| *byte == b'\n');
        self.bytes.extend(chunk);
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES_MAX);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
    }

    /// The kept end. A first line that was cut is left out, so that no half of a secret is shown.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let from = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) if self.cut => at + 1,
            None if self.cut => bytes.len(),
            _ => 0,
        };
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    pub(crate) fn lines(&self) -> u64 {
        self.line_breaks + u64::from(!self.ends_in_break && !self.bytes.is_empty())
    }
}

/// Kills the group when the future is dropped.
struct Guard(Option<Pid>);

impl Guard {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal); // ESRCH: it is gone, which was the wish
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Starts it, tells `started` how to find it again, and waits for its end or its time.
pub(crate) async fn run(launch: &Launch, started: impl FnOnce(Identity)) -> Ended {
    let mut command = Command::new(&launch.argv[0]);
    command.args(&launch.argv[1..]).env_clear().envs(&launch.env).current_dir(&launch.dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some((uid, gid)) = launch.user {
        command.uid(uid).gid(gid);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    let mut guard = Guard(child.id().and_then(|pid| Pid::from_raw(pid as i32)));
    started(child.id().map(identity).unwrap_or_default());

    let tail = Arc::new(Mutex::new(Tail::default()));
    let mut readers = tokio::task::JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        readers.spawn(read_into(stdout, tail.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.spawn(read_into(stderr, tail.clone()));
    }
    let waited = timeout(launch.timeout, child.wait()).await;
    if waited.is_err() {
        end_group(&mut child, &guard).await;
    }
    guard.0 = None;
    let _ = timeout(DRAIN, async { while readers.join_next().await.is_some() {} }).await;
    readers.abort_all();
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match waited {
        Err(_) => Ended::Killed(tail),
        Ok(Err(error)) => Ended::Lost(error),
        Ok(Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code, tail),
            (None, signal) => Ended::Signalled(signal.unwrap_or(0), tail),
        },
    }
}

/// Asks, waits, kills: the whole group, leader or not.
async fn end_group(child: &mut Child, guard: &Guard) {
    guard.signal(Signal::TERM);
    let _ = timeout(GRACE, child.wait()).await;
    guard.signal(Signal::KILL);
    let _ = timeout(GRACE, child.wait()).await;
}

async fn read_into(mut pipe: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    let mut chunk = [0; 8192];
    while let Ok(count) = pipe.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&chunk[..count]);
    }
}

/// A process number is used again; with its start and the boot it is not.
fn identity(pid: u32) -> Identity {
    let mut identity = vec![("pid", Arg::Int(i64::from(pid)))];
    identity.extend(start_ticks(pid).map(|ticks| ("start_ticks", Arg::Int(ticks))));
    identity.extend(boot_id().map(|id| ("boot_id", Arg::Text(id))));
    identity
}

/// Whether the noted process still runs; its number.
pub(crate) fn alive(notes: &BTreeMap<String, Arg>) -> Option<i64> {
    let int = |name: &str| match notes.get(name) {
        Some(Arg::Int(value)) => Some(*value),
        _ => None,
    };
    let (pid, ticks) = (int("pid")?, int("start_ticks")?);
    let same_boot = notes.get("boot_id").and_then(Arg::as_text) == boot_id().as_deref();
    (same_boot && start_ticks(u32::try_from(pid).ok()?) == Some(ticks)).then_some(pid)
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)): the start in clock ticks after boot. The name in field 2 may hold anything, so fields
/// are counted after its last `)`. A zombie (state Z) no longer runs.
fn start_ticks(pid: u32) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}
