//! A blocking end of a link: `Out` goes, `In` comes, and nothing else can.

use std::io::{self, Read, Write};
use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::codec::{self, Malformed};
use crate::frame::{self, Oversize};
use crate::hello::{self, Hello, LinkName, VERSION, Welcome};

/// Why a link failed. Any of these ends the connection.
#[derive(Debug)]
pub enum LinkError {
    /// The peer closed between frames.
    Closed,
    /// The socket failed, or the peer closed inside a frame.
    Io(io::Error),
    /// A frame is over the cap.
    Oversize(Oversize),
    /// A frame does not decode.
    Malformed(Malformed),
    /// The peer did not accept the hello.
    Unwelcome(Welcome),
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("peer closed the link"),
            Self::Io(error) => write!(f, "link failed: {error}"),
            Self::Oversize(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Unwelcome(Welcome::WrongLink { here }) => {
                write!(f, "another link listens here: {here:?}")
            }
            Self::Unwelcome(Welcome::WrongVersion { here }) => {
                write!(f, "link version {VERSION} here, {here} there: restart all of Waterwall")
            }
            Self::Unwelcome(_) => f.write_str("peer does not accept this link's secret"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Oversize> for LinkError {
    fn from(error: Oversize) -> Self {
        Self::Oversize(error)
    }
}

impl From<Malformed> for LinkError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// One end of an established link.
#[derive(Debug)]
pub struct Link<S, Out, In> {
    stream: S,
    cap: usize,
    ends: PhantomData<fn(Out) -> In>,
}

impl<S: Read + Write, Out: Serialize, In: Serialize + DeserializeOwned> Link<S, Out, In> {
    /// Says hello on a fresh connection.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unwelcome`] when the peer refuses, else what the socket or the frames did.
    pub fn connect(
        mut stream: S,
        name: LinkName,
        secret: &[u8; 32],
        cap: usize,
    ) -> Result<Self, LinkError> {
        let hello = Hello { link: name, version: VERSION, secret: *secret };
        write_frame(&mut stream, &codec::encode(&hello), hello::CAP)?;
        match codec::decode(&read_frame(&mut stream, hello::CAP)?)? {
            Welcome::Accepted => Ok(Self { stream, cap, ends: PhantomData }),
            unwelcome => Err(LinkError::Unwelcome(unwelcome)),
        }
    }

    /// Hears and answers the hello of a fresh connection.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unwelcome`] after telling the peer, else what the socket or the frames did.
    pub fn accept(
        mut stream: S,
        name: LinkName,
        secret: &[u8; 32],
        cap: usize,
    ) -> Result<Self, LinkError> {
        let hello: Hello = codec::decode(&read_frame(&mut stream, hello::CAP)?)?;
        let answer = hello::welcome(&hello, name, secret);
        write_frame(&mut stream, &codec::encode(&answer), hello::CAP)?;
        match answer {
            Welcome::Accepted => Ok(Self { stream, cap, ends: PhantomData }),
            unwelcome => Err(LinkError::Unwelcome(unwelcome)),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// When the socket fails, or the message is over the cap.
    pub fn send(&mut self, message: &Out) -> Result<(), LinkError> {
        // Some messages carry what must not stay in memory.
        write_frame(&mut self.stream, &Zeroizing::new(codec::encode(message)), self.cap)
    }

    /// Waits for one message.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] when the peer is done, else what the socket or the frame did.
    pub fn receive(&mut self) -> Result<In, LinkError> {
        Ok(codec::decode(&Zeroizing::new(read_frame(&mut self.stream, self.cap)?))?)
    }

    /// Sends one message and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`Self::send`] and [`Self::receive`].
    pub fn call(&mut self, message: &Out) -> Result<In, LinkError> {
        self.send(message)?;
        self.receive()
    }

    /// The stream underneath, for deadlines and splitting.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Gives the stream back; bytes already decoded are gone.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

/// Writes one frame in one `write`.
///
/// # Errors
///
/// When the socket fails, or `body` is over `cap`.
pub fn write_frame(stream: &mut impl Write, body: &[u8], cap: usize) -> Result<(), LinkError> {
    stream.write_all(&Zeroizing::new(frame::frame(body, cap)?))?;
    Ok(stream.flush()?)
}

/// Reads one frame, whose length is checked against `cap` before anything is allocated.
///
/// # Errors
///
/// [`LinkError::Closed`] at the end of the stream between frames.
pub fn read_frame(stream: &mut impl Read, cap: usize) -> Result<Vec<u8>, LinkError> {
    let mut prefix = [0; frame::PREFIX];
    let first = loop {
        match stream.read(&mut prefix) {
            Ok(n) => break n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    };
    if first == 0 {
        return Err(LinkError::Closed);
    }
    stream.read_exact(&mut prefix[first..])?;
    let mut body = vec![0; frame::announced(prefix, cap)?];
    stream.read_exact(&mut body)?;
    Ok(body)
}
