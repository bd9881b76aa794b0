//! Sessions of agents: whose requests they were. No clock: time is a parameter.
//!
//! Claude Code names its session in a header. Whoever names none gets an id derived from what its
//! requests have in common: the credential, the program, and what other agents call a session or
//! conversation. A derived id is a keyed hash, which says nothing about any of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::USER_AGENT;

use crate::placeholder::SessionKey;
use crate::store::CREDENTIAL_HEADERS;

/// The header in which Claude Code names its session.
pub(crate) const HEADER: &str = "x-claude-code-session-id";

/// Headers by which other agents tell their sessions apart. Their values are only hashed.
const HINTS: [&str; 4] = ["session_id", "session-id", "conversation_id", "x-session-id"];

/// Sessions that are kept: then the one that was idle for longest makes way.
pub(crate) const MOST: usize = 256;

/// A session that is idle for this long is over.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);

/// Hosts of one session that are kept.
const HOSTS: usize = 8;

/// Longest name of a program that is kept, in bytes.
const PROGRAM_MAX: usize = 32;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Its id, fit for a log line.
    pub(crate) id: String,
    /// Whether the client named it, or it was derived.
    pub(crate) is_named: bool,
    /// The program, as it calls itself.
    pub(crate) program: String,
}

impl Session {
    /// The session of a request with these headers; `named` is what it calls it, if that is fit
    /// for a log line.
    pub(crate) fn of(key: &SessionKey, headers: &HeaderMap, named: Option<String>) -> Self {
        let program = program(headers);
        let is_named = named.is_some();
        let id = named.unwrap_or_else(|| derived(key, headers, &program));
        Self { id, is_named, program }
    }
}

fn derived(key: &SessionKey, headers: &HeaderMap, program: &str) -> String {
    let value = |name: &'static str| Some((name, headers.get(name)?.as_bytes()));
    let credential = CREDENTIAL_HEADERS.into_iter().find_map(value).unwrap_or(("none", b""));
    let hints = HINTS.into_iter().filter_map(value);
    // No part can hold a NUL.
    let mut text = b"session\0".to_vec();
    for (name, value) in std::iter::once(credential).chain(hints) {
        text.extend_from_slice(&[name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    text.extend_from_slice(program.as_bytes());
    let digest = key.digest(&text);
    let hex = digest[..8].iter().map(|byte| format!("{byte:02x}"));
    format!("derived-{}", hex.collect::<String>())
}

/// The first product in `user-agent`, without its version.
fn program(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = text.split(['/', ' ']).next().unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=PROGRAM_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        name.to_owned()
    } else {
        "unknown".to_owned()
    }
}

/// What a session did.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Whose it is.
    pub(crate) session: Session,
    /// Its first request that was let out.
    pub(crate) started: SystemTime,
    /// Its last sign of life.
    pub(crate) last: Instant,
    /// Hosts it spoke to.
    pub(crate) hosts: BTreeSet<String>,
    /// Requests that were let out.
    pub(crate) requests: u64,
    /// Values replaced.
    pub(crate) redactions: u64,
    /// The same by type.
    pub(crate) types: BTreeMap<String, u64>,
    /// Placeholders restored.
    pub(crate) restored: u64,
    /// Placeholder-shaped texts that were not ours.
    pub(crate) unknown: u64,
    /// Requests refused.
    pub(crate) refused: u64,
}

/// The sessions that are not over.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    tallies: HashMap<String, Tally>,
    /// How many there were since the start.
    pub(crate) started: u64,
    /// How many made way for others before they were over.
    pub(crate) displaced: u64,
}

impl Sessions {
    /// A request of `session` to `host` was let out.
    pub(crate) fn begin(
        &mut self,
        session: &Session,
        host: &str,
        (now, at): (Instant, SystemTime),
    ) -> &mut Tally {
        if !self.tallies.contains_key(&session.id) {
            self.make_room(now);
            self.started += 1;
        }
        let tally = self.tallies.entry(session.id.clone()).or_insert_with(|| Tally {
            session: session.clone(),
            started: at,
            last: now,
            hosts: BTreeSet::new(),
            requests: 0,
            redactions: 0,
            types: BTreeMap::new(),
            restored: 0,
            unknown: 0,
            refused: 0,
        });
        tally.last = now;
        if tally.hosts.len() < HOSTS && !tally.hosts.contains(host) {
            tally.hosts.insert(host.to_owned());
        }
        tally
    }

