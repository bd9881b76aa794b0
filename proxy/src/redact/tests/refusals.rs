//! What may not leave.

use super::*;

fn refusal(body: impl Into<Vec<u8>>, media: Media) -> Refusal {
    let key = key();
    let context = Context {
        policy: policy(),
        known: &NothingKnown,
        key: &key,
        dialect: Dialect::Generic,
        thinking: &Forgets,
    };
    redact(&context, media, body.into().into()).unwrap_err()
}

#[test]
fn refuses_what_is_not_utf_8() {
    for media in [Media::Json, Media::JsonLines, Media::Text] {
        assert_eq!(refusal(b"[\"AKIA\xff\"]".to_vec(), media.clone()), Refusal::Charset);
        assert_eq!(refusal(b"[\"\xed\xa0\x80\"]".to_vec(), media), Refusal::Charset);
    }
}

#[test]
fn refuses_what_is_not_json_and_says_where() {
    for (body, fault, at) in [
        ("", Fault::End, 0),
        ("[1,NaN]", Fault::Syntax, 3),
        ("{} {}", Fault::TrailingData, 3),
        ("\u{feff}{}", Fault::Syntax, 0),
        ("[\"a\nb\"]", Fault::Syntax, 3),
        ("[1", Fault::End, 2),
    ] {
        assert_eq!(refusal(body, Media::Json), Refusal::Unparseable { fault, at }, "{body:?}");
    }
    assert_eq!(
        refusal("{}\n\n{\n", Media::JsonLines),
        Refusal::Unparseable { fault: Fault::End, at: 5 }
    );
}

