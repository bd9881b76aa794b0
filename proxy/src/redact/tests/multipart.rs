//! I12: forms and multipart bodies, part by part.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const BOUNDARY: &str = "WebKitFormBoundary7MA4YWxk";

fn send(is_form: bool, body: impl Into<Vec<u8>>) -> Result<Redacted, Refusal> {
    let key = key();
    let context = Context {
        policy: policy(),
        known: &NothingKnown,
        key: &key,
        dialect: Dialect::Generic,
        thinking: &Forgets,
    };
    let media = Media::Multipart { boundary: BOUNDARY.to_owned(), is_form };
    redact(&context, media, body.into().into())
}

/// A multipart body of parts: headers without the last line break, and content.
fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// One file of a form, with more headers.
fn file(name: &str, more: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"{more}");
    body(&[("Content-Disposition: form-data; name=\"purpose\"", b"batch"), (&head, content)])
}

fn png() -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"[..], &[0xff, 0x80, 0, 7].repeat(40)].concat()
}

#[test]
fn i12_text_parts_are_rewritten_and_nothing_else() {
    for (name, more) in [
        ("a.txt", ""),
        ("a.txt", "\r\nContent-Type: text/plain"),
        ("a.py", "\r\nContent-Type: text/x-python; charset=\"UTF-8\""),
        ("a", "\r\nContent-Type: application/octet-stream"),
        ("a.yaml", "\r\nContent-Type: application/yaml\r\nContent-Transfer-Encoding: 8bit"),
        ("a.jsonl", "\r\nContent-Type: application/octet-stream"),
        ("a.png", "\r\nContent-Type: image/png"),
        ("é.txt", "; filename*=UTF-8''%C3%A9.txt"),
    ] {
        let template = format!("first é\r\n--not {BOUNDARY} key: @\n\n@");
        let sent = send(true, file(name, more, template.replace('@', AWS).as_bytes())).unwrap();
        let redacted = template.replace('@', &placeholder("AWS_ACCESS_KEY", AWS));
        assert_eq!(sent.body, file(name, more, redacted.as_bytes()), "{name} {more}");
        assert_eq!((sent.findings.len(), sent.findings[0].count), (1, 2));
    }
}

#[test]
fn i12_json_parts_are_walked_by_their_type_or_file_name() {
    let template = r#"{"custom_id":"1","a":"@ \u0041"}"#;
    let hidden = r"\u0041KIAIOSFODNN7EXAMPLE";
    for (name, more) in [
        ("a.json", "\r\nContent-Type: application/json"),
        ("a", "\r\nContent-Type: application/vnd.api+json"),
        ("a", "\r\nContent-Type: application/x-ndjson"),
        ("a.JSONL", "\r\nContent-Type: application/octet-stream"),
        ("a.json", "\r\nContent-Type: text/plain"),
        ("a.ndjson", ""),
    ] {
        let sent = send(true, file(name, more, template.replace('@', hidden).as_bytes())).unwrap();
        let redacted = template.replace('@', &placeholder("AWS_ACCESS_KEY", AWS));
        assert_eq!(sent.body, file(name, more, redacted.as_bytes()), "{name} {more}");
    }
    let broken = file("a", "\r\nContent-Type: application/json", b"{");
    assert!(matches!(send(true, broken), Err(Refusal::Unparseable { .. })));
}

