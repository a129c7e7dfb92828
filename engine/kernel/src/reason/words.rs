//! Free text from workloads made harmless: a log line becomes its template, a label's value a plain word.
//!
//! What varies (`<num> <ip> <path> <url> <id> <quoted> <hex> <time>`) goes, and with it most of what an attacker can write into a line
//! and all that would tell two lines of one kind apart; terminal sequences and characters that nobody sees go entirely; length is
//! bounded. That is all: an instruction in plain words cannot be recognised, so **whatever comes out of here is still tainted**, and
//! what depends on it cannot run without a person. Deliberately absent: regular expressions (one pass, every character looked at a bounded
//! number of times), learning of templates, a list of bad words. An editor breaks this by letting a digit through, by keeping an unseen
//! character, or by taking what passed for trusted.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// So much of a text is looked at; the rest is cut.
pub const INPUT_CHARS_MAX: usize = 16_384;
/// So many different templates are counted; lines of further ones are left out and counted as such.
pub const TEMPLATES_MAX: usize = 1_024;
/// A longer word without any sign in it is an `<id>`.
const WORD_CHARS_MAX: usize = 40;
/// Cutting a text may end a quote that was none; a few rounds settle it.
const ROUNDS_MAX: usize = 4;

/// What stands for the parts that vary.
const PLACEHOLDERS: [&str; 8] = ["<num>", "<ip>", "<path>", "<url>", "<id>", "<quoted>", "<hex>", "<time>"];

/// A text without the parts that vary. Tainted all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    /// One line; placeholders instead of what varies, no digits, nothing unseen, at most as many characters as asked for.
    pub text: String,
    /// Whether something was left off at the end.
    pub cut: bool,
}

/// Lines of one text counted by their templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// Each template with the number of its lines: the most frequent first, then by text.
    pub counted: Vec<(Template, u64)>,
    /// Lines whose template is not listed, because there were more of them than asked for or than [`TEMPLATES_MAX`].
    pub left_out_lines: u64,
}

/// A text's template, of at most `max_chars` characters. A template's template is itself.
pub fn template(text: &str, max_chars: usize) -> Template {
    let mut cut = false;
    let mut now = shown(text, &mut cut);
    for _ in 0..ROUNDS_MAX {
        let next = limited(&abstracted(&now), max_chars, &mut cut);
        if next == now {
            break;
        }
        now = next;
    }
    Template { text: now, cut }
}

/// A text as one line of at most `max_chars` characters, without terminal sequences and unseen characters; nothing else is taken out of it. For
/// words of people and models that are shown to people, never for what a model is told of a workload.
pub fn one_line(text: &str, max_chars: usize) -> Template {
    let mut cut = false;
    let shown = shown(text, &mut cut);
    cut |= shown.chars().nth(max_chars).is_some();
    Template { text: shown.chars().take(max_chars).collect(), cut }
}

/// Counts lines by their templates; empty ones are not counted. At most `max_templates` are listed.
pub fn templates<'a>(lines: impl IntoIterator<Item = &'a str>, max_chars: usize, max_templates: usize) -> Templates {
    let mut counts: BTreeMap<String, (bool, u64)> = BTreeMap::new();
    let mut left_out_lines = 0;
    for line in lines {
        let Template { text, cut } = template(line, max_chars);
        if text.is_empty() {
            continue;
        }
        if let Some((any_cut, count)) = counts.get_mut(&text) {
            *any_cut |= cut;
            *count += 1;
        } else if counts.len() < TEMPLATES_MAX {
            counts.insert(text, (cut, 1));
        } else {
            left_out_lines += 1;
        }
    }
    let mut counted: Vec<(Template, u64)> = counts.into_iter().map(|(text, (cut, count))| (Template { text, cut }, count)).collect();
    counted.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
    left_out_lines += counted.iter().skip(max_templates).map(|(_, count)| count).sum::<u64>();
    counted.truncate(max_templates);
    Templates { counted, left_out_lines }
}

/// A name or a label's value: letters and digits of ASCII and `._/:@-` stay, every other character is a `_`; at most `max` characters.
pub fn clean_label(value: &str, max: usize) -> String {
    value.chars().take(max).map(|c| if c.is_ascii_alphanumeric() || "._/:@-".contains(c) { c } else { '_' }).collect()
}

