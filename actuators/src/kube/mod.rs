//! Powers on a Kubernetes cluster: one client, one frame, one file per power.
//!
//! Reading order: [`call`] (a request as data), [`refusal`] (what a "no" means), [`client`] (sending, repeating), [`rights`] (what
//! may be done), [`frame`] (what all powers do alike), then the powers. Deliberately absent: watching a cluster (sensors do that),
//! and powers that were not configured. An editor breaks this by writing before reading, or by counting the lack of an error as
//! success.

pub mod argo;
pub mod call;
pub mod chaos;
pub mod client;
pub mod config;
pub mod cordon;
pub mod drain;
pub mod evict;
pub mod frame;
pub mod kratix;
pub mod node;
pub mod owner;
pub mod place;
pub mod pod;
pub mod quantity;
pub mod refusal;
pub mod resources;
pub mod restart;
pub mod rights;
pub mod rollout;
pub mod scale;
#[cfg(test)]
pub(crate) mod tests;
pub mod velero;

pub use argo::{Argo, ArgoConfig};
pub use call::{Call, Kind};
pub use chaos::{AbortReport, Chaos, ChaosConfig, abort_all, abort_expired};
pub use client::KubeClient;
pub use config::{ConnectConfig, KubernetesConfig};
pub use frame::{Deed, Framed, Run, Step};
pub use kratix::{Kratix, KratixConfig};
pub use node::{Node, NodeConfig};
pub use pod::{Pod, PodConfig};
pub use refusal::{Meaning, Refusal};
pub use resources::{Resources, ResourcesConfig};
pub use restart::{Restart, RestartConfig};
pub use rights::{Needs, Rule};
pub use scale::{Scale, ScaleConfig};
pub use velero::{Velero, VeleroConfig};

use crate::Ledger;
use homeostat_model::{Actuator, Fault};
use std::sync::Arc;

/// Builds the powers of the section that are configured; nothing is connected. Every problem is listed.
pub fn actuators(config: &KubernetesConfig, client: &Arc<KubeClient>, ledger: &Arc<Ledger>) -> Result<Vec<Arc<dyn Actuator>>, Vec<Fault>> {
    let mut built: Vec<Arc<dyn Actuator>> = Vec::new();
    let mut faults = Vec::new();
    let mut add = |deed: Option<Result<Arc<dyn Actuator>, Vec<Fault>>>| match deed {
        Some(Ok(actuator)) => built.push(actuator),
        Some(Err(problems)) => faults.extend(problems),
        None => {}
    };
    let frame = (client, ledger);
    add(config.scale.as_ref().map(|config| framed(Scale::new(config), frame)));
    add(config.restart.as_ref().map(|config| framed(Restart::new(config), frame)));
    add(config.node.as_ref().map(|config| framed(Node::new(config), frame)));
    add(config.resources.as_ref().map(|config| framed(Resources::new(config), frame)));
    add(config.pod.as_ref().map(|config| framed(Pod::new(config), frame)));
    add(config.chaos.as_ref().map(|config| framed(Chaos::new(config).map(|chaos| chaos.on(client.clone())), frame)));
    add(config.kratix.as_ref().map(|config| framed(Kratix::new(config), frame)));
    add(config.velero.as_ref().map(|config| framed(Velero::new(config), frame)));
    if faults.is_empty() { Ok(built) } else { Err(faults) }
}

fn framed<D: Deed + 'static>(
    deed: Result<D, Vec<Fault>>,
    (client, ledger): (&Arc<KubeClient>, &Arc<Ledger>),
) -> Result<Arc<dyn Actuator>, Vec<Fault>> {
    Ok(Arc::new(Framed::new(deed?, client.clone(), ledger.clone())))
}

/// What each configured verb of the section needs on the server: for roles and for `doctor`. Wrong sections need nothing; they are
/// refused elsewhere.
pub fn needs_of(config: &KubernetesConfig) -> Vec<Needs> {
    let mut needs = Vec::new();
    needs.extend(config.scale.as_ref().and_then(|config| Scale::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.restart.as_ref().and_then(|config| Restart::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.node.as_ref().and_then(|config| Node::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.resources.as_ref().and_then(|config| Resources::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.pod.as_ref().and_then(|config| Pod::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.chaos.as_ref().and_then(|config| Chaos::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.kratix.as_ref().and_then(|config| Kratix::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs.extend(config.velero.as_ref().and_then(|config| Velero::new(config).ok()).map(|deed| deed.needs()).unwrap_or_default());
    needs
}
