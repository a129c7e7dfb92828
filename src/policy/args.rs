//! `homeostat policy …` as types; the texts of `--help` are their doc comments.

use clap::Subcommand;
use std::path::PathBuf;

/// About policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies that would be loaded
    List,
    /// Run policies' tests
    Test {
        /// `*.test.yaml` files, or folders of them [default: the configured policy folder, ./policies]
        paths: Vec<PathBuf>,
    },
}
