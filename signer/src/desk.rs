//! The table of what may be asked when, and by whom.

use std::{fmt, io};

use protocol::codec::{self, Malformed};
use protocol::hello::{self, Hello, Welcome};
use protocol::{mint, seal};
use serde::Serialize;

use crate::clock::{Clock, Now};
use crate::door::Power;
use crate::heads::Head;
use crate::log::Complaints;
use crate::mint::Mint;
use crate::seal::{Ask, Seal};
use crate::wire::Phase;

/// An answer, and what becomes of the caller.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body of the reply frame.
    pub(crate) body: Vec<u8>,
    /// What follows once it is sent.
    pub(crate) then: Then,
}

/// What follows an answer.
#[derive(Debug)]
pub(crate) enum Then {
    /// The caller may ask (on).
    Serve,
    /// The caller is not who it should be.
    Close(&'static str),
    /// The signer could not save what it would have answered for.
    Stop(io::Error),
}

impl Answer {
    fn serve(reply: &impl Serialize) -> Self {
        Self { body: codec::encode(reply), then: Then::Serve }
    }

    /// The reply, or `refused` where something could not be saved.
    fn saved<R: Serialize>(reply: io::Result<R>, refused: &R) -> Self {
        match reply {
            Ok(reply) => Self::serve(&reply),
            Err(error) => Self { body: codec::encode(refused), then: Then::Stop(error) },
        }
    }
}

/// Both powers, and the clock they go by.
pub(crate) struct Desk {
    clock: Clock,
    complaints: Complaints,
    mint: Mint,
    seal: Seal,
}

impl Desk {
    pub(crate) fn new(mint: Mint, seal: Seal) -> Self {
        Self { clock: Clock::start(), complaints: Complaints::new(), mint, seal }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Logs what a caller did, a limited number of times a minute.
    pub(crate) fn complain(&mut self, fields: fmt::Arguments<'_>) {
        self.complaints.say(self.clock.now().monotonic, fields);
    }

    /// Answers one frame. What is not in this table does not decode, and ends the connection.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the frame is no request of this socket.
    pub(crate) fn answer(
        &mut self,
        (phase, power): (Phase, Power),
        secret: &[u8; 32],
        body: &[u8],
    ) -> Result<Answer, Malformed> {
        let now = self.now();
        Ok(match (phase, power) {
            (Phase::Greeting, power) => greet(&codec::decode(body)?, power, secret),
            (Phase::Serving, Power::Mint) => match codec::decode(body)? {
                mint::Request::Leaf { host, public_key } => self.leaf(&host, &public_key, now),
                mint::Request::Names => Answer::serve(&self.mint.names()),
            },
            (Phase::Serving, Power::Seal) => match codec::decode(body)? {
                seal::Request::SignCheckpoint { old_size, new_size, new_root, proof, in_log } => {
                    let head = Head { size: new_size, root: new_root };
                    self.sign(&Ask { old_size, head, proof, in_log }, now)
                }
                seal::Request::Status => Answer::serve(&self.seal.status(now)),
                seal::Request::SignManifest { manifest_sha256, tree_size, root } => {
                    let head = Head { size: tree_size, root };
                    self.sign_manifest(manifest_sha256, head, now)
                }
            },
        })
    }

    fn leaf(&mut self, host: &str, public_key: &[u8], now: Now) -> Answer {
        let reply = self.mint.leaf(host, public_key, now);
        if let Ok(mint::Reply::Refused(refusal)) = &reply {
            let host: String = host.chars().take(LONGEST_NAME).collect();
            self.complain(format_args!(
                "event=refused link=mint cause=\"{refusal}\" host={host:?}"
            ));
        }
        Answer::saved(reply, &mint::Reply::Refused(mint::Refusal::Internal))
    }

    /// Every refusal here but a lost answer means that somebody rewrote the log.
    fn sign(&mut self, ask: &Ask, now: Now) -> Answer {
        let reply = self.seal.sign(ask, now);
        if let Ok(seal::Reply::Refused(refusal)) = &reply {
            let Ask { old_size, head, .. } = ask;
            self.complain(format_args!(
                "event=refused link=seal cause={refusal:?} old_size={old_size} new_size={} new_root={}",
                head.size,
                protocol::evidence::hex::encode(&head.root)
            ));
        }
        Answer::saved(reply, &seal::Reply::Refused(seal::Refusal::Internal))
    }
}

impl Desk {
    fn sign_manifest(&mut self, sha256: [u8; 32], head: Head, now: Now) -> Answer {
        let reply = self.seal.sign_manifest(sha256, head, now);
        if let Ok(seal::Reply::Refused(refusal)) = &reply {
            let size = head.size;
            self.complain(format_args!(
                "event=refused link=seal cause={refusal:?} manifest_of_size={size}"
            ));
        }
        Answer::saved(reply, &seal::Reply::Refused(seal::Refusal::Internal))
    }
}

fn greet(hello: &Hello, power: Power, secret: &[u8; 32]) -> Answer {
    let welcome = hello::welcome(hello, power.link(), secret);
    let then = match &welcome {
        Welcome::Accepted => Then::Serve,
        Welcome::WrongLink { .. } => Then::Close("hello of another link"),
        Welcome::WrongVersion { .. } => Then::Close("hello of another version"),
        Welcome::WrongSecret => Then::Close("wrong secret"),
    };
    Answer { body: codec::encode(&welcome), then }
}

/// Of a DNS name, in characters.
const LONGEST_NAME: usize = 253;
