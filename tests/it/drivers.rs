//! One kernel, several drivers: live and virtual time write identical journals, replay reproduces every effect, and a journal that
//! is cut anywhere leads to the same world.

use crate::scenario::{self, BEGIN, END, FarEnd};
use homeostat::clock::ManualClock;
use homeostat::journal::{JournalSettings, Recorder};
use homeostat::live::{self, Parts};
use homeostat::virtual_time;
use homeostat_kernel::ledger::Phase;
use homeostat_model::{Action, Actuator, ActuatorSpec, BoxFuture, EntryBody, Event, Fault, Outcome, Receipt, Record, Time};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The far end behind the real trait.
struct Far {
    spec: ActuatorSpec,
    end: Arc<Mutex<FarEnd>>,
}

impl Actuator for Far {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }
    fn check(&self, _: &Action) -> Result<(), Fault> {
        Ok(())
    }
    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        use virtual_time::StandIn;
        let outcome = self.end.lock().unwrap().apply(now, action).1;
        Box::pin(async move { outcome })
    }
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        use virtual_time::StandIn;
        let outcome = self.end.lock().unwrap().probe(now, action).1;
        Box::pin(async move { outcome })
    }
    fn revert<'a>(&'a self, _: Time, action: &'a Action, _: &'a Receipt) -> BoxFuture<'a, Outcome> {
        let fault = Fault::new(homeostat_model::FaultCode::NotFound, format!("revert {}", action.verb), "nothing to take back");
        Box::pin(async move { Outcome::NotDone(fault) })
    }
}

fn virtual_journal(dir: &std::path::Path) -> FarEnd {
    let mut far = FarEnd::default();
    let mut core = scenario::core(dir, BEGIN);
    virtual_time::run(&mut core, scenario::script_with_rules(), &mut far, END);
    far
}

/// Runs the scenario through the live driver: its thread, its queue, its dispatcher; only the clock is set by hand.
fn live_journal(dir: &std::path::Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(BEGIN));
        let end = Arc::new(Mutex::new(FarEnd::default()));
        let actuators: Vec<Arc<dyn Actuator>> =
            scenario::actuators().into_iter().map(|spec| Arc::new(Far { spec, end: Arc::clone(&end) }) as Arc<dyn Actuator>).collect();
        let daemon = live::start(Parts {
            dir: dir.to_owned(),
            clock: clock.clone(),
            sensors: Vec::new(),
            actuators,
            announce: Arc::new(|_| Box::pin(async {})),
            think: None,
            rules: scenario::rules(),
            journal: JournalSettings::default(),
            seed: 7,
            opened: None,
        })
        .expect("the daemon starts");
        let handle = daemon.handle();
        let (back, _buffers) = tokio::sync::mpsc::channel(1);
        let mut script = scenario::script().into_iter().peekable();
        loop {
            let deadline = handle.ask(|kernel| kernel.poll_deadline()).await.unwrap();
            let next = script.peek().map(|(at, _)| *at);
            let Some(now) = [next, deadline].into_iter().flatten().min().filter(|at| *at <= END) else { break };
            clock.set(now);
            match script.next_if(|(at, _)| *at <= now) {
                Some((_, Event::Observed(observation))) => handle.observe(observation, &back).await.unwrap(),
                Some((_, event)) => handle.submit(event).await.unwrap(),
                None => handle.wake().unwrap(),
            }
            // Answers come back by themselves; time stands still until they are in.
            while handle.ask(|kernel| kernel.ledger().actions().any(|state| state.phase.is_running())).await.unwrap() {
                tokio::task::yield_now().await;
            }
        }
        daemon.stop(std::time::Duration::from_secs(5)).await;
    });
}

