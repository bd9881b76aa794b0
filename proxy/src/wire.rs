//! The async end of a link: same frames and hello as `protocol::link`, on tokio's sockets.

use std::io;
use std::path::Path;

use protocol::codec;
use protocol::frame;
use protocol::hello::{self, Hello, LinkName, VERSION, Welcome};
use protocol::link::LinkError;
use sandbox::peer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// Opens a connection to the socket at `path`, whose listener must be `uid`'s, or a unit's.
///
/// # Errors
///
/// What the socket did; `PermissionDenied` when somebody else listens there.
pub(crate) async fn dial(path: &Path, uid: u32) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    peer::expect_listener(&stream, uid)
        .map_err(|stranger| io::Error::new(io::ErrorKind::PermissionDenied, stranger))?;
    Ok(stream)
}

/// Reads one frame, whose length is checked against `cap` before anything is allocated.
///
/// # Errors
///
/// [`LinkError::Closed`] at the end of the stream between frames.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    cap: usize,
) -> Result<Vec<u8>, LinkError> {
    let mut prefix = [0; frame::PREFIX];
    let first = stream.read(&mut prefix).await?;
    if first == 0 {
        return Err(LinkError::Closed);
    }
    stream.read_exact(&mut prefix[first..]).await?;
    let mut body = vec![0; frame::announced(prefix, cap)?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Writes one frame in one `write`.
///
/// # Errors
///
/// When the socket fails, or `body` is over `cap`.
pub(crate) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &[u8],
    cap: usize,
) -> Result<(), LinkError> {
    stream.write_all(&frame::frame(body, cap)?).await?;
    Ok(stream.flush().await?)
}

/// Says hello on a fresh connection.
///
/// # Errors
///
/// [`LinkError::Unwelcome`] when the peer refuses, else what the socket or the frames did.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    link: LinkName,
    secret: &[u8; 32],
) -> Result<(), LinkError> {
    let hello = Hello { link, version: VERSION, secret: *secret };
    write_frame(stream, &codec::encode(&hello), hello::CAP).await?;
    match codec::decode(&read_frame(stream, hello::CAP).await?)? {
        Welcome::Accepted => Ok(()),
        unwelcome => Err(LinkError::Unwelcome(unwelcome)),
    }
}

/// Hears and answers the hello of a fresh connection.
///
/// # Errors
///
/// [`LinkError::Unwelcome`] after telling the peer, else what the socket or the frames did.
pub(crate) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    link: LinkName,
    secret: &[u8; 32],
) -> Result<(), LinkError> {
    let hello: Hello = codec::decode(&read_frame(stream, hello::CAP).await?)?;
    let answer = hello::welcome(&hello, link, secret);
    write_frame(stream, &codec::encode(&answer), hello::CAP).await?;
    match answer {
        Welcome::Accepted => Ok(()),
        unwelcome => Err(LinkError::Unwelcome(unwelcome)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_agree_on_the_hello_and_carry_frames() {
        let (mut ours, mut theirs) = tokio::io::duplex(256);
        let (connected, accepted) = tokio::join!(
            connect(&mut ours, LinkName::Mint, &[3; 32]),
            accept(&mut theirs, LinkName::Mint, &[3; 32]),
        );
        connected.unwrap();
        accepted.unwrap();
        write_frame(&mut ours, b"body", 16).await.unwrap();
        assert_eq!(read_frame(&mut theirs, 16).await.unwrap(), b"body");
    }

    #[tokio::test]
    async fn a_wrong_secret_is_told_to_both_ends() {
        let (mut ours, mut theirs) = tokio::io::duplex(256);
        let (connected, accepted) = tokio::join!(
            connect(&mut ours, LinkName::Append, &[3; 32]),
            accept(&mut theirs, LinkName::Append, &[4; 32]),
        );
        assert!(matches!(connected, Err(LinkError::Unwelcome(Welcome::WrongSecret))));
        assert!(matches!(accepted, Err(LinkError::Unwelcome(Welcome::WrongSecret))));
    }

    #[tokio::test]
    async fn an_oversize_frame_is_refused_before_its_body_comes() {
        let (mut ours, mut theirs) = tokio::io::duplex(256);
        ours.write_all(&17u32.to_be_bytes()).await.unwrap();
        assert!(matches!(read_frame(&mut theirs, 16).await, Err(LinkError::Oversize(_))));
    }
}
