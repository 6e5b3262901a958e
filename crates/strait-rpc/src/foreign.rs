//! Text that a peer sent: it ends up in errors, and those in logs and on terminals.

use strait_transport::is_obeyed;

/// Longest text of a peer's in an error, in characters.
const MAX_CHARS: usize = 512;

/// A peer's text on one line, cut to what an error has room for, and without what a terminal would obey: control characters,
/// and those that change the direction of what follows, are spelled out.
pub(crate) fn tame(text: &str) -> String {
    tame_to(text, MAX_CHARS)
}

/// As [`tame`], of at most `max` characters before they are spelled out.
pub(crate) fn tame_to(text: &str, max: usize) -> String {
    let mut tamed = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(max) {
        match c {
            '\n' | '\r' | '\t' => tamed.push(' '),
            c if is_obeyed(c) => tamed.extend(c.escape_default()),
            c => tamed.push(c),
        }
    }
    if chars.next().is_some() {
        tamed.push('\u{2026}');
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out_and_the_rest_stays() {
        assert_eq!(tame("e\u{301} it's \"\u{e4}\u{e9}\" \\ 日本"), "e\u{301} it's \"\u{e4}\u{e9}\" \\ 日本");
        assert_eq!(tame("a\x1b[2Jb\n\u{202e}c\u{9b}\0"), "a\\u{1b}[2Jb \\u{202e}c\\u{9b}\\u{0}");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(tame_to("abc", 3), "abc");
        assert_eq!(tame_to("abcd", 3), "abc\u{2026}");
        assert_eq!(tame(&"\0".repeat(1 << 20)).len(), r"\u{0}".len() * MAX_CHARS + '\u{2026}'.len_utf8());
    }
}
