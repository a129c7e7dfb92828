//! `homeostat policy doc`: what a policy may call, as it is registered.
//!
//! Deliberately absent: any text of its own; it stands in the kernel's manual.

use crate::cli::{Ended, Exit, show};
use clap::Args;
use homeostat_kernel::policy::manual;

/// What is to be told.
#[derive(Debug, Args)]
pub struct DocArgs {
    /// Only functions whose name holds this text
    name: Option<String>,
    /// Definitions for editors instead, as a `.d.rhai` file
    #[arg(long, conflicts_with = "name")]
    definitions: bool,
}

pub(super) fn doc(args: &DocArgs, json: bool) -> Ended {
    if args.definitions {
        print!("{}", manual::definitions());
        return Ok(Exit::Ok);
    }
    let Some(name) = &args.name else {
        if json {
            show::json(&manual::ENTRIES)?;
        } else {
            print!("{}", manual::reference());
        }
        return Ok(Exit::Ok);
    };
    let found = manual::entries_about(name);
    if json {
        show::json(&found)?;
    } else {
        print!("{}", found.iter().map(|entry| manual::entry_text(entry)).collect::<Vec<_>>().join("\n"));
    }
    if found.is_empty() {
        let near = manual::nearest_function(name).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        eprintln!("homeostat: there is no function whose name holds `{}`{near}", show::clean(name));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Ok)
}
