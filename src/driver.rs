//! What every driver that writes a journal does with a batch of events: write, handle, write what follows, commit; only then hand
//! the effects out. Live and virtual time share it, so they cannot differ.
//!
//! Two things end trust. A panic in the kernel: the batch that led to it is committed, the kernel is built anew from the journal and
//! goes on hands-off. A journal that cannot be written: the batch is void, its effects are dropped, the kernel is built anew, and
//! until the journal can be written again only reads are taken in. An editor breaks this by handing out an effect of a batch that
//! was not committed.

use crate::boot;
use crate::journal::{JournalError, Recorder};
use homeostat_kernel::{Effect, Kernel};
use homeostat_model::{Event, Notice, NoticeKind, Observation, RuleSet, StoreSettings, Time};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Kernel and journal together.
pub struct Core {
    kernel: Kernel,
    recorder: Recorder,
    generation: u64,
    seed: u64,
    store: StoreSettings,
    rules: Option<RuleSet>,
    /// Why the journal cannot be written.
    failed: Option<String>,
    /// Why trust was lost, to be written down as soon as possible.
    distrust: Option<String>,
    panics: u64,
    rebuilds: u64,
    /// Effects of a new kernel, all durable, to be handed out with the next batch.
    told: Vec<Effect>,
}

/// What a batch led to.
#[derive(Debug, Default)]
pub struct Stepped {
    /// What is to be sent, all of it durable.
    pub effects: Vec<Effect>,
    /// Why nothing of the batch was kept; reads were taken in all the same.
    pub refused: Option<String>,
    /// The reads' buffers, to be used again by their sensors.
    pub spent: Vec<Box<Observation>>,
}

