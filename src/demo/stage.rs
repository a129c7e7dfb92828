//! The stage: the plant behind its faces, the real daemon in front of them, both on one clock; and what is going on, as a [`Screen`].
//!
//! The daemon is started as `homeostat run` starts it, from a `homeostat.yaml` in the demo's folder, and reaches the plant over loopback
//! alone. Deliberately absent: drawing, printing, waiting. An editor breaks this by handing the daemon anything but addresses.

use super::folder::Folder;
use super::house::{self, House, NodeFace};
use super::screen::{LoopView, NodeView, PlantView, Screen, ServiceView};
use super::story::{Answer, Asks, Jobs, Says, Story, Wishes, Witness, fits};
use super::{CLASSIC_LAB, CLASSIC_POLICIES, CLASSIC_STORY, CLASSIC_STORY_POLICIES, Options};
use crate::client::Client;
use crate::clock::{Clock, ScaledClock};
use crate::config::{Config, Outside};
use crate::daemon::{self, Launch, Running};
use crate::http::view::{ActionLine, moment};
use crate::journal::JournalReader;
use crate::rules::SHIPPED;
use anyhow::{Context, anyhow};
use homeostat_actuators::Pace;
use homeostat_faces::{Faces, FacesSettings, Summary};
use homeostat_kernel::ledger::Phase;
use homeostat_model::{ActionId, Command, Event, Ordered, Span, Time};
use homeostat_sim::lab::Lab;
use homeostat_sim::plant::Plant;
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who orders where a key was pressed, and where the demo answers by itself.
const PERSON: &str = "demo";
/// How often sensors read, in the plant's time.
const INTERVAL: Span = Span::from_secs(15);

/// How often the plant is brought up to the clock, in real time.
const TICK: Duration = Duration::from_millis(20);

/// How long something that was said stays on the screen.
const SAID_FOR: Duration = Duration::from_secs(8);

/// The wait before an answer that did not count is given again.
const ANSWER_AGAIN: Duration = Duration::from_secs(2);

/// What a lab's folder holds.
struct Files {
    lab: String,
    story: String,
    policies: Vec<(String, String)>,
}

/// See the module.
pub struct Stage {
    folder: Folder,
    faces: Faces,
    running: Running,
    clock: Arc<ScaledClock>,
    began: Time,
    ends: Option<Instant>,
    witness: Witness,
    reader: JournalReader,
    next_seq: u64,
    jobs: VecDeque<Jobs>,
    wishes: VecDeque<Wishes>,
    asks: VecDeque<Asks>,
    answers: Vec<Answer>,
    answered: BTreeSet<String>,
    refused_at: Option<Instant>,
    said: String,
    said_at: Instant,
}

fn shipped(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

impl Files {
    /// The classic lab, or the one in this file with the story and the policies beside it.
    fn read(lab: Option<&Path>) -> anyhow::Result<Files> {
        let Some(path) = lab else {
            let policies = [CLASSIC_POLICIES, CLASSIC_STORY_POLICIES].concat();
            return Ok(Files { lab: CLASSIC_LAB.into(), story: CLASSIC_STORY.into(), policies: shipped(&policies) });
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
        let mut policies = Vec::new();
        // Those of the story come last and win.
        let folders = ["policies", "demo"].map(|name| std::fs::read_dir(folder.join(name)));
        for entry in folders.into_iter().flatten().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "rhai") {
                policies.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), read(&path)?));
            }
        }
        Ok(Files { lab: read(path)?, story: read(&folder.join("demo.yaml"))?, policies })
    }
}

impl Stage {
    /// Starts everything. Whatever was started is stopped again where something fails.
    ///
    /// # Errors
    /// The lab, the story or what becomes of them is broken, or an address is taken.
    pub async fn open(options: &Options) -> anyhow::Result<Stage> {
        let files = Files::read(options.lab.as_deref())?;
        let (mut lab, story) =
            (Lab::parse(&files.lab).map_err(|why| anyhow!(why))?, Story::parse(&files.story).map_err(|why| anyhow!(why))?);
        if story.quiet_queues {
            lab.queues.iter_mut().for_each(|queue| queue.jobs_per_day = 0.0);
        }
        let (lab, began) = (Arc::new(lab), story.start().map_err(|why| anyhow!(why))?);
        let folder = Folder::make()?;
        let mut plant = Plant::new(Arc::clone(&lab), options.seed, began);
        plant.plan(story.faults());
        let clock = Arc::new(ScaledClock::new(began, options.speed));
        let faces = start_faces(plant, Arc::clone(&clock)).await?;
        let house = install(&story, &faces).and_then(|()| house_of(&lab, &faces));
        let started = match house {
            Ok(house) => start_daemon(&folder, &files, &lab, &house, &story, options, Arc::clone(&clock)).await,
            Err(error) => Err(error),
        };
        let (running, reader) = match started {
            Ok(started) => started,
            Err(error) => {
                faces.stop().await;
                return Err(error);
            }
        };
        Ok(Stage {
            folder,
            faces,
            running,
            clock,
            began,
            ends: options.lasts.map(|lasts| Instant::now() + lasts),
            witness: Witness::new(&story, began),
            reader,
            next_seq: 0,
            jobs: story.jobs().into(),
            wishes: story.wishes().into(),
            asks: story.asks().into(),
            answers: story.chapters.iter().filter_map(|chapter| chapter.answer.clone()).collect(),
            answered: BTreeSet::new(),
            refused_at: None,
            said: String::new(),
            said_at: Instant::now(),
        })
    }

