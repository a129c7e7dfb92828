//! The plant between its faces: one lock, the counters beside it, and a door per node.
//!
//! Whoever looks or acts goes through [`World::with`]; afterwards counters have counted and doors stand as the plant says. Deliberately
//! absent: sockets. An editor breaks this by holding the lock over an await, or by changing the plant past `with`.

use crate::door::Door;
use crate::meter::Meter;
use crate::pages;
use homeostat_model::{Span, Time};
use homeostat_sim::plant::{Applied, Exporter, Fault, Node, Op, OpKind, Plant, Power};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Operations that are remembered; older ones are forgotten.
const DID_MAX: usize = 1_000;
/// The plant's own steps are at most this long.
const STEP_MAX: Span = Span::from_secs(30);
/// Nobody is left waiting for longer than this.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Which Kepler a node runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KeplerAge {
    /// 0.9 or earlier: joules only.
    Old,
    /// 0.10 or later: watts and joules.
    New,
}

/// An operation that came over the network. The oracle's word in it is for screens and figures only; no face shows it.
#[derive(Clone, Debug)]
pub struct Did {
    /// When, in the plant's time.
    pub at: Time,
    /// What was asked.
    pub op: Op,
    /// What came of it; `None` where a lying actuator did nothing.
    pub applied: Option<Applied>,
}

/// The plant as its faces share it.
pub struct World {
    inner: Mutex<Inner>,
    doors: Vec<watch::Sender<Door>>,
    kepler: Vec<KeplerAge>,
    closing: watch::Sender<bool>,
}

struct Inner {
    plant: Plant,
    meters: Vec<Meter>,
    /// What a frozen exporter shows: metrics, Kepler, SMART.
    frozen: Vec<Option<[String; 3]>>,
    did: VecDeque<Did>,
}

/// One of a node's pages.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodePage {
    Metrics,
    Kepler,
    Smart,
}

