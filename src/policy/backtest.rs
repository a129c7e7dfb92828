//! `homeostat policy backtest`: what a policy would have done, over history from Prometheus or from the daemon's own recording.
//!
//! Here stand configuration, where the history comes from, and how the answer is printed; the loop is `homeostat_authoring::backtest`.
//! Deliberately absent: acting. An editor breaks this by printing a counterfactual figure without saying so.

use super::history::{self, Wanted};
use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::config::{Config, SensorConfig};
use crate::http::view::moment;
use crate::journal::JournalReader;
use crate::{daemon, doctor, rules};
use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use homeostat_authoring::backtest::{self, Backtest, COUNTERFACTUAL, Diff, Firing, Needs, Question, Runner, report};
use homeostat_kernel::Kernel;
use homeostat_model::{Entry, EntryBody, PolicyId, RuleSet, Span, Time};
use homeostat_sensors::prometheus::PrometheusConfig;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Windows before the looked-at time, at least.
const WARM_MIN: Span = Span::from_hours(1);
/// Firings that are listed.
const LISTED_MAX: usize = 40;

/// Where history comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// A Prometheus server's range queries
    Prometheus,
    /// What the daemon recorded: its sample log and journal
    Samples,
}

/// What is asked.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// The policy's file, or the name of a configured one
    policy: PathBuf,
    /// From when: `-30d`, `-6h`, or a moment like `2026-01-31T12:00:00Z`
    #[arg(long, default_value = "-30d", allow_hyphen_values = true, value_name = "WHEN")]
    from: String,
    /// Until when
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_name = "WHEN")]
    to: String,
    /// Another version of the policy, to tell which firings differ
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Where history comes from [default: the configured Prometheus if there is one, else the recording]
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// The Prometheus server: a configured sensor's name, or an address
    #[arg(long, value_name = "NAME|URL")]
    server: Option<String>,
    /// Time between two values from Prometheus
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    step: Span,
    /// Run the other configured policies beside it: they take locks and budgets, as they would live
    #[arg(long)]
    all: bool,
    /// As if a person had said yes to every question at once (counterfactual)
    #[arg(long)]
    approve: bool,
    /// Ask nobody: use what an earlier run has fetched
    #[arg(long)]
    offline: bool,
    /// Write a report with plots into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `homeostat policy backtest`
///
/// # Errors
/// What could not be read, reached or written.
pub(super) async fn run(place: Place, args: BacktestArgs, json: bool) -> Ended {
    let (config, data) = configured(place)?;
    let now = Time(jiff::Timestamp::now().as_millisecond());
    let (from, to) = (when(&args.from, now)?, when(&args.to, now)?.min(now));
    ensure!(from < to, "`--from` ({}) is not before `--to` ({})", moment(from), moment(to));
    let questions = questions(&config, &data, &args, from, to)?;
    let needs = with_big_stack(|| needs(&questions))??;
    let source = args.source.unwrap_or_else(|| if server(&config, &args).is_ok() { Source::Prometheus } else { Source::Samples });
    let mut found = match source {
        Source::Prometheus => {
            let warm = needs.window.max(WARM_MIN);
            let wanted = Wanted { from: from - warm, to, step: args.step, metrics: needs.metrics.clone(), offline: args.offline };
            let mut past = history::fetch(server(&config, &args)?, &wanted, &data.join("history"), now).await?;
            let mut found = with_big_stack(|| over(questions, |take| past.play(&mut |row| take(row.at, Taken::Row(row)))))??;
            found.iter_mut().for_each(|backtest| backtest.notes.extend(past.notes.clone()));
            found
        }
        Source::Samples => with_big_stack(|| over(questions, |take| recorded(&data, from, to, take)))??,
    };
    for (policy, line) in &needs.untold {
        found[0].notes.push(format!(
            "{policy}, line {line}: which series is read there only an evaluation can tell; it may be missing in the history"
        ));
    }
    answer(&args, found, json)
}

