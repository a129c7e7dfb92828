//! The sample log against what was written into it: round trips, cuts at every byte, full disks, retention.

use super::directory::real_files;
use super::*;
use crate::journal::JournalErrorKind;
use homeostat_model::{
    Event, Fault, FaultCode, Health, Observation, Purpose, Sample, SensorId, SeriesDecl, SeriesKey, Span, StampedSample, Time,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn decl(number: u32) -> SeriesDecl {
    let cpu = (number % 4).to_string();
    let node = format!("node{}", number / 4);
    SeriesDecl {
        key: SeriesKey::new("node_cpu_seconds_total", [("cpu", cpu.as_str()), ("instance", node.as_str()), ("job", "node")]),
        cohort: number % 3,
    }
}

/// A read of `series` values; the first one declares them.
fn read(at: i64, series: u32, first: bool, value: impl Fn(u32) -> f64) -> Event {
    let mut seen = Observation::new(SensorId::from("host"), Time(at), Span::from_secs(5));
    seen.declared_before = if first { 0 } else { series };
    if first {
        seen.declared = (0..series).map(decl).collect();
    }
    seen.samples = (0..series).map(|series| Sample { series, value: value(series) }).collect();
    Event::Observed(Box::new(seen))
}

fn write_all(log: &mut SampleLog, entries: &[(u64, i64, Event)]) {
    for (seq, at, event) in entries {
        log.begin(Time(*at)).unwrap();
        log.write(*seq, Time(*at), event).unwrap();
        log.flush().unwrap();
        log.keep();
    }
}

fn read_all(dir: &Path) -> Vec<SampleEntry> {
    SampleReader::from_seq(dir, 0).unwrap().map(|entry| entry.unwrap()).collect()
}

/// Equality that tells NaNs apart by their bits.
fn same(left: &Event, right: &Event) -> bool {
    fn plain(event: &Event) -> (Event, Vec<u64>) {
        let mut event = event.clone();
        let mut bits = Vec::new();
        if let Event::Observed(seen) = &mut event {
            let samples = seen.samples.iter_mut().map(|sample| &mut sample.value);
            let stamped = seen.stamped.iter_mut().map(|sample| &mut sample.value);
            bits.extend(samples.chain(stamped).map(|value| std::mem::take(value).to_bits()));
        }
        (event, bits)
    }
    plain(left) == plain(right)
}

fn small() -> SampleSettings {
    SampleSettings { segment_bytes_max: 4000, ..SampleSettings::default() }
}

#[test]
fn reads_come_back_exactly_over_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for round in 0..3u64 {
        let (mut log, opened) = SampleLog::open(dir.path(), small(), 0).unwrap();
        assert_eq!(opened.last_seq, (round > 0).then_some(round * 100));
        assert!(opened.notes.is_empty(), "{:?}", opened.notes);
        let entries: Vec<_> = (1..=100)
            .map(|i| {
                let seq = round * 100 + i;
                let at = seq as i64 * 1000;
                let event =
                    if i % 10 == 0 { Event::Tick } else { read(at, 40, i == 1, |n| if n % 3 == 0 { (seq * 7) as f64 } else { 1.5 }) };
                (seq, at, event)
            })
            .collect();
        write_all(&mut log, &entries);
        written.extend(entries);
        assert!(log.segments().len() > 2, "segments end at their size");
        let done = log.maintain(Time(0));
        assert!(!done.sealed.is_empty() && done.notes.is_empty());
    }
    let back = read_all(dir.path());
    assert_eq!(back.len(), written.len());
    for (entry, (seq, at, event)) in back.iter().zip(&written) {
        assert!(entry.seq == *seq && entry.at == Time(*at) && same(&entry.event, event), "{seq}");
    }
    let from: Vec<u64> = SampleReader::from_seq(dir.path(), 137).unwrap().map(|entry| entry.unwrap().seq).collect();
    assert_eq!(from, (137..=300).collect::<Vec<_>>());
    let late: Vec<u64> = SampleReader::from_time(dir.path(), Time(250_000)).unwrap().map(|entry| entry.unwrap().seq).collect();
    assert_eq!(late, (250..=300).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_begins_anywhere_gets_every_dictionary_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), small(), 0).unwrap();
    let entries: Vec<_> = (1..=100).map(|i| (i, i as i64, read(i as i64, 30, i == 1, |n| (i * u64::from(n)) as f64))).collect();
    write_all(&mut log, &entries);
    log.maintain(Time(0));
    let mut reader = SampleReader::from_time(dir.path(), Time(90)).unwrap().self_contained();
    let Event::Observed(first) = reader.next().unwrap().unwrap().event else { panic!("a read") };
    assert_eq!((first.declared_before, first.declared), (0, (0..30).map(decl).collect::<Vec<_>>()));
    let Event::Observed(second) = reader.next().unwrap().unwrap().event else { panic!("a read") };
    assert_eq!((second.declared_before, second.declared.len()), (30, 0));
}

