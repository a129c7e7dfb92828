//! Records of the sample log: a tick, a sensor's introduction, a sensor's read. Encoder and decoder stand beside each other because
//! each line of one answers a line of the other.
//!
//! Both keep state that begins anew with every segment: the last number and time, the sensors introduced so far, their dictionaries
//! and last rows. Deliberately absent: files and checksums (`segment`). An editor breaks the format by changing the order of
//! fields, or by letting the encoder update state that the decoder cannot see. See `docs/journal-format.md`.

use super::column::Column;
use super::dictionary::{DictionaryReader, DictionaryWriter};
use super::wire::{Broken, Cursor, put_i64, put_text, put_u64};
use homeostat_model::{Event, Fault, FaultCode, Health, Observation, Purpose, Sample, SensorId, Span, StampedSample, Time};
use std::collections::BTreeMap;

const TAG_TICK: u8 = 0;
const TAG_SENSOR: u8 = 1;
const TAG_READ: u8 = 2;

/// Bits of a read's flags; a field stands in the record only where its bit is set.
mod flag {
    pub(super) const AT: u64 = 1;
    pub(super) const INTERVAL: u64 = 1 << 1;
    pub(super) const EPOCH: u64 = 1 << 2;
    pub(super) const BACKFILL: u64 = 1 << 3;
    pub(super) const DEGRADED: u64 = 1 << 4;
    pub(super) const BLIND: u64 = 1 << 5;
    pub(super) const DECLARED_BEFORE: u64 = 1 << 6;
    pub(super) const DECLARED: u64 = 1 << 7;
    pub(super) const SAMPLES: u64 = 1 << 8;
    pub(super) const STAMPED: u64 = 1 << 9;
    pub(super) const VANISHED: u64 = 1 << 10;
    pub(super) const FAULTS: u64 = 1 << 11;
    pub(super) const KNOWN: u64 = (1 << 12) - 1;
}

/// What the encoder knows of one sensor; the dictionary outlives the segment, the rest does not.
struct Writer {
    dictionary: DictionaryWriter,
    epoch: u32,
    interval: Span,
    /// Its number in the open segment, if it was introduced there.
    index: Option<u64>,
    row: Column,
    stamped: Column,
}

/// Turns sampled events into record bodies.
#[derive(Default)]
pub(super) struct Encoder {
    seq: u64,
    at: i64,
    sensors: BTreeMap<SensorId, Writer>,
    introduced: u64,
}

impl Encoder {
    /// Begins a segment: everything but the dictionaries is forgotten.
    pub(super) fn restart(&mut self, first_seq: u64) {
        self.seq = first_seq;
        self.at = 0;
        self.introduced = 0;
        for writer in self.sensors.values_mut() {
            writer.index = None;
            writer.row.clear();
            writer.stamped.clear();
        }
    }

    pub(super) fn tick(&mut self, out: &mut Vec<u8>, seq: u64, at: Time) {
        out.push(TAG_TICK);
        self.stamp(out, seq, at);
    }

    /// Writes the sensor's introduction, where this segment lacks it. To be called before [`Encoder::read`] of the same sensor.
    /// Returns whether there was something to write.
    pub(super) fn introduce(&mut self, out: &mut Vec<u8>, seen: &Observation) -> bool {
        if !self.sensors.contains_key(&seen.sensor) {
            let writer = Writer {
                dictionary: DictionaryWriter::default(),
                epoch: seen.epoch,
                interval: seen.interval,
                index: None,
                row: Column::default(),
                stamped: Column::default(),
            };
            self.sensors.insert(seen.sensor.clone(), writer);
        }
        let Some(writer) = self.sensors.get_mut(&seen.sensor) else { return false };
        if writer.index.is_some() {
            return false;
        }
        if writer.epoch != seen.epoch {
            writer.epoch = seen.epoch;
            writer.dictionary.restart(0);
        }
        writer.interval = seen.interval;
        writer.index = Some(self.introduced);
        self.introduced += 1;
        out.push(TAG_SENSOR);
        put_text(out, seen.sensor.as_str());
        put_i64(out, writer.interval.millis());
        put_u64(out, u64::from(writer.epoch));
        put_u64(out, u64::from(writer.dictionary.base));
        put_u64(out, u64::from(writer.dictionary.count));
        out.extend_from_slice(&writer.dictionary.encoded);
        true
    }

