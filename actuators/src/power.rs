//! `power.wake`, `power.on`, `power.sleep`, `power.off`, `power.reboot`: a node's power, believed only when the node shows it.
//!
//! Reading order: [`config`] (nodes, ways, witnesses), `witness` (who sees a node awake), `way` (how each thing is done), `flow` and
//! then `rise`, `rest`, `reboot` (what happens in which order), `look` (probes), `node` (what speaks against it), [`rental`] (when a nap
//! pays). A wake is proven by witnesses *after* the send, rest by the silence of all of them, and by nothing else: an accepted command, a
//! controller's word or a dead connection prove nothing. Deliberately absent: draining a node, deciding when. An editor breaks this by
//! taking an answer from before the send for a wake, or by calling silence at the deadline `NotDone` in `apply`: the node may still be
//! booting.

mod checking;
mod command;
pub mod config;
mod flow;
mod look;
pub mod magic;
mod memory;
mod meter;
mod node;
mod reading;
mod reboot;
mod redfish;
pub mod rental;
mod rest;
mod rise;
#[cfg(test)]
pub(crate) mod tests;
mod way;
mod wire;
mod witness;
mod wol;

pub use config::{NodeConfig, NodeProbeConfig, PowerConfig, Want};
pub use rental::Costs;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible};
use crate::pace::Pace;
use flow::{Deed, RESTED_AT, WOKEN_AT};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Span,
    Target, Time, Verb, VerbSpec,
};
use memory::Memory;
use node::{IDLE_FOR, Node, Own};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use way::Way;
use witness::Eye;
use wol::Bursts;

/// Exchanges before and after the send take real time; so much is allowed for them.
const EXCHANGES: Span = Span::from_secs(60);
/// One look is given at least this, in real time.
const LOOK_MIN: Duration = Duration::from_millis(50);
/// This machine's neighbour table.
const NEIGHBOURS: &str = "/proc/net/arp";

/// The actuator `power`.
#[derive(Debug)]
pub struct Power {
    nodes: BTreeMap<Target, Node>,
    specs: BTreeMap<Want, VerbSpec>,
    bursts: Bursts,
    poll: Span,
    silence: Span,
    pace: Pace,
    neighbours: PathBuf,
    ledger: Arc<Ledger>,
}

impl Power {
    /// Checks the configuration and builds; sends nothing. Every problem is listed.
    pub fn new(config: &PowerConfig, ledger: Arc<Ledger>) -> Result<Power, Vec<Fault>> {
        Power::on_host(config, ledger, &Own::here())
    }

    fn on_host(config: &PowerConfig, ledger: Arc<Ledger>, own: &Own) -> Result<Power, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut refuse = |what: &str, problem: String| faults.push(Fault::new(FaultCode::Malformed, format!("configure {what}"), problem));
        let mut nodes = BTreeMap::new();
        for (name, node) in &config.nodes {
            match Node::new(name, node, own, config.euros_per_kwh) {
                Ok(node) => {
                    // A file that cannot be read only forgets; whoever rests on it asks again and says so.
                    node.learn(Memory::read(&ledger, name).unwrap_or_default().measured());
                    nodes.insert(Target::from(format!("node/{name}")), node);
                }
                Err(problems) => problems.into_iter().for_each(|problem| refuse(&format!("`power` node `{name}`"), problem)),
            }
        }
        checking::whole_problems(config).into_iter().for_each(|problem| refuse("`power`", problem));
        if !faults.is_empty() {
            return Err(faults);
        }
        let pace = Pace::default();
        let bursts = Bursts { resend_at: config.resend_at.clone(), packet_gap: config.packet_gap, pace };
        // `power.wake` is there even without nodes, so that a policy's mistake is told as an unknown node.
        let there = |want: &Want| *want == Want::Wake || nodes.values().any(|node: &Node| node.ways.contains_key(want));
        let specs = Want::ALL.into_iter().filter(there).map(|want| (want, spec(want, config, &nodes))).collect();
        let neighbours = PathBuf::from(NEIGHBOURS);
        Ok(Power { nodes, specs, bursts, poll: config.poll, silence: config.silence, pace, neighbours, ledger })
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Power {
        self.pace = pace;
        self.bursts.pace = pace;
        self
    }

    fn eye<'a>(&'a self, node: &'a Node) -> Eye<'a> {
        // An answer takes real time: in faster time a look is still given a moment.
        Eye::new(&node.witnesses, self.pace.real(self.poll).max(LOOK_MIN), &self.neighbours)
    }

    /// What is wanted of whom by which way; everything that can be seen in the action alone is checked.
    fn prepare(&self, action: &Action) -> Result<(Want, &Node, &Way), Fault> {
        let found = self.specs.iter().find(|(_, spec)| spec.verb == action.verb);
        let (want, spec) = found.ok_or_else(|| unknown_verb(action, self.specs.values()))?;
        check_against(spec, action)?;
        let (node, way) = self.way(*want, action)?;
        node.too_soon(action).map_err(|(code, why)| Fault::new(code, checking(action), why))?;
        Ok((*want, node, way))
    }