/// The text as one line without terminal sequences and unseen characters; blanks as one blank.
fn shown(text: &str, cut: &mut bool) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    for _ in 0..INPUT_CHARS_MAX {
        let Some(c) = chars.next() else { break };
        match c {
            '\u{1b}' | '\u{9b}' | '\u{9d}' | '\u{90}' => skip_sequence(c, &mut chars),
            _ if c.is_whitespace() => blank(&mut out),
            _ if is_forbidden(c) => {}
            _ => out.push(c),
        }
    }
    *cut |= chars.next().is_some();
    out.truncate(out.trim_end().len());
    out
}

fn blank(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

/// Leaves out the rest of a terminal sequence (ECMA-48): of a control sequence up to its final byte, of a string up to its end, of others
/// one character.
fn skip_sequence(lead: char, chars: &mut std::str::Chars<'_>) {
    const SEQUENCE_CHARS_MAX: usize = 256;
    let kind = if lead == '\u{1b}' {
        let mut ahead = chars.clone();
        match ahead.next() {
            Some(c @ '\u{20}'..='\u{7e}') => {
                *chars = ahead;
                c
            }
            _ => return,
        }
    } else {
        lead
    };
    let is_string = matches!(kind, ']' | 'P' | 'X' | '^' | '_' | '\u{9d}' | '\u{90}');
    if !is_string && !matches!(kind, '[' | '\u{9b}') {
        return;
    }
    let mut ahead = chars.clone();
    for _ in 0..SEQUENCE_CHARS_MAX {
        let Some(c) = ahead.next() else { break };
        let ends = if is_string { matches!(c, '\u{7}' | '\u{9c}' | '\u{1b}') } else { matches!(c, '\u{40}'..='\u{7e}') };
        if ends {
            *chars = ahead;
            if c == '\u{1b}' && chars.as_str().starts_with('\\') {
                chars.next();
            }
            return;
        }
        if !is_string && !matches!(c, '\u{20}'..='\u{3f}') {
            return; // no control sequence: what follows is text
        }
    }
}

/// Characters that are not told: controls, marks of direction, joiners, selectors, tags, marks that pile up on others, private ones.
pub fn is_forbidden(c: char) -> bool {
    match c {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' => true,
        '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' => {
            true
        }
        '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{10ffff}' => true,
        _ => homeostat_model::is_unshown(c),
    }
}

/// At most so many characters, no placeholder cut in two.
fn limited(text: &str, max_chars: usize, cut: &mut bool) -> String {
    let Some((mut end, _)) = text.char_indices().nth(max_chars) else { return text.to_owned() };
    *cut = true;
    if let Some(open) = text[..end].rfind('<')
        && PLACEHOLDERS.iter().any(|one| text[open..].starts_with(one) && open + one.len() > end)
    {
        end = open;
    }
    text[..end].trim_end().to_owned()
}

/// One pass over a shown text.
fn abstracted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut in_word = false; // whether a word or placeholder stands directly before
    while let Some(c) = rest.chars().next() {
        let used;
        if let Some(one) = PLACEHOLDERS.iter().find(|one| rest.starts_with(**one)) {
            (used, in_word) = (one.len(), true);
            put(&mut out, one);
        } else if let Some(len) = quoted(rest, c, in_word) {
            (used, in_word) = (len, true);
            put(&mut out, "<quoted>");
        } else if is_part(c) {
            let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            (used, in_word) = (word.len(), true);
            if word.contains("://") {
                let len = rest.find(|c: char| c == ' ' || "\"'`<>”’".contains(c)).unwrap_or(rest.len());
                put(&mut out, "<url>");
                rest = &rest[len..];
                continue;
            }
            abstract_word(word, &mut out);
        } else {
            (used, in_word) = (c.len_utf8(), false);
            out.push(c);
        }
        rest = &rest[used..];
    }
    out
}

