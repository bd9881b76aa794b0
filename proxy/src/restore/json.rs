//! JSON bodies, restored leaf by leaf (I10).

use std::ops::Range;

use super::leaf::Leaf;
use super::scan::{Edits, Place, Rest, Scanner};
use super::schema::{Context, Object};
use super::thinking;
use super::tree::{Id, Shape, Tree};
use super::{Resolve, RestoreError, Restored};

/// Restores a whole JSON body, or several JSON texts in a row (JSONL).
///
/// # Errors
///
/// [`RestoreError::Malformed`] where the body is not JSON and may hold a placeholder: without a
/// structure there is no saying how a plaintext must be escaped. [`RestoreError::Gone`] and
/// [`RestoreError::NotText`] as named there.
pub fn restore(body: Vec<u8>, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
    let mut scanner = Scanner::new(resolve);
    if !may_hold_placeholder(&body) && memchr::memmem::find(&body, b"\"signature\"").is_none() {
        return Ok(scanner.into_restored(body));
    }
    let tree = match Tree::read(&body) {
        Ok(tree) => tree,
        Err(_) if !may_hold_placeholder(&body) => return Ok(scanner.into_restored(body)),
        Err(error) => return Err(error),
    };
    let mut splices = Vec::new();
    for root in tree.roots() {
        walk(&tree, root, &[], &mut scanner, &mut splices)?;
    }
    let bytes = spliced(&body, splices);
    Ok(scanner.into_restored(bytes.unwrap_or(body)))
}

/// Whether JSON source could hold a placeholder in any spelling.
pub(super) fn may_hold_placeholder(json: &[u8]) -> bool {
    [b"pl:".as_slice(), b"pl%3", br"\u00"]
        .iter()
        .any(|part| memchr::memmem::find(json, part).is_some())
}

/// A span of a document, and what replaces it.
pub(super) type Splice = (Range<usize>, Vec<u8>);

/// `document` with `splices` made, or `None` where there are none.
pub(super) fn spliced(document: &[u8], mut splices: Vec<Splice>) -> Option<Vec<u8>> {
    if splices.is_empty() {
        return None;
    }
    splices.sort_unstable_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(document.len() + 256);
    let mut done = 0;
    for (span, with) in splices {
        out.extend_from_slice(&document[done..span.start]);
        out.extend_from_slice(&with);
        done = span.end;
    }
    out.extend_from_slice(&document[done..]);
    Some(out)
}

/// Restores every string at and below `root` but those in `except`.
pub(super) fn walk(
    tree: &Tree<'_>,
    root: Id,
    except: &[Id],
    scanner: &mut Scanner<'_>,
    splices: &mut Vec<Splice>,
) -> Result<(), RestoreError> {
    Walk { tree, except, scanner, splices }.value(root, b"", Context::BODY)
}

struct Walk<'w, 't, 'r> {
    tree: &'w Tree<'t>,
    except: &'w [Id],
    scanner: &'w mut Scanner<'r>,
    splices: &'w mut Vec<Splice>,
}

impl Walk<'_, '_, '_> {
    fn value(&mut self, id: Id, role: &[u8], context: Context) -> Result<(), RestoreError> {
        match self.tree.shape(id) {
            Shape::Array => {
                self.tree.children(id).try_for_each(|child| self.value(child, role, context))
            }
            Shape::Object => self.object(id, role, context),
            Shape::Scalar => Ok(()),
            Shape::String => self.string(id, context.place).map(drop),
        }
    }

    fn object(&mut self, id: Id, role: &[u8], context: Context) -> Result<(), RestoreError> {
        let tree = self.tree;
        let object = Object::read(tree, id, role, context);
        for member in tree.children(id) {
            if let Some(name) = tree.key_leaf(member) {
                self.leaf(&name, Place { layers: 0, ..context.place })?;
            }
            let key = tree.key(member);
            let Some(context) = object.member(&key, tree.shape(member)) else { continue };
            if object.is_thinking() && *key == *b"thinking" && tree.shape(member) == Shape::String {
                self.thinking(id, member)?;
            } else {
                self.value(member, &key, context)?;
            }
        }
        Ok(())
    }

    fn thinking(&mut self, block: Id, text: Id) -> Result<(), RestoreError> {
        let Some(edits) = self.string(text, Place::TEXT)? else { return Ok(()) };
        let provider = self.tree.leaf(text).map(|leaf| leaf.text).unwrap_or_default();
        let signature = self.tree.string(block, "signature").unwrap_or_default();
        let restored = edits.apply(&provider);
        self.scanner.thinking.extend(thinking::record(&signature, &provider, &restored));
        Ok(())
    }

    fn string(&mut self, id: Id, place: Place) -> Result<Option<Edits>, RestoreError> {
        if self.except.contains(&id) {
            return Ok(None);
        }
        self.tree.leaf(id).map(|leaf| self.leaf(&leaf, place)).transpose()
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, place: Place) -> Result<Edits, RestoreError> {
        let edits = self.scanner.scan(&leaf.text, place, Rest::None)?;
        if let Some(inside) = leaf.spliced(b"", &edits) {
            self.splices.push((leaf.span.clone(), inside));
        }
        Ok(edits)
    }
}
