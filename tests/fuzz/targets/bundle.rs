//! Bundles: any bytes as an archive, and any files in a sound one (each `NAME`, LF, content, with a
//! NUL between two). What is read is what is written; manifest and note have one spelling each; and
//! nothing verifies, because the golden log's evidence key signed no bundle.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use protocol::evidence::archive::{Reader, Writer};
use protocol::evidence::bundle::{Manifest, Statement};
use protocol::evidence::verify::{BundleOptions, PinnedKey, Verdict, verify_bundle};

const KEY: &str = include_str!("../../vectors/evidence/log.vkey");

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.encode().as_deref(), Ok(bytes));
    }
    if let Ok((statement, note)) = Statement::of_note(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        assert_eq!(statement.text(), note.text);
    }
    unpack(bytes);
    refuse(bytes);
    let files: Vec<(&str, &[u8])> = bytes.split(|byte| *byte == 0).filter_map(file).collect();
    let mut writer = Writer::new(Vec::new());
    let mut written = Vec::new();
    for (name, content) in files {
        if writer.member(name, content).is_ok() {
            written.push((name.to_owned(), content.to_vec()));
        }
    }
    let packed = writer.finish().expect("memory takes all");
    assert_eq!(unpack(&packed), Some(written));
    refuse(&packed);
});

fn file(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Every member, if all of the archive is sound.
fn unpack(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut reader = Reader::new(bytes);
    let mut members = Vec::new();
    while let Some(member) = reader.next_member().ok()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).ok()?;
        assert_eq!(content.len() as u64, member.size);
        members.push((member.name, content));
    }
    Some(members)
}

fn refuse(bytes: &[u8]) {
    let options = BundleOptions {
        pinned: PinnedKey::parse(KEY).expect("the golden key"),
        anchors: Vec::new(),
        previous: None,
        strict: false,
    };
    let open = || Ok(Box::new(bytes) as Box<dyn Read>);
    let report = verify_bundle(&open, &options);
    assert_ne!(report.verdict, Verdict::Ok);
    assert!(report.code.is_some() && report.head.is_none());
}
