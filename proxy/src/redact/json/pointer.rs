//! Where in a JSON value a byte stands: JSON Pointers (RFC 6901) of offsets, in one pass.

use std::ops::Range;

use super::{decode, end_of_scalar, end_of_string, skip_space};

/// The place of one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The value that holds it, or whose key does; empty for the whole.
    pub(crate) path: String,
    /// Whether it stands in the key.
    pub(crate) is_key: bool,
}

/// A step from a container to what it holds.
enum Step {
    /// To the member with this key, raw and without its quotes.
    Member(Range<usize>),
    /// To the element with this index.
    Element(usize),
}

/// The place of each of `offsets`, which are in order, in checked `text`. One between two values
/// counts for the later of them.
pub(crate) fn pointers(text: &[u8], offsets: &[usize]) -> Vec<Pointer> {
    let mut found = Vec::with_capacity(offsets.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while let (Some(byte), true) = (text.get(at), found.len() < offsets.len()) {
        let start = at;
        match byte {
            b'{' => steps.push(Step::Member(0..0)),
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => drop(steps.pop()),
            b',' => {
                if let Some(Step::Element(index)) = steps.last_mut() {
                    *index += 1;
                }
            }
            b':' | b' ' | b'\n' | b'\r' | b'\t' => {}
            b'"' => at = end_of_string(text, at) - 1,
            _ => at = end_of_scalar(text, at).max(at + 1) - 1,
        }
        at += 1;
        if at - start < 2 && !is_scalar(*byte) {
            continue;
        }
        let is_key = *byte == b'"' && text.get(skip_space(text, at)) == Some(&b':');
        if let (true, Some(Step::Member(key))) = (is_key, steps.last_mut()) {
            *key = start + 1..at - 1;
        }
        let here = offsets[found.len()..].iter().take_while(|offset| **offset < at).count();
        if here > 0 {
            let path = render(text, &steps);
            found.extend((0..here).map(|_| Pointer { path: path.clone(), is_key }));
        }
    }
    found.resize(offsets.len(), Pointer { path: String::new(), is_key: false });
    found
}

fn is_scalar(byte: u8) -> bool {
    !matches!(byte, b'{' | b'[' | b'}' | b']' | b',' | b':' | b' ' | b'\n' | b'\r' | b'\t')
}

fn render(text: &[u8], steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Element(index) => format!("/{index}"),
        Step::Member(key) => {
            let key = decode(&text[key.clone()]);
            let key = String::from_utf8_lossy(&key).replace('~', "~0").replace('/', "~1");
            format!("/{key}")
        }
    };
    steps.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at(text: &str, needle: &str) -> Pointer {
        let offset = text.find(needle).unwrap();
        pointers(text.as_bytes(), &[offset]).remove(0)
    }

    #[test]
    fn points_at_values_and_at_keys() {
        let text = r#" {"a": [1, {"b/~\u0063": ["x", -2.5, true]}], "": {"k": null}, "z" : "y"} "#;
        for (needle, path, is_key) in [
            ("1,", "/a/0", false),
            ("x", "/a/1/b~1~0c/0", false),
            ("-2.5", "/a/1/b~1~0c/1", false),
            ("true", "/a/1/b~1~0c/2", false),
            ("b/", "/a/1/b~1~0c", true),
            ("k\"", "//k", true),
            ("null", "//k", false),
            ("z", "/z", true),
            ("y", "/z", false),
        ] {
            assert_eq!(at(text, needle), Pointer { path: path.to_owned(), is_key }, "{needle}");
        }
        for (text, needle) in [("\"top\"", "top"), ("7", "7")] {
            assert_eq!(at(text, needle), Pointer { path: String::new(), is_key: false });
        }
    }

    #[test]
    fn answers_for_every_offset_in_order() {
        let text = br#"["one two",["three"]]"#;
        let offsets: Vec<usize> = (0..text.len()).collect();
        let paths: Vec<String> = pointers(text, &offsets).into_iter().map(|p| p.path).collect();
        assert_eq!(paths.len(), text.len());
        assert_eq!([&*paths[3], &*paths[7], &*paths[15]], ["/0", "/0", "/1/0"]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        /// Another parser finds the value there.
        #[test]
        fn each_path_leads_to_the_value(value in value(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let offsets: Vec<usize> = (0..text.len()).collect();
            for (offset, place) in pointers(text.as_bytes(), &offsets).iter().enumerate() {
                let found = value.pointer(&place.path);
                prop_assert!(found.is_some(), "{}", place.path);
                // What stands at the offset is that value, or what is around values.
                let spelt = found.filter(|_| !place.is_key).map(Value::to_string);
                let is_around = b"{}[],: \n".contains(&text.as_bytes()[offset]);
                if let (Some(spelt), false) = (spelt, is_around) {
                    let starts = (offset + 1).saturating_sub(spelt.len())..=offset;
                    let is_there = |at| text.as_bytes()[at..].starts_with(spelt.as_bytes());
                    prop_assert!({ starts }.any(is_there), "{} at {offset}", place.path);
                }
            }
        }
    }
}
