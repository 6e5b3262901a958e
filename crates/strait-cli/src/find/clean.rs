//! Text from elsewhere, made fit for a terminal: command lines and names of memory are what their process wants.

use unicode_width::UnicodeWidthChar;

/// What stands for a character that is not shown, and for bytes that are none.
const HIDDEN: char = '·';

/// `bytes` as at most `max_chars` characters, each of which takes its place on the line and does nothing else.
pub(crate) fn clean(bytes: &[u8], max_chars: usize) -> String {
    // No character has more than four bytes: what lies behind is not even decoded.
    let bytes = &bytes[..bytes.len().min(max_chars.saturating_mul(4))];
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: char| if is_harmless(c) { c } else { HIDDEN };
    text.chars().take(max_chars).map(shown).collect()
}

/// Whether a character takes its place on a line and does nothing else.
///
/// No control has a width, and what is invisible, joins the character before it or turns the direction of the line has none.
fn is_harmless(c: char) -> bool {
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    c.width().is_some_and(|columns| columns > 0) && !breaks && c != char::REPLACEMENT_CHARACTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(clean(b"\x1b[2Jred\x07\r\n\x7f", 99), "·[2Jred····");
        assert_eq!(clean("\u{9b}31m".as_bytes(), 99), "·31m", "the C1 form of an escape sequence");
        assert_eq!(clean("a\u{202E}b\u{2066}c\u{200B}d\u{E0041}".as_bytes(), 99), "a·b·c·d·");
        assert_eq!(clean("a\u{0301}\u{0301}".as_bytes(), 99), "a··");
    }

    #[test]
    fn text_stays_as_it_is_and_bytes_that_are_none_are_replaced() {
        assert_eq!(clean("trader --naïve 日本".as_bytes(), 99), "trader --naïve 日本");
        assert_eq!(clean(b"a\xffb\xc3", 99), "a·b·");
    }

    #[test]
    fn no_text_is_longer_than_asked_for() {
        assert_eq!(clean(&[b'x'; 1 << 20], 5), "xxxxx");
        assert_eq!(clean("äöüß".as_bytes(), 2), "äö");
        assert_eq!(clean(b"abc", 0), "");
    }
}
