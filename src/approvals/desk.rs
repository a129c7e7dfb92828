//! The desk: keeps the book of open questions, asks on every channel, judges answers, and closes everywhere what has ended anywhere.
//!
//! One task, so the first answer wins without a lock. It looks at the kernel after every notice and press, and every few seconds besides.
//! Deliberately absent: sending (`post`), and any answer of its own. An editor breaks this by taking a token before it is known that
//! the answer can be journalled, and then not putting it back.

use super::post::{Job, Post, Report, Task};
use super::{ApprovalsStatus, Mail, told};
use crate::dispatch::Announce;
use crate::live::{Handle, Refused};
use crate::people::{Deed, People};
use homeostat_channels::book::Counts;
use homeostat_channels::{Answer, Book, Channel, Press, Question, Refusal, TOKEN_BYTES, Taken, Told, Way};
use homeostat_kernel::Kernel;
use homeostat_kernel::ledger::Phase;
use homeostat_model::{ActionId, Event, Notice, Ordered, Time};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Jobs that may wait for one channel's post.
const JOBS_MAX: usize = 512;
/// How often the kernel is looked at where nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// One channel, as the desk sees it.
struct Line {
    channel: Arc<dyn Channel>,
    jobs: mpsc::Sender<Job>,
}

/// One open question, as the desk sees it.
struct Standing {
    question: Arc<Question>,
    /// What the kernel announced; told in the usual way if no channel takes the question.
    notice: Option<Notice>,
    /// Messages that were not heard of yet.
    under_way: usize,
    /// Messages that arrived.
    arrived: usize,
}

/// See the module.
pub struct Desk {
    book: Book,
    channels: Vec<Arc<dyn Channel>>,
    lines: Vec<Line>,
    standing: BTreeMap<ActionId, Standing>,
    mails: mpsc::Receiver<Mail>,
    presses: (mpsc::Sender<Press>, mpsc::Receiver<Press>),
    status: Arc<Mutex<ApprovalsStatus>>,
    refused_by_kernel: u64,
}

/// What stands around the desk while it runs.
struct Around {
    handle: Handle,
    announce: Announce,
    people: Arc<People>,
}

/// What the kernel has open, and how that ended which it no longer has.
struct Seen {
    now: Time,
    open: Vec<Question>,
    ended: Vec<(ActionId, String)>,
}

impl Desk {
    pub(super) fn new(
        questions_max: usize,
        channels: Vec<Arc<dyn Channel>>,
        mails: mpsc::Receiver<Mail>,
        presses: (mpsc::Sender<Press>, mpsc::Receiver<Press>),
        status: Arc<Mutex<ApprovalsStatus>>,
    ) -> Desk {
        let (book, lines, standing) = (Book::new(questions_max), Vec::new(), BTreeMap::new());
        Desk { book, channels, lines, standing, mails, presses, status, refused_by_kernel: 0 }
    }

