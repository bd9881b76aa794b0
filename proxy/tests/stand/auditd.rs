//! Takes every line, unless told otherwise, and shows what it took.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::append::{CAP, Event, Outcome, Refusal, Reply, Request};
use protocol::hello::LinkName;
use protocol::link::Link;

#[derive(Default)]
struct State {
    events: Vec<Event>,
    refuse: Option<Refusal>,
    links: Vec<UnixStream>,
}

#[derive(Clone)]
pub(crate) struct Auditd {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Auditd {
    pub(crate) fn start(path: &Path) -> Self {
        let auditd = Self { path: path.to_owned(), state: Arc::default() };
        auditd.listen();
        auditd
    }

    /// Goes away, sockets and all.
    pub(crate) fn stop(&self) {
        let _ = std::fs::remove_file(&self.path);
        for link in self.state.lock().unwrap().links.drain(..) {
            let _ = link.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Comes (back).
    pub(crate) fn listen(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                state.lock().unwrap().links.push(stream.try_clone().unwrap());
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(&state, stream));
            }
        });
    }

    /// From now on, refuses what lets requests out.
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        self.state.lock().unwrap().refuse = refusal;
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    /// Waits for an event of which `is` holds.
    pub(crate) async fn event(&self, is: impl Fn(&Event) -> bool) -> Event {
        super::until("recorded", async || self.events().iter().any(&is)).await;
        self.events().into_iter().find(|event| is(event)).unwrap()
    }
}

fn serve(state: &Mutex<State>, stream: UnixStream) {
    let Ok(mut link) = Link::<_, Reply, Request>::accept(stream, LinkName::Append, &[0; 32], CAP)
    else {
        return;
    };
    while let Ok(request) = link.receive() {
        let outcome = take(&mut state.lock().unwrap(), request.event);
        if link.send(&Reply { id: request.id, outcome }).is_err() {
            return;
        }
    }
}

fn take(state: &mut State, event: Event) -> Outcome {
    let lets_out =
        matches!(event, Event::Redaction { .. } | Event::ScanClean { .. } | Event::Probe);
    if let (true, Some(refusal)) = (lets_out, state.refuse) {
        return Outcome::Refused(refusal);
    }
    if let Event::Probe = event {
        return Outcome::Appended { seq: 0 };
    }
    state.events.push(event);
    Outcome::Appended { seq: state.events.len() as u64 }
}
