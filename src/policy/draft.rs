//! `homeostat policy draft`: what was done, out of the journal, and which series were recorded; then check, lint, test and backtest of
//! what was drafted, and the patch.
//!
//! The drafting is `homeostat_authoring::draft`. Nothing is loaded and no policy folder is written: the patch is printed, or written to
//! the file that was named. Deliberately absent: a model. An editor breaks this by printing a draft that its own test refuses.

use super::backtest;
use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::http::view::moment;
use crate::incidents::{Book, read};
use crate::journal::JournalReader;
use crate::{doctor, rules};
use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use homeostat_authoring::backtest::{Backtest, COUNTERFACTUAL};
use homeostat_authoring::diagnose::{Around, Severity, check_policy};
use homeostat_authoring::draft::{self, Curve, Draft, Material, NewFile, OCCASIONS_USUAL, Occasion, Pace};
use homeostat_authoring::graph::{Declared, Sources, analyse};
use homeostat_authoring::suite::{self, output};
use homeostat_kernel::Ledger;
use homeostat_kernel::store::Selector;
use homeostat_model::{
    ActionId, Class, EntryBody, Event, Observation, Origin, PolicyOverride, PolicySource, Proposal, Record, RuleSet, SensorId, Span,
    Target, Time, Verb,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Series that are looked at.
const SERIES_MAX: usize = 400;
/// Samples in all; what comes later is left out and said.
const SAMPLES_MAX: usize = 8_000_000;
/// Quiet times before the first occasion.
const BEFORE: Span = Span::from_hours(48);

/// What is asked for.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("of").required(true).args(["from", "repeats"])))]
pub struct DraftArgs {
    /// What was done in this incident, and each time it was done before and after: `i1234`, or `latest`
    #[arg(long, value_name = "INCIDENT")]
    from: Option<String>,
    /// What was done again and again: `'restart.rollout deployment/media/jellyfin'`
    #[arg(long, value_name = "VERB TARGET")]
    repeats: Option<String>,
    /// Look at these series only, as in PromQL: `service_latency_seconds{service='jellyfin'}` [default: all that name the target]
    #[arg(long, value_name = "SELECTOR")]
    series: Option<String>,
    /// How often it must have been done
    #[arg(long, value_name = "TIMES", default_value_t = OCCASIONS_USUAL)]
    at_least: usize,
    /// The policy's name [default: made from what is done]
    #[arg(long)]
    name: Option<String>,
    /// The policies' folder in your repository
    #[arg(long, value_name = "DIR", default_value = "policies")]
    folder: String,
    /// Write the patch to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `homeostat policy draft`
///
/// # Errors
/// The journal cannot be read, or the record does not give a policy.
pub(super) fn draft(place: Place, args: &DraftArgs, json: bool) -> Ended {
    let (config, data) = configured(place)?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let whole = rules::rule_set(&config, specs, &crate::daemon::servers(&config), &data)?;
    let made = with_big_stack(|| from_record(&JournalReader::open(&data)?, &data, &whole, args))??;
    let tested = with_big_stack(|| proved(&whole, &made.draft))??;
    let backtest = with_big_stack(|| replayed(&data, &whole, &made))??;
    let folder = args.folder.trim_end_matches('/');
    let (policy, test) = (format!("{folder}/{}.rhai", made.draft.name), format!("{folder}/{}.test.yaml", made.draft.name));
    let head = head(&made, &tested, &backtest);
    let files = [NewFile { path: &policy, text: &made.draft.policy }, NewFile { path: &test, text: &made.draft.test }];
    let patch = draft::patch(&head, &files);
    if let Some(path) = &args.out {
        std::fs::write(path, &patch).with_context(|| format!("write {}", path.display()))?;
    }
    if json {
        show::json(&json!({
            "name": made.draft.name, "found": made.draft.found, "why": made.draft.why, "checks": tested, "backtest": backtest,
            "patch": patch, "written": args.out,
        }))?;
    } else if let Some(path) = &args.out {
        head.iter().for_each(|line| println!("{}", show::clean(line)));
        println!("\nwritten to {0}: look at it, then `git apply {0}`; nothing is loaded by this", path.display());
    } else {
        print!("{patch}");
        eprintln!("{}", tested.join("\n"));
    }
    Ok(Exit::Ok)
}

/// A draft and what it came from.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) draft: Draft,
    from: Time,
    to: Time,
    notes: Vec<String>,
}

/// What was done, and to what.
fn asked(reader: &JournalReader, args: &DraftArgs) -> anyhow::Result<(Verb, Target)> {
    if let Some(text) = &args.repeats {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [verb, target] = words.as_slice() else {
            bail!(
                "`{}` is not what was done to what: expected `verb target`, such as 'restart.rollout deployment/media/jellyfin'",
                show::clean(text)
            )
        };
        return Ok((Verb::new(*verb), Target::new(*target)));
    }
    let mut book = Book::new();
    read::catch_up(&mut book, reader, Time::MIN)?;
    let incident = book.find(args.from.as_deref().unwrap_or("latest")).map_err(|why| anyhow!(why))?;
    let mut sent: BTreeMap<ActionId, (bool, Verb, Target)> = BTreeMap::new();
    let mut people: BTreeSet<ActionId> = BTreeSet::new();
    for id in &incident.actions {
        for entry in reader.of_action(*id)?.entries {
            match entry.body {
                EntryBody::Effect(Record::Ruled { proposal, .. }) if matches!(proposal.origin, Origin::Operator(_)) => {
                    people.insert(*id);
                }
                EntryBody::Effect(Record::Act { action, .. }) if action.class > Class::Notify => {
                    sent.insert(*id, (people.contains(id), action.verb, action.target));
                }
                _ => {}
            }
        }
    }
    // What a person did says more than what a policy did; of these the last.
    let chosen = sent.into_iter().max_by_key(|(id, (by_person, ..))| (*by_person, *id));
    let (_, (_, verb, target)) = chosen.ok_or_else(|| {
        anyhow!("nothing was done in the incident {} but telling people: there is nothing to draft a policy from", incident.id)
    })?;
    Ok((verb, target))
}

/// Drafts from a journal.
pub(super) fn from_record(reader: &JournalReader, data: &Path, whole: &RuleSet, args: &DraftArgs) -> anyhow::Result<Made> {
    if let Some(name) = &args.name {
        // The same names as `policy new` takes.
        homeostat_authoring::starter::starter(name, homeostat_authoring::starter::Template::Threshold, None).map_err(|why| anyhow!(why))?;
    }
    let (verb, target) = asked(reader, args)?;
    let (occasions, ledger) = occasions(reader, &verb, &target)?;
    let Some(first) = occasions.first().map(|occasion| occasion.at) else {
        bail!("`{verb}` on `{target}` was never sent in the record; `homeostat actions` lists what was")
    };
    let selector = args.series.as_deref().map(|text| Selector::parse(text).map_err(|error| anyhow!("`--series`: {error}"))).transpose()?;
    let from = first - BEFORE;
    let (curves, to, notes) = curves(data, from, &target, selector.as_ref(), &occasions)?;
    let metrics: BTreeSet<&str> = curves.iter().map(|curve| &*curve.key.metric).collect();
    let pace = |metric: &str| {
        let offer = ledger.trust().response(&verb, metric)?.offer()?;
        Some((metric.to_owned(), Pace { settle: offer.settle, cooldown: offer.cooldown, text: offer.text }))
    };
    let paces = metrics.into_iter().filter_map(pace).collect();
    let at_least = args.at_least;
    let material = Material { name: args.name.clone(), verb, target, occasions, at_least, curves, paces };
    let mut draft = draft::draft(&material).map_err(|why| anyhow!("nothing is drafted: {why}"))?;
    let taken: BTreeSet<&str> = whole.policies.iter().map(|policy| policy.id.as_str()).collect();
    if taken.contains(draft.name.as_str()) {
        ensure!(args.name.is_none(), "there is a policy `{}` already: choose another name", draft.name);
        let free = (2..).map(|n| format!("{}-{n}", draft.name)).find(|name| !taken.contains(name.as_str())).unwrap_or_default();
        draft = draft::draft(&Material { name: Some(free), ..material }).map_err(|why| anyhow!(why))?;
    }
    Ok(Made { draft, from, to, notes })
}

/// Each time it was sent, and what was learned by then.
fn occasions(reader: &JournalReader, verb: &Verb, target: &Target) -> anyhow::Result<(Vec<Occasion>, Ledger)> {
    let mut ledger = Ledger::default();
    let mut wished: BTreeMap<ActionId, Box<Proposal>> = BTreeMap::new();
    let mut sent: BTreeMap<ActionId, Occasion> = BTreeMap::new();
    for entry in reader.events_and_effects(0) {
        // An entry of another build is left out, as everywhere.
        let Ok(entry) = entry else { continue };
        let record = match entry.body {
            EntryBody::Event(event) => {
                ledger.apply_event(entry.at, &event);
                continue;
            }
            EntryBody::Effect(record) => record,
        };
        ledger.apply_record(entry.at, &record);
        match record {
            Record::Ruled { action, proposal, .. } if proposal.verb == *verb && proposal.target == *target => {
                wished.insert(action, proposal);
            }
            Record::Act { action, .. } => {
                let Some(proposal) = wished.remove(&action.id) else { continue };
                sent.entry(action.id).or_insert_with(|| Occasion {
                    action: action.id,
                    entry: entry.seq,
                    at: entry.at,
                    by: proposal.origin.to_string(),
                    args: action.args,
                    evidence: proposal.evidence,
                    claim: proposal.claim,
                    finding: None,
                });
            }
            Record::Closed { action, .. } => drop(wished.remove(&action)),
            Record::Scored { action, score } => {
                if let Some(occasion) = sent.get_mut(&action) {
                    occasion.finding = Some(score.finding);
                }
            }
            _ => {}
        }
    }
    Ok((sent.into_values().collect(), ledger))
}

/// The dictionary of one sensor: which of its series are wanted, and where their values go.
#[derive(Default)]
struct Dictionary {
    places: Vec<Option<usize>>,
}

/// Recorded series that speak of the target, or that the record's own reasons name.
struct Collected<'a> {
    target: &'a Target,
    selector: Option<&'a Selector>,
    named: BTreeSet<String>,
    dictionaries: BTreeMap<(SensorId, u32), Dictionary>,
    by_key: BTreeMap<homeostat_model::SeriesKey, usize>,
    curves: Vec<Curve>,
    samples: usize,
    refused: usize,
}

