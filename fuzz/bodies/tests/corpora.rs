//! The kept inputs, and some made from them, through every target: what a fuzzer has found stays found.

use strait_fuzz_bodies::{TARGETS, corpora, corpus, mutator::Mutator};

#[test]
fn every_kept_input_holds() {
    for target in TARGETS {
        let corpus = corpus(target).unwrap();
        assert!(!corpus.is_empty(), "{} has no kept input: what would its runs begin with?", target.name);
        corpus.iter().for_each(|input| (target.body)(input));
    }
}

#[test]
fn inputs_made_from_them_hold() {
    for target in TARGETS {
        let corpus = corpus(target).unwrap();
        let mut mutator = Mutator::new(&corpus, 0x57A1);
        (0..2_000).for_each(|_| (target.body)(mutator.next_input()));
    }
}

#[test]
fn no_input_is_kept_for_a_target_that_is_gone() {
    for entry in std::fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "{}", name.display());
    }
}

#[test]
fn every_target_has_its_libfuzzer_binary() {
    let binaries = corpora().with_file_name("fuzz_targets");
    for target in TARGETS {
        let text = std::fs::read_to_string(binaries.join(format!("{}.rs", target.name))).unwrap();
        assert!(text.contains(&format!("\"{}\"", target.name)), "{}", target.name);
    }
    assert_eq!(std::fs::read_dir(binaries).unwrap().count(), TARGETS.len());
}
