//! What the system knows of a process: CPU time, resident memory, children that end with their owner.

use std::path::PathBuf;
use std::process::Child;

/// Where this program is.
pub fn own_path() -> PathBuf {
    std::env::current_exe().expect("the program knows where it is")
}

/// CPU seconds (user and system) of all living threads of this process, to the nanosecond.
pub fn cpu_seconds() -> f64 {
    threads().into_iter().map(|(_, seconds)| seconds).sum()
}

/// The same by thread name.
pub fn threads() -> Vec<(String, f64)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    tasks
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let nanos: f64 = text.split(' ').next()?.parse().ok()?;
            Some((name.trim().to_owned(), nanos / 1e9))
        })
        .collect()
}

/// Resident memory of a process, in MiB.
pub fn rss_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// The most resident memory that this process ever had, in MiB.
pub fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system knows the peak");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
}

/// A child that ends with its owner.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty folder on the disk where the build is, not in memory: the journal's syncs must cost what they cost.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written")
}
