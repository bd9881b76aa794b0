//! An exchange that goes on from what another one left at the provider.
//!
//! The placeholders of what is kept under an id come back in answers to whoever names it. They are
//! restored where the id is one that this host handed out, and the provider itself agrees that the
//! client may go on from it: naming an id alone joins nothing.

use crate::proxy::Proxy;
use crate::store::{Joined, Pin};

use super::claims::{Claims, Handed};

/// Most of a stream that is read for its first event, in bytes: it repeats instructions and tools.
const FIRST_MAX: usize = 1024 * 1024;

/// What one exchange, or one WebSocket, has to do with ids.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Values of the requests.
    own: Joined,
    /// Values of what the provider agreed to go on from.
    joined: Joined,
    /// Known ids that were named, whose echo is awaited.
    awaited: Vec<(String, Joined)>,
    /// Of known ids in whose case a success is enough.
    by_status: Joined,
    /// The start of a stream, up to its first event.
    first: Option<First>,
}

impl Joining {
    /// A request to `host` with these values, which names what `claims` finds.
    pub(super) fn ask(
        &mut self,
        proxy: &Proxy,
        host: &str,
        pin: Option<&Pin>,
        claims: impl FnOnce() -> Claims,
    ) {
        if let Some(pin) = pin {
            self.own = self.own.and(&pin.values());
        }
        self.awaited.clear();
        if proxy.bindings.is_empty() {
            return;
        }
        let Claims { by_status, by_echo } = claims();
        let named = |id: &String| proxy.bindings.named(&proxy.key, host, id);
        self.by_status =
            by_status.iter().filter_map(named).fold(Joined::default(), |all, it| all.and(&it));
        self.awaited = by_echo.into_iter().filter_map(|id| named(&id).map(|it| (id, it))).collect();
    }

    /// The provider answered. What it refused is not gone on from, and hands out nothing.
    pub(super) fn answered(&mut self, is_success: bool) {
        if is_success {
            self.joined = self.joined.and(&self.by_status);
            self.first = Some(First::default());
        } else {
            *self = Self::default();
        }
    }

    /// A whole body, or an event, of the answer, before it is restored.
    pub(super) fn hear(&mut self, proxy: &Proxy, host: &str, json: &[u8]) {
        if !self.is_concerned() {
            return;
        }
        let Handed { out, echo } = Handed::of(json);
        for (id, values) in &self.awaited {
            if echo.contains(id) {
                self.joined = self.joined.and(values);
                tracing::info!(host, "joins what the provider keeps from earlier");
            }
        }
        let values = self.joined.and(&self.own);
        for id in &out {
            proxy.bindings.bind(&proxy.key, host, id, &values);
        }
    }

    /// The next piece of a stream of events, of which the first says what there is to know.
    pub(super) fn hear_piece(&mut self, proxy: &Proxy, host: &str, piece: &[u8]) {
        if !self.is_concerned() {
            self.first = None;
        }
        let Some(mut first) = self.first.take() else { return };
        match first.push(piece) {
            Some(data) => self.hear(proxy, host, &data),
            None if first.size <= FIRST_MAX => self.first = Some(first),
            None => {}
        }
    }

    /// What the answer may name besides its own client's.
    pub(super) fn joined(&self) -> &Joined {
        &self.joined
    }

    /// Whether anything could come of what an answer says.
    pub(super) fn is_concerned(&self) -> bool {
        !(self.own.is_empty() && self.joined.is_empty() && self.awaited.is_empty())
    }
}

/// A stream up to the first event that has data. Each byte is looked at once.
#[derive(Debug, Default)]
struct First {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    size: usize,
}

impl First {
    /// The data of that event, once `piece` ends it.
    fn push(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.size += piece.len();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                break;
            }
            let line = self.line.trim_ascii_end();
            if let Some(more) = line.strip_prefix(b"data:") {
                self.data.get_or_insert_default().extend([more, b"\n"].concat());
            } else if line.is_empty() && self.data.is_some() {
                return self.data.take();
            }
            self.line.clear();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::placeholder::{Kind, Minted, Secret, Sticky};
    use crate::restore::{Resolution, Resolve};
    use crate::store::Scope;

    const HOST: &str = "api.openai.com";
    const FIRST: &str = "resp_68af4030592c81938ec0a5fb";
    const SECOND: &str = "resp_0123456789abcdef01234567";

    struct Story {
        _dir: tempfile::TempDir,
        proxy: Proxy,
    }

    impl Story {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { proxy: Proxy::for_tests(dir.path()), _dir: dir }
        }

        fn scope(&self, credential: &'static str) -> Scope {
            Scope::of(&self.proxy.key, HOST, |name| {
                (name == "authorization").then_some(credential.as_bytes())
            })
        }

