//! The control link: an operator's verbs, by the socket's file mode and the token.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use protocol::codec;
use protocol::control::{CAP, Hidden, Reply, Request, Secret, Which};
use protocol::hello::LinkName;
use protocol::link::LinkError;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::admin::state::Audience;
use crate::admin::{self, Token, Unmoved, state};
use crate::listen::ended;
use crate::placeholder::{KIND_MAX, Kind};
use crate::proxy::Proxy;
use crate::redact::LITERAL;
use crate::serve::told;
use crate::store::{NotRegistered, Registered, VALUE_MIN};
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
            // It may hold a value to register.
            Ok(frame) => codec::decode(&Zeroizing::new(frame))?,
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
        Request::Status => {
            Reply::Status { state: state::state(proxy, Audience::Operator).await.to_string() }
        }
        Request::Reload => match admin::reloaded(proxy, actor).await {
            Ok(_) => done(proxy),
            Err(refused) => Reply::Refused { reason: refused.to_string() },
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
        Request::SecretAdd { kind, value } => secret_add(proxy, &kind, &value),
        Request::SecretList => Reply::Secrets { secrets: secrets(proxy) },
        Request::SecretRemove { which } => secret_remove(proxy, &which),
    }
}

/// Registers a value. What is not told to the one who asks is told to nobody: not its length, not
/// which value it was.
fn secret_add(proxy: &Proxy, kind: &str, value: &Hidden) -> Reply {
    let Some(kind) = Kind::new(kind).filter(|kind| kind.as_str() != LITERAL) else {
        let reason = format!("a type is 1 to {KIND_MAX} of A-Z, 0-9 and _, and not {LITERAL}");
        return Reply::Refused { reason };
    };
    let value = value.expose();
    // Of what is too short to begin with, that is the better reason.
    if value.len() >= VALUE_MIN && is_host(proxy, value) {
        return Reply::Refused { reason: NotRegistered::Protocol.to_string() };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let shown = kind.as_str().to_owned();
    match proxy.store.register(kind, value, now) {
        Ok(id) => {
            let count = proxy.store.registered_count();
            told(proxy.notify.registered(count));
            tracing::info!(kind = shown, id, count, "value registered");
            Reply::SecretAdded { id, is_new: true }
        }
        Err(NotRegistered::Again(id)) => Reply::SecretAdded { id, is_new: false },
        Err(reason) => Reply::Refused { reason: reason.to_string() },
    }
}

/// Whether a permitted host's name holds `value`: no request to it would pass.
fn is_host(proxy: &Proxy, value: &[u8]) -> bool {
    let value = Zeroizing::new(value.to_ascii_lowercase());
    proxy.setup.current().is_ok_and(|set| {
        let mut hosts = set.config.hosts.permitted();
        hosts.any(|entry| memmem::find(entry.host.as_str().as_bytes(), &value).is_some())
    })
}

fn secret_remove(proxy: &Proxy, which: &Which) -> Reply {
    let store = &proxy.store;
    let ids: Vec<u32> = match which {
        Which::All => store.registered().iter().map(|registered| registered.id).collect(),
        Which::Id(id) => vec![*id],
        Which::Value(value) => store.registered_as(value.expose()).into_iter().collect(),
    };
    let removed = ids.into_iter().filter(|id| store.unregister(*id)).count();
    if removed == 0 && *which != Which::All {
        return Reply::Refused { reason: "no such value is registered".into() };
    }
    let count = store.registered_count();
    told(proxy.notify.registered(count));
    tracing::info!(removed, count, "values removed");
    Reply::SecretsRemoved { count: u32::try_from(removed).unwrap_or(u32::MAX) }
}

fn secrets(proxy: &Proxy) -> Vec<Secret> {
    let told = |Registered { id, kind, added, hits }| Secret {
        id,
        kind: kind.as_str().to_owned(),
        added,
        hits,
    };
    proxy.store.registered().into_iter().map(told).collect()
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
