//! Credentials: read where they are used, and taken out of every text that comes from outside.
//!
//! Deliberately absent: keeping them. A [`Mask`] lives as long as one request. An editor breaks this by putting a text from the other
//! side (a body, a header, an error) into a fault, an answer or a log line without [`Mask::clean`].

use homeostat_model::Secret;

/// What stands in the place of a credential.
const MASK: &str = "<secret>";
/// A shorter value protects nothing, and taking it out would make every text unreadable.
const SECRET_BYTES_MIN: usize = 4;

/// Knows the credentials of one request and takes them out of texts.
#[derive(Clone, Default)]
pub(crate) struct Mask(Vec<String>);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} forms)", self.0.len())
    }
}

impl Mask {
    /// Reads the secret now, and knows it from here on. The error names the reference, never a value.
    pub(crate) fn take(&mut self, secret: &Secret) -> Result<String, String> {
        let text = secret.resolve(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))?;
        let escaped = serde_json::to_string(&text).unwrap_or_default();
        for form in [text.as_str(), text.trim(), escaped.trim_matches('"')] {
            if form.trim().len() >= SECRET_BYTES_MIN && !self.0.iter().any(|known| known == form) {
                self.0.push(form.to_owned());
            }
        }
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len())); // the longest first: one may contain another
        Ok(text)
    }

    /// The text without credentials.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), MASK))
    }

    /// The same, of at most `chars_max` characters and without control characters.
    pub(crate) fn quote(&self, text: &str, chars_max: usize) -> String {
        self.clean(text).chars().filter(|c| !c.is_control()).take(chars_max).collect::<String>().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_goes() {
        let mut mask = Mask::default();
        mask.take(&Secret::Literal("hun\"ter2".into())).unwrap();
        mask.take(&Secret::Literal("on".into())).unwrap();
        assert_eq!(mask.clean(r#"on hun"ter2 {"k":"hun\"ter2"}"#), r#"on <secret> {"k":"<secret>"}"#);
        assert_eq!(mask.quote("a\u{7}hun\"ter2bcd", 10), "a<secret>b");
        assert_eq!(format!("{mask:?}"), "Mask(2 forms)");
    }
}
