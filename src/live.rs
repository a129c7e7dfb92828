//! The live driver: one thread that owns kernel and journal, and tasks around it that read, send, and listen.
//!
//! Everything reaches the kernel through one bounded queue, in batches: the batch is written, handled and committed, then answered.
//! The kernel's thread has the big stack that policies need. Sensors wait for a place in the queue (each delays only itself);
//! webhooks and people are refused when it is full. An editor breaks this by answering before the commit, or by touching the kernel
//! from another thread.

use crate::clock::Clock;
use crate::dispatch::{Announce, Dispatcher};
use crate::driver::{Core, Stepped, build_id};
use crate::journal::{JournalSettings, Recorder};
use crate::sensing;
use homeostat_kernel::ledger::Phase;
use homeostat_kernel::{Effect, Kernel, STACK_BYTES_MIN};
use homeostat_model::{Actuator, Event, Fault, Health, Observation, RuleSet, Sensor, Span, Time};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait for the kernel.
const QUEUE_MAX: usize = 4096;
/// Events of one batch, and so of one commit.
const BATCH_MAX: usize = 256;
/// The loop looks at the clock at least this often.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How often the journal is tended.
const MAINTAIN_EVERY: Duration = Duration::from_secs(300);
/// How often unsynced samples are synced while nothing else is committed.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Why something was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full.
    Full,
    /// The daemon is stopping.
    Stopping,
    /// The journal cannot be written; the text says why.
    Journal(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Full => f.write_str("the queue is full; try again"),
            Refused::Stopping => f.write_str("the daemon is stopping"),
            Refused::Journal(why) => write!(f, "the journal cannot be written: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

/// A question to the kernel, asked on its own thread.
type Look = Box<dyn FnOnce(&Kernel) + Send>;

enum Message {
    Event(Event, Option<oneshot::Sender<Result<(), Refused>>>),
    Observed(Box<Observation>, mpsc::Sender<Box<Observation>>),
    Ask(Look),
    Wake,
    /// Start nothing any more.
    Park,
    Stop(oneshot::Sender<()>),
}

/// How the journal is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JournalStatus {
    /// Whether it can be written.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// The number of the newest entry.
    pub seq: u64,
    /// Bytes of the table.
    pub bytes: u64,
    /// Bytes of the sample log.
    pub sample_log_bytes: u64,
}

/// How a sensor is.
#[derive(Clone, Debug, Serialize)]
pub struct SensorStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What it reads.
    pub source: String,
    /// How much the last read saw.
    pub health: Health,
    /// When it last read.
    pub last_read_at: Option<Time>,
    /// When it last saw everything.
    pub last_ok_at: Option<Time>,
    /// How long the last read took, in milliseconds.
    pub read_duration_ms: f64,
    /// Samples of the last read.
    pub samples_last: usize,
    /// Faults of the last read.
    pub faults: Vec<Fault>,
    /// Reads.
    pub reads: u64,
    /// Of these, blind ones.
    pub reads_failed: u64,
    /// Reads that did not happen because the one before was still under way.
    pub missed: u64,
}

/// How a queue is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QueueStatus {
    /// What waits.
    pub len: usize,
    /// What may wait.
    pub capacity: usize,
    /// What was refused.
    pub refused: u64,
}

/// How the daemon is.
#[derive(Clone, Debug, Serialize)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its build.
    pub build: String,
    /// When it started.
    pub started_at: Time,
    /// How often it has started on this journal.
    pub generation: u64,
    /// Whether it does what it should.
    pub ready: bool,
    /// Why not.
    pub not_ready_because: Vec<String>,
    /// The journal.
    pub journal: JournalStatus,
    /// The sensors.
    pub sensors: Vec<SensorStatus>,
    /// The queues.
    pub queues: BTreeMap<String, QueueStatus>,
    /// The actuators' verbs.
    pub actuators: Vec<String>,
    /// Kernel panics since the start.
    pub panics: u64,
    /// The longest batch of the last minutes, in milliseconds.
    pub batch_max_ms: f64,
}

/// State that threads and tasks share.
pub struct Shared {
    pub(crate) status: Mutex<DaemonStatus>,
    waiting: AtomicU64,
    refused: AtomicU64,
    /// Raised when the kernel was built anew: sensors must declare their series again.
    pub(crate) rebuilds: AtomicU64,
}

