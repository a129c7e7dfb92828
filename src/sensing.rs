//! Runs one sensor: reads on its rhythm, within its timeout, and hands the read in.
//!
//! A read that takes too long or panics becomes a blind read; after a panic, or when the kernel was built anew, the sensor is made
//! anew and its series get a new epoch. Epochs shown to the kernel grow over restarts too, so that numbers of an earlier life are
//! never mistaken for today's. The rhythm is the daemon's time, a read's timeout its patience ([`crate::clock::Clock`]). Deliberately
//! absent: any look at values.

use crate::dispatch::Caught;
use crate::live::{Handle, MakeSensor, SensorStatus, Shared, offset_of};
use homeostat_model::{Fault, FaultCode, Health, Observation, Sensor, SensorSpec, Span, Time};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// The wait before a sensor that cannot be made is tried again.
const MAKE_AGAIN: Duration = Duration::from_secs(30);

/// The shortest rhythm.
const INTERVAL_MIN: Span = Span::from_millis(100);

/// The wait before a sensor begins anew after a panic or a rebuild of the kernel.
const LIVE_AGAIN: Duration = Duration::from_secs(1);

/// Which epoch the kernel is shown.
struct Epochs {
    shown: u32,
    last: Option<(u64, u32)>,
}

impl Epochs {
    /// `life` grows when the sensor is made anew.
    fn show(&mut self, life: u64, epoch: u32) -> u32 {
        if self.last != Some((life, epoch)) {
            self.shown = self.shown.wrapping_add(1);
            self.last = Some((life, epoch));
        }
        self.shown
    }
}

/// Runs a sensor until the daemon stops.
pub(crate) async fn run(make: MakeSensor, handle: Handle, shared: Arc<Shared>, generation: u64) {
    let mut life = 0;
    // Sixteen bits of restarts, sixteen bits of epochs within one life of the daemon.
    let mut epochs = Epochs { shown: ((generation & 0xffff) as u32) << 16, last: None };
    loop {
        life += 1;
        match make() {
            Ok(sensor) => {
                if live(sensor, life, &mut epochs, &handle, &shared).await.is_err() {
                    return;
                }
                // A sensor that always panics must not spin.
                tokio::time::sleep(LIVE_AGAIN).await;
            }
            Err(fault) => {
                tracing::error!(fault = %fault, "A sensor cannot be made.");
                tokio::time::sleep(MAKE_AGAIN).await;
            }
        }
    }
}

/// One life of a sensor; `Err`: the daemon stops.
async fn live(mut sensor: Box<dyn Sensor>, life: u64, epochs: &mut Epochs, handle: &Handle, shared: &Shared) -> Result<(), ()> {
    let spec = sensor.spec();
    let index = register(shared, &spec);
    let rebuilds = shared.rebuilds.load(Ordering::SeqCst);
    let (back, mut buffers) = mpsc::channel(2);
    // The first read comes at once; later ones on the sensor's own offset, so that sensors spread out.
    let every = handle.clock().real(spec.interval.max(INTERVAL_MIN));
    let mut rhythm = tokio::time::interval(every);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut first = true;
    // Epoch and number of declared series as the kernel knows them.
    let mut stands = (0, 0);
    let mut last_slot: Option<Instant> = None;
    loop {
        let slot = rhythm.tick().await.into_std();
        if let Some(last) = last_slot {
            let skipped = (slot.duration_since(last).as_secs_f64() / every.as_secs_f64()).round() as u64;
            count_missed(shared, index, skipped.saturating_sub(1));
        }
        last_slot = Some(slot);
        if first {
            first = false;
            let now = handle.now();
            let period = spec.interval.millis().max(1);
            let into = (now.millis() - offset_of(spec.id.as_str(), spec.interval).millis()).rem_euclid(period);
            rhythm.reset_after(handle.clock().real(Span(period - into)));
            last_slot = None;
        }
        let mut observation = buffers.try_recv().unwrap_or_else(|_| Box::new(Observation::new(spec.id.clone(), Time(0), spec.interval)));
        let began = Instant::now();
        let within = handle.clock().patience(spec.timeout);
        let read = read(sensor.as_mut(), &spec, handle.now(), within, &mut observation).await;
        if read == Read::Whole {
            stands = (observation.epoch, observation.declared_before + observation.declared.len() as u32);
        } else {
            // What the sensor began to say was not handed over: its dictionary stands where it stood.
            (observation.epoch, observation.declared_before) = stands;
        }
        observation.epoch = epochs.show(life, observation.epoch);
        show(shared, index, &observation, began.elapsed());
        if handle.observe(observation, &back).await.is_err() {
            return Err(());
        }
        if read == Read::Panicked || shared.rebuilds.load(Ordering::SeqCst) != rebuilds {
            return Ok(());
        }
    }
}

