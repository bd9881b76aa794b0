//! The built signer in a folder of its own, started the way a supervisor starts it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::evidence::note::VerifierKey;
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};
use protocol::{mint, seal};

pub(crate) type MintLink = Link<UnixStream, mint::Request, mint::Reply>;
pub(crate) type SealLink = Link<UnixStream, seal::Request, seal::Reply>;

pub(crate) const MINT_SECRET: [u8; 32] = [0x11; 32];
pub(crate) const SEAL_SECRET: [u8; 32] = [0x22; 32];

/// A folder with `state/`, `public/`, the hosts file and the sockets.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// With two hosts, and nothing else yet.
    pub(crate) fn empty() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        home.permit(&["api.anthropic.com", "api.openai.com"]);
        home
    }

    /// With keys.
    pub(crate) fn new() -> Self {
        let home = Self::empty();
        let made = home.init(&[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn permit(&self, hosts: &[&str]) {
        let entries: String =
            hosts.iter().map(|host| format!("  - {{host: {host}, sse_handler: none}}\n")).collect();
        fs::write(self.path("hosts.yaml"), format!("hosts:\n{entries}")).unwrap();
    }

    pub(crate) fn signer(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waterwall-signer"));
        command.args(arguments);
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn init(&self, more: &[&str]) -> Output {
        self.run("init", more)
    }

    /// Runs `init` or `regen-ca`.
    pub(crate) fn run(&self, verb: &str, more: &[&str]) -> Output {
        let (state, public, hosts) =
            (self.path("state"), self.path("public"), self.path("hosts.yaml"));
        let mut command = self.signer(&[verb]);
        command.arg("--state").arg(state).arg("--public").arg(public);
        command.arg("--hosts-file").arg(hosts).args(more).output().unwrap()
    }

    /// Starts `serve`; it may be ready or dead afterwards.
    pub(crate) fn spawn(&self, more: &[&str]) -> Child {
        let listen = |name: &str| {
            let path = self.path(name);
            let _ = fs::remove_file(&path);
            UnixListener::bind(path).unwrap()
        };
        let handed_over = vec![
            FdMapping { parent_fd: listen("mint").into(), child_fd: 3 },
            FdMapping { parent_fd: listen("seal").into(), child_fd: 4 },
        ];
        let mut command = self.signer(&["serve", "--secrets-from-stdin", "--state"]);
        command.arg(self.path("state")).args(more);
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "mint:seal");
        command.env("NOTIFY_SOCKET", self.path("notify"));
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.fd_mappings(handed_over).unwrap().spawn().unwrap();
        let secrets = [MINT_SECRET, SEAL_SECRET].concat();
        // A signer that refuses to start does not read them.
        let _ = child.stdin.take().unwrap().write_all(&secrets);
        child
    }

    /// Starts `serve` and waits until it says that it is ready.
    pub(crate) fn serve(&self, more: &[&str]) -> Running<'_> {
        let path = self.path("notify");
        let _ = fs::remove_file(&path);
        let notify = UnixDatagram::bind(path).unwrap();
        let child = self.spawn(more);
        let mut heard = [0; 256];
        let length = notify.recv(&mut heard).unwrap();
        assert!(heard[..length].starts_with(b"STATUS=sandbox "), "{heard:?}");
        let length = notify.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\n");
        Running { home: self, child }
    }

    /// Starts `serve`, which must refuse; gives its exit code and what it said.
    pub(crate) fn refuses_to_serve(&self) -> (i32, String) {
        let _notify = UnixDatagram::bind(self.path("notify")).unwrap();
        let output = self.spawn(&[]).wait_with_output().unwrap();
        fs::remove_file(self.path("notify")).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn log_key(&self) -> VerifierKey {
        let vkey = fs::read_to_string(self.path("public/signing.vkey")).unwrap();
        VerifierKey::parse(vkey.trim_end()).unwrap()
    }
}

/// A signer that serves, until dropped.
pub(crate) struct Running<'a> {
    home: &'a Home,
    child: Child,
}

impl Running<'_> {
    pub(crate) fn dial(&self, socket: &str) -> UnixStream {
        let stream = UnixStream::connect(self.home.path(socket)).unwrap();
        // So that a signer that hangs fails a test instead of hanging it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(crate) fn mint(&self) -> MintLink {
        Link::connect(self.dial("mint"), LinkName::Mint, &MINT_SECRET, mint::CAP).unwrap()
    }

    pub(crate) fn seal(&self) -> SealLink {
        self.try_seal(&SEAL_SECRET).unwrap()
    }

    pub(crate) fn try_seal(&self, secret: &[u8; 32]) -> Result<SealLink, LinkError> {
        Link::connect(self.dial("seal"), LinkName::Seal, secret, seal::CAP)
    }

    pub(crate) fn status(&self) -> seal::Status {
        match self.seal().call(&seal::Request::Status).unwrap() {
            seal::Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Sends SIGTERM; gives how it ended and what it said.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
