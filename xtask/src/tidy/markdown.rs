//! A Markdown page, taken apart: where it leads, where one can lead to, and what it shows.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{BrokenLink, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// What the checks ask of a page. Lines count from 1.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The targets of links and images, with their lines.
    pub(super) links: Vec<(usize, String)>,
    /// The names of references that nothing defines, with their lines.
    pub(super) undefined: Vec<(usize, String)>,
    /// What a `#` can lead to.
    pub(super) anchors: BTreeSet<String>,
    /// Headings that are called as one before them, with their lines.
    pub(super) repeated: Vec<(usize, String)>,
    /// Code blocks between fences.
    pub(super) fences: Vec<Fence>,
    /// Code inside a line, with its line.
    pub(super) spans: Vec<(usize, String)>,
}

/// A code block between fences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence {
    /// The line of its first line of code.
    pub(super) line: usize,
    /// What stands behind the opening fence, such as `rust,no_run`.
    pub(super) info: String,
    /// The code.
    pub(super) code: String,
}

impl Fence {
    /// The first word of `info`.
    pub(super) fn language(&self) -> &str {
        self.info.split([',', ' ']).next().unwrap_or_default()
    }
}

impl Page {
    /// Takes `text` apart.
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut undefined = Vec::new();
        let mut note = |broken: BrokenLink<'_>| {
            // Brackets alone are brackets; two pairs of them, or an empty second one, are meant as a link.
            if matches!(broken.link_type, LinkType::Reference | LinkType::Collapsed) {
                undefined.push((line_of(text, broken.span.start), broken.reference.to_string()));
            }
            None
        };
        let parser = Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(&mut note));
        let definitions = parser.reference_definitions().iter();
        page.links.extend(definitions.map(|(_, to)| (line_of(text, to.span.start), to.dest.to_string())));
        let (mut heading, mut fence) = (None::<String>, None::<Fence>);
        let mut slugs = Slugs::default();
        for (event, span) in parser.into_offset_iter() {
            let line = || line_of(text, span.start);
            match event {
                Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) => {
                    if matches!(link_type, LinkType::Inline | LinkType::Autolink | LinkType::Email) {
                        let scheme = if link_type == LinkType::Email { "mailto:" } else { "" };
                        page.links.push((line(), format!("{scheme}{dest_url}")));
                    }
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let heading = heading.take().unwrap_or_default();
                    let (slug, is_first) = slugs.next(&heading);
                    page.anchors.insert(slug);
                    if !is_first {
                        page.repeated.push((line(), heading));
                    }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    fence = Some(Fence { line: line() + 1, info: info.to_string(), code: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.fences.extend(fence.take()),
                Event::Text(text) => match (&mut heading, &mut fence) {
                    (_, Some(fence)) => fence.code.push_str(&text),
                    (Some(heading), None) => heading.push_str(&text),
                    (None, None) => {}
                },
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.spans.push((line(), code.to_string()));
                }
                Event::Html(html) | Event::InlineHtml(html) => page.anchors.extend(named(&html)),
                _ => {}
            }
        }
        page.links.sort();
        page.undefined = undefined;
        page
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The names that tags give to places: `<a id="here">`.
fn named(html: &str) -> impl Iterator<Item = String> + '_ {
    let values = ["id=\"", "name=\""].into_iter().flat_map(|key| html.split(key).skip(1));
    values.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned())
}

/// Headings as GitHub and mdBook name them.
#[derive(Default)]
struct Slugs {
    seen: BTreeMap<String, usize>,
}

impl Slugs {
    /// The name of a heading, and whether it is the first of that name: others get a number.
    fn next(&mut self, heading: &str) -> (String, bool) {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let count = self.seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { (slug, true) } else { (format!("{slug}-{}", *count - 1), false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_named_tags_can_be_led_to() {
        let page = Page::parse(
            "# What `a` is: the 1st!\n\n## Twice\n\nx <a id=\"here\"></a>\n\n## Twice\n\n```text\n# not one\n```\n",
        );
        let anchors: Vec<_> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["here", "twice", "twice-1", "what-a-is-the-1st"]);
        assert_eq!(page.repeated, [(7, "Twice".to_owned())]);
    }

    #[test]
    fn links_of_every_kind_have_their_lines() {
        let page = Page::parse("[a](b) ![c](d)\n[e][f] `[g](h)`\n<https://i.j> <k@l.m>\n\n[f]: n \"title\"\n");
        let links: Vec<_> = page.links.iter().map(|(line, to)| (*line, to.as_str())).collect();
        assert_eq!(links, [(1, "b"), (1, "d"), (3, "https://i.j"), (3, "mailto:k@l.m"), (5, "n")]);
        assert_eq!(page.spans, [(2, "[g](h)".to_owned())]);
    }

    #[test]
    fn references_that_nothing_defines_are_noted_and_brackets_are_not() {
        let page = Page::parse("[a] and\n[b][c]\n\n[d][]\n");
        assert_eq!(page.undefined, [(2, "c".to_owned()), (4, "d".to_owned())]);
    }

    #[test]
    fn fences_are_taken_out_whole() {
        let page = Page::parse("a\n```rust,no_run\nb\n\nc\n```\n\n- d\n\n  ```sh\n  e\n  ```\n");
        let fence = |line, info: &str, code: &str| Fence { line, info: info.to_owned(), code: code.to_owned() };
        assert_eq!(page.fences, [fence(3, "rust,no_run", "b\n\nc\n"), fence(11, "sh", "e\n")]);
        assert_eq!(page.fences[0].language(), "rust");
    }
}
