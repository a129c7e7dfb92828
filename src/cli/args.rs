//! The command line as types; the texts of `--help` are their doc comments.
//!
//! Deliberately absent: what the commands do. An editor breaks this by giving one thing two names.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a script can tell from the exit status.
const AFTER_HELP: &str = "\
Exit status:
  0  done, and all is well
  1  failed, or refused
  2  the command line is wrong
  3  no daemon is running
  4  something is not well (status, check, doctor, demo)";

/// An always-on control loop for homelabs: senses, rules, acts, and explains why.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file [default: ./homeostat.yaml, /etc/homeostat/homeostat.yaml, else none]
    #[arg(long, global = true, value_name = "FILE", env = "HOMEOSTAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory with journal and socket [default: the configuration's, /var/lib/homeostat, $XDG_STATE_HOME/homeostat, ./data]
    #[arg(long, global = true, value_name = "DIR", env = "HOMEOSTAT_DATA")]
    pub data: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// How the log is written to stderr; RUST_LOG says how much
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run {
        /// Address of pages, API, webhooks and metrics [default: the configuration's, 127.0.0.1:9797]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Check configuration and policies; changes nothing
    Check,
    /// Show how everything stands
    Status,
    /// Explain an action (`a12`), or why a policy fires or does not (`disk-full nas`)
    Explain {
        /// An action's number, or a policy's name
        what: String,
        /// Part of the policy's target
        target: Option<String>,
    },
    /// List actions, the last moved first
    Actions {
        /// How many
        #[arg(short = 'n', long = "limit", default_value_t = 30)]
        limit: usize,
    },
    /// Say yes to a waiting action
    Approve {
        /// The action's number
        id: String,
        /// The plan's hash as it was shown to you; refused if the plan has changed
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
    },
    /// Say no to a waiting action
    Deny {
        /// The action's number
        id: String,
        /// Never again for this target, until you unlock it
        #[arg(long)]
        never: bool,
    },
    /// What actions really did: what is believed of each, or every score of one policy
    Scores {
        /// One policy in full
        #[command(subcommand)]
        command: Option<ScoresCommand>,
    },
    /// How far each policy may go by itself, what it lacks for more, and every step with its evidence
    Autonomy,
    /// What was spent by month and policy, what is left of the budget, and what is locked
    Ledger {
        /// One month: `2026-11`
        #[arg(long, value_name = "YYYY-MM", value_parser = month)]
        month: Option<homeostat_kernel::score::books::Month>,
    },
    /// What was healed, what only seemed so, what keeps coming back, and what it cost
    Digest(DigestArgs),
    /// What went wrong and what came of it: incidents, and a note about each
    #[command(subcommand)]
    Incident(super::incident::IncidentCommand),
    /// Rehearse: make the fault of a policy's drill now, and see whether it answers
    Drill {
        /// The policy's name
        policy: String,
    },
    /// Wish something yourself: the guards rule on it as on any wish, your order is the yes
    Do {
        /// What, as `actuator.verb`: `power.wake`, `playbook.node-sleep`
        verb: String,
        /// To what, as `kind/name`: `node/nas`
        target: String,
        /// How
        #[arg(value_name = "NAME=VALUE")]
        args: Vec<String>,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT", default_value = "")]
        because: String,
        /// Only if the plan is still this one, as `plan` or `ask` showed it
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
    },
    /// Ask in words: a question is answered, a request becomes a plan that you may confirm; nothing is done by asking
    Ask {
        /// What, such as `why is nas not asleep?` or `wake muscle`
        #[arg(required = true, value_name = "WORD")]
        words: Vec<String>,
    },
    /// Serve agents on stdin and stdout (Model Context Protocol): they may look and propose, a person decides
    Mcp,
    /// Dry run: every step, what would be sent, what the guards say and what would go down; sends nothing
    Plan {
        /// An action's number, or a verb
        what: String,
        /// The verb's target
        target: Option<String>,
        /// How
        #[arg(value_name = "NAME=VALUE")]
        args: Vec<String>,
    },
    /// List runs of playbooks
    Runs,
    /// Free the targets of a stuck run, after you have looked at them
    Release {
        /// The run's number
        run: String,
    },
    /// List the playbooks that can be run
    Playbooks,
    /// Ask the configured language models about a thing; what they propose waits for a person
    Consult {
        /// The thing: `node/nas`
        target: String,
    },
    /// List the questions to language models, and what came of each
    Questions,
    /// Chaos Mesh experiments of Homeostat
    #[command(subcommand)]
    Chaos(ChaosCommand),
    /// Hands off: sensing goes on, nothing is sent until `resume`
    Pause {
        /// Why
        reason: Vec<String>,
    },
    /// End hands-off
    Resume,
    /// Take the futility lock off a policy
    Unlock {
        /// The policy's name
        policy: String,
        /// One symptom only
        symptom: Option<String>,
    },
    /// Replay the journal through the kernel and compare the effects
    Replay {
        /// Start with the daemon's first start at or after this entry
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        from: u64,
    },
    /// Read, check or copy the journal
    #[command(subcommand)]
    Journal(JournalCommand),
    /// List sensors, or read one
    #[command(subcommand)]
    Sensors(SensorsCommand),
    /// Show configuration, schema or reference
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write, check, test, backtest and compare policies
    #[command(subcommand)]
    Policy(crate::policy::args::PolicyCommand),
    /// Tell what works, what is missing, and how to fix it
    Doctor,
    /// Print the Kubernetes rights that the configured actuators need, as YAML for `kubectl apply -f -`
    Rbac(RbacArgs),
    /// Show the loop at work on a simulated homelab; needs nothing and leaves nothing behind
    ///
    /// The real daemon runs against a simulated house over loopback, in faster time: disks fill, nodes hang, pods crash. With
    /// --headless or --json it prints lines, answers questions itself, ends when the story is told, and exits with 4 if a part of it
    /// was not seen.
    Demo(DemoArgs),
    /// Play the loop on a simulated homelab in virtual time, and print what it is worth
    ///
    /// Three controls meet the same weather: nobody acts, every proposal is done at once, and the loop as it is. Exits with 1 if an
    /// expectation of the scenario is not met or an invariant is broken.
    Simulate(SimulateArgs),
}

