//! What Homeostat can do to the world: one file per power, each with its configuration, `check`, `apply`, `probe` and `revert`.
//!
//! Reading order: [`ledger`] (how "at most once" survives a crash), [`args`] and [`template`] (how a configured verb gets its
//! arguments), [`client`] (one HTTP exchange and what is known after it), then the powers: [`exec`], [`http`], [`notify`],
//! [`power`]; [`registry`] lists them. Deliberately absent: deciding whether to act (the arbiter does), the kernel, any clock but
//! the runtime's timers. An editor breaks this crate by letting something leave the machine before the ledger holds its mark, by
//! calling an error a success, or by calling a lost answer `NotDone`.

pub mod alertmanager;
pub mod ansible;
pub mod args;
pub mod client;
pub mod docker;
pub mod exec;
pub mod grafana;
pub mod home_assistant;
pub mod http;
pub mod kube;
pub mod kube_rules;
pub mod ledger;
pub mod n8n;
pub mod notify;
pub mod pace;
pub mod power;
pub mod proxmox;
pub mod pull_request;
pub mod redact;
pub mod registry;
mod rest;
pub mod restic;
pub mod template;
pub mod vault;

#[cfg(test)]
mod conformance;

pub use alertmanager::{Alertmanager, AlertmanagerConfig};
pub use ansible::{Ansible, AnsibleConfig};
pub use docker::{Docker, DockerConfig};
pub use exec::{Exec, ExecConfig};
pub use grafana::{Annotator, Grafana, GrafanaConfig};
pub use home_assistant::{HomeAssistant, HomeAssistantConfig};
pub use http::{Http, HttpConfig};
pub use ledger::{Begin, Ledger, Mark};
pub use n8n::{N8n, N8nConfig};
pub use notify::{Notify, NotifyConfig};
pub use pace::Pace;
pub use power::{Power, PowerConfig};
pub use proxmox::{Proxmox, ProxmoxConfig};
pub use pull_request::{PullRequest, PullRequestConfig};
pub use registry::{ActuatorsConfig, Assembled, assemble, assemble_at, build};
pub use restic::{Restic, ResticConfig};
pub use vault::{Vault, VaultConfig};