impl Shared {
    pub(crate) fn status(&self) -> std::sync::MutexGuard<'_, DaemonStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the kernel.
#[derive(Clone)]
pub struct Handle {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl Handle {
    /// Hands an event in. Ok once it is durable in the journal and handled.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn submit(&self, event: Event) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Event(event, Some(answer)))?;
        answered.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Hands a read in and gets its buffers back; waits for a place in the queue.
    ///
    /// # Errors
    /// `Stopping`.
    pub async fn observe(&self, mut observation: Box<Observation>, back: &mpsc::Sender<Box<Observation>>) -> Result<(), Refused> {
        loop {
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            match self.queue.try_send(Message::Observed(observation, back.clone())) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(Message::Observed(same, _))) => {
                    self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    observation = same;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => return Err(Refused::Stopping),
            }
        }
    }

    /// Looks at the kernel on its own thread, after everything that was handed in before.
    ///
    /// # Errors
    /// `Full`, `Stopping`.
    pub async fn ask<T: Send + 'static>(&self, look: impl FnOnce(&Kernel) -> T + Send + 'static) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Ask(Box::new(move |kernel| {
            let _ = answer.send(look(kernel));
        })))?;
        answered.await.map_err(|_| Refused::Stopping)
    }

    /// Makes the driver look at the clock: for clocks that are set by hand.
    ///
    /// # Errors
    /// `Full`, `Stopping`.
    pub fn wake(&self) -> Result<(), Refused> {
        self.send(Message::Wake)
    }

    fn send(&self, message: Message) -> Result<(), Refused> {
        // Counted before it is there, so that the count never falls below zero.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        match self.queue.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                Err(Refused::Full)
            }
            Err(TrySendError::Disconnected(_)) => Err(Refused::Stopping),
        }
    }

    /// How the daemon is; cheap.
    pub fn status(&self) -> DaemonStatus {
        let mut status = self.shared.status().clone();
        let queue = QueueStatus {
            len: self.shared.waiting.load(Ordering::Relaxed) as usize,
            capacity: QUEUE_MAX,
            refused: self.shared.refused.load(Ordering::Relaxed),
        };
        status.queues.insert("kernel".into(), queue);
        status
    }

    /// Now, by the driver's clock.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The driver's clock, for whoever waits in its time.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

/// Makes a sensor; called again when it must start anew.
pub type MakeSensor = Arc<dyn Fn() -> Result<Box<dyn Sensor>, Fault> + Send + Sync>;

/// What a daemon is made of.
pub struct Parts {
    /// The data directory.
    pub dir: PathBuf,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The sensors.
    pub sensors: Vec<MakeSensor>,
    /// The actuators.
    pub actuators: Vec<Arc<dyn Actuator>>,
    /// The way to people.
    pub announce: Announce,
    /// The way to language models, if there are any.
    pub think: Option<crate::reasoning::Think>,
    /// The rules to begin with.
    pub rules: RuleSet,
    /// The journal's limits.
    pub journal: JournalSettings,
    /// For everything random in the kernel.
    pub seed: u64,
    /// An open journal, where the caller has opened it already.
    pub opened: Option<(Recorder, crate::journal::Opened)>,
}

