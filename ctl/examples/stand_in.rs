//! A stand-in for any of the three daemons, for the supervisor's stories: it checks what it was
//! handed, says so on stderr, is ready, and stops when asked.
//!
//! A file `<its name>.broken` beside the executable makes it fail at once, `<its name>.stubborn`
//! makes it deaf to SIGTERM.

#![allow(clippy::print_stderr, reason = "the stories read what it says")]

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let executable = std::env::current_exe().expect("/proc is mounted");
    let name = executable.file_name().expect("it has a name").to_string_lossy().into_owned();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if executable.with_extension("broken").exists() {
        eprintln!("{name}: broken");
        return ExitCode::from(78);
    }
    if arguments.first().is_some_and(|first| first == "init") {
        init(&value(&arguments, "--state"), &value(&arguments, "--public"));
        return ExitCode::SUCCESS;
    }
    // Before readiness: from then on it may be asked to stop.
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.thread_block().expect("signals can be blocked");
    eprintln!("{name}: {}", handed_over());
    let readiness = std::env::var_os("NOTIFY_SOCKET").expect("somebody waits for readiness");
    UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(b"READY=1\n", readiness))
        .expect("readiness is heard");
    while executable.with_extension("stubborn").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stop.wait().expect("signals come");
    eprintln!("{name}: stopped");
    ExitCode::SUCCESS
}

fn handed_over() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut secrets = Vec::new();
    std::io::stdin().read_to_end(&mut secrets).expect("stdin can be read");
    let sockets = (3..10).take_while(|fd| is_listening_socket(*fd)).count();
    format!(
        "listeners={}/{}/{} own_pid={} secret_bytes={} at_parents_death={:?} stray={}",
        variable("LISTEN_FDS"),
        sockets,
        variable("LISTEN_FDNAMES"),
        variable("LISTEN_PID") == std::process::id().to_string(),
        secrets.len(),
        prctl::get_pdeathsig().expect("it can be asked"),
        variable("STRAY"),
    )
}

fn is_listening_socket(fd: u32) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
}

fn init(state: &Path, public: &Path) {
    let key = rcgen::KeyPair::generate().expect("keys can be made");
    let ca = rcgen::CertificateParams::default().self_signed(&key).expect("a CA can be made");
    std::fs::write(state.join("ca.key"), "made up").expect("the state folder is there");
    std::fs::write(public.join("ca.pem"), ca.pem()).expect("the public folder is there");
    for name in ["signing.pub", "evidence.pub"] {
        std::fs::write(public.join(name), "made up").expect("the public folder is there");
    }
}

fn value(arguments: &[String], option: &str) -> PathBuf {
    let at = arguments.iter().position(|it| it == option).expect("the option is given");
    PathBuf::from(&arguments[at + 1])
}
