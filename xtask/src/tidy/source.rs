//! The code of a Rust file without what only looks like code: comments and the contents of literals.

/// `text` with comments and the contents of string and character literals replaced by spaces. Lines stay where they are.
pub(super) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = opaque_end(&chars, at);
        if end > at {
            masked.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        } else {
            masked.push(chars[at]);
            at += 1;
        }
    }
    masked
}

/// `code` with every item under `#[cfg(test)]` (or `#[cfg(all(test, …))]`) replaced by spaces.
pub(super) fn without_tests(code: &str) -> String {
    let mut rest: Vec<char> = code.chars().collect();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        let wanted: Vec<char> = attribute.chars().collect();
        let mut at = 0;
        while at + wanted.len() <= rest.len() {
            if rest[at..at + wanted.len()] == wanted[..] {
                let end = item_end(&rest, at);
                rest[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
                at = end;
            } else {
                at += 1;
            }
        }
    }
    rest.into_iter().collect()
}

/// The end of the item that begins at `at`: its closing brace, or its semicolon where it has no body.
fn item_end(code: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, c) in code.iter().enumerate().skip(at) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => {
                let follows = find(code, index + 1, |c| !c.is_whitespace());
                return follows.filter(|&next| code[next] == ';').unwrap_or(index) + 1;
            }
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

/// The end of the comment or literal that begins at `at`; `at` itself where there is none.
fn opaque_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied();
    match chars[at] {
        '/' if next(1) == Some('/') => find(chars, at, |c| c == '\n').unwrap_or(chars.len()),
        '/' if next(1) == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        // A lifetime is a quote that no second quote follows at once; an escape is a character in any case.
        '\'' if next(1) == Some('\\') => find(chars, at + 3, |c| c == '\'').map_or(chars.len(), |quote| quote + 1),
        '\'' if next(2) == Some('\'') => at + 3,
        'r' if !(at > 0 && is_word(chars[at - 1]) && chars[at - 1] != 'b') => raw_string_end(chars, at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> Option<usize> {
    (from..chars.len()).find(|&index| wanted(chars[index]))
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut index = at;
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                index += 1;
                continue;
            }
        }
        index += 2;
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut index = at + 1;
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let closes = |quote: usize| chars[quote + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (at + 2 + hashes..chars.len())
        .find(|&index| chars[index] == '"' && closes(index))
        .map_or(chars.len(), |quote| quote + 1 + hashes)
}

/// Whether `c` can be part of a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands in `line` as a whole word.
pub(super) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let squeezed = code(text).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, expected, "of {text:?}");
        assert_eq!(code(text).lines().count(), text.lines().count());
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"a("b \" c", d)"#, "a( , d)");
        check("a(r#\"b \" c\"#, r\"d\", br\"e\")", "a( , , b )");
        check(r"a('\'', 'b', '\u{1F}')", "a( , , )");
        check("a(\"b\nc\") d", "a( ) d");
    }

    #[test]
    fn lifetimes_and_names_are_code() {
        check("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}");
        check("for r in ring.r { }", "for r in ring.r { }");
    }

    #[test]
    fn tests_are_cut_out_and_what_follows_stays() {
        let text = "a\n#[cfg(test)]\nmod tests {\n fn b() { c }\n}\n#[cfg(test)]\nuse d::{e};\nf";
        let left = without_tests(&code(text));
        assert_eq!(left.split_whitespace().collect::<Vec<_>>().join(" "), "a f");
        assert_eq!(left.lines().count(), text.lines().count());
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("load(Relaxed, Relaxed)", "Relaxed").collect::<Vec<_>>(), [5, 14]);
        assert_eq!(words("mutant!(head_Relaxed, RelaxedNot)", "Relaxed").count(), 0);
    }
}
