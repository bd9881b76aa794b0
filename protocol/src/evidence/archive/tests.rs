use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder};

use super::write::header;
use super::*;

type Contents = Vec<(String, Vec<u8>)>;

fn members(archive: &[u8]) -> Result<Contents, ArchiveError> {
    let mut reader = Reader::new(archive);
    let mut found = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(ArchiveError::Io)?;
        assert_eq!(bytes.len() as u64, member.size);
        found.push((member.name, bytes));
    }
    Ok(found)
}

fn written(contents: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, bytes) in contents {
        writer.member(name, bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

/// A tar stream of one member, before its end.
fn tar(header: &[u8; BLOCK], bytes: &[u8]) -> Vec<u8> {
    let mut tar = [header.as_slice(), bytes].concat();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of `a` with one change, and a sum that fits it.
fn changed(change: impl FnOnce(&mut [u8; BLOCK])) -> [u8; BLOCK] {
    let mut header = header("a", 0).unwrap();
    change(&mut header);
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn refused(archive: &[u8]) -> bool {
    matches!(members(archive), Err(ArchiveError::Form(_)))
}

#[test]
fn reads_back_what_it_writes_and_writes_the_same_bytes() {
    let contents: [(&str, &[u8]); 4] =
        [("MANIFEST.note", b"x"), ("a/b/c.json", b""), ("d", &[7; 512]), ("e", &[8; 100_000])];
    let archive = written(&contents);
    let expected: Contents =
        contents.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    assert_eq!(members(&archive).unwrap(), expected);
    assert_eq!(archive, written(&contents));
    assert_eq!(members(&written(&[])).unwrap(), []);
}

#[test]
fn skips_what_nobody_reads() {
    let archive = written(&[("a", &[1; 5000]), ("b", b"2")]);
    let mut reader = Reader::new(archive.as_slice());
    reader.next_member().unwrap();
    assert_eq!(reader.next_member().unwrap().unwrap().name, "b");
    assert!(reader.next_member().unwrap().is_none());
}

/// Stock tools make and read this very kind.
#[test]
fn agrees_with_gnu_tar() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log")).unwrap();
    std::fs::write(folder.path().join("log/proxy.jsonl"), [9; 700]).unwrap();
    let run = |arguments: &[&str]| {
        let ran = std::process::Command::new("tar").args(arguments).current_dir(&folder).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    };
    let made = run(&[
        "--format=ustar",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=0644",
        "-cf",
        "-",
        "log/proxy.jsonl",
    ]);
    let expected = vec![("log/proxy.jsonl".to_owned(), vec![9; 700])];
    assert_eq!(members(&gzip(&made)).unwrap(), expected);
    let ours = written(&[("a", &[1; 700]), ("log/b", b"2")]);
    std::fs::write(folder.path().join("ours.tar.gz"), ours).unwrap();
    assert_eq!(run(&["-tzf", "ours.tar.gz"]), b"a\nlog/b\n");
}

#[test]
fn refuses_names_that_lead_elsewhere_e09() {
    for name in ["../x", "/x", "a//b", "a/../b", "./a", "a/", "", "a b", "a\\b", "a\u{e9}"] {
        assert_eq!(header(name, 0), None, "{name}");
        let mut bytes = [0; 100];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let header = changed(|header| header[..100].copy_from_slice(&bytes));
        assert!(refused(&gzip(&[tar(&header, b""), END.to_vec()].concat())), "{name}");
    }
    assert_eq!(header(&"a".repeat(101), 0), None);
    assert!(Writer::new(Vec::new()).member("../x", b"").is_err());
}

#[test]
fn refuses_every_kind_but_plain_files_e09_e10() {
    for kind in b"\x00123456789xgLKSMVD" {
        let header = changed(|header| header[156] = *kind);
        assert!(refused(&gzip(&[tar(&header, b""), END.to_vec()].concat())), "{kind}");
    }
    // The unchanged header is taken, so it was the change that was refused.
    assert!(!refused(&gzip(&[tar(&changed(|_| {}), b""), END.to_vec()].concat())));
}

#[test]
fn refuses_every_other_header_e10() {
    let good = header("a", 3).unwrap();
    for at in 0..BLOCK {
        for bit in [1, 0x80] {
            let mut header = good;
            header[at] ^= bit;
            let archive = gzip(&[tar(&header, b"abc"), END.to_vec()].concat());
            let taken = members(&archive).is_ok();
            assert!(!taken, "byte {at}");
        }
    }
    for (at, bytes) in [(345, &b"p"[..]), (265, b"root"), (257, b"ustar  \0"), (124, b"\x80\0\0")] {
        let header = changed(|header| header[at..at + bytes.len()].copy_from_slice(bytes));
        assert!(refused(&gzip(&[tar(&header, b""), END.to_vec()].concat())), "{at}");
    }
}

#[test]
fn refuses_what_follows_the_end_or_does_not_come_to_it_e11() {
    let one = tar(&header("a", 0).unwrap(), b"");
    let good = gzip(&[one.clone(), END.to_vec()].concat());
    assert!(members(&good).is_ok());
    let padded = |zeros: usize| gzip(&[one.clone(), END.to_vec(), vec![0; zeros]].concat());
    assert!(members(&padded(RECORD)).is_ok());
    assert!(refused(&padded(RECORD + 1)));
    assert!(refused(&[good.clone(), good.clone()].concat()), "a second gzip member");
    assert!(refused(&[good.as_slice(), b"\0"].concat()), "a trailing byte");
    for cut in 0..good.len() {
        assert!(refused(&good[..cut]), "cut at {cut}");
    }
    let mut bad_sum = good.clone();
    *bad_sum.last_mut().unwrap() ^= 1;
    assert!(refused(&bad_sum));
    assert!(refused(&gzip(&one)), "no end");
    assert!(refused(&gzip(&[one.clone(), vec![0; BLOCK]].concat())), "half an end");
    let more = tar(&header("b", 0).unwrap(), b"");
    assert!(refused(&gzip(&[one.clone(), vec![0; BLOCK], more.clone()].concat())));
    assert!(refused(&gzip(&[one, END.to_vec(), more].concat())));
    let mut stained = tar(&header("a", 3).unwrap(), b"abc");
    stained[BLOCK + 3] = 1;
    assert!(refused(&gzip(&[stained, END.to_vec()].concat())), "padding");
}

#[test]
fn refuses_gzip_headers_with_more_in_them() {
    let tar = [tar(&header("a", 0).unwrap(), b""), END.to_vec()].concat();
    for builder in [
        GzBuilder::new().filename("x"),
        GzBuilder::new().comment("x"),
        GzBuilder::new().extra(&b"x"[..]),
        GzBuilder::new().mtime(1),
    ] {
        let mut gzip = builder.write(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        assert!(refused(&gzip.finish().unwrap()));
    }
}

/// A stream without end that would unpack to terabytes.
#[test]
fn stops_unpacking_what_becomes_too_much_e12() {
    let member = header("zeros", MAX_MEMBER).unwrap();
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&member).unwrap();
    io::copy(&mut io::repeat(0).take(64 * 1024 * 1024), &mut gzip).unwrap();
    let archive = gzip.finish().unwrap();
    let mut reader = Reader::new(archive.as_slice());
    reader.next_member().unwrap();
    let mut read = 0;
    let refused = loop {
        let mut chunk = [0; 65_536];
        match reader.read(&mut chunk) {
            Ok(count) => read += count,
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("exceeds a limit"), "{refused}");
    assert!(read < 17 * 1024 * 1024, "{read}");
    let long = header("a", MAX_MEMBER + 1).unwrap();
    assert!(matches!(members(&self::gzip(&tar(&long, b""))), Err(ArchiveError::Limit(_))));
}

#[test]
fn writes_exactly_the_bytes_it_announced() {
    let mut writer = Writer::new(Vec::new());
    writer.begin("a", 2).unwrap();
    assert!(writer.write_all(b"abc").is_err());
    let mut writer = Writer::new(Vec::new());
    writer.begin("a", 2).unwrap();
    writer.write_all(b"a").unwrap();
    assert!(writer.begin("b", 0).is_err());
    assert!(writer.finish().is_err());
}

#[test]
fn reads_the_longest_name_that_it_writes() {
    for length in [99, 100] {
        let name = "n".repeat(length);
        let mut writer = Writer::new(Vec::new());
        writer.member(&name, b"x").unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(reader.next_member().unwrap(), Some(Member { name, size: 1 }));
        assert_eq!(reader.next_member().unwrap(), None);
    }
    assert!(Writer::new(Vec::new()).member(&"n".repeat(101), b"x").is_err());
}
