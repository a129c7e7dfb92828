//! The list of actuators: configuration in, actuators out. One line each.
//!
//! Deliberately absent: spawning, connecting, sending; a built actuator is silent until asked. An editor breaks this by returning
//! the first problem only: people fix a configuration in one go.

#[cfg(test)]
mod whole;

use crate::{Exec, ExecConfig, Http, HttpConfig, Ledger, Notify, NotifyConfig, Pace, Power, PowerConfig};
use homeostat_model::{Actuator, Fault, FaultCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What Homeostat may do. What is absent it cannot do; `notify` is there always, writing to the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActuatorsConfig {
    /// Run configured commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecConfig>,
    /// Send configured requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConfig>,
    /// Tell people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyConfig>,
    /// Wake nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<PowerConfig>,
    /// Restart containers of a Docker daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<crate::DockerConfig>,
    /// Propose changes as pull requests on GitHub, Forgejo or Gitea.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<crate::PullRequestConfig>,
    /// Silence the alert that is worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<crate::AlertmanagerConfig>,
    /// Act on a Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<crate::kube::KubernetesConfig>,
    /// Sync and roll back Applications of Argo CD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argo: Option<crate::kube::ArgoConfig>,
    /// Mark decisions on Grafana's dashboards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grafana: Option<crate::GrafanaConfig>,
    /// Start, stop and move guests of Proxmox VE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<crate::ProxmoxConfig>,
    /// Call services of Home Assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_assistant: Option<crate::HomeAssistantConfig>,
    /// Back up, check and test backups with restic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restic: Option<crate::ResticConfig>,
    /// Start workflows of n8n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n8n: Option<crate::N8nConfig>,
    /// Run listed Ansible playbooks, after a check of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ansible: Option<crate::AnsibleConfig>,
    /// Where `${vault:mount/path#key}` is read from, in every part of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<crate::VaultConfig>,
}

/// What [`assemble`] built.
pub struct Assembled {
    /// All actuators, `notify` among them.
    pub actuators: Vec<Arc<dyn Actuator>>,
    /// The same `notify` again, for [`Notify::announce`].
    pub notify: Arc<Notify>,
    /// What marks every action in Grafana, if the configuration asks for it.
    pub annotator: Option<crate::grafana::Annotator>,
    /// Their shared ledger, for pruning.
    pub ledger: Arc<Ledger>,
}

/// Checks everything, then builds everything; nothing is spawned or sent. The ledger is `<data>/receipts/<journal_id>`, because
/// action numbers are unique within one journal only; `journal_id` must be letters, digits, `-` and `_`. Every problem is listed.
pub fn assemble(config: &ActuatorsConfig, data: &Path, journal_id: &str) -> Result<Assembled, Vec<Fault>> {
    assemble_at(config, data, journal_id, Pace::default())
}

/// As [`assemble`], for a daemon whose time runs at another pace.
pub fn assemble_at(config: &ActuatorsConfig, data: &Path, journal_id: &str, pace: Pace) -> Result<Assembled, Vec<Fault>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if journal_id.is_empty() || journal_id.len() > 128 || !journal_id.chars().all(plain) {
        let detail = format!("the journal's id is `{journal_id}`, expected letters, digits, `-` and `_`");
        return Err(vec![Fault::new(FaultCode::Malformed, "open the receipts", detail)]);
    }
    let ledger = Arc::new(Ledger::open(&data.join("receipts").join(journal_id)).map_err(|fault| vec![fault])?);
    let mut list = List::default();
    match config.vault.as_ref().map(crate::Vault::new) {
        Some(Ok(vault)) => Arc::new(vault).install(),
        Some(Err(faults)) => list.faults.extend(faults),
        None => {}
    }
    list.add(config.exec.as_ref().map(|config| Exec::new(config, ledger.clone())));
    list.add(config.http.as_ref().map(|config| Http::new(config, ledger.clone(), journal_id)));
    let notify = list.add(Some(Notify::new(&config.notify.clone().unwrap_or_default(), ledger.clone())));
    list.add(config.power.as_ref().map(|config| Power::new(config, ledger.clone()).map(|power| power.paced(pace))));
    list.add(config.docker.as_ref().map(|config| crate::Docker::new(config, ledger.clone()).map(|built| built.paced(pace))));
    list.add(
        config
            .pull_request
            .as_ref()
            .map(|config| crate::PullRequest::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))),
    );
    list.add(
        config
            .alertmanager
            .as_ref()
            .map(|config| crate::Alertmanager::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))),
    );
    let kube = list.hold(config.kubernetes.as_ref().map(|config| crate::kube::KubeClient::new(config, journal_id, pace)));
    if let (Some(config), Some(client)) = (&config.kubernetes, &kube) {
        list.extend(crate::kube::actuators(config, client, &ledger));
    }
    list.add(config.argo.as_ref().map(|config| crate::kube::Argo::new(config, kube.as_ref(), ledger.clone(), journal_id, pace)));
    let grafana = list
        .add(config.grafana.as_ref().map(|config| crate::Grafana::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))));
    list.add(config.proxmox.as_ref().map(|config| crate::Proxmox::new(config, ledger.clone()).map(|built| built.paced(pace))));
    list.add(config.home_assistant.as_ref().map(|config| crate::HomeAssistant::new(config, ledger.clone()).map(|built| built.paced(pace))));
    list.add(config.restic.as_ref().map(|config| crate::Restic::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))));
    list.add(config.n8n.as_ref().map(|config| crate::N8n::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))));
    list.add(config.ansible.as_ref().map(|config| crate::Ansible::new(config, ledger.clone(), journal_id).map(|built| built.paced(pace))));
    match notify {
        Some(notify) if list.faults.is_empty() => {
            Ok(Assembled { actuators: list.actuators, notify, annotator: grafana.and_then(|grafana| grafana.annotator()), ledger })
        }
        _ => Err(list.faults),
    }
}

/// As [`assemble`], for callers that need the actuators alone.
pub fn build(config: &ActuatorsConfig, data: &Path, journal_id: &str) -> Result<Vec<Arc<dyn Actuator>>, Vec<Fault>> {
    assemble(config, data, journal_id).map(|assembled| assembled.actuators)
}

#[derive(Default)]
struct List {
    actuators: Vec<Arc<dyn Actuator>>,
    faults: Vec<Fault>,
}

impl List {
    /// Keeps what is no actuator itself, but shared by some.
    fn hold<T>(&mut self, built: Option<Result<T, Vec<Fault>>>) -> Option<Arc<T>> {
        match built? {
            Ok(shared) => Some(Arc::new(shared)),
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    fn extend(&mut self, built: Result<Vec<Arc<dyn Actuator>>, Vec<Fault>>) {
        match built {
            Ok(actuators) => self.actuators.extend(actuators),
            Err(faults) => self.faults.extend(faults),
        }
    }

    fn add<A: Actuator + 'static>(&mut self, built: Option<Result<A, Vec<Fault>>>) -> Option<Arc<A>> {
        match built? {
            Ok(actuator) => {
                let actuator = Arc::new(actuator);
                self.actuators.push(actuator.clone());
                Some(actuator)
            }
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }
}
