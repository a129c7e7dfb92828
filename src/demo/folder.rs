//! The demo's folder in the system's temporary directory: configuration, policies, journal. Gone when the guard is dropped.
//!
//! Deliberately absent: keeping anything. An editor breaks this by leaving through `process::exit` while the guard lives.

use anyhow::Context;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
        Folder::make_in(&std::env::temp_dir())
    }

    fn make_in(parent: &Path) -> anyhow::Result<Folder> {
        for number in 0..TRIES {
            let path = parent.join(format!("homeostat-demo-{}-{number}", std::process::id()));
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
}
