//! Finds the pages of `docs/`, so that each is embedded as soon as it is there.
//!
//! Deliberately absent: their text; the compiler reads that. An editor breaks this by following links or folders: decisions and examples
//! are not the manual.

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let folder = variable("CARGO_MANIFEST_DIR").join("../docs").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = |path: &PathBuf| format!("    ({:?}, include_str!({:?})),\n", name(path), path.display().to_string());
    let list: String = pages.iter().map(line).collect();
    let text = format!("/// The pages of the documentation: file name and text.\npub const PAGES: &[(&str, &str)] = &[\n{list}];\n");
    std::fs::write(variable("OUT_DIR").join("pages.rs"), text)
}
