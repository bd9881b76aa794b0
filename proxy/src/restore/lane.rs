//! Lanes: the strings that grow from event to event, told by the event's own shape.

use super::RestoreError;
use super::scan::Place;
use super::sse::LANES_MAX;
use super::tree::{Id, Shape, Tree};

/// One growing string of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    /// The content block, choice or output item it belongs to.
    pub(super) group: String,
    /// The part of that: content or summary index.
    pub(super) part: String,
    /// Which of its strings.
    pub(super) field: String,
}

/// A string of this event that goes on in others.
pub(super) struct Growing {
    pub(super) id: Id,
    pub(super) lane: Lane,
    pub(super) place: Place,
    /// Whether this event says that nothing follows.
    pub(super) last: bool,
    pub(super) envelope: Envelope,
}

/// An event that carries nothing but a piece of one lane, cut open where the piece goes.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    /// The event's name, where its stream names events.
    pub(super) name: Option<String>,
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
}

/// Lanes that an event ends; `None` stands for any.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) group: Option<String>,
    pub(super) part: Option<String>,
    pub(super) field: Option<String>,
}

impl Closing {
    pub(super) fn covers(&self, lane: &Lane) -> bool {
        let agree = |mine: &Option<String>, its: &str| mine.as_deref().is_none_or(|m| m == its);
        agree(&self.group, &lane.group)
            && agree(&self.part, &lane.part)
            && agree(&self.field, &lane.field)
    }
}

/// The name that events, blocks and parts go by.
pub(super) fn kind(tree: &Tree<'_>, object: Id) -> String {
    text(&tree.string(object, "type").unwrap_or_default())
}

/// The group of an Anthropic content block.
pub(super) fn block_group(tree: &Tree<'_>, event: Id) -> String {
    format!("block {}", index(tree, event, 0))
}

/// Whether `event` is the last of a response.
pub(super) fn ends_response(tree: &Tree<'_>, event: Id) -> bool {
    matches!(
        kind(tree, event).as_str(),
        "message_stop"
            | "error"
            | "response.completed"
            | "response.failed"
            | "response.incomplete"
            | "response.cancelled"
            | "response.done"
    )
}

/// The lanes that `event` ends, before its own strings are looked at.
pub(super) fn closings(tree: &Tree<'_>, event: Id) -> Vec<Closing> {
    let kind = kind(tree, event);
    let group = |group| Closing { group: Some(group), ..Closing::default() };
    match kind.as_str() {
        "content_block_stop" => return vec![group(block_group(tree, event))],
        "message_delta" => return vec![Closing::default()],
        _ if ends_response(tree, event) => return vec![Closing::default()],
        "response.output_item.done" => return vec![group(item_group(tree, event))],
        _ => {}
    }
    if let Some(base) = kind.strip_suffix(".done") {
        let whole_part = base.ends_with("_part");
        let field = (!whole_part).then(|| base.to_owned());
        let (group, part) = (Some(item_group(tree, event)), Some(part(tree, event)));
        return vec![Closing { group, part, field }];
    }
    choices(tree, event)
        .filter(|(_, choice)| is_finished(tree, *choice))
        .map(|(index, _)| group(format!("choice {index}")))
        .collect()
}

/// The lanes that `event` carries a piece of.
///
/// # Errors
///
/// [`RestoreError::TooLarge`] where there are more than [`LANES_MAX`], or the event is made to be
/// costly to look through for them.
pub(super) fn growing(tree: &Tree<'_>, event: Id) -> Result<Vec<Growing>, RestoreError> {
    if choices(tree, event).nth(LANES_MAX).is_some() {
        return Err(RestoreError::TooLarge);
    }
    Ok(match kind(tree, event).as_str() {
        "content_block_delta" => block_lanes(tree, event, "delta"),
        "content_block_start" => block_lanes(tree, event, "content_block"),
        kind if kind.ends_with(".delta") => item_lane(tree, event, kind).into_iter().collect(),
        _ => {
            let mut chat = Chat { tree, last: false, visits: VISITS_MAX, found: Vec::new() };
            for (index, choice) in choices(tree, event) {
                chat.choice(event, &index, choice)?;
            }
            chat.found
        }
    })
}