#[test]
fn refuses_nesting_deeper_than_128() {
    let nested = |depth| format!("{}\"{AWS}\"{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json(&nested(128)).contains("<pl:AWS_ACCESS_KEY:"));
    assert_eq!(
        refusal(nested(129), Media::Json),
        Refusal::Unparseable { fault: Fault::Depth, at: 128 }
    );
    assert!(matches!(refusal(nested(100_000), Media::Json), Refusal::Unparseable { .. }));
}

#[test]
fn json_in_a_string_that_is_too_deep_is_read_as_text() {
    let deep = format!("{}\\\"{AWS}\\\"{}", "[".repeat(200), "]".repeat(200));
    assert!(!json(&format!("{{\"arguments\":\"{deep}\"}}")).contains(AWS));
}

#[test]
fn refuses_a_text_made_to_be_costly() {
    for text in ["-eyJaaaaaaaaaa".repeat(100_000), "-sk-ant-api03-".repeat(100_000) + "!"] {
        let refused = refusal(text, Media::Text);
        assert_eq!((refused.reason(), refused), (BlockReason::Overload, Refusal::Costly));
    }
}

#[test]
fn refuses_an_object_made_to_be_read_once_per_member() {
    let block = format!("{{{}\"type\":\"thinking\"}}", "\"thinking\":\"\",".repeat(20_000));
    let body = format!("{{\"messages\":[{{\"content\":[{block},{{\"signature\":\"\"}}]}}]}}");
    let refused = run(Dialect::AnthropicMessages, Media::Json, &body).unwrap_err();
    assert_eq!(refused, Refusal::Costly);
}

#[test]
fn refuses_a_name_made_to_be_read_once_per_value() {
    let name = format!("{}API_KEY", "x".repeat(20_000));
    let body = format!("{{\"name\":\"{name}\",{}\"value\":1}}", "\"value\":\"y\",".repeat(2_000));
    assert_eq!(refusal(body, Media::Json), Refusal::Costly);
}

#[test]
fn json_in_strings_in_json_may_be_deep_at_every_level() {
    let mut body = AWS.to_owned();
    for _ in 0..5 {
        let content = serde_json::Value::from(body).to_string();
        body = format!("{}{content}{}", "[".repeat(128), "]".repeat(128));
    }
    assert!(!json(&body).contains(AWS));
}

#[test]
fn a_byte_order_mark_is_refused_in_json_and_text_in_text() {
    // A provider may skip it, or take what follows for something else.
    for media in [Media::Json, Media::JsonLines] {
        let refused = refusal(format!("\u{feff}[\"{AWS}\"]"), media);
        assert_eq!(refused, Refusal::Unparseable { fault: Fault::Syntax, at: 0 });
    }
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    assert_eq!(plain(&format!("\u{feff}{AWS}")), format!("\u{feff}{own}"));
    assert_eq!(
        plain(&format!("\u{feff}[\"\\u0041{}\"]", &AWS[1..])),
        format!(
            "\u{feff}[\"{}\"]",
            placeholder("AWS_ACCESS_KEY", &format!("\\u0041{}", &AWS[1..]))
        )
    );
}

#[test]
fn top_level_scalars_are_bodies() {
    assert_eq!(
        json(&format!(" \"{AWS}\"\n")),
        format!(" \"{}\"\n", placeholder("AWS_ACCESS_KEY", AWS))
    );
    for scalar in ["1", "true", "null", "\"\""] {
        assert_eq!(json(scalar), scalar);
    }
}

#[test]
fn text_that_may_be_in_another_charset_is_refused() {
    let utf16: Vec<u8> = AWS.bytes().flat_map(|byte| [byte, 0]).collect();
    assert_eq!(refusal(utf16, Media::Text), Refusal::Charset);
}

#[test]
fn text_that_is_json_is_read_as_json() {
    assert!(plain(r#"{"a":"\u0041KIAIOSFODNN7EXAMPLE"}"#).contains("<pl:AWS_ACCESS_KEY:"));
}

#[test]
fn a_pattern_with_action_block_refuses() {
    let extension = "patterns:\n- {type: AWS_ACCESS_KEY, action: block, forms: [{literals: [AKIA], regex: 'AKIA[A-Z0-9]{16}'}], examples: [AKIAIOSFODNN7EXAMPLE]}\n";
    let strict = Policy::load(Some(("p.yaml", extension))).unwrap();
    let refused =
        run_with(&strict, &Forgets, Dialect::Generic, Media::Json, &format!("[\"{AWS}\"]"));
    let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::PolicyBlock { kind, rule: "generic" });
}

#[test]
fn a_refusal_never_prints_what_was_found() {
    let body = format!("{{\"model\":\"{AWS}\"}}");
    let refused = run(Dialect::OpenAiChat, Media::Json, &body).unwrap_err();
    assert!(!format!("{refused:?}").contains("AKIA"));
    let redacted = run(Dialect::Generic, Media::Json, &body).unwrap();
    assert!(!format!("{redacted:?}").contains("AKIA"));
}

#[test]
fn a_secret_in_a_number_refuses() {
    let extension = "patterns:\n- {type: PIN, forms: [{literals: ['4111'], regex: '4111[0-9]{12}'}], examples: ['4111111111111111']}\n";
    let policy = Policy::load(Some(("p.yaml", extension))).unwrap();
    let refused = run_with(&policy, &Forgets, Dialect::Generic, Media::Json, "[4111111111111111]");
    assert!(matches!(refused, Err(Refusal::ProtocolPosition { .. })));
}

#[test]
fn the_deepest_body_does_not_exhaust_a_worker_threads_stack() {
    // As deep as JSON may be nested, in strings as deep as they are looked into.
    let deep = (0..6).fold(AWS.to_owned(), |inner, _| {
        let string = serde_json::Value::from(inner).to_string();
        format!("{}{string}{}", "[".repeat(128), "]".repeat(128))
    });
    let scan = move || run(Dialect::Generic, Media::Json, &deep).map(|out| out.findings.len());
    // What the runtime gives each of its threads.
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(scan);
    assert_eq!(thread.unwrap().join().unwrap().unwrap(), 1);
}
