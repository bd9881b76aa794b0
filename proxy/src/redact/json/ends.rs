//! Where long values of one JSON text end, so that whoever walks over it need not look at what is
//! in them more than once.

use super::{end_of_scalar, end_of_string};

/// The long values of a checked text.
pub(crate) struct Ends<'t> {
    text: &'t [u8],
    /// Where each starts and ends, in order of their starts.
    long: Vec<(u32, u32)>,
}

impl<'t> Ends<'t> {
    /// Those of the value that starts at `start` of checked `text`.
    pub(crate) fn new(text: &'t [u8], start: usize) -> Self {
        let mut long: Vec<(u32, u32)> = Vec::new();
        // Where each open container stands among those, as far as there is room.
        let mut open: Vec<Option<usize>> = Vec::new();
        let room = text.len() / SHARE;
        let mut at = start;
        loop {
            let first = at;
            let Some(byte) = text.get(at) else { break };
            match byte {
                b'"' => {
                    at = end_of_string(text, at);
                    if at - first >= LONG && long.len() < room {
                        long.push((narrow(first), narrow(at)));
                    }
                }
                b'{' | b'[' => {
                    let has_room = long.len() < room;
                    open.push(has_room.then_some(long.len()));
                    if has_room {
                        long.push((narrow(first), 0));
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    at += 1;
                    let Some(index) = open.pop() else { break };
                    if let Some(index) = index {
                        long[index].1 = narrow(at);
                        // What is in a short one is shorter, so that it is the last.
                        if at - (long[index].0 as usize) < LONG {
                            long.truncate(index);
                        }
                    }
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
                _ => at = end_of_scalar(text, at),
            }
            if open.is_empty() {
                break;
            }
        }
        Self { text, long }
    }

    /// The end of the string or container that starts at `at`, where it is long.
    pub(crate) fn of_long(&self, at: usize) -> Option<usize> {
        let index = self.long.binary_search_by_key(&narrow(at), |(start, _)| *start).ok()?;
        let (start, end) = self.long[index];
        // A text of 4 GB has offsets that do not fit.
        (start < u32::MAX && end < u32::MAX).then_some(end as usize)
    }

    /// The end of the value that starts at `at`.
    pub(crate) fn of_value(&self, mut at: usize) -> usize {
        let mut depth = 0_u32;
        loop {
            match self.text.get(at) {
                Some(b'"') => at = self.of_string(at),
                Some(b'{' | b'[') => match self.of_long(at) {
                    Some(end) => at = end,
                    None => {
                        depth += 1;
                        at += 1;
                    }
                },
                Some(b'}' | b']') => {
                    depth -= 1;
                    at += 1;
                }
                Some(b',' | b':' | b' ' | b'\n' | b'\r' | b'\t') => at += 1,
                Some(_) => at = end_of_scalar(self.text, at),
                None => return at,
            }
            if depth == 0 {
                return at;
            }
        }
    }

    /// The offset behind the closing quote of the string that starts at `at`.
    pub(crate) fn of_string(&self, at: usize) -> usize {
        let near = &self.text[at + 1..self.text.len().min(at + NEAR)];
        match memchr::memchr2(b'"', b'\\', near) {
            Some(length) if near[length] == b'"' => at + 1 + length + 1,
            _ => self.of_long(at).unwrap_or_else(|| end_of_string(self.text, at)),
        }
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Shortest value that is long.
const LONG: usize = 256;

/// Bytes of text for each end that is kept: values in each other may have no more of them, so that
/// they take a quarter of what the text does.
const SHARE: usize = 32;

/// Within how many bytes the end of a short string is looked for first.
const NEAR: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::end_of_value;
    use super::*;

    proptest! {
        #[test]
        fn are_those_that_a_walk_over_each_value_comes_to(
            lengths in prop::collection::vec((0_usize..5000, 0_u8..6), 0..12),
        ) {
            let mut text = "[".to_owned();
            let mut closing = "]".to_owned();
            for (length, kind) in lengths {
                let filler = r#"a\"\\ {"#.repeat(length / 7);
                match kind {
                    0 => text += &format!("\"{filler}\","),
                    1 => text += &format!("{{\"k\": \"{filler}\" }} , "),
                    2 => text += &format!("[{}1],", "1.5, ".repeat(length / 5)),
                    3 => {
                        text += "{\"in\":[";
                        closing.insert_str(0, "]}");
                    }
                    4 => text += "true,[],{},\"\",",
                    _ => text += "[[{\"x\":\"y\"}]],",
                }
            }
            text += "null";
            text += &closing;
            let text = text.as_bytes();
            super::super::check(text).unwrap();
            let ends = Ends::new(text, 0);
            let mut at = 0;
            while at < text.len() {
                let is_value = !matches!(text[at], b',' | b':' | b' ' | b']' | b'}');
                if is_value {
                    let end = end_of_value(text, at);
                    prop_assert_eq!(ends.of_value(at), end);
                    prop_assert!(ends.of_long(at).is_none_or(|long| long == end));
                    if end - at >= LONG && text.len() / SHARE > 200 {
                        prop_assert_eq!(ends.of_long(at), Some(end));
                    }
                }
                let is_container = matches!(text[at], b'[' | b'{');
                at = if is_value && !is_container { end_of_value(text, at) } else { at + 1 };
            }
        }
    }
}