impl Collected<'_> {
    fn is_wanted(&self, key: &homeostat_model::SeriesKey) -> bool {
        match self.selector {
            Some(selector) => selector.matches(key),
            None => draft::relates(self.target, key) || self.named.contains(&key.to_string()),
        }
    }

    fn take(&mut self, seen: &Observation) {
        let place = (seen.sensor.clone(), seen.epoch);
        let mut dictionary = self.dictionaries.remove(&place).unwrap_or_default();
        dictionary.places.resize(seen.declared_before as usize, None);
        for decl in &seen.declared {
            let found = self.is_wanted(&decl.key).then(|| self.place_of(&decl.key, seen.interval)).flatten();
            dictionary.places.push(found);
        }
        let shared = seen.samples.iter().map(|sample| (sample.series, seen.at, sample.value));
        let own = seen.stamped.iter().map(|sample| (sample.series, sample.at, sample.value));
        for (series, at, value) in shared.chain(own) {
            let Some(curve) = dictionary.places.get(series as usize).copied().flatten().and_then(|place| self.curves.get_mut(place)) else {
                continue;
            };
            let is_newer = curve.samples.last().is_none_or(|(last, _)| *last < at);
            if is_newer && value.is_finite() && self.samples < SAMPLES_MAX {
                curve.samples.push((at, value));
                self.samples += 1;
            }
        }
        self.dictionaries.insert(place, dictionary);
    }

    fn place_of(&mut self, key: &homeostat_model::SeriesKey, interval: Span) -> Option<usize> {
        if let Some(place) = self.by_key.get(key) {
            return Some(*place);
        }
        if self.curves.len() >= SERIES_MAX {
            self.refused += 1;
            return None;
        }
        self.by_key.insert(key.clone(), self.curves.len());
        self.curves.push(Curve { key: key.clone(), interval, samples: Vec::new() });
        Some(self.curves.len() - 1)
    }
}

