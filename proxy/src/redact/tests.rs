//! Sentences about whole bodies.

use super::*;

#[test]
fn the_built_in_set_passes_its_own_examples() {
    let policy = Policy::built_in().unwrap_or_else(|error| panic!("{error}"));
    assert!(policy.pattern_count() >= 32);
}

#[test]
fn the_compiled_set_is_small() {
    let policy = Policy::built_in().unwrap();
    let bytes = policy.scanner.memory();
    println!("compiled patterns: {} KiB", bytes / 1024);
    assert!(bytes < 4 << 20, "{bytes}");
}

#[test]
fn redaction_and_restoration_name_no_runtime() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![source.join("redact"), source.join("restore")];
    let (own, mut read) = (file!().rsplit('/').next().unwrap(), 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with(own) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("tokio") && !text.contains("hyper"), "{}", path.display());
            read += 1;
        }
    }
    assert!(read > 10);
}