#[test]
fn live_and_virtual_time_write_identical_journals() {
    let (live_dir, virtual_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    live_journal(live_dir.path());
    virtual_journal(virtual_dir.path());
    let lines = |dir: &std::path::Path| scenario::entries(dir).iter().map(scenario::line).collect::<Vec<_>>();
    let (live, virtual_time) = (lines(live_dir.path()), lines(virtual_dir.path()));
    for (number, (a, b)) in live.iter().zip(&virtual_time).enumerate() {
        assert_eq!(a, b, "entry {number} differs");
    }
    assert_eq!(live.len(), virtual_time.len());
    assert!(live.iter().any(|line| line.contains("\"act\"")), "something was done");
    println!("{} entries, identical", live.len());
}

#[test]
fn replay_reproduces_every_effect() {
    let dir = tempfile::tempdir().unwrap();
    virtual_journal(dir.path());
    let report = homeostat::replay::replay(dir.path(), 0).unwrap();
    assert!(report.first_difference.is_none(), "{:?}", report.first_difference);
    let effects = scenario::entries(dir.path()).iter().filter(|entry| matches!(entry.body, EntryBody::Effect(_))).count() as u64;
    assert_eq!(report.effects_equal, effects);
    assert!(effects > 5 && report.observations == 40, "{report:?}");
    println!("{} events, {} effects equal", report.events, report.effects_equal);
}

#[test]
fn replay_shows_the_first_difference() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut core = scenario::core(dir.path(), BEGIN);
        let mut script = scenario::script_with_rules();
        script.truncate(20);
        virtual_time::run(&mut core, script, &mut FarEnd::default(), END);
        // An effect that the kernel never asked for.
        let recorder = core.recorder();
        recorder.begin().unwrap();
        recorder.push(END, &Record::Noted(homeostat_model::Note::DuplicateAlerts { count: 99 })).unwrap();
        recorder.commit().unwrap();
    }
    let report = homeostat::replay::replay(dir.path(), 0).unwrap();
    let difference = report.first_difference.expect("the forged effect is found");
    assert!(difference.journal.contains("99") && difference.replay == "nothing", "{difference:?}");
}