impl World {
    pub(crate) fn new(plant: Plant, kepler: Vec<KeplerAge>) -> World {
        let nodes = plant.nodes.len();
        let doors = plant.nodes.iter().enumerate().map(|(index, _)| watch::channel(node_door(&plant, index)).0).collect();
        let inner = Inner { plant, meters: vec![Meter::default(); nodes], frozen: vec![None; nodes], did: VecDeque::new() };
        let world = World { inner: Mutex::new(inner), doors, kepler, closing: watch::channel(false).0 };
        world.with(|_| ());
        world
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves plain data; going on with it is better than a dead house.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the plant or changes it. Counters and doors follow before this returns.
    pub fn with<T>(&self, act: impl FnOnce(&mut Plant) -> T) -> T {
        let mut inner = self.lock();
        let result = act(&mut inner.plant);
        self.follow(&mut inner);
        result
    }

    /// Lets the plant's time pass until `now`; never back. Counters follow each of the plant's own steps.
    pub fn advance(&self, now: Time) {
        let mut inner = self.lock();
        let step = inner.plant.lab.scrape.min(STEP_MAX);
        while inner.plant.now() < now {
            let to = (inner.plant.now() + step).min(now);
            inner.plant.advance(to);
            self.follow(&mut inner);
        }
    }

    /// Does something to the plant, as if it had come over the network, and remembers it.
    pub fn act(&self, op: &Op) -> Applied {
        let mut inner = self.lock();
        let applied = inner.plant.act(op);
        remember(&mut inner, op, Some(applied.clone()));
        self.follow(&mut inner);
        applied
    }

    /// The same, without being remembered: one more of a burst of packets.
    pub(crate) fn act_again(&self, op: &Op) {
        self.with(|plant| plant.act(op));
    }

    /// Remembers what came and was not done.
    pub(crate) fn not_done(&self, op: &Op) {
        remember(&mut self.lock(), op, None);
    }

    /// What came over the network, oldest first; the last thousand.
    pub fn did(&self) -> Vec<Did> {
        self.lock().did.iter().cloned().collect()
    }

    fn follow(&self, inner: &mut Inner) {
        let Inner { plant, meters, frozen, .. } = inner;
        for (index, node) in plant.nodes.iter().enumerate() {
            meters[index].count(node);
            if node.exporter != Exporter::Frozen {
                frozen[index] = None;
            } else if frozen[index].is_none() {
                frozen[index] = Some(node_pages(plant, index, &meters[index], self.kepler[index]));
            }
            self.doors[index].send_if_modified(|door| {
                let now = node_door(plant, index);
                std::mem::replace(door, now) != now
            });
        }
    }

    /// A node's page as its exporter shows it now; `None` where the exporter is down.
    pub(crate) fn node_page(&self, index: usize, page: NodePage) -> Option<String> {
        let inner = self.lock();
        if inner.plant.nodes[index].exporter == Exporter::Down {
            return None;
        }
        if let Some(pages) = &inner.frozen[index] {
            return Some(pages[page as usize].clone());
        }
        Some(node_page(&inner.plant, index, &inner.meters[index], self.kepler[index], page))
    }

    /// How a node meets connections.
    pub(crate) fn door(&self, index: usize) -> watch::Receiver<Door> {
        self.doors[index].subscribe()
    }

    /// Lets nobody in any more, and ends all waiting.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Whether nobody is let in any more; changes once.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Waits as long as anybody waits for an answer that never comes, or until the faces close.
    pub(crate) async fn silence(&self) {
        let mut closing = self.closing();
        let _ = tokio::time::timeout(SILENCE_MAX, closing.wait_for(|closing| *closing)).await;
    }

    /// Waits until a node is let through to, or gives up.
    ///
    /// # Errors
    /// Its door is shut, or was silent to the end: the connection is to be cut.
    pub(crate) async fn pass(&self, index: usize) -> Result<(), ()> {
        let mut door = self.door(index);
        let first = *door.borrow_and_update();
        match first {
            Door::Open => Ok(()),
            Door::Shut => Err(()),
            Door::Silent => {
                // Whatever came while it hung is lost.
                tokio::select! {
                    () = self.silence() => {}
                    _ = door.wait_for(|door| *door != Door::Silent) => {}
                }
                Err(())
            }
        }
    }

    /// Whether what sees the whole house answers.
    pub(crate) fn house_door(&self) -> Door {
        self.with(|plant| {
            let blind = plant.suffers(|fault| matches!(fault, Fault::HouseBlind | Fault::EngineCutOff));
            if blind { Door::Shut } else { Door::Open }
        })
    }

    /// Whether what is not a node (plugs, the cluster's own services) can be reached.
    pub(crate) fn road(&self) -> Door {
        self.with(|plant| if plant.suffers(|fault| matches!(fault, Fault::EngineCutOff)) { Door::Shut } else { Door::Open })
    }

    /// How the verb of an operation misleads just now; `word` is the request's own name.
    pub(crate) fn lie(&self, word: &str, op: &Op) -> Option<homeostat_sim::plant::Lie> {
        self.with(|plant| {
            let have = plant.service_index(op.target.name()).map(|index| plant.services[index].replicas.len());
            let way = |verb: &str| match (op.replicas, have) {
                (Some(wish), Some(have)) if verb.ends_with("-up") => wish as usize > have,
                (Some(wish), Some(have)) if verb.ends_with("-down") => (wish as usize) < have,
                _ => true,
            };
            let ours = |verb: &str| verb.starts_with("http.") || op.does == OpKind::Wake;
            let lab = std::sync::Arc::clone(&plant.lab);
            let named = lab.verbs.iter().filter(|(verb, entry)| entry.does == op.does && ours(verb) && way(verb)).map(|(verb, _)| verb);
            plant.lie(&format!("http.{word}")).or_else(|| named.into_iter().find_map(|verb| plant.lie(verb)))
        })
    }
}

fn remember(inner: &mut Inner, op: &Op, applied: Option<Applied>) {
    if inner.did.len() >= DID_MAX {
        inner.did.pop_front();
    }
    inner.did.push_back(Did { at: inner.plant.now(), op: op.clone(), applied });
}

/// How a node meets connections: what hangs does not answer, what is off or cut off is not there.
fn node_door(plant: &Plant, index: usize) -> Door {
    let node: &Node = &plant.nodes[index];
    let cut_off = node.name != plant.lab.engine && plant.suffers(|fault| matches!(fault, Fault::EngineCutOff));
    match node {
        _ if cut_off || !node.reachable() => Door::Shut,
        node if node.answers() => Door::Open,
        node if node.power == Power::On => Door::Silent,
        _ => Door::Shut,
    }
}

fn node_page(plant: &Plant, index: usize, meter: &Meter, kepler: KeplerAge, page: NodePage) -> String {
    match (page, kepler) {
        (NodePage::Metrics, _) => pages::node::render(&plant.nodes[index], meter, plant.now()),
        (NodePage::Kepler, KeplerAge::Old) => pages::kepler::old(plant, index, meter),
        (NodePage::Kepler, KeplerAge::New) => pages::kepler::new(plant, index, meter),
        (NodePage::Smart, _) => pages::smart::render(&plant.nodes[index]),
    }
}

fn node_pages(plant: &Plant, index: usize, meter: &Meter, kepler: KeplerAge) -> [String; 3] {
    [NodePage::Metrics, NodePage::Kepler, NodePage::Smart].map(|page| node_page(plant, index, meter, kepler, page))
}
