//! The command line: what `homeostat <command>` does and with which exit status it ends.
//!
//! Commands talk to the daemon over its Unix socket; where none runs, those that only read take the journal instead and say so.
//! Reading order: `args` (what can be said), `place` (where things are), `asking` and `scoring` (the daemon or the journal), `tools` (what needs no
//! daemon), `show` (how it looks). Deliberately absent: any decision. An editor breaks this by printing to stdout what is not the
//! answer: scripts read it.

mod acting;
mod asking;
mod incident;
mod mcp;
mod scoring;
pub(crate) mod show;
mod thinking;
mod tools;

pub(crate) use tools::{configured, read_once, source_of, with_big_stack};

pub mod args;
pub mod place;
pub mod rbac;

pub use args::Cli;
pub use mcp::OverSocket;

use crate::client::ClientError;
use args::Command;
use place::Place;
use std::process::ExitCode;

/// How a command ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and all is well.
    Ok,
    /// Failed, or refused.
    Failed,
    /// No daemon is running.
    NotRunning,
    /// Something is not well.
    Unhealthy,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::NotRunning => 3,
            Exit::Unhealthy => 4,
        })
    }
}

/// A command's end: how, or why not.
pub type Ended = anyhow::Result<Exit>;

/// `homeostat demo`
async fn demo(args: args::DemoArgs, json: bool) -> Ended {
    let args::DemoArgs { speed, lasts, headless, seed, lab, listen } = args;
    let lines = headless || json;
    let all_seen = crate::demo::run(crate::demo::Options { speed, lasts, headless, json, seed, lab, listen }).await?;
    // At a screen the story ends when its reader does; only who prints lines asks for all of it.
    Ok(if all_seen || !lines { Exit::Ok } else { Exit::Unhealthy })
}

/// `homeostat simulate`
fn simulate(args: args::SimulateArgs, json: bool) -> Ended {
    use homeostat_sim::run::Control;
    let args::SimulateArgs { lab, scenario, seed, lasts, compare: _, control, list, swarm, break_guard } = args;
    let control = control.and_then(|name| Control::ALL.into_iter().find(|control| control.name() == name));
    let options = crate::simulate::Options { lab, scenario, seed, lasts, control, json, list, swarm, broken_guard: break_guard };
    Ok(if crate::simulate::run(&options)? { Exit::Ok } else { Exit::Failed })
}

/// Runs the command. Errors are the caller's to print; a daemon that is not there is [`Exit::NotRunning`].
///
/// # Errors
/// What the command could not do.
pub async fn run(cli: Cli) -> Ended {
    let place = Place::find(&cli.global, matches!(cli.command, Command::Run { .. } | Command::Doctor));
    let json = cli.global.json;
    let ended = match cli.command {
        Command::Run { listen } => tools::run(place, listen).await,
        Command::Check => tools::check(&place, json),
        Command::Status => asking::status(&place, json).await,
        Command::Explain { what, target } => asking::explain(&place, &what, target.as_deref().unwrap_or(""), json).await,
        Command::Actions { limit } => asking::actions(&place, limit, json).await,
        Command::Approve { id, plan } => asking::approve(&place, &id, plan, json).await,
        Command::Deny { id, never } => asking::deny(&place, &id, never, json).await,
        Command::Scores { command: None } => scoring::scores(&place, json).await,
        Command::Scores { command: Some(args::ScoresCommand::Show { policy, svg }) } => scoring::show(&place, &policy, svg, json).await,
        Command::Autonomy => scoring::autonomy(&place, json).await,
        Command::Ledger { month } => scoring::ledger(&place, month, json).await,
        Command::Digest(args) => scoring::digest(&place, &args, json).await,
        Command::Incident(command) => incident::run(&place, command, json).await,
        Command::Drill { policy } => scoring::drill(&place, &policy, json).await,
        Command::Do { verb, target, args, because, plan } => {
            let wish = acting::Wish { verb: &verb, target: &target, pairs: &args, because: &because, plan: plan.as_deref() };
            acting::wish(&place, &wish, json).await
        }
        Command::Ask { words } => acting::ask(&place, &words, json).await,
        Command::Mcp => mcp::mcp(&place).await,
        Command::Plan { what, target, args } => acting::plan(&place, &what, target.as_deref(), &args, json).await,
        Command::Runs => acting::runs(&place, json).await,
        Command::Release { run } => acting::release(&place, &run, json).await,
        Command::Playbooks => acting::playbooks(&place, json).await,
        Command::Consult { target } => thinking::consult(&place, &target, json).await,
        Command::Questions => thinking::questions(&place, json).await,
        Command::Chaos(args::ChaosCommand::Abort { all: _, within }) => acting::abort_experiments(place, within, json).await,
        Command::Pause { reason } => asking::pause(&place, &reason.join(" "), json).await,
        Command::Resume => asking::resume(&place, json).await,
        Command::Unlock { policy, symptom } => asking::unlock(&place, &policy, &symptom.unwrap_or_default(), json).await,
        Command::Replay { from } => tools::replay(&place, from, json),
        Command::Journal(command) => tools::journal(&place, command, json).await,
        Command::Sensors(command) => tools::sensors(place, command, json).await,
        Command::Config(command) => tools::config(place, &command),
        Command::Policy(command) => crate::policy::run(place, command, json).await,
        Command::Doctor => tools::doctor(place, json).await,
        Command::Rbac(args) => rbac::rbac(place, &args, json),
        Command::Demo(args) => demo(args, json).await,
        Command::Simulate(args) => simulate(args, json),
    };
    match ended {
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::NotRunning { .. })) => {
            eprintln!("homeostat: {error}");
            Ok(Exit::NotRunning)
        }
        other => other,
    }
}