fn curves(
    data: &Path,
    from: Time,
    target: &Target,
    selector: Option<&Selector>,
    occasions: &[Occasion],
) -> anyhow::Result<(Vec<Curve>, Time, Vec<String>)> {
    use homeostat_model::ClaimSubject;
    let read = occasions.iter().flat_map(|occasion| &occasion.evidence).filter_map(|evidence| evidence.series.as_ref());
    let claimed = occasions.iter().filter_map(|occasion| match occasion.claim.as_ref().map(|claim| &claim.subject) {
        Some(ClaimSubject::Series { series, .. }) => Some(series),
        _ => None,
    });
    let mut collected = Collected {
        target,
        selector,
        named: read.chain(claimed).map(ToString::to_string).collect(),
        dictionaries: BTreeMap::new(),
        by_key: BTreeMap::new(),
        curves: Vec::new(),
        samples: 0,
        refused: 0,
    };
    let (mut to, mut broken) = (from, 0);
    for sample in JournalReader::open(data)?.samples_from(from)? {
        let Ok(sample) = sample else {
            broken += 1;
            continue;
        };
        to = to.max(sample.at);
        if let Event::Observed(seen) = &sample.event {
            collected.take(seen);
        }
    }
    let mut notes = Vec::new();
    if broken > 0 {
        notes.push(format!("{broken} parts of the sample log cannot be read and are left out"));
    }
    if collected.refused > 0 {
        notes.push(format!("{} series beyond {SERIES_MAX} were not looked at; name one with `--series`", collected.refused));
    }
    if collected.samples >= SAMPLES_MAX {
        notes.push(format!("only the first {SAMPLES_MAX} samples were looked at; name a series with `--series`"));
    }
    collected.curves.retain(|curve| !curve.samples.is_empty());
    Ok((collected.curves, to, notes))
}

