//! `homeostat policy …` as types; the texts of `--help` are their doc comments.

use clap::Subcommand;
use std::path::PathBuf;

/// About policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies that would be loaded
    List,
    /// Look for what is wrong with policies and their tests before they run
    Check(super::check::CheckArgs),
    /// Tell what a policy would have done in the past; nothing is sent
    Backtest(super::backtest::BacktestArgs),
    /// Compare what a candidate wished beside the live policy, out of the journal; a candidate never acts
    Compare {
        /// The live policy's name [default: all that have a candidate]
        policy: Option<String>,
        /// Wishes that begin within this time of each other are the same
        #[arg(long, value_name = "DURATION", default_value = "10m")]
        tolerance: homeostat_model::Span,
    },
    /// Look for loops between policies: fights, loops without rest, claims on what is not moved
    Lint(super::lint::LintArgs),
    /// Search for the shortest trace that makes a policy go to and fro, take down the last one, act on stale data, or fail
    Fuzz(super::fuzz::FuzzArgs),
    /// Write a policy and its test, ready to be edited
    New(super::new::NewArgs),
    /// Draft a policy and its test from what was done again and again, as a patch for review; nothing is loaded
    Draft(super::draft::DraftArgs),
    /// Check and test policies and look at their last hours again whenever one is saved
    Watch {
        /// The folder [default: the configured policy folder, ./policies]
        dir: Option<PathBuf>,
        /// Look once and end: with 1 if something is wrong
        #[arg(long)]
        once: bool,
    },
    /// Print what a policy may call, with units and examples
    Doc(super::doc::DocArgs),
    /// Ask the running daemon's windows, an expression at a time; nothing is done
    Repl,
    /// Run policies' tests
    Test {
        /// `*.test.yaml` files, policies with a test beside them, or folders of them [default: the configured policy folder, ./policies]
        paths: Vec<PathBuf>,
        /// Only expectations whose name (`policy: test: expectation`) holds this text
        #[arg(long, short = 'n', default_value = "")]
        name: String,
        /// Also tell which branches of each policy no test reaches
        #[arg(long)]
        coverage: bool,
        /// Also write the results as JUnit's XML into this file
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
}