    fn way(&self, want: Want, action: &Action) -> Result<(&Node, &Way), Fault> {
        let refuse = |code: FaultCode, detail: String| Fault::new(code, checking(action), detail);
        let node = self.nodes.get(&action.target).ok_or_else(|| refuse(FaultCode::NotFound, format!("no node `{}`", action.target)))?;
        if let Some(why) = node.forbidden(want) {
            return Err(refuse(FaultCode::Conflict, format!("`{want}` is never done to `{}`: {why}", node.name)));
        }
        let way = node.ways.get(&want);
        let way = way.ok_or_else(|| refuse(FaultCode::NotFound, format!("`{}` has no `{}`", node.name, want.name())))?;
        Ok((node, way))
    }

    fn deed<'a>(&'a self, now: Time, action: &'a Action, mark: Mark, found: (Want, &'a Node, &'a Way)) -> Deed<'a> {
        let (want, node, way) = found;
        Deed { power: self, node, way, want, action, mark, now, begun: Instant::now(), doing: doing(mark, action) }
    }

    async fn act(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let found = match self.prepare(action) {
            Ok(found) => found,
            Err(fault) => return refusal(mark, action, fault),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = self.deed(now, action, mark, found).run().await;
        self.ledger.settle(mark, outcome)
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(outcome) => return outcome,
        };
        match self.prepare(action) {
            Ok(found) => {
                let deed = self.deed(now, action, Mark::Apply(action.id), found);
                Deed { doing: crate::ledger::probing(action), ..deed }.look(&started).await
            }
            Err(fault) => Outcome::Unknown(fault),
        }
    }

    /// The opposite that takes it back, and by when it is ours to take back.
    fn opposite(&self, action: &Action) -> Option<(Want, &'static str)> {
        let want = self.specs.iter().find(|(_, spec)| spec.verb == action.verb).map(|(want, _)| *want)?;
        let node = self.nodes.get(&action.target)?;
        let has = |want: &Want| node.ways.contains_key(want);
        match want {
            Want::Wake | Want::On => (node.config.revert_wake && has(&Want::Sleep)).then_some((Want::Sleep, WOKEN_AT)),
            Want::Sleep => [Want::Wake, Want::On].into_iter().find(has).map(|want| (want, RESTED_AT)),
            Want::Off => [Want::On, Want::Wake].into_iter().find(has).map(|want| (want, RESTED_AT)),
            Want::Reboot => None,
        }
    }

    async fn take_back(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let Some((want, when)) = self.opposite(action) else {
            return not_revertible(action, "act with its opposite instead");
        };
        let (node, way) = match self.way(want, action) {
            Ok(found) => found,
            Err(fault) => return refusal(mark, action, fault),
        };
        let Some(Arg::Int(at)) = receipt.undo.get(when) else {
            return never_started(doing(mark, action), "it changed nothing: the node was so before");
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let memory = Memory::read(&self.ledger, &node.name).unwrap_or_default();
        let last = if when == WOKEN_AT { memory.woken_at } else { memory.rested_at };
        let deed = self.deed(now, action, mark, (want, node, way));
        let outcome = match last {
            Some(last) if last > Time(*at) => deed.refused("another action has done the same since, and its wish stands"),
            _ => deed.run().await,
        };
        self.ledger.settle(mark, outcome)
    }

    fn plan(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (want, node, way) = self.prepare(action)?;
        let read = |call: String| Planned { call, body: None, writes: false };
        let mut planned: Vec<Planned> = node.witnesses.iter().map(|witness| read(format!("look: {}", witness.name()))).collect();
        if matches!(want, Want::Sleep | Want::Off | Want::Reboot) {
            planned.extend(node.questions(want));
        }
        if want == Want::Sleep {
            planned.extend(node.nap().map(|nap| read(format!("weigh: {}", nap.words()))));
        }
        match (way, &node.config.mac) {
            (Way::Wol, Some(mac)) => planned.push(wol::planned(&self.bursts, mac, &node.config)),
            _ => planned.extend(way.planned(want)),
        }
        Ok(planned)
    }

    /// A verb is ready while one of its nodes is; which are not is logged.
    async fn readiness(&self) -> Vec<(Verb, Fault)> {
        let mut missing = Vec::new();
        for (want, spec) in &self.specs {
            let mut problems = Vec::new();
            let mut ready = 0;
            for node in self.nodes.values().filter(|node| node.forbidden(*want).is_none()) {
                let Some(way) = node.ways.get(want) else { continue };
                let asked = match (way, wol::problem(&node.config)) {
                    (Way::Wol, Some(problem)) => Err((FaultCode::Denied, problem)),
                    _ => way.ready(*want).await,
                };
                match asked {
                    Ok(()) => {
                        ready += 1;
                        tell_when_it_pays(*want, node);
                    }
                    Err((code, why)) => problems.push((code, format!("node `{}`: {why}", node.name))),
                }
            }
            let Some((code, _)) = problems.first() else { continue };
            let detail = problems.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
            let fault = Fault::new(*code, format!("see whether `{}` can be done", spec.verb), detail);
            if ready == 0 { missing.push((spec.verb.clone(), fault)) } else { tracing::warn!(%fault, "Some nodes are not ready.") }
        }
        missing
    }
}

/// Says once, at the look whether all is ready, from when on a nap is no loss.
fn tell_when_it_pays(want: Want, node: &Node) {
    match node.nap().filter(|_| want == Want::Sleep) {
        Some(nap) if nap.never_pays() => tracing::warn!(node = node.name, "Naps are refused: {}.", nap.words()),
        Some(nap) => tracing::info!(node = node.name, "Shorter naps are refused: {}.", nap.words()),
        None => {}
    }
}

fn checking(action: &Action) -> String {
    format!("check {} {} on {}", action.id, action.verb, action.target)
}

/// A refusal before the mark. A conflict is told as such; everything else means only that nothing has left this machine.
fn refusal(mark: Mark, action: &Action, fault: Fault) -> Outcome {
    match fault.code {
        FaultCode::Conflict => Outcome::NotDone(Fault { detail: format!("{}; nothing was sent", fault.detail), ..fault }),
        _ => never_started(doing(mark, action), fault.detail),
    }
}

impl Actuator for Power {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "power".into(), verbs: self.specs.values().cloned().collect() }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.prepare(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.plan(action)
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.readiness())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.act(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.take_back(now, action, receipt))
    }
}

