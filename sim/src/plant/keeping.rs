//! Upkeep: drains, restarts, backups, releases and experiments, and how an operation is taken back.
//!
//! What takes something back is asked for before it is done, because only then it can be seen what was there. As in Kubernetes, a
//! node that is opened again gets nothing back by itself: what moved away is placed there again when it is placed anew. Deliberately
//! absent: restoring data (a person does that). An editor breaks this by taking back what somebody else has done meanwhile.

use super::Plant;
use super::fault::{Active, Fault};
use super::node::Power;
use super::op::{Op, OpKind};
use super::service::Crash;
use crate::numbers::READY_SECONDS;
use homeostat_model::{Span, Time};
use std::collections::BTreeMap;

/// How long an experiment lasts if nobody ends it.
const EXPERIMENT_LASTS: Span = Span::from_mins(5);
/// How long a backup takes, and a try of one (assumed).
const BACKUP_TAKES: Span = Span::from_secs(40);

/// A backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Its name.
    pub name: String,
    /// When the newest copy was made.
    pub made_at: Time,
    /// The newest copy cannot be brought back.
    pub damaged: bool,
}

impl Backup {
    pub(super) fn new(name: &str, at: Time) -> Backup {
        // A day old at the beginning.
        Backup { name: name.to_owned(), made_at: at - Span::from_hours(24), damaged: false }
    }
}

/// What takes an operation back.
#[derive(Clone, Debug, PartialEq)]
pub enum Back {
    /// It left nothing that was not there before.
    Nothing,
    /// A service, by index, gets as many replicas as it had.
    Replicas {
        /// Which.
        service: usize,
        /// How many.
        count: u32,
    },
    /// A node, by index, is opened.
    Open {
        /// Which.
        node: usize,
    },
    /// A service, by index, goes back to the release before.
    Release {
        /// Which.
        service: usize,
        /// To which.
        release: u32,
    },
    /// An experiment on a service ends.
    End {
        /// The service's name.
        service: String,
    },
}

impl OpKind {
    /// Whether it can be taken back.
    pub fn is_revertible(self) -> bool {
        matches!(self, OpKind::Cordon | OpKind::Drain | OpKind::Scale | OpKind::Upgrade | OpKind::Experiment)
    }
}

impl Plant {
    /// What would take an operation back if it were done now; `None`: nothing can.
    pub fn way_back(&self, op: &Op) -> Option<Back> {
        let name = op.target.name();
        if !op.does.is_revertible() {
            return None;
        }
        match op.does {
            OpKind::Cordon | OpKind::Drain => {
                let node = self.node_index(name)?;
                // Whoever has closed it before opens it.
                Some(if self.nodes[node].cordoned { Back::Nothing } else { Back::Open { node } })
            }
            OpKind::Experiment => Some(Back::End { service: name.to_owned() }),
            _ => {
                let service = self.service_index(name)?;
                let (count, release) = (self.services[service].replicas.len() as u32, self.services[service].release);
                Some(if op.does == OpKind::Scale { Back::Replicas { service, count } } else { Back::Release { service, release } })
            }
        }
    }

    /// Takes an operation back; says what is seen then. Twice is the same as once.
    pub fn take_back(&mut self, back: &Back) -> String {
        let now = self.now;
        match back {
            Back::Nothing => "there was nothing to take back".into(),
            Back::Open { node } => {
                self.nodes[*node].cordoned = false;
                "it is open".into()
            }
            Back::Replicas { service, count } => {
                self.services[*service].scale(*count, &self.nodes, now);
                format!("{count} replicas, as before")
            }
            Back::Release { service, release } => {
                let service = &mut self.services[*service];
                service.release = *release;
                for replica in service.replicas.iter_mut().filter(|replica| replica.crash == Some(Crash::Image)) {
                    (replica.crash, replica.ready_at) = (None, now + ready());
                }
                format!("release {release}, as before")
            }
            Back::End { service } => {
                let fault = experiment(service);
                let before = self.active.len();
                self.active.retain(|active| active.fault != fault);
                if self.active.len() < before {
                    self.set(&fault, false);
                }
                "the experiment has ended".into()
            }
        }
    }

    /// Whether an experiment is under way on a service.
    pub(super) fn is_tried(&self, service: &str) -> bool {
        let fault = experiment(service);
        self.active.iter().any(|active| active.fault == fault)
    }

