//! Receipts and bundles: made by the running daemons, checked by whoever has nothing but a key.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::agent::Agent;
use harness::executables::executable;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, said};
use serde_json::Value;

const URL: &str = "https://api.anthropic.com/v1/messages";

/// Another machine: none of our folders, no configuration, nothing in the environment.
struct Elsewhere(tempfile::TempDir);

impl Elsewhere {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A copy of `file`.
    fn given(&self, file: &Path) -> PathBuf {
        let copy = self.0.path().join(file.file_name().expect("a file"));
        std::fs::copy(file, &copy).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        copy
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut ctl = Command::new(executable("waterwall-ctl"));
        ctl.args(arguments).env_clear().current_dir(&self.0);
        ctl.output().expect("waterwall-ctl runs")
    }

    fn verify(&self, bundle: &Path, more: &[&str]) -> (i32, Value) {
        let bundle = bundle.to_str().expect("UTF-8");
        let ran = self.ctl(
            &[&["verify-evidence", bundle, "--pubkey", "signing.pub", "--json"], more].concat(),
        );
        let told = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", said(&ran)));
        (ran.status.code().expect("an exit code"), told)
    }

    /// The recipe that lies in the bundle.
    fn verify_with_stock_tools(&self, bundle: &Path) -> Output {
        let script = self.0.path().join("VERIFY.txt");
        let unpacked = Command::new("tar").arg("-xzOf").arg(bundle).arg("VERIFY.txt").output();
        std::fs::write(&script, unpacked.expect("tar runs").stdout).expect("a script");
        let mut recipe = Command::new("bash");
        recipe.arg(&script).arg(bundle).arg("signing.pub").current_dir(&self.0);
        recipe.output().expect("bash runs")
    }
}

async fn some_traffic(waterwall: &Waterwall) {
    let agent = Agent::new(waterwall);
    for text in [secrets::AWS, "clean", secrets::GITHUB, "clean too"] {
        agent.post_json(URL, &SHAPES[0].request(text)).await;
    }
}

fn export(waterwall: &Waterwall, folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let out = path.to_str().expect("UTF-8");
    let ran = waterwall.ctl(&[&["export-evidence", "--out", out], more].concat());
    assert!(ran.status.success(), "{name}: {}", said(&ran));
    path
}

/// E01, E24: what a bundle proves, it proves offline and on another machine.
#[tokio::test(flavor = "multi_thread")]
async fn e01_e24_bundles_verify_elsewhere_with_a_key_alone_and_with_stock_tools() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    some_traffic(&waterwall).await;
    let folder = tempfile::tempdir().expect("a folder");
    let redaction = waterwall.lines("redaction")[0]["seq"].to_string();
    let day = &waterwall.log()[0]["ts"].as_str().expect("a time")[..10].to_owned();
    let full = export(&waterwall, folder.path(), "full.tar.gz", &["--purpose", "test"]);
    let bundles = [
        ("full", full.clone()),
        ("range", export(&waterwall, folder.path(), "range.tar.gz", &["--seq", "3-6"])),
        ("range", export(&waterwall, folder.path(), "day.tar.gz", &["--since", day])),
        ("selection", export(&waterwall, folder.path(), "one.tar.gz", &["--lines", &redaction])),
    ];
    let exports = waterwall.lines("export");
    assert_eq!(exports.len(), 4);
    assert_eq!(exports[0]["purpose"], "test");
    waterwall.down();
    assert_eq!(waterwall.verify_chain().status.code(), Some(0));

    let elsewhere = Elsewhere::new();
    elsewhere.given(&waterwall.path("etc/signing.pub"));
    for (scope, bundle) in bundles {
        let bundle = elsewhere.given(&bundle);
        let (code, told) = elsewhere.verify(&bundle, &[]);
        assert_eq!((code, &told["scope"]), (0, &scope.into()), "{told}");
        let recipe = elsewhere.verify_with_stock_tools(&bundle);
        assert_eq!(recipe.status.code(), Some(0), "{scope}: {}", said(&recipe));
        if scope != "full" {
            let (code, told) = elsewhere.verify(&bundle, &["--previous", "full.tar.gz"]);
            // Each was exported after the full one, and does not say how it extends it.
            assert_eq!((code, &told["code"]), (3, &"E_NO_CONSISTENCY".into()), "{told}");
        }
    }
    let unasked = elsewhere.ctl(&["verify-evidence", "full.tar.gz"]);
    assert_eq!(unasked.status.code(), Some(2));
    assert!(said(&unasked).contains("a pinned key is required"), "{}", said(&unasked));
}

