//! What can be done to the plant, and the oracle: whether doing it just then was useful, useless or harmful.
//!
//! The oracle knows causes that no sensor shows. It is for figures and checkers only; nothing that decides may see it. An editor
//! breaks this by judging after the operation instead of before.

use super::Plant;
use super::node::Power;
use super::service::Crash;
use homeostat_model::{Span, Target, Time};
use serde::{Deserialize, Serialize};

/// A kind of operation.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Tells somebody; the plant does not change.
    Tell,
    /// A magic packet to a node.
    Wake,
    /// Suspends a node.
    Sleep,
    /// Switches a node off.
    PowerOff,
    /// Takes a node's power and gives it back.
    PowerCycle,
    /// Nothing new is placed on a node.
    Cordon,
    /// Things may be placed on it again.
    Uncordon,
    /// Frees what can be freed of a filesystem.
    Clean,
    /// Moves the data off a disk.
    Evacuate,
    /// Deletes a pod, so that a new one comes.
    DeletePod,
    /// Starts all replicas of a service anew.
    Restart,
    /// Sets a service's replicas.
    Scale,
    /// Gets a new certificate.
    RenewCertificate,
    /// Closes a node and moves what runs there to other nodes.
    Drain,
    /// Restarts a node that answers.
    Reboot,
    /// Makes a backup.
    Backup,
    /// Tries whether a backup can be brought back.
    TryBackup,
    /// Brings a service's next release.
    Upgrade,
    /// An experiment: one replica of a service crashes again and again, for a while.
    Experiment,
}

/// An operation that arrives at the plant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// What.
    pub does: OpKind,
    /// To what: `node/muscle`, `filesystem/nas:/srv`, `disk/nas:sdb`, `service/web`, `pod/home/web-0`, `certificate/home.lab`.
    pub target: Target,
    /// For [`OpKind::Scale`].
    #[serde(default)]
    pub replicas: Option<u32>,
}

/// What an operation was worth, known only to the plant.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worth {
    /// It tells somebody: neither.
    Neutral,
    /// It removes or lessens what was wrong.
    Useful,
    /// It changes nothing that was wrong.
    Useless,
    /// It makes something worse.
    Harmful,
}

/// The oracle's word.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// What it was worth.
    pub worth: Worth,
    /// Why.
    pub why: String,
}

fn judged(worth: Worth, why: impl Into<String>) -> Judged {
    Judged { worth, why: why.into() }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The oracle's word.
    pub judged: Judged,
    /// Whether the target exists and took it.
    pub taken: bool,
    /// When whoever did it knows how it ended.
    pub known_after: Span,
    /// What is seen then.
    pub observed: String,
}

impl Plant {
    /// Does it, at the present moment of the plant.
    pub fn act(&mut self, op: &Op) -> Applied {
        let verdict = self.judge(op);
        let now = self.now;
        let missing = || (false, Span::ZERO, format!("there is no {}", op.target));
        let soon = Span::from_secs(2);
        let (taken, known_after, observed) = match op.does {
            OpKind::Tell => (true, Span::ZERO, "told".into()),
            OpKind::Wake | OpKind::Sleep | OpKind::PowerOff | OpKind::PowerCycle | OpKind::Cordon | OpKind::Uncordon => {
                self.node_index(op.target.name()).map_or_else(missing, |node| self.act_on_node(op, node, now))
            }
            OpKind::Clean => match self.filesystem_mut(op.target.name()) {
                None => missing(),
                Some((false, _)) => (false, soon, "its node does not answer".into()),
                Some((true, fs)) => {
                    let freed = fs.clean();
                    (true, Span::from_secs(20), format!("{freed:.0} bytes freed"))
                }
            },
            OpKind::Evacuate => match self.disk_mut(op.target.name()) {
                None => missing(),
                Some((false, _)) => (false, soon, "its node does not answer".into()),
                Some((true, disk)) => {
                    // As fast as a disk of that kind reads beside its work: 80 MB/s (assumed).
                    disk.evacuating = Some(80e6);
                    (true, soon, "evacuation started".into())
                }
            },
            OpKind::DeletePod => self.pod_index(op.target.name()).map_or_else(missing, |(service, replica)| {
                let (nodes, services) = (&self.nodes, &mut self.services);
                services[service].renew(replica, nodes, now);
                (true, soon, "deleted".into())
            }),
            OpKind::Restart | OpKind::Scale => self.service_index(op.target.name()).map_or_else(missing, |index| {
                let (nodes, service) = (&self.nodes, &mut self.services[index]);
                match (op.does, op.replicas) {
                    (OpKind::Scale, None) => return (false, Span::ZERO, "no number of replicas was given".into()),
                    (OpKind::Scale, Some(replicas)) => {
                        service.scale(replicas.min(crate::lab::REPLICAS_MAX), nodes, now);
                    }
                    _ => (0..service.replicas.len()).for_each(|replica| service.renew(replica, nodes, now)),
                }
                (true, soon, "accepted".into())
            }),
            OpKind::RenewCertificate => match self.certificates.iter_mut().find(|c| c.name == op.target.name()) {
                None => missing(),
                Some(certificate) => {
                    certificate.renew(now);
                    (true, soon, "renewed".into())
                }
            },
            OpKind::Drain | OpKind::Reboot | OpKind::Backup | OpKind::TryBackup | OpKind::Upgrade | OpKind::Experiment => self.keep_up(op),
        };
        Applied { judged: verdict, taken, known_after, observed }
    }

