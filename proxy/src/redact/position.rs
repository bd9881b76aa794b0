//! Which part of a body means what, by its place in the schema and never by a key's name alone.

use crate::dialect::Dialect;

mod anthropic;
mod chat;
mod files;
mod plain;
mod responses;

/// What a place in a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Scanned with every pattern and rewritten. Also what every place nobody named is.
    Text,
    /// Text that is JSON, as the arguments of a function call are.
    Json,
    /// Scanned for structured secrets; one refuses the request, since rewriting would break it.
    Protocol,
    /// Passed byte for byte where it looks like ciphertext, else text.
    Opaque,
    /// Passed where it is base64 of what the sibling of this name says, else text.
    Media(&'static str),
    /// Passed where it is a `data:` URL of what it says it is, else text.
    DataUrl,
    /// Signed thinking: the provider's own text where we remember it, else text.
    Thinking,
}

/// A place in a body. Arrays are transparent: their elements are at the array's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    /// Its name in the evidence log.
    pub(crate) rule: &'static str,
    /// What a string here is.
    pub(crate) class: Class,
    /// What the members of an object here are.
    pub(crate) members: Members,
}

/// Members by key. Those not listed are text.
pub(crate) type Fields = &'static [(&'static str, Position)];

/// What the members of an object are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Members {
    /// All text, however deep.
    Free,
    /// As listed in either.
    Named(Fields, Fields),
    /// As listed for what the object's member `tag` says, else as in `common`.
    ByTag {
        /// The member that tells objects apart.
        tag: &'static str,
        /// Members of every object here.
        common: Fields,
        /// Members of objects of one kind.
        types: &'static [(&'static str, Fields)],
    },
}

impl Position {
    pub(super) const fn new(class: Class, rule: &'static str) -> Self {
        Self { rule, class, members: Members::Free }
    }

    const fn named(mut self, fields: Fields) -> Self {
        self.members = Members::Named(fields, &[]);
        self
    }

    const fn named_in_either(mut self, fields: Fields, others: Fields) -> Self {
        self.members = Members::Named(fields, others);
        self
    }

    const fn by_type(mut self, common: Fields, types: &'static [(&'static str, Fields)]) -> Self {
        self.members = Members::ByTag { tag: "type", common, types };
        self
    }

    const fn by_url(mut self, common: Fields, urls: &'static [(&'static str, Fields)]) -> Self {
        self.members = Members::ByTag { tag: "url", common, types: urls };
        self
    }
}

const fn text(rule: &'static str) -> Position {
    Position::new(Class::Text, rule)
}

const fn arguments(rule: &'static str) -> Position {
    Position::new(Class::Json, rule)
}

const fn protocol(rule: &'static str) -> Position {
    Position::new(Class::Protocol, rule)
}

/// Where a body of `dialect` starts.
pub(crate) fn root(dialect: Dialect) -> &'static Position {
    match dialect {
        Dialect::AnthropicMessages => &anthropic::ROOT,
        Dialect::Completions => &plain::COMPLETIONS,
        Dialect::Embeddings => &plain::EMBEDDINGS,
        Dialect::OpenAiChat => &chat::ROOT,
        Dialect::OpenAiFiles => &files::ROOT,
        Dialect::OpenAiResponses => &responses::ROOT,
        Dialect::Generic => &GENERIC,
    }
}

static GENERIC: Position = text("generic");
