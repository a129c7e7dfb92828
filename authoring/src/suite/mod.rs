//! Tests of policies: a `*.test.yaml` says what comes in and what the policy must wish, and the production kernel answers.
//!
//! `text` reads the file, `notation` the series in it (as promtool's unit tests write them), `run` feeds the kernel, `judge` compares,
//! `output` tells people and machines. Deliberately absent: a second way to evaluate, and actuators: what is admitted here is
//! answered as done and dropped. An editor breaks this by looking at anything but the kernel's own views.

pub mod coverage;
mod judge;
pub mod notation;
pub mod output;
mod run;
pub mod text;

#[cfg(test)]
pub(crate) mod tests;

pub use coverage::Coverage;
pub use judge::Failure;
pub use run::START;
pub use text::{Case, Expect, PolicyTest, What, Wished, parse};

use homeostat_kernel::Kernel;
use homeostat_kernel::policy::PolicyError;
use homeostat_model::{ActuatorSpec, ArbiterSettings, PolicyOverride, PolicySource, RuleSet, StoreSettings};
use serde::Serialize;
use std::path::Path;

/// What a test file said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// The policy.
    pub policy: String,
    /// Its expectations, in the file's order.
    pub results: Vec<Checked>,
    /// Expectations that were not asked for.
    pub filtered: usize,
    /// The branches that the tests take, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// One expectation and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The test's name; empty in a file of one.
    pub test: String,
    /// The expectation in one line.
    pub expectation: String,
    /// Where it stands, from 1.
    pub line: usize,
    /// The same.
    pub column: usize,
    /// Why it failed; `None` if it did not.
    pub failure: Option<Failure>,
}

impl Report {
    /// Expectations that came true.
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|checked| checked.failure.is_none()).count()
    }

    /// Those that did not.
    pub fn failures(&self) -> impl Iterator<Item = (&Checked, &Failure)> {
        self.results.iter().filter_map(|checked| Some((checked, checked.failure.as_ref()?)))
    }

    /// What an expectation is called: `disk-full: fills slowly: at 60m: quiet`.
    pub fn name_of(&self, checked: &Checked) -> String {
        full_name(&self.policy, &checked.test, &checked.expectation)
    }
}

fn full_name(policy: &str, test: &str, expectation: &str) -> String {
    let test = if test.is_empty() { String::new() } else { format!("{test}: ") };
    format!("{policy}: {test}{expectation}")
}

/// Why tests could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum Unrunnable {
    /// The test file is wrong, in these places.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<PolicyError>),
    /// Something else, with the words for it: a file that cannot be read, a policy that does not load.
    #[error("{0}")]
    Other(String),
}

/// How tests are run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The actuators that there are.
    pub actuators: Vec<ActuatorSpec>,
    /// Only expectations whose full name (`policy: test: expectation`) holds this.
    pub filter: String,
    /// Whether to look which branches are taken; costs a second run.
    pub coverage: bool,
}

impl Options {
    /// All tests, with these actuators.
    pub fn with(actuators: &[ActuatorSpec]) -> Options {
        Options { actuators: actuators.to_vec(), ..Options::default() }
    }
}

/// Runs a test file (`disk-full.test.yaml`) beside its policy (`disk-full.rhai`).
///
/// # Errors
/// The tests could not be run; expectations that fail stand in the report.
pub fn run_file(path: &Path, options: &Options) -> Result<Report, Unrunnable> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| Unrunnable::Other(format!("{} cannot be read: {error}", path.display())))
    };
    let text = read(path)?;
    let test = parse(&path.display().to_string(), &text).map_err(Unrunnable::Wrong)?;
    let script = path.with_file_name(format!("{}.rhai", test.policy));
    let source = PolicySource {
        id: test.policy.as_str().into(),
        path: script.display().to_string(),
        text: read(&script)?,
        overrides: PolicyOverride::default(),
    };
    run_test(&path.display().to_string(), &test, &source, options)
}

/// The same with texts that are not files (yet).
///
/// # Errors
/// As [`run_file`].
pub fn run_test(file: &str, test: &PolicyTest, source: &PolicySource, options: &Options) -> Result<Report, Unrunnable> {
    let coverage = options.coverage.then(Coverage::default);
    let mut report = Report { file: file.to_owned(), policy: test.policy.clone(), coverage, ..Report::default() };
    for case in &test.cases {
        let wanted: Vec<bool> =
            case.expect.iter().map(|expect| full_name(&test.policy, &case.name, &expect.title()).contains(&options.filter)).collect();
        report.filtered += wanted.iter().filter(|wanted| !**wanted).count();
        if !wanted.contains(&true) {
            continue;
        }
        let mut source = source.clone();
        source.overrides.params.extend(case.params.clone());
        let rules = RuleSet {
            policies: vec![source],
            actuators: options.actuators.clone(),
            arbiter: ArbiterSettings::default(),
            store: StoreSettings::default(),
            ..RuleSet::default()
        };
        let broken = |why: String| Unrunnable::Other(full_name(&test.policy, &case.name, &why));
        let mut kernel = Kernel::new(rules.store.clone());
        let mut said = run::run(&test.policy, case, rules.clone(), &mut kernel).map_err(|error| broken(format!("{error:#}")))?;
        if let Some(coverage) = &mut report.coverage {
            let mut kernel = Kernel::new(rules.store.clone());
            kernel.record_branches();
            let again = run::run(&test.policy, case, rules, &mut kernel).map_err(|error| broken(format!("{error:#}")))?;
            if again.iter().map(|(_, failure)| failure.is_some()).ne(said.iter().map(|(_, failure)| failure.is_some())) {
                return Err(broken(
                    "the run that records branches ends otherwise than the one that does not: run it without `--coverage`".into(),
                ));
            }
            coverage.add(kernel.branches(&test.policy));
        }
        said.sort_by_key(|(number, _)| *number);
        for (number, failure) in said.into_iter().filter(|(number, _)| wanted[*number]) {
            let expect = &case.expect[number];
            let (line, column) = expect.place;
            report.results.push(Checked { test: case.name.clone(), expectation: expect.title(), line, column, failure });
        }
    }
    Ok(report)
}
