//! Everything that has to be read, taken or made before the process is confined.

use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use clap::Args;
use sandbox::inherit::{self, Inherited};
use sandbox::notify::Notify;
use sandbox::peer;

use crate::admin::Token;
use crate::config::{Config, ConfigError, Fingerprint};
use crate::failure::Failure;
use crate::mint::{Jobs, Mint};
use crate::placeholder::SessionKey;
use crate::upstream::{Environment, Files, Roots};

/// How the daemon is started.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of config.yaml, permitted_hosts.yaml, patterns.yaml and ca.pem
    #[arg(long, value_name = "DIR")]
    pub(crate) config: PathBuf,
    /// Folder of the sockets, the kill switch's sentinel and the admin token
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// User the signer runs as (default: our own)
    #[arg(long, value_name = "N")]
    pub(crate) signer_uid: Option<u32>,
    /// User auditd runs as (default: our own)
    #[arg(long, value_name = "N")]
    pub(crate) auditd_uid: Option<u32>,
    /// Read the mint and the append link's secrets, 32 bytes each, from standard input
    #[arg(long)]
    pub(crate) secrets_from_stdin: bool,
}

/// What was handed over by whoever started us.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Where agents connect.
    pub(crate) agents: net::TcpListener,
    /// Where health is asked for.
    pub(crate) admin: net::TcpListener,
    /// Where the operator speaks.
    pub(crate) control: unix::net::UnixListener,
}

impl Sockets {
    /// Takes them.
    ///
    /// # Errors
    ///
    /// When they are not what was expected.
    pub(crate) fn take() -> Result<Self, Failure> {
        let mut inherited = Inherited::from_env()?;
        let sockets = Self {
            agents: inherited.take_tcp("agents")?,
            admin: inherited.take_tcp("admin")?,
            control: inherited.take_unix("control")?,
        };
        inherited.finish()?;
        let ready = "a listening socket";
        let cannot = |error| Failure::System(ready, error);
        sockets.agents.set_nonblocking(true).map_err(cannot)?;
        sockets.admin.set_nonblocking(true).map_err(cannot)?;
        sockets.control.set_nonblocking(true).map_err(cannot)?;
        Ok(sockets)
    }
}

/// The other processes.
pub(crate) struct Peers {
    /// Where the signer listens.
    pub(crate) mint: crate::mint::Peer,
    /// Where auditd listens.
    pub(crate) append: crate::record::Peer,
}

impl Peers {
    /// Who and where they are, and what is shared with them.
    ///
    /// # Errors
    ///
    /// When secrets were promised and do not come.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let [mint, append] = match arguments.secrets_from_stdin {
            true => inherit::secrets_from_stdin()?,
            false => [[0; 32]; 2],
        };
        let own = peer::own_uid();
        Ok(Self {
            mint: crate::mint::Peer {
                path: arguments.run.join("mint.sock"),
                uid: arguments.signer_uid.unwrap_or(own),
                secret: mint,
            },
            append: crate::record::Peer {
                path: arguments.run.join("append.sock"),
                uid: arguments.auditd_uid.unwrap_or(own),
                secret: append,
            },
        })
    }
}

/// What is read once, because the sandbox does not allow it later.
#[derive(Debug)]
pub(crate) struct Before {
    /// The files' state before they were read.
    pub(crate) fingerprint: Fingerprint,
    /// The configuration, or what is wrong with it.
    pub(crate) config: Result<Config, ConfigError>,
    /// What the environment says of proxies.
    pub(crate) environment: Environment,
    /// Trust in upstreams.
    pub(crate) roots: Roots,
    /// The system's resolver files.
    pub(crate) resolver: Files,
    /// What changes need; without one, none are possible.
    pub(crate) token: Option<Token>,
    /// Readiness.
    pub(crate) notify: Notify,
    /// Leaf certificates; making its key draws the first random bytes.
    pub(crate) mint: (Arc<Mint>, Jobs),
    /// Random names and keys of this process.
    pub(crate) identity: Identity,
}

/// Random names and keys of this process.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Makes placeholders.
    pub(crate) key: SessionKey,
    /// Labels the key on log lines.
    pub(crate) hkey: [u8; 8],
    /// Names this process on log lines.
    pub(crate) inst: [u8; 8],
}

impl Before {
    /// Reads and makes it all, for a process whose agents connect to `own`.
    ///
    /// # Errors
    ///
    /// [`Failure`]; an invalid configuration is none.
    pub(crate) fn gather(arguments: &Arguments, own: Option<SocketAddr>) -> Result<Self, Failure> {
        let fingerprint = Fingerprint::of(&arguments.config, &[]);
        let environment = Environment::read(own);
        let own = optional(&arguments.config.join("ca.pem"))?;
        // A start waits for both, and neither for the other.
        let (config, roots) = thread::scope(|scope| {
            let roots = thread::Builder::new().spawn_scoped(scope, || Roots::load(own.as_deref()));
            let config = Config::load(&arguments.config, &environment);
            let roots = roots
                .map(|roots| roots.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (config, roots)
        });
        let further = config.as_ref().map(|config| config.further.as_slice()).unwrap_or_default();
        let fingerprint = fingerprint.with(&arguments.config, further);
        let roots = roots.map_err(|e| Failure::System("a thread", e))?;
        let roots = roots.map_err(|e| Failure::File("ca.pem".into(), e))?;
        let resolv_conf = optional(Path::new("/etc/resolv.conf"))?.unwrap_or_default();
        let hosts = optional(Path::new("/etc/hosts"))?.unwrap_or_default();
        Ok(Self {
            fingerprint,
            config,
            environment,
            roots,
            resolver: Files::parse(&resolv_conf, &hosts),
            token: token(&arguments.run.join("admin.token"))?,
            notify: Notify::from_env()
                .and_then(Notify::without_waiting)
                .map_err(|e| Failure::System("NOTIFY_SOCKET", e))?,
            mint: Mint::new().map_err(|e| Failure::System("leaf key", io::Error::other(e)))?,
            identity: Identity::new()?,
        })
    }
}

impl Identity {
    fn new() -> Result<Self, Failure> {
        let random = |bytes: &mut [u8]| {
            getrandom::fill(bytes)
                .map_err(|e| Failure::System("random numbers", io::Error::other(e)))
        };
        let (mut key, mut hkey, mut inst) = ([0; 32], [0; 8], [0; 8]);
        random(&mut key)?;
        random(&mut hkey)?;
        random(&mut inst)?;
        Ok(Self { key: SessionKey::new(key), hkey, inst })
    }
}

/// The contents of a file that may be absent.
fn optional(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::File(path.display().to_string(), error)),
    }
}

fn token(path: &Path) -> Result<Option<Token>, Failure> {
    let Some(bytes) = optional(path)? else { return Ok(None) };
    let token = std::str::from_utf8(&bytes).ok().and_then(Token::parse);
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "is not 64 hexadecimal digits");
    token.map(Some).ok_or_else(|| Failure::File(path.display().to_string(), bad()))
}