/// Adds a placeholder. Numbers in a row (`1,234`, `1.2.3`) are one number, a date and its time of day are one time.
fn put(out: &mut String, placeholder: &str) {
    let joint: &[char] = match placeholder {
        "<num>" => &['.', ','],
        "<time>" => &[' '],
        _ => &[],
    };
    if let Some(before) = out.strip_suffix(joint)
        && before.ends_with(placeholder)
    {
        out.truncate(before.len());
        return;
    }
    out.push_str(placeholder);
}

/// What belongs to a word.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || "_.:/\\-+@%~#".contains(c)
}

/// The length of the quote that a text begins with. An apostrophe opens one only where a word could begin, and closes it only where
/// one has ended.
fn quoted(text: &str, open: char, in_word: bool) -> Option<usize> {
    let close = match open {
        '"' | '`' => open,
        '“' | '„' => '”',
        '«' => '»',
        '\'' if !in_word => '\'',
        _ => return None,
    };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        let after = at + c.len_utf8();
        let ends = c == close && !escaped && (c != '\'' || text[after..].chars().next().is_none_or(|c| " ,.;:)]}!?".contains(c)));
        if ends {
            return Some(after);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn abstract_word(word: &str, out: &mut String) {
    let word = match word.strip_prefix(':') {
        Some(rest) if !rest.starts_with(':') => {
            out.push(':');
            rest
        }
        _ => word,
    };
    let core = word.trim_end_matches(['.', ':']);
    let digits = core.chars().any(char::is_numeric);
    let whole = if digits && is_time(core) {
        Some("<time>")
    } else if digits && is_ip(core) {
        Some("<ip>")
    } else if is_mail(core) || is_uuid(core) {
        Some("<id>")
    } else if is_path(core) {
        Some("<path>")
    } else if is_hex(core) {
        Some("<hex>")
    } else if digits && (is_number(core) || is_span(core)) {
        Some("<num>")
    } else {
        None
    };
    match whole {
        Some(placeholder) => put(out, placeholder),
        None => abstract_parts(core, out),
    }
    out.push_str(&word[core.len()..]);
}

/// A word between its signs: `jellyfin-7c9d8-0` is `jellyfin-<id>-<num>`.
fn abstract_parts(word: &str, out: &mut String) {
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        if !c.is_alphanumeric() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let part = &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())];
        abstract_part(part, out);
        rest = &rest[part.len()..];
    }
}

/// Letters and digits only: `eth0` is `eth<num>`, `12GiB` is `<num>GiB`.
fn abstract_part(part: &str, out: &mut String) {
    const LETTERS_MAX: usize = 12;
    const UNIT_CHARS_MAX: usize = 4;
    let letters = |text: &str, max: usize| !text.contains(char::is_numeric) && text.chars().count() <= max;
    let head = part.trim_end_matches(char::is_numeric);
    let unit = part.trim_start_matches(char::is_numeric);
    if letters(part, WORD_CHARS_MAX) {
        out.push_str(part);
    } else if is_hex(part) {
        put(out, "<hex>");
    } else if head.len() < part.len() && letters(head, LETTERS_MAX) {
        out.push_str(head);
        put(out, "<num>");
    } else if unit.len() < part.len() && letters(unit, UNIT_CHARS_MAX) {
        put(out, "<num>");
        out.push_str(unit);
    } else {
        put(out, "<id>");
    }
}

/// `0x…`, or seven and more hexadecimal digits with a letter and a digit among them.
fn is_hex(word: &str) -> bool {
    let all = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let prefixed = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let mixed = word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_alphabetic());
    prefixed.is_some_and(all) || (word.len() >= 7 && mixed && all(word))
}

/// `-1.5e3`.
fn is_number(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_digit()) && word.parse::<f64>().is_ok()
}

/// `1m30.5s`.
fn is_span(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let Some(next) = ["ms", "us", "µs", "ns", "d", "h", "m", "s"].iter().find_map(|name| unit.strip_prefix(name)) else {
            return false;
        };
        if unit.len() == rest.len() {
            return false;
        }
        rest = next;
    }
    true
}

