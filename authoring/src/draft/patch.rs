//! New files as one unified diff that `git apply` takes.
//!
//! Deliberately absent: changes of files that exist. An editor breaks this by a text without its line break at the end.

use std::fmt::Write as _;

/// A file that the patch makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile<'a> {
    /// Its path in the repository: `policies/x.rhai`.
    pub path: &'a str,
    /// What stands in it.
    pub text: &'a str,
}

/// The patch. `head`: lines for the reader in front; none of them can be read as a part of the patch.
pub fn patch(head: &[String], files: &[NewFile<'_>]) -> String {
    let mut text = String::new();
    for line in head.iter().flat_map(|line| line.lines()) {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
    for NewFile { path, text: content } in files {
        let lines: Vec<&str> = content.strip_suffix('\n').unwrap_or(content).split('\n').collect();
        let _ = write!(
            text,
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{} @@\n",
            lines.len()
        );
        for line in lines {
            let _ = writeln!(text, "+{line}");
        }
        if !content.ends_with('\n') {
            text.push_str("\\ No newline at end of file\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_new_and_the_head_is_no_patch() {
        let head = ["two\n--- a/x".to_owned()];
        let made = patch(&head, &[NewFile { path: "p/x.rhai", text: "a\n\nb\n" }]);
        assert_eq!(
            made,
            "# two\n# --- a/x\ndiff --git a/p/x.rhai b/p/x.rhai\nnew file mode 100644\n--- /dev/null\n+++ b/p/x.rhai\n@@ -0,0 +1,3 @@\n+a\n+\n+b\n"
        );
    }
}