    /// Does it: whether it was taken, when that is known, and what is seen then.
    pub(super) fn keep_up(&mut self, op: &Op) -> (bool, Span, String) {
        let (now, name) = (self.now, op.target.name().to_owned());
        let missing = || (false, Span::ZERO, format!("there is no {}", op.target));
        match op.does {
            OpKind::Drain => self.node_index(&name).map_or_else(missing, |node| self.drain(node)),
            OpKind::Reboot => self.node_index(&name).map_or_else(missing, |node| {
                let node = &mut self.nodes[node];
                if !node.answers() {
                    return (false, Span::from_secs(5), "it does not answer".into());
                }
                node.power_cycle(now);
                let until = if let Power::Starting { until } = node.power { until.since(now) } else { Span::ZERO };
                (true, until, "it restarts".into())
            }),
            OpKind::Backup | OpKind::TryBackup => match self.backups.iter_mut().find(|backup| backup.name == name) {
                None => missing(),
                Some(backup) if op.does == OpKind::Backup => {
                    (backup.made_at, backup.damaged) = (now, false);
                    (true, BACKUP_TAKES, "the backup is complete".into())
                }
                Some(backup) if backup.damaged => (false, BACKUP_TAKES, "what was brought back is not what was backed up".into()),
                Some(_) => (true, BACKUP_TAKES, "brought back and compared".into()),
            },
            OpKind::Upgrade => self.service_index(&name).map_or_else(missing, |service| {
                let service = &mut self.services[service];
                service.release += 1;
                if service.next_is_bad {
                    service.replicas.iter_mut().for_each(|replica| (replica.crash, replica.ready_at) = (Some(Crash::Image), now));
                }
                (true, ready(), format!("release {} is rolled out", service.release))
            }),
            OpKind::Experiment => {
                if self.service_index(&name).is_none() || self.is_tried(&name) {
                    return (false, Span::ZERO, format!("{} is not there, or is tried already", op.target));
                }
                let fault = experiment(&name);
                self.set(&fault, true);
                self.active.push(Active { since: now, until: Some(now + EXPERIMENT_LASTS), fault });
                (true, Span::from_secs(10), "one replica crashes".into())
            }
            _ => (false, Span::ZERO, "this is no upkeep".into()),
        }
    }

    fn drain(&mut self, node: usize) -> (bool, Span, String) {
        if !self.nodes[node].answers() {
            return (false, Span::from_secs(5), "what runs there does not end".into());
        }
        self.nodes[node].cordoned = true;
        let (nodes, now) = (&self.nodes, self.now);
        let mut moved = 0;
        for service in self.services.iter_mut().filter(|service| !service.spec.pinned) {
            for replica in 0..service.replicas.len() {
                if service.replicas[replica].node == node {
                    service.renew(replica, nodes, now);
                    moved += 1;
                }
            }
        }
        (true, ready(), format!("closed, {moved} replicas moved away"))
    }

    /// How everything stands that upkeep changes, in words, by target: to see whether a run left it as it was.
    pub fn standing(&self) -> BTreeMap<String, String> {
        let open = |cordoned: bool| if cordoned { "closed" } else { "open" };
        let nodes =
            self.nodes.iter().map(|node| (format!("node/{}", node.name), format!("{}, {}", node.power.name(), open(node.cordoned))));
        let services = self.services.iter().map(|service| {
            let crashing = service.replicas.iter().filter(|replica| replica.crash.is_some()).count();
            let text = format!("{} replicas, {crashing} of them crash, release {}", service.replicas.len(), service.release);
            (format!("service/{}", service.spec.name), text)
        });
        let disks = self.nodes.iter().flat_map(|node| {
            node.disks.iter().map(move |disk| (format!("disk/{}:{}", node.name, disk.name), format!("{:.0} bytes", disk.data_bytes)))
        });
        let certificates =
            self.certificates.iter().map(|c| (format!("certificate/{}", c.name), format!("until {} ms", c.expires.millis())));
        nodes.chain(services).chain(disks).chain(certificates).collect()
    }
}

fn ready() -> Span {
    Span::from_millis((READY_SECONDS * 1000.0) as i64)
}

fn experiment(service: &str) -> Fault {
    Fault::CrashLoop { service: service.to_owned(), image: false }
}