        fn pin(&self, credential: &'static str, value: &str) -> Pin {
            let minted = Minted {
                kind: Kind::new("X").unwrap(),
                tag: self.proxy.key.tag(value.as_bytes()),
                plaintext: Secret::new(value.as_bytes().to_vec()),
                sticky: Sticky::No,
            };
            self.proxy.store.pin(self.scope(credential), &[minted], Instant::now()).unwrap()
        }

        fn resolves(&self, credential: &'static str, joining: &Joining, value: &str) -> bool {
            let tag = self.proxy.key.tag(value.as_bytes());
            let resolver = self.proxy.store.resolver(self.scope(credential), Instant::now());
            let mut out = Vec::new();
            let resolver = resolver.with(joining.joined());
            resolver.resolve("X", tag, &mut out) == Resolution::Known && out == value.as_bytes()
        }

        /// A turn by `credential` that names `previous`, answered with `answer`.
        fn turn(
            &self,
            pin: Option<&Pin>,
            previous: Option<&str>,
            answer: &str,
            is_success: bool,
        ) -> Joining {
            let mut joining = Joining::default();
            let by_echo = previous.map(str::to_owned).into_iter().collect();
            let claims = || Claims { by_echo, ..Claims::default() };
            joining.ask(&self.proxy, HOST, pin, claims);
            joining.answered(is_success);
            let stream = format!(": hi\n\nevent: response.created\ndata: {answer}\n\n");
            for byte in stream.as_bytes() {
                joining.hear_piece(&self.proxy, HOST, &[*byte]);
            }
            joining
        }
    }

    fn created(id: &str, previous: Option<&str>) -> String {
        serde_json::json!({"type": "response.created",
            "response": {"id": id, "object": "response", "previous_response_id": previous}})
        .to_string()
    }

    #[test]
    fn a_refreshed_credential_goes_on_from_the_turn_before_and_the_one_before_that() {
        let story = Story::new();
        let one = story.pin("old", "first value");
        story.turn(Some(&one), None, &created(FIRST, None), true);
        let two = story.pin("new", "second value");
        let joining = story.turn(Some(&two), Some(FIRST), &created(SECOND, Some(FIRST)), true);
        assert!(story.resolves("new", &joining, "first value"));
        let third = "resp_ffffffffffffffffffffffff";
        let joining = story.turn(None, Some(SECOND), &created(third, Some(SECOND)), true);
        assert!(story.resolves("newest", &joining, "first value"));
        assert!(story.resolves("newest", &joining, "second value"));
    }

    #[test]
    fn only_the_values_of_that_conversation_come_with_an_id() {
        let story = Story::new();
        let one = story.pin("old", "first value");
        let _other = story.pin("old", "of another conversation");
        story.turn(Some(&one), None, &created(FIRST, None), true);
        let joining = story.turn(None, Some(FIRST), &created(SECOND, Some(FIRST)), true);
        assert!(!story.resolves("new", &joining, "of another conversation"));
    }

    #[test]
    fn p6_naming_an_id_joins_nothing_unless_the_provider_agrees() {
        let story = Story::new();
        let one = story.pin("victim", "first value");
        story.turn(Some(&one), None, &created(FIRST, None), true);
        for (what, previous, answer, is_success) in [
            ("a refusal, whatever it says", Some(FIRST), created(SECOND, Some(FIRST)), false),
            ("one that passes over the id", Some(FIRST), created(SECOND, None), true),
            ("one that goes on from another", Some(FIRST), created(SECOND, Some(SECOND)), true),
            ("a guess", Some(SECOND), created(SECOND, Some(SECOND)), true),
            ("an echo unasked", None, created(SECOND, Some(FIRST)), true),
            ("an id handed out twice", None, created(FIRST, None), true),
        ] {
            let joining = story.turn(None, previous, &answer, is_success);
            assert!(!story.resolves("thief", &joining, "first value"), "{what}");
        }
    }

    #[test]
    fn a_member_in_the_path_is_joined_where_it_was_given_out() {
        let story = Story::new();
        let one = story.pin("old", "first value");
        let file = "file-6F2ksmvXxt4VdoqmHRw6kL";
        let mut joining = Joining::default();
        joining.ask(&story.proxy, HOST, Some(&one), Claims::default);
        joining.answered(true);
        joining.hear(&story.proxy, HOST, format!(r#"{{"id":"{file}"}}"#).as_bytes());
        for is_success in [true, false] {
            let mut joining = Joining::default();
            let by_status = vec![file.to_owned()];
            joining.ask(&story.proxy, HOST, None, || Claims { by_status, ..Claims::default() });
            assert!(!story.resolves("new", &joining, "first value"));
            joining.answered(is_success);
            assert_eq!(story.resolves("new", &joining, "first value"), is_success);
        }
    }
}
