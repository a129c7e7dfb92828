//! The daemon's configuration for a house of the plant: a sensor per page, a verb per thing that the lab file says can be done.
//!
//! The result is an ordinary `homeostat.yaml`, written to the demo's folder for everybody to read. Deliberately absent: thresholds and
//! choices (policies have those). An editor breaks this by a verb whose request another fake would understand and a real agent not.

use homeostat_model::Span;
use homeostat_sim::lab::{Lab, VerbEntry};
use homeostat_sim::plant::OpKind;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// Where the faces of a house are.
#[derive(Clone, Debug)]
pub struct House {
    /// The nodes.
    pub nodes: Vec<NodeFace>,
    /// Pages that tell of the whole house: a name and where it is.
    pub pages: Vec<(String, String)>,
    /// Probes of services: the service's name and where the probe's page is.
    pub probes: Vec<(String, String)>,
    /// Where agents, plugs and services are asked: `http://127.0.0.1:41000`.
    pub agents: String,
    /// Where the Kubernetes API is: `http://127.0.0.1:41001`.
    pub cluster: String,
    /// Where magic packets go.
    pub wake: SocketAddr,
}

/// Where a node's faces are.
#[derive(Clone, Debug)]
pub struct NodeFace {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// A port that accepts connections while it is up.
    pub tcp: SocketAddr,
    /// Its pages: a job's name (`node`, `kepler`, `smart`) and where it is.
    pub pages: Vec<(String, String)>,
}

/// The whole configuration. `extra` is put over it, section by section.
pub fn config(lab: &Lab, house: &House, interval: Span, extra: &Map<String, Value>) -> Value {
    let mut config = json!({
        "sensors": sensors(house, interval),
        "actuators": actuators(lab, house),
        "policies": { "dir": "policies" },
        "arbiter": {
            "autonomy": &lab.autonomy,
            // The story is one of minutes; earning takes days.
            "earned": { "start": "auto" },
            "own_base": [{ "target": format!("node/{}", lab.engine), "why": "runs the engine" }],
        },
    });
    merge(&mut config, &Value::Object(extra.clone()));
    config
}

/// Puts `over` over `base`, maps into maps, everything else instead of what was there.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn sensors(house: &House, interval: Span) -> Value {
    let timeout = interval.min(Span::from_secs(10));
    let mut sensors = Map::new();
    for node in &house.nodes {
        for (job, url) in &node.pages {
            let kind = if job == "kepler" { "kepler" } else { "exposition" };
            let sensor = json!({ "kind": kind, "url": url, "node": &node.name, "interval": interval, "timeout": timeout });
            sensors.insert(format!("{job}-{}", node.name), sensor);
        }
    }
    for (name, url) in &house.pages {
        let sensor = json!({ "kind": "exposition", "url": url, "honor_labels": true, "interval": interval, "timeout": timeout });
        sensors.insert(name.clone(), sensor);
    }
    for (service, url) in &house.probes {
        // The job's name says what kind of page it is, the label what was probed.
        let sensor = json!({ "kind": "exposition", "url": url, "labels": { "target": service }, "interval": interval, "timeout": timeout });
        sensors.insert(format!("blackbox-{service}"), sensor);
    }
    Value::Object(sensors)
}

fn actuators(lab: &Lab, house: &House) -> Value {
    let mut actuators = Map::new();
    let mut requests = Map::new();
    for (verb, entry) in &lab.verbs {
        if let Some(name) = verb.strip_prefix("http.")
            && let Some(request) = request(house, name, entry)
        {
            requests.insert(name.to_owned(), request);
        }
    }
    if !requests.is_empty() {
        actuators.insert("http".into(), json!({ "requests": requests }));
    }
    if let Some(wake) = lab.verbs.get("power.wake") {
        let with_card = |face: &&NodeFace| !face.mac.is_empty();
        let node = |face: &NodeFace| (face.name.clone(), powered(lab, house, face, wake));
        let nodes: Map<String, Value> = house.nodes.iter().filter(with_card).map(node).collect();
        actuators.insert("power".into(), json!({ "nodes": nodes, "settle": wake.settle, "resend_at": ["0s", "30s", "90s"] }));
    }
    actuators.insert("kubernetes".into(), kubernetes(house));
    Value::Object(actuators)
}

