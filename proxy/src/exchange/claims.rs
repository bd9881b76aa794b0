//! Ids of a provider's: those that a request names, and those that an answer hands out. Pure.
//!
//! Only what stands in its schema place counts, as it counts to the provider. Whatever could be
//! read in two ways names nothing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dialect::Dialect;

/// How ids start.
const PREFIXES: [&str; 6] = ["resp_", "conv_", "file-", "file_", "batch_", "msgbatch_"];

/// Shortest rest of an id: whoever hands out shorter ones lets them be guessed, and they stand for
/// nothing.
const REST_MIN: usize = 16;

/// Longest id.
const ID_MAX: usize = 128;

/// Collections of a provider's, whose members have ids.
const COLLECTIONS: [&str; 4] = ["responses", "conversations", "files", "batches"];

/// Ids that a request names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claims {
    /// Of which the provider's consent is a success.
    pub(super) by_status: Vec<String>,
    /// Of which the provider's consent is that its answer names them, too: a server that does not
    /// know such ids passes over them, and succeeds.
    pub(super) by_echo: Vec<String>,
}

/// What an answer says of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Handed {
    /// Ids of what the exchange made, or asked for.
    pub(super) out: Vec<String>,
    /// Ids that it says it goes on from.
    pub(super) echo: Vec<String>,
}

impl Claims {
    /// Those of a request to `path`, without its query, with this body.
    pub(super) fn of(dialect: Dialect, path: &str, body: &[u8]) -> Self {
        let mut claims = Self {
            by_status: in_path(path).map(str::to_owned).into_iter().collect(),
            ..Self::default()
        };
        if !mentions(body) {
            return claims;
        }
        let Ok(named) = serde_json::from_slice::<Named>(body) else { return claims };
        match dialect {
            Dialect::OpenAiResponses => {
                claims.by_echo = ids([named.previous_response_id, named.conversation]);
            }
            Dialect::OpenAiFiles => claims.by_status.extend(ids([named.input_file_id])),
            _ => {}
        }
        claims
    }
}

impl Handed {
    /// What one JSON text says, a body or an event.
    pub(super) fn of(json: &[u8]) -> Self {
        if !mentions(json) {
            return Self::default();
        }
        let Ok(mut answer) = serde_json::from_slice::<Answer>(json) else {
            return Self::default();
        };
        if let Some(wrapped) = answer.response.take() {
            answer = *wrapped;
        }
        let Answer { id, conversation, output_file_id, error_file_id, .. } = answer;
        Self {
            out: ids([id, conversation.clone(), output_file_id, error_file_id]),
            echo: ids([answer.previous_response_id, conversation]),
        }
    }
}

fn ids<const N: usize>(found: [Text; N]) -> Vec<String> {
    found.into_iter().filter_map(|Text(id)| id).filter(|id| is_id(id)).collect()
}

/// Whether `text` is an id as providers hand them out: too long to be guessed.
fn is_id(text: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.len() <= ID_MAX
        && rest.is_some_and(|rest| rest.len() >= REST_MIN && rest.bytes().all(plain))
}

/// The id of the member of a collection that `path` leads to, or below.
fn in_path(path: &str) -> Option<&str> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    // Another server might make another path of it.
    if segments.iter().any(|it| it.is_empty() || *it == "." || *it == "..")
        || path.contains(['%', ';', '\\'])
    {
        return None;
    }
    let mut members = segments.windows(2).filter(|pair| COLLECTIONS.contains(&pair[0]));
    match (members.next(), members.next()) {
        (Some(&[_, id]), None) if is_id(id) => Some(id),
        _ => None,
    }
}

/// Whether a document can hold an id, told without reading it.
fn mentions(json: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| memchr::memmem::find(json, prefix.as_bytes()).is_some())
}

/// Where a request names ids. A name that stands twice is an error, and none is named. Files within
/// its content are not looked for: nothing in an answer says that a server read them.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    previous_response_id: Text,
    conversation: Text,
    input_file_id: Text,
}

/// Where an answer names ids. An event of a stream wraps what is a body elsewhere.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    response: Option<Box<Answer>>,
    id: Text,
    previous_response_id: Text,
    conversation: Text,
    output_file_id: Text,
    error_file_id: Text,
}

/// A string, or the `id` or `file_id` of an object; nothing where it is anything else.
#[derive(Default, Clone)]
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfText)
    }
}

struct OfText;

