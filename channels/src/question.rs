//! What is said when people are asked: title, plan, reason, claim, until when, and what silence means.
//!
//! Every text that comes from elsewhere (a reason may quote a workload) becomes one line without control, bidi and invisible
//! characters, and without anything that a chat would make a link of a scheme. Deliberately absent: formatting; markup stays off in every
//! service. An editor breaks this by letting a line break of a tainted text through: it could then imitate an answer's line.

use homeostat_model::{ActionId, Time};

/// A title's characters.
const TITLE_CHARS_MAX: usize = 150;
/// A reason's or claim's characters.
const WORDS_CHARS_MAX: usize = 600;
/// The arguments' characters.
const ARGS_CHARS_MAX: usize = 700;

/// One question to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The action.
    pub action: ActionId,
    /// What is asked, `power.wake on node/nas`.
    pub title: String,
    /// With what, `name = value`.
    pub args: Vec<String>,
    /// Who wishes it.
    pub wished_by: String,
    /// Why.
    pub because: String,
    /// Why a person is asked at all: the guard and its words, which say so if the wish rests on tainted text.
    pub asked_because: Option<String>,
    /// What is claimed, if anything.
    pub claim: Option<String>,
    /// The plan's hash: what a yes is bound to.
    pub plan: String,
    /// Until when it may be answered.
    pub until: Time,
    /// The same, for people.
    pub until_text: String,
    /// Whether nobody's answer is a yes (`veto`).
    pub silence_is_yes: bool,
}

impl Question {
    /// The title in one line: `a12: power.wake on node/nas?`
    pub fn headline(&self) -> String {
        format!("{}: {}?", self.action, plain(&self.title, TITLE_CHARS_MAX))
    }

    /// Everything below the title, one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.args.is_empty() {
            lines.push(format!("With: {}", plain(&self.args.join(", "), ARGS_CHARS_MAX)));
        }
        lines.push(format!("Because: {}", plain(&self.because, WORDS_CHARS_MAX)));
        if let Some(claim) = &self.claim {
            lines.push(format!("Claim: {}", plain(claim, WORDS_CHARS_MAX)));
        }
        if let Some(asked) = &self.asked_because {
            lines.push(format!("Asked because: {}", plain(asked, WORDS_CHARS_MAX)));
        }
        lines.push(format!("Wished by: {}", plain(&self.wished_by, TITLE_CHARS_MAX)));
        lines.push(format!("Plan: {}", plain(&self.plan, TITLE_CHARS_MAX)));
        let silence = if self.silence_is_yes { "It is done then unless somebody says no." } else { "Silence is a no." };
        lines.push(format!("Until: {}. {silence}", plain(&self.until_text, TITLE_CHARS_MAX)));
        lines
    }

    /// Title and lines.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.headline(), self.lines().join("\n"))
    }

    /// The same for a question that is over.
    pub fn ended(&self, how: &str) -> String {
        format!("{}\n{}", self.text(), plain(how, WORDS_CHARS_MAX))
    }
}

/// Whether a character changes how others are read, or is not seen at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line of at most `chars_max` characters that no service makes a link, a mention or a button of.
pub fn plain(text: &str, chars_max: usize) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c });
    let shown: String = spaced.filter(|c| !is_hidden(*c)).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ").replace("://", ": //");
    match line.char_indices().nth(chars_max) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// The text, or its beginning and `…`, so that the lengths of its characters sum to at most `max`.
pub(crate) fn cut(text: &str, max: usize, len: impl Fn(char) -> usize) -> String {
    if text.chars().map(&len).sum::<usize>() <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(len('…'));
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += len(*c);
        used <= room
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use crate::tests::question;

    #[test]
    fn a_tainted_text_is_one_line_and_no_link() {
        let mut asked = question();
        asked.because = "disk full\nYes: https://evil.example/x\u{202e}\u{200b}\u{7}\u{2028}[Yes](http://evil.example)".into();
        let text = asked.text();
        assert_eq!(text.lines().filter(|line| line.starts_with("Yes")).count(), 0, "{text}");
        assert!(!text.contains("://") && !text.contains('\u{202e}') && !text.contains('\u{200b}'), "{text}");
        assert_eq!(text.lines().count(), 8, "{text}");
    }

    #[test]
    fn everything_is_bounded_and_says_what_silence_means() {
        let mut asked = question();
        for text in [&mut asked.because, &mut asked.title, &mut asked.plan, &mut asked.until_text, &mut asked.wished_by] {
            *text = "ä".repeat(10_000);
        }
        asked.args = vec!["x".repeat(10_000)];
        asked.claim = Some("y".repeat(10_000));
        asked.asked_because = Some("z".repeat(10_000));
        assert!(asked.text().chars().count() < 3700, "{}", asked.text().chars().count());
        assert!(question().text().contains("Silence is a no."));
        asked.silence_is_yes = true;
        assert!(asked.text().contains("done then unless somebody says no"));
    }
}
