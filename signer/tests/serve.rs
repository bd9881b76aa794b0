//! The built signer, confined, over real sockets.

#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Home, MINT_SECRET, SEAL_SECRET};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::evidence::checkpoint::Checkpoint;
use protocol::evidence::merkle::{Tree, leaf_hash};
use protocol::frame;
use protocol::hello::{Hello, LinkName, VERSION, Welcome};
use protocol::link::{Link, LinkError};
use protocol::{codec, mint, seal};
use rcgen::{KeyPair, PublicKeyData};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

fn leaf(host: &str, key: &KeyPair) -> mint::Request {
    mint::Request::Leaf { host: host.into(), public_key: key.subject_public_key_info() }
}

fn tree(leaves: u64) -> Tree {
    let mut tree = Tree::new();
    for leaf in 0..leaves {
        tree.append(leaf_hash(&leaf.to_be_bytes()));
    }
    tree
}

fn ask(tree: &Tree, old: u64, new: u64) -> seal::Request {
    seal::Request::SignCheckpoint {
        old_size: old,
        new_size: new,
        new_root: tree.root_at(new).unwrap(),
        proof: tree.consistency_proof(old, new).unwrap(),
        in_log: true,
    }
}

/// Reads to the end, which must come; gives what came before it.
fn until_closed(mut stream: UnixStream) -> Vec<u8> {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => heard,
    }
}

#[test]
fn a_client_that_trusts_the_ca_takes_a_leaf_from_the_socket() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut link = signer.mint();
    let names = ["api.anthropic.com", "api.openai.com"].map(String::from).to_vec();
    assert_eq!(link.call(&mint::Request::Names).unwrap(), mint::Reply::Names(names));

    let key = KeyPair::generate().unwrap();
    let mint::Reply::Leaf { certificate, not_after } =
        link.call(&leaf("api.openai.com", &key)).unwrap()
    else {
        panic!("no leaf");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(not_after > now.as_secs() && not_after <= now.as_secs() + 7 * 24 * 3600);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(home.path("public/ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let takes_it_for = |host: &'static str| {
        let leaf = CertificateDer::from(certificate.as_slice());
        let host = ServerName::try_from(host).unwrap();
        verifier.verify_server_cert(&leaf, &[], &host, &[], UnixTime::since_unix_epoch(now))
    };
    takes_it_for("api.openai.com").unwrap();
    takes_it_for("api.anthropic.com").unwrap_err();

    let issued = fs::read_to_string(home.path("state/issued.log")).unwrap();
    let fields: Vec<&str> = issued.trim_end().split(' ').collect();
    assert_eq!((fields.len(), fields[1]), (5, "api.openai.com"));
    assert_eq!(fields[3], not_after.to_string());
}

#[test]
fn refuses_names_and_keys_outside_the_policy_and_stays_open() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut link = signer.mint();
    let key = KeyPair::generate().unwrap();
    for host in
        ["evil.example", "sub.api.openai.com", "API.openai.com", "*.openai.com", "127.0.0.1"]
    {
        let refused = mint::Reply::Refused(mint::Refusal::NameNotPermitted);
        assert_eq!(link.call(&leaf(host, &key)).unwrap(), refused, "{host}");
    }
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let refused = mint::Reply::Refused(mint::Refusal::KeyNotAccepted);
    assert_eq!(link.call(&leaf("api.openai.com", &p384)).unwrap(), refused);
    assert_eq!(fs::read_to_string(home.path("state/issued.log")).unwrap(), "");
    assert!(matches!(link.call(&leaf("api.openai.com", &key)).unwrap(), mint::Reply::Leaf { .. }));
}