/// How a node is woken, put to sleep and restarted. The plug's watts are a witness of their own: a node that boots draws power already.
fn powered(lab: &Lab, house: &House, face: &NodeFace, wake: &VerbEntry) -> Value {
    let (agents, name) = (&house.agents, &face.name);
    let mut node = json!({
        "mac": face.mac,
        "broadcast": house.wake,
        "interface_address": "127.0.0.1",
        "probe": { "tcp": face.tcp.to_string() },
        "boot_timeout": wake.timeout,
    });
    if *name == lab.engine {
        return node;
    }
    node["reboot"] = json!({ "via": "http", "url": format!("{agents}/plugs/{name}/cycle") });
    if let Some(sleeper) = lab.nodes.iter().find(|node| node.name == *name && node.sleeps) {
        let machine = sleeper.kind.machine();
        node["watts"] = json!({ "via": "http", "url": format!("{agents}/plugs/{name}"), "json_pointer": "/watts" });
        node["idle_watts"] = json!((machine.idle_watts + machine.asleep_watts) / 2.0);
        node["witnesses_min"] = json!(2);
        node["sleep"] = json!({ "via": "http", "url": format!("{agents}/agents/{name}/sleep") });
    }
    node
}

/// The powers over the cluster that the story needs.
fn kubernetes(house: &House) -> Value {
    let selector = json!({ "namespaces": ["home"], "labelSelectors": { "app.kubernetes.io/name": "web" } });
    let spec = json!({ "action": "delay", "mode": "one", "selector": selector, "delay": { "latency": "200ms" } });
    let late = json!({ "doc": "Delays the packets of one web pod.", "kind": "NetworkChaos", "duration": "1m", "spec": spec });
    json!({
        "connect": { "by": "server", "url": house.cluster },
        "scale": {},
        "restart": {},
        "pod": {},
        "node": {},
        "chaos": { "namespaces": ["home"], "experiments": { "late-packets": late } },
        "kratix": { "delete_class": "disruptive" },
    })
}

