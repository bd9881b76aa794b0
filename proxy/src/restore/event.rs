//! One stream's events, one after another, whatever carries them.

use std::collections::BTreeMap;

use super::grammar::escape_json;
use super::json::{self, Splice, may_hold_placeholder};
use super::lane::{self, Closing, Envelope, Growing, Lane};
use super::scan::{Place, Rest, Scanner};
use super::sse::LANES_MAX;
use super::thinking::Thinking;
use super::tree::{Id, Shape, Tree};
use super::{RestoreError, leaf::Leaf};

/// Largest envelope of one lane that is kept, in bytes.
const ENVELOPE_MAX: usize = 64 * 1024;

/// What to send for an event.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// Events to send before it: tails that were held back.
    pub(super) tails: Vec<Tail>,
    /// Its data, where that changed.
    pub(super) data: Option<Vec<u8>>,
}

/// An event that delivers what a lane still held.
#[derive(Debug)]
pub(super) struct Tail {
    /// Its name, where events of its stream are named.
    pub(super) name: Option<String>,
    pub(super) data: Vec<u8>,
}

struct Held {
    text: Vec<u8>,
    place: Place,
    envelope: Envelope,
}

/// What is kept between events.
#[derive(Default)]
pub(super) struct Lanes {
    held: BTreeMap<Lane, Held>,
    thinking: Thinking,
}

impl Lanes {
    /// Restores the data of one event.
    ///
    /// A delta whose text is held back to the last byte still goes out, with an empty string: it
    /// may be the one that carries a tool's id, and a silent stream looks like a dead one (S7).
    pub(super) fn event(
        &mut self,
        data: &[u8],
        scanner: &mut Scanner<'_>,
    ) -> Result<Rewritten, RestoreError> {
        if self.passes(data) {
            return Ok(Rewritten::default());
        }
        if !matches!(data.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
            return self.plain(data, scanner);
        }
        let tree = match Tree::read(data) {
            Ok(tree) => tree,
            Err(_) if !may_hold_placeholder(data) => return Ok(Rewritten::default()),
            Err(error) => return Err(error),
        };
        let mut roots = tree.roots();
        match (roots.next(), roots.next()) {
            (Some(root), None) if tree.shape(root) == Shape::Object => {
                self.object(&tree, root, data, scanner)
            }
            _ => {
                let mut splices = Vec::new();
                for root in tree.roots() {
                    json::walk(&tree, root, &[], scanner, &mut splices)?;
                }
                Ok(Rewritten { tails: Vec::new(), data: json::spliced(data, splices) })
            }
        }
    }

    /// Delivers all that is still held: the stream has ended.
    pub(super) fn finish(&mut self, scanner: &mut Scanner<'_>) -> Result<Vec<Tail>, RestoreError> {
        self.flush(&[Closing::default()], &[], scanner)
    }

    /// Whether an event cannot concern us, told without reading it.
    fn passes(&self, data: &[u8]) -> bool {
        let mentions = |word: &[u8]| memchr::memmem::find(data, word).is_some();
        self.held.is_empty()
            && self.thinking.is_idle()
            && memchr::memchr3(b'<', b'&', b'%', data).is_none()
            && memchr::memchr(b'\\', data).is_none()
            && !mentions(b"thinking")
            && !mentions(b"signature")
    }

    fn plain(&mut self, data: &[u8], scanner: &mut Scanner<'_>) -> Result<Rewritten, RestoreError> {
        if data == b"[DONE]" {
            return Ok(Rewritten { tails: self.finish(scanner)?, data: None });
        }
        let edits = scanner.scan(data, Place::TEXT, Rest::None)?;
        if edits.replaced.is_empty() {
            return Ok(Rewritten::default());
        }
        Ok(Rewritten { tails: Vec::new(), data: Some(edits.apply(data)) })
    }

    fn object(
        &mut self,
        tree: &Tree<'_>,
        root: Id,
        data: &[u8],
        scanner: &mut Scanner<'_>,
    ) -> Result<Rewritten, RestoreError> {
        let growing = lane::growing(tree, root)?;
        self.note_thinking(tree, root);
        let tails = self.flush(&lane::closings(tree, root), &growing, scanner)?;
        let ids: Vec<Id> = growing.iter().map(|growing| growing.id).collect();
        let mut splices = Vec::new();
        for growing in growing {
            let Some(leaf) = tree.leaf(growing.id) else { continue };
            splices.extend(self.grow(growing, &leaf, scanner)?);
        }
        json::walk(tree, root, &ids, scanner, &mut splices)?;
        if lane::kind(tree, root) == "content_block_stop" {
            scanner.thinking.extend(self.thinking.close(&lane::block_group(tree, root)));
        }
        Ok(Rewritten { tails, data: json::spliced(data, splices) })
    }

    fn grow(
        &mut self,
        growing: Growing,
        leaf: &Leaf<'_>,
        scanner: &mut Scanner<'_>,
    ) -> Result<Option<Splice>, RestoreError> {
        let Growing { lane, place, last, envelope, .. } = growing;
        let held = self.held.remove(&lane).map(|held| held.text).unwrap_or_default();
        let text = [&held, &*leaf.text].concat();
        let rest = if last { Rest::None } else { Rest::Follows };
        let edits = scanner.scan(&text, place, rest)?;
        if lane.field == "thinking"
            && let Some(block) = self.thinking.block(&lane.group)
        {
            block.grow(&leaf.text, &edits.apply(&text));
        }
        if edits.held < text.len() {
            let size = envelope.before.len() + lane.group.len() + lane.part.len();
            if self.held.len() >= LANES_MAX || size > ENVELOPE_MAX {
                return Err(RestoreError::TooLarge);
            }
            self.held.insert(lane, Held { text: text[edits.held..].to_vec(), place, envelope });
        }
        Ok(leaf.spliced(&held, &edits).map(|inside| (leaf.span.clone(), inside)))
    }

    fn flush(
        &mut self,
        closings: &[Closing],
        except: &[Growing],
        scanner: &mut Scanner<'_>,
    ) -> Result<Vec<Tail>, RestoreError> {
        let closed: Vec<Lane> = self
            .held
            .keys()
            .filter(|lane| closings.iter().any(|closing| closing.covers(lane)))
            .filter(|lane| !except.iter().any(|growing| growing.lane == **lane))
            .cloned()
            .collect();
        let mut tails = Vec::with_capacity(closed.len());
        for lane in closed {
            let Some(held) = self.held.remove(&lane) else { continue };
            let edits = scanner.scan(&held.text, held.place, Rest::None)?;
            let text = edits.apply(&held.text);
            if let Some(block) = self.thinking.get(&lane.group) {
                block.grow(b"", &text);
            }
            let Envelope { name, before: mut data, after } = held.envelope;
            escape_json(&text, &mut data);
            data.extend_from_slice(&after);
            tails.push(Tail { name, data });
        }
        Ok(tails)
    }

    fn note_thinking(&mut self, tree: &Tree<'_>, event: Id) {
        let content = match lane::kind(tree, event).as_str() {
            "content_block_start" => tree.member(event, "content_block"),
            "content_block_delta" => tree.member(event, "delta"),
            _ => None,
        };
        let Some(content) = content else { return };
        let signature = match lane::kind(tree, content).as_str() {
            "thinking" | "signature_delta" => tree.string(content, "signature"),
            _ => return,
        };
        if let Some(block) = self.thinking.block(&lane::block_group(tree, event)) {
            block.sign(&signature.unwrap_or_default());
        }
    }
}