/// The journal cut after every entry, once with the last action arrived at the far end and once without: whatever was admitted
/// arrives exactly once, and cooldowns hold.
#[test]
fn a_journal_cut_at_every_entry_never_acts_twice_and_loses_nothing() {
    let whole = tempfile::tempdir().unwrap();
    let reference = virtual_journal(whole.path());
    assert!(reference.arrived.values().all(|count| *count == 1) && reference.arrived.len() >= 3, "{reference:?}");
    let entries = scenario::entries(whole.path());
    let (mut cuts, mut resent) = (0, 0);
    for cut in 1..=entries.len() {
        for last_arrived in [true, false] {
            let acts: Vec<_> = entries[..cut]
                .iter()
                .filter_map(|e| if let EntryBody::Effect(Record::Act { action, .. }) = &e.body { Some(action.id) } else { None })
                .collect();
            let cut_at_act = matches!(&entries[cut - 1].body, EntryBody::Effect(Record::Act { .. }));
            if !last_arrived && !cut_at_act {
                continue;
            }
            let mut far = FarEnd { arrived: acts.iter().map(|id| (*id, 1)).collect(), ..FarEnd::default() };
            if !last_arrived {
                far.arrived.remove(acts.last().unwrap());
                resent += 1;
            }
            let dir = tempfile::tempdir().unwrap();
            let crashed_at = entries[cut - 1].at;
            write(dir.path(), &entries[..cut]);
            let mut core = scenario::core(dir.path(), crashed_at);
            // Senders repeat what was not acknowledged, so the delivery that was being handled comes again.
            let rest = scenario::script()
                .into_iter()
                .filter(|(at, event)| *at > crashed_at || (*at == crashed_at && matches!(event, Event::Alerted(_))));
            let mut script: Vec<(Time, Event)> = vec![(crashed_at, Event::Loaded(Box::new(scenario::rules())))];
            script.extend(rest.map(|(at, event)| (at, redeclared(event))));
            virtual_time::run(&mut core, script, &mut far, END);
            for (id, count) in &far.arrived {
                assert_eq!(*count, 1, "cut after entry {cut} ({last_arrived}): {id} arrived {count} times");
            }
            let mut by_symptom: BTreeMap<(String, String), u32> = BTreeMap::new();
            for state in core.kernel().ledger().actions().filter(|state| state.sent_at.is_some()) {
                assert!(!state.phase.is_running(), "cut after entry {cut}: {} is {}", state.id, state.phase.name());
                assert!(matches!(state.phase, Phase::Done | Phase::NotDone { .. } | Phase::Closed { .. }), "{:?}", state.phase);
                *by_symptom.entry((state.proposal.verb.to_string(), state.proposal.symptom.clone())).or_default() +=
                    u32::from(state.phase == Phase::Done);
            }
            for (symptom, count) in by_symptom {
                assert!(count <= 1, "cut after entry {cut}: the cooldown of {symptom:?} did not hold: {count} times");
            }
            assert_eq!(core.kernel().ledger().illegal_moves(), 0, "cut after entry {cut}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts, {resent} of them between intent and sending");
    assert!(resent >= 3);
}

/// After a restart a sensor declares its series again, in a new epoch.
fn redeclared(event: Event) -> Event {
    match event {
        Event::Observed(mut observation) => {
            let first =
                scenario::script().into_iter().find_map(|(_, event)| if let Event::Observed(o) = event { Some(o) } else { None }).unwrap();
            observation.epoch = 2 + (observation.at.millis() % 1_000_000_000) as u32;
            observation.declared_before = 0;
            observation.declared = first.declared;
            Event::Observed(observation)
        }
        other => other,
    }
}

/// Writes the first entries of a journal as a new one.
fn write(dir: &std::path::Path, entries: &[homeostat_model::Entry]) {
    let (mut recorder, _) = Recorder::open(dir, JournalSettings::default(), BEGIN).unwrap();
    recorder.begin().unwrap();
    for entry in entries {
        recorder.push(entry.at, &entry.body).unwrap();
    }
    recorder.commit().unwrap();
}

/// An entry that this build cannot read may have been a person's stop: the engine starts hands-off and says why.
#[test]
fn an_unreadable_entry_means_hands_off() {
    let dir = tempfile::tempdir().unwrap();
    virtual_journal(dir.path());
    let database = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    let broken = database.execute("UPDATE entries SET body = 'not json' WHERE seq = (SELECT MAX(seq) FROM entries)", []).unwrap();
    assert_eq!(broken, 1);
    drop(database);
    let core = scenario::core(dir.path(), END);
    let hands_off = core.kernel().ledger().hands_off().expect("hands-off");
    assert!(hands_off.reason.contains("cannot be read"), "{hands_off:?}");
}

/// While the journal cannot be written nothing is taken in but reads, and nothing leaves; afterwards hands-off stays.
#[test]
fn a_journal_that_cannot_be_written_means_hands_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = scenario::core(dir.path(), BEGIN);
    let mut script = scenario::script_with_rules().into_iter();
    for event in script.by_ref().take(3) {
        assert!(core.step(vec![event]).refused.is_none());
    }
    // Somebody else holds the table.
    let thief = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    thief.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let at = BEGIN + homeostat_model::Span::from_secs(21);
    let pause = Event::Ordered(homeostat_model::Ordered { by: "test".into(), command: homeostat_model::Command::Resume });
    let stepped = core.step(vec![(at, pause.clone())]);
    assert!(stepped.refused.is_some(), "the order is refused, not lost silently");
    assert!(stepped.effects.iter().all(|effect| matches!(effect, homeostat_kernel::Effect::Announce(_))) && !stepped.effects.is_empty());
    thief.execute_batch("ROLLBACK").unwrap();
    let stepped = core.step(vec![(at, Event::Tick)]);
    assert!(stepped.refused.is_none(), "{:?}", stepped.refused);
    assert!(core.kernel().ledger().hands_off().is_some(), "hands-off stays until a person resumes");
    assert!(core.step(vec![(at, pause)]).refused.is_none());
    assert!(core.kernel().ledger().hands_off().is_none());
}
