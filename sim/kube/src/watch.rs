//! Watches: following the history from a version, as lines of JSON.
//!
//! A watch holds no queue: it reads the shared history from where it is. One that falls behind the history gets an `ERROR` event with 410 and ends,
//! as on the real server. Bookmarks come every few seconds and before the end. Broken when an object that leaves the selection is not `DELETED`.

use crate::api::WatchSpec;
use crate::read::{partial, present};
use crate::server::Shared;
use crate::status::ApiError;
use crate::table::table;
use crate::world::{Change, World};
use axum::body::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Real time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(5);
/// Lines that may wait for a slow reader before the watch itself waits.
const LINES: usize = 64;
/// Changes read under one lock.
const BATCH: usize = 256;

/// The body of a watch.
pub(crate) struct Lines(mpsc::Receiver<Bytes>);

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}

/// One open watch, counted until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Opens a watch, or refuses when there are too many.
pub(crate) fn open(shared: &Arc<Shared>, spec: WatchSpec) -> Result<Lines, ApiError> {
    let limit = shared.lock().settings.limits.watchers;
    let before = shared.watchers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let open = Open(shared.clone());
    if before >= limit {
        shared.lock().counters.refused_watches += 1;
        let mut error = ApiError::new(429, "TooManyRequests", format!("too many watches: the limit is {limit}"));
        error.retry_after_seconds = Some(1);
        return Err(error);
    }
    let (sender, receiver) = mpsc::channel(LINES);
    tokio::spawn(follow(open, spec, sender));
    Ok(Lines(receiver))
}

/// What one look at the world brought.
struct Look {
    lines: Vec<Bytes>,
    seen: u64,
    /// More changes wait already.
    more: bool,
    /// The watch has been told to start over.
    expired: bool,
}

async fn follow(open: Open, spec: WatchSpec, sender: mpsc::Sender<Bytes>) {
    let shared = open.0.clone();
    let mut changed = shared.changed.subscribe();
    let mut stopped = shared.stopped.subscribe();
    let end = Instant::now() + Duration::from_secs(spec.timeout_seconds);
    let mut bookmark = Instant::now() + BOOKMARK_EVERY;
    let (mut look, epoch) = {
        let world = shared.lock();
        (begin(&world, &spec), *shared.epoch.borrow())
    };
    let mut head = false;
    loop {
        for line in std::mem::take(&mut look.lines) {
            if sender.send(line).await.is_err() {
                return;
            }
        }
        if look.expired {
            shared.lock().counters.expired_watches += 1;
            return;
        }
        if !look.more {
            let wake = if spec.bookmarks { bookmark.min(end) } else { end };
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                _ = stopped.changed() => return,
                () = sender.closed() => return,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        let now = Instant::now();
        let seen = look.seen;
        look = if *shared.epoch.borrow() == epoch { advance(&shared.lock(), &spec, seen, &mut head) } else { expire(&shared.lock(), seen) };
        if spec.bookmarks && !look.expired && !look.more && now >= bookmark.min(end) {
            bookmark = now + BOOKMARK_EVERY;
            look.lines.push(line("BOOKMARK", mark(&spec, look.seen, false)));
        }
        if now >= end {
            for line in look.lines {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
            return;
        }
    }
}

fn line(kind: &str, object: Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    Bytes::from(text)
}

fn mark(spec: &WatchSpec, version: u64, initial: bool) -> Value {
    let mut object = json!({"kind": spec.resource.kind, "apiVersion": spec.resource.api_version(), "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null}});
    if initial {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    object
}

fn expire(world: &World, seen: u64) -> Look {
    let error = ApiError::expired(format!("too old resource version: {seen} ({})", world.version));
    Look { lines: vec![line("ERROR", error.body())], seen, more: false, expired: true }
}

/// The first look: what exists, or nothing when a version says where to go on.
fn begin(world: &World, spec: &WatchSpec) -> Look {
    if let Some(from) = spec.from {
        if from > world.version {
            let mut error = ApiError::new(504, "Timeout", format!("Too large resource version: {from}, current: {}", world.version));
            error.retry_after_seconds = Some(1);
            return Look { lines: vec![line("ERROR", error.body())], seen: from, more: false, expired: true };
        }
        return match world.changes_after(from, 1) {
            Ok(_) => Look { lines: Vec::new(), seen: from, more: true, expired: false },
            Err(_) => expire(world, from),
        };
    }
    let mut head = false;
    let mut lines: Vec<Bytes> = world
        .all(&spec.resource.shelf())
        .iter()
        .filter(|object| spec.selection.matches(object))
        .map(|object| line("ADDED", shown(world, spec, object, &mut head)))
        .collect();
    if spec.mark_initial {
        lines.push(line("BOOKMARK", mark(spec, world.version, true)));
    }
    Look { lines, seen: world.version, more: false, expired: false }
}

fn advance(world: &World, spec: &WatchSpec, seen: u64, head: &mut bool) -> Look {
    let Ok(changes) = world.changes_after(seen, BATCH) else { return expire(world, seen) };
    let shelf = spec.resource.shelf();
    let mut look = Look { lines: Vec::new(), seen, more: changes.len() == BATCH, expired: false };
    for change in changes {
        look.seen = change.version;
        if *change.shelf == *shelf
            && let Some(kind) = kind_of(change, spec)
        {
            look.lines.push(line(kind, shown(world, spec, &change.after, head)));
        }
    }
    look
}

/// How a change looks through a selection.
fn kind_of(change: &Change, spec: &WatchSpec) -> Option<&'static str> {
    let before = change.before.as_ref().is_some_and(|object| spec.selection.matches(object));
    let after = !change.gone && spec.selection.matches(&change.after);
    match (before, after) {
        (false, true) => Some("ADDED"),
        (true, true) => Some("MODIFIED"),
        (true, false) => Some("DELETED"),
        (false, false) => None,
    }
}

fn shown(world: &World, spec: &WatchSpec, object: &Arc<Value>, head: &mut bool) -> Value {
    if spec.as_table {
        let first = !std::mem::replace(head, true);
        return table(&spec.resource, std::slice::from_ref(object), world.now, world.version, first);
    }
    if spec.metadata_only { partial(object) } else { present(&spec.resource, object) }
}
