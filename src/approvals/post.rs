//! One task for each channel: sends what the desk asks for, one message after the other, repeats what may get through later, and gives up
//! in the end.
//!
//! What a service asks for (429) holds the whole channel. A question that ends before it was sent is never sent. Deliberately absent: the
//! book. An editor breaks this by waiting here for the desk while the desk waits for this: reports go one way, jobs the other.

use super::ApprovalsStatus;
use homeostat_channels::{Channel, Keys, Miss, Question, Sent};
use homeostat_model::{ActionId, Fault};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often a message is tried.
const ATTEMPTS_MAX: u32 = 6;
/// The first wait between two attempts; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// The longest wait, whatever a service asks for.
const WAIT_LONGEST: Duration = Duration::from_secs(120);
/// Messages that are remembered, so that they can be changed.
const SENT_MAX: usize = 1000;

/// What to do with a message.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Send the question with these tokens.
    Ask(Keys),
    /// Say that it is over.
    Close(String),
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub recipient: String,
    pub question: Arc<Question>,
    pub task: Task,
}

impl Job {
    fn key(&self) -> (ActionId, String) {
        (self.question.action, self.recipient.clone())
    }
}

/// What became of a question's message.
#[derive(Debug)]
pub(super) struct Report {
    pub action: ActionId,
    /// Why it was given up; `None`: it arrived.
    pub given_up: Option<Fault>,
}

/// One channel's sender.
pub(super) struct Post {
    pub channel: Arc<dyn Channel>,
    pub reports: mpsc::Sender<Report>,
    pub status: Arc<Mutex<ApprovalsStatus>>,
}

/// What waits, and what was sent.
#[derive(Default)]
struct Tray {
    waiting: VecDeque<Job>,
    sent: BTreeMap<(ActionId, String), Sent>,
    attempts: u32,
}

impl Tray {
    /// Puts a job in; an end takes the question that was never sent with it.
    fn put(&mut self, job: Job) {
        if matches!(job.task, Task::Close(_)) {
            let unsent = self.waiting.iter().position(|other| other.key() == job.key() && matches!(other.task, Task::Ask(_)));
            if let Some(at) = unsent {
                self.waiting.remove(at);
                if at == 0 {
                    self.attempts = 0;
                }
            }
            if !self.sent.contains_key(&job.key()) {
                return;
            }
        }
        self.waiting.push_back(job);
    }
}

impl Post {
    /// Sends until the desk is gone.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut tray = Tray::default();
        let mut not_before = Instant::now();
        loop {
            self.show(|line| line.waiting = tray.waiting.len());
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(job) => tray.put(job),
                    None => return,
                },
                () = tokio::time::sleep_until(not_before), if !tray.waiting.is_empty() => {
                    if let Some(wait) = self.send_first(&mut tray).await {
                        not_before = Instant::now() + wait;
                    }
                }
            }
        }
    }

    fn show(&self, change: impl FnOnce(&mut super::ChannelStatus)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(status.channels.entry(self.channel.label().to_owned()).or_default());
    }

    /// Sends the first job; the wait, if it is to be tried again.
    async fn send_first(&self, tray: &mut Tray) -> Option<Duration> {
        let job = tray.waiting.front()?.clone();
        let result = match &job.task {
            Task::Ask(keys) => self.channel.ask(&job.recipient, &job.question, keys).await.map(Some),
            Task::Close(how) => match tray.sent.get(&job.key()) {
                Some(sent) => self.channel.close(&job.recipient, sent, &job.question, how).await.map(|()| None),
                None => Ok(None),
            },
        };
        match result {
            Ok(sent) => {
                tray.waiting.pop_front();
                tray.attempts = 0;
                self.arrived(tray, job, sent).await;
                None
            }
            Err(miss) => self.missed(tray, job, miss).await,
        }
    }

    async fn arrived(&self, tray: &mut Tray, job: Job, sent: Option<Sent>) {
        self.show(|line| {
            line.delivered += 1;
            line.fault = None;
        });
        let Some(sent) = sent else {
            tray.sent.remove(&job.key());
            return;
        };
        if tray.sent.len() >= SENT_MAX {
            tray.sent.pop_first();
        }
        let action = job.question.action;
        tray.sent.insert(job.key(), sent);
        let _ = self.reports.send(Report { action, given_up: None }).await;
    }

    async fn missed(&self, tray: &mut Tray, job: Job, miss: Miss) -> Option<Duration> {
        tray.attempts += 1;
        self.show(|line| line.fault = Some(miss.fault.clone()));
        if miss.again && tray.attempts < ATTEMPTS_MAX {
            let own = WAIT_FIRST * 2u32.pow(tray.attempts - 1);
            return Some(miss.retry_after.unwrap_or(own).min(WAIT_LONGEST));
        }
        tracing::warn!(channel = self.channel.label(), action = %job.question.action, fault = %miss.fault, "A message about a question was given up.");
        tray.waiting.pop_front();
        tray.attempts = 0;
        self.show(|line| line.given_up += 1);
        if matches!(job.task, Task::Ask(_)) {
            let _ = self.reports.send(Report { action: job.question.action, given_up: Some(miss.fault) }).await;
        } else {
            tray.sent.remove(&job.key());
        }
        None
    }
}
