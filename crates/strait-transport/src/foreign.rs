//! Text that a peer sent: it ends up in errors, and those in logs and on terminals.

/// Whether a terminal obeys a character instead of showing it: control characters, and those that change the direction of what
/// follows. Source of the second: Unicode Standard Annex 9, section 2 (directional formatting characters).
pub fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}