    /// Runs until the daemon stops, with one task for each channel. `announce` is the usual way to people: it is used for what no
    /// channel takes. `people` may narrow who may say yes to what.
    pub async fn run(mut self, handle: Handle, announce: Announce, people: Arc<People>) {
        let around = Around { handle, announce, people };
        // A post waits for room here, and the desk for no post.
        let (reports, mut reported) = mpsc::channel(JOBS_MAX);
        // Dropped with this future, and every task with it.
        let mut tasks = JoinSet::new();
        for channel in std::mem::take(&mut self.channels) {
            let (jobs, work) = mpsc::channel(JOBS_MAX);
            let post = Post { channel: Arc::clone(&channel), reports: reports.clone(), status: Arc::clone(&self.status) };
            tasks.spawn(post.run(work));
            if let Some(listening) = Arc::clone(&channel).listen(self.presses.0.clone()) {
                tasks.spawn(listening);
            }
            self.lines.push(Line { channel, jobs });
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                press = self.presses.1.recv() => match press {
                    Some(press) => self.pressed(&around, press).await,
                    None => return,
                },
                mail = self.mails.recv() => match mail {
                    Some(Mail::Noticed(notice)) => self.noticed(&around, notice).await,
                    Some(Mail::Look(token, reply)) => drop(reply.send(self.shown(around.handle.now(), &token))),
                    None => return,
                },
                Some(report) = reported.recv() => self.reported(&around, report).await,
                _ = look.tick() => self.look(&around).await,
                Some(Err(error)) = tasks.join_next() => tracing::error!(%error, "A channel's task ended; its questions stay on the other channels."),
            }
            self.show();
        }
    }

    fn show(&self) {
        let Counts { opened, full, taken, refused } = self.book.counts().clone();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.open, status.asked, status.not_asked, status.taken) = (self.standing.len(), opened, full, taken);
        status.refused = refused;
        status.refused.insert("kernel", self.refused_by_kernel);
    }

    fn shown(&mut self, now: Time, token: &str) -> Result<(Taken, String), Refusal> {
        let taken = self.book.look(now, token, &Way::Link)?;
        let text = self.standing.get(&taken.action).map(|standing| standing.question.text()).unwrap_or_default();
        Ok((taken, text))
    }

    // ---- Questions

    async fn noticed(&mut self, around: &Around, notice: Notice) {
        self.look(around).await;
        match notice.action.and_then(|action| self.standing.get_mut(&action)) {
            Some(standing) if standing.arrived == 0 && standing.under_way == 0 => (around.announce)(notice).await,
            Some(standing) => standing.notice = Some(notice),
            // Over already, or more than the channels may hold.
            None => (around.announce)(notice).await,
        }
    }

    /// Compares the book with the kernel.
    async fn look(&mut self, around: &Around) {
        let known: Vec<ActionId> = self.book.actions().collect();
        let now = around.handle.now();
        let look = move |kernel: &Kernel| {
            let open: Vec<Question> = kernel.ledger().actions().filter_map(|state| told::question(state, now)).collect();
            let is_open = |id: &ActionId| open.iter().any(|question| question.action == *id);
            let gone = known.into_iter().filter(|id| !is_open(id));
            let ended = gone.map(|id| (id, told::end(kernel.ledger().action(id)))).collect();
            Seen { now, open, ended }
        };
        // A kernel that is overrun is looked at again soon.
        let Ok(seen) = around.handle.ask(look).await else { return };
        for (action, how) in seen.ended {
            self.close(action, &how);
        }
        for question in seen.open.into_iter().filter(|question| question.until >= seen.now) {
            self.open(question);
        }
    }

    /// Opens what is new; what was opened under another plan is over.
    fn open(&mut self, question: Question) {
        let action = question.action;
        if self.standing.get(&action).is_some_and(|standing| standing.question.plan != question.plan) {
            self.close(action, "The plan has changed.");
        }
        match self.book.open(action, &question.plan, question.until) {
            Ok(false) => return,
            Ok(true) => tracing::info!(%action, title = question.title, "People are asked."),
            Err(full) => {
                tracing::warn!(%action, questions_max = full.questions_max, "Too many questions are open: this one stays on the command line.");
                return;
            }
        }
        let question = Arc::new(question);
        self.standing.insert(action, Standing { question, notice: None, under_way: 0, arrived: 0 });
        for at in 0..self.lines.len() {
            for recipient in self.lines[at].channel.recipients() {
                self.ask(action, at, &recipient);
            }
        }
    }

    /// Asks one recipient, with fresh tokens.
    fn ask(&mut self, action: ActionId, at: usize, recipient: &str) {
        let (Some(line), Some(standing)) = (self.lines.get(at), self.standing.get_mut(&action)) else { return };
        let random = match random() {
            Ok(random) => random,
            Err(error) => return tracing::error!(%error, "There is no randomness: nobody is asked."),
        };
        let way = line.channel.way(recipient);
        let Some(keys) = self.book.issue(action, line.channel.label(), &way, random) else { return };
        let job = Job { recipient: recipient.to_owned(), question: Arc::clone(&standing.question), task: Task::Ask(keys) };
        match line.jobs.try_send(job) {
            Ok(()) => standing.under_way += 1,
            Err(_) => tracing::warn!(channel = line.channel.label(), %action, "The channel is overrun: it does not ask this."),
        }
    }

    fn close(&mut self, action: ActionId, how: &str) {
        self.book.close(action, how);
        let Some(standing) = self.standing.remove(&action) else { return };
        for line in &self.lines {
            for recipient in line.channel.recipients() {
                let job = Job { recipient, question: Arc::clone(&standing.question), task: Task::Close(how.to_owned()) };
                if line.jobs.try_send(job).is_err() {
                    tracing::warn!(channel = line.channel.label(), %action, "The channel is overrun: it does not tell of this end.");
                }
            }
        }
    }

    async fn reported(&mut self, around: &Around, report: Report) {
        let Some(standing) = self.standing.get_mut(&report.action) else { return };
        standing.under_way = standing.under_way.saturating_sub(1);
        standing.arrived += usize::from(report.given_up.is_none());
        if standing.under_way == 0
            && standing.arrived == 0
            && let Some(notice) = standing.notice.take()
        {
            (around.announce)(notice).await;
        }
    }

    // ---- Answers

    async fn pressed(&mut self, around: &Around, press: Press) {
        let Press { way, token, by, reply } = press;
        let told = match self.book.take(around.handle.now(), &token, &way, by.as_deref()) {
            Ok(taken) => {
                let by = by.unwrap_or_else(|| taken.label.clone());
                self.answered(around, taken, &way, by).await
            }
            Err(refusal) => {
                tracing::warn!(by, why = refusal.name(), "An answer was not taken.");
                Told::Refused(refusal.to_string())
            }
        };
        let _ = reply.send(told);
        self.look(around).await;
    }

    /// Judges an answer whose token is good, and orders what it says.
    async fn answered(&mut self, around: &Around, taken: Taken, way: &Way, by: String) -> Told {
        let (action, plan) = (taken.action, taken.plan.clone());
        let look = move |kernel: &Kernel| {
            let deed = kernel.ledger().action(action).map(|state| (state.proposal.verb.clone(), state.proposal.target.clone()));
            kernel.answerable(action, Some(&plan)).map(|()| deed)
        };
        match around.handle.ask(look).await {
            Ok(Ok(deed)) => {
                // As over HTTP: a no stays with everybody who may answer at all.
                let right =
                    deed.filter(|_| taken.answer == Answer::Yes).map(|(verb, target)| around.people.may(&by, Deed::Do(&verb, &target)));
                if let Some(Err(why)) = right {
                    self.book.put_back(&taken);
                    self.refused_by_kernel += 1;
                    tracing::warn!(by, why, "An order was refused.");
                    return Told::Refused(format!("{action}: {why}"));
                }
            }
            Ok(Err(why)) => {
                self.refused_by_kernel += 1;
                return Told::Refused(format!("{action} cannot be answered: {why}."));
            }
            Err(refused) => return self.not_taken_in(&taken, &refused),
        }
        let command = told::command(&taken);
        tracing::info!(by, command = ?command, "An order.");
        if let Err(refused) = around.handle.submit(Event::Ordered(Ordered { by: by.clone(), command })).await {
            return self.not_taken_in(&taken, &refused);
        }
        let person = by.clone();
        // What became of it is read from where it stands now.
        let look = move |kernel: &Kernel| {
            let state = kernel.ledger().action(action);
            let waits = state.is_some_and(|state| matches!(state.phase, Phase::Awaiting { .. }));
            let held = waits.then(|| kernel.held(action, &person).unwrap_or_else(|| "something holds it".into()));
            (held, told::end(state))
        };
        match around.handle.ask(look).await {
            Ok((Some(why), _)) => {
                self.refused_by_kernel += 1;
                self.ask_again(&taken, way, &why);
                Told::Refused(format!("{action}: {why}. The question stays open and is asked again here."))
            }
            Ok((None, how)) => Told::Taken(how),
            Err(_) => Told::Taken(format!("{action}: {} of {by} is written down.", taken.answer.label())),
        }
    }

    fn not_taken_in(&mut self, taken: &Taken, refused: &Refused) -> Told {
        self.book.put_back(taken);
        self.refused_by_kernel += 1;
        Told::Refused(format!("{}: not taken in, {refused}. Press again.", taken.action))
    }

    /// The message whose token was used is over; a new one with new tokens takes its place.
    fn ask_again(&mut self, taken: &Taken, way: &Way, why: &str) {
        self.book.hold(taken, way, "it was asked again: see the newest message");
        let Some(standing) = self.standing.get(&taken.action) else { return };
        let question = Arc::clone(&standing.question);
        let is_it = |line: &Line| line.channel.label() == taken.label;
        let Some((at, line)) = self.lines.iter().enumerate().find(|(_, line)| is_it(line)) else { return };
        let recipients: Vec<String> = line.channel.recipients().into_iter().filter(|one| line.channel.way(one) == *way).collect();
        for recipient in recipients {
            let how = format!("{}: {why}; asked again below.", Answer::label(taken.answer));
            let job = Job { recipient: recipient.clone(), question: Arc::clone(&question), task: Task::Close(how) };
            if self.lines[at].jobs.try_send(job).is_ok() {
                self.ask(taken.action, at, &recipient);
            }
        }
    }
}

/// Bytes for three tokens, from the system.
fn random() -> std::io::Result<[[u8; TOKEN_BYTES]; 3]> {
    let mut bytes = [[0; TOKEN_BYTES]; 3];
    let mut source = std::fs::File::open("/dev/urandom")?;
    for token in &mut bytes {
        source.read_exact(token)?;
    }
    Ok(bytes)
}
