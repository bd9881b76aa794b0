//! The control link: an operator's verbs, by the socket's file mode and the token.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::codec;
use protocol::control::{CAP, Reply, Request};
use protocol::hello::LinkName;
use protocol::link::LinkError;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::admin::{self, Token, Unmoved, state};
use crate::listen::ended;
use crate::proxy::Proxy;
use crate::upstream::Files;
use crate::wire;

/// Connections at once.
const CONNECTIONS: usize = 8;

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves operators until the process ends.
pub(crate) async fn serve(proxy: Arc<Proxy>, listener: UnixListener, token: Option<Token>) {
    let secret = *token.unwrap_or(Token::new([0; 32])).expose();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let ending = proxy.ending.subscribe();
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let proxy = Arc::clone(&proxy);
                    tokio::spawn(async move {
                        if let Err(error) = connection(&proxy, stream, &secret).await {
                            tracing::debug!(link = "control", %error, "connection ended");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(link = "control", %error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = ended(ending) => {}
    }
}

async fn connection(
    proxy: &Proxy,
    mut stream: UnixStream,
    secret: &[u8; 32],
) -> Result<(), LinkError> {
    let actor = format!("uid:{}", stream.peer_cred()?.uid());
    let late = |_| LinkError::Io(io::ErrorKind::TimedOut.into());
    let hello = wire::accept(&mut stream, LinkName::Control, secret);
    tokio::time::timeout(PATIENCE, hello).await.map_err(late)??;
    loop {
        let frame = wire::read_frame(&mut stream, CAP);
        let frame = tokio::time::timeout(PATIENCE, frame).await.map_err(late)?;
        let request = match frame {
            Ok(frame) => codec::decode(&frame)?,
            Err(LinkError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let reply = answer(proxy, request, &actor).await;
        let reply = codec::encode(&reply);
        let written = wire::write_frame(&mut stream, &reply, CAP);
        tokio::time::timeout(PATIENCE, written).await.map_err(late)??;
    }
}

async fn answer(proxy: &Proxy, request: Request, actor: &str) -> Reply {
    match request {
        Request::Status => Reply::Status { state: state::state(proxy).to_string() },
        Request::Reload => match admin::reloaded(proxy, actor).await {
            Ok(_) => done(proxy),
            Err(reason) => Reply::Refused { reason },
        },
        Request::Arm { reason } => moved(admin::switch(proxy, true, actor, Some(&reason)).await),
        Request::Disarm { reason } => {
            moved(admin::switch(proxy, false, actor, Some(&reason)).await)
        }
        Request::Resolver { resolv_conf, hosts } => {
            match proxy.resolver.replace(Files::parse(&resolv_conf, &hosts)) {
                Ok(()) => done(proxy),
                Err(error) => Reply::Refused { reason: error.to_string() },
            }
        }
    }
}

fn done(proxy: &Proxy) -> Reply {
    Reply::Done { sources_active: proxy.switch.check().names() }
}

fn moved(moved: Result<Vec<String>, Unmoved>) -> Reply {
    match moved {
        Ok(sources_active) => Reply::Done { sources_active },
        Err(Unmoved::Reason) => Reply::Refused { reason: admin::REASON_TEXT.into() },
        Err(Unmoved::Log) => Reply::Refused { reason: admin::LOG_TEXT.into() },
    }
}
