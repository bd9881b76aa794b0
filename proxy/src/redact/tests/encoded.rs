//! Q2: secrets that a text spells in another encoding.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbm90/2Ega2V5IGF0\nIGFsbCwganVzdCBieXRlcyB0aGF0IGxvb2sgbGlrZSBvbmU+oRIEEG5vdCBhIGtl\n-----END PRIVATE KEY-----\n";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn q2_an_encoded_secret_is_replaced_as_a_whole_and_comes_back_as_it_was() {
    let token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    for (kind, run) in [
        ("AWS_ACCESS_KEY", STANDARD.encode(format!("aws_access_key_id = {AWS}\n"))),
        ("GITHUB_TOKEN", STANDARD.encode(format!("user:{token}"))),
        ("GITHUB_TOKEN", URL_SAFE_NO_PAD.encode(format!("??>>{token}"))),
        ("AWS_ACCESS_KEY", hex(AWS)),
        ("AWS_ACCESS_KEY", hex(AWS).to_uppercase()),
        ("AWS_ACCESS_KEY", AWS.bytes().map(|byte| format!("%{byte:02X}")).collect()),
        ("PEM_BLOCK", STANDARD.encode(PEM)),
        ("PEM_BLOCK", hex(PEM)),
    ] {
        for template in [
            r#"["@"]"#,
            r#"{"a":"Authorization: Basic @"}"#,
            r#"{"a":"client-key-data: @\n"}"#,
            r#"{"@":"a"}"#,
            r#"{"a":"{\"auths\":{\"registry.example\":{\"auth\":\"@\"}}}"}"#,
            r#"{"a":"[\"{\\\"b\\\":\\\"@\\\"}\"]"}"#,
            r#"{"a":"\n@\n"}"#,
            r#"{"a":"x\u0020@\t"}"#,
        ] {
            let sent = run_generic(&template.replace('@', &run));
            let own = placeholder(kind, &run);
            assert_eq!(text_of(&sent), template.replace('@', &own), "{run} {template}");
            assert_eq!(sent.minted[0].plaintext.expose(), run.as_bytes());
        }
        let text = super::run(Dialect::Generic, Media::Text, &format!("a {run} b")).unwrap();
        assert_eq!(text_of(&text), format!("a {} b", placeholder(kind, &run)));
    }
}

fn run_generic(body: &str) -> Redacted {
    run(Dialect::Generic, Media::Json, body).unwrap()
}

#[test]
fn q2_t5_an_escape_hides_no_run() {
    let run = STANDARD.encode(format!("???{AWS}>>>\u{7f}~"));
    assert!(run.contains('/') && run.contains('+'));
    let letter = format!("\\u{:04x}", u32::from(run.as_bytes()[9]));
    for spelt in [
        run.replace('/', "\\/"),
        run.replace('+', "\\u002b").replace('=', "\\u003d"),
        format!("{}{letter}{}", &run[..9], &run[10..]),
    ] {
        let sent = run_generic(&format!("[\"{spelt}\"]"));
        assert_eq!(text_of(&sent), format!("[\"{}\"]", placeholder("AWS_ACCESS_KEY", &run)));
    }
}

#[test]
fn q2_a_wrapped_run_is_one_secret() {
    let encoded = STANDARD.encode(PEM.repeat(2));
    for joint in ["\n", "\r\n", "\n  ", "\n    12\t"] {
        let lines: Vec<_> =
            encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
        let block = lines.join(joint);
        let body = serde_json::json!([format!("data: {block}\n\nend")]).to_string();
        let own = placeholder("PEM_BLOCK", &block);
        let expected = serde_json::json!([format!("data: {own}\n\nend")]).to_string();
        assert_eq!(text_of(&run_generic(&body)), expected, "{joint:?}");
    }
}