/// About scores.
#[derive(Debug, Subcommand)]
pub enum ScoresCommand {
    /// Every score of a policy: forest plots of its effects, and how its symptoms go by themselves
    Show {
        /// The policy's name
        policy: String,
        /// Write the plots as SVG to this file, too
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

/// Of what time, and how it looks.
#[derive(Clone, Debug, Args)]
pub struct DigestArgs {
    /// How it is written
    #[arg(long, value_enum, default_value = "markdown")]
    pub format: DigestFormat,
    /// How far back it looks: `7d`
    #[arg(long, value_name = "DURATION", value_parser = digest_span, default_value = "7d")]
    pub since: homeostat_model::Span,
    /// Write it to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a digest is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum DigestFormat {
    /// For terminals, mails and notes.
    Markdown,
    /// One page, plots included.
    Html,
    /// A few lines, as they are sent to a phone.
    Short,
}

fn digest_span(text: &str) -> Result<homeostat_model::Span, String> {
    crate::digest::span(text)
}

fn month(text: &str) -> Result<homeostat_kernel::score::books::Month, String> {
    text.parse()
}

/// Whose rights, and how many.
#[derive(Clone, Debug, Args)]
pub struct RbacArgs {
    /// Only what looks: no right to write anything
    #[arg(long)]
    pub dry_run: bool,
    /// The ServiceAccount's namespace
    #[arg(long, value_name = "NS", default_value = "homeostat")]
    pub namespace: String,
    /// The ServiceAccount
    #[arg(long, value_name = "NAME", default_value = "homeostat")]
    pub service_account: String,
    /// These actuators instead of the configuration's: `scale,node`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub actuators: Vec<String>,
    /// Kinds of Kratix promises that may be requested, as plural and group: `redis.marketplace.kratix.io`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub requests: Vec<String>,
}

/// What the simulation can be told.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// A lab file, with `policies/` beside it [default: the classic lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// A scenario file [default: an ordinary month]
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// For everything that happens by chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How long, in the house's time, instead of the scenario's: `30d`
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub lasts: Option<homeostat_model::Span>,
    /// All three controls on the same seed; this is the default
    #[arg(long, conflicts_with = "control")]
    pub compare: bool,
    /// One control alone
    #[arg(long, value_name = "NAME", value_parser = ["do-nothing", "blind-apply", "ours"])]
    pub control: Option<String>,
    /// List what was sent, too
    #[arg(long)]
    pub list: bool,
    /// Try so many seeds, from --seed on, and check the invariants only
    #[arg(long, value_name = "COUNT")]
    pub swarm: Option<u64>,
    /// A guard whose word does not count, to see the checkers notice; builds for tests only
    #[arg(long, value_name = "GUARD", hide = true)]
    pub break_guard: Option<String>,
}

fn span(text: &str) -> Result<homeostat_model::Span, String> {
    let span: homeostat_model::Span = text.parse().map_err(|error: homeostat_model::time::SpanError| error.to_string())?;
    let most = homeostat_sim::scenario::DURATION_MAX;
    if span > homeostat_model::Span::ZERO && span <= most { Ok(span) } else { Err(format!("expected more than 0s and at most {most}")) }
}

/// What the demo can be told.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Seconds of the house's time per real second
    #[arg(long, value_name = "TIMES", default_value = "30", value_parser = speed)]
    pub speed: f64,
    /// How long it runs at most, in real time: `3m` [default: until you end it; 3m without a screen]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub lasts: Option<std::time::Duration>,
    /// Print one line per change instead of a screen
    #[arg(long)]
    pub headless: bool,
    /// For everything that happens by chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A lab file, with `demo.yaml` and `policies/` beside it [default: the classic lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// Address of the daemon's pages [default: a free port on 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speeds = crate::clock::SPEEDS;
    let within = text.parse().ok().filter(|speed| speeds.contains(speed));
    within.ok_or_else(|| format!("expected a number from {} to {}", speeds.start(), speeds.end()))
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    let span: homeostat_model::Span = text.parse().map_err(|error: homeostat_model::time::SpanError| error.to_string())?;
    if span > homeostat_model::Span::ZERO { Ok(span.to_std()) } else { Err("expected more than 0s".into()) }
}

