//! JSON as spans of the text it was read from.
//!
//! Reading is lenient about what cannot matter here (`NaN`, control characters in strings): a
//! provider's body goes to the client as it is, and only strings are touched.

use std::borrow::Cow;
use std::ops::Range;

use super::RestoreError;
use super::leaf::Leaf;

/// Deepest nesting read.
const DEPTH_MAX: usize = 128;

/// Most values read. Each takes some fifty bytes, and two are enough to write one.
const NODES_MAX: usize = 2 * 1024 * 1024;

/// A node of a [`Tree`], in document order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Array,
    Object,
    Scalar,
    String,
}

#[derive(Debug)]
struct Node {
    shape: Shape,
    /// The value's bytes, quotes and brackets included.
    span: Range<usize>,
    /// The member's name, without quotes, where the value is a member.
    key: Option<Range<usize>>,
    /// The first node after this one's descendants.
    past: usize,
}

/// One JSON text, or several after one another.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    text: &'t [u8],
    nodes: Vec<Node>,
}

impl<'t> Tree<'t> {
    pub(super) fn read(text: &'t [u8]) -> Result<Self, RestoreError> {
        let start = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut reader = Reader { text, at: start, nodes: Vec::new() };
        reader.skip_space();
        while reader.at < text.len() {
            reader.value(None, 0)?;
            reader.skip_space();
        }
        Ok(Self { text, nodes: reader.nodes })
    }

    /// The texts after one another.
    pub(super) fn roots(&self) -> impl Iterator<Item = Id> {
        self.siblings(0..self.nodes.len())
    }

    /// Elements or member values.
    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> {
        self.siblings(id.0 + 1..self.nodes[id.0].past)
    }

    fn siblings(&self, range: Range<usize>) -> impl Iterator<Item = Id> {
        let mut next = range.start;
        std::iter::from_fn(move || {
            let id = (next < range.end).then_some(Id(next))?;
            next = self.nodes[id.0].past;
            Some(id)
        })
    }

    pub(super) fn shape(&self, id: Id) -> Shape {
        self.nodes[id.0].shape
    }

    /// The value as written.
    pub(super) fn raw(&self, id: Id) -> &'t [u8] {
        &self.text[self.nodes[id.0].span.clone()]
    }

    /// The member's name as written, without quotes.
    pub(super) fn raw_key(&self, id: Id) -> &'t [u8] {
        self.nodes[id.0].key.clone().map_or(b"", |span| &self.text[span])
    }

    /// The member's name, as a string that can be restored.
    pub(super) fn key_leaf(&self, id: Id) -> Option<Leaf<'t>> {
        self.nodes[id.0].key.clone().map(|span| Leaf::of(self.text, span))
    }

    /// The member's name.
    pub(super) fn key(&self, id: Id) -> Cow<'t, [u8]> {
        self.key_leaf(id).map_or(Cow::Borrowed(b"".as_slice()), |leaf| leaf.text)
    }

    /// The string, or `None` for any other value.
    pub(super) fn leaf(&self, id: Id) -> Option<Leaf<'t>> {
        let Node { shape: Shape::String, span, .. } = &self.nodes[id.0] else { return None };
        Some(Leaf::of(self.text, span.start + 1..span.end - 1))
    }

    /// The member of an object called `name`: the last, where there are several.
    pub(super) fn member(&self, object: Id, name: &str) -> Option<Id> {
        if self.shape(object) != Shape::Object {
            return None;
        }
        self.children(object).filter(|id| self.key(*id) == name.as_bytes()).last()
    }

    /// The string that is the member called `name`.
    pub(super) fn string(&self, object: Id, name: &str) -> Option<Cow<'t, [u8]>> {
        self.leaf(self.member(object, name)?).map(|leaf| leaf.text)
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(taken);
        taken
    }

    fn value(&mut self, key: Option<Range<usize>>, depth: usize) -> Result<(), RestoreError> {
        let (id, start) = (self.nodes.len(), self.at);
        let shape = match self.text.get(start) {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            Some(b'"') => Shape::String,
            _ => Shape::Scalar,
        };
        self.nodes.push(Node { shape, span: start..start, key, past: id });
        match shape {
            _ if depth > DEPTH_MAX => return Err(RestoreError::Malformed),
            _ if id >= NODES_MAX => return Err(RestoreError::TooLarge),
            Shape::Object => self.items(b'}', depth, true)?,
            Shape::Array => self.items(b']', depth, false)?,
            Shape::String => self.string().map(drop)?,
            Shape::Scalar => self.scalar()?,
        }
        self.nodes[id].span.end = self.at;
        self.nodes[id].past = self.nodes.len();
        Ok(())
    }

    fn items(&mut self, close: u8, depth: usize, named: bool) -> Result<(), RestoreError> {
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = if named { Some(self.name()?) } else { None };
            self.value(key, depth + 1)?;
            self.skip_space();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(RestoreError::Malformed);
            }
        }
    }

    fn name(&mut self) -> Result<Range<usize>, RestoreError> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(RestoreError::Malformed);
        }
        let name = self.string()?;
        self.skip_space();
        if !self.take(b':') {
            return Err(RestoreError::Malformed);
        }
        self.skip_space();
        Ok(name)
    }

    fn string(&mut self) -> Result<Range<usize>, RestoreError> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            match memchr::memchr2(b'"', b'\\', self.text.get(at..).unwrap_or_default()) {
                None => return Err(RestoreError::Malformed),
                Some(i) if self.text[at + i] == b'"' => {
                    self.at = at + i + 1;
                    return Ok(start..at + i);
                }
                Some(i) => at += i + 2,
            }
        }
    }

    fn scalar(&mut self) -> Result<(), RestoreError> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') =
            self.text.get(self.at)
        {
            self.at += 1;
        }
        if self.at == start { Err(RestoreError::Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_those_of_the_text() {
        let text = br#" {"a" : [1, "x\"y"], "b\u0063":{"d":null}, "a":-1.5e3} "#;
        let tree = Tree::read(text).unwrap();
        let root = tree.roots().next().unwrap();
        let a = tree.member(root, "a").unwrap();
        assert_eq!(tree.raw(a), b"-1.5e3", "the last of duplicates");
        let bc = tree.member(root, "bc").unwrap();
        assert_eq!(tree.raw(bc), br#"{"d":null}"#);
        let list = tree.children(root).next().unwrap();
        assert_eq!(tree.raw(list), br#"[1, "x\"y"]"#);
        let leaf = tree.leaf(tree.children(list).nth(1).unwrap()).unwrap();
        assert_eq!(&*leaf.text, br#"x"y"#);
    }

    #[test]
    fn refuses_what_is_not_json() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for bad in ["{", "[1,]", "{\"a\"}", "{a:1}", "\"x", "\"x\\", "<html>", "]", &deep] {
            assert!(Tree::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_text_of_too_many_values_is_not_read() {
        let many = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
        assert_eq!(Tree::read(many(NODES_MAX).as_bytes()).map(drop), Ok(()));
        let refused = Tree::read(many(NODES_MAX + 1).as_bytes()).map(drop);
        assert_eq!(refused, Err(RestoreError::TooLarge));
    }

    #[test]
    fn reads_several_texts_in_a_row() {
        let tree = Tree::read(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
        assert_eq!(tree.roots().count(), 2);
    }
}
