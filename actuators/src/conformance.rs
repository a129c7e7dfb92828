//! What every actuator must do, run for each of them against something that counts at the far end.
//!
//! Also the small things all tests here share: a ledger, actions, a counting server, the corpus.

use crate::{Ledger, assemble};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use homeostat_model::{Action, ActionId, Actuator, Arg, Args, Class, FaultCode, Lease, Outcome, Receipt, Span, Time};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Stands in every configuration; must never come back.
pub(crate) const SECRET: &str = "hunter2-do-not-show";

/// A ledger in a folder of its own.
pub(crate) fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(&dir.path().join("receipts")).unwrap());
    (dir, ledger)
}

/// An action without arguments, its lease ending at 60 s.
pub(crate) fn action(id: u64, verb: &str, target: &str) -> Action {
    action_with(id, verb, target, Args::new())
}

/// An action with arguments.
pub(crate) fn action_with(id: u64, verb: &str, target: &str, args: Args) -> Action {
    Action {
        id: ActionId(id),
        verb: verb.into(),
        target: target.into(),
        args,
        class: Class::Disruptive,
        timeout: Span::from_secs(30),
        lease: Lease { generation: 1, expires: Time(60_000) },
        because: "it was asked for".into(),
    }
}

/// A folder of the corpus; says loudly when it is absent.
pub(crate) fn corpus(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let dir = std::env::var("HOMEOSTAT_CORPUS").map_or_else(|_| beside(), PathBuf::from).join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: no corpus at {}", dir.display());
    None
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server on loopback that keeps what it is sent and answers by script; stopped when dropped.
pub(crate) struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// `answer` gets the number of the request (from 0) and the request.
    pub(crate) async fn start(answer: impl Fn(usize, &Seen) -> Response + Clone + Send + Sync + 'static) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let app = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (kept, answer) = (kept.clone(), answer.clone());
            async move {
                let seen = Seen { method, uri, headers, body: body.to_vec() };
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(seen.clone());
                    kept.len() - 1
                };
                answer(number, &seen)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { url, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with a JSON body.
pub(crate) fn answer(status: u16, body: serde_json::Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

/// A listener that takes connections, reads the request's first bytes and hangs up without an answer.
pub(crate) struct HangsUp {
    pub url: String,
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl HangsUp {
    pub(crate) async fn start() -> HangsUp {
        use tokio::io::AsyncReadExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        HangsUp { url, count, task }
    }
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for HangsUp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port on loopback that is taken and that nobody listens on, until this one does.
pub(crate) struct ClosedPort(tokio::net::TcpSocket);

impl ClosedPort {
    pub(crate) fn new() -> ClosedPort {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        ClosedPort(socket)
    }
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.0.local_addr().unwrap()
    }
    pub(crate) fn open(self) -> tokio::net::TcpListener {
        self.0.listen(16).unwrap()
    }
}

/// One actuator under test.
pub(crate) struct Subject {
    pub actuator: Arc<dyn Actuator>,
    /// An action that works.
    pub good: Action,
    /// How often the far end saw something.
    pub count: Box<dyn Fn() -> usize>,
    /// How often it sees something for one action.
    pub once: usize,
    /// What must live as long.
    pub _keep: Box<dyn std::any::Any>,
}

/// The actuator of this name, built as the daemon builds it.
pub(crate) fn subject(config: serde_json::Value, name: &str) -> (tempfile::TempDir, Arc<dyn Actuator>) {
    let dir = tempfile::tempdir().unwrap();
    let built = assemble(&serde_json::from_value(config).unwrap(), dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:?}"));
    let actuator = built.actuators.into_iter().find(|actuator| actuator.spec().id.as_str() == name).unwrap();
    (dir, actuator)
}

async fn exec_subject() -> Subject {
    let config = |file: &Path| {
        json!({ "exec": { "commands": { "mark": {
            "doc": "Marks.", "argv": ["sh", "-c", format!("echo x >> {}; echo $TOKEN", file.display())],
            "env": { "TOKEN": SECRET } } } } })
    };
    let far = tempfile::tempdir().unwrap();
    let file = far.path().join("far");
    let (dir, actuator) = subject(config(&file), "exec");
    let count = move || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    Subject { actuator, good: action(1, "exec.mark", "node/m"), count: Box::new(count), once: 1, _keep: Box::new((dir, far)) }
}

async fn http_subject() -> Subject {
    let server = Arc::new(Server::start(|_, _| answer(200, json!({ "echo": SECRET }))).await);
    let config = json!({ "http": { "requests": { "poke": { "doc": "Pokes.", "send": {
        "url": format!("{}/poke/{{target_name}}", server.url), "headers": { "authorization": SECRET } } } } } });
    let (dir, actuator) = subject(config, "http");
    let far = server.clone();
    let count = move || far.seen().len();
    Subject { actuator, good: action(1, "http.poke", "node/m"), count: Box::new(count), once: 1, _keep: Box::new((dir, server)) }
}

async fn notify_subject() -> Subject {
    let server = Arc::new(Server::start(|_, _| answer(200, json!({ "id": "m1", "topic": SECRET }))).await);
    let config = json!({ "notify": { "channels": { "phone": { "kind": "ntfy", "url": server.url, "topic": SECRET, "token": SECRET } } } });
    let (dir, actuator) = subject(config, "notify");
    let far = server.clone();
    let good = action_with(1, "notify.send", "node/m", Args::from([("title".to_owned(), Arg::from("hello"))]));
    Subject { actuator, good, count: Box::new(move || far.seen().len()), once: 1, _keep: Box::new((dir, server)) }
}

async fn power_subject() -> Subject {
    let node = super::power::tests::SleepingNode::start().await;
    let config = json!({ "power": node.config("a1:b2:c3:d4:e5:f6") });
    let (dir, actuator) = subject(config, "power");
    let packets = node.packets.clone();
    let count = move || packets.load(Ordering::SeqCst);
    Subject { actuator, good: action(1, "power.wake", "node/muscle"), count: Box::new(count), once: 3, _keep: Box::new((dir, node)) }
}

/// The suite.
pub(crate) async fn conforms(subject: Subject) {
    let Subject { actuator, good, count, once, _keep } = subject;
    spec_is_complete(actuator.as_ref());
    let shown = |what: &Outcome| assert!(!format!("{what:?}").contains("hunter2") && !format!("{what:?}").contains("a1:b2"), "{what:?}");

    // Check is pure, and refuses what it does not know.
    assert_eq!(actuator.check(&good), Ok(()));
    // A dry run says what would leave, shows no secret, and sends nothing.
    let planned = actuator.preview(&good).unwrap();
    assert!(planned.iter().any(|one| one.writes), "{planned:?}");
    assert!(!format!("{planned:?}").contains("hunter2") && count() == 0, "{planned:?}");
    let strange = Action { verb: format!("{}.none", actuator.spec().id).as_str().into(), ..good.clone() };
    assert_eq!(actuator.check(&strange).unwrap_err().code, FaultCode::NotFound);
    let Outcome::NotDone(fault) = actuator.apply(Time(0), &strange).await else { panic!("an unknown verb was applied") };
    assert_eq!(fault.code, FaultCode::NeverStarted);

    // A late lease: refused, nothing sent, and probe says so.
    let Outcome::NotDone(fault) = actuator.apply(Time(60_001), &good).await else { panic!("a late action was applied") };
    assert_eq!(fault.code, FaultCode::NeverStarted);
    let Outcome::NotDone(fault) = actuator.probe(Time(60_002), &good).await else { panic!("a late action was started") };
    assert_eq!((fault.code, count()), (FaultCode::NeverStarted, 0));

    // Twice is once, and probe agrees.
    let first = actuator.apply(Time(60_000), &good).await;
    shown(&first);
    assert!(matches!(first, Outcome::Done(_)), "{first:?}");
    let second = actuator.apply(Time(60_000), &good).await;
    let late = actuator.apply(Time(99_000), &good).await;
    let probed = actuator.probe(Time(99_000), &good).await;
    assert_eq!((&second, &late, &probed), (&first, &first, &first));
    assert_eq!(count(), once, "what left the machine");

    // An older daemon is fenced off once a newer one acted.
    let newer = Action { id: ActionId(2), lease: Lease { generation: 2, ..good.lease }, ..good.clone() };
    shown(&actuator.apply(Time(0), &newer).await);
    let sent = count();
    let older = Action { id: ActionId(3), ..good.clone() };
    assert!(matches!(actuator.apply(Time(0), &older).await, Outcome::NotDone(_)));
    assert_eq!(count(), sent);

    // What cannot be taken back says so and does nothing.
    if !actuator.spec().verbs[0].revertible {
        let reverted = actuator.revert(Time(0), &good, &Receipt::default()).await;
        assert!(matches!(&reverted, Outcome::NotDone(fault) if fault.code == FaultCode::NeverStarted), "{reverted:?}");
        assert_eq!(count(), sent);
    }
}

fn spec_is_complete(actuator: &dyn Actuator) {
    let spec = actuator.spec();
    assert!(!spec.verbs.is_empty());
    for verb in &spec.verbs {
        assert_eq!(verb.verb.actuator(), spec.id.as_str());
        assert!(verb.doc.len() > 3 && verb.timeout > Span::ZERO, "{verb:?}");
        assert!(verb.args.iter().all(|arg| arg.doc.len() > 2), "{verb:?}");
        assert!(verb.opposite.as_ref() != Some(&verb.verb), "{verb:?}");
    }
}

#[tokio::test]
async fn exec_conforms() {
    conforms(exec_subject().await).await;
}

#[tokio::test]
async fn http_conforms() {
    conforms(http_subject().await).await;
}

#[tokio::test]
async fn notify_conforms() {
    conforms(notify_subject().await).await;
}

#[tokio::test]
async fn power_conforms() {
    conforms(power_subject().await).await;
}

#[tokio::test]
async fn every_way_of_power_conforms() {
    for way in super::power::tests::way_subjects().await {
        let (dir, actuator) = subject(json!({ "power": way.config }), "power");
        let good = action(1, way.verb, "node/muscle");
        conforms(Subject { actuator, good, count: way.writes, once: 1, _keep: Box::new((dir, way.keep)) }).await;
    }
}

#[test]
fn the_registry_lists_every_problem_and_always_has_notify() {
    let dir = tempfile::tempdir().unwrap();
    let faults = crate::build(
        &serde_json::from_value(json!({
            "exec": { "commands": { "x": { "doc": "X.", "argv": [] } } },
            "http": { "requests": { "x": { "doc": "X.", "send": { "url": "ftp://x" } } } },
            "notify": { "default": ["nobody"] },
            "power": { "nodes": { "x": { "mac": "zz", "probe": { "tcp": "x" } } } } }))
        .unwrap(),
        dir.path(),
        "j1",
    )
    .err()
    .unwrap();
    for part in ["exec.x", "http.x", "`notify`", "`power` node `x`"] {
        assert!(faults.iter().any(|fault| fault.while_doing.contains(part)), "{part} in {faults:?}");
    }
    assert!(crate::build(&Default::default(), dir.path(), "../up").is_err());
    let built = crate::build(&Default::default(), dir.path(), "j1").unwrap();
    assert_eq!(built.iter().map(|actuator| actuator.spec().id.to_string()).collect::<Vec<_>>(), ["notify"]);
    let wrong = serde_json::from_value::<crate::ActuatorsConfig>(json!({ "exec": { "comands": {} } })).unwrap_err().to_string();
    assert!(wrong.contains("comands"), "{wrong}");
    let schema = serde_json::to_value(schemars::schema_for!(crate::ActuatorsConfig)).unwrap();
    assert!(schema.pointer("/$defs/CommandConfig/properties/env/additionalProperties").is_some(), "{schema}");
}

/// Every field of the configuration at least once, as people write it.
const WHOLE: &str = r#"
{
  "exec": {
    "commands": {
      "cleanup": {
        "doc": "Deletes old container images.",
        "argv": [
          "ssh",
          "-o",
          "BatchMode=yes",
          "{target_name}",
          "sudo",
          "crictl",
          "rmi",
          "--prune",
          "--older-than={age}"
        ],
        "args": {
          "age": {
            "kind": "text",
            "doc": "Age such as 24h.",
            "pattern": "[0-9]+h",
            "max_bytes": 8,
            "default": "24h"
          }
        },
        "class": "disruptive",
        "timeout": "2m",
        "settle": "5m",
        "working_dir": "/var/lib/homeostat",
        "env": {
          "SSH_AUTH_SOCK": "${file:/run/secrets/agent}"
        },
        "target_kinds": [
          "node"
        ],
        "opposite": "exec.restore",
        "user": {
          "uid": 1000,
          "gid": 1000
        }
      }
    }
  },
  "http": {
    "requests": {
      "scale": {
        "doc": "Sets how many replicas run.",
        "args": {
          "replicas": {
            "kind": "int",
            "doc": "How many.",
            "min": 0,
            "max": 5
          }
        },
        "send": {
          "method": "PATCH",
          "url": "https://kube.lan:6443/apis/apps/v1/namespaces/lab/deployments/{target_name}/scale",
          "headers": {
            "authorization": "${file:/run/secrets/kube}",
            "content-type": "application/merge-patch+json"
          },
          "json": {
            "spec": {
              "replicas": "{replicas}"
            }
          },
          "expect_status": [
            200
          ],
          "expect_body": "\"replicas\""
        },
        "class": "reversible",
        "timeout": "30s",
        "settle": "2m",
        "idempotent": true,
        "attempts": 3,
        "backoff": "500ms",
        "target_kinds": [
          "deployment"
        ],
        "probe": {
          "url": "https://kube.lan:6443/apis/apps/v1/namespaces/lab/deployments/{target_name}/scale",
          "headers": {
            "authorization": "${file:/run/secrets/kube}"
          },
          "expect_json_pointer": "/spec/replicas",
          "equals": "{replicas}"
        },
        "revert": {
          "method": "PATCH",
          "url": "https://kube.lan:6443/x/{target_name}",
          "json": {
            "spec": {
              "replicas": 1
            }
          }
        }
      }
    }
  },
  "notify": {
    "default": [
      "phone",
      "chat"
    ],
    "dedup_window": "60s",
    "timeout": "60s",
    "attempts": 4,
    "backoff": "1s",
    "channels": {
      "phone": {
        "kind": "ntfy",
        "url": "https://ntfy.sh",
        "topic": "${env:NTFY_TOPIC}",
        "token": "${env:NTFY_TOKEN}",
        "template": "{text} ({action})"
      },
      "chat": {
        "kind": "telegram",
        "token": "${env:TELEGRAM_TOKEN}",
        "chat_id": -1001234567890
      },
      "team": {
        "kind": "slack",
        "webhook_url": "${file:/run/secrets/slack}"
      },
      "guild": {
        "kind": "discord",
        "webhook_url": "${env:DISCORD_URL}"
      },
      "hook": {
        "kind": "webhook",
        "url": "${env:HOOK_URL}",
        "headers": {
          "x-key": "${env:HOOK_KEY}"
        },
        "body": {
          "msg": "{title}: {text}",
          "node": "{target}"
        }
      },
      "daemon-log": {
        "kind": "log"
      }
    }
  },
  "power": {
    "poll": "2s",
    "packet_gap": "100ms",
    "resend_at": [
      "0s",
      "30s",
      "90s"
    ],
    "settle": "5m",
    "silence": "15s",
    "nodes": {
      "nas": {
        "mac": "00:11:22:33:44:55",
        "broadcast": "192.168.1.255:9",
        "interface_address": "192.168.1.2",
        "secure_on": "${env:NAS_SECUREON}",
        "probe": {
          "tcp": "nas.lan:22"
        },
        "boot_timeout": "300s",
        "witnesses": [
          {
            "kind": "page",
            "url": "http://nas.lan:9100/metrics",
            "headers": {
              "authorization": "${env:NAS_PAGE}"
            }
          },
          {
            "kind": "arp",
            "address": "192.168.1.20"
          },
          {
            "kind": "lease",
            "url": "https://kube.lan:6443",
            "node": "nas",
            "token": "${file:/run/secrets/kube}",
            "certificate": "/etc/homeostat/kube.pem"
          }
        ],
        "witnesses_min": 2,
        "watts": {
          "via": "home-assistant",
          "entity": "sensor.nas_plug_power"
        },
        "idle_watts": 6.0,
        "off_timeout": "3m",
        "on": {
          "via": "redfish"
        },
        "sleep": {
          "via": "ssh",
          "key_file": "/etc/homeostat/nas-sleep",
          "command": [
            "sudo",
            "systemctl",
            "suspend"
          ]
        },
        "off": {
          "via": "ipmi",
          "force": false
        },
        "reboot": {
          "via": "proxmox"
        },
        "ssh": {
          "host": "nas.lan",
          "user": "homeostat",
          "known_hosts": "/etc/homeostat/known_hosts"
        },
        "redfish": {
          "url": "https://nas-bmc.lan",
          "user": "homeostat",
          "password": "${env:NAS_BMC}",
          "auth": "session",
          "system": "1",
          "certificate": "/etc/homeostat/nas-bmc.pem"
        },
        "ipmi": {
          "host": "nas-bmc.lan",
          "user": "homeostat",
          "password": "${env:NAS_BMC}"
        },
        "proxmox": {
          "url": "https://pve1.lan:8006",
          "node": "nas",
          "token": "${env:PVE_TOKEN}"
        },
        "home_assistant": {
          "url": "http://ha.lan:8123",
          "token": "${env:HA_TOKEN}",
          "plug": "switch.nas_plug"
        },
        "role": "worker",
        "never": [
          "off"
        ],
        "also_known_as": [
          "192.168.1.20"
        ],
        "sessions": {
          "via": "ssh",
          "key_file": "/etc/homeostat/nas-who"
        },
        "storage_check": {
          "ask": {
            "via": "http",
            "url": "http://longhorn.lan/v1/volumes/documents",
            "json_pointer": "/robustness"
          },
          "equals": "healthy"
        },
        "boot_id": {
          "via": "http",
          "url": "http://nas.lan:9100/metrics?collect[]=stat",
          "metric": "node_boot_time_seconds"
        },
        "min_up": "30m",
        "min_down": "10m",
        "boot_joules": 10800.0,
        "boot_time": "90s",
        "awake_watts": 60.0,
        "asleep_watts": 2.0,
        "revert_wake": true
      },
      "muscle": {
        "probe": {
          "tcp": "muscle.lan:22"
        },
        "wake": {
          "via": "http",
          "url": "http://relay.lan/wake/muscle",
          "method": "PUT",
          "headers": {
            "authorization": "${env:RELAY}"
          },
          "json": {
            "node": "muscle"
          }
        },
        "sleep": {
          "via": "sleep-on-lan",
          "operation": "hibernate"
        },
        "sleep_on_lan": {
          "url": "http://muscle.lan:8009",
          "user": "homeostat",
          "password": "${env:SOL}"
        }
      }
    }
  },
  "kubernetes": {
    "connect": {
      "by": "server",
      "url": "https://kube.lan:6443",
      "token": "${file:/run/secrets/kube}",
      "ca_file": "/etc/homeostat/kube.pem"
    },
    "namespaces": [
      "web"
    ],
    "field_manager": "homeostat",
    "call_timeout": "10s",
    "poll": "2s",
    "scale": {
      "min_replicas": 1,
      "max_replicas": 20,
      "kinds": {
        "rollout": {
          "group": "argoproj.io",
          "version": "v1alpha1",
          "kind": "Rollout",
          "plural": "rollouts"
        }
      },
      "timeout": "5m",
      "settle": "2m"
    },
    "restart": {
      "timeout": "10m",
      "settle": "5m",
      "disruption": "30s"
    },
    "node": {
      "drain_control_plane": false,
      "parallel": 5,
      "budget_retry": "5s",
      "drain_timeout": "15m",
      "settle": "2m"
    },
    "resources": {
      "cpu_min": "10m",
      "cpu_max": "4",
      "memory_min": "16Mi",
      "memory_max": "8Gi",
      "timeout": "10m",
      "settle": "10m"
    },
    "pod": {
      "timeout": "5m",
      "budget_retry": "5s",
      "settle": "2m"
    },
    "chaos": {
      "namespaces": ["web"],
      "denied_namespaces": ["longhorn-system"],
      "own_namespace": "homeostat",
      "opt_in": true,
      "experiments": {
        "late-packets": {
          "doc": "The shop's packets are late.",
          "kind": "NetworkChaos",
          "spec": {
            "action": "delay",
            "mode": "one",
            "selector": { "namespaces": ["web"], "labelSelectors": { "app": "shop" } },
            "delay": { "latency": "200ms" }
          },
          "namespace": "web",
          "duration": "2m",
          "pods_max": 1
        }
      },
      "ad_hoc": false,
      "pods_max": 2,
      "duration": "60s",
      "duration_max": "5m",
      "selection_timeout": "10s",
      "injection_timeout": "60s",
      "recovery_timeout": "120s",
      "settle": "2m"
    },
    "kratix": {
      "promises": { "redis": { "group": "marketplace.kratix.io", "plural": "redis" } },
      "timeout": "10m",
      "settle": "5m",
      "delete_class": "irreversible",
      "delete_foreign": false,
      "energy_joules": 1000.0
    },
    "velero": {
      "namespace": "velero",
      "storage_location": "default",
      "ttl": "72h",
      "snapshot_volumes": true,
      "timeout": "30m",
      "restore": true,
      "energy_joules": 50000.0
    }
  },
  "argo": {
    "via": { "by": "rest", "url": "https://argocd.lan", "token": "${file:/run/secrets/argocd}", "project": "home" },
    "timeout": "10m",
    "poll": "2s",
    "settle": "3m"
  }
}
"#;

#[test]
fn a_whole_configuration_reads_builds_and_survives_writing() {
    let config: crate::ActuatorsConfig = serde_json::from_str(WHOLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let built = crate::build(&config, dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let verbs: Vec<String> = built.iter().flat_map(|actuator| actuator.spec().verbs).map(|verb| verb.verb.to_string()).collect();
    assert_eq!(
        verbs,
        [
            "exec.cleanup",
            "http.scale",
            "notify.send",
            "power.wake",
            "power.on",
            "power.sleep",
            "power.off",
            "power.reboot",
            "scale.up",
            "scale.down",
            "restart.rollout",
            "node.cordon",
            "node.uncordon",
            "node.drain",
            "resources.set",
            "pod.delete",
            "chaos.run",
            "chaos.abort",
            "kratix.apply",
            "kratix.delete",
            "velero.backup",
            "velero.restore",
            "argo.sync",
            "argo.rollback",
            "argo.refresh",
        ]
    );
    built.iter().for_each(|actuator| spec_is_complete(actuator.as_ref()));
    let written = serde_json::to_string(&config).unwrap();
    let again: crate::ActuatorsConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), written); // literal secrets are not written, so the texts are compared
}