    pub(super) fn read(&mut self, out: &mut Vec<u8>, seq: u64, at: Time, seen: &Observation) {
        out.push(TAG_READ);
        self.stamp(out, seq, at);
        let Some(writer) = self.sensors.get_mut(&seen.sensor) else { return };
        put_u64(out, writer.index.unwrap_or_default());
        if writer.epoch != seen.epoch {
            // Before the flags are built: a new epoch's dictionary begins empty on both sides.
            writer.dictionary.restart(0);
        }
        let flags = writer.flags(at, seen);
        put_u64(out, flags);
        writer.put_head(out, flags, at, seen);
        writer.put_values(out, flags, seen);
        if flags & flag::VANISHED != 0 {
            put_u64(out, seen.vanished.len() as u64);
            let mut before = 0;
            for number in &seen.vanished {
                put_i64(out, i64::from(*number) - before);
                before = i64::from(*number);
            }
        }
        if flags & flag::FAULTS != 0 {
            put_u64(out, seen.faults.len() as u64);
            for fault in &seen.faults {
                out.push(code_number(fault.code));
                put_text(out, &fault.while_doing);
                put_text(out, &fault.detail);
            }
            put_u64(out, seen.faults_dropped);
        }
    }

    fn stamp(&mut self, out: &mut Vec<u8>, seq: u64, at: Time) {
        put_u64(out, seq.wrapping_sub(self.seq));
        put_i64(out, at.millis().wrapping_sub(self.at));
        self.seq = seq;
        self.at = at.millis();
    }
}

impl Writer {
    fn flags(&self, at: Time, seen: &Observation) -> u64 {
        let mut flags = 0;
        let mut set = |bit: u64, on: bool| flags |= if on { bit } else { 0 };
        set(flag::AT, seen.at != at);
        set(flag::INTERVAL, seen.interval != self.interval);
        set(flag::EPOCH, seen.epoch != self.epoch);
        set(flag::BACKFILL, seen.purpose == Purpose::Backfill);
        set(flag::DEGRADED, seen.health == Health::Degraded);
        set(flag::BLIND, seen.health == Health::Blind);
        set(flag::DECLARED_BEFORE, u64::from(seen.declared_before) != self.dictionary.next());
        set(flag::DECLARED, !seen.declared.is_empty());
        set(flag::SAMPLES, !seen.samples.is_empty());
        set(flag::STAMPED, !seen.stamped.is_empty());
        set(flag::VANISHED, !seen.vanished.is_empty());
        set(flag::FAULTS, !seen.faults.is_empty() || seen.faults_dropped != 0);
        flags
    }

    fn put_head(&mut self, out: &mut Vec<u8>, flags: u64, at: Time, seen: &Observation) {
        if flags & flag::AT != 0 {
            put_i64(out, seen.at.millis().wrapping_sub(at.millis()));
        }
        if flags & flag::INTERVAL != 0 {
            put_i64(out, seen.interval.millis());
            self.interval = seen.interval;
        }
        if flags & flag::EPOCH != 0 {
            put_u64(out, u64::from(seen.epoch));
            self.epoch = seen.epoch;
        }
        if flags & flag::DECLARED_BEFORE != 0 {
            put_u64(out, u64::from(seen.declared_before));
        }
        if flags & flag::DECLARED != 0 {
            if flags & flag::DECLARED_BEFORE != 0 {
                self.dictionary.restart(seen.declared_before);
            }
            put_u64(out, seen.declared.len() as u64);
            let start = self.dictionary.declare(&seen.declared);
            out.extend_from_slice(&self.dictionary.encoded[start..]);
        }
    }

    /// A backfill's rows look like nothing before them and nothing after: they are written on their own and not remembered.
    fn put_values(&mut self, out: &mut Vec<u8>, flags: u64, seen: &Observation) {
        let backfill = flags & flag::BACKFILL != 0;
        if flags & flag::SAMPLES != 0 {
            let mut alone = Column::default();
            let row = if backfill { &mut alone } else { &mut self.row };
            row.encode(out, seen.samples.iter().map(|sample| (sample.series, sample.value.to_bits())));
        }
        if flags & flag::STAMPED != 0 {
            let mut alone = Column::default();
            let row = if backfill { &mut alone } else { &mut self.stamped };
            row.encode(out, seen.stamped.iter().map(|sample| (sample.series, sample.value.to_bits())));
            put_times(out, seen);
        }
    }
}

