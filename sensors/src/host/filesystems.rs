//! How full the filesystems are. The only place that asks a mount anything.
//!
//! `statvfs` on a network mount whose server is gone hangs in the kernel, where nothing can interrupt it. So a thread of our own
//! asks, mount by mount; when one does not answer in time the thread is left to it, the mount is reported and not asked again
//! until that thread comes back, and a new thread asks the rest. At most one call is ever outstanding per mount. (Not the
//! runtime's threads: the runtime waits for those at its end.) Deliberately absent: pseudo filesystems and second mounts of one
//! device. An editor breaks this by calling `statvfs` anywhere else.

use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use homeostat_model::{Fault, FaultCode, Observation};
use rustix::fs::{StatVfs, StatVfsMountFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as std_mpsc};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// More mounts than this are not asked; reaching it is a fault.
const MOUNTS_MAX: usize = 256;
/// Filesystems that hold no files of their own, or nothing that fills up (read-only images).
const PSEUDO: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// A mount worth asking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where.
    pub mountpoint: String,
    /// What: `/dev/sda1`, `nas:/export`, a dataset.
    pub device: String,
    /// The filesystem's type.
    pub fstype: String,
}

/// Reads `/proc/self/mounts`: what is not pseudo, not ignored, and not a second mount of a device (the shortest path stays).
pub fn parse_mounts(text: &str, ignored: &[String]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ').map(unescape);
        let (Some(device), Some(mountpoint), Some(fstype)) = (fields.next(), fields.next(), fields.next()) else { continue };
        // A container's own root is an overlay; it shows how full the disk below is.
        if (PSEUDO.contains(&fstype.as_str()) && !(fstype == "overlay" && mountpoint == "/")) || is_ignored(&mountpoint, ignored) {
            continue;
        }
        let mount = Mount { mountpoint, device, fstype };
        // The later of two mounts on one point is the visible one.
        mounts.retain(|other| other.mountpoint != mount.mountpoint);
        match mounts.iter_mut().find(|other| other.device == mount.device && mount.device.starts_with('/')) {
            Some(other) if other.mountpoint.len() > mount.mountpoint.len() => *other = mount,
            Some(_) => {}
            None => mounts.push(mount),
        }
    }
    mounts
}

fn is_ignored(mountpoint: &str, ignored: &[String]) -> bool {
    ignored.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => mountpoint.starts_with(prefix),
        None => mountpoint == pattern,
    })
}