#[test]
fn signs_checkpoints_that_verify_and_remembers_them_through_kill_9() {
    let home = Home::new();
    let key = home.log_key();
    let tree = tree(40);
    let mut old = 0;
    for new in [1, 7, 7, 8, 40] {
        let signer = home.serve(&[]);
        assert_eq!(signer.status().size, old);
        let seal::Reply::Signed { signature, key_id } =
            signer.seal().call(&ask(&tree, old, new)).unwrap()
        else {
            panic!("not signed");
        };
        let root = tree.root_at(new).unwrap();
        let text = Checkpoint { origin: key.name().into(), size: new, root }.text();
        assert!(key.verifies(text.as_bytes(), signature.as_slice().try_into().unwrap()));
        assert_eq!(key_id, key.id());
        signer.kill();
        old = new;
    }
    let signer = home.serve(&[]);
    let refused = |request: &seal::Request| match signer.seal().call(request).unwrap() {
        seal::Reply::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&ask(&tree, 7, 40)), seal::Refusal::Conflict { size: 40 });
    let mut fork = ask(&tree, 40, 40);
    if let seal::Request::SignCheckpoint { new_root, .. } = &mut fork {
        new_root[0] ^= 1;
    }
    assert_eq!(refused(&fork), seal::Refusal::Fork);
    assert_eq!(signer.status().root, tree.root());
    let signed = fs::read_to_string(home.path("state/signed.log")).unwrap();
    let sizes: Vec<&str> = signed.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(sizes, ["1", "7", "7", "8", "40"]);
}

#[test]
fn sends_away_who_does_not_know_the_secret_or_opens_the_wrong_link() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut close = SEAL_SECRET;
    close[31] ^= 1;
    for secret in [close, MINT_SECRET, [0; 32]] {
        let error = signer.try_seal(&secret).unwrap_err();
        assert!(matches!(error, LinkError::Unwelcome(Welcome::WrongSecret)), "{error}");
    }
    let wrong: Result<harness::SealLink, _> =
        Link::connect(signer.dial("mint"), LinkName::Seal, &SEAL_SECRET, seal::CAP);
    let here = LinkName::Mint;
    assert!(
        matches!(wrong, Err(LinkError::Unwelcome(Welcome::WrongLink { here: h })) if h == here)
    );

    let hello = Hello { link: LinkName::Seal, version: VERSION, secret: [0; 32] };
    let mut stream = signer.dial("seal");
    stream.write_all(&frame::frame(&codec::encode(&hello), 128).unwrap()).unwrap();
    let status = codec::encode(&seal::Request::Status);
    let _ = stream.write_all(&frame::frame(&status, 128).unwrap());
    let welcome = frame::frame(&codec::encode(&Welcome::WrongSecret), 128).unwrap();
    assert_eq!(until_closed(stream), welcome, "nothing but the refusal is answered");
}

/// G06.
#[test]
fn says_nothing_to_another_user() {
    let home = Home::new();
    let other = (nix::unistd::geteuid().as_raw() + 1).to_string();
    let signer = home.serve(&["--auditd-uid", &other]);
    let mut stream = signer.dial("seal");
    let hello = Hello { link: LinkName::Seal, version: VERSION, secret: SEAL_SECRET };
    let _ = stream.write_all(&frame::frame(&codec::encode(&hello), 128).unwrap());
    assert_eq!(until_closed(stream), b"");
    signer.mint().call(&mint::Request::Names).unwrap();
    let (_, said) = signer.stop();
    assert!(said.contains("level=warn event=closed link=Seal cause=\"peer is uid"), "{said}");
}

