//! The handle: one server, shared by the transport, the caller who drives time, and the plant behind it.
//!
//! Cloning is cheap and shares the state. Everything here is synchronous but serving; no call waits for a client.

use crate::fault::{Faults, KubeFault};
use crate::http;
use crate::meta;
use crate::settings::Settings;
use crate::status::ApiError;
use crate::world::{Counters, World};
use axum::Router;
use homeostat_model::Time;
use serde_json::Value;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the parts share.
pub(crate) struct Shared {
    world: Mutex<World>,
    faults: Mutex<Faults>,
    /// The newest version; watches wait on it.
    pub(crate) changed: watch::Sender<u64>,
    /// Counts up when all watches are told to start over.
    pub(crate) epoch: watch::Sender<u64>,
    pub(crate) stopped: watch::Sender<bool>,
    pub(crate) watchers: AtomicUsize,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of one object, for the plant.
#[derive(Clone, Debug)]
pub struct ObjectChange {
    /// The version that this change made.
    pub version: u64,
    /// `plural.group`, or `plural` for the core group.
    pub shelf: String,
    /// The object after the change; for a deletion its last state.
    pub object: Arc<Value>,
    /// Whether the object went.
    pub gone: bool,
}

/// A Kubernetes API server in memory. Objects are addressed by `shelf` (`pods`, `deployments.apps`), namespace (empty for cluster-scoped) and name.
#[derive(Clone)]
pub struct KubeServer {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for KubeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let world = self.world();
        f.debug_struct("KubeServer").field("version", &world.version).field("objects", &world.count()).finish_non_exhaustive()
    }
}

impl KubeServer {
    /// An empty cluster (the four usual namespaces, no nodes) at `settings.start`.
    pub fn new(settings: Settings) -> KubeServer {
        let world = World::new(settings);
        let (changed, _) = watch::channel(world.version);
        let (epoch, _) = watch::channel(0);
        let (stopped, _) = watch::channel(false);
        let shared = Shared { world: Mutex::new(world), faults: Mutex::default(), changed, epoch, stopped, watchers: AtomicUsize::new(0) };
        KubeServer { shared: Arc::new(shared) }
    }

    /// The axum router that answers every path of the API.
    pub fn router(&self) -> Router {
        Router::new().fallback(http::handle).with_state(self.shared.clone())
    }

    /// Serves on a listener until [`KubeServer::stop`]; plain HTTP.
    pub fn serve(&self, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = self.router();
        let mut stopped = self.shared.stopped.subscribe();
        tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    // An error means that the server itself is gone: stop as well.
                    let _stop = stopped.wait_for(|stopped| *stopped).await;
                })
                .await
        })
    }

    /// Ticks from a clock every `every` of real time until [`KubeServer::stop`].
    pub fn drive(&self, clock: impl Fn() -> Time + Send + 'static, every: Duration) -> JoinHandle<()> {
        let server = self.clone();
        let mut stopped = self.shared.stopped.subscribe();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(every);
            loop {
                tokio::select! {
                    _ = beat.tick() => server.tick(clock()),
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
            }
        })
    }

    /// Ends watches, serving and driving.
    pub fn stop(&self) {
        self.shared.stopped.send_replace(true);
    }

    /// Moves plant time to `now` (never backwards) and lets the controllers work until nothing is left to do for this moment.
    pub fn tick(&self, now: Time) {
        self.change(|world| crate::control::tick(world, now));
    }

    /// Plant time of the last tick.
    pub fn now(&self) -> Time {
        self.world().now
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.world().version
    }

    /// One object.
    pub fn get(&self, shelf: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.world().get(shelf, namespace, name)
    }

    /// All objects of a shelf, in the order of namespace and name.
    pub fn list(&self, shelf: &str) -> Vec<Arc<Value>> {
        self.world().all(shelf)
    }

    /// Creates an object, or replaces it whole, status included: the plant's word, not subject to access rules or conflicts. A namespace that is
    /// missing is made. Custom resources are checked against their schema. What clients wrote and `object` does not name is lost (a cordon, a
    /// label): to change a part, use [`KubeServer::amend`].
    ///
    /// # Errors
    /// The refusal that a client would get: unknown kind, invalid object, no room.
    pub fn upsert(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        self.change(|world| world.upsert(object))
    }

    /// Changes a part of an object in one step, so that no client's write is lost in between; the generation follows. Returns whether anything changed
    /// (`false` as well when there is no such object).
    pub fn amend(&self, shelf: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> bool {
        self.change(|world| world.amend(shelf, namespace, name, change))
    }

    /// Merges `status` into an object's status (merge patch: null removes).
    ///
    /// # Errors
    /// 404 when there is no such object.
    pub fn patch_status(&self, shelf: &str, namespace: &str, name: &str, status: &Value) -> Result<(), ApiError> {
        self.change(|world| {
            if world.get(shelf, namespace, name).is_none() {
                return Err(ApiError::not_found("", shelf, name));
            }
            world.amend(shelf, namespace, name, |object| {
                let mut merged = object["status"].take();
                crate::patch::merge(&mut merged, status);
                meta::set(object, "/status", merged);
            });
            Ok(())
        })
    }

    /// Takes an object away at once, finalizers or not. Returns whether it was there.
    pub fn delete(&self, shelf: &str, namespace: &str, name: &str) -> bool {
        self.change(|world| world.remove(shelf, namespace, name).is_some())
    }

    /// What changed after `version`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The oldest version that is still known, when `version` is older: list everything and go on from [`KubeServer::version`].
    pub fn changes_since(&self, version: u64, limit: usize) -> Result<Vec<ObjectChange>, u64> {
        let world = self.world();
        let changes = world.changes_after(version, limit)?;
        Ok(changes
            .into_iter()
            .map(|change| ObjectChange {
                version: change.version,
                shelf: change.shelf.to_string(),
                object: change.after.clone(),
                gone: change.gone,
            })
            .collect())
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        self.world().counters
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.world().count()
    }

    /// How many watches are open.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Injects a fault; `false` when [`crate::MAX_FAULTS`] wait already.
    pub fn inject(&self, fault: KubeFault) -> bool {
        self.shared.faults().add(fault)
    }

    /// Takes back every fault that has not struck yet.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Forgets the history and tells every open watch 410, as a restart of the real server may.
    pub fn expire_watches(&self) {
        self.world().compact();
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
        let version = self.version();
        self.shared.changed.send_replace(version);
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock()
    }

    /// Changes the world and wakes the watches.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let before = world.version;
        let result = change(&mut world);
        let after = world.version;
        drop(world);
        if after != before {
            self.shared.changed.send_replace(after);
        }
        result
    }
}