/// The stamps of `stamped`: distances from the one before (the first: from the read), as `(distance, how often)`.
fn put_times(out: &mut Vec<u8>, seen: &Observation) {
    let mut before = seen.at.millis();
    let mut run: Option<(i64, u64)> = None;
    for sample in &seen.stamped {
        let distance = sample.at.millis().wrapping_sub(before);
        before = sample.at.millis();
        match &mut run {
            Some((known, len)) if *known == distance => *len += 1,
            _ => {
                if let Some((known, len)) = run.replace((distance, 1)) {
                    put_i64(out, known);
                    put_u64(out, len);
                }
            }
        }
    }
    if let Some((known, len)) = run {
        put_i64(out, known);
        put_u64(out, len);
    }
}

fn code_number(code: FaultCode) -> u8 {
    match code {
        FaultCode::Unreachable => 0,
        FaultCode::TimedOut => 1,
        FaultCode::Denied => 2,
        FaultCode::Malformed => 3,
        FaultCode::Conflict => 4,
        FaultCode::Limit => 5,
        FaultCode::NotFound => 6,
        FaultCode::NeverStarted => 7,
        FaultCode::Failed => 8,
        FaultCode::Internal => 9,
        FaultCode::HalfDone => 10,
    }
}

fn code_of(number: u8) -> Result<FaultCode, Broken> {
    Ok(match number {
        0 => FaultCode::Unreachable,
        1 => FaultCode::TimedOut,
        2 => FaultCode::Denied,
        3 => FaultCode::Malformed,
        4 => FaultCode::Conflict,
        5 => FaultCode::Limit,
        6 => FaultCode::NotFound,
        7 => FaultCode::NeverStarted,
        8 => FaultCode::Failed,
        9 => FaultCode::Internal,
        10 => FaultCode::HalfDone,
        _ => return Err(Broken("a fault's code is unknown")),
    })
}

/// What the decoder knows of one sensor of this segment.
pub(super) struct ReadSensor {
    pub(super) id: SensorId,
    pub(super) dictionary: DictionaryReader,
    epoch: u32,
    interval: Span,
    row: Column,
    stamped: Column,
}

/// A decoded record.
pub(super) enum Decoded {
    /// A sensor's introduction: no entry of its own.
    Introduction,
    /// An entry, and for a read the sensor's number in this segment.
    Entry { seq: u64, at: Time, event: Event, sensor: Option<usize> },
}

/// Turns record bodies back into events. One per segment.
pub(super) struct Decoder {
    seq: u64,
    at: i64,
    pub(super) sensors: Vec<ReadSensor>,
}

impl Decoder {
    pub(super) fn new(first_seq: u64) -> Decoder {
        Decoder { seq: first_seq, at: 0, sensors: Vec::new() }
    }

    /// Reads the entry's number and time only, for the index; `None` for an introduction.
    pub(super) fn stamp_of(&mut self, body: &[u8]) -> Result<Option<(u64, Time)>, Broken> {
        let mut from = Cursor::new(body);
        match from.byte()? {
            TAG_SENSOR => Ok(None),
            TAG_TICK | TAG_READ => self.take_stamp(&mut from).map(Some),
            _ => Err(Broken("a record's tag is unknown")),
        }
    }

    pub(super) fn decode(&mut self, body: &[u8]) -> Result<Decoded, Broken> {
        let mut from = Cursor::new(body);
        let decoded = match from.byte()? {
            TAG_TICK => {
                let (seq, at) = self.take_stamp(&mut from)?;
                Decoded::Entry { seq, at, event: Event::Tick, sensor: None }
            }
            TAG_SENSOR => {
                let sensor = take_introduction(&mut from)?;
                self.sensors.push(sensor);
                Decoded::Introduction
            }
            TAG_READ => {
                let (seq, at) = self.take_stamp(&mut from)?;
                let index = from.u64()? as usize;
                let sensor = self.sensors.get_mut(index).ok_or(Broken("a read comes before its sensor's introduction"))?;
                let seen = sensor.take_read(at, &mut from)?;
                Decoded::Entry { seq, at, event: Event::Observed(Box::new(seen)), sensor: Some(index) }
            }
            _ => return Err(Broken("a record's tag is unknown")),
        };
        if from.left() > 0 { Err(Broken("a record is longer than its content")) } else { Ok(decoded) }
    }

    fn take_stamp(&mut self, from: &mut Cursor<'_>) -> Result<(u64, Time), Broken> {
        self.seq = self.seq.wrapping_add(from.u64()?);
        self.at = self.at.wrapping_add(from.i64()?);
        Ok((self.seq, Time(self.at)))
    }
}

