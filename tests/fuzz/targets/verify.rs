//! Whole logs: files of any content under any name, each read as `NAME`, LF, content, with a NUL
//! between two. Only the golden log was ever signed with the key that is pinned, so nothing is `OK`
//! that is not the golden log as far as a signature of it goes. No segment is read twice.
#![no_main]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use protocol::evidence::verify::{Options, PinnedKey, Source, Verdict, verify_chain};

const GOLDEN: &[u8] = include_bytes!("../../vectors/evidence/log/proxy.jsonl");
const KEY: &str = include_str!("../../vectors/evidence/log.vkey");

/// The example key of c2sp.org/signed-note, which never signed a log.
const STRANGER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

struct Files<'b> {
    files: BTreeMap<String, &'b [u8]>,
    /// Bytes read of segments.
    read: Cell<usize>,
}

struct Counted<'f, 'b> {
    rest: &'b [u8],
    read: &'f Cell<usize>,
}

impl Read for Counted<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(into)?;
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}

impl Source for Files<'_> {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.files.get(name).map(|bytes| -> Box<dyn Read> {
            if is_segment(name) {
                Box::new(Counted { rest: bytes, read: &self.read })
            } else {
                Box::new(*bytes)
            }
        }))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let files: BTreeMap<String, &[u8]> = bytes
        .split(|byte| *byte == 0)
        .filter_map(|file| {
            let end = file.iter().position(|byte| *byte == b'\n')?;
            Some((str::from_utf8(&file[..end]).ok()?.to_owned(), &file[end + 1..]))
        })
        .collect();
    let segments: Vec<&[u8]> =
        files.iter().filter(|(name, _)| is_segment(name)).map(|(_, bytes)| *bytes).collect();
    let size: usize = segments.iter().map(|segment| segment.len()).sum();

    let named = PinnedKey::parse(KEY).expect("the golden key");
    let PinnedKey::Named(key) = &named else { unreachable!("a vkey has a name") };
    for pinned in [PinnedKey::Bare(*key.key()), named.clone()] {
        for live in [false, true] {
            let source = Files { files: files.clone(), read: Cell::new(0) };
            let options = Options { live, ..Options::new(pinned.clone()) };
            let report = verify_chain(&source, &options);
            assert!(source.read.get() <= size);
            assert_eq!(report.verdict == Verdict::Ok, report.code.is_none());
            if report.verdict == Verdict::Ok {
                assert!(report.signed_size > 0 && report.signed_size <= report.tree_size);
                let signed = usize::try_from(report.signed_size).expect("a line is a byte or more");
                let golden = GOLDEN.split(is_lf).take(signed);
                // Of several segments, debris may lie between them.
                assert!(segments.len() > 1 || segments[0].split(is_lf).take(signed).eq(golden));
            }
        }
    }
    let stranger = Options::new(PinnedKey::parse(STRANGER).expect("a published key"));
    let source = Files { files, read: Cell::new(0) };
    assert_ne!(verify_chain(&source, &stranger).verdict, Verdict::Ok);
});

fn is_segment(name: &str) -> bool {
    name.ends_with(".jsonl")
}

fn is_lf(byte: &u8) -> bool {
    *byte == b'\n'
}