#[test]
fn q2_an_encoded_secret_in_a_protocol_position_or_the_head_refuses() {
    let run = STANDARD.encode(AWS);
    let body = format!("{{\"model\":\"{run}\"}}");
    let refused = super::run(Dialect::OpenAiChat, Media::Json, &body);
    assert!(matches!(refused, Err(Refusal::ProtocolPosition { rule: "chat.model", .. })));
    let target = format!("/v1/models?x={run}");
    assert!(scan_head(policy(), &NothingKnown, "GET", &target, [], &[]).is_err());
}

#[test]
fn q2_a_policy_may_look_into_nothing() {
    let off =
        Policy::load(Some(("p.yaml", "encoded: {base64: false, hex: false, percent: false}")));
    let body = format!("[\"{} {}\"]", STANDARD.encode(AWS), hex(AWS));
    let sent = run_with(&off.unwrap(), &Forgets, Dialect::Generic, Media::Json, &body).unwrap();
    assert_eq!(text_of(&sent), body);
}

#[test]
fn q2_what_blocks_cannot_hide_in_a_run_behind_something_longer() {
    let extension = "patterns:\n- {type: AWS_ACCESS_KEY, action: block, forms: [{literals: [AKIA], regex: 'AKIA[A-Z0-9]{16}'}], examples: [AKIAIOSFODNN7EXAMPLE]}\n";
    let strict = Policy::load(Some(("p.yaml", extension))).unwrap();
    let run = STANDARD.encode(format!("{AWS} ghp_0123456789abcdefghijklmnopqrstuvwxyz"));
    let body = format!("[\"{run}\"]");
    let refused = run_with(&strict, &Forgets, Dialect::Generic, Media::Json, &body);
    assert!(matches!(refused, Err(Refusal::PolicyBlock { .. })));
}

#[test]
fn i2_i3_opaque_and_media_positions_are_not_decoded() {
    let blob = STANDARD.encode([&[0xff; 60][..], AWS.as_bytes(), &[0xfe; 60]].concat());
    let png = STANDARD.encode([b"\x89PNG\r\n\x1a\n0123", AWS.as_bytes(), &[0xfe; 60]].concat());
    for (body, data) in [
        (r#"{"content":[{"type":"redacted_thinking","data":"@"}]}"#, &blob),
        (r#"{"content":[{"type":"thinking","thinking":"x","signature":"@"}]}"#, &blob),
        (
            r#"{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"@"}}]}"#,
            &png,
        ),
    ] {
        let body = format!("{{\"messages\":[{}]}}", body.replace('@', data));
        let sent = run(Dialect::AnthropicMessages, Media::Json, &body).unwrap();
        assert_eq!(text_of(&sent), body);
    }
    // Anywhere else the same is a secret.
    assert!(!text_of(&run_generic(&format!("[\"{blob}\"]"))).contains(&blob));
}

#[test]
fn q1_digests_ids_and_blobs_hold_nothing() {
    // A fixed sequence of numbers that look random.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = |count: usize| -> Vec<u8> {
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    };
    let mut text = String::new();
    while text.len() < 2 << 20 {
        let hex = |bytes: Vec<u8>| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let id = hex(bytes(16));
        text += &format!(
            "commit {}\nsha512-{} sha256:{}\n{}-{}-4{}-a{}-{}\n/static/{}.min.js\n{}\n%{}%20x\n",
            hex(bytes(20)),
            STANDARD.encode(bytes(64)),
            hex(bytes(32)),
            &id[..8],
            &id[8..12],
            &id[13..16],
            &id[17..20],
            &id[20..],
            hex(bytes(32)),
            STANDARD
                .encode(bytes(600))
                .as_bytes()
                .chunks(76)
                .map(String::from_utf8_lossy)
                .collect::<Vec<_>>()
                .join("\n"),
            hex(bytes(4)),
        );
        text += &URL_SAFE_NO_PAD.encode(bytes(5000));
    }
    let body = serde_json::json!([text]).to_string();
    let sent = run_generic(&body);
    assert_eq!(sent.findings, []);
}

/// What may stand beside or between runs.
fn joint() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "\n",
        "\r\n",
        "\t",
        "\"",
        "\\",
        "\\n",
        "\\\\n",
        "/",
        "\u{8}",
        "\u{1b}[32m",
        "%20",
        "%3D",
        "é",
        "\u{2192}",
        "\n  12\u{2192}",
        "\n  12\t",
        "u0041",
        "n",
        "0x",
        "=",
        "x",
        ": ",
        "\\u0020",
        "\\/",
        "+",
        "-",
        "\n+",
    ])
    .prop_map(str::to_owned)
}

