//! Acting end to end: the real daemon with real actuators, in faster time, against the plant behind its network faces.
//!
//! Waiting is asking the daemon or the plant again and again, with generous limits; nothing waits for a clock. The daemon runs in the test's
//! process, or, where it is to be killed, in one of its own: the same test started again, told by [`ENGINE`] to be the engine.

mod chaos;
mod kratix;
mod muscle;

use crate::daemon::{Server, request};
use homeostat::clock::{Clock, ScaledClock};
use homeostat::config::{Config, Outside};
use homeostat::daemon::{self, Launch, Running};
use homeostat::live::Handle;
use homeostat_actuators::Pace;
use homeostat_faces::{Faces, FacesSettings};
use homeostat_kernel::ledger::{ActionState, Run};
use homeostat_kernel::store::Selector;
use homeostat_kube_face::KubeServer;
use homeostat_model::{Args, Command, Event, Ordered, Outcome, RunEnd, Span, Time};
use homeostat_sim::lab::Lab;
use homeostat_sim::plant::{OpKind, Plant};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A Monday, 10 o'clock.
const MORNING: Time = Time(1_770_026_400_000);
/// How long a test waits for the world; a machine that does other things too is slow.
const PATIENCE: Duration = Duration::from_secs(55);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Tells a test that it is the engine of a house: the moment in milliseconds, the speed, the house's folder.
const ENGINE: &str = "HOMEOSTAT_TEST_ENGINE";
/// An engine that nobody kills ends by itself.
const ENGINE_LASTS: Duration = Duration::from_secs(180);

/// A plant with faces, and a daemon in front of them.
struct House {
    faces: Faces,
    clock: Arc<ScaledClock>,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

/// What stands in the daemon's folder.
#[derive(Default)]
struct Files {
    /// Laid over the configuration that every house has.
    config: Value,
    policies: Vec<(&'static str, &'static str)>,
    playbooks: Vec<(&'static str, &'static str)>,
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            over.iter().for_each(|(name, value)| merge(base.entry(name.clone()).or_insert(Value::Null), value));
        }
        (base, over) => *base = over.clone(),
    }
}

impl House {
    /// The plant and its faces, without a daemon yet. Queues get work from the test alone.
    async fn open(lab: &str, speed: f64) -> House {
        let mut lab = Lab::parse(lab).unwrap();
        lab.queues.iter_mut().for_each(|queue| queue.jobs_per_day = 0.0);
        let clock = Arc::new(ScaledClock::new(MORNING, speed));
        let time = Arc::clone(&clock);
        let mut settings = FacesSettings::new(Arc::new(move || time.now()));
        settings.tick = Duration::from_millis(5);
        let faces = Faces::start(Plant::new(Arc::new(lab), 1, MORNING), settings).await.unwrap();
        House { faces, clock, dir: tempfile::tempdir().unwrap(), running: None }
    }

    /// Writes the daemon's folder and starts it.
    async fn run(&mut self, files: Files) {
        self.furnish(&files);
        self.start().await;
    }

    /// Writes the daemon's folder.
    fn furnish(&self, files: &Files) {
        for (folder, ending, all) in [("policies", "rhai", &files.policies), ("playbooks", "yaml", &files.playbooks)] {
            std::fs::create_dir_all(self.dir.path().join(folder)).unwrap();
            for (name, text) in all {
                std::fs::write(self.dir.path().join(folder).join(format!("{name}.{ending}")), text).unwrap();
            }
        }
        let page = |path: &str, interval: &str| {
            let url = format!("http://{}{path}", self.faces.house());
            json!({ "kind": "exposition", "url": url, "honor_labels": true, "interval": interval, "timeout": interval })
        };
        let at = |folder: &str| self.dir.path().join(folder).display().to_string();
        let many = json!({ "restore": 100, "reversible": 100, "disruptive": 100, "irreversible": 100 });
        let mut config = json!({
            "sensors": { "lab": page("/lab/metrics", "5s"), "plugs": page("/plugs/metrics", "5s") },
            "actuators": { "kubernetes": { "connect": { "by": "server", "url": format!("http://{}", self.faces.kube().unwrap()) } } },
            "policies": { "dir": at("policies") },
            "playbooks": { "dir": at("playbooks") },
            "arbiter": { "autonomy": { "disruptive": "auto" }, "earned": { "start": "auto" }, "boot_grace": "0s", "per_hour_max": many },
        });
        merge(&mut config, &files.config);
        std::fs::write(self.config(), serde_saphyr::to_string(&config).unwrap()).unwrap();
    }