    /// The tally of `id`, if its first request was let out, and it is not over.
    pub(crate) fn go_on(&mut self, id: &str, now: Instant) -> Option<&mut Tally> {
        let tally = self.tallies.get_mut(id)?;
        tally.last = now;
        Some(tally)
    }

    /// The sessions that are not over `now`, the latest sign of life first.
    pub(crate) fn live(&mut self, now: Instant) -> Vec<Tally> {
        self.end(now);
        let mut live: Vec<Tally> = self.tallies.values().cloned().collect();
        live.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.session.id.cmp(&b.session.id)));
        live
    }

    fn end(&mut self, now: Instant) {
        self.tallies.retain(|_, tally| now.saturating_duration_since(tally.last) < IDLE);
    }

    fn make_room(&mut self, now: Instant) {
        if self.tallies.len() < MOST {
            return;
        }
        self.end(now);
        if self.tallies.len() < MOST {
            return;
        }
        let oldest = self.tallies.values().min_by_key(|tally| tally.last);
        if let Some(id) = oldest.map(|tally| tally.session.id.clone()) {
            self.tallies.remove(&id);
            self.displaced += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn session(pairs: &[(&'static str, &str)]) -> Session {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let named = headers.get(HEADER).map(|value| value.to_str().unwrap().to_owned());
        Session::of(&SessionKey::new([7; 32]), &headers, named)
    }

    #[test]
    fn a_session_has_the_name_its_agent_gives_it() {
        let agent = ("user-agent", "claude-cli/2.1.197 (external, cli)");
        let named = session(&[(HEADER, "a-1"), ("x-api-key", "k"), agent]);
        let expected = Session { id: "a-1".into(), is_named: true, program: "claude-cli".into() };
        assert_eq!(named, expected);
    }

    #[test]
    fn others_are_told_apart_by_credential_program_and_conversation() {
        let of = |key, agent, hint| {
            session(&[("x-api-key", key), ("user-agent", agent), ("session_id", hint)])
        };
        let one = of("k", "codex/0.169", "1");
        assert!(!one.is_named && one.id.starts_with("derived-") && one.id.len() == 24);
        // A version is no other program.
        assert_eq!(one, of("k", "codex/0.170", "1"));
        for other in [of("l", "codex", "1"), of("k", "aider", "1"), of("k", "codex", "2")] {
            assert_ne!(one.id, other.id);
        }
    }

    #[test]
    fn a_program_is_a_plain_word() {
        for text in ["", "a b\"c", "<b>/1", &"x".repeat(33)] {
            let program = session(&[("user-agent", text)]).program;
            assert!(["unknown", "a"].contains(&program.as_str()), "{program}");
        }
    }

    #[test]
    fn parallel_sessions_are_counted_apart() {
        let mut sessions = Sessions::default();
        let when = (Instant::now(), SystemTime::now());
        let (a, b) = (session(&[(HEADER, "a")]), session(&[(HEADER, "b")]));
        for (turn, one) in [&a, &b, &a, &b, &a].into_iter().enumerate() {
            let tally = sessions.begin(one, "h.example", when);
            tally.requests += 1;
            tally.redactions += turn as u64;
        }
        sessions.go_on("a", when.0).unwrap().restored += 3;
        let live = sessions.live(when.0);
        let told: Vec<_> =
            live.iter().map(|it| (it.session.id.as_str(), it.requests, it.redactions)).collect();
        assert_eq!(told, [("a", 3, 6), ("b", 2, 4)]);
        assert_eq!((live[0].restored, live[1].restored, sessions.started), (3, 0, 2));
    }

    #[test]
    fn no_client_makes_it_keep_more_than_so_many() {
        let mut sessions = Sessions::default();
        let (start, at) = (Instant::now(), SystemTime::now());
        for n in 0..1000u32 {
            let when = (start + Duration::from_millis(n.into()), at);
            for host in 0..20 {
                let named = session(&[(HEADER, &format!("s{n}"))]);
                sessions.begin(&named, &format!("h{host}.example"), when);
            }
        }
        let live = sessions.live(start + Duration::from_secs(1));
        assert_eq!((live.len(), live[0].session.id.as_str()), (MOST, "s999"));
        assert!(live.iter().all(|tally| tally.hosts.len() == HOSTS));
        assert_eq!(sessions.displaced, 1000 - MOST as u64);
        assert!(sessions.live(start + IDLE * 2).is_empty());
    }
}
