//! Secrets: read where they are used, and taken out of every text that goes back.
//!
//! Deliberately absent: keeping resolved secrets. A [`Redactor`] lives as long as one action. An editor breaks this by putting a
//! text from the outside (a body, a command's output, an error with a URL) into an outcome without [`Redactor::clean`].

use homeostat_model::{Mask, Secret};

/// Reads the secret now; a rotated file is seen at the next use. The error names the reference, never a value.
pub fn resolve(secret: &Secret) -> Result<String, String> {
    secret.resolve(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))
}

/// Knows the secrets of one action and takes them out of texts.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Mask);

impl Redactor {
    /// Learns a secret, see [`Mask::learn`].
    pub fn learn(&mut self, secret: &str) {
        self.0.learn(secret);
    }

    /// Resolves a secret and learns it.
    pub fn take(&mut self, secret: &Secret) -> Result<String, String> {
        let text = resolve(secret)?;
        self.learn(&text);
        Ok(text)
    }

    /// The text without secrets, without control characters, and with at most `chars_max` characters, the end kept.
    pub fn clean_tail(&self, text: &str, chars_max: usize) -> String {
        let clean = self.clean(text);
        let count = clean.chars().count();
        if count <= chars_max {
            return clean;
        }
        std::iter::once('…').chain(clean.chars().skip(count - chars_max)).collect()
    }

    /// The text without secrets, without control characters, and with at most `chars_max` characters, the beginning kept.
    pub fn clean_head(&self, text: &str, chars_max: usize) -> String {
        let clean = self.clean(text);
        match clean.char_indices().nth(chars_max) {
            Some((cut, _)) => format!("{}…", &clean[..cut]),
            None => clean,
        }
    }

    fn clean(&self, text: &str) -> String {
        self.0.clean(text).chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_goes() {
        let mut redactor = Redactor::default();
        redactor.learn("hun\"ter2");
        redactor.learn("hun\"ter2-long");
        redactor.learn("");
        redactor.learn("a b");
        assert_eq!(
            redactor.clean_tail("a hun\"ter2-long b \u{1b}[31m{\"t\":\"hun\\\"ter2\"}", 100),
            "a <secret> b [31m{\"t\":\"<secret>\"}"
        );
        assert_eq!(format!("{redactor:?}"), "Redactor(Mask(4 forms))");
    }

    #[test]
    fn cuts_keep_whole_characters() {
        let redactor = Redactor::default();
        assert_eq!((redactor.clean_head("äöü", 2), redactor.clean_tail("äöü", 2)), ("äö…".into(), "…öü".into()));
    }
}
