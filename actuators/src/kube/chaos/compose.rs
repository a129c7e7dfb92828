//! What is made of experiments: Schedule, Workflow, StatusCheck; and one enum of all kinds.
//!
//! An [`Experiment`] reads and writes as `{"kind": …, "spec": …}`. Deliberately absent: metadata, which Homeostat makes itself. An
//! editor breaks this by adding a kind here and not in [`ChaosKind`]: it would be run and never aborted.

use super::data::{Mode, NetworkChaos, PodAction, PodChaos, Selector, StressChaos, data, words};
use super::inside::{BlockChaos, DnsChaos, HttpChaos, IoChaos, JvmChaos, KernelChaos, TimeChaos};
use super::machines::{AwsChaos, AzureChaos, GcpChaos, PhysicalMachineChaos};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Calls back with every kind that injects something: variant, struct, field in Schedules and templates, its name there, plural.
macro_rules! injectors {
    ($call:ident) => {
        $call! {
            PodChaos, PodChaos, pod_chaos, "PodChaos", "podChaos", "podchaos";
            NetworkChaos, NetworkChaos, network_chaos, "NetworkChaos", "networkChaos", "networkchaos";
            StressChaos, StressChaos, stress_chaos, "StressChaos", "stressChaos", "stresschaos";
            IoChaos, IoChaos, io_chaos, "IOChaos", "ioChaos", "iochaos";
            TimeChaos, TimeChaos, time_chaos, "TimeChaos", "timeChaos", "timechaos";
            DnsChaos, DnsChaos, dns_chaos, "DNSChaos", "dnsChaos", "dnschaos";
            HttpChaos, HttpChaos, http_chaos, "HTTPChaos", "httpChaos", "httpchaos";
            KernelChaos, KernelChaos, kernel_chaos, "KernelChaos", "kernelChaos", "kernelchaos";
            JvmChaos, JvmChaos, jvm_chaos, "JVMChaos", "jvmChaos", "jvmchaos";
            BlockChaos, BlockChaos, block_chaos, "BlockChaos", "blockChaos", "blockchaos";
            AwsChaos, AwsChaos, aws_chaos, "AWSChaos", "awsChaos", "awschaos";
            AzureChaos, AzureChaos, azure_chaos, "AzureChaos", "azureChaos", "azurechaos";
            GcpChaos, GcpChaos, gcp_chaos, "GCPChaos", "gcpChaos", "gcpchaos";
            PhysicalMachineChaos, PhysicalMachineChaos, physicalmachine_chaos, "PhysicalMachineChaos", "physicalmachineChaos", "physicalmachinechaos";
        }
    };
}