    /// Where the configuration is.
    fn config(&self) -> PathBuf {
        config_of(self.dir.path())
    }

    /// Starts the daemon on its folder.
    async fn start(&mut self) {
        self.running = Some(engine(self.dir.path(), &self.clock).await);
    }

    /// Starts the daemon on its folder, in a process of its own: `test` is the whole name of a test that begins with [`be_the_engine`].
    fn start_elsewhere(&self, test: &str) -> Server {
        let told = format!("{} {} {}", self.clock.now().millis(), self.clock.speed(), self.dir.path().display());
        let mut program = Program::new(std::env::current_exe().unwrap());
        Server::start("engine", self.dir.path(), program.args([test, "--exact", "--nocapture"]).env(ENGINE, told))
    }

    /// What a person reads at one of the daemon's addresses.
    fn page(&self, path: &str) -> String {
        let address = self.running.as_ref().expect("it runs").listen();
        let (status, body) = tokio::task::block_in_place(|| request(address, "GET", path, &[], "")).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The same, as JSON.
    fn answer(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).unwrap()
    }

    /// What `homeostat explain` prints.
    fn why(&self, id: homeostat_model::ActionId) -> String {
        self.answer(&format!("/api/v1/actions/{id}"))["text"].as_str().unwrap().to_owned()
    }

    async fn stop(&mut self) {
        self.running.take().expect("it runs").stop().await;
    }

    async fn close(mut self) {
        self.stop().await;
        self.faces.stop().await;
    }

    fn handle(&self) -> Handle {
        self.running.as_ref().expect("it runs").handle()
    }

    fn kube(&self) -> &KubeServer {
        self.faces.cluster().unwrap()
    }

    /// Jobs for the queue `inference`.
    fn bring_work(&self, jobs: usize) {
        self.faces.world().with(|plant| {
            let now = plant.now();
            plant.queues.iter_mut().for_each(|queue| queue.waiting.extend((0..jobs).map(|_| now)));
        });
    }

    /// How often something came to the plant over the network.
    fn did(&self, does: OpKind) -> usize {
        self.faces.world().did().iter().filter(|did| did.op.does == does).count()
    }

    fn node(&self, name: &str) -> homeostat_faces::NodeView {
        self.faces.summary().nodes.into_iter().find(|node| node.name == name).unwrap()
    }

    /// A person's wish.
    async fn wish(&self, verb: &str, target: &str) {
        self.wish_with(verb, target, Args::new()).await;
    }

    async fn wish_with(&self, verb: &str, target: &str, args: Args) {
        let command = Command::Wish { verb: verb.into(), target: target.into(), args, because: "a test wishes it".into() };
        self.handle().submit(Event::Ordered(Ordered { by: "ada".into(), command })).await.unwrap();
    }

    /// All actions of a verb, oldest first.
    async fn actions(&self, verb: &str) -> Vec<ActionState> {
        let verb = homeostat_model::Verb::from(verb);
        let look = move |kernel: &homeostat_kernel::Kernel| {
            kernel.ledger().actions().filter(|state| state.proposal.verb == verb).cloned().collect()
        };
        self.handle().ask(look).await.unwrap()
    }

    async fn runs(&self) -> Vec<Run> {
        self.handle().ask(|kernel| kernel.ledger().runs().cloned().collect()).await.unwrap()
    }

    /// The newest value of the one series that a selector names, and when it was read.
    async fn read(&self, series: &'static str) -> Option<(f64, Time)> {
        let look = move |kernel: &homeostat_kernel::Kernel| {
            let now = kernel.now();
            kernel.with_store(|store| {
                let found = store.select(&Selector::parse(series).unwrap());
                let read = store.last(*found.first()?, now);
                Some((read.value.value()?, read.sampled_at?))
            })
        };
        self.handle().ask(look).await.unwrap()
    }