    /// Looks at everything: what is due of the story happens, what the journal has grown by is heard.
    ///
    /// # Errors
    /// The daemon or its journal is gone.
    pub async fn look(&mut self) -> anyhow::Result<Screen> {
        let now = self.clock.now();
        if self.said_at.elapsed() >= SAID_FOR {
            self.said.clear();
        }
        self.bring_work(now);
        self.wish(now).await;
        self.ask(now).await;
        self.hear()?;
        let looping = self.running.handle().ask(LoopView::of).await.context("ask the daemon how it stands")?;
        let plant = self.faces.world().with(|plant| plant_view(&Summary::of(plant)));
        Ok(Screen {
            now,
            began: self.began,
            speed: self.clock.speed(),
            left_seconds: self.ends.map(|end| end.saturating_duration_since(Instant::now()).as_secs()),
            address: self.address(),
            looping,
            plant,
            chapters: self.witness.chapters(now),
            said: self.said.clone(),
        })
    }

    fn bring_work(&mut self, now: Time) {
        while self.jobs.front().is_some_and(|jobs| self.began + jobs.at <= now) {
            let Some(jobs) = self.jobs.pop_front() else { return };
            self.faces.world().with(|plant| {
                let at = plant.now();
                if let Some(queue) = plant.queues.iter_mut().find(|queue| queue.name == jobs.queue) {
                    queue.waiting.extend((0..jobs.count).map(|_| at));
                }
            });
            self.say(format!("{} jobs came for {}", jobs.count, jobs.queue));
        }
    }

    /// Wishes what the story has a person wish.
    async fn wish(&mut self, now: Time) {
        while self.wishes.front().is_some_and(|wish| self.began + wish.at <= now) {
            let Some(wish) = self.wishes.pop_front() else { return };
            let said = format!("`{PERSON}` wishes {} on {}", wish.verb, wish.target);
            let command = Command::Wish { verb: wish.verb.into(), target: wish.target.into(), args: wish.args, because: wish.because };
            match self.order(command).await {
                Ok(()) => self.say(said),
                Err(why) => self.say(format!("{said}, which was refused: {why}")),
            }
        }
    }

    /// Asks what the story has a person ask, as `homeostat ask` does, and confirms the very plan that was shown if it is the expected one.
    async fn ask(&mut self, now: Time) {
        while self.asks.front().is_some_and(|asks| self.began + asks.at <= now) {
            let Some(asks) = self.asks.pop_front() else { return };
            let said = match self.asked_and_confirmed(&asks).await {
                Ok(by) => format!("`{PERSON}` asked: {} (read by {by}), and confirmed {} on {}", asks.text, asks.verb, asks.target),
                Err(why) => format!("`{PERSON}` asked: {}; nothing came of it: {why}", asks.text),
            };
            self.say(said);
        }
    }

    async fn asked_and_confirmed(&self, asks: &Asks) -> Result<String, String> {
        let client = Client::new(self.folder.path().join("data").join("homeostat.sock"));
        let answer: Value = client.post("/api/v1/ask", &json!({ "text": asks.text })).await.map_err(|error| error.to_string())?;
        let planned = &answer["planned"]["plan"];
        if planned["verb"] != json!(asks.verb) || planned["target"] != json!(asks.target) {
            return Err(format!("it was read as {}", answer["understood"]));
        }
        let wish = json!({
            "verb": planned["verb"], "target": planned["target"], "args": planned["args"], "because": asks.text, "plan": planned["plan"],
        });
        let _: Value = client.post("/api/v1/wishes", &wish).await.map_err(|error| error.to_string())?;
        Ok(answer["reworded"]["by"].as_str().unwrap_or("the grammar").to_owned())
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        for entry in self.reader.events_and_effects(self.next_seq) {
            let entry = entry.context("read the demo's journal")?;
            self.next_seq = entry.seq + 1;
            self.witness.hear(&entry);
        }
        Ok(())
    }

