//! Commands that need no daemon: run, check, replay, journal, sensors, configuration, doctor.
//!
//! Deliberately absent: writing anything but a backup. An editor breaks this by opening the journal for writing here.

use super::args::{ConfigCommand, JournalCommand, SensorsCommand};
use super::place::Place;
use super::show::{self, health_name};
use super::{Ended, Exit};
use crate::config::{Config, SensorConfig};
use crate::daemon;
use crate::doctor::{self, Level};
use crate::journal::JournalReader;
use crate::{replay, sensing};
use anyhow::{Context, anyhow};
use homeostat_kernel::STACK_BYTES_MIN;
use homeostat_model::{Entry, Health, Observation, SeriesKey, Time};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How often `journal tail --follow` looks.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// The configuration, or its problems.
pub(crate) fn configured(place: Place) -> anyhow::Result<(Config, PathBuf)> {
    Ok((place.config?, place.data))
}

/// `homeostat run`
pub(super) async fn run(place: Place, listen: Option<SocketAddr>) -> Ended {
    daemon::run(daemon::RunOptions { config: place.config_path, data: Some(place.data), listen }).await?;
    Ok(Exit::Ok)
}

/// Policies run on the caller's thread and may nest deep.
pub(crate) fn with_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| anyhow!("a defect of ours ended this; the message above says where"))
    })
}

/// `homeostat check`
pub(super) fn check(place: &Place, json: bool) -> Ended {
    let checks = with_big_stack(|| vec![doctor::config(place), doctor::policies(place)])?;
    report(&checks, json)
}

/// `homeostat doctor`
pub(super) async fn doctor(place: Place, json: bool) -> Ended {
    // What blocks (files, policies) may block here: this process does nothing else.
    let mut checks = with_big_stack(|| doctor::without_network(&place))?;
    checks.extend(doctor::sensors(&place).await);
    checks.extend(doctor::actuators(&place).await);
    checks.push(doctor::daemon(&place).await);
    report(&checks, json)
}

fn report(checks: &[doctor::Check], json: bool) -> Ended {
    if json {
        show::json(&checks)?;
    } else {
        for check in checks {
            println!("{:<5} {:<12} {}", check.level.name(), check.name, show::clean(&check.text).trim_end());
            for line in check.details.iter().chain(check.fix.iter().filter(|_| check.level != Level::Ok)) {
                for line in line.lines() {
                    println!("      {:<12} {}", "", show::clean(line));
                }
            }
        }
    }
    Ok(if checks.iter().any(|check| check.level == Level::Fail) { Exit::Unhealthy } else { Exit::Ok })
}

/// `homeostat replay`
pub(super) fn replay(place: &Place, from: u64, json: bool) -> Ended {
    let replayed = with_big_stack(|| replay::replay(&place.data, from))??;
    if json {
        show::json(&replayed)?;
    } else {
        println!(
            "{} starts, {} events ({} reads), {} effects equal",
            replayed.runs, replayed.events, replayed.observations, replayed.effects_equal
        );
        for note in &replayed.notes {
            println!("note: {}", show::clean(note));
        }
        if let Some(difference) = &replayed.first_difference {
            println!("DIFFERENT at entry {} ({})", difference.seq, crate::http::view::moment(difference.at));
            println!("  journal: {}\n  replay:  {}", show::clean(&difference.journal), show::clean(&difference.replay));
        }
    }
    Ok(if replayed.first_difference.is_some() || replayed.runs == 0 { Exit::Failed } else { Exit::Ok })
}

/// `homeostat journal …`
pub(super) async fn journal(place: &Place, command: JournalCommand, json: bool) -> Ended {
    let reader = JournalReader::open(&place.data)?;
    match command {
        JournalCommand::Tail { lines, follow } => tail(&reader, lines, follow, json).await,
        JournalCommand::Verify => verify(&reader, json),
        JournalCommand::Backup { file } => {
            reader.backup(&file)?;
            eprintln!("The journal's table is copied to {}; the sample log is not part of it.", file.display());
            Ok(Exit::Ok)
        }
    }
}

fn print_entry(entry: &Entry, json: bool) -> anyhow::Result<()> {
    // One line per entry in both forms, so that a pipe can take them one by one.
    if json {
        println!("{}", serde_json::to_string(entry)?)
    } else {
        println!("{}", show::entry(entry))
    }
    Ok(())
}

async fn tail(reader: &JournalReader, lines: u32, follow: bool, json: bool) -> Ended {
    let page = reader.tail(lines)?;
    for entry in &page.entries {
        print_entry(entry, json)?;
    }
    for error in &page.unreadable {
        eprintln!("homeostat: {error}");
    }
    let mut next = page.entries.last().map_or(0, |entry| entry.seq + 1);
    if !follow {
        return Ok(Exit::Ok);
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
            pressed = tokio::signal::ctrl_c() => return Ok(pressed.map(|()| Exit::Ok)?),
        }
        for entry in reader.events_and_effects(next) {
            let entry = entry?;
            print_entry(&entry, json)?;
            next = entry.seq + 1;
        }
    }
}

