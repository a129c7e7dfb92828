//! The known name that is nearest to a misspelt one.
//!
//! Deliberately absent: meaning; letters are compared. An editor breaks this by letting it answer where nothing is near.

/// Edits between two texts (Levenshtein, Wagner and Fischer 1974), over characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The nearest of `known`, if one is within a third of the longer one's letters.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given: String = given.chars().take(64).collect::<String>().to_lowercase();
    let rated = known.into_iter().map(|name| (edits(&given, name), name));
    rated.min().filter(|(edits, name)| *edits * 3 <= name.chars().count().max(given.chars().count())).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_other_words_are_not() {
        let known = ["list_actions", "list_incidents", "status"];
        assert_eq!(nearest("list_action", known), Some("list_actions"));
        assert_eq!(nearest("Lst_Incidents", known), Some("list_incidents"));
        assert_eq!(nearest("approve", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "abc")), (3, 3, 0));
    }
}
