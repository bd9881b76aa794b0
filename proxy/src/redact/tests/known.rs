//! Values known from elsewhere.

use super::*;

/// Knows one value as `REGISTERED`, in one spelling.
struct Knows(&'static str);

impl KnownValues for Knows {
    fn suspects(&self, raw: &[u8]) -> bool {
        memchr::memmem::find(raw, self.0.as_bytes()).is_some()
    }

    fn suspect(&self, raw: &[u8], note: &mut dyn FnMut(Range<usize>)) {
        memchr::memmem::find_iter(raw, self.0.as_bytes())
            .for_each(|at| note(at..at + self.0.len()));
    }

    fn find(&self, text: &[u8], _: Scope, found: &mut Vec<KnownSpan>) -> Result<(), Exhausted> {
        let kind = Kind::new("REGISTERED").unwrap();
        found.extend(
            memchr::memmem::find_iter(text, self.0)
                .map(|at| KnownSpan { range: at..at + self.0.len(), kind: kind.clone() }),
        );
        Ok(())
    }
}

fn with(known: &dyn KnownValues, dialect: Dialect, body: &str) -> Result<String, Refusal> {
    let key = key();
    let context = Context { policy: policy(), known, key: &key, dialect, thinking: &Forgets };
    redact(&context, Media::Json, body.to_owned().into()).map(|sent| text_of(&sent))
}

#[test]
fn q4_a_known_value_of_any_shape_is_replaced_in_text_and_keys_and_json_in_strings() {
    let known = Knows("correct horse");
    let spelt = placeholder("REGISTERED", "correct horse");
    for body in [
        r#"["say correct horse!"]"#,
        r#"{"correct horse":1}"#,
        r#"[{"a":"{\"b\":[\"correct horse\"]}"}]"#,
    ] {
        let sent = with(&known, Dialect::Generic, body).unwrap();
        assert_eq!(sent, body.replace("correct horse", &spelt));
    }
}

#[test]
fn q4_a_known_value_where_nothing_may_change_refuses() {
    let refused = with(&Knows("my-model"), Dialect::OpenAiChat, r#"{"model":"my-model"}"#);
    let kind = Kind::new("REGISTERED").unwrap();
    assert_eq!(refused, Err(Refusal::ProtocolPosition { kind, rule: "chat.model" }));
    let headers = [("x-note", b"of my-model".as_slice())];
    let head = |known| scan_head(policy(), known, "GET", "/", headers, &[]);
    assert_eq!(head(&Knows("my-model")).unwrap_err().place, Place::Header);
    assert_eq!(head(&Knows("another")), Ok(()));
}

#[test]
fn p8_a_pattern_names_what_is_also_known_and_a_longer_known_value_its_union() {
    let sent =
        |known: &'static str| with(&Knows(known), Dialect::Generic, &format!(r#"["{AWS} z"]"#));
    let same = placeholder("AWS_ACCESS_KEY", AWS);
    assert_eq!(sent(AWS), Ok(format!(r#"["{same} z"]"#)));
    let longer = placeholder("REGISTERED", &format!("{AWS} z"));
    assert_eq!(sent("AKIAIOSFODNN7EXAMPLE z"), Ok(format!(r#"["{longer}"]"#)));
}
