//! Gives the build a name: a digest of the sources that decide, so that replay knows whether two builds may differ. Lists the
//! shipped policies, those of the demo's lab, and the shipped playbooks, so that they are part of the binary.
//!
//! The name holds no revision and no machine: two checkouts of the same sources have the same name.

use std::path::{Path, PathBuf};

fn main() {
    let mut files = Vec::new();
    for folder in ["engine/model/src", "engine/kernel/src"] {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), &mut files);
    }
    files.sort();
    // FNV-1a: a name, not a safeguard.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in &files {
        for byte in std::fs::read(file).unwrap_or_default() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=HOMEOSTAT_BUILD={hash:016x}");
    list("policies", "rhai", "shipped.rs");
    list("labs/classic/policies", "rhai", "classic.rs");
    list("playbooks", "yaml", "playbooks.rs");
}

/// Writes an array of (name, text) of every file of one kind in a folder, by name; tests beside them are left out.
fn list(folder: &str, extension: &str, to: &str) {
    println!("cargo::rerun-if-changed={folder}");
    let mut files = Vec::new();
    collect(Path::new(folder), &mut files);
    files.retain(|path| path.extension().is_some_and(|e| e == extension) && !path.to_string_lossy().contains(".test."));
    files.sort();
    let lines: Vec<String> = files
        .iter()
        .map(|path| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // Relative to the package: a checkout that is moved stays right.
            format!("({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})))", format!("/{}", path.display()))
        })
        .collect();
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    if let Err(error) = std::fs::write(Path::new(&out).join(to), format!("[{}]", lines.join(", "))) {
        println!("cargo::error=the list of {folder} cannot be written: {error}");
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "rhai" || e == "yaml") {
            files.push(path);
        }
    }
}