    /// Where the daemon's pages are.
    pub fn address(&self) -> String {
        format!("http://{}/", self.running.listen())
    }

    /// Where the plant's Kubernetes API is.
    pub fn cluster(&self) -> String {
        self.faces.kube().map_or_else(String::new, |address| format!("http://{address}"))
    }

    /// Where the demo's files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether its time is over.
    pub fn is_over(&self) -> bool {
        self.ends.is_some_and(|end| Instant::now() >= end)
    }

    /// Whether every chapter was seen.
    pub fn all_seen(&self) -> bool {
        self.witness.all_seen()
    }

    /// Says something on the screen.
    pub fn say(&mut self, text: impl Into<String>) {
        (self.said, self.said_at) = (text.into(), Instant::now());
    }

    /// Ends when the daemon's HTTP interface has ended by itself.
    pub async fn ended(&mut self) -> anyhow::Error {
        self.running.ended().await
    }

    /// Answers what the story answers where nobody sits at a screen, once its time has come.
    pub async fn answer_by_itself(&mut self, screen: &Screen) {
        if self.refused_at.is_some_and(|at| at.elapsed() < ANSWER_AGAIN) {
            return;
        }
        let due = |answer: &Answer, line: &ActionLine| {
            fits(&answer.verb, &line.verb) && fits(&answer.target, &line.target) && screen.now.since(line.ruled_at) >= answer.after
        };
        for line in screen.looping.approvals.iter().filter(|line| !self.answered.contains(&line.id)).collect::<Vec<_>>() {
            let Some(says) = self.answers.iter().find(|answer| due(answer, line)).map(|answer| answer.says) else { continue };
            let Ok(action) = line.id.parse::<ActionId>() else { continue };
            let (word, command) = match says {
                Says::Approve => ("approved", Command::Approve { action, plan: Some(line.plan.clone()) }),
                Says::Deny => ("denied", Command::Deny { action }),
            };
            match self.order(command).await {
                Ok(()) => {
                    self.answered.insert(line.id.clone());
                    self.say(format!("nobody is at a screen, so `{PERSON}` {word} {}: {} {}", line.id, line.verb, line.target));
                }
                Err(why) => {
                    self.refused_at = Some(Instant::now());
                    self.say(format!("`{PERSON}` could not answer {}: {why}", line.id));
                }
            }
        }
    }

    /// Gives an order, as the API does: checked first, then through the journal.
    ///
    /// # Errors
    /// Why it does not count, in words.
    pub async fn order(&self, command: Command) -> Result<(), String> {
        let handle = self.running.handle();
        let answered = match &command {
            Command::Approve { action, plan } => Some((*action, plan.clone())),
            Command::Deny { action } | Command::Never { action } => Some((*action, None)),
            Command::Pause { .. }
            | Command::Resume
            | Command::Unlock { .. }
            | Command::Wish { .. }
            | Command::Propose { .. }
            | Command::Consult { .. }
            | Command::Release { .. }
            | Command::Drill { .. } => None,
        };
        if let Some((action, plan)) = answered.clone() {
            handle.ask(move |kernel| kernel.answerable(action, plan.as_deref())).await.map_err(|refused| refused.to_string())??;
        }
        handle.submit(Event::Ordered(Ordered { by: PERSON.into(), command })).await.map_err(|refused| refused.to_string())?;
        let Some((action, _)) = answered else { return Ok(()) };
        // A yes to what a guard holds for a while does not count, and the question stays.
        let waits = |phase: &Phase| matches!(phase, Phase::Awaiting { .. });
        let open = handle.ask(move |kernel| kernel.ledger().action(action).is_some_and(|state| waits(&state.phase))).await;
        if open.map_err(|refused| refused.to_string())? {
            return Err("a guard holds it for now (`e` tells which); the question stays open, say it again then".into());
        }
        Ok(())
    }

    /// Everything that is known of an action, as `homeostat explain` prints it.
    pub async fn explain(&self, action: &str) -> Result<String, String> {
        let id: ActionId = action.parse().map_err(|_| format!("`{action}` is no action"))?;
        let found = self.running.handle().ask(move |kernel| kernel.explain(id)).await.map_err(|refused| refused.to_string())?;
        found.map(|explanation| explanation.text(moment)).ok_or_else(|| format!("{id} is not in memory any more"))
    }

    /// Stops the daemon, then the faces; the folder goes last.
    pub async fn close(self) {
        self.running.stop().await;
        self.faces.stop().await;
        drop(self.folder);
    }
}

