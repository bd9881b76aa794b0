//! What a supervisor handed over: listening sockets by name, link secrets on standard input.
//!
//! The `LISTEN_FDS` convention of `sd_listen_fds(3)`, which `waterwall-ctl up` speaks as well;
//! it cannot know our process id before we are executed, so `LISTEN_PID` counts only where set.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};

/// The first handed-over descriptor (`SD_LISTEN_FDS_START`).
const FIRST: usize = 3;

/// Why the inheritance is not what the process expects. All are the supervisor's fault.
#[derive(Debug)]
pub enum InheritError {
    /// Nobody handed anything over.
    Nothing,
    /// The descriptors are meant for another process.
    OtherPid(String),
    /// `LISTEN_FDS` is no number, or `LISTEN_FDNAMES` has another count.
    Names {
        /// `LISTEN_FDS`.
        fds: String,
        /// `LISTEN_FDNAMES`.
        names: String,
    },
    /// No descriptor has this name, or it is taken already.
    Missing(&'static str),
    /// The named descriptor is something else than expected.
    Wrong {
        /// Its name.
        name: &'static str,
        /// What it is not.
        error: io::Error,
    },
    /// Descriptors nobody took.
    Extra(Vec<String>),
    /// Stray descriptors could not be listed or closed.
    Strays(io::Error),
    /// Standard input did not hold two secrets of 32 bytes.
    Secrets(io::Error),
}

impl std::fmt::Display for InheritError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "no sockets were handed over (LISTEN_FDS): start by systemd or `waterwall-ctl up`",
            ),
            Self::OtherPid(pid) => write!(f, "LISTEN_PID is {pid}, not this process"),
            Self::Names { fds, names } => {
                write!(f, "LISTEN_FDS={fds} does not agree with LISTEN_FDNAMES={names}")
            }
            Self::Missing(name) => write!(f, "no socket named {name} was handed over"),
            Self::Wrong { name, error } => write!(f, "socket {name}: {error}"),
            Self::Extra(names) => write!(f, "unexpected sockets handed over: {}", names.join(", ")),
            Self::Strays(error) => write!(f, "stray descriptors: {error}"),
            Self::Secrets(error) => write!(f, "link secrets on standard input: {error}"),
        }
    }
}

impl std::error::Error for InheritError {}

/// The sockets handed over, until each is taken.
#[derive(Debug)]
pub struct Inherited {
    sockets: Sockets,
    names: Vec<Option<String>>,
}

struct Sockets(ListenFd);

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} descriptors", self.0.len())
    }
}

