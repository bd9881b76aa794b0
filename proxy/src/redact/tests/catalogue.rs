//! Every published type, wherever agents meet it, and what must be left alone.

use super::*;

const URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BECH32: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// `length` characters of `alphabet` that look random and never change.
fn some(length: usize, alphabet: &[u8]) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(alphabet[(state >> 33) as usize % alphabet.len()])
    };
    (0..length).map(|_| next()).collect()
}

fn pem(label: &str, joint: &str) -> String {
    let (full, last) = (some(64, ALNUM), some(30, ALNUM));
    [&format!("-----BEGIN {label}-----"), &full, &full, &last, &format!("-----END {label}-----")]
        .map(String::as_str)
        .join(joint)
}

/// The 31 published types, each in every shape it takes.
fn samples() -> Vec<(&'static str, String)> {
    [model_providers(), services(), private_keys()].concat()
}

fn dash_end(prefix: &str, length: usize) -> String {
    format!("{prefix}{}-", some(length - 1, URL))
}

fn model_providers() -> Vec<(&'static str, String)> {
    vec![
        ("ANTHROPIC_KEY", format!("sk-ant-api03-{}AA", some(93, URL))),
        ("ANTHROPIC_KEY", format!("sk-ant-admin01-{}AA", some(93, URL))),
        ("ANTHROPIC_OAUTH_TOKEN", format!("sk-ant-oat01-{}", some(95, URL))),
        ("ANTHROPIC_OAUTH_TOKEN", format!("sk-ant-ort01-{}", some(95, URL))),
        ("OPENAI_KEY", format!("sk-proj-{}T3BlbkFJ{}", some(74, URL), some(74, URL))),
        ("OPENAI_KEY", format!("sk-svcacct-{}", some(48, URL))),
        ("OPENAI_KEY", format!("sk-{}T3BlbkFJ{}", some(20, ALNUM), some(20, ALNUM))),
        ("GROQ_KEY", format!("gsk_{}", some(52, ALNUM))),
        ("HUGGINGFACE_TOKEN", format!("hf_{}", some(34, LETTERS))),
        ("PERPLEXITY_KEY", format!("pplx-{}", some(48, ALNUM))),
        ("TURSO_KEY", format!("tfp_{}", some(44, ALNUM))),
        ("GOOGLE_AI_KEY", format!("AIzaSy{}", some(33, URL))),
        ("GOOGLE_AI_KEY", dash_end("AIza", 35)),
        ("OPENROUTER_KEY", format!("sk-or-v1-{}", some(64, HEX))),
        ("ELEVENLABS_KEY", format!("sk_{}", some(48, HEX))),
        ("JINA_KEY", format!("jina_{}{}", some(32, HEX), some(28, URL))),
        ("BRAVE_SEARCH_KEY", format!("BSA{}", some(28, URL))),
        ("BRAVE_SEARCH_KEY", dash_end("BSA", 28)),
    ]
}

fn services() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY", AWS.to_owned()),
        ("AWS_ACCESS_KEY", format!("ASIA{}", some(16, UPPER))),
        ("GITHUB_TOKEN", format!("ghp_{}", some(36, ALNUM))),
        ("GITHUB_TOKEN", format!("ghr_{}", some(76, ALNUM))),
        ("GITHUB_TOKEN", format!("github_pat_{}_{}", some(22, ALNUM), some(59, ALNUM))),
        (
            "GITHUB_TOKEN",
            format!("ghs_123456_eyJ{}.eyJ{}.{}", some(40, URL), some(300, URL), some(86, URL)),
        ),
        ("CLOUDFLARE_API_TOKEN", format!("cfk_{}", some(48, ALNUM))),
        ("CLOUDFLARE_API_TOKEN", format!("cfat_{}", some(48, ALNUM))),
        ("SUPABASE_SECRET_KEY", format!("sb_secret_{}_{}", some(22, ALNUM), some(8, ALNUM))),
        ("VERCEL_TOKEN", format!("vrcl_{}", some(24, ALNUM))),
        ("JWT_TOKEN", format!("eyJ{}.eyJ{}.{}", some(33, URL), some(70, URL), some(43, URL))),
        ("TWILIO_ACCOUNT_SID", format!("AC{}", some(32, HEX))),
        ("TWILIO_API_KEY", format!("SK{}", some(32, HEX))),
        ("SENDGRID_KEY", format!("SG.{}.{}", some(22, URL), some(43, URL))),
        ("LINEAR_API_KEY", format!("lin_api_{}", some(40, ALNUM))),
        ("NOTION_TOKEN", format!("ntn_12345678901{}", some(35, ALNUM))),
        ("ATLASSIAN_TOKEN", format!("ATATT3xFfGF0{}=1A2B3C4D", some(171, URL))),
        ("DROPBOX_KEY", format!("dpf_{}", some(40, ALNUM))),
        (
            "DISCORD_BOT_TOKEN",
            format!("MTIzNDU2Nzg5MDEyMzQ1Njc4.{}.{}", some(6, URL), some(27, URL)),
        ),
        (
            "DISCORD_BOT_TOKEN",
            format!("NTE5MDEyMzQ1Njc4OTAxMjM0.{}.{}", some(6, URL), some(38, URL)),
        ),
        ("DISCORD_BOT_TOKEN", dash_end("OTk5MDEyMzQ1Njc4OTAxMjM0NQ.abcDEF.", 27)),
        ("TELEGRAM_BOT_TOKEN", format!("123456789:AA{}", some(33, URL))),
        ("TELEGRAM_BOT_TOKEN", dash_end("1234567890:AA", 33)),
        ("CLICKUP_TOKEN", format!("pk_12345678_{}", some(32, UPPER))),
        ("VAULT_TOKEN", format!("hvs.CAESI{}", some(90, URL))),
        ("VAULT_TOKEN", dash_end("hvb.", 140)),
        ("VAULT_TOKEN", format!("s.{}", some(24, ALNUM))),
    ]
}

