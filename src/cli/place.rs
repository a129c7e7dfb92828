//! Where configuration, data and socket are, out of options, environment and what exists.
//!
//! Deliberately absent: creating anything. An editor breaks this by letting the daemon and the other commands look in different places.

use super::args::Global;
use crate::config::{Config, ConfigError, Outside};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Configuration files that are looked for, in order.
const CONFIG_FILES: [&str; 2] = ["homeostat.yaml", "/etc/homeostat/homeostat.yaml"];
/// Where a package puts the data.
const SYSTEM_DATA: &str = "/var/lib/homeostat";

/// Where things are.
#[derive(Debug)]
pub struct Place {
    /// The configuration file; `None`: the embedded defaults.
    pub config_path: Option<PathBuf>,
    /// What it says.
    pub config: Result<Config, ConfigError>,
    /// The data directory.
    pub data: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
}

/// This process's user.
pub fn own_uid() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|meta| meta.uid())
}

impl Place {
    /// Finds them. `to_write`: the data directory must be one that this user owns (or root), not merely one that exists.
    pub fn find(global: &Global, to_write: bool) -> Place {
        let existing = || CONFIG_FILES.iter().map(PathBuf::from).find(|path| path.is_file());
        let config_path = global.config.clone().or_else(existing);
        let config = Config::load(config_path.as_deref(), &Outside::real());
        let configured = config.as_ref().ok().and_then(|config| config.data.clone());
        let data = global.data.clone().or(configured).unwrap_or_else(|| {
            let owner = std::fs::metadata(SYSTEM_DATA).ok().map(|meta| meta.uid());
            default_data(owner, own_uid(), to_write, |name| std::env::var_os(name).map(PathBuf::from))
        });
        let socket = config.as_ref().map_or_else(|_| data.join("homeostat.sock"), |config| config.socket_path(&data));
        Place { config_path, config, data, socket }
    }

    /// What the configuration is called in messages.
    pub fn config_name(&self) -> String {
        self.config_path
            .as_deref()
            .map_or_else(|| "embedded defaults (no homeostat.yaml found)".into(), |path: &Path| path.display().to_string())
    }
}

/// `system_owner`: who owns the system's data directory, if it exists.
fn default_data(system_owner: Option<u32>, uid: Option<u32>, to_write: bool, env: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(dir) = env("STATE_DIRECTORY").filter(|dir| !dir.as_os_str().is_empty()) {
        return dir;
    }
    let usable = system_owner.is_some_and(|owner| !to_write || uid == Some(0) || uid == Some(owner));
    if usable {
        return SYSTEM_DATA.into();
    }
    env("XDG_STATE_HOME").filter(|dir| dir.is_absolute()).map_or_else(|| PathBuf::from("data"), |dir| dir.join("homeostat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_where_this_user_can_use_it() {
        let none = |_: &str| None;
        let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/home/a/.local/state"));
        let systemd = |name: &str| (name == "STATE_DIRECTORY").then(|| PathBuf::from("/var/lib/other"));
        assert_eq!(default_data(Some(0), Some(0), true, none), PathBuf::from("/var/lib/homeostat"));
        assert_eq!(default_data(Some(0), Some(5), true, none), PathBuf::from("data"));
        assert_eq!(default_data(Some(0), Some(5), false, xdg), PathBuf::from("/var/lib/homeostat"));
        assert_eq!(default_data(None, Some(0), true, xdg), PathBuf::from("/home/a/.local/state/homeostat"));
        assert_eq!(default_data(Some(0), Some(0), true, systemd), PathBuf::from("/var/lib/other"));
    }
}