macro_rules! define_all {
    ($($variant:ident, $kind:ident, $field:ident, $name:literal, $key:literal, $plural:literal;)*) => {
        /// A kind of `chaos-mesh.org/v1alpha1` that can be created.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ChaosKind {
            /// Makes experiments again and again.
            Schedule,
            /// Experiments in an order.
            Workflow,
            /// Asks an HTTP server whether all is well.
            StatusCheck,
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant,)*
        }

        impl ChaosKind {
            /// All, those that make others first: the order of an abort.
            pub const ALL: &'static [ChaosKind] = &[ChaosKind::Schedule, ChaosKind::Workflow, ChaosKind::StatusCheck, $(ChaosKind::$variant),*];

            /// As in `kind`.
            pub fn name(self) -> &'static str {
                match self { ChaosKind::Schedule => "Schedule", ChaosKind::Workflow => "Workflow", ChaosKind::StatusCheck => "StatusCheck", $(ChaosKind::$variant => $name),* }
            }
            /// As in the path.
            pub fn plural(self) -> &'static str {
                match self { ChaosKind::Schedule => "schedules", ChaosKind::Workflow => "workflows", ChaosKind::StatusCheck => "statuschecks", $(ChaosKind::$variant => $plural),* }
            }
        }

        /// Any experiment: its kind and its spec.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "spec", deny_unknown_fields)]
        pub enum Experiment {
            /// Again and again.
            Schedule(Box<Schedule>),
            /// In an order.
            Workflow(Workflow),
            /// A question.
            StatusCheck(StatusCheck),
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant(Box<$kind>),)*
        }

        impl Experiment {
            /// Its kind.
            pub fn kind(&self) -> ChaosKind {
                match self {
                    Experiment::Schedule(_) => ChaosKind::Schedule,
                    Experiment::Workflow(_) => ChaosKind::Workflow,
                    Experiment::StatusCheck(_) => ChaosKind::StatusCheck,
                    $(Experiment::$variant(_) => ChaosKind::$variant,)*
                }
            }
            /// Sets how long it lasts; `false` where the kind has no such field.
            pub fn set_duration(&mut self, duration: &str) -> bool {
                match self {
                    Experiment::Schedule(_) | Experiment::Workflow(_) | Experiment::StatusCheck(_) => false,
                    $(Experiment::$variant(spec) => { spec.duration = Some(duration.into()); true })*
                }
            }
            /// How long it says that it lasts.
            pub fn duration(&self) -> Option<&str> {
                match self {
                    Experiment::Schedule(_) | Experiment::Workflow(_) | Experiment::StatusCheck(_) => None,
                    $(Experiment::$variant(spec) => spec.duration.as_deref(),)*
                }
            }
            /// The name of the other cluster that it would act in.
            pub fn remote_cluster(&self) -> Option<&str> {
                match self {
                    Experiment::Schedule(_) | Experiment::Workflow(_) | Experiment::StatusCheck(_) => None,
                    $(Experiment::$variant(spec) => spec.remote_cluster.as_deref(),)*
                }
            }
        }

        data! {
            /// Makes experiments again and again.
            Schedule {
                /// When: cron, seconds first where there are six fields, or `@every 5m`.
                schedule: String,
                /// What: a kind, or `Workflow`.
                #[serde(rename = "type")]
                makes: String,
                ;
                /// How many that are over stay.
                history_limit: i64,
                /// Whether one begins while another runs; not, if not given.
                concurrency_policy: Concurrency,
                /// How late one may begin.
                starting_deadline_seconds: i64,
                /// For `Workflow`.
                workflow: Workflow,
                $(#[doc = concat!("For `", $name, "`.")] #[serde(rename = $key)] $field: $kind,)*
            }
        }
        impl Schedule {
            /// What it makes, whatever `type` says; every body that is given.
            pub fn bodies(&self) -> Vec<Experiment> {
                let mut all: Vec<Experiment> = self.workflow.iter().cloned().map(Experiment::Workflow).collect();
                $(all.extend(self.$field.iter().cloned().map(|body| Experiment::$variant(Box::new(body))));)*
                all
            }
        }

        data! {
            /// One step of a Workflow.
            Template {
                /// Its name.
                name: String,
                /// `Task`, `Serial`, `Parallel`, `Suspend`, `StatusCheck`, `Schedule`, or a kind.
                template_type: String,
                ;
                /// How long it may take; for an experiment, how long it lasts.
                deadline: String,
                /// For `Serial` and `Parallel`: names of templates.
                children: Vec<String>,
                /// For `Task`: what comes next.
                conditional_branches: Vec<Branch>,
                /// For `Task`: a container.
                task: BTreeMap<String, Value>,
                /// For `StatusCheck`.
                status_check: StatusCheck,
                /// Whether a failing check ends the workflow.
                abort_with_status_check: bool,
                /// For `Schedule`.
                schedule: Schedule,
                $(#[doc = concat!("For `", $name, "`.")] #[serde(rename = $key)] $field: $kind,)*
            }
        }
        impl Template {
            /// What it injects, whatever `templateType` says; every body that is given.
            pub fn bodies(&self) -> Vec<Experiment> {
                let mut all: Vec<Experiment> = Vec::new();
                all.extend(self.schedule.iter().cloned().map(|body| Experiment::Schedule(Box::new(body))));
                all.extend(self.status_check.iter().cloned().map(Experiment::StatusCheck));
                $(all.extend(self.$field.iter().cloned().map(|body| Experiment::$variant(Box::new(body))));)*
                all
            }
        }
    };
}
injectors!(define_all);

words! {
    /// Whether one begins while another runs.
    Concurrency {
        /// not
        Forbid = "Forbid",
        /// yes
        Allow = "Allow",
    }
}

