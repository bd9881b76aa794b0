//! `init` and `show` of the built signer.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "these tests start no daemon")]
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use harness::Home;
use protocol::evidence::note::{VerifierKey, key_from_pem};

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn contents(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let name = entry.file_name().into_string().unwrap();
            (name, (mode, fs::read(entry.path()).unwrap()))
        })
        .collect()
}

#[test]
fn keeps_private_halves_private_and_public_halves_public() {
    let home = Home::new();
    for (name, (mode, _)) in contents(&home.path("state")) {
        let expected =
            if name.starts_with("head.") || name.ends_with(".log") { 0o600 } else { 0o400 };
        assert_eq!(mode, expected, "{name}");
    }
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(home.path("state")), 0o700);
    let public = contents(&home.path("public"));
    let names: Vec<&str> = public.keys().map(String::as_str).collect();
    assert_eq!(names, ["ca.pem", "evidence.pub", "evidence.vkey", "signing.pub", "signing.vkey"]);
    for (name, (mode, content)) in public {
        assert_eq!(mode, 0o644, "{name}");
        assert!(!String::from_utf8(content).unwrap().contains("PRIVATE"), "{name}");
    }
}

#[test]
fn the_vkeys_are_those_of_the_pem_files_under_two_names() {
    let home = Home::new();
    let read = |name: &str| fs::read_to_string(home.path("public").join(name)).unwrap();
    let log = VerifierKey::parse(read("signing.vkey").trim_end()).unwrap();
    let evidence = VerifierKey::parse(read("evidence.vkey").trim_end()).unwrap();
    assert_eq!(key_from_pem(&read("signing.pub")), Ok(*log.key()));
    assert_eq!(key_from_pem(&read("evidence.pub")), Ok(*evidence.key()));
    assert_eq!(evidence.name(), format!("{}/evidence", log.name()));
    assert_ne!(log.key(), evidence.key());
    let random = log.name().strip_prefix("waterwall.local/").unwrap();
    assert!(random.len() == 32 && random.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn a_second_init_changes_nothing() {
    let home = Home::new();
    let before = (contents(&home.path("state")), contents(&home.path("public")));
    let again = home.init(&[]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("kept the existing"));
    assert_eq!((contents(&home.path("state")), contents(&home.path("public"))), before);
}

#[test]
fn a_second_init_brings_back_public_files_and_refuses_foreign_ones() {
    let home = Home::new();
    let before = contents(&home.path("public"));
    fs::remove_file(home.path("public/signing.pub")).unwrap();
    assert!(home.init(&[]).status.success());
    assert_eq!(contents(&home.path("public")), before);

    fs::write(home.path("public/ca.pem"), "another CA").unwrap();
    let refused = home.init(&[]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(said(&refused).contains("public/ca.pem: is not of the keys"), "{}", said(&refused));
    assert_eq!(fs::read(home.path("public/ca.pem")).unwrap(), b"another CA");
}

#[test]
fn refuses_half_a_state_and_names_what_is_missing() {
    let home = Home::new();
    fs::remove_file(home.path("state/signing.key")).unwrap();
    let before = contents(&home.path("state"));
    let refused = home.init(&[]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(said(&refused).contains("but not signing.key: "), "{}", said(&refused));
    assert_eq!(contents(&home.path("state")), before);
}

#[test]
fn refuses_a_key_file_of_another_mode() {
    let home = Home::new();
    let key = home.path("state/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = home.init(&[]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(said(&refused).contains("mode 0644, must be 0400"), "{}", said(&refused));
}

#[test]
fn keeps_the_origin_it_was_given() {
    let home = Home::empty();
    let named = ["--origin", "audit.example.org/waterwall/host1"];
    assert!(home.init(&named).status.success());
    assert!(home.init(&named).status.success());
    assert_eq!(home.log_key().name(), "audit.example.org/waterwall/host1");
    let other = home.init(&["--origin", "another"]);
    assert_eq!(other.status.code(), Some(78));
    assert!(said(&other).contains("cannot become another"), "{}", said(&other));
}

#[test]
fn makes_nothing_from_a_bad_origin_or_hosts_file() {
    let home = Home::empty();
    assert_eq!(home.init(&["--origin", "two words"]).status.code(), Some(65));
    home.permit(&["api.openai.com", "10.0.0.1"]);
    let refused = home.init(&[]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(said(&refused).contains("hosts.yaml:3: hosts[1].host: an IP address"));
    assert!(!home.path("state").exists() || contents(&home.path("state")).is_empty());
    assert!(!home.path("public").exists());
}

#[test]
fn says_which_hosts_the_ca_does_not_cover_any_more() {
    let home = Home::new();
    home.permit(&["api.openai.com", "new.example"]);
    let again = home.init(&[]);
    assert!(again.status.success());
    assert!(said(&again).contains("the hosts file lists [api.openai.com, new.example]"));
}

#[test]
fn a_new_ca_covers_new_hosts_and_leaves_the_log_keys_alone() {
    let home = Home::new();
    let (state, public) = (contents(&home.path("state")), contents(&home.path("public")));
    home.permit(&["api.openai.com", "new.example"]);
    let made = home.run("regen-ca", &[]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(!said(&made).contains("warning:"), "{}", said(&made));
    let changed = |before: &BTreeMap<_, _>, after: BTreeMap<_, _>| {
        assert_eq!(before.len(), after.len());
        after.into_iter().filter(|(name, now)| before[name] != *now).map(|(name, _)| name).collect()
    };
    let changed_state: Vec<String> = changed(&state, contents(&home.path("state")));
    assert_eq!(changed_state, ["ca.key", "ca.pem"]);
    let changed_public: Vec<String> = changed(&public, contents(&home.path("public")));
    assert_eq!(changed_public, ["ca.pem"]);
    let again = home.init(&[]);
    assert!(again.status.success() && !said(&again).contains("warning:"), "{}", said(&again));
}

#[test]
fn makes_no_new_ca_where_there_are_no_keys() {
    let home = Home::empty();
    assert_eq!(home.run("regen-ca", &[]).status.code(), Some(66));
    assert!(!home.path("public").exists());
}

#[test]
fn shows_what_it_holds_and_no_secret() {
    let home = Home::new();
    let show = |more: &[&str]| {
        let mut command = home.signer(&["show", "--state"]);
        let output = command.arg(home.path("state")).args(more).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown: serde_json::Value = serde_json::from_str(&show(&["--json"])).unwrap();
    assert_eq!(shown["log_vkey"], home.log_key().to_string());
    assert_eq!(shown["ca"]["names"][1], "api.openai.com");
    assert_eq!(shown["head"]["size"], 0);
    let text = show(&[]);
    assert!(text.contains(&home.log_key().to_string()) && text.contains("api.openai.com"));
    for key in ["ca.key", "signing.key", "evidence.key"] {
        let pem = fs::read_to_string(home.path("state").join(key)).unwrap();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!text.contains(secret), "{key}");
    }
}

#[test]
fn usage_errors_are_told_apart_from_help() {
    let home = Home::empty();
    assert_eq!(home.signer(&["--help"]).output().unwrap().status.code(), Some(0));
    assert_eq!(home.signer(&["mint"]).output().unwrap().status.code(), Some(64));
    assert_eq!(home.init(&["--days", "0"]).status.code(), Some(64));
}