fn verify(reader: &JournalReader, json: bool) -> Ended {
    let found = reader.verify()?;
    let last = found.last.map(|(seq, hash)| (seq, hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    if json {
        show::json(&json!({
            "entries": found.entries, "segments": found.segments, "pruned": found.pruned, "last": last, "broken": found.broken, "notes": found.notes,
        }))?;
    } else {
        println!("{} entries and {} sealed segments checked, {} entries pruned before", found.entries, found.segments, found.pruned);
        if let Some((seq, hash)) = &last {
            println!("last entry {seq}, hash {hash}");
        }
        for note in &found.notes {
            println!("note: {}", show::clean(note));
        }
        match &found.broken {
            Some((seq, how)) => println!("BROKEN at {seq}: {}", show::clean(how)),
            None => println!("sound"),
        }
    }
    Ok(if found.broken.is_some() { Exit::Failed } else { Exit::Ok })
}

/// `homeostat sensors …`
pub(super) async fn sensors(place: Place, command: SensorsCommand, json: bool) -> Ended {
    let (config, _) = configured(place)?;
    match command {
        SensorsCommand::List => {
            let row = |(name, sensor): (&String, &SensorConfig)| (name.clone(), sensor.kind(), source_of(sensor));
            let rows: Vec<(String, &str, String)> = config.sensors.iter().map(row).collect();
            if json {
                show::json(
                    &rows.iter().map(|(name, kind, source)| json!({ "name": name, "kind": kind, "source": source })).collect::<Vec<_>>(),
                )?;
            } else {
                println!(
                    "{}",
                    show::table(
                        &["sensor", "kind", "source"],
                        rows.into_iter().map(|(name, kind, source)| vec![name, kind.into(), source])
                    )
                );
            }
            Ok(Exit::Ok)
        }
        SensorsCommand::Probe { name } => probe(&config, &name, json).await,
    }
}

/// What a sensor reads, or why it cannot be made.
pub(crate) fn source_of(sensor: &SensorConfig) -> String {
    daemon::make_sensor(sensor).map_or_else(|fault| fault.to_string(), |sensor| sensor.spec().source)
}

/// Reads a sensor once. Sensors that compare two reads (rates) show what one read can tell.
pub(crate) async fn read_once(config: &Config, name: &str) -> anyhow::Result<Observation> {
    let known = || config.sensors.keys().cloned().collect::<Vec<_>>().join(", ");
    let sensor =
        config.sensors.get(name).with_context(|| format!("there is no sensor `{}`; configured are: {}", show::clean(name), known()))?;
    let mut sensor = daemon::make_sensor(sensor)?;
    let spec = sensor.spec();
    let now = Time(jiff::Timestamp::now().as_millisecond());
    let mut observation = Observation::new(spec.id.clone(), now, spec.interval);
    sensing::read(sensor.as_mut(), &spec, now, spec.timeout.to_std(), &mut observation).await;
    Ok(observation)
}

async fn probe(config: &Config, name: &str, json: bool) -> Ended {
    let seen = read_once(config, name).await?;
    let key = |series: u32| -> Option<&SeriesKey> { seen.declared.get(series as usize).map(|declared| &declared.key) };
    let shared = seen.samples.iter().map(|sample| (sample.series, sample.value));
    let mut samples: Vec<(String, f64)> = shared
        .chain(seen.stamped.iter().map(|sample| (sample.series, sample.value)))
        .filter_map(|(series, value)| Some((key(series)?.to_string(), value)))
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    if json {
        let number = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let samples: Vec<_> = samples.iter().map(|(key, value)| json!({ "series": key, "value": number(*value) })).collect();
        show::json(&json!({ "sensor": name, "health": seen.health, "faults": seen.faults, "samples": samples }))?;
    } else {
        for (key, value) in &samples {
            println!("{}", show::sample(key, *value));
        }
        eprintln!("\n{name}: {}, {} samples", health_name(seen.health), samples.len());
        for fault in &seen.faults {
            eprintln!("  {}", show::clean(&fault.to_string()));
        }
    }
    Ok(if seen.health == Health::Blind { Exit::Failed } else { Exit::Ok })
}

/// `homeostat config …`
pub(super) fn config(place: Place, command: &ConfigCommand) -> Ended {
    match command {
        ConfigCommand::Schema { of } => show::json(&crate::config::schema_of(*of))?,
        ConfigCommand::Reference => println!("{}", crate::config::reference()),
        ConfigCommand::Show => {
            eprintln!("# {}", place.config_name());
            let (config, _) = configured(place)?;
            println!("{}", serde_saphyr::to_string(&config)?);
        }
    }
    Ok(Exit::Ok)
}
