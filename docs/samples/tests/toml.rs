//! What is TOML on the pages is a configuration that strait takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};
use strait::Config;

/// The code of the fences of `text` that are TOML.
fn samples(text: &str) -> Vec<String> {
    let mut samples = Vec::new();
    let mut inside = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if &*info == "toml" => {
                inside = true;
                samples.push(String::new());
            }
            Event::Text(text) if inside => samples.last_mut().unwrap().push_str(&text),
            Event::End(_) => inside = false,
            _ => {}
        }
    }
    samples
}

/// What is wrong with the first sample that strait does not take.
fn wrong(text: &str) -> Option<String> {
    samples(text).iter().find_map(|sample| Config::from_toml(sample).err()).map(|error| error.to_string())
}

fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = [docs.to_path_buf(), docs.join("guide")].into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

#[test]
fn every_configuration_of_the_pages_is_one() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        assert_eq!(wrong(&text), None, "in {}", page.display());
        seen += samples(&text).len();
    }
    assert!(seen >= 2, "only {seen} samples: are the pages where they were?");
}

#[test]
fn a_configuration_that_is_none_is_found() {
    assert_eq!(wrong("```toml\nring_bytes = 65536\n```\n\n```text\nnothing\n```\n"), None);
    assert!(wrong("```toml\nring_byte = 65536\n```\n").unwrap().contains("ring_byte"));
    assert!(wrong("a\n\n```toml\nspin_us = 1\n```\n\n```toml\nring_bytes = 5000\n```\n").unwrap().contains("5000"));
}
