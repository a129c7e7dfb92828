//! Takes credentials out of every text that comes from outside, before anybody keeps or shows it.
//!
//! Whoever talks to another side (an actuator, a channel, a reasoner) holds one [`Mask`] for as long as the request lasts, takes its
//! credentials through it and cleans with it what comes back. Deliberately absent: reading (the caller passes that, see
//! [`Secret::resolve`]) and keeping. An editor breaks this by letting a form of a credential through in which an answer may quote it.

use crate::Secret;
use std::fmt::{self, Write as _};

/// What stands in the place of a credential.
pub const MASK: &str = "<secret>";
/// A shorter value (`1`, `on`) protects nothing, and taking it out would make every text unreadable.
const SECRET_BYTES_MIN: usize = 4;

/// Knows the credentials of one request and takes them out of texts.
#[derive(Clone, Default)]
pub struct Mask {
    forms: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms)", self.forms.len())
    }
}

impl Mask {
    /// Reads the secret now, so that a rotated one is seen at the next use, and knows it from here on. `env` and `read` as for
    /// [`Secret::resolve`]; the error names the reference, never a value.
    pub fn take(
        &mut self,
        secret: &Secret,
        env: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<String, String> {
        let text = secret.resolve(env, read)?;
        self.learn(&text);
        Ok(text)
    }

    /// Knows a credential: as it is, without blanks around it, and as it looks inside a JSON string, which some write with `\/` and some
    /// with `\u0026`. Values of fewer than four bytes are not taken out.
    pub fn learn(&mut self, secret: &str) {
        for text in [secret, secret.trim()] {
            let json = in_json(text);
            let for_pages = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
            for form in [text.to_owned(), json.replace('/', "\\/"), for_pages, json] {
                if form.trim().len() >= SECRET_BYTES_MIN && !self.forms.contains(&form) {
                    self.forms.push(form);
                }
            }
        }
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.len())); // the longest first: one may contain another
    }

    /// The text without credentials.
    pub fn clean(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), MASK))
    }

    /// The same, of at most `chars_max` characters and without control characters.
    pub fn quote(&self, text: &str, chars_max: usize) -> String {
        self.clean(text).chars().filter(|c| !c.is_control()).take(chars_max).collect::<String>().trim().to_owned()
    }
}

/// As a JSON string holds it, without the quotation marks (RFC 8259 §7; what need not be escaped is not).
fn in_json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut json, c| {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
        json
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_goes() {
        let mut mask = Mask::default();
        for secret in ["hun\"ter2", "hun\"ter2-long\n", "on", ""] {
            mask.take(&Secret::Literal(secret.into()), |_| None, |_| Err(std::io::Error::other("no"))).unwrap();
        }
        assert_eq!(mask.clean(r#"on hun"ter2 {"k":"hun\"ter2"} hun"ter2-long"#), r#"on <secret> {"k":"<secret>"} <secret>"#);
        assert_eq!(mask.quote("a\u{7}hun\"ter2bcd", 10), "a<secret>b");
        assert_eq!(format!("{mask:?}"), "Mask(6 forms)");
    }

    #[test]
    fn every_way_to_write_json_goes() {
        let mut mask = Mask::default();
        mask.learn("https://hooks.lan/a\"b?c=1&d\n");
        for quoted in [r#"https:\/\/hooks.lan\/a\"b?c=1&d"#, r#"https://hooks.lan/a\"b?c=1\u0026d"#, "https://hooks.lan/a\"b?c=1&d"] {
            assert_eq!(mask.clean(quoted), MASK, "{quoted}");
        }
    }

    #[test]
    fn a_form_inside_json_is_the_one_that_serde_writes() {
        let all: String = (0..0x180).filter_map(char::from_u32).chain("\u{2028}\u{1f511}".chars()).collect();
        assert_eq!(format!("\"{}\"", in_json(&all)), serde_json::to_string(&all).unwrap());
    }
}