/// An address of either kind, with or without brackets' content, port, prefix and zone.
fn is_ip(word: &str) -> bool {
    let bare = word.split(['/', '%']).next().unwrap_or_default();
    let without_port = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
    bare.parse::<Ipv4Addr>().is_ok() || without_port.parse::<Ipv4Addr>().is_ok() || bare.parse::<Ipv6Addr>().is_ok()
}

fn is_mail(word: &str) -> bool {
    word.split_once('@').is_some_and(|(user, host)| user.contains(char::is_alphanumeric) && host.contains(char::is_alphanumeric))
}

fn is_uuid(word: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = word.split('-').collect();
    parts.len() == 5 && parts.iter().zip(lengths).all(|(part, len)| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whatever has a slash, but for short pairs of words such as `I/O` and `and/or`.
fn is_path(word: &str) -> bool {
    const PAIR_CHARS_MAX: usize = 4;
    let letters = |text: &str| text.chars().all(char::is_alphabetic) && text.chars().count() <= PAIR_CHARS_MAX;
    if !word.contains(['/', '\\']) {
        return false;
    }
    let pair = word.split_once('/').is_some_and(|(a, b)| letters(a) && letters(b) && (!a.is_empty() || b.is_empty()));
    !pair && word != "\\"
}

/// A date, a time of day, or both.
fn is_time(word: &str) -> bool {
    const DATES: [&str; 4] = ["9999-99-99", "9999/99/99", "99/99/9999", "99.99.9999"];
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let Some(rest) = DATES.iter().find_map(|date| shape.strip_prefix(date)) else { return is_clock(&shape) };
    rest.is_empty() || rest.strip_prefix(['T', 't', '_', ':', '-']).is_some_and(is_clock)
}

/// `9:99`, `99:99:99.999Z`, with an offset; every digit as `9`.
fn is_clock(shape: &str) -> bool {
    let shape = shape.strip_prefix(['+', '-']).unwrap_or(shape);
    let Some(rest) = ["99:99", "9:99"].iter().find_map(|clock| shape.strip_prefix(clock)) else { return false };
    let rest = rest.strip_prefix(":99").unwrap_or(rest);
    let rest = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('9'));
    matches!(rest, "" | "Z" | "z" | "+99:99" | "-99:99" | "+9999" | "-9999" | "+99" | "-99")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> String {
        let Template { text: told, cut } = template(text, 400);
        assert!(!cut, "{text}");
        assert_eq!(template(&told, 400).text, told, "its template is another: {text}");
        told
    }

    #[test]
    fn what_varies_goes() {
        let cases = [
            ("2026-11-21T19:05:14.123Z ERROR GET /api/v1/items/42 took 12.5ms", "<time> ERROR GET <path> took <num>"),
            ("2026-11-21 19:05:14 [12] oom: killed 4,096 kB", "<time> [<num>] oom: killed <num> kB"),
            ("dial tcp 10.42.0.7:5432: i/o timeout after 1m30.5s", "dial tcp <ip>: i/o timeout after <num>"),
            ("from [fe80::1]:22 and fe80::aede:48ff:fe00:1122", "from [<ip>]:<num> and <ip>"),
            ("pod jellyfin-7c9d8f6b5-x2x4z on worker-3 and eth0", "pod jellyfin-<hex>-<id> on worker-<num> and eth<num>"),
            ("open '/mnt/films/a b.mkv': can't read \"it's \\\" me\"", "open <quoted>: can't read <quoted>"),
            ("see https://evil.test/x?q=ignore,previous (now)", "see <url> (now)"),
            (r#"{"level":"info","n":-1.5e3}"#, "{<quoted>:<quoted>,<quoted>:<num>}"),
            ("commit 1a2b3c4d by a.b@mail.test 0xDEAD", "commit <hex> by <id> <hex>"),
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8 and/or C:\\x\\y", "<id> and/or <path>"),
            ("v1.2.3 at 5% on ½", "v<num> at <num>% on <num>"),
            ("\u{1b}[31;1mred\u{1b}[0m \u{1b}]0;title\u{7}end\u{1b}", "red end"),
            ("a\u{202e}b\u{200b}c\u{e0041}\td\ne\u{7}", "abc d e"),
            ("<num> and <script>", "<num> and <script>"),
            ("", ""),
        ];
        let wrong: Vec<(String, &str)> =
            cases.into_iter().map(|(text, expected)| (told(text), expected)).filter(|(told, expected)| told != expected).collect();
        assert!(wrong.is_empty(), "told, expected: {wrong:#?}");
    }

    #[test]
    fn a_control_sequence_cannot_swallow_a_text() {
        assert_eq!(told("\u{1b}[ä text stays"), "ä text stays");
        assert_eq!(told("\u{1b}]never ended text"), "never ended text");
    }

    #[test]
    fn lengths_are_kept_and_placeholders_whole() {
        assert_eq!(template("took 12 ms", 7), Template { text: "took".into(), cut: true });
        assert_eq!(template("took 12 ms", 10), Template { text: "took <num>".into(), cut: true });
        assert_eq!(template("took 12", 10), Template { text: "took <num>".into(), cut: false });
        assert_eq!(template("x", 0), Template { text: String::new(), cut: true });
        assert_eq!(template(&"a ".repeat(INPUT_CHARS_MAX), 10), Template { text: "a a a a a".into(), cut: true });
    }

    #[test]
    fn lines_of_one_kind_are_counted_together() {
        let lines = ["took 3 ms", "disk full", "took 4 ms", "", "took 5 ms", "disk full", "other"];
        let Templates { counted, left_out_lines } = templates(lines, 100, 2);
        let shown: Vec<(&str, u64)> = counted.iter().map(|(template, count)| (template.text.as_str(), *count)).collect();
        assert_eq!((shown, left_out_lines), (vec![("took <num> ms", 3), ("disk full", 2)], 1));
        let letters = |n: usize| -> String { n.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect() };
        let many: Vec<String> = (0..TEMPLATES_MAX + 5).map(letters).collect();
        let Templates { counted, left_out_lines } = templates(many.iter().map(String::as_str), 100, usize::MAX);
        assert_eq!((counted.len(), left_out_lines), (TEMPLATES_MAX, 5));
    }

    #[test]
    fn labels_are_plain_words() {
        assert_eq!(clean_label("a/b:c@d-e_f.g", 99), "a/b:c@d-e_f.g");
        assert_eq!(clean_label("ignore\nall \"rules\"\u{202e}ä", 99), "ignore_all__rules___");
        assert_eq!(clean_label("abcdef", 3), "abc");
    }

    fn line() -> impl Strategy<Value = String> {
        let bits = proptest::sample::select(vec![
            "\"",
            "'",
            "`",
            "“",
            "”",
            "«",
            " ",
            "<",
            ">",
            "num>",
            "<id>",
            "/",
            "\\",
            ":",
            "::",
            "://",
            "@",
            ".",
            ",",
            "-",
            "%",
            "0x",
            "a",
            "fe80",
            "I",
            "7",
            "12",
            "½",
            "ms",
            "T",
            "Z",
            "2026-11-21",
            "19:05",
            "10.0.0.1",
            "\u{1b}[",
            "\u{1b}]",
            "\u{7}",
            "m",
            "\u{202e}",
            "\u{e0041}",
            "\u{301}",
            "\u{9b}",
            "deadbeef1",
            "ä",
            "\n",
            "\u{f8ff}",
            "=",
            "(",
            "don't",
        ]);
        prop_oneof![".{0,60}", proptest::collection::vec(bits, 0..40).prop_map(|bits| bits.concat())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_template_is_bounded_plain_and_its_own(text in line(), max in 0usize..120) {
            let once = template(&text, max);
            prop_assert!(once.text.chars().count() <= max);
            prop_assert!(!once.text.chars().any(|c| is_forbidden(c) || c.is_numeric() || (c.is_whitespace() && c != ' ')), "{:?}", once.text);
            prop_assert_eq!(&template(&once.text, max).text, &once.text);
            prop_assert!(!template(&once.text, max).cut);
        }

        #[test]
        fn a_label_is_bounded_plain_and_its_own(text in line(), max in 0usize..80) {
            let once = clean_label(&text, max);
            prop_assert!(once.len() <= max && once.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b)), "{once}");
            prop_assert_eq!(clean_label(&once, max), once);
        }
    }
}