fn private_keys() -> Vec<(&'static str, String)> {
    vec![
        ("AGE_SECRET_KEY", format!("AGE-SECRET-KEY-1{}", some(58, BECH32).to_uppercase())),
        ("AGE_SECRET_KEY", format!("age-secret-key-1{}", some(58, BECH32))),
        ("PEM_BLOCK", pem("RSA PRIVATE KEY", "\n")),
        ("PEM_BLOCK", pem("OPENSSH PRIVATE KEY", "\r\n")),
        ("PEM_BLOCK", pem("EC PRIVATE KEY", "\\n")),
        ("PEM_BLOCK", pem("PRIVATE KEY", "\n        ")),
        ("PEM_BLOCK", pem("DSA PRIVATE KEY", "\n  12\t")),
        ("PEM_BLOCK", pem("ENCRYPTED PRIVATE KEY", "\n+")),
        ("PEM_BLOCK", pem("PGP PRIVATE KEY BLOCK", "\n\n")),
    ]
}

/// What stands in front of secrets: `.env`, code, logs, URLs, escapes, colours, other scripts.
pub(super) const BEFORE: &[&str] = &[
    "",
    " ",
    "\n",
    "\t",
    "API_KEY=",
    "export KEY='",
    "\"",
    "(",
    "[",
    "<",
    ">",
    "- ",
    "`",
    "{",
    "|",
    ",",
    "@",
    "#",
    "Bearer ",
    "\"key\": \"",
    "https://example.com/?key=",
    "https://user:",
    "&k=",
    "密",
    "é",
    "ключ",
    "\\n",
    "\\t",
    "\\\\n",
    "\\r\\n",
    "\\u000a",
    "\\x1b",
    "%20",
    "%0A",
    "\u{1b}[32m",
    "\u{1b}[1;31m",
    "2026-11-20T14:02:11Z INFO token ",
    "KEY_x_ ",
    "\\\"",
    "\\x1b[32m",
    "\\033[1;31m",
    "\\u001b[0m",
    "%3D",
    "password=",
];

/// What stands behind them.
pub(super) const BEHIND: &[&str] = &[
    "",
    " ",
    "\n",
    ",",
    ")",
    "<",
    ">",
    "]",
    "}",
    "&x=1",
    "|",
    ".",
    ". Then",
    ";",
    ":",
    "\"",
    "'",
    "`",
    "\\\"",
    "\\n",
    "\u{1b}[0m",
    "密",
    "é",
    "%20",
    " # comment",
    "/",
    "@host",
];

#[test]
fn the_published_31_types_are_all_there() {
    let kinds: std::collections::BTreeSet<_> = samples().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.len(), 31);
    for kind in kinds {
        assert!(policy().patterns.iter().any(|pattern| pattern.kind.as_str() == kind), "{kind}");
    }
}

