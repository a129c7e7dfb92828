//! The network faces of the plant: what a real homelab would show on its ports, on loopback.
//!
//! [`Faces::start`] takes a plant and a clock and serves it: each node's exporters (`/metrics`, `/kepler`, `/smart`) on an address of
//! its own, the house (kube-state-metrics, blackbox, the plant's own extras, agents, plugs) on another, Wake-on-LAN over UDP. A node
//! that is off refuses connections, a node that hangs does not answer.
//!
//! Deliberately absent: decisions, and any clock but the one that is given ([`FacesSettings::clock`]); the ticking interval is the
//! only real time here. Nothing here may be linked into what decides. An editor breaks this crate by showing on a page what no exporter
//! could know (causes, the oracle's word), or by serving beyond loopback: there is no authentication.
//!
//! # Agents
//! What actuators of today reach by HTTP, on the house's address. Everything answers JSON. 404: there is no such thing; 409: it was not
//! taken; 400: the request is wrong. An agent of a node that is off cuts the connection, of one that hangs it does not answer.
//!
//! | request | does |
//! |---|---|
//! | `GET /agents/{node}` | the node as it sees itself: power, use, filesystems, disks |
//! | `POST /agents/{node}/sleep` | suspends it |
//! | `GET /agents/{node}/filesystem?mountpoint=/srv` | one filesystem |
//! | `POST /agents/{node}/clean` `{"mountpoint": "/srv"}` | frees what can be freed |
//! | `GET /agents/{node}/disks/{disk}` | one disk |
//! | `POST /agents/{node}/disks/{disk}/evacuate` | moves the data off it |
//! | `GET /plugs/{node}` | `{"on": true, "watts": 28.1, "joules": 1240.5}`; plugs work while the node's feed does |
//! | `GET /plugs/metrics` | the same of all plugs, as a page of metrics |
//! | `POST /plugs/{node}/cycle`, `POST /plugs/{node}/off` | cuts the power and gives it back; cuts it |
//! | `GET /services/{name}` | replicas, ready, up, latency |
//! | `POST /services/{name}/restart` | starts all replicas anew |
//! | `PUT /services/{name}/replicas` `{"replicas": 3}` | sets them |
//! | `GET /pods/{namespace}/{pod}`, `DELETE /pods/{namespace}/{pod}` | one pod; deletes it, a new one comes |
//! | `GET /certificates/{name}` | when it expires |
//! | `POST /certificates/{name}/renew` | gets a new one |
//! | `GET /plant` | the screen's summary; answers whatever is wrong in the house |
//!
//! # The cluster
//! [`Faces::kube`] is a Kubernetes API ([`homeostat_kube_face`]) that shows the plant: nodes with their Ready condition, each service as a
//! Deployment with pods under the plant's names, its autoscaler as a HorizontalPodAutoscaler, its GitOps owner as Argo CD's mark. Scaling, a
//! rollout's restart, deleting or evicting a pod, and cordoning there are done to the plant.
//!
//! Lies of the plant ([`homeostat_sim::plant::Lie`]) are told here: for `http.<last word of the request>` and for every verb of the lab file
//! that begins with `http.` and does the same; for packets, every `wake` verb.

mod agents;
mod bridge;
mod door;
mod house;
mod meter;
mod page;
mod pages;
mod screen;
mod server;
mod wol;
mod world;

pub use page::CONTENT_TYPE;
pub use screen::{FaultView, NodeView, QueueView, ServiceView, Summary};
pub use server::{Faces, FacesSettings, PageAddress};
pub use wol::WakeCounts;
pub use world::{Did, KeplerAge, World};