impl<'de> Visitor<'de> for OfText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let mut found = Text(None);
        while let Some(name) = map.next_key::<String>()? {
            if name != "id" && name != "file_id" {
                map.next_value::<IgnoredAny>()?;
            } else if found.0.is_some() {
                return Err(A::Error::duplicate_field("id"));
            } else {
                found = map.next_value()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESP: &str = "resp_68af4030592c81938ec0a5fb";
    const CONV: &str = "conv_689667905b048191b4740501";
    const FILE: &str = "file-6F2ksmvXxt4VdoqmHRw6kL";

    fn named(dialect: Dialect, path: &str, body: &str) -> Claims {
        Claims::of(dialect, path, body.as_bytes())
    }

    fn claims(by_status: &[&str], by_echo: &[&str]) -> Claims {
        let of = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Claims { by_status: of(by_status), by_echo: of(by_echo) }
    }

    #[test]
    fn ids_count_in_their_schema_place_alone() {
        let responses = |body: &str| named(Dialect::OpenAiResponses, "/v1/responses", body);
        let both =
            format!(r#"{{"previous_response_id":"{RESP}","conversation":{{"id":"{CONV}"}}}}"#);
        assert_eq!(responses(&both), claims(&[], &[RESP, CONV]));
        for elsewhere in [
            format!(r#"{{"metadata":{{"previous_response_id":"{RESP}"}}}}"#),
            format!(r#"{{"input":"{RESP}","user":"{RESP}"}}"#),
            format!(r#"{{"previous_response_id":["{RESP}"]}}"#),
            // Which of the two counts is for each server to choose.
            format!(r#"{{"previous_response_id":"{RESP}","previous_response_id":"resp_0"}}"#),
            format!(r#"{{"conversation":{{"id":"{CONV}","id":"conv_0"}}}}"#),
            format!(r#"{{"previous_response_id":"{RESP}"}} {{}}"#),
            r#"{"previous_response_id":"resp_1"}"#.to_owned(),
            r#"{"previous_response_id":null,"conversation":1,"input_file_id":true}"#.to_owned(),
        ] {
            assert_eq!(responses(&elsewhere), Claims::default(), "{elsewhere}");
        }
        assert_eq!(named(Dialect::OpenAiChat, "/v1/chat/completions", &both), Claims::default());
        let batch = format!(r#"{{"input_file_id":"{FILE}"}}"#);
        assert_eq!(named(Dialect::OpenAiFiles, "/v1/batches", &batch), claims(&[FILE], &[]));
    }

    #[test]
    fn a_path_names_the_member_it_leads_to() {
        let of = |path: &str| named(Dialect::Generic, path, "");
        for path in [
            format!("/v1/files/{FILE}"),
            format!("/v1/files/{FILE}/content"),
            format!("/openai/v1/files/{FILE}/content"),
        ] {
            assert_eq!(of(&path), claims(&[FILE], &[]), "{path}");
        }
        for path in [
            format!("/v1/models/{FILE}"),
            format!("/v1/files/x/../{FILE}"),
            format!("/v1/files/x/{FILE}"),
            format!("/v1/files//{FILE}"),
            format!("/v1/files/{FILE}/../../models"),
            format!("/v1/files/{FILE}/%2e%2e/x"),
            format!("/v1/files/{FILE}/batches/x"),
            "/v1/files/file-1".to_owned(),
            "/v1/files".to_owned(),
        ] {
            assert_eq!(of(&path), Claims::default(), "{path}");
        }
    }

    #[test]
    fn an_answer_hands_out_ids_and_says_what_it_goes_on_from() {
        let of = |json: String| Handed::of(json.as_bytes());
        let other = "resp_0123456789abcdef0123";
        let body = format!(
            r#"{{"id":"{RESP}","object":"response","previous_response_id":"{other}","conversation":null}}"#
        );
        let handed = of(body.clone());
        assert_eq!((handed.out, handed.echo), (vec![RESP.to_owned()], vec![other.to_owned()]));
        let event = of(format!(r#"{{"type":"response.created","response":{body}}}"#));
        assert_eq!((event.out, event.echo), (vec![RESP.to_owned()], vec![other.to_owned()]));
        let batch = of(format!(
            r#"{{"id":"batch_0123456789abcdef","input_file_id":"file-zzzzzzzzzzzzzzzzzzzz","output_file_id":"{FILE}"}}"#
        ));
        assert_eq!(batch.out, ["batch_0123456789abcdef", FILE]);
        // A list of what an account has, and what a model says.
        assert_eq!(of(format!(r#"{{"data":[{{"id":"{FILE}"}}]}}"#)), Handed::default());
        assert_eq!(of(format!(r#"{{"output":[{{"id":"{RESP}"}}]}}"#)), Handed::default());
    }
}