/// One piece of a history.
enum Taken<'a> {
    Row(&'a homeostat_model::Observation),
    Entry(&'a EntryBody),
}

/// Runs all versions over one pass of a history.
fn over(
    questions: Vec<Question>,
    play: impl FnOnce(&mut dyn FnMut(Time, Taken<'_>)) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Backtest>> {
    let mut runners = Vec::new();
    for question in questions {
        let version = question.version.clone();
        runners.push(Runner::new(question).map_err(|errors| anyhow!("{version} cannot be run:\n{}", errors.join("\n")))?);
    }
    play(&mut |at, taken| {
        for runner in &mut runners {
            match taken {
                Taken::Row(row) => runner.observe(at, row),
                Taken::Entry(body) => runner.take(at, body),
            }
        }
    })?;
    Ok(runners.into_iter().map(Runner::finish).collect())
}

/// What the versions need, told from their text.
fn needs(questions: &[Question]) -> anyhow::Result<Needs> {
    let mut all = Needs::default();
    for question in questions {
        let kernel = Kernel::new(question.rules.store.clone());
        let policies = kernel.check(&question.rules).map_err(|errors| anyhow!("{}", errors.join("\n")))?;
        let needs = Needs::of(policies.iter());
        all.metrics.extend(needs.metrics);
        all.window = all.window.max(needs.window);
        all.untold.extend(needs.untold);
    }
    all.untold.sort();
    all.untold.dedup();
    Ok(all)
}

/// The versions: the candidate first, then what it is compared with.
fn questions(config: &Config, data: &Path, args: &BacktestArgs, from: Time, to: Time) -> anyhow::Result<Vec<Question>> {
    let specs = doctor::actuator_specs(config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let whole = rules::rule_set(config, specs, &daemon::servers(config), data)?;
    let (id, path, text) = candidate(&whole, &args.policy)?;
    let is_recorded = args.source == Some(Source::Samples) || (args.source.is_none() && server(config, args).is_err());
    let question = |path: String, text: String| {
        let mut rules = whole.clone();
        let overrides = whole.policies.iter().find(|policy| policy.id == id).map(|policy| policy.overrides.clone()).unwrap_or_default();
        rules.policies.retain(|policy| args.all && policy.id != id);
        rules.policies.push(homeostat_model::PolicySource { id: id.clone(), path: path.clone(), text, overrides });
        rules.policies.sort_by(|a, b| a.id.cmp(&b.id));
        Question { version: path, rules, policies: vec![id.clone()], from, to, approve: args.approve, is_recorded }
    };
    let mut questions = vec![question(path, text)];
    if let Some(other) = &args.against {
        // Under the same name, so that evaluations come at the same moments.
        questions.push(question(other.display().to_string(), read(other)?));
    }
    Ok(questions)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))
}

/// The policy that is meant: a file, or one of the configured ones by name.
fn candidate(whole: &RuleSet, asked: &Path) -> anyhow::Result<(PolicyId, String, String)> {
    if !asked.exists()
        && let Some(known) = whole.policies.iter().find(|policy| asked.to_str() == Some(policy.id.as_str()))
    {
        return Ok((known.id.clone(), known.path.clone(), known.text.clone()));
    }
    let name = asked.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    ensure!(!name.is_empty(), "{} is not a policy's file", asked.display());
    Ok((PolicyId::from(name), asked.display().to_string(), read(asked)?))
}

/// The server that is asked.
fn server(config: &Config, args: &BacktestArgs) -> anyhow::Result<PrometheusConfig> {
    let mut known = config.sensors.iter().filter_map(|(name, sensor)| match sensor {
        SensorConfig::Prometheus(server) => Some((name, server)),
        _ => None,
    });
    match &args.server {
        Some(url) if url.contains("://") => {
            // A configured one brings its credentials along.
            let same = known.find(|(_, server)| server.url.trim_end_matches('/') == url.trim_end_matches('/'));
            Ok(same.map_or_else(|| PrometheusConfig::plain("prometheus", url), |(_, server)| server.clone()))
        }
        Some(name) => known.find(|(known, _)| *known == name).map(|(_, server)| server.clone()).ok_or_else(|| {
            anyhow!("there is no sensor `{name}` of the kind `prometheus` in the configuration; name one, or give an address: `--server http://…:9090`")
        }),
        None => known.next().map(|(_, server)| server.clone()).ok_or_else(|| {
            anyhow!("the configuration has no sensor of the kind `prometheus`; give an address: `--server http://…:9090`, or use `--source samples`")
        }),
    }
}

/// A moment: `now`, `-30d`, `2026-01-31`, `2026-01-31T12:00:00Z`.
fn when(text: &str, now: Time) -> anyhow::Result<Time> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix('-') {
        return Ok(now - span.parse::<Span>().map_err(|error| anyhow!("`{text}`: {error}"))?);
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Ok(Time(stamp.as_millisecond()));
    }
    let day = text.parse::<jiff::civil::DateTime>().or_else(|_| text.parse::<jiff::civil::Date>().map(jiff::civil::DateTime::from));
    match day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::system())) {
        Ok(zoned) => Ok(Time(zoned.timestamp().as_millisecond())),
        Err(_) => bail!("`{text}` is no moment: expected `now`, `-30d`, `2026-01-31` or `2026-01-31T12:00:00Z`"),
    }
}