#[test]
fn every_cut_keeps_every_record_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
    let mut ends = vec![];
    let path = super::segment::open_path(dir.path(), 1);
    for i in 1..=8u64 {
        let event = if i % 4 == 0 { Event::Tick } else { read(i as i64, 5, i == 1, |n| i as f64 / f64::from(n)) };
        write_all(&mut log, &[(i, i as i64, event)]);
        ends.push(std::fs::metadata(&path).unwrap().len() as usize);
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let expected = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read_all(dir.path()).len(), expected, "a reader beside the writer, cut at {cut}");
        let (log, opened) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
        assert_eq!(opened.last_seq, (expected > 0).then_some(expected as u64), "cut at {cut}");
        // A cut between two records, or before anything was written, is not a tear.
        let clean = cut == 0 || ends.contains(&cut) || cut == super::segment::HEADER_BYTES;
        assert_eq!(opened.notes.is_empty(), clean, "cut at {cut}: {:?}", opened.notes);
        drop(log);
        assert_eq!(read_all(dir.path()).len(), expected, "after repair, cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_costs_what_is_behind_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), small(), 0).unwrap();
    let entries: Vec<_> = (1..=60).map(|i| (i, i as i64, read(i as i64, 30, i == 1, |n| (i * u64::from(n)) as f64))).collect();
    write_all(&mut log, &entries);
    let last_of_first = log.segments()[0].last_seq;
    let path = super::segment::open_path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 3;
    bytes[at] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = SampleReader::from_seq(dir.path(), 0).unwrap().partition(Result::is_ok);
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].as_ref().unwrap_err().kind, JournalErrorKind::Unreadable);
    assert_eq!(good.len(), 59, "all but entry {last_of_first}");
}

