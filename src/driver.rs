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
use homeostat_model::{Event, Observation, RuleSet, StoreSettings, Time};
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
        let kernel = boot::recover(recorder.dir(), &store, now, None)?;
        let mut core =
            Core { kernel, recorder, generation, seed, store, rules: None, failed: None, distrust: None, panics: 0, rebuilds: 0 };
        let stepped = core.step(vec![(now, core.started())]);
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
        match self.try_step(inputs) {
            Ok(effects) => Stepped { effects, ..Stepped::default() },
            Err(error) => {
                tracing::error!(error = %error, "The journal cannot be written: hands-off until it can, and until a person resumes.");
                self.failed = Some(error.to_string());
                self.distrust.get_or_insert_with(|| format!("the journal could not be written: {error}"));
                self.rebuild(now);
                self.watch_only(inputs)
            }
        }
    }

    fn try_step(&mut self, inputs: &[(Time, Event)]) -> Result<Vec<Effect>, JournalError> {
        self.recorder.begin()?;
        let mut effects = Vec::new();
        for (at, event) in inputs {
            self.recorder.push(*at, event)?;
            if let Event::Loaded(rules) = event {
                self.rules = Some((**rules).clone());
                self.store = rules.store.clone();
            }
            let handled = catch_unwind(AssertUnwindSafe(|| match event {
                Event::Observed(observation) => self.kernel.handle_observed(*at, observation),
                other => self.kernel.handle(*at, other.clone()),
            }));
            if let Err(panic) = handled {
                return self.panicked(*at, panic.as_ref(), effects);
            }
            while let Some(effect) = self.kernel.poll_effect() {
                self.recorder.push(*at, &effect.record())?;
                if !matches!(effect, Effect::Record(_)) {
                    effects.push(effect);
                }
            }
        }
        self.recorder.commit()?;
        Ok(effects)
    }

    /// The kernel panicked: what led to it is kept, and a new kernel goes on hands-off.
    fn panicked(&mut self, at: Time, panic: &(dyn std::any::Any + Send), effects: Vec<Effect>) -> Result<Vec<Effect>, JournalError> {
        self.panics += 1;
        let text =
            panic.downcast_ref::<&str>().map(|t| (*t).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = text, "The kernel panicked: hands-off until a person resumes.");
        self.recorder.commit()?;
        self.distrust = Some(format!("the kernel panicked: {text}"));
        self.rebuild(at);
        self.write_distrust(at)?;
        Ok(effects)
    }

    /// A new kernel from the journal, with the rules that were loaded; it says nothing until trust is settled.
    fn rebuild(&mut self, now: Time) {
        self.rebuilds += 1;
        match boot::recover(self.recorder.dir(), &self.store, now, None) {
            Ok(kernel) => self.kernel = kernel,
            Err(error) => {
                tracing::error!(error = %error, "The journal cannot be read either: watching with an empty memory.");
                self.kernel = Kernel::new(self.store.clone());
            }
        }
        // In memory only: the journal hears of it in `write_distrust`.
        let reason = self.distrust.clone().unwrap_or_default();
        self.kernel.handle(now, Event::Distrusted { reason });
        if let Some(rules) = self.rules.clone() {
            self.kernel.handle(now, Event::Loaded(Box::new(rules)));
        }
        while self.kernel.poll_effect().is_some() {}
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

    /// Writes down why trust was lost, and starts a new kernel on the journal as it is then, so that replay can follow.
    fn write_distrust(&mut self, now: Time) -> Result<(), JournalError> {
        let reason = self.distrust.clone().unwrap_or_else(|| "unknown".into());
        self.recorder.begin()?;
        self.recorder.push(now, &Event::Distrusted { reason })?;
        self.recorder.commit()?;
        self.distrust = None;
        self.rebuilds += 1;
        self.kernel = boot::recover(self.recorder.dir(), &self.store, now, None)?;
        let mut again = vec![self.started()];
        again.extend(self.rules.clone().map(|rules| Event::Loaded(Box::new(rules))));
        self.recorder.begin()?;
        for event in again {
            self.recorder.push(now, &event)?;
            self.kernel.handle(now, event);
            while let Some(effect) = self.kernel.poll_effect() {
                self.recorder.push(now, &effect.record())?;
            }
        }
        self.recorder.commit()?;
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

/// The build, for replay: effects are promised equal for equal builds.
pub fn build_id() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), "+", env!("HOMEOSTAT_BUILD"))
}