/// A running daemon.
pub struct Daemon {
    handle: Handle,
    sensors: Vec<tokio::task::JoinHandle<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Starts a daemon: journal, kernel, sensors. Needs a tokio runtime around it.
///
/// # Errors
/// The journal cannot be opened (another daemon, no space, no right), or the thread cannot be started.
pub fn start(parts: Parts) -> anyhow::Result<Daemon> {
    let now = parts.clock.now();
    let (recorder, opened) = match parts.opened {
        Some(opened) => opened,
        None => Recorder::open(&parts.dir, parts.journal.clone(), now)?,
    };
    for note in &opened.notes {
        tracing::warn!(note, "The journal was repaired.");
    }
    let shared = Arc::new(Shared {
        status: Mutex::new(first_status(&parts.actuators, opened.generation, now)),
        waiting: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        rebuilds: AtomicU64::new(0),
    });
    let (queue, messages) = sync_channel(QUEUE_MAX);
    let handle = Handle { queue, shared: Arc::clone(&shared), clock: Arc::clone(&parts.clock) };
    let dispatcher = Dispatcher::new(parts.actuators.into(), parts.announce, parts.think, Arc::clone(&parts.clock), handle.clone());
    let runtime = tokio::runtime::Handle::current();
    let (started, has_started) = std::sync::mpsc::channel();
    let (clock, rules, seed, generation) = (Arc::clone(&parts.clock), parts.rules, parts.seed, opened.generation);
    let looping = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("kernel".into()).stack_size(STACK_BYTES_MIN).spawn(move || {
        let _entered = runtime.enter();
        let (core, stepped) = match Core::start(recorder, generation, seed, rules.store.clone(), now) {
            Ok(core) => core,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let mut driver =
            Loop { core, messages, clock, dispatcher, shared: looping, rebuilds: 0, parked: false, tended: None, synced: Instant::now() };
        driver.send(stepped);
        driver.step(vec![(now, Event::Loaded(Box::new(rules)))]);
        let _ = started.send(Ok(()));
        driver.run();
    })?;
    // The runtime's thread waits here for the journal to be read; nothing else is under way yet.
    match has_started.recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => anyhow::bail!("the kernel's thread ended while it started; the log says why"),
    }
    let sensors =
        parts.sensors.into_iter().map(|make| tokio::spawn(sensing::run(make, handle.clone(), Arc::clone(&shared), generation))).collect();
    Ok(Daemon { handle, sensors, thread: Some(thread) })
}

fn first_status(actuators: &[Arc<dyn Actuator>], generation: u64, now: Time) -> DaemonStatus {
    DaemonStatus {
        version: env!("CARGO_PKG_VERSION").into(),
        build: build_id().into(),
        started_at: now,
        generation,
        ready: false,
        not_ready_because: vec!["starting".into()],
        journal: JournalStatus::default(),
        sensors: Vec::new(),
        queues: BTreeMap::new(),
        actuators: actuators.iter().flat_map(|a| a.spec().verbs).map(|verb| verb.verb.to_string()).collect(),
        panics: 0,
        batch_max_ms: 0.0,
    }
}

impl Daemon {
    /// The way to the kernel.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops: sensors first, then what is under way gets `patience` to end, then the journal is closed. What is still under way is
    /// probed at the next start.
    pub async fn stop(mut self, patience: Duration) {
        for sensor in &self.sensors {
            sensor.abort();
        }
        let _ = self.handle.send(Message::Park);
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let running = self.handle.ask(|kernel| kernel.ledger().actions().filter(|state| state.phase.is_running()).count()).await;
            if running.unwrap_or(0) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (done, is_done) = oneshot::channel();
        if self.handle.send(Message::Stop(done)).is_ok() {
            let _ = is_done.await;
        }
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Loop {
    core: Core,
    messages: Receiver<Message>,
    clock: Arc<dyn Clock>,
    dispatcher: Dispatcher,
    shared: Arc<Shared>,
    rebuilds: u64,
    parked: bool,
    tended: Option<Instant>,
    synced: Instant,
}

/// What is to be answered after the commit.
#[derive(Default)]
struct Answers {
    submitted: Vec<oneshot::Sender<Result<(), Refused>>>,
    buffers: Vec<mpsc::Sender<Box<Observation>>>,
    looks: Vec<Look>,
    stop: Option<oneshot::Sender<()>>,
    park: bool,
}

impl Loop {
    fn run(&mut self) {
        let watchdog = sd_notify::watchdog_enabled().map(|every| every / 2);
        let mut watched = Instant::now();
        loop {
            let deadline = self.core.kernel().poll_deadline();
            let wait = deadline.map_or(WAIT_MAX, |at| self.clock.wait_until(at)).min(WAIT_MAX);
            let first = match self.messages.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.turn(first) {
                return;
            }
            if let Some(every) = watchdog
                && watched.elapsed() >= every
            {
                watched = Instant::now();
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }

    /// One batch; true at the end.
    fn turn(&mut self, first: Option<Message>) -> bool {
        let mut answers = Answers::default();
        let mut events: Vec<(Time, Event)> = Vec::new();
        if let Some((from, to)) = self.clock.jumped() {
            events.push((self.clock.now(), Event::ClockJumped { from, to }));
        }
        let mut next = first;
        while let Some(message) = next {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.sort(message, &mut events, &mut answers);
            // A look must see what was handed in before it and nothing later, so it ends the batch.
            let full = events.len() >= BATCH_MAX || !answers.looks.is_empty() || answers.stop.is_some();
            next = if full { None } else { self.messages.try_recv().ok() };
        }
        self.parked |= answers.park;
        let now = self.clock.now();
        // Any event makes the kernel do what is due; a tick is needed only where nothing else happened.
        if events.is_empty() && self.core.kernel().poll_deadline().is_some_and(|at| at <= now) {
            events.push((now, Event::Tick));
        }
        let refused = if events.is_empty() { None } else { self.step_for(events, &mut answers.buffers) };
        for answer in answers.submitted {
            let _ = answer.send(refused.clone().map_or(Ok(()), |why| Err(Refused::Journal(why))));
        }
        for look in answers.looks {
            look(self.core.kernel());
        }
        self.tend(now);
        match answers.stop {
            Some(done) => {
                let _ = self.core.recorder().sync();
                let _ = done.send(());
                true
            }
            None => false,
        }
    }

    fn sort(&self, message: Message, events: &mut Vec<(Time, Event)>, answers: &mut Answers) {
        let now = self.clock.now();
        match message {
            Message::Event(event, answer) => {
                events.push((now, event));
                answers.submitted.extend(answer);
            }
            Message::Observed(observation, back) => {
                events.push((now, Event::Observed(observation)));
                answers.buffers.push(back);
            }
            Message::Ask(look) => answers.looks.push(look),
            Message::Wake => {}
            Message::Park => answers.park = true,
            Message::Stop(done) => answers.stop = Some(done),
        }
    }

    fn step(&mut self, events: Vec<(Time, Event)>) {
        self.step_for(events, &mut Vec::new());
    }

    fn step_for(&mut self, events: Vec<(Time, Event)>, buffers: &mut Vec<mpsc::Sender<Box<Observation>>>) -> Option<String> {
        let began = Instant::now();
        let stepped = self.core.step(events);
        let took = began.elapsed().as_secs_f64() * 1000.0;
        let refused = stepped.refused.clone();
        let rest = self.send(stepped);
        for (buffer, back) in rest.into_iter().zip(buffers.drain(..)) {
            // A sensor that is gone needs no buffers.
            let _ = back.try_send(buffer);
        }
        self.show(took);
        refused
    }

    /// Sends effects; gives the buffers back.
    #[expect(clippy::vec_box, reason = "the boxes travel: a sensor gets its own back through a channel")]
    fn send(&mut self, stepped: Stepped) -> Vec<Box<Observation>> {
        for effect in stepped.effects {
            // What is admitted while the daemon stops is parked: the next start probes it, learns that it was never started, and
            // sends it then if it is still in time.
            if !(self.parked && matches!(effect, Effect::Act(_))) {
                self.dispatcher.send(effect);
            }
        }
        stepped.spent
    }

    fn show(&mut self, took_ms: f64) {
        let rebuilds = self.core.rebuilds();
        if rebuilds != self.rebuilds {
            self.rebuilds = rebuilds;
            self.shared.rebuilds.store(rebuilds, Ordering::SeqCst);
        }
        let mut status = self.shared.status();
        status.journal.seq = self.core.next_seq().saturating_sub(1);
        status.journal.error = self.core.failed().map(str::to_owned);
        status.journal.ok = status.journal.error.is_none();
        status.panics = self.core.panics();
        status.batch_max_ms = status.batch_max_ms.max(took_ms);
        let mut because = Vec::new();
        if let Some(error) = &status.journal.error {
            because.push(format!("the journal cannot be written: {error}"));
        }
        status.ready = because.is_empty();
        status.not_ready_because = because;
    }

    /// Syncs and prunes the journal between batches.
    fn tend(&mut self, now: Time) {
        if self.synced.elapsed() >= SYNC_EVERY {
            self.synced = Instant::now();
            if let Err(error) = self.core.recorder().sync() {
                tracing::warn!(error = %error, "The sample log cannot be synced.");
            }
        }
        if self.tended.is_some_and(|at| at.elapsed() < MAINTAIN_EVERY) {
            return;
        }
        self.tended = Some(Instant::now());
        // While hands-off stands, or anything is asked or under way, no entry may go: the next start must still know of it.
        let ledger = self.core.kernel().ledger();
        let needed = ledger.hands_off().is_some()
            || ledger.actions().any(|state| state.phase.is_running() || matches!(state.phase, Phase::Awaiting { .. }))
            || ledger.runs().any(homeostat_kernel::ledger::Run::is_stuck);
        match self.core.recorder().maintain(now, needed.then_some(0)) {
            Ok(maintenance) => {
                let mut status = self.shared.status();
                status.journal.bytes = maintenance.table_bytes;
                status.journal.sample_log_bytes = maintenance.samples.bytes;
                status.batch_max_ms = 0.0;
                for note in maintenance.notes {
                    tracing::warn!(note, "The journal was tended.");
                }
            }
            Err(error) => tracing::warn!(error = %error, "The journal cannot be tended."),
        }
    }
}

/// How long after its slot a sensor may still read.
pub(crate) fn offset_of(name: &str, interval: Span) -> Span {
    Span(homeostat_kernel::units::slot_offset("sensor", name, interval))
}