    /// Asks the world again and again.
    async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        self.until_some(what, async || is_so().then_some(())).await;
    }

    /// Asks again and again until there is an answer; says how the daemon stands where there never is.
    async fn until_some<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            if Instant::now() > end {
                panic!("waited {PATIENCE:?} for: {what}\n{}", self.story().await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The first action of a verb that has ended: done, not done, or nobody can tell.
    async fn ended(&self, verb: &str) -> ActionState {
        let over = |state: &ActionState| !state.phase.is_running() && !state.phase.is_open() && state.outcome.is_some();
        self.until_some(&format!("{verb} ends"), async || self.actions(verb).await.into_iter().find(over)).await
    }

    /// The first run that has ended, and how.
    async fn run_ended(&self) -> (Run, RunEnd, String) {
        let ended = async || {
            let run = self.runs().await.into_iter().find(|run| run.end.is_some())?;
            let (_, end, why) = run.end.clone()?;
            Some((run, end, why))
        };
        self.until_some("a run ends", ended).await
    }

    /// Everything that was wished and what became of it, for a person who reads a failed test.
    async fn story(&self) -> String {
        let look = |kernel: &homeostat_kernel::Kernel| {
            let actions = kernel.ledger().actions().map(|state| {
                let (proposal, moved) = (&state.proposal, state.timeline.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());
                format!("{} {} {} {:?}: {}", state.id, proposal.verb, proposal.target, state.phase, moved.join(" | "))
            });
            let runs = kernel.ledger().runs().map(|run| format!("run {} {:?} {:?}", run.id, run.steps, run.end));
            actions.chain(runs).collect::<Vec<_>>().join("\n")
        };
        if self.running.is_none() {
            return "the engine is not in this process".into();
        }
        let sensors = self.handle().status().sensors;
        let sensors = sensors.iter().map(|sensor| format!("{} {:?} {:?}", sensor.name, sensor.health, sensor.faults));
        format!("{}\n{}", self.handle().ask(look).await.unwrap_or_default(), sensors.collect::<Vec<_>>().join("\n"))
    }
}

/// Where the configuration of a house's folder is.
fn config_of(dir: &Path) -> PathBuf {
    dir.join("homeostat.yaml")
}

/// Starts the daemon of a house's folder.
async fn engine(dir: &Path, clock: &Arc<ScaledClock>) -> Running {
    let path = config_of(dir);
    let config = Config::load(Some(&path), &Outside::real()).unwrap_or_else(|error| panic!("{error:#}"));
    let launch = Launch {
        config,
        config_path: Some(path),
        reloads: false,
        is_at_home: false,
        data: dir.join("data"),
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        pace: Pace::new(clock.speed()),
    };
    daemon::start(launch).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// In a process that [`House::start_elsewhere`] has started: is the daemon until it is killed. Elsewhere: nothing.
async fn be_the_engine() {
    let Ok(told) = std::env::var(ENGINE) else { return };
    let [at, speed, dir] = told.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{ENGINE}: `{told}`") };
    let clock = Arc::new(ScaledClock::new(Time(at.parse().unwrap()), speed.parse().unwrap()));
    let _running = engine(Path::new(dir), &clock).await;
    tokio::time::sleep(ENGINE_LASTS).await;
    panic!("nobody has killed this engine within {ENGINE_LASTS:?}");
}

/// What was seen of what was done.
fn observed(state: &ActionState) -> &str {
    match &state.outcome {
        Some(Outcome::Done(receipt)) => &receipt.observed,
        other => panic!("{} is not done: {other:?}", state.proposal.verb),
    }
}

/// Why it was not done, or why nobody can tell.
fn detail(state: &ActionState) -> &str {
    match &state.outcome {
        Some(Outcome::NotDone(fault) | Outcome::Unknown(fault)) => &fault.detail,
        other => panic!("{} has no fault: {other:?}", state.proposal.verb),
    }
}

/// How often it was sent, over all actions.
fn sent(actions: &[ActionState]) -> u32 {
    actions.iter().map(|state| state.attempts).sum()
}

/// A definition that keeps whatever it is given.
fn definition(group: &str, version: &str, kind: &str, plural: &str, scope: &str) -> Value {
    let free = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": free, "status": free } } });
    let mut version = json!({ "name": version, "served": true, "storage": true, "schema": schema });
    if scope == "Cluster" {
        version["subresources"] = json!({ "status": {} });
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("{plural}.{group}") },
        "spec": { "group": group, "scope": scope, "names": { "kind": kind, "plural": plural, "singular": plural }, "versions": [version] },
    })
}

/// So long before.
fn apart(from: Time, to: Time) -> Span {
    to.since(from)
}