fn run_of_any_kind() -> impl Strategy<Value = String> {
    let plain = ("[ -~]{0,40}", "[ -~]{0,40}").prop_map(|(a, b)| format!("{a} {AWS} {b}"));
    prop_oneof![
        plain.clone().prop_map(|plain| STANDARD.encode(plain)),
        plain.clone().prop_map(|plain| URL_SAFE_NO_PAD.encode(plain)),
        plain.clone().prop_map(|plain| hex(&plain)),
        plain.prop_map(|plain| plain.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        "[A-Za-z0-9+/]{40,44}",
    ]
}

proptest! {
    #[test]
    fn q2_t5_raw_json_shows_every_run_that_its_text_holds(
        parts in prop::collection::vec((joint(), run_of_any_kind(), joint()), 1..4),
        width in prop::sample::select(vec![40_usize, 64, 76, 1000]),
        wrap in joint(),
    ) {
        let wrapped = |run: &str| {
            let lines: Vec<_> = run.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            lines.join(&wrap)
        };
        let text: String = parts.iter().map(|(left, run, right)| format!("{left}{}{right}", wrapped(run))).collect();
        let short = serde_json::json!([text]).to_string();
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let long = format!("[\"{units}\"]");
        let [short, long] = [short, long].map(|body| run(Dialect::Generic, Media::Json, &body).unwrap().findings);
        prop_assert_eq!(short, long, "{}", text);
    }
}

#[test]
fn q1_a_run_of_utf16_is_found_in_either_byte_order() {
    let units: Vec<u16> = format!("$key = '{AWS}'").encode_utf16().collect();
    for bytes in [
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>(),
        units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
    ] {
        let run = STANDARD.encode(bytes);
        let body = format!("[\"powershell -enc {run}\"]");
        assert_eq!(json(&body), body.replace(&run, &placeholder("AWS_ACCESS_KEY", &run)));
    }
}

#[test]
fn t5_escapes_of_json_that_is_quoted_in_other_text_hide_nothing() {
    for (text, kind, secret) in [
        (
            r#"see {"a":"\u0041KIAIOSFODNN7EXAMPLE"}"#,
            "AWS_ACCESS_KEY",
            r"\u0041KIAIOSFODNN7EXAMPLE",
        ),
        (
            r#"data: {\"a\":\"\u0041KIAIOSFODNN7EXAMPLE\"}"#,
            "AWS_ACCESS_KEY",
            r"\u0041KIAIOSFODNN7EXAMPLE",
        ),
        (r#"x {"url":"postgres:\/\/app:Zq7-made-up@db\/x"}"#, "URL_PASSWORD", "Zq7-made-up"),
        (
            r#"x {"aws_secret_access_key": "VFKS+w7yhSGQT+u7ElKGT74z\/WdWFpwk29pNDYjH"}"#,
            "AWS_SECRET_KEY",
            r"VFKS+w7yhSGQT+u7ElKGT74z\/WdWFpwk29pNDYjH",
        ),
    ] {
        assert_eq!(plain(text), text.replace(secret, &placeholder(kind, secret)));
        let body = serde_json::json!([text]);
        let sent: serde_json::Value = serde_json::from_str(&json(&body.to_string())).unwrap();
        assert_eq!(sent[0], text.replace(secret, &placeholder(kind, secret)));
    }
}