#[test]
fn t9_every_type_is_replaced_exactly_in_every_surrounding() {
    for (kind, secret) in samples() {
        let expected = placeholder(kind, &secret);
        for before in BEFORE {
            for behind in BEHIND {
                let text = format!("{before}{secret}{behind}");
                assert_eq!(plain(&text), format!("{before}{expected}{behind}"), "{kind} {text:?}");
            }
        }
    }
}

#[test]
fn t5_every_type_is_replaced_in_strings_and_in_json_within_strings() {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    for (kind, secret) in samples() {
        for (before, behind) in [("", ""), ("x\n", "\ny"), ("密", ","), ("=\"", "\"")] {
            let mut body = quote(&format!("{before}{secret}{behind}"));
            let mut spelt = secret.clone();
            let mut wanted = quote(&format!("{before}{}{behind}", placeholder(kind, &spelt)));
            for _ in 0..5 {
                assert_eq!(json(&body), wanted, "{kind}");
                // The secret is what the outermost string says, however that spells it.
                let outer = quote(&spelt);
                let inner = placeholder(kind, &spelt);
                outer[1..outer.len() - 1].clone_into(&mut spelt);
                wanted = wanted.replace(&inner, &placeholder(kind, &spelt));
                body = serde_json::json!({ "command": "x", "text": body }).to_string();
                wanted = serde_json::json!({ "command": "x", "text": wanted }).to_string();
            }
        }
    }
}

#[test]
fn t4_in_arguments_the_secret_is_what_the_arguments_say_when_parsed() {
    for (kind, secret) in samples() {
        let body = |secret: &str| {
            let arguments = serde_json::json!({ "content": secret }).to_string();
            let call =
                serde_json::json!({ "function": { "name": "write", "arguments": arguments } });
            serde_json::json!({ "messages": [{ "tool_calls": [call] }] }).to_string()
        };
        let sent = run(Dialect::OpenAiChat, Media::Json, &body(&secret)).unwrap();
        assert_eq!(text_of(&sent), body(&placeholder(kind, &secret)));
        assert_eq!(sent.minted[0].plaintext.expose(), secret.as_bytes());
    }
}

