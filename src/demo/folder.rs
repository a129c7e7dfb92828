//! The demo's folder in the system's temporary directory: configuration, policies, journal. Gone when the guard is dropped.
//!
//! What a demo that was killed left behind, the next one removes. Deliberately absent: keeping anything. An editor breaks this by leaving through `process::exit` while the guard lives.

use anyhow::Context;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How the folders' names begin; the process' number follows.
const PREFIX: &str = "homeostat-demo-";
/// Names that are tried before giving up.
const TRIES: u32 = 100;

/// A folder that is removed with everything in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one that is ours alone.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub fn make() -> anyhow::Result<Folder> {
        let folder = Folder::make_in(&std::env::temp_dir())?;
        folder.sweep(&|pid| Path::new("/proc").join(pid.to_string()).exists());
        Ok(folder)
    }

    /// Removes folders beside this one that are of our own user and of processes that are gone.
    fn sweep(&self, lives: &dyn Fn(u32) -> bool) {
        let owner = |path: &Path| std::fs::symlink_metadata(path).ok().filter(|data| data.is_dir()).map(|data| data.uid());
        let (Some(parent), Some(own)) = (self.0.parent(), owner(&self.0)) else { return };
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split_once('-'));
            let Some(pid) = pid.and_then(|(pid, _)| pid.parse().ok()) else { continue };
            if owner(&entry.path()) == Some(own) && !lives(pid) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn make_in(parent: &Path) -> anyhow::Result<Folder> {
        for number in 0..TRIES {
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            // Fails where something has this name already: nothing of others is used or removed.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("make the demo's folder {}", path.display())),
            }
        }
        anyhow::bail!("{} holds {TRIES} folders of this process already", parent.display())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it, making folders on the way.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "The demo's folder cannot be removed.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_ours_alone_and_goes_with_its_guard() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two) = (Folder::make_in(parent.path()).unwrap(), Folder::make_in(parent.path()).unwrap());
        assert_ne!(one.path(), two.path());
        let file = one.write("policies/a.rhai", "x").unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "x");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o700);
        drop((one, two));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_what_a_dead_demo_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let ours = Folder::make_in(parent.path()).unwrap();
        for name in ["homeostat-demo-7-0", "homeostat-demo-8-0", "homeostat-demo-x-0", "homeostat-demo-9", "other-7-0"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(parent.path().join("other-7-0"), parent.path().join("homeostat-demo-7-1")).unwrap();
        ours.sweep(&|pid| pid != 7);
        let mut left: Vec<String> =
            std::fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.retain(|name| !ours.path().ends_with(name));
        left.sort();
        assert_eq!(left, ["homeostat-demo-7-1", "homeostat-demo-8-0", "homeostat-demo-9", "homeostat-demo-x-0", "other-7-0"]);
    }
}
