//! Which brace is the odd one: the indentation tells where the author thinks a block ends.

use homeostat_kernel::policy::survey::{Place, word_len};

/// The first `{` whose `}` stands at another indentation than its line, or that is not closed at all.
pub(super) fn odd(text: &str) -> Option<(Place, Option<Place>)> {
    let mut open: Vec<(Place, usize)> = Vec::new();
    for (row, line) in text.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let indent = chars.iter().take_while(|c| c.is_whitespace()).count();
        let mut at = indent;
        while let Some(c) = chars.get(at) {
            let place = Place { line: row + 1, column: at + 1, len: 1 };
            match c {
                '/' if chars.get(at + 1) == Some(&'/') => break,
                '"' | '`' => {
                    at += word_len(&chars[at..]);
                    continue;
                }
                '{' => open.push((place, indent)),
                '}' => match open.pop() {
                    // On one line nothing can be told.
                    Some((opened, outer)) if at == indent && opened.line != place.line && outer != indent => {
                        return Some((opened, Some(place)));
                    }
                    Some(_) => {}
                    None => return None,
                },
                _ => {}
            }
            at += 1;
        }
    }
    open.pop().map(|(place, _)| (place, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indentation_tells_which_block_is_open() {
        let text = "fn f() {\n    if a {\n        \"{\"; // {\n}\n";
        let (open, close) = odd(text).unwrap();
        assert_eq!((open.line, open.column), (2, 10));
        assert_eq!(close.map(|close| close.line), Some(4));
        assert_eq!(odd("fn f() { #{ a: 1 } }\nfn g() {\n}\n"), None);
        assert_eq!(odd("fn f() {\n").map(|(open, close)| (open.line, close)), Some((1, None)));
    }
}