#[test]
fn i12_binary_passes_only_as_an_allowed_type_that_it_is() {
    let as_png = |content: &[u8]| send(true, file("a.png", "\r\nContent-Type: image/png", content));
    let whole = file("a.png", "\r\nContent-Type: image/png", &png());
    assert_eq!(as_png(&png()).unwrap().body, whole);
    // Not what it says, not allowed, and not saying.
    for more in [
        "\r\nContent-Type: image/jpeg",
        "\r\nContent-Type: application/zip",
        "\r\nContent-Type: application/octet-stream",
    ] {
        assert_eq!(send(true, file("a.png", more, &png())).unwrap_err(), Refusal::Media, "{more}");
    }
    for more in ["", "\r\nContent-Type: text/plain"] {
        let refused = send(true, file("a.png", more, &png())).unwrap_err();
        assert_eq!(refused, Refusal::Charset, "{more}");
    }
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe";
    let zipped = file("a.zip", "\r\nContent-Type: application/zip", zip);
    assert_eq!(send(true, zipped).unwrap_err(), Refusal::Media);
    // In clear in the file, as its metadata may be.
    let with_key = [png(), b"tEXtComment\0".to_vec(), AWS.into(), b"\0".to_vec()].concat();
    assert!(matches!(as_png(&with_key), Err(Refusal::ProtocolPosition { rule: "binary", .. })));
}

#[test]
fn i12_binary_bodies_pass_by_the_same_rule() {
    let send = |essence: &str, body: Vec<u8>| {
        let key = key();
        let context = Context {
            policy: policy(),
            known: &NothingKnown,
            key: &key,
            dialect: Dialect::Generic,
            thinking: &Forgets,
        };
        redact(&context, Media::Binary(essence.to_owned()), body.into())
    };
    assert_eq!(send("image/png", png()).unwrap().body, png());
    for (essence, body) in [
        ("image/gif", png()),
        ("application/zip", png()),
        ("application/octet-stream", b"text".to_vec()),
        ("image/png", b"A\0K\0I\0A\0".to_vec()),
    ] {
        assert_eq!(send(essence, body).unwrap_err(), Refusal::Media, "{essence}");
    }
    let sent = send("application/pdf", format!("%PDF-1.7 {AWS}").into()).unwrap();
    assert!(!text_of(&sent).contains(AWS));
}

#[test]
fn i12_a_secret_where_a_part_cannot_be_rewritten_refuses() {
    let plain = "Content-Disposition: form-data; name=\"a\"";
    let escaped = "%41KIAIOSFODNN7EXAMPLE";
    for head in [
        format!("{plain}; filename=\"{AWS}.txt\""),
        format!("{plain}; filename*=UTF-8''{escaped}"),
        format!("Content-Disposition: form-data; name=\"{AWS}\""),
        format!("{plain}\r\nX-Note: {AWS}"),
        format!("{plain}\r\nContent-Type: text/plain; name={AWS}"),
    ] {
        let refused = send(true, body(&[(&head, b"x")])).unwrap_err();
        assert!(
            matches!(refused, Refusal::ProtocolPosition { rule: "multipart.header", .. }),
            "{head} {refused:?}"
        );
    }
    let outside = [
        [format!("{AWS}\r\n").as_bytes(), &body(&[(plain, b"x")])].concat(),
        [&body(&[(plain, b"x")]), AWS.as_bytes()].concat(),
    ];
    for outside in outside {
        let refused = send(true, outside).unwrap_err();
        assert!(matches!(refused, Refusal::ProtocolPosition { rule: "multipart.outside", .. }));
    }
}

#[test]
fn i12_what_two_parsers_could_read_differently_is_refused() {
    let whole = String::from_utf8(file("a.txt", "", b"content")).unwrap();
    let part = |head: &str| body(&[(head, b"x")]);
    let named = "Content-Disposition: form-data; name=\"a\"";
    for (what, refused, malformed) in [
        ("empty", String::new().into_bytes(), Malformed::Unclosed),
        ("no end", whole.replace("--\r\n", "\r\n").into(), Malformed::Unclosed),
        ("nothing but an end", format!("--{BOUNDARY}--\r\n").into(), Malformed::Boundary),
        ("bare line feeds", whole.replace("\r\n", "\n").into(), Malformed::Boundary),
        (
            "a bare line feed before a delimiter",
            whole
                .replacen(&format!("batch\r\n--{BOUNDARY}"), &format!("batch\n--{BOUNDARY}"), 1)
                .into(),
            Malformed::Boundary,
        ),
        (
            "blanks behind a delimiter",
            whole.replacen(BOUNDARY, &format!("{BOUNDARY} "), 1).into(),
            Malformed::Boundary,
        ),
        (
            "a longer delimiter",
            whole.replacen("batch", &format!("\r\n--{BOUNDARY}x\r\n"), 1).into(),
            Malformed::Boundary,
        ),
        ("a delimiter in the epilogue", format!("{whole}{whole}").into(), Malformed::Boundary),
        (
            "a delimiter in a header",
            part(&format!("{named}\r\nX-Note: --{BOUNDARY}")),
            Malformed::Boundary,
        ),
    ] {
        assert_eq!(send(true, refused).unwrap_err(), Refusal::Malformed(malformed), "{what}");
    }
}