fn spec(want: Want, config: &PowerConfig, nodes: &BTreeMap<Target, Node>) -> VerbSpec {
    let able = || nodes.iter().filter(|(_, node)| node.ways.contains_key(&want));
    let slowest = |span: &dyn Fn(&NodeConfig) -> Span| able().map(|(_, node)| span(&node.config)).max();
    let boot = slowest(&|node| node.boot_timeout()).unwrap_or(Span::from_secs(300));
    let off = slowest(&|node| node.off_timeout).unwrap_or(Span::ZERO);
    let boot_joules = able().map(|(_, node)| node.config.boot_joules).fold(0.0, f64::max);
    // One look before the first packet is not part of the boot.
    let packets_only = able().all(|(_, node)| matches!(node.ways.get(&want), Some(Way::Wol)));
    let exchanges = if packets_only { config.poll } else { config.poll + EXCHANGES };
    let rest = off + config.silence + config.silence + exchanges;
    let can = |other: Want| nodes.values().any(|node| node.ways.contains_key(&other));
    let waking = if can(Want::On) && want == Want::Off { Want::On } else { Want::Wake };
    let (class, timeout, opposite, disruption, joules, doc) = match want {
        Want::Wake => {
            (Class::Restore, boot + exchanges, Some(Want::Sleep), Span::ZERO, boot_joules, "Wakes a node and waits until it answers.")
        }
        Want::On => {
            (Class::Restore, boot + exchanges, Some(Want::Off), Span::ZERO, boot_joules, "Switches a node on and waits until it answers.")
        }
        Want::Sleep => (Class::Reversible, rest, Some(Want::Wake), boot, 0.0, "Puts a node to sleep and waits until it is silent."),
        Want::Off => (Class::Disruptive, rest, Some(waking), boot, 0.0, "Shuts a node down and waits until it is silent."),
        Want::Reboot => (
            Class::Disruptive,
            off + boot + exchanges,
            None,
            boot,
            boot_joules,
            "Restarts a node and waits until it answers as another boot.",
        ),
    };
    let idle = ArgSpec {
        name: IDLE_FOR.into(),
        kind: ArgKind::Text(20),
        required: false,
        doc: "How long the node has been idle, `20m`; refused while sleeping does not pay. Empty as if not given: not known, or it does not matter.".into(),
    };
    let revertible = |(_, node): (&Target, &Node)| match want {
        Want::Wake | Want::On => node.config.revert_wake && node.ways.contains_key(&Want::Sleep),
        Want::Sleep | Want::Off => node.ways.contains_key(&Want::Wake) || node.ways.contains_key(&Want::On),
        Want::Reboot => false,
    };
    VerbSpec {
        verb: want.to_string().as_str().into(),
        class,
        args: if want == Want::Sleep { vec![idle] } else { Vec::new() },
        target_kinds: vec!["node".into()],
        targets: Some(able().map(|(target, _)| target.clone()).collect()),
        opposite: opposite.map(|want| want.to_string().as_str().into()),
        settle: config.settle,
        timeout,
        revertible: able().any(revertible),
        cost: Cost {
            disruption,
            energy_joules: joules,
            boots: u32::from(matches!(want, Want::Wake | Want::On | Want::Reboot)),
            power_cycles: u32::from(matches!(want, Want::Sleep | Want::Off)),
            ..Cost::default()
        },
        doc: doc.into(),
    }
}