    fn act_on_node(&mut self, op: &Op, node: usize, now: Time) -> (bool, Span, String) {
        let node = &mut self.nodes[node];
        let until = |node: &super::Node| match node.power {
            Power::Starting { until } | Power::Suspending { until } => until.since(now),
            _ => Span::ZERO,
        };
        match op.does {
            OpKind::Wake if node.packets_lost > 0 => {
                node.packets_lost -= 1;
                (true, Span::ZERO, "the packet was sent".into())
            }
            OpKind::Wake => {
                if node.reachable() && node.power != Power::Unpowered {
                    node.start(now);
                }
                (true, until(node), "the packet was sent".into())
            }
            OpKind::Sleep | OpKind::PowerOff if !node.answers() => (false, Span::from_secs(5), "it does not answer".into()),
            OpKind::Sleep => (node.suspend(now), until(node), "it falls asleep".into()),
            OpKind::PowerOff => (node.switch_off(), Span::ZERO, "it is off".into()),
            OpKind::PowerCycle => (node.power_cycle(now), until(node), "its power was cut and given back".into()),
            _ => {
                node.cordoned = op.does == OpKind::Cordon;
                (true, Span::ZERO, "marked".into())
            }
        }
    }

    /// Whether what an operation was to bring about is so now; what a probe sees.
    pub fn is_so(&self, op: &Op) -> bool {
        match op.does {
            OpKind::Wake | OpKind::PowerCycle | OpKind::Reboot => self.node(op.target.name()).is_some_and(|node| node.answers()),
            OpKind::Sleep | OpKind::PowerOff => self.node(op.target.name()).is_some_and(|node| !node.works()),
            OpKind::Scale => self
                .service_index(op.target.name())
                .is_some_and(|index| op.replicas.is_some_and(|wish| self.services[index].replicas.len() == wish as usize)),
            OpKind::Experiment => !self.is_tried(op.target.name()),
            _ => false,
        }
    }

    /// What the oracle says of an operation if it came now.
    pub fn judge(&self, op: &Op) -> Judged {
        use Worth::{Neutral, Useful, Useless};
        let name = op.target.name();
        let gone = || judged(Useless, "there is no such thing");
        match op.does {
            OpKind::Tell => judged(Neutral, "told"),
            OpKind::Cordon | OpKind::Uncordon => judged(Neutral, "a mark"),
            OpKind::Drain | OpKind::Reboot | OpKind::Backup | OpKind::TryBackup | OpKind::Upgrade | OpKind::Experiment => {
                judged(Neutral, "upkeep")
            }
            OpKind::Wake | OpKind::Sleep | OpKind::PowerOff | OpKind::PowerCycle => {
                self.node_index(name).map_or_else(gone, |index| self.judge_power(op.does, index))
            }
            OpKind::Clean => self.filesystem(name).map_or_else(gone, |fs| match fs {
                fs if fs.cleanable_bytes < 0.05 * fs.size_bytes => judged(Useless, "there is next to nothing to clean"),
                fs if fs.avail_ratio() > 0.25 => judged(Useless, "there is room enough"),
                _ => judged(Useful, "it frees what fills it"),
            }),
            OpKind::Evacuate => self.disk(name).map_or_else(gone, |disk| match disk {
                disk if disk.dead => judged(Useless, "the disk is dead"),
                disk if disk.evacuating.is_some() => judged(Useless, "it is being evacuated already"),
                disk if disk.failing.is_some() && disk.data_bytes > 0.0 => judged(Useful, "the disk fails and holds data"),
                _ => judged(Useless, "the disk does not fail"),
            }),
            OpKind::DeletePod => self.pod_index(name).map_or_else(gone, |(service, replica)| self.judge_renewal(service, Some(replica))),
            OpKind::Restart => self.service_index(name).map_or_else(gone, |service| self.judge_renewal(service, None)),
            OpKind::Scale => self.service_index(name).map_or_else(gone, |service| self.judge_scale(service, op.replicas.unwrap_or(0))),
            OpKind::RenewCertificate => self.certificates.iter().find(|c| c.name == name).map_or_else(gone, |certificate| {
                let third = certificate.days / 3.0;
                let (worth, why) =
                    if certificate.days_left(self.now) < third { (Useful, "it runs out") } else { (Useless, "it is good for long") };
                judged(worth, why)
            }),
        }
    }

