//! Texts with placeholders: `{target}`, `{target_name}`, `{each}` and `{<parameter>}`.
//!
//! Only a brace, a name and a brace is a placeholder, so that selectors keep theirs: `node_up{node='{target_name}'}`. An editor
//! breaks this by leaving an unknown placeholder as it stands: it would reach an actuator.

use homeostat_model::{Arg, Args, Target};

/// What placeholders stand for.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// The run's target.
    pub target: &'a Target,
    /// The instance's text.
    pub each: &'a str,
    /// The parameters.
    pub params: &'a Args,
}

impl Words<'_> {
    fn word(&self, name: &str) -> Option<Arg> {
        match name {
            "target" => Some(Arg::Text(self.target.as_str().to_owned())),
            "target_name" => Some(Arg::Text(self.target.name().into())),
            "each" => Some(Arg::Text(self.each.into())),
            _ => self.params.get(name).cloned(),
        }
    }
}

/// The names of all placeholders in a text, in order.
pub(super) fn placeholders(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let after = &rest[start + 1..];
        match name_at(after) {
            Some(name) => {
                found.push(name);
                rest = &after[name.len() + 1..];
            }
            None => rest = after,
        }
    }
    found
}

/// The name between a brace and the next, if that is all there is.
fn name_at(after: &str) -> Option<&str> {
    let name = after.split_once('}')?.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// Fills a text; the name of a placeholder that nobody knows is the error.
pub fn fill(text: &str, words: &Words<'_>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        match name_at(after) {
            Some(name) => {
                let word = words.word(name).ok_or_else(|| format!("there is no `{{{name}}}`"))?;
                filled.push_str(&plain_text(&word));
                rest = &after[name.len() + 1..];
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn plain_text(arg: &Arg) -> String {
    match arg {
        Arg::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fills all texts among arguments. A text that is one placeholder and nothing else keeps the parameter's kind.
pub fn fill_args(args: &Args, words: &Words<'_>) -> Result<Args, String> {
    args.iter().map(|(name, arg)| Ok((name.clone(), fill_arg(arg, words)?))).collect()
}

fn fill_arg(arg: &Arg, words: &Words<'_>) -> Result<Arg, String> {
    Ok(match arg {
        Arg::Text(text) => {
            let whole = text.strip_prefix('{').and_then(name_at).filter(|name| name.len() + 2 == text.len());
            match whole {
                Some(name) => words.word(name).ok_or_else(|| format!("there is no `{{{name}}}`"))?,
                None => Arg::Text(fill(text, words)?),
            }
        }
        Arg::List(items) => Arg::List(items.iter().map(|item| fill_arg(item, words)).collect::<Result<_, _>>()?),
        Arg::Map(items) => {
            Arg::Map(items.iter().map(|(name, item)| Ok((name.clone(), fill_arg(item, words)?))).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_selectors_keep_their_braces() {
        let target = Target::from("node/nas");
        let params = Args::from([("disk".to_owned(), Arg::from("sda")), ("count".to_owned(), Arg::Int(3))]);
        let words = Words { target: &target, each: "pod-1", params: &params };
        let filled = |text: &str| fill(text, &words);
        assert_eq!(filled("node_up{node='{target_name}',d=\"{disk}\"}").unwrap(), "node_up{node='nas',d=\"sda\"}");
        assert_eq!(filled("{target} {each} {count} {").unwrap(), "node/nas pod-1 3 {");
        assert_eq!(filled("up{}").unwrap(), "up{}");
        assert!(filled("{dsk}").unwrap_err().contains("dsk"));
        let args = Args::from([("n".to_owned(), Arg::from("{count}")), ("t".to_owned(), Arg::from("{count}x"))]);
        assert_eq!(fill_args(&args, &words).unwrap(), Args::from([("n".to_owned(), Arg::Int(3)), ("t".to_owned(), Arg::from("3x"))]));
        assert_eq!(placeholders("{a}{b c}{d-e}"), ["a", "d-e"]);
    }
}