/// About the journal.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Print the last entries
    Tail {
        /// How many
        #[arg(short = 'n', long = "lines", default_value_t = 20)]
        lines: u32,
        /// Go on printing what is written
        #[arg(short, long)]
        follow: bool,
    },
    /// Check the hash chain, the segments and the count
    Verify,
    /// Copy the journal's table to a new file
    Backup {
        /// The file; it must not exist
        file: PathBuf,
    },
}

/// About experiments.
#[derive(Debug, Subcommand)]
pub enum ChaosCommand {
    /// End every experiment of ours at once and wait for the recovery; needs no daemon
    Abort {
        /// All of them; said aloud, so that nobody ends one by a slip
        #[arg(long, required = true)]
        all: bool,
        /// How long to wait for the recovery: `2m`
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2m")]
        within: std::time::Duration,
    },
}

/// About sensors.
#[derive(Debug, Subcommand)]
pub enum SensorsCommand {
    /// List the configured sensors
    List,
    /// Read a sensor once and print what it sees
    Probe {
        /// The sensor's name
        name: String,
    },
}

/// About the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a JSON schema, for editors
    Schema {
        /// Which kind of file
        #[arg(long = "for", value_enum, value_name = "KIND", default_value = "config")]
        of: crate::config::SchemaOf,
    },
    /// Print the reference of every field, as Markdown
    Reference,
    /// Print the configuration in force, defaults included, without secrets
    Show,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_behind_the_command() {
        let cli = Cli::try_parse_from(["homeostat", "explain", "disk-full", "nas", "--json", "--data", "/d"]).unwrap();
        assert!(cli.global.json && cli.global.data == Some("/d".into()));
        assert!(matches!(cli.command, Command::Explain { what, target: Some(target) } if what == "disk-full" && target == "nas"));
        let cli = Cli::try_parse_from(["homeostat", "--config", "x.yaml", "journal", "tail", "-n", "5", "--follow"]).unwrap();
        assert!(matches!(cli.command, Command::Journal(JournalCommand::Tail { lines: 5, follow: true })));
        let cli = Cli::try_parse_from(["homeostat", "pause", "moving", "the", "rack"]).unwrap();
        assert!(matches!(cli.command, Command::Pause { reason } if reason.join(" ") == "moving the rack"));
    }

    #[test]
    fn wrong_usage_exits_with_2_and_help_names_every_status() {
        assert_eq!(Cli::try_parse_from(["homeostat", "aprove", "a1"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["homeostat", "run", "--listen", "nowhere"]).unwrap_err().exit_code(), 2);
        let help = Cli::command().render_long_help().to_string();
        for line in ["0  done", "1  failed", "2  the command line", "3  no daemon", "4  something is not well"] {
            assert!(help.contains(line), "{help}");
        }
    }
}