data! {
    /// Experiments in an order.
    Workflow {
        /// The first template's name.
        entry: String,
        /// The steps.
        templates: Vec<Template>,
        ;
    }
}
data! {
    /// What comes after a task.
    Branch {
        /// A template's name.
        target: String,
        ;
        /// When; always if not given.
        expression: String,
    }
}

words! {
    /// How often a check asks.
    CheckMode {
        /// until it is sure
        Synchronous = "Synchronous",
        /// until the duration is over
        Continuous = "Continuous",
    }
}
words! {
    /// How a check asks.
    HttpMethod {
        /// GET
        Get = "GET",
        /// POST
        Post = "POST",
    }
}
data! {
    /// Asks whether all is well.
    StatusCheck {
        /// `HTTP`.
        #[serde(rename = "type")]
        asks: String,
        ;
        /// How often.
        mode: CheckMode,
        /// Whom.
        http: HttpCheck,
        /// Seconds between two questions; 10 if not given.
        interval_seconds: i64,
        /// Seconds for an answer; 1 if not given.
        timeout_seconds: i64,
        /// Bad answers in a row that count; 3 if not given.
        failure_threshold: i64,
        /// Good answers in a row that count; 1 if not given.
        success_threshold: i64,
        /// Answers that are kept; 100 if not given.
        records_history_limit: i64,
        /// How long it asks.
        duration: String,
    }
}
data! {
    /// Whom a check asks.
    HttpCheck {
        /// Where.
        url: String,
        /// What is a good answer.
        criteria: HttpCriteria,
        ;
        /// GET if not given.
        method: HttpMethod,
        /// Headers.
        headers: BTreeMap<String, Vec<String>>,
        /// The body.
        body: String,
    }
}
data! {
    /// What is a good answer.
    HttpCriteria {
        /// `200`, or `200-400`.
        status_code: String,
        ;
    }
}

/// One choice of pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick<'a> {
    /// Which pods.
    pub selector: &'a Selector,
    /// How many of them.
    pub mode: Mode,
    /// The number or percentage.
    pub value: Option<&'a str>,
}

impl Experiment {
    /// The choices of pods of this experiment itself: what it hits, and the other side of a network. Empty for what hits no pods.
    pub fn picks(&self) -> Vec<Pick<'_>> {
        macro_rules! one {
            ($spec:expr) => {
                vec![Pick { selector: &$spec.selector, mode: $spec.mode, value: $spec.value.as_deref() }]
            };
        }
        match self {
            Experiment::PodChaos(spec) => one!(spec),
            Experiment::NetworkChaos(spec) => {
                let mut picks = one!(spec);
                picks.extend(spec.target.iter().map(|side| Pick {
                    selector: &side.selector,
                    mode: side.mode,
                    value: side.value.as_deref(),
                }));
                picks
            }
            Experiment::StressChaos(spec) => one!(spec),
            Experiment::IoChaos(spec) => one!(spec),
            Experiment::TimeChaos(spec) => one!(spec),
            Experiment::DnsChaos(spec) => one!(spec),
            Experiment::HttpChaos(spec) => one!(spec),
            Experiment::KernelChaos(spec) => one!(spec),
            Experiment::JvmChaos(spec) => one!(spec),
            Experiment::BlockChaos(spec) => one!(spec),
            _ => Vec::new(),
        }
    }

    /// Whether it acts once and is never taken back by Chaos Mesh: `duration` and pause mean nothing to it.
    pub fn one_shot(&self) -> bool {
        matches!(self, Experiment::PodChaos(spec) if matches!(spec.action, PodAction::PodKill | PodAction::ContainerKill))
    }

    /// What it is made of: itself, or what a Schedule or Workflow makes, all the way down.
    pub fn leaves(&self) -> Vec<Experiment> {
        match self {
            Experiment::Schedule(schedule) => schedule.bodies().iter().flat_map(Experiment::leaves).collect(),
            Experiment::Workflow(workflow) => workflow.templates.iter().flat_map(Template::bodies).flat_map(|body| body.leaves()).collect(),
            other => vec![other.clone()],
        }
    }
}
