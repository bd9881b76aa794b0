//! Bodies of every dialect and kind: one that may leave says what the one that came said, once
//! each placeholder is read as its secret; what was JSON still is; and no spelling of a text hides
//! what another spelling of it shows.
#![no_main]

use fuzz::{
    books_balance, is_json, json_says_the_same, only_the_replaced_changed, run, substituted,
};
use libfuzzer_sys::fuzz_target;
use proxy::dialect::Dialect;
use proxy::redact::{Media, Redacted, Refusal};

fuzz_target!(|bytes: &[u8]| {
    for dialect in [
        Dialect::AnthropicMessages,
        Dialect::OpenAiChat,
        Dialect::OpenAiResponses,
        Dialect::Generic,
    ] {
        for media in [Media::Json, Media::JsonLines, Media::Text] {
            if let Ok(sent) = run(dialect, media.clone(), bytes) {
                check(&media, &sent, bytes);
            }
        }
    }
    if let Ok(text) = str::from_utf8(bytes) {
        spellings_agree(text);
    }
});

fn check(media: &Media, sent: &Redacted, came: &[u8]) {
    let body = &*sent.body;
    assert_eq!(sent.findings.is_empty(), body == came);
    books_balance(sent);
    only_the_replaced_changed(came, sent);
    match media {
        Media::Json => {
            assert!(is_json(body));
            assert!(json_says_the_same(body, came, &sent.minted));
        }
        Media::JsonLines => {
            let [sent_lines, lines] = [body, came].map(|text| text.split(|byte| *byte == b'\n'));
            assert_eq!(sent_lines.clone().count(), lines.clone().count());
            let each = sent_lines.zip(lines).filter(|(_, came)| !came.trim_ascii().is_empty());
            for (body, came) in each {
                assert!(is_json(body));
                assert!(json_says_the_same(body, came, &sent.minted));
            }
        }
        _ => assert_eq!(substituted(body, &sent.minted), came),
    }
}

/// A string without any escape that is not needed, and one that is nothing but escapes.
fn spellings_agree(text: &str) {
    let short = serde_json::to_vec(text).expect("text is JSON");
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let long = format!("\"{units}\"").into_bytes();
    let [short, long] = [short, long]
        .map(|body| run(Dialect::Generic, Media::Json, &body).map(|sent| sent.findings));
    if !matches!((&short, &long), (Err(Refusal::Costly), _) | (_, Err(Refusal::Costly))) {
        assert_eq!(short, long);
    }
}