fn take_introduction(from: &mut Cursor<'_>) -> Result<ReadSensor, Broken> {
    let id = SensorId::from(from.text()?);
    let interval = Span::from_millis(from.i64()?);
    let epoch = from.u32()?;
    let mut dictionary = DictionaryReader::default();
    dictionary.restart(from.u32()?);
    let count = from.count()?;
    dictionary.declare(count, from)?;
    Ok(ReadSensor { id, dictionary, epoch, interval, row: Column::default(), stamped: Column::default() })
}

impl ReadSensor {
    fn take_read(&mut self, at: Time, from: &mut Cursor<'_>) -> Result<Observation, Broken> {
        let flags = from.u64()?;
        if flags & !flag::KNOWN != 0 {
            return Err(Broken("a read has flags of a newer version"));
        }
        let mut seen = Observation::new(self.id.clone(), at, self.interval);
        self.take_head(flags, at, &mut seen, from)?;
        self.take_values(flags, &mut seen, from)?;
        if flags & flag::VANISHED != 0 {
            let mut number = 0i64;
            for _ in 0..from.count()? {
                number = number.wrapping_add(from.i64()?);
                seen.vanished.push(u32::try_from(number).map_err(|_| Broken("a series number is out of range"))?);
            }
        }
        if flags & flag::FAULTS != 0 {
            for _ in 0..from.count()? {
                let code = code_of(from.byte()?)?;
                let (while_doing, detail) = (from.text()?.to_owned(), from.text()?.to_owned());
                seen.faults.push(Fault { code, while_doing, detail });
            }
            seen.faults_dropped = from.u64()?;
        }
        Ok(seen)
    }

    fn take_head(&mut self, flags: u64, at: Time, seen: &mut Observation, from: &mut Cursor<'_>) -> Result<(), Broken> {
        if flags & flag::AT != 0 {
            seen.at = Time(at.millis().wrapping_add(from.i64()?));
        }
        if flags & flag::INTERVAL != 0 {
            self.interval = Span::from_millis(from.i64()?);
        }
        if flags & flag::EPOCH != 0 {
            self.epoch = from.u32()?;
            self.dictionary.restart(0);
        }
        seen.interval = self.interval;
        seen.epoch = self.epoch;
        seen.purpose = if flags & flag::BACKFILL != 0 { Purpose::Backfill } else { Purpose::Fresh };
        seen.health = match (flags & flag::DEGRADED != 0, flags & flag::BLIND != 0) {
            (false, false) => Health::Ok,
            (true, false) => Health::Degraded,
            _ => Health::Blind,
        };
        let expected = u32::try_from(self.dictionary.next()).unwrap_or(u32::MAX);
        seen.declared_before = if flags & flag::DECLARED_BEFORE != 0 { from.u32()? } else { expected };
        if flags & flag::DECLARED != 0 {
            if flags & flag::DECLARED_BEFORE != 0 {
                self.dictionary.restart(seen.declared_before);
            }
            let count = from.count()?;
            let known = self.dictionary.declared.len();
            self.dictionary.declare(count, from)?;
            seen.declared = self.dictionary.declared[known..].to_vec();
        }
        Ok(())
    }

    fn take_values(&mut self, flags: u64, seen: &mut Observation, from: &mut Cursor<'_>) -> Result<(), Broken> {
        let backfill = flags & flag::BACKFILL != 0;
        let mut alone = Column::default();
        if flags & flag::SAMPLES != 0 {
            let row = if backfill { &mut alone } else { &mut self.row };
            row.decode(from)?;
            seen.samples.extend(row.items().map(|(series, bits)| Sample { series, value: f64::from_bits(bits) }));
        }
        if flags & flag::STAMPED != 0 {
            alone.clear();
            let row = if backfill { &mut alone } else { &mut self.stamped };
            row.decode(from)?;
            let mut at = seen.at.millis();
            let (mut distance, mut left) = (0i64, 0u64);
            for (series, bits) in row.items() {
                if left == 0 {
                    (distance, left) = (from.i64()?, from.u64()?);
                    if left == 0 {
                        return Err(Broken("a run of stamps is empty"));
                    }
                }
                left -= 1;
                at = at.wrapping_add(distance);
                seen.stamped.push(StampedSample { series, at: Time(at), value: f64::from_bits(bits) });
            }
        }
        Ok(())
    }
}
