//! Tells the proxy when the system's resolver files change; its sandbox keeps it from looking.

use std::fs;
use std::thread;
use std::time::Duration;

use protocol::codec;
use protocol::control::{self, Reply, Request};

use crate::home::Home;
use crate::links::ask_proxy;
use crate::output::say;

/// What names resolve by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    resolv_conf: Vec<u8>,
    hosts: Vec<u8>,
}

impl Files {
    fn read() -> Self {
        // A missing file is a valid state of the system: then nothing is configured there.
        let contents = |path| fs::read(path).unwrap_or_default();
        Self { resolv_conf: contents("/etc/resolv.conf"), hosts: contents("/etc/hosts") }
    }
}

/// Watches from another thread, for as long as the process lives.
pub(crate) fn watch(home: Home) {
    let mut told = Files::read();
    thread::spawn(move || {
        loop {
            thread::sleep(INTERVAL);
            let now = Files::read();
            if now != told && tell(&home, &now) {
                told = now;
            }
        }
    });
}

/// Whether the proxy took it. If not, it is told again: also one that was not there to listen.
fn tell(home: &Home, files: &Files) -> bool {
    let request =
        Request::Resolver { resolv_conf: files.resolv_conf.clone(), hosts: files.hosts.clone() };
    let size = codec::encode(&request).len();
    if size > control::CAP {
        say(&format!(
            "the proxy keeps its resolver settings: /etc/resolv.conf and /etc/hosts are {size} \
             bytes, {} can be passed on; restart to have them read anew",
            control::CAP
        ));
        return true;
    }
    match ask_proxy(home, &request) {
        Ok(Reply::Refused { reason }) => {
            say(&format!("the proxy keeps its resolver settings: {reason}"));
            true
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

const INTERVAL: Duration = Duration::from_secs(2);