fn block_lanes(tree: &Tree<'_>, event: Id, member: &str) -> Vec<Growing> {
    let Some(content) = tree.member(event, member) else { return Vec::new() };
    let (index, group) = (index(tree, event, 0), block_group(tree, event));
    [
        ("text", "text_delta", Place::TEXT),
        ("thinking", "thinking_delta", Place::TEXT),
        ("partial_json", "input_json_delta", Place::ARGUMENTS),
    ]
    .into_iter()
    .filter_map(|(field, kind, place)| {
        let id = tree.member(content, field).filter(|id| tree.shape(*id) == Shape::String)?;
        let before = format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{field}":""#
        );
        let envelope = Envelope {
            name: Some("content_block_delta".to_owned()),
            before: before.into_bytes(),
            after: br#""}}"#.to_vec(),
        };
        let lane = Lane { group: group.clone(), part: String::new(), field: field.to_owned() };
        Some(Growing { id, lane, place, last: false, envelope })
    })
    .collect()
}

fn item_lane(tree: &Tree<'_>, event: Id, kind: &str) -> Option<Growing> {
    let base = kind.strip_suffix(".delta")?;
    let id = tree.member(event, "delta").filter(|id| tree.shape(*id) == Shape::String)?;
    let place = if base.ends_with("arguments") {
        Place::ARGUMENTS
    } else if base.ends_with("_input") || base.contains("_call") {
        Place::TOOL
    } else {
        Place::TEXT
    };
    let mut before = members(tree, event, &["delta", "obfuscation"]);
    if tree.member(event, "logprobs").is_some() {
        before.extend_from_slice(br#""logprobs":[],"#);
    }
    before.extend_from_slice(br#""delta":""#);
    let envelope = Envelope { name: Some(kind.to_owned()), before, after: br#""}"#.to_vec() };
    let (group, part) = (item_group(tree, event), part(tree, event));
    let lane = Lane { group, part, field: base.to_owned() };
    Some(Growing { id, lane, place, last: false, envelope })
}

/// `output_index` before `item_id`: gateways are known to send another id with every event.
fn item_group(tree: &Tree<'_>, event: Id) -> String {
    match tree.member(event, "output_index") {
        Some(index) => format!("output {}", text(tree.raw(index))),
        None => format!("item {}", raw(tree, event, "item_id")),
    }
}

fn part(tree: &Tree<'_>, event: Id) -> String {
    format!("{} {}", raw(tree, event, "content_index"), raw(tree, event, "summary_index"))
}

/// Chat choices with their index.
fn choices<'c>(tree: &'c Tree<'_>, event: Id) -> impl Iterator<Item = (String, Id)> + 'c {
    let list = tree.member(event, "choices").filter(|id| tree.shape(*id) == Shape::Array);
    list.into_iter()
        .flat_map(|list| tree.children(list))
        .enumerate()
        .map(|(position, choice)| (index(tree, choice, position), choice))
}

fn is_finished(tree: &Tree<'_>, choice: Id) -> bool {
    tree.member(choice, "finish_reason").is_some_and(|id| tree.raw(id) != b"null")
}

/// The strings of a delta that grow; everything else in one is sent whole.
const GROWS: [&str; 10] = [
    "arguments",
    "content",
    "input",
    "reasoning",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
    "transcript",
];

/// Objects and arrays of a delta that hold strings that grow.
const HOLDS: [&str; 9] = [
    "audio",
    "content",
    "custom",
    "function",
    "function_call",
    "reasoning",
    "reasoning_details",
    "thinking",
    "tool_calls",
];

/// Most envelopes made for one event. Each repeats a good part of it.
const VISITS_MAX: usize = 4 * LANES_MAX;

struct Chat<'c, 't> {
    tree: &'c Tree<'t>,
    last: bool,
    /// How many more envelopes may be made.
    visits: usize,
    found: Vec<Growing>,
}

impl Chat<'_, '_> {
    fn choice(&mut self, event: Id, index: &str, choice: Id) -> Result<(), RestoreError> {
        let mut before = members(self.tree, event, &["choices", "obfuscation"]);
        before.extend_from_slice(format!(r#""choices":[{{"index":{index},"#).as_bytes());
        let after = br#","finish_reason":null}]}"#.to_vec();
        let envelope = Envelope { name: None, before, after };
        let group = format!("choice {index}");
        let lane = Lane { group, part: String::new(), field: String::new() };
        self.last = is_finished(self.tree, choice);
        for (name, id) in named(self.tree, choice) {
            if matches!(name.as_str(), "delta" | "text") {
                let envelope = self.child(&envelope, &key_of(&name), "")?;
                self.value(id, &name, Place::TEXT, &lane, envelope)?;
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        envelope: &Envelope,
        before: &str,
        after: &str,
    ) -> Result<Envelope, RestoreError> {
        self.visits = self.visits.checked_sub(1).ok_or(RestoreError::TooLarge)?;
        Ok(envelope.child(before, after))
    }

    fn value(
        &mut self,
        id: Id,
        name: &str,
        place: Place,
        lane: &Lane,
        envelope: Envelope,
    ) -> Result<(), RestoreError> {
        let mut lane = lane.clone();
        lane.field = format!("{}.{name}", lane.field);
        match self.tree.shape(id) {
            Shape::String => {
                if self.found.len() == LANES_MAX {
                    return Err(RestoreError::TooLarge);
                }
                let envelope = envelope.child("\"", "\"");
                let last = self.last;
                self.found.push(Growing { id, lane, place, last, envelope });
            }
            Shape::Object => self.members(id, place, &lane, &envelope, "")?,
            Shape::Array => {
                for (position, element) in self.tree.children(id).enumerate() {
                    let index = index(self.tree, element, position);
                    let mut head = format!(r#""index":{index},"#);
                    if let Some(kind) = self.tree.member(element, "type")
                        && name != "tool_calls"
                        && self.tree.raw(kind).len() <= SCALAR_MAX
                    {
                        head += &format!(r#""type":{},"#, text(self.tree.raw(kind)));
                    }
                    let lane = Lane { field: format!("{}[{index}]", lane.field), ..lane.clone() };
                    let envelope = self.child(&envelope, "[", "]")?;
                    self.members(element, place, &lane, &envelope, &head)?;
                }
            }
            Shape::Scalar => {}
        }
        Ok(())
    }

    fn members(
        &mut self,
        id: Id,
        place: Place,
        lane: &Lane,
        envelope: &Envelope,
        head: &str,
    ) -> Result<(), RestoreError> {
        for (name, member) in named(self.tree, id) {
            let place = match name.as_str() {
                "function" | "function_call" => Place::ARGUMENTS,
                "custom" => Place::TOOL,
                _ => place,
            };
            let list = if self.tree.shape(member) == Shape::String { &GROWS[..] } else { &HOLDS };
            if list.contains(&name.as_str()) {
                let child = self.child(envelope, &format!("{{{head}{}", key_of(&name)), "}")?;
                self.value(member, &name, place, lane, child)?;
            }
        }
        Ok(())
    }
}

impl Envelope {
    fn child(&self, before: &str, after: &str) -> Self {
        let mut child = self.clone();
        child.before.extend_from_slice(before.as_bytes());
        child.after.splice(..0, after.bytes());
        child
    }
}

fn named(tree: &Tree<'_>, object: Id) -> Vec<(String, Id)> {
    if tree.shape(object) != Shape::Object {
        return Vec::new();
    }
    tree.children(object).map(|id| (text(&tree.key(id)), id)).collect()
}

fn key_of(name: &str) -> String {
    format!(r#""{name}":"#)
}

/// An element's own index, or else its position.
fn index(tree: &Tree<'_>, element: Id, position: usize) -> String {
    match tree.member(element, "index") {
        Some(index)
            if tree.shape(index) == Shape::Scalar && tree.raw(index).len() <= DIGITS_MAX =>
        {
            text(tree.raw(index))
        }
        _ => position.to_string(),
    }
}

/// Longest member that an envelope repeats, in bytes: ids, names, times.
const SCALAR_MAX: usize = 1024;

/// Most members that an envelope repeats.
const MEMBERS_MAX: usize = 32;

/// Longest index, in bytes: that of a 64-bit number.
const DIGITS_MAX: usize = 20;

/// An opening brace and the scalar members of `event` but those in `except`, each with a comma.
fn members(tree: &Tree<'_>, event: Id, except: &[&str]) -> Vec<u8> {
    let mut out = vec![b'{'];
    let repeated = tree.children(event).filter(|id| {
        matches!(tree.shape(*id), Shape::Scalar | Shape::String)
            && tree.raw_key(*id).len() + tree.raw(*id).len() <= SCALAR_MAX
            && !except.iter().any(|name| *tree.key(*id) == *name.as_bytes())
    });
    for id in repeated.take(MEMBERS_MAX) {
        out.push(b'"');
        out.extend_from_slice(tree.raw_key(id));
        out.extend_from_slice(br#"":"#);
        out.extend_from_slice(tree.raw(id));
        out.push(b',');
    }
    out
}

fn raw(tree: &Tree<'_>, object: Id, name: &str) -> String {
    tree.member(object, name).map(|id| text(tree.raw(id))).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