#[tokio::test(flavor = "multi_thread")]
async fn c08_a_later_bundle_proves_that_it_extends_an_earlier_one() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    some_traffic(&waterwall).await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = export(&waterwall, folder.path(), "first.tar.gz", &[]);
    some_traffic(&waterwall).await;
    let since = ["--since-bundle", first.to_str().expect("UTF-8")];
    let later = [
        export(&waterwall, folder.path(), "full.tar.gz", &[]),
        export(
            &waterwall,
            folder.path(),
            "range.tar.gz",
            &[&since[..], &["--seq", "4-9"]].concat(),
        ),
    ];
    waterwall.down();
    let elsewhere = Elsewhere::new();
    elsewhere.given(&waterwall.path("etc/signing.pub"));
    let first = elsewhere.given(&first);
    for bundle in later {
        let bundle = elsewhere.given(&bundle);
        let (code, told) = elsewhere.verify(&bundle, &["--previous", "first.tar.gz"]);
        assert_eq!(code, 0, "{told}");
        assert!(told["consistent_from"].as_u64() < told["tree_size"].as_u64(), "{told}");
        let name = bundle.file_name().and_then(|name| name.to_str()).expect("a name");
        let (code, told) = elsewhere.verify(&first, &["--previous", name]);
        assert_eq!((code, &told["code"]), (1, &"E_BEHIND_PREVIOUS".into()), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_d10_one_line_is_proven_without_the_others() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    some_traffic(&waterwall).await;
    let line = waterwall.lines("redaction")[0].clone();
    waterwall.down();
    let made = |name: &str, seq: &str| {
        let path = waterwall.path(name);
        let ran = waterwall.ctl(&["receipt", seq, "--out", path.to_str().expect("UTF-8")]);
        assert!(ran.status.success(), "{}", said(&ran));
        path
    };
    let seq = line["seq"].to_string();
    let receipt = made("a.tlog-proof", &seq);
    assert_eq!(std::fs::read(&receipt).ok(), std::fs::read(made("b.tlog-proof", &seq)).ok());
    let stop = made("stop.tlog-proof", &waterwall.lines("stop")[0]["seq"].to_string());
    let note = waterwall.ctl(&["head"]);
    assert!(note.status.success(), "{}", said(&note));
    let elsewhere = Elsewhere::new();
    elsewhere.given(&waterwall.path("etc/signing.pub"));
    let receipt = elsewhere.given(&receipt);
    let verify = |path: &Path, more: &[&str]| {
        let path = path.to_str().expect("UTF-8");
        let asked = ["verify-receipt", path, "--pubkey", "signing.pub", "--json"];
        let ran = elsewhere.ctl(&[&asked, more].concat());
        let told: Value =
            serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", said(&ran)));
        (ran.status.code(), told)
    };
    let (code, told) = verify(&receipt, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["receipt"]["chain_seq"], line["seq"]);
    assert_eq!(told["receipt"]["redactions"][0]["hmac8"], line["redactions"][0]["hmac8"]);
    let stop = elsewhere.given(&stop);
    assert_eq!(verify(&stop, &[]).1["code"], "E_RECEIPT_TYPE");
    assert_eq!(verify(&stop, &["--type", "stop"]).0, Some(0));
    let text = std::fs::read_to_string(&receipt).expect("a receipt");
    std::fs::write(&receipt, text.replace("index ", "index 1")).expect("a file");
    assert_eq!(verify(&receipt, &[]).1["code"], "E_INCLUSION");

    // C05: a note that was kept shows that the log went back behind it.
    let kept = waterwall.path("kept.note");
    std::fs::write(&kept, &note.stdout).expect("a note");
    waterwall.up();
    some_traffic(&waterwall).await;
    waterwall.down();
    let anchored = ["verify-chain", "--anchor", kept.to_str().expect("UTF-8"), "--json"];
    let ran = waterwall.ctl(&anchored);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(told["warnings"], Value::Array(Vec::new()), "anchored");
}

/// Unpacks a bundle, lets `change` at its files and packs it again, with stock tools.
fn repacked(bundle: &Path, into: &Path, change: impl FnOnce(&Path)) {
    let run = |program: &str, arguments: &[&str], at: &Path| {
        let ran = Command::new(program).args(arguments).current_dir(at).output().expect(program);
        assert!(ran.status.success(), "{program}: {}", said(&ran));
        ran.stdout
    };
    let at = tempfile::tempdir().expect("a folder");
    let path = bundle.to_str().expect("UTF-8");
    let names = String::from_utf8(run("tar", &["-tzf", path], at.path())).expect("UTF-8");
    run("tar", &["-xzf", path], at.path());
    change(at.path());
    let plain = ["--format=ustar", "--mtime=@0", "--owner=0", "--group=0", "--mode=0644"];
    let tar = [&plain[..], &["--numeric-owner", "-cf", "packed.tar"]].concat();
    run("tar", &[tar, names.lines().collect()].concat(), at.path());
    let into = into.to_str().expect("UTF-8");
    run("sh", &["-c", "gzip -n <packed.tar >\"$0\"", into], at.path());
}

/// The recipe fails on what `verify-evidence` fails on, and stock tools pack what it takes.
#[tokio::test(flavor = "multi_thread")]
async fn e24_the_recipe_refuses_a_bundle_that_was_touched() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    some_traffic(&waterwall).await;
    let folder = tempfile::tempdir().expect("a folder");
    let full = export(&waterwall, folder.path(), "full.tar.gz", &[]);
    let range = export(&waterwall, folder.path(), "range.tar.gz", &["--seq", "3-6"]);
    let one = export(&waterwall, folder.path(), "one.tar.gz", &["--lines", "4"]);
    waterwall.down();
    let elsewhere = Elsewhere::new();
    elsewhere.given(&waterwall.path("etc/signing.pub"));
    let packed = elsewhere.0.path().join("packed.tar.gz");
    let judged = |bundle: &Path, touched: Option<&str>| {
        repacked(bundle, &packed, |at| {
            let Some(name) = touched else { return };
            let mut bytes = std::fs::read(at.join(name)).expect("a member");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(at.join(name), bytes).expect("a file");
        });
        let (code, told) = elsewhere.verify(&packed, &[]);
        let recipe = elsewhere.verify_with_stock_tools(&packed);
        assert_eq!(recipe.status.code(), Some(code), "{touched:?}: {told}\n{}", said(&recipe));
        code
    };
    for (bundle, touched) in [
        (&full, &["MANIFEST.note", "MANIFEST.json", "head.note", "log/proxy.jsonl"][..]),
        (&range, &["SHA256SUMS", "head.note", "log/range.jsonl", "log/range.proof"]),
        (&one, &["MANIFEST.note", "receipts/000000000004.tlog-proof", "frameworks.json"]),
    ] {
        assert_eq!(judged(bundle, None), 0, "packed again by stock tools");
        for name in touched {
            assert_eq!(judged(bundle, Some(name)), 1, "{name}");
        }
    }
}