/// Check, lint and the draft's own test; each must pass.
pub(super) fn proved(whole: &RuleSet, draft: &Draft) -> anyhow::Result<Vec<String>> {
    let path = format!("{}.rhai", draft.name);
    let around = Around {
        actuators: whole.actuators.clone(),
        playbooks: whole.playbooks.iter().map(|playbook| playbook.id.clone()).collect(),
        live: None,
        retention: whole.store.retention,
    };
    let overrides = PolicyOverride::default();
    let found = check_policy(&path, &draft.policy, &overrides, &around);
    let wrong: Vec<&str> =
        found.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.message.as_str()).collect();
    ensure!(wrong.is_empty(), "nothing is drafted: `policy check` refuses it: {}", wrong.join("; "));
    let warned = found.iter().filter(|finding| finding.severity == Severity::Warning);
    let mut lines = vec![format!("check: passed, {} warnings", warned.clone().count())];
    lines.extend(warned.map(|finding| format!("check: warning: {}", finding.message)));

    let source = PolicySource { id: draft.name.as_str().into(), path: path.clone(), text: draft.policy.clone(), overrides };
    let mut policies = whole.policies.clone();
    policies.push(source.clone());
    let sources = Sources {
        policies,
        actuators: whole.actuators.clone(),
        playbooks: whole.playbooks.clone(),
        declared: Declared::new(),
        metrics: None,
    };
    let about: Vec<_> = analyse(&sources).findings.into_iter().filter(|finding| finding.path == path).collect();
    let wrong: Vec<&str> =
        about.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.message.as_str()).collect();
    ensure!(wrong.is_empty(), "nothing is drafted: `policy lint` refuses it beside the other policies: {}", wrong.join("; "));
    let warned = about.iter().filter(|finding| finding.severity == Severity::Warning);
    lines.push(format!("lint: passed, {} warnings", warned.clone().count()));
    lines.extend(warned.map(|finding| format!("lint: warning: {}", finding.message)));

    let file = format!("{}.test.yaml", draft.name);
    let test = suite::parse(&file, &draft.test).map_err(|errors| anyhow!("nothing is drafted: its test cannot be read: {errors:?}"))?;
    let report = suite::run_test(&file, &test, &source, &suite::Options::with(&whole.actuators))?;
    ensure!(report.failures().count() == 0, "nothing is drafted: its own test fails:\n{}", output::failures(&report));
    lines.push(format!("test: {} of {} passed", report.passed(), report.results.len()));
    Ok(lines)
}

/// What the draft would have done over the record it was made from.
fn replayed(data: &Path, whole: &RuleSet, made: &Made) -> anyhow::Result<Backtest> {
    let source = PolicySource {
        id: made.draft.name.as_str().into(),
        path: format!("{}.rhai", made.draft.name),
        text: made.draft.policy.clone(),
        overrides: PolicyOverride::default(),
    };
    backtest::of_source(whole, source, data, made.from, made.to)
}

/// The lines in front of the patch, for who reviews it.
fn head(made: &Made, tested: &[String], backtest: &Backtest) -> Vec<String> {
    let Draft { name, why, .. } = &made.draft;
    let mut head = vec![format!("Homeostat: a draft of the policy `{name}`, for review. Nothing is loaded by it.")];
    head.extend(why.iter().map(|line| format!("* {line}")));
    head.extend(made.notes.iter().map(|line| format!("* {line}")));
    head.extend(tested.iter().map(|line| format!("* {line}")));
    head.push(format!(
        "* backtest over the record, {} to {}: {} firings, {} evaluations, {:.1} % undetermined",
        moment(backtest.from),
        moment(backtest.to),
        backtest.firings.len(),
        backtest.evaluations,
        backtest.undetermined_share * 100.0
    ));
    head.extend(backtest.firings.iter().take(20).map(|firing| format!("    {} {} on {}", moment(firing.from), firing.verb, firing.target)));
    if backtest.firings.len() > 20 {
        head.push(format!("    and {} more", backtest.firings.len() - 20));
    }
    if backtest.counterfactual_from.is_some() {
        head.push(format!("* {COUNTERFACTUAL}"));
    }
    head.extend(backtest.notes.iter().take(10).map(|note| format!("* note: {note}")));
    head.into_iter().map(|line| show::clean(&line)).collect()
}

#[cfg(test)]
mod tests;