/// The request of a verb: what it does decides method and path; the lab file decides everything else.
fn request(house: &House, name: &str, entry: &VerbEntry) -> Option<Value> {
    let agents = &house.agents;
    let (method, url, body, doc) = match entry.does {
        OpKind::Clean => {
            let body = json!({ "mountpoint": "{mountpoint}" });
            ("POST", format!("{agents}/agents/{{node}}/clean"), Some(body), "Frees what can be freed of a filesystem.")
        }
        OpKind::Evacuate => ("POST", format!("{agents}/agents/{{node}}/disks/{{disk}}/evacuate"), None, "Moves the data off a disk."),
        OpKind::PowerOff => ("POST", format!("{agents}/plugs/{{node}}/off"), None, "Cuts a node's power."),
        OpKind::RenewCertificate => ("POST", format!("{agents}/certificates/{{certificate}}/renew"), None, "Gets a new certificate."),
        // What has an actuator of its own is no request.
        _ => return None,
    };
    let mut args = Map::new();
    for text in &entry.texts {
        args.insert(text.clone(), json!({ "kind": "text", "doc": format!("The {text}.") }));
    }
    for (int, (min, max)) in &entry.ints {
        args.insert(int.clone(), json!({ "kind": "int", "doc": format!("The number of {int}."), "min": min, "max": max }));
    }
    let mut send = json!({ "method": method, "url": url });
    if let Some(body) = body {
        send["json"] = body;
    }
    let mut request = json!({
        "doc": format!("{doc} ({name})"),
        "send": send,
        "args": args,
        "class": entry.class,
        "settle": entry.settle,
        "timeout": entry.timeout,
    });
    if let Some(opposite) = &entry.opposite {
        request["opposite"] = json!(opposite);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Outside};
    use crate::demo::story::Story;
    use crate::demo::{CLASSIC_LAB, CLASSIC_STORY};
    use std::path::Path;

    fn house(lab: &Lab) -> House {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let face = |(index, node): (usize, &homeostat_sim::lab::NodeSpec)| {
            let tcp = address(9100 + index as u16);
            let pages = ["node", "kepler", "smart"].map(|job| (job.to_owned(), format!("http://{tcp}/{job}"))).into();
            NodeFace { name: node.name.clone(), mac: node.mac.clone(), tcp, pages }
        };
        House {
            nodes: lab.nodes.iter().enumerate().map(face).collect(),
            pages: vec![("house".into(), "http://127.0.0.1:9000/metrics".into())],
            probes: vec![("web".into(), "http://127.0.0.1:9000/probe?target=web".into())],
            agents: "http://127.0.0.1:9000".into(),
            cluster: "http://127.0.0.1:6443".into(),
            wake: address(9),
        }
    }

    #[test]
    fn the_classic_lab_becomes_a_configuration_that_the_daemon_takes() {
        let lab = Lab::parse(CLASSIC_LAB).unwrap();
        let story = Story::parse(CLASSIC_STORY).unwrap();
        let value = config(&lab, &house(&lab), Span::from_secs(15), &story.config);
        let text = serde_saphyr::to_string(&value).unwrap();
        let config = Config::parse(&text, Path::new("homeostat.yaml"), &Outside::real()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(config.sensors.len(), 6 * 3 + 2);
        assert!(crate::daemon::check_sensors(&config).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let actuators = homeostat_actuators::build(&config.actuators, dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:?}"));
        let verbs: Vec<String> = actuators.iter().flat_map(|a| a.spec().verbs).map(|verb| verb.verb.to_string()).collect();
        // What the lab's agents alone can do is asked of them; for the rest there are actuators of its own.
        let here = ["power.wake", "power.sleep", "power.reboot", "pod.delete", "restart.rollout", "scale.up", "scale.down", "node.drain"];
        let of_agents =
            ["http.clean", "http.evacuate", "http.renew-certificate", "chaos.run", "kratix.apply", "kratix.delete", "notify.send"];
        for verb in here.iter().chain(&of_agents) {
            assert!(verbs.iter().any(|known| known == verb), "{verb} has no actuator: {verbs:?}");
        }
        assert_eq!(verbs.iter().filter(|verb| verb.starts_with("http.")).count(), 3, "{verbs:?}");
        // Every step and wish of the story has its verb; playbooks are the shipped ones.
        let playbooks = crate::playbooks::shipped().unwrap();
        let known = |verb: &str| verbs.iter().any(|one| one == verb) || playbooks.iter().any(|playbook| playbook.verb().as_str() == verb);
        let facts = story.chapters.iter().flat_map(|chapter| chapter.seen.iter().filter_map(|fact| fact.verb.clone()));
        let wishes = story.wishes().into_iter().map(|wish| wish.verb);
        for verb in facts.chain(wishes) {
            assert!(known(&verb), "{verb}");
        }
        assert!(config.arbiter.settings().own_base.iter().any(|base| base.target.as_str() == "node/brain"));
        assert_eq!(config.policies.overrides["node-down"].enabled, Some(false));
    }

    #[test]
    fn a_chapters_faults_and_verbs_exist_in_the_lab() {
        let lab = std::sync::Arc::new(Lab::parse(CLASSIC_LAB).unwrap());
        let story = Story::parse(CLASSIC_STORY).unwrap();
        let mut plant = homeostat_sim::plant::Plant::new(std::sync::Arc::clone(&lab), 1, story.start().unwrap());
        for planned in story.faults() {
            plant.begin(planned.fault, planned.lasts).unwrap();
        }
        let queues: Vec<&str> = lab.queues.iter().map(|queue| queue.name.as_str()).collect();
        assert!(story.jobs().iter().all(|jobs| queues.contains(&jobs.queue.as_str())));
    }

    #[test]
    fn what_is_put_over_a_section_leaves_the_rest_of_it() {
        let mut base = json!({ "a": { "b": 1, "c": [1] }, "d": 2 });
        merge(&mut base, &json!({ "a": { "c": [2], "e": 3 }, "f": { "g": 4 } }));
        assert_eq!(base, json!({ "a": { "b": 1, "c": [2], "e": 3 }, "d": 2, "f": { "g": 4 } }));
    }
}