#[test]
fn an_uncommitted_batch_is_cut_off_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
    // 3 and 6 belong to the table; its commit of 6 never came.
    write_all(&mut log, &[(1, 1, Event::Tick), (2, 2, Event::Tick), (4, 4, Event::Tick), (5, 5, Event::Tick), (7, 7, Event::Tick)]);
    drop(log);
    let (_, opened) = SampleLog::open(dir.path(), SampleSettings::default(), 3).unwrap();
    assert_eq!(opened.last_seq, Some(5));
    assert!(opened.notes[0].contains("never committed"), "{:?}", opened.notes);
    assert_eq!(read_all(dir.path()).iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

/// A file that takes `left` bytes, all files together, and then is full in the middle of a write.
struct Narrow {
    file: Box<dyn AppendFile>,
    left: Arc<AtomicU64>,
}

impl AppendFile for Narrow {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let left = self.left.load(Ordering::Relaxed) as usize;
        let fits = bytes.len().min(left);
        self.file.append(&bytes[..fits])?;
        self.left.store((left - fits) as u64, Ordering::Relaxed);
        if fits < bytes.len() { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync()
    }
    fn truncate(&mut self, len: u64) -> std::io::Result<()> {
        self.file.truncate(len)
    }
}

pub(crate) fn narrow_files(left: Arc<AtomicU64>) -> Opener {
    let real = real_files();
    Box::new(move |path| Ok(Box::new(Narrow { file: real(path)?, left: left.clone() }) as Box<dyn AppendFile>))
}

#[test]
fn a_full_disk_leaves_whole_records_only_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicU64::new(3000));
    let (mut log, _) = SampleLog::open_with(dir.path(), SampleSettings::default(), 0, narrow_files(left.clone())).unwrap();
    let mut kept = 0;
    let mut next = 1;
    loop {
        log.begin(Time(next)).unwrap();
        log.write(next as u64, Time(next), &read(next, 20, next == 1, |n| (next * i64::from(n)) as f64)).unwrap();
        match log.flush() {
            Ok(()) => log.keep(),
            Err(error) => {
                assert_eq!(error.kind, JournalErrorKind::Full);
                assert!(error.to_string().contains(".log"), "{error}");
                log.rollback().unwrap();
                break;
            }
        }
        kept = next;
        next += 1;
    }
    assert!(kept > 3);
    assert_eq!(read_all(dir.path()).len(), kept as usize);
    left.store(1 << 20, Ordering::Relaxed);
    write_all(&mut log, &[(next as u64, next, read(next, 20, false, f64::from))]);
    assert_eq!(read_all(dir.path()).len(), kept as usize + 1);
    // Sealing into a full disk changes nothing either.
    left.store(10, Ordering::Relaxed);
    let done = log.maintain(Time(0));
    assert!(done.sealed.is_empty() && done.notes[0].contains("unsealed"), "{:?}", done.notes);
    assert_eq!(read_all(dir.path()).len(), kept as usize + 1);
}

#[test]
fn retention_takes_the_oldest_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SampleSettings { retention: Span::from_millis(50), ..small() };
    let (mut log, _) = SampleLog::open(dir.path(), settings, 0).unwrap();
    let entries: Vec<_> = (1..=100).map(|i| (i, i as i64, read(i as i64, 30, i == 1, |n| (i * u64::from(n)) as f64))).collect();
    write_all(&mut log, &entries);
    let done = log.maintain(Time(100));
    assert!(!done.deleted.is_empty() && done.deleted.iter().all(|facts| facts.last_at < Time(50)), "{:?}", done.deleted);
    let first = read_all(dir.path())[0].seq;
    assert_eq!(first, done.deleted.last().unwrap().last_seq + 1);

    let (mut log, _) = SampleLog::open(dir.path(), SampleSettings { bytes_max: 1500, ..SampleSettings::default() }, 0).unwrap();
    let done = log.maintain(Time(100));
    assert!(done.bytes <= 1500 && !done.deleted.is_empty());
    assert!(read_all(dir.path())[0].seq > first);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
    write_all(&mut log, &[(1, 1, Event::Tick)]);
    drop(log);
    let path = super::segment::open_path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] = 9;
    std::fs::write(&path, bytes).unwrap();
    let error = SampleLog::open(dir.path(), SampleSettings::default(), 0).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::TooNew);
    assert!(error.to_string().contains("format 9"), "{error}");
}

#[test]
fn a_crash_between_sealing_and_removing_is_cleaned_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
    write_all(&mut log, &[(1, 1, Event::Tick), (2, 2, Event::Tick)]);
    log.end_segment().unwrap();
    let path = super::segment::open_path(dir.path(), 1);
    let raw = std::fs::read(&path).unwrap();
    assert_eq!(log.maintain(Time(0)).sealed.len(), 1);
    std::fs::write(&path, raw).unwrap();
    assert_eq!(read_all(dir.path()).len(), 2);
    let (_, opened) = SampleLog::open(dir.path(), SampleSettings::default(), 0).unwrap();
    assert!(opened.last_seq == Some(2) && !path.exists());
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (0u8..4).prop_map(f64::from), 1 => any::<u64>().prop_map(f64::from_bits)]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,3}", "\\PC{0,6}"]
}

