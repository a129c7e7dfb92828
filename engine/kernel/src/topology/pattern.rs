//! Two small languages of the settings: `node/*` and `pod/{namespace}/{pod}`.

/// Whether a text fits a pattern in which each `*` stands for any text, also none.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A text with label names in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<(String, Option<String>)>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A brace without its partner, or nothing between them.
    pub fn parse(text: &str) -> Result<Template, String> {
        let problem = || format!("`{text}` is not a text with labels in braces: expected something like `pod/{{namespace}}/{{pod}}`");
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (label, tail) = after.split_once('}').ok_or_else(problem)?;
            if label.is_empty() || label.contains('{') || before.contains('}') {
                return Err(problem());
            }
            parts.push((before.to_owned(), Some(label.to_owned())));
            rest = tail;
        }
        if rest.contains('}') {
            return Err(problem());
        }
        parts.push((rest.to_owned(), None));
        Ok(Template(parts))
    }

    /// The text with the labels' values; `None` where one is missing or empty.
    pub fn fill<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut text = String::new();
        for (before, name) in &self.0 {
            text.push_str(before);
            if let Some(name) = name {
                text.push_str(label(name).filter(|value| !value.is_empty())?);
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_nothing_else_does() {
        for (pattern, text) in
            [("node/*", "node/a"), ("*", ""), ("node/a", "node/a"), ("*/a", "node/a"), ("n*e/*", "node/a"), ("a*b*b", "abb"), ("**", "x")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("node/*", "nodes/a"), ("node/a", "node/ab"), ("", "x"), ("a*b*b", "ab"), ("ab*b", "ab"), ("*.x", "x")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn templates_are_filled_or_refused_and_a_missing_label_gives_nothing() {
        let labels = |name: &str| [("namespace", "web"), ("pod", "x"), ("empty", "")].into_iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        let fill = |text: &str| Template::parse(text).unwrap_or_else(|error| panic!("{error}")).fill(labels);
        assert_eq!(fill("pod/{namespace}/{pod}").as_deref(), Some("pod/web/x"));
        assert_eq!(fill("plain").as_deref(), Some("plain"));
        assert_eq!((fill("{node}"), fill("{empty}/x")), (None, None));
        for text in ["{", "}", "a{}b", "{a{b}}", "a}b{c}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
