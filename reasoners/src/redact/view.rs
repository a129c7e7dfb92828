//! A text as it reads: without characters that nobody sees, with escapes decoded; each character knows where it came from.
//!
//! An editor breaks this by losing the way back: `places[i]` must cover all bytes of the text that made `chars[i]`.

/// A reading of a text.
pub(super) struct View {
    /// The characters, case kept.
    pub(super) chars: Vec<char>,
    /// The same in lower case, one for one.
    pub(super) low: Vec<char>,
    /// Where each came from: bytes of the text, `start..end`.
    pub(super) places: Vec<(usize, usize)>,
    /// Whether something unseen stood before it.
    pub(super) parted: Vec<bool>,
    /// Whether an unseen character parts what stands around it; otherwise it is as if it were not there.
    parts: bool,
    /// Whether there was one anywhere, and whether one stands before what comes next.
    unseen: (bool, bool),
}

/// How often escapes are decoded one over the other.
const DECODED_MAX: usize = 3;

impl View {
    fn with_capacity(chars: usize, parts: bool) -> View {
        let (seen, low, places) = (Vec::with_capacity(chars), Vec::with_capacity(chars), Vec::with_capacity(chars));
        View { chars: seen, low, places, parted: Vec::with_capacity(chars), parts, unseen: (false, false) }
    }

    fn push(&mut self, c: char, place: (usize, usize)) {
        let hidden = is_unseen(c);
        if hidden {
            self.unseen = (true, true);
        }
        if hidden && !self.parts {
            return;
        }
        let c = if hidden { ' ' } else { narrow(c) };
        self.chars.push(c);
        self.low.push(lower(c));
        self.places.push(place);
        self.parted.push(std::mem::take(&mut self.unseen.1));
    }

    /// As written, but for the unseen.
    fn plain(text: &str, parts: bool) -> View {
        let mut view = View::with_capacity(text.len(), parts);
        for (at, c) in text.char_indices() {
            view.push(c, (at, at + c.len_utf8()));
        }
        view
    }

    /// All readings: decoded as often as it changes, with unseen characters as nothing, and where there are some also as blanks.
    pub(super) fn all(text: &str) -> Vec<View> {
        let mut views = View::chain(text, false);
        if views.iter().any(|view| view.unseen.0) {
            views.extend(View::chain(text, true));
        }
        views
    }

    /// From as written to decoded as often as it changes.
    fn chain(text: &str, parts: bool) -> Vec<View> {
        let mut views = vec![View::plain(text, parts)];
        while views.len() <= DECODED_MAX
            && let Some(next) = views.last().and_then(View::decoded)
        {
            views.push(next);
        }
        views
    }

    /// With escapes decoded once; `None` if there are none.
    fn decoded(&self) -> Option<View> {
        let mut view = View::with_capacity(self.chars.len(), self.parts);
        let mut changed = false;
        let mut at = 0;
        while at < self.chars.len() {
            let (c, used) = match escape(&self.chars[at..]) {
                Some(found) => {
                    changed = true;
                    found
                }
                None => (self.chars[at], 1),
            };
            view.unseen.1 |= self.parted[at];
            view.push(c, (self.places[at].0, self.places[at + used - 1].1));
            at += used;
        }
        changed.then_some(view)
    }
}

/// How a text reads, for telling whether two are one: decoded, lower case.
pub(super) fn reads_as(text: &str) -> String {
    View::chain(text, false).last().map(|view| view.low.iter().collect()).unwrap_or_default()
}

/// One character of lower case for one; what becomes several keeps the first.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Full-width forms as their ASCII, other full stops as `.`, any blank as a blank; line ends stay.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3002}' | '\u{ff61}' => '.',
        '\n' | '\r' => c,
        _ if c.is_whitespace() => ' ',
        _ => c,
    }
}

/// Characters that take no room: controls, joiners, marks of direction, variation selectors, tags.
fn is_unseen(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' => true,
        '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e0fff}' => true,
        _ => c.is_control(),
    }
}

/// Tags spell ASCII that nobody sees.
pub(super) fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// The escape that a text begins with: what it means, and how many characters it has.
fn escape(chars: &[char]) -> Option<(char, usize)> {
    match chars.first()? {
        '%' => bytes(chars, &['%']),
        '\\' => match chars.get(1)? {
            'x' | 'X' => bytes(chars, &['\\', chars[1]]),
            'u' | 'U' => utf16(chars),
            'n' => Some(('\n', 2)),
            'r' => Some(('\r', 2)),
            't' => Some((' ', 2)),
            c @ ('"' | '\'' | '\\' | '/') => Some((*c, 2)),
            _ => None,
        },
        '&' => entity(chars),
        _ => None,
    }
}

fn hex(chars: &[char], digits: usize) -> Option<u32> {
    let part = chars.get(..digits)?;
    part.iter().try_fold(0, |sum, c| Some(sum * 16 + c.to_digit(16)?))
}

/// `%41`, `%C3%A4`, `\x41`: bytes of UTF-8; a byte that is none is the character of that number.
fn bytes(chars: &[char], mark: &[char]) -> Option<(char, usize)> {
    let width = mark.len() + 2;
    let byte = |n: usize| {
        let rest = chars.get(n * width..)?;
        rest.starts_with(mark).then_some(())?;
        hex(&rest[mark.len()..], 2).map(|byte| byte as u8)
    };
    let first = byte(0)?;
    let more = match first {
        0xc0..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf7 => 3,
        _ => 0,
    };
    let whole: Option<Vec<u8>> = (0..=more).map(byte).collect();
    let c = whole.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    Some(c.map_or((char::from(first), width), |c| (c, (more + 1) * width)))
}

/// `\u0041`, surrogates in pairs.
fn utf16(chars: &[char]) -> Option<(char, usize)> {
    let first = hex(chars.get(2..)?, 4)?;
    if (0xd800..0xdc00).contains(&first)
        && chars.get(6) == Some(&'\\')
        && let Some(second) = chars.get(8..).and_then(|rest| hex(rest, 4)).filter(|second| (0xdc00..0xe000).contains(second))
    {
        return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|c| (c, 12));
    }
    char::from_u32(first).map(|c| (c, 6))
}

/// `&#65;`, `&#x41;`, `&amp;`, `&quot;`.
fn entity(chars: &[char]) -> Option<(char, usize)> {
    let end = chars.iter().take(10).position(|c| *c == ';')?;
    let name: String = chars[1..end].iter().collect();
    let c = match name.to_ascii_lowercase().as_str() {
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        "lt" => '<',
        "gt" => '>',
        number => {
            let number = number.strip_prefix('#')?;
            let code = number.strip_prefix('x').map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())?;
            char::from_u32(code)?
        }
    };
    Some((c, end + 1))
}