/// Takes back the kernel's octal escapes: `\040` is a space.
fn unescape(field: &str) -> String {
    let mut plain = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let digits = bytes.get(i + 1..i + 4).filter(|digits| bytes[i] == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                plain.push(digits.iter().fold(0u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0')));
                i += 4;
            }
            None => {
                plain.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// How full one filesystem is.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Fill {
    /// Bytes that users can still fill.
    pub avail_bytes: f64,
    /// Its size in bytes.
    pub size_bytes: f64,
    /// Free part of its inodes; `None` where it has no fixed number.
    pub files_avail_ratio: Option<f64>,
    /// Whether it is mounted read-only, or fell back to it.
    pub readonly: bool,
}

impl Fill {
    fn new(stat: &StatVfs) -> Fill {
        let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
        Fill {
            avail_bytes: bytes(stat.f_bavail),
            size_bytes: bytes(stat.f_blocks),
            files_avail_ratio: (stat.f_files > 0).then(|| stat.f_favail as f64 / stat.f_files as f64),
            readonly: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        }
    }
}

/// A mount and its fill.
pub type MountRow = (Arc<Mount>, Fill);

/// How a mount is asked; tests put their own in.
type Ask = fn(&Path) -> std::io::Result<Fill>;

fn ask(path: &Path) -> std::io::Result<Fill> {
    Ok(Fill::new(&rustix::fs::statvfs(path)?))
}

/// The thread that asks, from this side. Dropping it lets the thread end after its present call.
#[derive(Debug)]
struct Asker {
    /// A request at a time: the channel holds one.
    requests: std_mpsc::SyncSender<(u64, PathBuf)>,
    answers: mpsc::Receiver<(u64, std::io::Result<Fill>)>,
    /// Requests sent; an answer to an older one is left over from a read that was dropped.
    asked: u64,
    /// The mount of the request that has no answer yet.
    outstanding: Option<String>,
}

impl Asker {
    fn start(ask: Ask) -> std::io::Result<Asker> {
        let (requests, incoming) = std_mpsc::sync_channel::<(u64, PathBuf)>(1);
        let (outgoing, answers) = mpsc::channel(2);
        std::thread::Builder::new().name("host-statvfs".into()).spawn(move || {
            while let Ok((number, path)) = incoming.recv() {
                if outgoing.blocking_send((number, ask(&path))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Asker { requests, answers, asked: 0, outstanding: None })
    }

    /// Waits for the answer that is still due, if one is.
    async fn settle(&mut self, deadline: Instant) -> Option<std::io::Result<Fill>> {
        while self.outstanding.is_some() {
            match tokio::time::timeout_at(deadline, self.answers.recv()).await {
                Ok(Some((number, answer))) if number == self.asked => {
                    self.outstanding = None;
                    return Some(answer);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
        None
    }

    /// `None`: no answer in time; the thread must be left to it.
    async fn ask(&mut self, mountpoint: &str, path: PathBuf, deadline: Instant) -> Option<std::io::Result<Fill>> {
        self.asked += 1;
        self.requests.try_send((self.asked, path)).ok()?;
        self.outstanding = Some(mountpoint.to_owned());
        self.settle(deadline).await
    }

    /// Whether the thread has come back from the call that it was left to.
    fn is_back(&mut self) -> bool {
        while let Ok((number, _)) = self.answers.try_recv() {
            if number == self.asked {
                self.outstanding = None;
            }
        }
        self.outstanding.is_none()
    }
}

/// Asks the mounts.
#[derive(Debug)]
pub(super) struct Filesystems {
    root: PathBuf,
    ignored: Vec<String>,
    ask: Ask,
    asker: Option<Asker>,
    /// Threads that hang, each in one mount.
    hanging: Vec<Asker>,
    /// Mounts that refused, so that it is said once.
    refused: BTreeSet<String>,
    /// The list of mounts as it was last read, and what it said: it seldom changes.
    text: Vec<u8>,
    mounts: Vec<Arc<Mount>>,
}

impl Filesystems {
    pub(super) fn new(root: &Path, ignored: &[String]) -> Filesystems {
        let (root, ignored) = (root.to_owned(), ignored.to_vec());
        Filesystems { root, ignored, ask, asker: None, hanging: Vec::new(), refused: BTreeSet::new(), text: Vec::new(), mounts: Vec::new() }
    }

    /// The machine's mounts. Below another root than `/`, `/proc/self` would be this process, whose mounts are others.
    fn mounts(&mut self) -> std::io::Result<Vec<Arc<Mount>>> {
        let own = self.root.join("proc/self/mounts");
        let text = match std::fs::read(self.root.join("proc/1/mounts")) {
            Ok(text) if self.root != Path::new("/") => text,
            _ => std::fs::read(own)?,
        };
        if text != self.text {
            self.mounts = parse_mounts(&String::from_utf8_lossy(&text), &self.ignored).into_iter().map(Arc::new).collect();
            self.text = text;
        }
        Ok(self.mounts.clone())
    }

    /// Asks all mounts, until `deadline` in all. Faults name those that hang, refuse, or are too many.
    pub(super) async fn measure(&mut self, deadline: Instant) -> (Vec<MountRow>, Vec<Fault>) {
        const DOING: &str = "measure filesystems";
        let mut faults = Vec::new();
        let mut mounts = match self.mounts() {
            Ok(mounts) => mounts,
            Err(error) => {
                if self.refused.insert("/proc/self/mounts".into()) {
                    faults.push(Fault::new(FaultCode::NotFound, DOING, format!("the list of mounts cannot be read: {error} (said once)")));
                }
                return (Vec::new(), faults);
            }
        };
        if mounts.len() > MOUNTS_MAX {
            let detail = format!("{} mounts, the first {MOUNTS_MAX} are read; leave some out by `ignore_mounts`", mounts.len());
            faults.push(Fault::new(FaultCode::Limit, DOING, detail));
            mounts.truncate(MOUNTS_MAX);
        }
        self.refused.retain(|refused| mounts.iter().any(|mount| mount.mountpoint == *refused));
        self.recover(deadline).await;
        let mut rows = Vec::with_capacity(mounts.len());
        let count = mounts.len() as u32;
        for (i, mount) in mounts.into_iter().enumerate() {
            let doing = format!("measure the filesystem at {}", mount.mountpoint);
            if self.hanging.iter().any(|asker| asker.outstanding.as_deref() == Some(mount.mountpoint.as_str())) {
                let detail = format!("{} ({}) has not answered since an earlier read; is its server there?", mount.device, mount.fstype);
                faults.push(Fault::new(FaultCode::TimedOut, doing, detail));
                continue;
            }
            // Those after it get their share of what time is left, so that one that hangs does not take it all.
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (count - i as u32).min(3);
            match self.one(&mount, now + share).await {
                Ok(Ok(fill)) => {
                    self.refused.remove(&mount.mountpoint);
                    // Size 0: automounts and the like.
                    if fill.size_bytes > 0.0 {
                        rows.push((mount, fill));
                    }
                }
                Ok(Err(error)) => faults.extend(self.refusal(&mount, &error, doing)),
                Err(fault) => faults.push(fault),
            }
        }
        (rows, faults)
    }

    /// After a read that was dropped half way an answer may still be due; threads that came back may ask again.
    async fn recover(&mut self, deadline: Instant) {
        if let Some(asker) = &mut self.asker {
            let share = deadline.saturating_duration_since(Instant::now()) / 3;
            asker.settle(Instant::now() + share).await;
            if asker.outstanding.is_some() {
                self.hanging.extend(self.asker.take());
            }
        }
        self.hanging.retain_mut(|asker| !asker.is_back());
    }

    async fn one(&mut self, mount: &Mount, deadline: Instant) -> Result<std::io::Result<Fill>, Fault> {
        let doing = || format!("measure the filesystem at {}", mount.mountpoint);
        let path = self.root.join(mount.mountpoint.trim_start_matches('/'));
        if self.asker.is_none() {
            let started = Asker::start(self.ask);
            self.asker = Some(
                started.map_err(|error| Fault::new(FaultCode::NeverStarted, doing(), format!("no thread could be started: {error}")))?,
            );
        }
        let Some(asker) = &mut self.asker else { return Err(Fault::new(FaultCode::Internal, doing(), "no thread to ask with")) };
        if let Some(answer) = asker.ask(&mount.mountpoint, path, deadline).await {
            return Ok(answer);
        }
        // Dropped threads end by themselves; one that hangs is kept to see it come back.
        self.hanging.extend(self.asker.take().filter(|asker| asker.outstanding.is_some()));
        let detail = format!("{} ({}) does not answer; it is left out until it does. Is its server there?", mount.device, mount.fstype);
        Err(Fault::new(FaultCode::TimedOut, doing(), detail))
    }

    fn refusal(&mut self, mount: &Mount, error: &std::io::Error, doing: String) -> Option<Fault> {
        if !self.refused.insert(mount.mountpoint.clone()) {
            return None;
        }
        let code = match error.kind() {
            std::io::ErrorKind::PermissionDenied => FaultCode::Denied,
            std::io::ErrorKind::NotFound => FaultCode::NotFound,
            _ => FaultCode::Failed,
        };
        Some(Fault::new(code, doing, format!("{error}; if it does not matter, add it to `ignore_mounts` (said once)")))
    }
}

/// The series of all mounts.
#[derive(Debug)]
pub(super) struct MountSeries {
    node: String,
    mounts: BTreeMap<Arc<Mount>, [Gauge; 5]>,
}

const METRICS: [&str; 5] =
    ["filesystem_avail_ratio", "filesystem_avail_bytes", "filesystem_size_bytes", "filesystem_readonly", "filesystem_files_avail_ratio"];

impl MountSeries {
    pub(super) fn new(node: &str) -> MountSeries {
        MountSeries { node: node.to_owned(), mounts: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, rows: &[MountRow], dictionary: &mut Dictionary, into: &mut Observation) {
        if self.mounts.len() > 2 * MOUNTS_MAX {
            self.mounts.retain(|mount, _| rows.iter().any(|(alive, _)| alive == mount));
        }
        for (mount, fill) in rows {
            if !self.mounts.contains_key(mount) {
                let labels =
                    [("node", self.node.as_str()), ("mountpoint", &mount.mountpoint), ("device", &mount.device), ("fstype", &mount.fstype)];
                self.mounts.insert(Arc::clone(mount), METRICS.map(|metric| Gauge::new(metric, &labels)));
            }
            let Some(gauges) = self.mounts.get_mut(mount) else { continue };
            let ratio = fill.avail_bytes / fill.size_bytes;
            let readonly = f64::from(u8::from(fill.readonly));
            let values = [Some(ratio), Some(fill.avail_bytes), Some(fill.size_bytes), Some(readonly), fill.files_avail_ratio];
            for (gauge, value) in gauges.iter_mut().zip(values) {
                gauge.push_known(value, dictionary, into);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    const MOUNTS: &str = "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
        nas:/export /mnt/my\\040nas nfs4 rw 0 0\n/dev/sda1 /etc/hosts ext4 rw 0 0\n/dev/sdb1 /data/pool/a xfs rw 0 0\n\
        /dev/sdb1 /data xfs rw 0 0\ntank/home /home zfs rw 0 0\n/dev/sdc1 /var/lib/x ext4 ro 0 0\noverlay /var/lib/docker/o overlay rw 0 0\n";

    #[test]
    fn mounts_are_listed_once_and_pseudo_ones_not() {
        let mounts = parse_mounts(MOUNTS, &["/var/lib/*".into()]);
        let shown: Vec<(&str, &str)> = mounts.iter().map(|mount| (mount.mountpoint.as_str(), mount.device.as_str())).collect();
        assert_eq!(shown, [("/", "/dev/sda1"), ("/mnt/my nas", "nas:/export"), ("/data", "/dev/sdb1"), ("/home", "tank/home")]);
        assert_eq!(parse_mounts("overlay / overlay rw 0 0\n", &[]).len(), 1, "a container's root");
        assert!(parse_mounts("x\n\n/dev/a\n", &[]).is_empty());
        assert_eq!((unescape(r"a\134b\0"), unescape(r"\777")), (r"a\b\0".into(), "\u{fffd}".into()));
    }

    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// Hangs in `/mnt/my nas` until the gate opens; all else answers.
    fn ask_with_a_dead_server(path: &Path) -> std::io::Result<Fill> {
        if path.ends_with("my nas") {
            let closed = GATE.0.lock().unwrap();
            drop(GATE.1.wait_while(closed, |open| !*open).unwrap());
        }
        if path.ends_with("home") {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        Ok(Fill { avail_bytes: 25.0, size_bytes: 100.0, files_avail_ratio: None, readonly: false })
    }

    #[tokio::test]
    async fn a_mount_that_hangs_is_left_out_until_it_answers_and_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/1")).unwrap();
        std::fs::write(folder.path().join("proc/1/mounts"), MOUNTS).unwrap();
        let mut filesystems = Filesystems::new(folder.path(), &["/var/lib/*".into()]);
        filesystems.ask = ask_with_a_dead_server;
        for round in 0..3 {
            let deadline = Instant::now() + Duration::from_millis(if round == 0 { 500 } else { 60_000 });
            let (rows, faults) = filesystems.measure(deadline).await;
            let places: Vec<&str> = rows.iter().map(|(mount, _)| mount.mountpoint.as_str()).collect();
            assert_eq!(places, ["/", "/data"], "round {round}: {faults:?}");
            assert_eq!((faults[0].code, faults[0].while_doing.contains("/mnt/my nas")), (FaultCode::TimedOut, true), "{faults:?}");
            assert_eq!(faults.len(), if round == 0 { 2 } else { 1 }, "the refusal of /home is said once: {faults:?}");
            assert_eq!(filesystems.hanging.len(), 1, "one call per mount, however often it is read");
        }
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        let far = Instant::now() + Duration::from_secs(60);
        let mut hanging = filesystems.hanging.remove(0);
        assert!(hanging.settle(far).await.unwrap().is_ok() && hanging.is_back());
        filesystems.hanging.push(hanging);
        let (rows, faults) = filesystems.measure(far).await;
        assert_eq!((rows.len(), faults.len(), filesystems.hanging.len()), (3, 0, 0), "{faults:?}");
    }

    #[tokio::test]
    async fn a_read_that_was_dropped_leaves_no_answer_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/1")).unwrap();
        std::fs::write(folder.path().join("proc/1/mounts"), MOUNTS).unwrap();
        let mut filesystems = Filesystems::new(folder.path(), &["/mnt/*".into(), "/home".into(), "/var/*".into()]);
        filesystems.ask = |path| {
            let size_bytes = if path.ends_with("data") { 7.0 } else { 3.0 };
            Ok(Fill { avail_bytes: 1.0, size_bytes, files_avail_ratio: None, readonly: false })
        };
        let far = Instant::now() + Duration::from_secs(60);
        for _ in 0..50 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                _ = filesystems.measure(far) => {}
            }
            let (rows, faults) = filesystems.measure(far).await;
            assert!(faults.is_empty(), "{faults:?}");
            assert_eq!(rows.iter().map(|(_, fill)| fill.size_bytes).collect::<Vec<_>>(), [3.0, 7.0]);
        }
    }

    #[tokio::test]
    async fn this_machine_has_a_root_filesystem() {
        let (rows, _) = Filesystems::new(Path::new("/"), &[]).measure(Instant::now() + Duration::from_secs(60)).await;
        for (mount, fill) in &rows {
            assert!(fill.size_bytes > 0.0 && (0.0..=fill.size_bytes).contains(&fill.avail_bytes), "{mount:?} {fill:?}");
            assert!(fill.files_avail_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "{mount:?} {fill:?}");
        }
    }
}