#[test]
fn t5_escaped_spellings_are_seen_through() {
    let expected = format!("[\"{}\"]", placeholder("AWS_ACCESS_KEY", AWS));
    assert_eq!(json(r#"["\u0041KIAIOSFODNN7EXAMPLE"]"#), expected);
    assert_eq!(json(r#"["AKIAIOSFODNN7EXAMPL\u0045"]"#), expected);
    assert_eq!(json(r#"["\u0041\u004b\u0049AIOSFODNN7EXAMPLE"]"#), expected);
    let pem = pem("RSA PRIVATE KEY", "\n").replace("END", "/END");
    let raw = serde_json::Value::from(pem.as_str()).to_string().replace('/', "\\/");
    assert!(json(&raw).contains("<pl:PEM_BLOCK:"));
}

#[test]
fn a_telegram_token_is_found_where_it_mostly_stands() {
    let token = format!("123456789:AA{}", some(33, URL));
    let url = format!("https://api.telegram.org/bot{token}/sendMessage");
    let expected = placeholder("TELEGRAM_BOT_TOKEN", &token);
    assert_eq!(plain(&url), format!("https://api.telegram.org/bot{expected}/sendMessage"));
}

#[test]
fn q6_a_member_whose_name_announces_a_secret_is_replaced() {
    let secret = placeholder("GENERIC_PASSWORD", "Zq7-made-up");
    let body = |password: &str| format!(r#"{{"input":{{"note":"x","db_password":"{password}"}}}}"#);
    assert_eq!(json(&body("Zq7-made-up")), body(&secret));
    let call = |password: &str| {
        let arguments = serde_json::json!({ "password": password, "host": "db" }).to_string();
        serde_json::json!({ "messages": [{ "tool_calls": [{ "function": { "arguments": arguments } }] }] })
            .to_string()
    };
    let sent = run(Dialect::OpenAiChat, Media::Json, &call("Zq7-made-up")).unwrap();
    assert_eq!(text_of(&sent), call(&secret));
    for benign in ["password", "${DB_PASSWORD}", "********", "Enter your password", ""] {
        assert_eq!(json(&body(benign)), body(benign));
    }
    let key = format!(r#"{{"api_key":"{AWS}","nested":"{{\"token\":\"{AWS}\"}}"}}"#);
    let wanted = key.replace(AWS, &placeholder("AWS_ACCESS_KEY", AWS));
    assert_eq!(json(&key), wanted);
}

#[test]
fn q6_only_the_value_of_an_assignment_is_replaced() {
    let password = placeholder("GENERIC_PASSWORD", "Tr0ub4dor&3");
    for (before, behind) in [
        ("DB_PASSWORD=\"", "\"\nHOST=db"),
        ("{\"password\": \"", "\", \"user\": \"me\"}"),
        ("{\\\"password\\\": \\\"", "\\\"}"),
        ("{\\\\\\\"password\\\\\\\":\\\\\\\"", "\\\\\\\"}"),
        ("password: '", "'\n"),
        ("$config['password'] = '", "';"),
        ("password := `", "`"),
        (":password => '", "',"),
        ("let password: &str = \"", "\";"),
        ("<db password=\"", "\"/>"),
        ("os.environ.setdefault(\"DB_PASSWORD\", \"", "\")"),
    ] {
        let text = format!("{before}Tr0ub4dor&3{behind}");
        assert_eq!(plain(&text), format!("{before}{password}{behind}"));
    }
    let url = placeholder("URL_PASSWORD", "Zq7-made-up");
    assert_eq!(
        plain("DATABASE_URL=postgres://app:Zq7-made-up@db.example.org/app?sslmode=require"),
        format!("DATABASE_URL=postgres://app:{url}@db.example.org/app?sslmode=require")
    );
}

#[test]
fn q6_the_class_neither_refuses_ids_nor_reads_heads() {
    let body = r#"{"model":"secret=k7Jq2Zr9Xw4Lm8Tn3Vb6","messages":[]}"#;
    let sent = run(Dialect::OpenAiChat, Media::Json, body).unwrap();
    assert_eq!(text_of(&sent), body);
    let headers = [("x-note", b"password=Tr0ub4dor&3".as_slice())];
    let target = "/v1?token=k7Jq2Zr9Xw4Lm8Tn3Vb6";
    assert_eq!(scan_head(policy(), &NothingKnown, "GET", target, headers, &[]), Ok(()));
}

#[test]
fn what_proves_itself_is_found_where_it_is_glued_to_letters() {
    let checked = "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";
    let sum_of_another = checked.replace("3mpbCX", "3mpbCY");
    let found = |text: &str| plain(text).contains("<pl:");
    assert_eq!(
        policy().confidence(&Kind::new("GITHUB_TOKEN").unwrap(), checked.as_bytes()),
        Confidence::Checked
    );
    assert!(found(&format!("x{checked}")) && found(&sum_of_another));
    assert!(!found(&format!("x{sum_of_another}")));
}

#[test]
fn a_name_glued_by_an_underscore_does_not_hide_a_key() {
    assert_eq!(plain(&format!("KEY_{AWS}")), format!("KEY_{}", placeholder("AWS_ACCESS_KEY", AWS)));
}

#[test]
fn a_private_key_is_replaced_in_a_leaf_of_any_size_and_without_its_end() {
    let filler = "The quick brown fox jumps over the lazy dog. ".repeat(5_000);
    let whole = pem("RSA PRIVATE KEY", "\n");
    let cut = whole[..whole.find("-----END").unwrap() - 8].to_owned();
    for key in [whole, cut] {
        let text = format!("{filler}\n{key}\n\n{filler}");
        let expected = format!("{filler}\n{}\n\n{filler}", placeholder("PEM_BLOCK", &key));
        assert!(plain(&text) == expected);
        let numbered = key.replace('\n', "\n     7\t");
        assert_eq!(
            plain(&format!("     6\t{numbered}")),
            format!("     6\t{}", placeholder("PEM_BLOCK", &numbered))
        );
    }
}

#[test]
fn a_private_key_laid_out_over_the_strings_of_a_notebook_is_replaced() {
    let key = pem("RSA PRIVATE KEY", "\\n\",\n    \"");
    let notebook = format!("{{\"source\": [\"{key}\"]}}");
    let body = serde_json::json!({ "content": notebook }).to_string();
    let expected = format!("{{\"source\": [\"{}\"]}}", placeholder("PEM_BLOCK", &key));
    assert_eq!(json(&body), serde_json::json!({ "content": expected }).to_string());
}

#[test]
fn q1_leaves_alone_what_only_looks_random() {
    let benign = [
        "4c4c5616fe3c9a7de1b2a3f4c5d6e7f8091a2b3c",
        "550e8400-e29b-41d4-a716-446655440000",
        "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "claude-sonnet-4-5-20250929 gpt-5.1-codex deepseek-chat",
        "toolu_01A09q90qw90lq917835lq9 call_abc123DEF456ghi789JKL012 msg_01XFDUDYJgAACzvnptvVoYEL",
        "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b fc_68af4030baa48193b0b43b4c2a176a1a",
        "feature/disk-cache-rework-for-the-task-queue_2026-11-20",
        "const s=t=>s.constructor.prototype.x;a.s.abcdefghijklmnopqrstuvwx",
        "SKIPPED ACCESS FACADE TASK BSA-compliance eyJ sk- hf_transfer AKIA ghp_ AIza",
        "\u{1b}[32mok\u{1b}[0m 12:34:56 ERROR 1234567890:done",
        "*** [REDACTED] ${OPENAI_API_KEY} os.environ[\"KEY\"] <your-key> sk-... xoxb-your-token",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@host",
        "v1.2.3-rc.4+build.5 https://example.com/a/b.c?d=e#f 10.0.0.1:8888 user@example.com",
    ];
    for text in benign {
        assert_eq!(plain(text), text);
    }
}

#[test]
fn what_is_a_character_short_or_glued_to_a_word_is_no_key() {
    for text in [
        "AKIAIOSFODNN7EXAMPL",
        "xAKIAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN7EXAMPLEx",
        "akiaiosfodnn7example",
        &format!("hf_{}", some(33, LETTERS)),
        &format!("hf_{}", some(35, LETTERS)),
        &format!("disk-proj-{}", some(60, ALNUM)),
        &format!("12345678901:AA{}", some(33, URL)),
        &format!("AC{}", some(31, HEX)),
        &format!("BAC{}", some(32, HEX)),
        &format!("BSA{}", some(31, ALNUM)),
        &format!("PTIzNDU2Nzg5MDEyMzQ1Njc4.{}.{}", some(6, ALNUM), some(27, ALNUM)),
    ] {
        assert_eq!(plain(text), *text);
    }
}

#[test]
fn p4_placeholder_shaped_text_of_the_client_is_data_and_hides_nothing() {
    let foreign = "<pl:AWS_ACCESS_KEY:0123456789abcdef>";
    assert_eq!(plain(foreign), placeholder("LITERAL", foreign));
    assert_eq!(plain(&format!("x{foreign}y")), format!("x{}y", placeholder("LITERAL", foreign)));
    let wrapped = format!("<pl:X:{AWS}>");
    assert_eq!(plain(&wrapped), format!("<pl:X:{}>", placeholder("AWS_ACCESS_KEY", AWS)));
    assert_eq!(
        json(r#"["\u003cpl:X:0123456789abcdef\u003e"]"#),
        format!("[\"{}\"]", placeholder("LITERAL", "<pl:X:0123456789abcdef>"))
    );
}

#[test]
fn p1_the_same_value_gets_the_same_placeholder_and_one_entry() {
    let redacted = run(Dialect::Generic, Media::Text, &format!("{AWS} {AWS}\n{AWS}")).unwrap();
    assert_eq!((redacted.minted.len(), redacted.findings.len()), (1, 1));
    assert_eq!(redacted.findings[0].count, 3);
    assert_eq!(redacted.minted[0].plaintext.expose(), AWS.as_bytes());
    assert_eq!(redacted.findings[0].tag, redacted.minted[0].tag);
}

#[test]
fn t3_every_example_is_found_in_every_place_as_it_is_alone() {
    let examples = include_str!("../../../policy/patterns.yaml").lines().filter_map(|line| {
        let example = line.strip_prefix("      - '")?.strip_suffix('\'')?.replace("''", "'");
        (!example.contains('|')).then(|| example.replace(['«', '»'], ""))
    });
    let mut tried = 0;
    for example in examples {
        let found =
            |text: &str| !run(Dialect::Generic, Media::Text, text).unwrap().findings.is_empty();
        if policy().scan(example.as_bytes(), Scope::Text).unwrap().is_empty() {
            continue;
        }
        assert!(found(&example), "{example}");
        for body in [
            serde_json::json!([example]),
            serde_json::json!({ "a": [1, { "b": example }] }),
            serde_json::json!([serde_json::json!({ "a": example }).to_string()]),
        ] {
            let sent = run(Dialect::Generic, Media::Json, &body.to_string()).unwrap();
            assert!(!sent.findings.is_empty(), "{body}");
        }
        tried += 1;
    }
    assert!(tried > 150, "{tried}");
}
