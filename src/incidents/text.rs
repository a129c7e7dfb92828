//! Texts that others wrote, made harmless for a Markdown report and for a terminal.
//!
//! Alert texts, labels, reasons and a model's words reach a report that people open in browsers, editors and terminals. They are cut,
//! freed of control, escape, bidirectional and invisible characters, and stand in code spans (nothing in a code span is a link, markup
//! or HTML) or are escaped. Deliberately absent: judging what a text says. An editor breaks this by writing any text of the journal
//! into Markdown without one of these functions.

/// Characters of one text.
pub const TEXT_CHARS_MAX: usize = 300;

/// Whether a character shows nothing, or moves others: bidirectional controls, zero-width and tag characters, variation selectors.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line without what does not show, at most [`TEXT_CHARS_MAX`] characters; terminal sequences go whole.
pub fn clean(text: &str) -> String {
    clean_to(text, TEXT_CHARS_MAX)
}

/// As [`clean`], with another limit.
pub fn clean_to(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    let (mut count, mut blank) = (0, true);
    // Nothing behind this many characters can be shown; what is removed must not make the work endless.
    let mut rest = text.chars().take(chars_max.saturating_mul(16)).peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' || c == '\u{9b}' {
            skip_sequence(c, &mut rest);
            continue;
        }
        if is_hidden(c) {
            continue;
        }
        let is_blank = c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}');
        if is_blank && blank {
            continue;
        }
        if count >= chars_max {
            out.push('…');
            break;
        }
        out.push(if is_blank { ' ' } else { c });
        count += 1;
        blank = is_blank;
    }
    out.truncate(out.trim_end().len());
    out
}

/// The rest of an escape sequence: `ESC [ … letter`, `ESC ] … BEL`, or one character.
fn skip_sequence(first: char, rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) {
    const SEQUENCE_MAX: usize = 64;
    let kind = if first == '\u{9b}' { Some('[') } else { rest.peek().copied().filter(|c| c.is_ascii_graphic()) };
    if first != '\u{9b}' && kind.is_some() {
        rest.next();
    }
    match kind {
        Some('[') => {
            for _ in 0..SEQUENCE_MAX {
                match rest.next_if(|c| matches!(c, ' '..='~')) {
                    Some('@'..='~') | None => return,
                    Some(_) => {}
                }
            }
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            for _ in 0..SEQUENCE_MAX {
                match rest.next_if(|c| !matches!(c, '\u{1b}' | '\n')) {
                    Some('\u{7}' | '\u{9c}') | None => return,
                    Some(_) => {}
                }
            }
        }
        _ => {}
    }
}

/// A text in a code span: what others wrote, literally.
pub fn code(text: &str) -> String {
    let text = clean(text).replace('`', "'");
    if text.is_empty() { "` `".into() } else { format!("`{text}`") }
}

/// A text of our own that may hold names of others: escaped, so that nothing of it is markup. What could become a link stands in a
/// code span.
pub fn plain(text: &str) -> String {
    let text = clean_to(text, 2 * TEXT_CHARS_MAX);
    let lower = text.to_ascii_lowercase();
    if ["://", "www.", "@", "mailto:", "xmpp:"].iter().any(|mark| lower.contains(mark)) {
        return code(&text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for (n, c) in text.chars().enumerate() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '$' => out.extend(['\\', c]),
            // At the front these begin a list or a heading.
            '-' | '+' | '=' | '.' | ')' if n < 4 => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_show_goes_and_terminal_sequences_go_whole() {
        assert_eq!(clean("a\u{1b}[31;1mred\u{1b}[0m\u{1b}]0;title\u{7}b\u{9b}2Jc"), "aredbc");
        assert_eq!(clean("x\u{202e}gnp.exe\u{2066}\u{200b}\u{e0041}y\r\n\tz  "), "xgnp.exey z");
        assert_eq!(clean(&"é".repeat(400)).chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(clean("\u{1b}"), "");
    }

    #[test]
    fn nothing_is_markup_afterwards() {
        assert_eq!(code("` ![x](http://evil) `"), "`' ![x](http://evil) '`");
        assert_eq!(code("\u{200b}"), "` `");
        assert_eq!(plain("# <b>*x*</b> [a](b) | c_d"), "\\# &lt;b&gt;\\*x\\*&lt;/b&gt; \\[a\\](b) \\| c\\_d");
        assert_eq!(plain("see http://evil.example now"), "`see http://evil.example now`");
        assert_eq!(plain("1. one"), "1\\. one");
        assert_eq!(plain("ordinary words: 3.5 W"), "ordinary words: 3.5 W");
        // A URL cut in two by something hidden is a URL once that is gone.
        assert_eq!(plain("ht\u{200b}tp:/\u{200d}/evil.example"), "`http://evil.example`");
    }
}