#[test]
fn i12_a_part_that_two_parsers_could_read_differently_is_refused() {
    let part = |head: &str| body(&[(head, b"x")]);
    let named = "Content-Disposition: form-data; name=\"a\"";
    let whole = String::from_utf8(file("a.txt", "", b"content")).unwrap();
    for (what, refused, malformed) in [
        (
            "no empty line",
            whole.replacen("\r\n\r\nbatch", "\r\nbatch", 1).into(),
            Malformed::PartHead,
        ),
        ("no disposition", part("Content-Type: text/plain"), Malformed::PartHead),
        ("no name", part("Content-Disposition: form-data"), Malformed::PartHead),
        (
            "another disposition",
            part("Content-Disposition: attachment; name=a"),
            Malformed::PartHead,
        ),
        ("a header twice", part(&format!("{named}\r\n{named}")), Malformed::PartHead),
        (
            "a parameter twice",
            part("Content-Disposition: form-data; name=\"a\"; name=\"b\""),
            Malformed::PartHead,
        ),
        ("a folded header", part(&format!("{named};\r\n filename=\"a\"")), Malformed::PartHead),
        ("a bare line feed in a header", part(&format!("{named}\nX: y")), Malformed::PartHead),
        ("a header without a colon", part(&format!("{named}\r\nX")), Malformed::PartHead),
        ("a blank before a colon", part(&format!("{named}\r\nX : y")), Malformed::PartHead),
        ("another length", part(&format!("{named}\r\nContent-Length: 2")), Malformed::PartHead),
        (
            "base64",
            part(&format!("{named}\r\nContent-Transfer-Encoding: base64")),
            Malformed::PartEncoding,
        ),
        (
            "quoted-printable",
            part(&format!("{named}\r\ncontent-transfer-encoding: Quoted-Printable")),
            Malformed::PartEncoding,
        ),
        ("gzip", part(&format!("{named}\r\nContent-Encoding: gzip")), Malformed::PartEncoding),
        ("a digest", part(&format!("{named}\r\nContent-MD5: x")), Malformed::PartEncoding),
        (
            "multipart in multipart",
            part(&format!("{named}\r\nContent-Type: multipart/mixed; boundary=x")),
            Malformed::Nested,
        ),
    ] {
        assert_eq!(send(true, refused).unwrap_err(), Refusal::Malformed(malformed), "{what}");
    }
    for more in ["; charset=utf-16", "; charset=latin1"] {
        let part = part(&format!("{named}\r\nContent-Type: text/plain{more}"));
        assert_eq!(send(true, part).unwrap_err(), Refusal::Charset, "{more}");
    }
    let charset = body(&[("Content-Disposition: form-data; name=\"_charset_\"", b"utf-16")]);
    assert_eq!(send(true, charset).unwrap_err(), Refusal::Charset);
    let utf16: Vec<u8> = AWS.bytes().flat_map(|byte| [byte, 0]).collect();
    assert_eq!(send(true, body(&[(named, &utf16)])).unwrap_err(), Refusal::Charset);
    let message = part(&format!("{named}\r\nContent-Type: message/rfc822"));
    assert_eq!(send(true, message).unwrap_err(), Refusal::Media);
}