fn any_decl() -> impl Strategy<Value = SeriesDecl> {
    (any_text(), prop::collection::vec((any_text(), any_text()), 0..4), any::<u32>())
        .prop_map(|(metric, labels, cohort)| SeriesDecl { key: SeriesKey::new(metric, labels), cohort })
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0u32..12, 1 => any::<u32>()]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    use FaultCode::*;
    let codes = vec![Unreachable, TimedOut, Denied, Malformed, Conflict, Limit, NotFound, NeverStarted, Failed, Internal, HalfDone];
    (prop::sample::select(codes), any_text(), any_text()).prop_map(|(code, doing, detail)| Fault::new(code, doing, detail))
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![9 => 0i64..5000, 1 => any::<i64>()]
}

prop_compose! {
    fn any_read()(
        who in (prop::sample::select(vec!["host", "nas", ""]), prop_oneof![9 => 0u32..2, 1 => any::<u32>()]),
        times in (any_time(), prop::sample::select(vec![5000i64, 0, -1, i64::MAX])),
        (backfill, health) in (any::<bool>(), prop::sample::select(vec![Health::Ok, Health::Degraded, Health::Blind])),
        (declared_before, declared) in (any_number(), prop::collection::vec(any_decl(), 0..4)),
        samples in prop::collection::vec((any_number(), any_value()), 0..20),
        stamped in prop::collection::vec((any_number(), any_time(), any_value()), 0..12),
        vanished in prop::collection::vec(any_number(), 0..4),
        (faults, faults_dropped) in (prop::collection::vec(any_fault(), 0..3), prop_oneof![Just(0), any::<u64>()]),
        ascending in any::<bool>(),
    ) -> Event {
        let mut seen = Observation::new(SensorId::from(who.0), Time(times.0), Span::from_millis(times.1));
        seen.epoch = who.1;
        seen.purpose = if backfill { Purpose::Backfill } else { Purpose::Fresh };
        seen.health = health;
        (seen.declared_before, seen.declared) = (declared_before, declared);
        seen.samples = samples.into_iter().map(|(series, value)| Sample { series, value }).collect();
        if ascending {
            seen.samples.sort_by_key(|sample| sample.series);
        }
        seen.stamped = stamped.into_iter().map(|(series, at, value)| StampedSample { series, at: Time(at), value }).collect();
        (seen.vanished, seen.faults, seen.faults_dropped) = (vanished, faults, faults_dropped);
        Event::Observed(Box::new(seen))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn anything_that_a_sensor_could_say_comes_back(
        events in prop::collection::vec((any_time(), prop_oneof![4 => any_read(), 1 => Just(Event::Tick)]), 1..25),
        segment_bytes_max in 100u64..2000,
        seal in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let settings = SampleSettings { segment_bytes_max, segment_age_max: Span(i64::MAX), ..SampleSettings::default() };
        let (mut log, _) = SampleLog::open(dir.path(), settings.clone(), 0).unwrap();
        let entries: Vec<(u64, i64, Event)> = events.into_iter().zip(1..).map(|((at, event), seq)| (seq, at, event)).collect();
        write_all(&mut log, &entries);
        if seal {
            prop_assert!(log.maintain(Time::MIN).notes.is_empty());
        }
        let back = read_all(dir.path());
        prop_assert_eq!(back.len(), entries.len());
        for (entry, (seq, at, event)) in back.iter().zip(&entries) {
            prop_assert!(entry.seq == *seq && entry.at == Time(*at) && same(&entry.event, event), "{:?} != {:?}", entry.event, event);
        }
        // Cut and bent files: never a panic, and whatever still comes is a prefix of its segment.
        let first_open = log.segments().last().map_or(1, |facts| facts.last_seq + 1);
        drop(log);
        let path = super::segment::open_path(dir.path(), first_open);
        if let Ok(whole) = std::fs::read(&path) {
            let cut = cut.index(whole.len() + 1);
            std::fs::write(&path, &whole[..cut]).unwrap();
            let some = read_all(dir.path());
            prop_assert!(some.iter().zip(&entries).all(|(entry, (_, _, event))| same(&entry.event, event)));
            let mut bent = whole.clone();
            bent[flip.index(whole.len())] ^= 1 << (cut % 8);
            std::fs::write(&path, &bent).unwrap();
            for entry in SampleReader::from_seq(dir.path(), 0).unwrap().self_contained().flatten() {
                prop_assert!(entry.seq as usize <= entries.len());
            }
            if let Ok((mut log, _)) = SampleLog::open(dir.path(), settings, 0) {
                log.maintain(Time::MIN);
            }
        }
    }

    #[test]
    fn bytes_that_pass_the_checksum_but_mean_nothing_never_panic(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = Vec::new();
        super::segment::put_header(&mut file, 1);
        for (i, mut body) in bodies.into_iter().enumerate() {
            if let Some(tag) = body.first_mut() {
                *tag = (i % 3) as u8;
            }
            super::segment::put_frame(&mut file, &body);
        }
        std::fs::write(super::segment::open_path(dir.path(), 1), file).unwrap();
        let _ = SampleReader::from_seq(dir.path(), 0).unwrap().count();
        prop_assert!(SampleLog::open(dir.path(), SampleSettings::default(), 0).is_ok());
    }
}

/// Prints what a node_exporter-like sensor costs: 1,000 series, a third of them changing at each read. Checks nothing but that the bytes
/// stay near the design's figure; run with `--release -- --nocapture` for the times.
#[test]
fn the_rate_is_printed() {
    const SERIES: u32 = 1000;
    const READS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) =
        SampleLog::open(dir.path(), SampleSettings { segment_age_max: Span(i64::MAX), ..SampleSettings::default() }, 0).unwrap();
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // As on a real page: counters of whole numbers, counters of hundredths, a few gauges; the rest stands still.
    let mut values: Vec<f64> = (0..SERIES).map(|n| f64::from(n) * 1234.0).collect();
    let reads: Vec<Event> = (0..READS)
        .map(|i| {
            for (n, value) in values.iter_mut().enumerate().filter(|(n, _)| n % 3 == 0) {
                *value = match n % 9 {
                    0 => *value + (random() % 4096) as f64,
                    3 => ((*value * 100.0).round() + (random() % 500) as f64) / 100.0,
                    _ => (random() % 1_000_000) as f64 / 1000.0,
                };
            }
            read(i as i64 * 5000, SERIES, i == 0, |n| values[n as usize])
        })
        .collect();
    let started = std::time::Instant::now();
    for (i, event) in reads.iter().enumerate() {
        let at = Time(i as i64 * 5000);
        log.begin(at).unwrap();
        log.write(i as u64 + 1, at, event).unwrap();
        log.flush().unwrap();
        log.keep();
    }
    let written = started.elapsed();
    log.end_segment().unwrap();
    let open_bytes: u64 = log.segments().iter().map(|facts| facts.bytes).sum();
    let started = std::time::Instant::now();
    let sealed_bytes = log.maintain(Time(0)).bytes;
    let sealing = started.elapsed();
    let started = std::time::Instant::now();
    let back = read_all(dir.path());
    let reading = started.elapsed();
    assert_eq!(back.len() as u64, READS);
    let samples = (u64::from(SERIES) * READS) as f64;
    let per = |time: std::time::Duration| time.as_nanos() as f64 / samples;
    println!(
        "sample log: {:.2} B/sample open, {:.2} B/sample sealed; write {:.1} ns, seal {:.1} ns, read back {:.1} ns per sample",
        open_bytes as f64 / samples,
        sealed_bytes as f64 / samples,
        per(written),
        per(sealing),
        per(reading),
    );
    assert!((open_bytes as f64 / samples) < 3.0 && (sealed_bytes as f64 / samples) < 2.0);
}