/// How a read ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// By itself; it may have seen nothing.
    Whole,
    /// By its timeout.
    TimedOut,
    /// By a panic: the sensor is not to be trusted any more.
    Panicked,
}

/// Reads once, at most `within` long. A read that does not end by itself leaves a blind observation with a fault, and nothing else.
pub(crate) async fn read(sensor: &mut dyn Sensor, spec: &SensorSpec, now: Time, within: Duration, observation: &mut Observation) -> Read {
    observation.reset(now);
    observation.interval = spec.interval;
    let result = tokio::time::timeout(within, Caught(sensor.read(now, observation))).await;
    let (fault, ended) = match result {
        Ok(Ok(())) => return Read::Whole,
        Err(_) => (
            Fault::new(FaultCode::TimedOut, format!("read {}", spec.source), format!("no answer within {} s", within.as_secs_f64())),
            Read::TimedOut,
        ),
        Ok(Err(panic)) => {
            (Fault::new(FaultCode::Internal, format!("read {}", spec.source), format!("the sensor panicked: {panic}")), Read::Panicked)
        }
    };
    // What is there is half a read: nothing of it is used.
    observation.reset(now);
    observation.fault(fault);
    observation.health = Health::Blind;
    ended
}

fn register(shared: &Shared, spec: &SensorSpec) -> usize {
    let mut status = shared.status();
    let name = spec.id.as_str();
    if let Some(index) = status.sensors.iter().position(|sensor| sensor.name == name) {
        return index;
    }
    status.sensors.push(SensorStatus {
        name: name.into(),
        kind: spec.kind.clone(),
        source: spec.source.clone(),
        health: Health::Blind,
        last_read_at: None,
        last_ok_at: None,
        read_duration_ms: 0.0,
        samples_last: 0,
        faults: Vec::new(),
        reads: 0,
        reads_failed: 0,
        missed: 0,
    });
    status.sensors.len() - 1
}

fn count_missed(shared: &Shared, index: usize, missed: u64) {
    if missed > 0
        && let Some(sensor) = shared.status().sensors.get_mut(index)
    {
        sensor.missed += missed;
    }
}

fn show(shared: &Shared, index: usize, observation: &Observation, took: Duration) {
    let mut status = shared.status();
    let Some(sensor) = status.sensors.get_mut(index) else { return };
    sensor.health = observation.health;
    sensor.last_read_at = Some(observation.at);
    if observation.health == Health::Ok {
        sensor.last_ok_at = Some(observation.at);
    }
    sensor.read_duration_ms = took.as_secs_f64() * 1000.0;
    sensor.samples_last = observation.samples.len() + observation.stamped.len();
    if sensor.faults != observation.faults {
        for fault in &observation.faults {
            tracing::warn!(sensor = sensor.name, fault = %fault, "A sensor reports a fault.");
        }
        sensor.faults.clone_from(&observation.faults);
    }
    sensor.reads += 1;
    sensor.reads_failed += u64::from(observation.health == Health::Blind);
}