impl Inherited {
    /// Reads the environment, and closes every descriptor that came through exec without being
    /// standard input, output, error or one of the handed-over ones.
    ///
    /// # Errors
    ///
    /// When nothing was handed over, or not to us, or the names do not match the count.
    pub fn from_env() -> Result<Self, InheritError> {
        let variable = |name| env::var(name).unwrap_or_default();
        let (pid, fds, names) =
            (variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
        let names = expected(&pid, &fds, &names, std::process::id())?;
        close_strays(FIRST + names.len()).map_err(InheritError::Strays)?;
        let sockets = ListenFd::from_env();
        Ok(Self { sockets: Sockets(sockets), names: names.into_iter().map(Some).collect() })
    }

    /// Takes a listening Unix stream socket.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or it is no listening Unix stream socket.
    pub fn take_unix(&mut self, name: &'static str) -> Result<UnixListener, InheritError> {
        self.take(name, ListenFd::take_unix_listener)
    }

    /// Takes a listening TCP socket.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or it is no listening TCP socket.
    pub fn take_tcp(&mut self, name: &'static str) -> Result<TcpListener, InheritError> {
        self.take(name, ListenFd::take_tcp_listener)
    }

    /// Makes sure that everything handed over was taken.
    ///
    /// # Errors
    ///
    /// [`InheritError::Extra`] names what was not.
    pub fn finish(self) -> Result<(), InheritError> {
        let left: Vec<String> = self.names.into_iter().flatten().collect();
        if left.is_empty() { Ok(()) } else { Err(InheritError::Extra(left)) }
    }

    fn take<L: AsFd>(
        &mut self,
        name: &'static str,
        convert: impl FnOnce(&mut ListenFd, usize) -> io::Result<Option<L>>,
    ) -> Result<L, InheritError> {
        let index = self
            .names
            .iter()
            .position(|known| known.as_deref() == Some(name))
            .ok_or(InheritError::Missing(name))?;
        let wrong = |error| InheritError::Wrong { name, error };
        let listener = convert(&mut self.sockets.0, index)
            .map_err(wrong)?
            .ok_or(InheritError::Missing(name))?;
        match getsockopt(&listener, AcceptConn) {
            Ok(true) => {}
            Ok(false) => return Err(wrong(io::Error::other("does not listen"))),
            Err(errno) => return Err(wrong(errno.into())),
        }
        self.names[index] = None;
        Ok(listener)
    }
}

/// The names of the descriptors from [`FIRST`] on.
fn expected(pid: &str, fds: &str, names: &str, own_pid: u32) -> Result<Vec<String>, InheritError> {
    if fds.is_empty() {
        return Err(InheritError::Nothing);
    }
    if !pid.is_empty() && pid.parse() != Ok(own_pid) {
        return Err(InheritError::OtherPid(pid.to_owned()));
    }
    let list: Vec<String> = names.split(':').map(str::to_owned).collect();
    match fds.parse() {
        Ok(0) => Err(InheritError::Nothing),
        Ok(count) if list.len() == count && list.iter().all(|name| !name.is_empty()) => Ok(list),
        _ => Err(InheritError::Names { fds: fds.to_owned(), names: names.to_owned() }),
    }
}

/// Closes what came through exec and nobody asked for. Everything this process opened itself has
/// close-on-exec set, so whatever lacks it was inherited and belongs to nobody here.
fn close_strays(first_unknown: usize) -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if usize::try_from(fd).is_ok_and(|fd| fd >= first_unknown) && came_through_exec(fd)? {
            nix::unistd::close(fd)?;
        }
    }
    Ok(())
}

fn came_through_exec(fd: i32) -> io::Result<bool> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .ok_or_else(|| io::Error::other("fdinfo without flags"))?;
    Ok(flags & nix::libc::O_CLOEXEC == 0)
}

/// Reads the secrets of the process's two links, 32 bytes each, from standard input.
///
/// # Errors
///
/// When it ends before 64 bytes.
pub fn secrets_from_stdin() -> Result<[[u8; 32]; 2], InheritError> {
    // Not through `io::stdin`, whose buffer would keep a copy.
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(InheritError::Secrets)?;
    secrets_from(&mut File::from(stdin)).map_err(InheritError::Secrets)
}

fn secrets_from(source: &mut impl Read) -> io::Result<[[u8; 32]; 2]> {
    let mut secrets = [[0; 32]; 2];
    source.read_exact(secrets.as_flattened_mut())?;
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: &str, fds: &str, names: &str) -> Result<Vec<String>, InheritError> {
        expected(pid, fds, names, 42)
    }

    #[test]
    fn pairs_names_with_descriptors() {
        assert_eq!(names("42", "2", "mint:seal").unwrap(), ["mint", "seal"]);
    }

    #[test]
    fn asks_for_the_own_pid_only_where_one_is_named() {
        assert!(names("", "1", "mint").is_ok());
        assert!(
            matches!(names("41", "1", "mint"), Err(InheritError::OtherPid(pid)) if pid == "41")
        );
        assert!(matches!(names("me", "1", "mint"), Err(InheritError::OtherPid(_))));
    }

    #[test]
    fn refuses_counts_that_do_not_agree() {
        for (fds, listed) in
            [("2", "mint"), ("1", "mint:seal"), ("1", ""), ("x", "mint"), ("-1", "a")]
        {
            assert!(
                matches!(names("", fds, listed), Err(InheritError::Names { .. })),
                "{fds} {listed}"
            );
        }
        for fds in ["", "0"] {
            assert!(matches!(names("", fds, ""), Err(InheritError::Nothing)), "{fds}");
        }
    }

    #[test]
    fn splits_the_secrets_and_refuses_a_short_one() {
        let bytes: Vec<u8> = (0..64).collect();
        let [first, second] = secrets_from(&mut bytes.as_slice()).unwrap();
        assert_eq!((first[0], first[31], second[0], second[31]), (0, 31, 32, 63));
        assert!(secrets_from(&mut &bytes[..63]).is_err());
    }
}