#[test]
fn i12_a_parts_length_grows_with_it() {
    let part = |content: &str| {
        let head = format!(
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Length: {}\r\nX-After: 1",
            content.len()
        );
        body(&[(&head, content.as_bytes())])
    };
    let sent = send(true, part(&format!("{AWS} {AWS}"))).unwrap();
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    assert_eq!(sent.body, part(&format!("{own} {own}")));
    assert_eq!(sent.replaced[0].finding, None);
    let clean = part("nothing");
    assert_eq!(send(true, clean.clone()).unwrap().body, clean);
}

#[test]
fn mixed_parts_need_no_disposition_or_any_head() {
    let mixed = format!(
        "--{BOUNDARY}\r\n\r\n{AWS}\r\n--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n[\"{AWS}\"]\r\n--{BOUNDARY}--"
    );
    let sent = text_of(&send(false, mixed.clone()).unwrap());
    assert_eq!(sent, mixed.replace(AWS, &placeholder("AWS_ACCESS_KEY", AWS)));
    assert!(send(true, mixed).is_err());
}

fn form(body: &str) -> Result<String, Refusal> {
    run(Dialect::Generic, Media::Form, body).map(|sent| text_of(&sent))
}

/// What a form says.
fn pairs(body: &str) -> Vec<(String, String)> {
    let text = |raw: &str| {
        let mut pieces = raw.split('%');
        let mut bytes = pieces.next().unwrap().replace('+', " ").into_bytes();
        for piece in pieces {
            bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
            bytes.extend(piece[2..].replace('+', " ").bytes());
        }
        String::from_utf8(bytes).unwrap()
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (text(name), text(value))
    };
    body.split('&').map(pair).collect()
}

/// `text` as browsers put it into a form.
fn in_form(text: &str) -> String {
    let spell = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(spell).collect()
}

#[test]
fn i12_form_fields_are_rewritten_and_nothing_else() {
    let own = "%3Cpl%3AAWS_ACCESS_KEY%3A";
    for (body, template) in [
        (format!("a=b&key={AWS}&c=%7e+x"), "a=b&key=@&c=%7e+x"),
        (format!("key=%41KIA{}", &AWS[4..]), "key=@"),
        (format!("{AWS}=1&&=&{AWS}"), "@=1&&=&@"),
        (format!("a=x+{AWS}%0A{AWS}"), "a=x+@%0A@"),
        (
            format!("payload=%7B%22a%22%3A%22%5Cu0041{}%22%7D", &AWS[1..]),
            "payload=%7B%22a%22%3A%22@%22%7D",
        ),
    ] {
        let sent = form(&body).unwrap();
        let (start, _) = sent.split_once(own).unwrap();
        let spelt = &sent[start.len()..start.len() + own.len() + 16 + 3];
        assert_eq!(sent, template.replace('@', spelt), "{body}");
        assert!(pairs(&sent).iter().any(|(name, value)| {
            [name, value].iter().any(|text| text.contains("<pl:AWS_ACCESS_KEY:"))
        }));
    }
}

#[test]
fn q6_a_fields_name_says_what_its_value_is() {
    let key = "WLhDPoonygazBllNZ27n3vvMsL0cYa1V";
    let sent = form(&format!("a=b&mistral_api_key={key}&c=%20")).unwrap();
    let own = in_form(&placeholder("MISTRAL_KEY", key)).replace("%5F", "_");
    assert_eq!(sent, format!("a=b&mistral_api_key={own}&c=%20"));
    assert_eq!(form(&format!("a={key}")).unwrap(), format!("a={key}"));
}

