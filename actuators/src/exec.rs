//! `exec.<name>`: a configured command, run without a shell.
//!
//! Config, check and the actuator are here; [`run`] starts and ends the process. Deliberately absent: shells, word splitting,
//! inherited environment, and undo (name the opposite command instead). An editor breaks this by joining arguments into one text,
//! or by calling a killed command `NotDone`: it may have done half its work.

pub(crate) mod run;
#[cfg(test)]
mod tests;

use crate::args::{ArgConfig, Declarations, check_against, unknown_verb};
use crate::ledger::{Begin, Ledger, Mark, doing, never_started, not_revertible, time_allowed};
use crate::redact::Redactor;
use crate::template::{Template, Values, is_verb_part};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, BoxFuture, Class, Fault, FaultCode, Outcome, Planned, Receipt, Secret, Span, Time, Verb, VerbSpec,
};
use run::{Ended, Launch, Tail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The search path of a command that has none configured.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// An outcome quotes at most this much of the output's end.
const TAIL_CHARS_MAX: usize = 800;
/// The longest timeout that can be configured.
const TIMEOUT_MAX: Span = Span::from_hours(24);

/// Commands by name; `cleanup` becomes the verb `exec.cleanup`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The commands.
    pub commands: BTreeMap<String, CommandConfig>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// What it does, in one sentence.
    pub doc: String,
    /// The program and its arguments. `{arg}`, `{target}`, `{target_kind}`, `{target_name}` and `{action_id}` are replaced inside an
    /// element and never split; the program itself holds none.
    pub argv: Vec<String>,
    /// The arguments it takes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, ArgConfig>,
    /// How much it can hurt: `notify`, `restore`, `reversible`, `disruptive` or `irreversible`.
    #[serde(default = "class_default")]
    #[schemars(with = "String")]
    pub class: Class,
    /// How long it may run before it is killed.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long the target needs afterwards before its symptoms mean anything again.
    #[serde(default)]
    #[schemars(with = "String")]
    pub settle: Span,
    /// The folder it runs in; `/` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<PathBuf>,
    /// Its environment. Nothing is inherited; `PATH` is the system's folders unless given; `HOMEOSTAT_ACTION_ID` and
    /// `HOMEOSTAT_TARGET` are added. The values are taken out of everything it prints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Secret>,
    /// The target kinds it accepts; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_kinds: Vec<String>,
    /// The verb that does the opposite, e.g. `exec.unmount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opposite: Option<String>,
    /// Whom it runs as; the daemon's own user if not given (changing it needs root).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserConfig>,
}

/// A user by number, so that no name service is asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

fn class_default() -> Class {
    Class::Disruptive
}

fn timeout_default() -> Span {
    Span::from_secs(60)
}

#[derive(Debug)]
struct Command {
    spec: VerbSpec,
    argv: Vec<Template>,
    args: Declarations,
    config: CommandConfig,
}

/// The actuator `exec`.
#[derive(Debug)]
pub struct Exec {
    commands: BTreeMap<Verb, Command>,
    ledger: Arc<Ledger>,
}

