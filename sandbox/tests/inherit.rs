//! Sockets and secrets really handed over through exec, to this program executed again.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of this is a test")]

use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Output};

use command_fds::{CommandFdExt, FdMapping};
use sandbox::inherit::{Inherited, secrets_from_stdin};

const HEIR: &str = "WATERWALL_TEST_HEIR";

/// Runs one of the `heir_…` tests below as a process that was handed `fds` from 3 on.
fn heir(name: &str, names: &str, count: usize, fds: Vec<OwnedFd>) -> Output {
    let mut secrets = tempfile::tempfile().unwrap();
    secrets.write_all(&[7; 64]).unwrap();
    secrets.rewind().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mapped = fds.into_iter().zip(3..);
    command
        .args(["--exact", name, "--nocapture"])
        .env(HEIR, "1")
        .env("LISTEN_FDS", count.to_string())
        .env("LISTEN_FDNAMES", names)
        .env_remove("LISTEN_PID")
        .stdin(secrets)
        .fd_mappings(
            mapped.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect(),
        )
        .unwrap();
    command.output().unwrap()
}

fn is_heir() -> bool {
    std::env::var_os(HEIR).is_some()
}

#[track_caller]
fn says(output: &Output, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(expected), "{expected:?} not in:\n{said}");
}

#[test]
fn hands_over_named_listeners_and_secrets_and_closes_strays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let fds = vec![OwnedFd::from(unix), OwnedFd::from(tcp), OwnedFd::from(stray)];
    let calls = std::thread::spawn(move || {
        let mut heard = String::new();
        UnixStream::connect(path).unwrap().read_to_string(&mut heard).unwrap();
        TcpStream::connect(address).unwrap().read_to_string(&mut heard).unwrap();
        heard
    });
    says(&heir("heir_serves", "control:agents", 2, fds), "heir: served");
    assert_eq!(calls.join().unwrap(), "unix tcp");
}

#[test]
fn heir_serves() {
    if !is_heir() {
        return;
    }
    let mut inherited = Inherited::from_env().unwrap();
    let tcp = inherited.take_tcp("agents").unwrap();
    let unix = inherited.take_unix("control").unwrap();
    inherited.finish().unwrap();
    assert_eq!(secrets_from_stdin().unwrap(), [[7; 32]; 2]);
    // 3 and 4 are taken; 5 was the stray, and nothing has been opened since.
    assert!(!std::path::Path::new("/proc/self/fd/5").exists());
    for fd in [3, 4] {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        assert!(info.contains("02000002"), "close-on-exec is set: {info}");
    }
    unix.accept().unwrap().0.write_all(b"unix ").unwrap();
    tcp.accept().unwrap().0.write_all(b"tcp").unwrap();
    eprintln!("heir: served");
}

#[test]
fn refuses_a_descriptor_of_another_kind() {
    let fds = || {
        let (silent, _) = UnixDatagram::pair().unwrap();
        let (talking, _) = UnixStream::pair().unwrap();
        vec![
            OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()),
            OwnedFd::from(silent),
            OwnedFd::from(talking),
        ]
    };
    let output = heir("heir_takes_unix", "mint:seal:append", 3, fds());
    says(&output, "socket mint: fd 3 is not a valid unix stream socket");
    says(&output, "socket seal: fd 4 is not a valid unix stream socket");
    says(&output, "socket append: does not listen");
    says(&output, "no socket named other was handed over");
    says(&output, "unexpected sockets handed over: mint, seal, append");
}

#[test]
fn heir_takes_unix() {
    if !is_heir() {
        return;
    }
    let mut inherited = Inherited::from_env().unwrap();
    for name in ["mint", "seal", "append", "other"] {
        eprintln!("{}", inherited.take_unix(name).unwrap_err());
    }
    eprintln!("{}", inherited.finish().unwrap_err());
}

#[test]
fn hands_a_name_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("mint")).unwrap();
    let output = heir("heir_takes_twice", "mint", 1, vec![OwnedFd::from(unix)]);
    says(&output, "no socket named mint was handed over");
}

#[test]
fn heir_takes_twice() {
    if !is_heir() {
        return;
    }
    let mut inherited = Inherited::from_env().unwrap();
    let _listener = inherited.take_unix("mint").unwrap();
    eprintln!("{}", inherited.take_unix("mint").unwrap_err());
    inherited.finish().unwrap();
}
