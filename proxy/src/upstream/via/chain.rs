//! CONNECT, as a client (RFC 9110 section 9.3.6).

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::Via;
use crate::hosts::Upstream;

/// Largest head of an answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Why a proxy leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It wants credentials, or others (407).
    Credentials,
    /// It does not let this host be connected to (403).
    Host,
    /// Another status.
    Status(u16),
    /// What it says is no answer to a CONNECT.
    Garbage,
    /// It hung up.
    HungUp,
    /// It took too long.
    Slow,
    /// Nobody is there, or its name does not resolve.
    Away,
}

impl Refused {
    /// For the client.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Credentials => {
                "the upstream proxy wants other credentials (407): see upstream_proxy in config.yaml"
            }
            Self::Host => "the upstream proxy does not let it be connected to (403)",
            Self::Status(_) => "the upstream proxy cannot connect to it",
            Self::Garbage => "what the upstream proxy answers is not HTTP",
            Self::HungUp => "the upstream proxy hung up before it answered",
            Self::Slow => "the upstream proxy did not answer in time",
            Self::Away => "the upstream proxy cannot be reached",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{} ({status})", self.text()),
            _ => f.write_str(self.text()),
        }
    }
}

/// Asks `via`, which is at the other end of `stream`, to connect to `target`. What is sent on
/// `stream` then arrives there.
///
/// # Errors
///
/// [`Refused`].
pub(in super::super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    via: &Via,
    target: &Upstream,
) -> Result<(), Refused> {
    let gone = |_: io::Error| Refused::HungUp;
    stream.write_all(request(via, target).as_bytes()).await.map_err(gone)?;
    stream.flush().await.map_err(gone)?;
    let mut head = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut head).await.map_err(gone)? == 0 {
            return Err(if head.is_empty() { Refused::HungUp } else { Refused::Garbage });
        }
        match answer(&head) {
            None if head.len() < HEAD_MAX => {}
            None => return Err(Refused::Garbage),
            Some(answered) => return answered,
        }
    }
}

fn request(via: &Via, target: &Upstream) -> Zeroizing<String> {
    let place = match target {
        Upstream::Address(address) => address.to_string(),
        Upstream::Name(name, port) => format!("{name}:{port}"),
    };
    let mut request = Zeroizing::new(String::with_capacity(1024));
    request.push_str("CONNECT ");
    request.push_str(&place);
    request.push_str(" HTTP/1.1\r\nHost: ");
    request.push_str(&place);
    if let Some(authorization) = &via.authorization {
        request.push_str("\r\nProxy-Authorization: ");
        request.push_str(authorization);
    }
    request.push_str("\r\n\r\n");
    request
}

/// What `head`, as far as it came, answers; `None` until all of it is there.
///
/// Nothing may follow the head of a success: the other end does not speak before it was spoken to,
/// so these bytes would be the proxy's own.
fn answer(head: &[u8]) -> Option<Result<(), Refused>> {
    let start = b"HTTP/1.";
    if head[..head.len().min(start.len())] != start[..head.len().min(start.len())] {
        return Some(Err(Refused::Garbage));
    }
    let end = memchr::memmem::find(head, b"\r\n\r\n")? + 4;
    Some(match status(head) {
        Some(200..=299) if head.len() == end => Ok(()),
        Some(407) => Err(Refused::Credentials),
        Some(403) => Err(Refused::Host),
        Some(status @ 300..=599) => Err(Refused::Status(status)),
        _ => Err(Refused::Garbage),
    })
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.splitn(3, ' ');
    let version = words.next()?;
    let status = words.next().filter(|status| status.len() == 3)?;
    matches!(version, "HTTP/1.0" | "HTTP/1.1").then(|| status.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn ask_one_that_says(text: &[u8]) -> (Result<(), Refused>, String) {
        let via = Via::parse("http://user:pass@p.example:3128").unwrap();
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(text).await.unwrap();
        theirs.shutdown().await.unwrap();
        let target = Upstream::parse("api.openai.com:443").unwrap();
        let answered = ask(&mut ours, &via, &target).await;
        drop(ours);
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        (answered, asked)
    }

    #[tokio::test]
    async fn asks_by_name_with_its_credentials() {
        let fine = b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n";
        let (answered, asked) = ask_one_that_says(fine).await;
        assert_eq!(answered, Ok(()));
        assert_eq!(
            asked,
            "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\
             Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn every_other_answer_is_a_refusal_of_its_own() {
        let long = [b"HTTP/1.1 200 x\r\nA: ".as_slice(), &[b'x'; HEAD_MAX]].concat();
        for (text, refused) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], Refused::Credentials),
            (b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nwhy..", Refused::Host),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Refused::Status(502)),
            (b"HTTP/1.1 302 Found\r\n\r\n", Refused::Status(302)),
            (b"HTTP/1.1 101 x\r\n\r\n", Refused::Garbage),
            (b"HTTP/2 200 x\r\n\r\n", Refused::Garbage),
            (b"HTTP/1.1 20 x\r\n\r\n", Refused::Garbage),
            (b"HTTP/1.1 +20 x\r\n\r\n", Refused::Garbage),
            (b"SSH-2.0-x\r\n", Refused::Garbage),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", Refused::Garbage),
            (b"HTTP/1.1 200 OK\r\n", Refused::Garbage),
            (b"", Refused::HungUp),
            (&long, Refused::Garbage),
        ] {
            assert_eq!(ask_one_that_says(text).await.0, Err(refused), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_read_in_two_ways(head in prop::collection::vec(any::<u8>(), 0..64)) {
            // Wherever it is cut: what was decided on a part holds for the whole.
            let full = [b"HTTP/1.1 ".as_slice(), &head].concat();
            for cut in 0..full.len() {
                if let Some(Err(refused)) = answer(&full[..cut]) {
                    prop_assert_eq!(answer(&full), Some(Err(refused)));
                }
            }
        }
    }
}