impl Exec {
    /// Checks the configuration and builds; starts nothing. Every problem is listed.
    pub fn new(config: &ExecConfig, ledger: Arc<Ledger>) -> Result<Exec, Vec<Fault>> {
        let mut commands = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, command) in &config.commands {
            match compile(name, command) {
                Ok(command) => drop(commands.insert(command.spec.verb.clone(), command)),
                Err(problems) => faults.extend(
                    problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, format!("configure command `exec.{name}`"), text)),
                ),
            }
        }
        if faults.is_empty() { Ok(Exec { commands, ledger }) } else { Err(faults) }
    }

    fn command(&self, action: &Action) -> Result<&Command, Fault> {
        self.commands.get(&action.verb).ok_or_else(|| unknown_verb(action, self.commands.values().map(|command| &command.spec)))
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let prepared = self.command(action).and_then(|command| Ok((command, command.arguments(action)?)));
        let (command, argv) = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let (launch, redactor) = match command.launch(argv, action) {
            Ok(launch) => launch,
            Err(problem) => return never_started(doing, problem),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let ended = run::run(&launch, |identity| {
            for (name, value) in identity {
                if let Err(fault) = self.ledger.note(mark, name, value) {
                    tracing::warn!(%mark, %fault, "The process was not noted; a probe after a crash cannot find it.");
                }
            }
        });
        let outcome = told(doing, ended.await, launch.timeout, &redactor);
        self.ledger.settle(mark, outcome)
    }

    fn look(&self, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = format!("probe {} {} on {}", action.id, action.verb, action.target);
        match self.ledger.look(mark) {
            Ok(Begin::Fresh) => never_started(doing, "it was never started here"),
            Ok(Begin::Finished(outcome)) => outcome,
            Ok(Begin::Started(started)) => Outcome::Unknown(match run::alive(&started.notes) {
                Some(pid) => Fault::new(FaultCode::Conflict, doing, format!("it still runs as process {pid}")),
                None => Fault::new(FaultCode::Conflict, doing, "it was started; nobody saw how it ended"),
            }),
            Err(fault) => Outcome::Unknown(fault),
        }
    }
}

impl Command {
    /// The arguments with all places filled. A value that would begin an argument with `-` is refused unless allowed.
    fn arguments(&self, action: &Action) -> Result<Vec<String>, Fault> {
        check_against(&self.spec, action)?;
        let refuse = |problems: String| Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), problems);
        let values = self.args.values(action).map_err(|problems| refuse(problems.join("; ")))?;
        self.argv.iter().map(|template| self.argument(template, &values).map_err(&refuse)).collect()
    }

    fn argument(&self, template: &Template, values: &Values) -> Result<String, String> {
        let text = template.plain(values);
        match template.leading() {
            Some(name) if text.starts_with('-') && !self.args.allows_leading_dash(name) => {
                Err(format!("`{name}` begins with `-` and would be read as an option (see `allow_leading_dash`)"))
            }
            _ => Ok(text),
        }
    }

    /// Everything needed to start the process, and the secrets to take out of its output.
    fn launch(&self, argv: Vec<String>, action: &Action) -> Result<(Launch, Redactor), String> {
        let mut redactor = Redactor::default();
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
        for (name, secret) in &self.config.env {
            let value = if name == "PATH" { crate::redact::resolve(secret)? } else { redactor.take(secret)? };
            if value.contains('\0') {
                return Err(format!("the environment variable `{name}` holds a NUL byte"));
            }
            env.insert(name.clone(), value);
        }
        env.insert("HOMEOSTAT_ACTION_ID".into(), action.id.to_string());
        env.insert("HOMEOSTAT_TARGET".into(), action.target.to_string());
        let dir = self.config.working_dir.clone().unwrap_or_else(|| "/".into());
        let timeout = time_allowed(action, self.config.timeout);
        Ok((Launch { argv, env, dir, user: self.config.user.map(|user| (user.uid, user.gid)), timeout }, redactor))
    }
}

impl Actuator for Exec {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "exec".into(), verbs: self.commands.values().map(|command| command.spec.clone()).collect() }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.command(action)?.arguments(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let argv = self.command(action)?.arguments(action)?;
        // Quoted as a shell would need it: what is one argument must look like one.
        let quoted = |text: &String| if text.is_empty() || text.contains(char::is_whitespace) { format!("{text:?}") } else { text.clone() };
        let call = argv.iter().map(quoted).collect::<Vec<_>>().join(" ");
        Ok(vec![Planned { call, body: None, writes: true }])
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, _now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async { self.look(action) })
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "act with its opposite instead") })
    }
}

