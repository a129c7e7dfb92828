//! Real answers of real programs, for tests. They are not in the repository: `HOMEOSTAT_CORPUS` names the folder, by default
//! `shared/fixtures` beside the workspace. Without it a test says so loudly and passes on its own small inputs.

use std::path::PathBuf;

/// The folder, if it is there; else says that it is not.
pub(crate) fn root() -> Option<PathBuf> {
    let root = std::env::var_os("HOMEOSTAT_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures")), PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("SKIPPED: no corpus at {}", root.display());
    None
}

/// One file of it, by its path below the folder.
pub(crate) fn read(path: &str) -> Option<Vec<u8>> {
    let file = root()?.join(path);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("the corpus has no {}: {error}", file.display())))
}

/// All files of one folder whose names end with `ending`, ordered by name.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<(String, Vec<u8>)> {
    let Some(root) = root() else { return Vec::new() };
    let listed = std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("the corpus has no folder {folder}: {error}"));
    let mut names: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names.into_iter().map(|name| (name.clone(), std::fs::read(root.join(folder).join(name)).unwrap())).collect()
}
