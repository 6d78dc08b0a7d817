//! The fuzz target's corpus, replayed without a fuzzer.

use zc_testkit::explorer::{decode, replay_bytes};

#[test]
fn the_fuzzer_s_corpus_passes() {
    let _alone = zc_testkit::serial::serial();
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/copy");
    let (mut copies, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        copies += usize::from(decode(&bytes).is_some());
        if let Err(failure) = replay_bytes(&bytes) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{} fail, the first:\n{}", failures.len(), failures[0]);
    assert!(copies > 20, "only {copies} inputs are of copies");
}