/// What is known after the process ended.
fn told(doing: String, ended: Ended, timeout: std::time::Duration, redactor: &Redactor) -> Outcome {
    let shown = |tail: &Tail| {
        let text = redactor.clean_tail(&tail.text(), TAIL_CHARS_MAX);
        let lines = tail.lines();
        let end = if text.is_empty() { String::new() } else { format!("; it ends: {text}") };
        format!("{lines} {}{end}", if lines == 1 { "line" } else { "lines" })
    };
    match ended {
        Ended::NotStarted(error) => {
            never_started(doing, redactor.clean_head(&format!("the program or its folder cannot be used: {error}"), TAIL_CHARS_MAX))
        }
        Ended::Exited(0, tail) => Outcome::Done(Receipt { observed: format!("exit status 0, {}", shown(&tail)), ..Receipt::default() }),
        Ended::Exited(status, tail) => {
            Outcome::NotDone(Fault::new(FaultCode::Failed, doing, format!("exit status {status}, expected 0; {}", shown(&tail))))
        }
        Ended::Signalled(signal, tail) => Outcome::Unknown(Fault::new(
            FaultCode::Failed,
            doing,
            format!("ended by signal {signal}, which tells nothing about its effects; {}", shown(&tail)),
        )),
        Ended::Killed(tail) => Outcome::Unknown(Fault::new(
            FaultCode::TimedOut,
            doing,
            format!("killed after {} s; it may have had effects; {}", timeout.as_secs_f64(), shown(&tail)),
        )),
        Ended::Lost(error) => Outcome::Unknown(Fault::new(FaultCode::Internal, doing, format!("its end could not be seen: {error}"))),
    }
}

fn compile(name: &str, config: &CommandConfig) -> Result<Command, Vec<String>> {
    let mut problems = Vec::new();
    if !is_verb_part(name) {
        problems.push(format!("`{name}` is not a name: expected letters, digits, `-` and `_`, at most 64"));
    }
    if config.doc.trim().is_empty() {
        problems.push("`doc` is empty; say what it does".into());
    }
    if config.timeout <= Span::ZERO || config.timeout > TIMEOUT_MAX {
        problems.push(format!("`timeout` is {}, expected more than 0s and at most {TIMEOUT_MAX}", config.timeout));
    }
    if config.working_dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
        problems.push("`working_dir` is not an absolute path".into());
    }
    for name in config.env.keys() {
        if name.is_empty() || name.contains(['=', '\0']) || name.starts_with("HOMEOSTAT_") {
            problems.push(format!("`env` holds `{name}`: expected a name without `=`, not beginning with `HOMEOSTAT_`"));
        }
    }
    let args = Declarations::compile(&config.args).unwrap_or_else(|more| {
        problems.extend(more);
        Declarations::default()
    });
    let argv = compile_argv(&config.argv, &args, config.args.is_empty() || problems.is_empty(), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let spec = VerbSpec {
        verb: format!("exec.{name}").into(),
        class: config.class,
        args: args.specs(),
        target_kinds: config.target_kinds.clone(),
        targets: None,
        opposite: config.opposite.clone().map(Verb::from),
        settle: config.settle,
        timeout: Span(config.timeout.millis() + run::GRACE_SPAN.millis()),
        revertible: false,
        cost: Default::default(),
        doc: config.doc.clone(),
    };
    Ok(Command { spec, argv, args, config: config.clone() })
}

fn compile_argv(argv: &[String], args: &Declarations, check_names: bool, problems: &mut Vec<String>) -> Vec<Template> {
    let mut templates = Vec::new();
    for (i, text) in argv.iter().enumerate() {
        match Template::parse(text) {
            Ok(_) if text.contains('\0') => problems.push(format!("`argv[{i}]` holds a NUL byte")),
            Ok(template) if i == 0 && (template.names().next().is_some() || text.is_empty()) => {
                problems.push(format!("`argv[0]` is `{text}`: the program must be given as it is"));
            }
            Ok(template) => {
                if check_names {
                    problems.extend(args.check_names(template.names(), &format!("`argv[{i}]`")));
                }
                templates.push(template);
            }
            Err(problem) => problems.push(format!("`argv[{i}]`: {problem}")),
        }
    }
    if argv.is_empty() {
        problems.push("`argv` is empty: expected a program and its arguments".into());
    }
    templates
}

/// What identifies a process across restarts of the daemon, as ledger notes.
pub(crate) type Identity = Vec<(&'static str, Arg)>;
