//! The commands that only look at bytes, as an operator's shell runs them.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;
use sha2::{Digest, Sha256};

const AWS: &str = concat!("AKIA", "IOSFODNN7EXAMPLE");
const GITHUB: &str = concat!("ghp_", "0123456789abcdefghijklmnopqrstuvwxyz");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waterwall-proxy"));
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it on `input`, which is written while the output is read.
fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).spawn().expect("the executable runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that refuses early reads no further.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("it ends")
    })
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("UTF-8")
}

fn err(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("UTF-8")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn message(text: &str) -> String {
    format!(r#"{{"model": "m", "messages": [{{"role":"user", "content":"{text}"}}] }}"#)
}

#[test]
fn i4_a_clean_body_comes_out_as_it_went_in() {
    for (media, body) in [
        ("json", message("nothing here: 1.0e+2").into_bytes()),
        ("jsonl", b"{\"a\": 1}\n\n{\"a\":\t2}".to_vec()),
        ("text", b"plain \xe2\x82\xac text without an end".to_vec()),
        ("text", Vec::new()),
    ] {
        let done = run(&["redact", "--media", media], &body);
        assert_eq!((code(&done), &done.stdout, err(&done)), (0, &body, ""));
    }
}

#[test]
fn secrets_leave_as_placeholders_and_a_repeatable_run_repeats_them() {
    let body = message(&format!("key {AWS} and {AWS}"));
    let runs = [(); 2].map(|()| run(&["redact", "--repeatable"], body.as_bytes()));
    let sent = out(&runs[0]);
    assert_eq!(sent, out(&runs[1]));
    assert!(!sent.contains(AWS));
    assert_eq!(sent.matches("<pl:AWS_ACCESS_KEY:").count(), 2);
    assert!(err(&runs[0]).contains("read as JSON, dialect generic"), "{}", err(&runs[0]));
    let [one, two] = [(); 2].map(|()| run(&["redact", "--media", "json"], body.as_bytes()));
    assert_ne!(one.stdout, two.stdout, "each run draws its own key");
}

#[test]
fn findings_say_where_and_never_what() {
    let body = message(&format!(r#"a\n{AWS} é {GITHUB}", "{AWS}": "x"#));
    let options = ["redact", "--findings=json", "--dialect", "auto", "--media", "json"];
    let done = run(&options, body.as_bytes());
    assert_eq!(code(&done), 0, "{}", err(&done));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["dialect"], "openai-chat");
    assert_eq!(report["bytes"], body.len());
    let findings = report["findings"].as_array().unwrap();
    let spans: Vec<&str> = findings
        .iter()
        .map(|finding| {
            let bound = |at: usize| usize::try_from(finding["span"][at].as_u64().unwrap()).unwrap();
            &body[bound(0)..bound(1)]
        })
        .collect();
    assert_eq!(spans, [AWS, GITHUB, AWS]);
    assert_eq!(findings[0]["path"], "/messages/0/content");
    assert_eq!(findings[1]["type"], "GITHUB_TOKEN");
    assert_eq!(findings[1]["confidence"], "shape", "its checksum is made up");
    let key = findings[2]["path"].as_str().unwrap();
    assert!(key.starts_with("/messages/0/<pl:AWS_ACCESS_KEY:") && key.ends_with(" (key)"), "{key}");
    for secret in [AWS, GITHUB] {
        assert!(!out(&done).contains(secret) && !err(&done).contains(secret));
    }
}

#[test]
fn the_table_has_a_line_for_each_place() {
    let text = format!("a\nb {AWS}\n\n  {GITHUB}\n");
    let done = run(&["redact", "--findings"], text.as_bytes());
    let lines: Vec<&str> = out(&done).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("TYPE"));
    assert!(lines[1].contains("AWS_ACCESS_KEY") && lines[1].ends_with("line 2, column 3"));
    assert!(lines[2].contains("GITHUB_TOKEN") && lines[2].ends_with("line 4, column 3"));
    let lines = format!("{{\"a\":1}}\n{{\"b\":[\"{AWS}\"]}}\n");
    let done = run(&["redact", "--findings"], lines.as_bytes());
    assert!(out(&done).trim_end().ends_with("line 2: /b/0"), "{}", out(&done));
    let form = format!("a=1&b={AWS}&c={GITHUB}");
    let done = run(&["redact", "--media", "form", "--findings"], form.as_bytes());
    let fields: Vec<&str> =
        out(&done).lines().filter_map(|line| line.split("field ").nth(1)).collect();
    assert_eq!(fields, ["2", "3"]);
    let parts = format!(
        "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.env\"\r\n\r\nA=1\r\nB={AWS}\r\n--x--\r\n"
    );
    let media = ["redact", "--media", "multipart/form-data; boundary=x", "--findings"];
    let done = run(&media, parts.as_bytes());
    assert!(out(&done).trim_end().ends_with("part 1, line 4, column 3"), "{}", out(&done));
    let done = run(&["redact", "--findings"], b"nothing");
    assert_eq!(out(&done), "nothing found\n");
}

#[test]
fn a_refused_body_says_code_and_place_and_prints_nothing() {
    let cases: [(&[&str], Vec<u8>, &str); 5] = [
        (
            &["--media", "json"],
            b"{\"a\":\n NaN}".to_vec(),
            "waterwall-body-unparseable: not JSON at byte 7 (line 2, column 2)",
        ),
        (
            &["--media", "jsonl"],
            b"{}\n{\"a\"".to_vec(),
            "waterwall-body-unparseable: ends within a value at byte 7",
        ),
        (
            &["--media", "text"],
            b"abc\xff".to_vec(),
            "waterwall-charset-unsupported: not UTF-8 at byte 3",
        ),
        (
            &[],
            "[".repeat(200).into_bytes(),
            "waterwall-body-unparseable: nested deeper than 128 at byte 128",
        ),
        (
            &["--dialect", "openai-chat"],
            format!(r#"{{"model":"{AWS}","messages":[]}}"#).into_bytes(),
            "waterwall-protocol-position: AWS_ACCESS_KEY at ",
        ),
    ];
    for (options, body, expected) in cases {
        let done = run(&[&["redact"], options].concat(), &body);
        assert_eq!((code(&done), out(&done)), (65, ""), "{options:?}");
        assert!(err(&done).contains(expected), "{}", err(&done));
        assert!(!err(&done).contains(AWS));
    }
}

#[test]
fn i5_takes_what_the_proxy_takes_and_not_more() {
    let line = format!("{} {AWS}\n", "x".repeat(4000));
    let large = line.repeat((6 << 20) / line.len());
    let done = run(&["redact", "--media", "text"], large.as_bytes());
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert!(done.stdout.len() > large.len() && !out(&done).contains(AWS));
    let over = vec![b' '; (64 << 20) + 1];
    let done = run(&["redact", "--media", "text"], &over);
    assert_eq!((code(&done), done.stdout.len()), (65, 0));
    assert!(err(&done).contains("waterwall-body-too-large: more than 64 MiB"), "{}", err(&done));
    let done = run(&["redact", "--media", "text"], &over[1..]);
    assert_eq!((code(&done), done.stdout.len()), (0, 64 << 20));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let mut child = command(&["redact", "--media", "text"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(&vec![b'a'; 1 << 20]).unwrap();
    drop(stdin);
    stdout.read_exact(&mut [0; 16]).unwrap();
    drop(stdout);
    let done = child.wait_with_output().unwrap();
    assert_eq!((code(&done), err(&done)), (0, ""));
}

#[test]
fn pipes_carry_bytes_through_a_shell() {
    let proxy = env!("CARGO_BIN_EXE_waterwall-proxy");
    let script = format!(
        "printf '%s' 'key={AWS};' | '{proxy}' redact --media text | head -c 23 && \
         yes '{GITHUB}' | head -c 4000000 | '{proxy}' redact --media text | head -n 1 | cut -c 1-17"
    );
    let done = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(out(&done), "key=<pl:AWS_ACCESS_KEY:<pl:GITHUB_TOKEN:\n", "{}", err(&done));
    assert_eq!(err(&done), "");
}

#[test]
fn a_policy_file_is_checked_as_the_proxy_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file(
        "good.yaml",
        "patterns:\n  - type: ACME_KEY\n    forms:\n      - literals: ['acme_']\n        regex: 'acme_[0-9]{8}'\n    examples: ['acme_12345678']\n",
    );
    let done = run(&["check-policy", &good], b"");
    let line = out(&done).trim_end();
    let (count, hash) =
        line.strip_prefix("ok: ").unwrap().split_once(" types, policy_hash ").unwrap();
    let canonical = run(&["check-policy", "--canonical", &good], b"").stdout;
    let digest: String = Sha256::digest(&canonical).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hash, digest);
    let listed = run(&["check-policy", "--list", &good], b"");
    assert_eq!(out(&listed).lines().count(), count.parse::<usize>().unwrap());
    assert!(out(&listed).lines().any(|line| line.starts_with("ACME_KEY ")), "{}", out(&listed));
    assert!(out(&listed).contains("AWS access key id"), "{}", out(&listed));
    let built_in = run(&["check-policy"], b"");
    assert!(code(&built_in) == 0 && !out(&built_in).contains(hash));
    let sent = run(&["redact", "--media", "text", "--policy", &good], b"acme_12345678");
    assert!(out(&sent).starts_with("<pl:ACME_KEY:"), "{}", err(&sent));

    let bad = file(
        "bad.yaml",
        "patterns:\n  - type: AWS_ACCESS_KEY\n    action: off\n  - type: bad label\n    forms: []\n",
    );
    for arguments in [&["check-policy", &bad][..], &["redact", "--policy", &bad]] {
        let done = run(arguments, b"");
        assert_eq!((code(&done), out(&done)), (78, ""));
        assert!(err(&done).contains("bad.yaml:4: "), "{}", err(&done));
    }
    let torn = folder.path().join("torn.yaml");
    fs::write(&torn, b"patterns: []\n# \xff\n").unwrap();
    let done = run(&["check-policy", &torn.display().to_string()], b"");
    assert_eq!(code(&done), 78);
    assert!(err(&done).contains("torn.yaml:2: not UTF-8"), "{}", err(&done));
    let missing = folder.path().join("missing.yaml").display().to_string();
    let done = run(&["check-policy", &missing], b"");
    assert_eq!(code(&done), 66);
    assert!(err(&done).contains("missing.yaml: "), "{}", err(&done));
}

#[test]
fn wrong_usage_is_said_and_help_teaches() {
    for arguments in [
        &["redact", "--media", "image"][..],
        &["redact", "--dialect", "x"],
        &["redact", "body.json"],
        &["--config", "etc"],
        &[],
    ] {
        let done = run(arguments, b"");
        assert_eq!((code(&done), out(&done)), (64, ""), "{arguments:?}");
        assert!(!err(&done).is_empty());
    }
    for arguments in [&["--help"][..], &["redact", "--help"], &["check-policy", "--help"]] {
        let done = run(arguments, b"");
        assert!(code(&done) == 0 && out(&done).contains("Examples:"), "{arguments:?}");
    }
}

#[test]
fn nothing_is_logged_or_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(&["redact", "--media", "text"]);
    child.current_dir(folder.path()).env("RUST_LOG", "trace").env("HOME", folder.path());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(AWS.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!((code(&done), err(&done)), (0, ""));
    assert_eq!(fs::read_dir(Path::new(folder.path())).unwrap().count(), 0);
}