    fn judge_power(&self, does: OpKind, index: usize) -> Judged {
        use Worth::{Harmful, Useful, Useless};
        let node = &self.nodes[index];
        let busy_queue = self.queues.iter().any(|queue| queue.node == index && !queue.is_empty());
        let on = node.works();
        match does {
            OpKind::Wake if on || matches!(node.power, Power::Starting { .. }) => judged(Useless, "it is awake"),
            OpKind::Wake if matches!(node.power, Power::Suspending { .. }) => {
                judged(Useless, "it is falling asleep and does not listen yet")
            }
            OpKind::Wake if node.power == Power::Unpowered || !node.reachable() => judged(Useless, "no packet can reach it"),
            OpKind::Wake if node.sleeps && !busy_queue => judged(Useless, "nobody needs it"),
            OpKind::Wake => judged(Useful, "it is needed"),
            OpKind::PowerCycle if node.power == Power::Unpowered => judged(Useless, "its feed is dead"),
            OpKind::PowerCycle if node.hung || node.power == Power::Off => judged(Useful, "it hangs or is off"),
            OpKind::PowerCycle if matches!(node.power, Power::Starting { .. }) => judged(Harmful, "it is starting"),
            OpKind::PowerCycle if on && !node.reachable() => judged(Useless, "no restart cures its network"),
            OpKind::PowerCycle if on => judged(Harmful, "it works"),
            OpKind::PowerCycle => judged(Useless, "it sleeps"),
            _ if !on => judged(Useless, "it does not run"),
            _ if !node.sleeps => judged(Harmful, "it is meant to run"),
            _ if busy_queue => judged(Harmful, "it has work"),
            _ if self.is_last_anywhere(index) => judged(Harmful, "it holds the last replica of something"),
            _ => judged(Useful, "nobody needs it"),
        }
    }

    /// Whether a service or a volume has nothing left without this node.
    pub fn is_last_anywhere(&self, node: usize) -> bool {
        let alone = |service: &super::Service| {
            let ready = service.replicas.iter().filter(|replica| service.is_ready(replica, &self.nodes, self.now));
            let (mut here, mut elsewhere) = (false, false);
            ready.for_each(|replica| if replica.node == node { here = true } else { elsewhere = true });
            here && !elsewhere
        };
        let last_copy = |volume: &super::Volume| {
            let up: Vec<usize> = volume.nodes.iter().copied().filter(|copy| self.nodes[*copy].answers()).collect();
            up == [node]
        };
        self.services.iter().any(alone) || self.volumes.iter().any(last_copy)
    }

    fn judge_renewal(&self, index: usize, replica: Option<usize>) -> Judged {
        use Worth::{Harmful, Useful, Useless};
        let service = &self.services[index];
        let chosen: Vec<&super::Replica> =
            service.replicas.iter().enumerate().filter(|(number, _)| replica.is_none_or(|only| only == *number)).map(|(_, r)| r).collect();
        let room = service.spec.memory_limit_bytes - service.spec.memory_bytes;
        let image = chosen.iter().any(|r| r.crash == Some(Crash::Image)) || service.misconfigured;
        if chosen.iter().any(|r| r.crash == Some(Crash::State) || r.leaked_bytes > 0.4 * room) {
            return judged(Useful, "it starts well again");
        }
        if image {
            return judged(Useless, "it is broken in a way that no restart cures");
        }
        let ready = service.ready(&self.nodes, self.now);
        let takes = chosen.iter().filter(|r| service.is_ready(r, &self.nodes, self.now)).count();
        if takes > 0 && takes == ready {
            judged(Harmful, "it works, and nothing else serves meanwhile")
        } else {
            judged(Useless, "it works")
        }
    }

    fn judge_scale(&self, index: usize, wish: u32) -> Judged {
        use Worth::{Harmful, Useful, Useless};
        let service = &self.services[index];
        let (have, need) = (service.replicas.len() as u32, service.needed());
        match () {
            () if service.spec.owner.is_some() => judged(Harmful, "another controller owns its replicas"),
            () if wish == have => judged(Useless, "it has as many"),
            () if wish > have && need > have => judged(Useful, "the load needs more"),
            () if wish > have => judged(Useless, "the load needs no more"),
            () if need > wish => judged(Harmful, "the load needs more than that"),
            () => judged(Useful, "the load needs fewer"),
        }
    }
}