fn plant_view(summary: &Summary) -> PlantView {
    let node = |node: &homeostat_faces::NodeView| NodeView {
        name: node.name.clone(),
        state: node.state.into(),
        watts: node.watts,
        celsius: node.celsius,
        cpu_ratio: node.busy,
    };
    let service = |service: &homeostat_faces::ServiceView| ServiceView {
        name: service.name.clone(),
        up: service.up,
        latency_seconds: service.latency_seconds,
        ready: service.ready,
        replicas: service.replicas,
    };
    PlantView {
        nodes: summary.nodes.iter().map(node).collect(),
        services: summary.services.iter().map(service).collect(),
        faults: summary.faults.iter().map(|fault| format!("{} {}", fault.fault, fault.thing).trim_end().to_owned()).collect(),
        joules: summary.joules,
        joules_always_on: summary.joules_always_on,
    }
}

async fn start_faces(plant: Plant, clock: Arc<ScaledClock>) -> anyhow::Result<Faces> {
    let mut settings = FacesSettings::new(Arc::new(move || clock.now()));
    settings.tick = TICK;
    Faces::start(plant, settings).await.context("start the plant's network faces")
}

/// Puts what the story's cluster has beside the plant's own things into it.
fn install(story: &Story, faces: &Faces) -> anyhow::Result<()> {
    let cluster = faces.cluster().context("the faces show no cluster")?;
    for object in &story.objects {
        let made = cluster.upsert(object.clone());
        made.map_err(|error| anyhow!("the story's {} {}: {}", object["kind"], object["metadata"]["name"], error.message))?;
    }
    Ok(())
}

/// Where the faces are.
fn house_of(lab: &Lab, faces: &Faces) -> anyhow::Result<House> {
    let base = format!("http://{}", faces.house());
    let face = |node: &homeostat_sim::lab::NodeSpec| {
        let tcp = *faces.nodes().get(&node.name).with_context(|| format!("the node {} has no face", node.name))?;
        let mut pages = vec![("node".to_owned(), format!("http://{tcp}/metrics"))];
        // What sleeps most of the time is watched by its own exporter alone.
        if !node.sleeps {
            pages.push(("kepler".into(), format!("http://{tcp}/kepler/metrics")));
        }
        if !node.disks.is_empty() {
            pages.push(("smart".into(), format!("http://{tcp}/smart/metrics")));
        }
        Ok(NodeFace { name: node.name.clone(), mac: node.mac.clone(), tcp, pages })
    };
    Ok(House {
        nodes: lab.nodes.iter().map(face).collect::<anyhow::Result<_>>()?,
        pages: vec![
            ("kube-state-metrics".into(), format!("{base}/kube-state-metrics/metrics")),
            ("lab".into(), format!("{base}/lab/metrics")),
            ("plugs".into(), format!("{base}/plugs/metrics")),
        ],
        probes: lab.services.iter().map(|service| (service.name.clone(), format!("{base}/probe?target={}", service.name))).collect(),
        cluster: format!("http://{}", faces.kube().context("the faces show no cluster")?),
        agents: base,
        wake: *faces.wake().first().context("nobody listens for magic packets")?,
    })
}

/// Writes what `homeostat run` would find in its folder, reads it as that would, and starts the daemon.
async fn start_daemon(
    folder: &Folder,
    files: &Files,
    lab: &Lab,
    house: &House,
    story: &Story,
    options: &Options,
    clock: Arc<ScaledClock>,
) -> anyhow::Result<(Running, JournalReader)> {
    // The lab's policies win over shipped ones of the same name.
    for (name, text) in shipped(SHIPPED).iter().chain(&files.policies) {
        folder.write(&format!("policies/{name}.rhai"), text)?;
    }
    let mut value = house::config(lab, house, INTERVAL, &story.config);
    value["policies"]["dir"] = folder.path().join("policies").display().to_string().into();
    let path = folder.write("homeostat.yaml", &serde_saphyr::to_string(&value).context("write the demo's configuration")?)?;
    let data = folder.path().join("data");
    let listen = options.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let pace = Pace::new(clock.speed());
    let config = Config::load(Some(&path), &Outside::real())?;
    let launch = Launch {
        config,
        config_path: Some(path),
        reloads: false,
        is_at_home: false,
        data: data.clone(),
        listen: Some(listen),
        clock,
        pace,
    };
    let running = daemon::start(launch).await?;
    match JournalReader::open(&data) {
        Ok(reader) => Ok((running, reader)),
        Err(error) => {
            running.stop().await;
            Err(anyhow::Error::from(error).context("read the demo's journal"))
        }
    }
}