/// Plays what the daemon recorded: table and samples in the order of their numbers, samples from early enough to fill windows.
///
/// # Errors
/// The journal cannot be read.
pub fn play_recorded(data: &Path, from: Time, to: Time, each: &mut dyn FnMut(&Entry)) -> anyhow::Result<()> {
    let reader = JournalReader::open(data)?;
    let mut rows = reader.events_and_effects(0).peekable();
    let samples = reader.samples_from(from - Span::from_hours(24))?;
    for sample in samples {
        let Ok(sample) = sample.inspect_err(|error| eprintln!("a part of the sample log cannot be read and is left out: {error}")) else {
            continue;
        };
        if sample.at > to {
            break;
        }
        while let Some(row) = rows.next_if(|row| row.as_ref().map_or(true, |row| row.seq < sample.seq)) {
            each(&row?);
        }
        each(&Entry { seq: sample.seq, at: sample.at, body: EntryBody::Event(sample.event) });
    }
    for row in rows {
        each(&row?);
    }
    Ok(())
}

fn recorded(data: &Path, from: Time, to: Time, take: &mut dyn FnMut(Time, Taken<'_>)) -> anyhow::Result<()> {
    play_recorded(data, from, to, &mut |entry| take(entry.at, Taken::Entry(&entry.body)))
}

/// What these policies would have done by what the daemon recorded, for a short look: alone, without yes and without a diff.
///
/// # Errors
/// There is no recording, or a policy cannot be run.
pub(super) fn recent(config: &Config, data: &Path, policies: &[PathBuf], from: Time, to: Time) -> anyhow::Result<Vec<Backtest>> {
    let mut all = Vec::new();
    for policy in policies {
        let args = BacktestArgs {
            policy: policy.clone(),
            from: String::new(),
            to: String::new(),
            against: None,
            source: Some(Source::Samples),
            server: None,
            step: Span::from_mins(1),
            all: false,
            approve: false,
            offline: true,
            html: None,
        };
        all.extend(questions(config, data, &args, from, to)?);
    }
    over(all, |take| recorded(data, from, to, take))
}

/// What one policy would have done beside nothing else by what the daemon recorded.
///
/// # Errors
/// There is no recording, or the policy cannot be run.
pub(super) fn of_source(
    whole: &RuleSet,
    source: homeostat_model::PolicySource,
    data: &Path,
    from: Time,
    to: Time,
) -> anyhow::Result<Backtest> {
    let (version, policies) = (source.path.clone(), vec![source.id.clone()]);
    let rules = RuleSet { policies: vec![source], ..whole.clone() };
    let question = Question { version, rules, policies, from, to, approve: false, is_recorded: true };
    over(vec![question], |take| recorded(data, from, to, take))?.pop().ok_or_else(|| anyhow!("the backtest gave no answer"))
}

/// Prints and writes what was found.
fn answer(args: &BacktestArgs, mut found: Vec<Backtest>, json: bool) -> Ended {
    let other = (found.len() > 1).then(|| found.remove(1));
    let own = found.remove(0);
    let differs = other.as_ref().map(|other| backtest::diff(other, &own, args.step.max(Span::from_mins(1))));
    if let Some(path) = &args.html {
        let page = report::html(&own, other.as_ref().zip(differs.as_ref()), &moment);
        std::fs::write(path, page).with_context(|| format!("the report {} cannot be written", path.display()))?;
    }
    if json {
        show::json(&json!({ "backtest": own, "against": other, "diff": differs, "counterfactual": COUNTERFACTUAL }))?;
        return Ok(Exit::Ok);
    }
    print(&own);
    if let (Some(other), Some(differs)) = (&other, &differs) {
        print_diff(&own, other, differs);
    }
    if let Some(path) = &args.html {
        println!("\nreport: {}", path.display());
    }
    Ok(Exit::Ok)
}

fn print(own: &Backtest) {
    println!(
        "{}  {} to {}: {} firings in {:.1} days",
        show::clean(&own.version),
        moment(own.from),
        moment(own.to),
        own.firings.len(),
        own.days()
    );
    println!(
        "{} reads, {} samples, {} evaluations, {:.1} % undetermined; {:.2} returns within an hour and {:.2} reversals per day",
        own.observations,
        own.samples,
        own.evaluations,
        own.undetermined_share * 100.0,
        own.returns_per_day,
        own.reversals_per_day
    );
    if let Some(from) = own.counterfactual_from {
        println!("from {} on {COUNTERFACTUAL}", moment(from));
    }
    own.notes.iter().for_each(|note| println!("note: {}", show::clean(note)));
    if !own.firings.is_empty() {
        println!("\n{}", firings_table(own, own.firings.iter().take(LISTED_MAX)));
    }
    if own.firings.len() > LISTED_MAX {
        println!("… and {} more (`--json`, `--html`)", own.firings.len() - LISTED_MAX);
    }
    if !own.guards.is_empty() {
        let rows = own.guards.iter().map(|(guard, held)| vec![guard.clone(), held.firings.to_string(), report::rough(held.held)]);
        println!("\n{}", show::table(&["guard that would have held", "firings", "for"], rows));
    }
    if !own.verbs.is_empty() {
        let rows = own.verbs.iter().map(|(verb, tally)| {
            vec![
                verb.clone(),
                tally.class.map_or_else(|| "unknown".into(), |class| class.to_string()),
                tally.firings.to_string(),
                tally.sent.to_string(),
                format!("{:.1}", tally.disruption_minutes),
                format!("{:.0}", tally.energy_joules),
            ]
        });
        println!("\n{}", show::table(&["verb", "class", "firings", "would be sent", "minutes of interruption", "joules"], rows));
    }
    let claims = &own.claims;
    if claims.came_true_anyway + claims.did_not + claims.undetermined > 0 {
        println!(
            "\nclaims (counterfactual, nothing was done): {} came true anyway, {} did not, {} could not be seen",
            claims.came_true_anyway, claims.did_not, claims.undetermined
        );
    }
}

fn firings_table<'a>(of: &Backtest, firings: impl Iterator<Item = &'a Firing>) -> String {
    let row = |firing: &Firing| {
        let held: Vec<&str> =
            firing.holds.iter().map(|hold| hold.guard.as_str()).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        vec![
            moment(firing.from),
            report::rough(firing.until.unwrap_or(of.to).since(firing.from)),
            format!("{} on {}", firing.verb, firing.target),
            firing.because.clone(),
            held.join(", "),
            firing.sent.len().to_string(),
        ]
    };
    show::table(&["from", "for", "what", "because", "held by", "sent"], firings.map(row))
}

fn print_diff(own: &Backtest, other: &Backtest, differs: &Diff) {
    println!(
        "\nagainst {}: {} firings only there, {} only here, {} in both",
        show::clean(&differs.a),
        differs.only_a.len(),
        differs.only_b.len(),
        differs.both.len()
    );
    for (title, of, numbers) in [("only there", other, &differs.only_a), ("only here", own, &differs.only_b)] {
        if !numbers.is_empty() {
            println!("\n{title}:\n{}", firings_table(of, numbers.iter().take(LISTED_MAX).filter_map(|number| of.firings.get(*number))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = Time(1_800_000_000_000);
        let read = |text: &str| when(text, now).map_err(|error| error.to_string());
        assert_eq!(read("now"), Ok(now));
        assert_eq!(read("-30d"), Ok(now - Span::from_hours(720)));
        assert_eq!(read("2026-01-31T12:00:00Z"), Ok(Time(1_769_860_800_000)));
        assert!(read("2026-01-31").is_ok() && read("2026-01-31T12:00:00").is_ok());
        for wrong in ["yesterday", "-30", "", "30d"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