#[test]
fn a_form_that_could_be_read_differently_is_refused() {
    for body in ["a=%", "a=%4", "a=%zz", "a=%u0041", "%=b"] {
        assert_eq!(form(body).unwrap_err(), Refusal::Malformed(Malformed::Escape), "{body}");
    }
    for body in ["a=%ff", "a=%41%ed%a0%80", "_charset_=utf-16&a=b"] {
        assert_eq!(form(body).unwrap_err(), Refusal::Charset, "{body}");
    }
    assert_eq!(form("_charset_=UTF-8&a=b").unwrap(), "_charset_=UTF-8&a=b");
}

proptest! {
    #[test]
    fn i4_a_forms_other_bytes_stay(parts in prop::collection::vec(("[a-z0-9 é&=%+/\"{}]{0,8}", any::<bool>()), 0..8)) {
        let value: String = parts.iter().map(|(text, secret)| {
            format!("{text} {} ", if *secret { AWS } else { "" })
        }).collect();
        let body = format!("first={0}&{0}=last", in_form(&value));
        let sent = form(&body).unwrap();
        let own = placeholder("AWS_ACCESS_KEY", AWS);
        let expected = value.replace(AWS, &own);
        prop_assert_eq!(pairs(&sent), [("first".to_owned(), expected.clone()), (expected, "last".to_owned())]);
        prop_assert_eq!(sent.replace(&in_form(&own).replace("%5F", "_"), AWS), body);
    }

    #[test]
    fn i4_a_multiparts_other_bytes_stay(contents in prop::collection::vec("([a-zé\r\n\" -]{0,12}|AKIAIOSFODNN7EXAMPLE,){0,6}", 1..4)) {
        let template: Vec<(String, String)> = contents.iter().enumerate().map(|(at, content)| {
            (format!("Content-Disposition: form-data; name=\"{at}\""), format!(" {content}"))
        }).collect();
        let build = |edit: &dyn Fn(&str) -> String| {
            let parts: Vec<_> = template.iter().map(|(head, content)| (head, edit(content))).collect();
            let parts: Vec<_> = parts.iter().map(|(head, content)| (head.as_str(), content.as_bytes())).collect();
            body(&parts)
        };
        let own = placeholder("AWS_ACCESS_KEY", AWS);
        // Glued to a letter it is no key.
        let replace = |content: &str| {
            let mut out = String::new();
            let mut rest = content;
            while let Some(at) = rest.find(AWS) {
                let glued = rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
                out.push_str(&rest[..at]);
                out.push_str(if glued { AWS } else { &own });
                rest = &rest[at + AWS.len()..];
            }
            out + rest
        };
        let sent = send(true, build(&|content| content.to_owned())).unwrap();
        prop_assert_eq!(sent.body, build(&replace));
    }

    #[test]
    fn no_multipart_or_form_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "(--WebKitFormBoundary7MA4YWxk|--|\r\n|Content-Type: |Content-Disposition: form-data; name=a|text/plain|[a-z=&%;]|\\PC){0,16}") {
        for body in [bytes, text.into_bytes()] {
            let _ = send(true, body.clone());
            let _ = send(false, body.clone());
            let key = key();
            let context = Context { policy: policy(), known: &NothingKnown, key: &key, dialect: Dialect::Generic, thinking: &Forgets };
            let _ = redact(&context, Media::Form, body.clone().into());
            let _ = redact(&context, Media::Binary("image/png".into()), body.into());
        }
    }
}

#[test]
fn i2_media_in_json_that_is_text_is_searched() {
    let pdf = STANDARD.encode(format!("%PDF-1.7 the key is {AWS}, in a text"));
    let body = format!(
        r#"{{"messages":[{{"content":[{{"type":"document","source":{{"type":"base64","media_type":"application/pdf","data":"{pdf}"}}}}]}}]}}"#
    );
    let sent = run(Dialect::AnthropicMessages, Media::Json, &body).unwrap();
    assert_eq!(text_of(&sent), body.replace(&pdf, &placeholder("AWS_ACCESS_KEY", &pdf)));
}