impl Core {
    /// A core on an open journal: the kernel knows what the journal knows, and `Started` is written and handled.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub fn start(recorder: Recorder, generation: u64, seed: u64, store: StoreSettings, now: Time) -> Result<(Core, Stepped), JournalError> {
        let recovered = boot::recover(recorder.dir(), &store, now, None)?;
        let (kernel, unreadable) = (recovered.kernel, recovered.unreadable);
        let mut core = Core {
            kernel,
            recorder,
            generation,
            seed,
            store,
            rules: None,
            failed: None,
            distrust: None,
            panics: 0,
            rebuilds: 0,
            told: Vec::new(),
        };
        let mut events = vec![(now, core.started())];
        if unreadable > 0 {
            // One of them may have been a person's stop.
            let reason = format!("{unreadable} journal entries cannot be read; `homeostat journal verify` names them");
            events.push((now, Event::Distrusted { reason }));
        }
        let stepped = core.step(events);
        Ok((core, stepped))
    }

    fn started(&self) -> Event {
        Event::Started { generation: self.generation, build: build_id().into(), seed: self.seed }
    }

    /// The kernel, to look at.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The journal, for maintenance between batches.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The number of the next entry.
    pub fn next_seq(&self) -> u64 {
        self.recorder.next_seq()
    }

    /// Why the journal cannot be written, if so.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// How often the kernel panicked since the start.
    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// How often the kernel was built anew since the start: its store has forgotten what was not journalled.
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds
    }

    /// Takes in a batch. Never fails: what cannot be kept is said in [`Stepped::refused`].
    pub fn step(&mut self, inputs: Vec<(Time, Event)>) -> Stepped {
        let Some(now) = inputs.last().map(|(at, _)| *at) else { return Stepped::default() };
        let mut stepped = self.step_all(now, &inputs);
        stepped.spent = inputs.into_iter().filter_map(|(_, event)| if let Event::Observed(o) = event { Some(o) } else { None }).collect();
        stepped
    }

    fn step_all(&mut self, now: Time, inputs: &[(Time, Event)]) -> Stepped {
        if self.failed.is_some() && !self.write_again(now) {
            return self.watch_only(inputs);
        }
        let (mut effects, mut rest) = (std::mem::take(&mut self.told), inputs);
        // A panic ends a part of the batch; what came after it is taken in by the new kernel, so that nothing accepted is lost.
        while !rest.is_empty() {
            match self.try_step(rest, &mut effects) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    tracing::error!(error = %error, "The journal cannot be written: hands-off until it can, and until a person resumes.");
                    self.failed = Some(error.to_string());
                    self.distrust.get_or_insert_with(|| format!("the journal could not be written: {error}"));
                    self.rebuild(now);
                    let mut stepped = self.watch_only(inputs);
                    // What was not committed is not sent; people hear of it although it cannot be written down.
                    stepped.effects.push(Effect::Announce(hands_off_notice(&format!("the journal cannot be written: {error}"))));
                    return stepped;
                }
            }
        }
        effects.append(&mut self.told);
        Stepped { effects, ..Stepped::default() }
    }

    /// Takes in as much as it can and commits it; gives how many inputs that were. Effects are handed out only after the commit.
    fn try_step(&mut self, inputs: &[(Time, Event)], effects: &mut Vec<Effect>) -> Result<usize, JournalError> {
        self.recorder.begin()?;
        let mut fresh = Vec::new();
        for (number, (at, event)) in inputs.iter().enumerate() {
            // The journal's time is the kernel's: a clock behind the journal must not shorten a cooldown at the next start.
            let at = (*at).max(self.kernel.now());
            self.recorder.push(at, event)?;
            let refused = self.kernel.stats().loads_refused;
            if let Err(panic) = self.feed(at, event) {
                self.recorder.commit()?;
                effects.append(&mut fresh);
                self.panicked(at, &panic)?;
                return Ok(number + 1);
            }
            if let Event::Loaded(rules) = event
                && (self.rules.is_none() || self.kernel.stats().loads_refused == refused)
            {
                self.rules = Some((**rules).clone());
                self.store = rules.store.clone();
            }
            self.drain(at, &mut fresh)?;
        }
        self.recorder.commit()?;
        effects.append(&mut fresh);
        Ok(inputs.len())
    }

    fn feed(&mut self, at: Time, event: &Event) -> Result<(), String> {
        let kernel = &mut self.kernel;
        let handled = catch_unwind(AssertUnwindSafe(|| match event {
            Event::Observed(observation) => kernel.handle_observed(at, observation),
            other => kernel.handle(at, other.clone()),
        }));
        handled.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|t| (*t).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            text.unwrap_or_else(|| "no message".into())
        })
    }

    /// Writes what the kernel asks for; what is to be sent goes to `effects`.
    fn drain(&mut self, at: Time, effects: &mut Vec<Effect>) -> Result<(), JournalError> {
        while let Some(effect) = self.kernel.poll_effect() {
            self.recorder.push(at, &effect.record())?;
            if !matches!(effect, Effect::Record(_)) {
                effects.push(effect);
            }
        }
        Ok(())
    }

    /// The kernel panicked: what led to it is in the journal, and a new kernel goes on hands-off.
    fn panicked(&mut self, at: Time, panic: &str) -> Result<(), JournalError> {
        self.panics += 1;
        tracing::error!(panic, "The kernel panicked: hands-off until a person resumes.");
        self.distrust = Some(format!("the kernel panicked: {panic}"));
        self.write_distrust(at)
    }

    /// A kernel that watches while the journal cannot be written: hands-off, with the rules where they do not break it.
    fn rebuild(&mut self, now: Time) {
        self.rebuilds += 1;
        self.kernel = self.recovered(now);
        let reason = self.distrust.clone().unwrap_or_default();
        let rules = self.rules.clone().map(|rules| Event::Loaded(Box::new(rules)));
        for event in [Event::Distrusted { reason }].into_iter().chain(rules) {
            if let Err(panic) = self.feed(now, &event) {
                self.panics += 1;
                tracing::error!(panic, "The new kernel panicked too: watching with an empty one.");
                self.kernel = Kernel::new(self.store.clone());
            }
        }
        while self.kernel.poll_effect().is_some() {}
    }

    fn recovered(&self, now: Time) -> Kernel {
        let (dir, store) = (self.recorder.dir(), &self.store);
        match catch_unwind(AssertUnwindSafe(|| boot::recover(dir, store, now, None))) {
            Ok(Ok(recovered)) => return recovered.kernel,
            Ok(Err(error)) => tracing::error!(error = %error, "The journal cannot be read: going on with an empty memory."),
            Err(_) => tracing::error!("Reading the journal back panicked: going on with an empty memory."),
        }
        Kernel::new(self.store.clone())
    }

    /// Tries to write again after a failure.
    fn write_again(&mut self, now: Time) -> bool {
        match self.write_distrust(now) {
            Ok(()) => {
                tracing::warn!("The journal can be written again; hands-off stays until a person resumes.");
                self.failed = None;
                true
            }
            Err(error) => {
                self.failed = Some(error.to_string());
                false
            }
        }
    }

    /// Writes down why trust was lost, and starts a new kernel on the journal as it is then, so that replay can follow. Where the rules
    /// make even that one panic, it goes on without rules: it senses, and evaluates nothing.
    fn write_distrust(&mut self, now: Time) -> Result<(), JournalError> {
        let reason = self.distrust.clone().unwrap_or_else(|| "unknown".into());
        self.recorder.begin()?;
        self.recorder.push(now, &Event::Distrusted { reason: reason.clone() })?;
        self.recorder.commit()?;
        self.rebuilds += 1;
        self.kernel = self.recovered(now);
        let mut again = vec![self.started()];
        again.extend(self.rules.clone().map(|rules| Event::Loaded(Box::new(rules))));
        let mut effects = Vec::new();
        self.recorder.begin()?;
        for event in again {
            self.recorder.push(now, &event)?;
            if let Err(panic) = self.feed(now, &event) {
                self.panics += 1;
                tracing::error!(panic, "The rules make the kernel panic: going on without them.");
                self.kernel = self.recovered(now);
                self.rules = None;
                break;
            }
            self.drain(now, &mut effects)?;
        }
        let notice = Effect::Announce(hands_off_notice(&reason));
        self.recorder.push(now, &notice.record())?;
        self.recorder.commit()?;
        effects.push(notice);
        self.distrust = None;
        self.told = effects;
        Ok(())
    }

    /// Without a journal: reads fill the windows, everything else is refused, nothing leaves.
    fn watch_only(&mut self, inputs: &[(Time, Event)]) -> Stepped {
        for (at, event) in inputs {
            let watched = catch_unwind(AssertUnwindSafe(|| match event {
                Event::Observed(observation) => self.kernel.handle_observed(*at, observation),
                Event::Tick => self.kernel.handle(*at, Event::Tick),
                _ => {}
            }));
            if watched.is_err() {
                self.panics += 1;
                self.kernel = Kernel::new(self.store.clone());
            }
        }
        while self.kernel.poll_effect().is_some() {}
        Stepped { refused: self.failed.clone(), ..Stepped::default() }
    }
}

fn hands_off_notice(reason: &str) -> Notice {
    let text = format!("Nothing is sent until a person runs `homeostat resume`. Ordered by engine: {reason}");
    Notice { kind: NoticeKind::HandsOff, action: None, title: "Homeostat is hands-off".into(), text }
}

/// The build, for replay: effects are promised equal for equal builds.
pub fn build_id() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), "+", env!("HOMEOSTAT_BUILD"))
}