/// G07: whatever comes, no crash and no signature.
#[test]
fn survives_random_half_and_oversize_frames() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let greeting = |link, secret| {
        let hello = Hello { link, version: VERSION, secret };
        frame::frame(&codec::encode(&hello), 128).unwrap()
    };
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // A request's first bytes, then anything.
        (0u8..3, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(verb, rest)| [
            vec![verb],
            rest
        ]
        .concat()),
    ];
    let piece = prop_oneof![
        4 => body.prop_map(|body| frame::frame(&body, 1 << 20).unwrap()),
        1 => any::<u32>().prop_map(|length| length.to_be_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let story = (any::<bool>(), any::<bool>(), prop::collection::vec(piece, 0..6));
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&story, |(mint, greeted, pieces)| {
            let (socket, link, secret) = if mint {
                ("mint", LinkName::Mint, MINT_SECRET)
            } else {
                ("seal", LinkName::Seal, SEAL_SECRET)
            };
            let mut stream = signer.dial(socket);
            if greeted {
                stream.write_all(&greeting(link, secret)).unwrap();
            }
            for piece in pieces {
                // The signer may have closed already.
                let _ = stream.write_all(&piece);
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            until_closed(stream);
            Ok(())
        })
        .unwrap();
    assert_eq!(signer.status().size, 0);
    assert_eq!(fs::read_to_string(home.path("state/signed.log")).unwrap(), "");
    assert_eq!(fs::read_to_string(home.path("state/issued.log")).unwrap(), "");
    let (status, _) = signer.stop();
    assert!(status.success());
}

#[test]
fn closes_on_a_frame_over_the_cap_before_its_body_comes() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut stream = signer.mint().into_stream();
    let length = u32::try_from(mint::CAP + 1).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    assert_eq!(until_closed(stream), b"");
}

#[test]
fn a_caller_that_stalls_in_mid_frame_holds_up_nobody() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let mut stream = signer.mint().into_stream();
        stream.write_all(&[0, 0, 0, 50, 1]).unwrap();
        stalled.push(stream);
        let mut stream = signer.seal().into_stream();
        stream.write_all(&[0, 0]).unwrap();
        stalled.push(stream);
    }
    signer.mint().call(&mint::Request::Names).unwrap();
    assert_eq!(signer.status().size, 0);
}

#[test]
fn a_caller_that_never_reads_is_not_served_without_end() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let mut greedy = signer.mint().into_stream();
    greedy.set_nonblocking(true).unwrap();
    let names = frame::frame(&codec::encode(&mint::Request::Names), mint::CAP).unwrap();
    // Full socket buffers in both directions mean that the signer has stopped listening to it.
    while greedy.write_all(&names).is_ok() {}
    signer.mint().call(&mint::Request::Names).unwrap();
}

#[test]
fn silent_strangers_do_not_take_the_places_of_those_who_know_the_secret() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let silent: Vec<UnixStream> = (0..100).map(|_| signer.dial("seal")).collect();
    assert_eq!(signer.status().size, 0);
    drop(silent);
}

#[test]
fn stops_on_sigterm_with_exit_code_0() {
    let home = Home::new();
    let signer = home.serve(&[]);
    let _open = signer.mint();
    let (status, said) = signer.stop();
    assert_eq!(status.code(), Some(0));
    let first = said.lines().next().unwrap();
    assert!(first.contains("event=ready") && first.contains("landlock abi"), "{first}");
}

#[test]
fn refuses_keys_that_others_can_read() {
    let home = Home::new();
    for key in ["ca.key", "signing.key", "evidence.key"] {
        let path = home.path("state").join(key);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let (code, said) = home.refuses_to_serve();
        assert_eq!(code, 77);
        assert!(said.contains(key) && said.contains("mode 0440, must be 0400"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }
    fs::set_permissions(home.path("state"), fs::Permissions::from_mode(0o750)).unwrap();
    let (code, said) = home.refuses_to_serve();
    assert_eq!(code, 77);
    assert!(said.contains("mode 0750, must be 0700"), "{said}");
}

#[test]
fn refuses_to_start_where_it_does_not_know_what_it_signed_last() {
    let home = Home::new();
    for slot in ["head.a", "head.b"] {
        fs::write(home.path("state").join(slot), "torn").unwrap();
    }
    let (code, said) = home.refuses_to_serve();
    assert_eq!(code, 65);
    assert!(said.contains("neither is whole"), "{said}");
}

#[test]
fn two_signers_never_share_a_state() {
    let home = Home::new();
    let other = tempfile::tempdir().unwrap();
    let running = home.serve(&[]);
    fs::rename(home.path("notify"), other.path().join("notify")).unwrap();
    let (code, said) = home.refuses_to_serve();
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("another signer uses it"), "{said}");
    drop(running);
}
