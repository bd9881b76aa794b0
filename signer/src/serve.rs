//! The loop: one thread, two listeners, and callers that are never waited for.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use sandbox::Confined;
use sandbox::notify::Notify;

use crate::desk::{Answer, Desk, Then};
use crate::door::Door;
use crate::wire::{Connection, Phase};

/// Everything that serves.
pub(crate) struct Server {
    pub(crate) doors: [Door; 2],
    pub(crate) desk: Desk,
    pub(crate) notify: Notify,
    pub(crate) stop: SignalFd,
}

/// How a turn of one connection ended.
enum Turn {
    /// It stays.
    Open,
    /// The caller left, or was sent away.
    Closed,
    /// Something could not be saved: nobody may be served any more.
    Unsaved(io::Error),
}

impl Server {
    /// Serves until told to stop.
    ///
    /// # Errors
    ///
    /// When something could not be saved, or the system refuses to wait or to accept. Whoever
    /// started the signer should start it anew: it then reads what really is on the disk.
    pub(crate) fn serve(mut self, _confined: Confined) -> io::Result<()> {
        let watchdog = self.notify.watchdog();
        let timeout = watchdog.and_then(|due| due.try_into().ok()).unwrap_or(PollTimeout::NONE);
        let mut connections: Vec<Connection> = Vec::new();
        let mut said_alive = Duration::ZERO;
        loop {
            let Some(ready) = self.wait(&connections, timeout)? else { return Ok(()) };
            let now = self.desk.now().monotonic;
            if watchdog.is_some_and(|due| now >= said_alive + due) {
                self.notify.alive()?;
                said_alive = now;
            }
            let mut open = Vec::with_capacity(connections.len());
            for (mut connection, ready) in connections.into_iter().zip(&ready[DOORS..]) {
                match if *ready { self.turn(&mut connection) } else { Turn::Open } {
                    Turn::Open => open.push(connection),
                    Turn::Closed => {}
                    Turn::Unsaved(error) => return Err(error),
                }
            }
            connections = open;
            for index in (0..DOORS).filter(|index| ready[*index]) {
                self.let_in(index, &mut connections)?;
            }
        }
    }

    /// Which doors, and after them which connections, have something; `None` when told to stop.
    fn wait(
        &self,
        connections: &[Connection],
        timeout: PollTimeout,
    ) -> io::Result<Option<Vec<bool>>> {
        let mut polled = vec![PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.doors.iter().map(|door| PollFd::new(door.as_fd(), PollFlags::POLLIN)));
        polled.extend(connections.iter().map(|one| PollFd::new(one.as_fd(), one.interest())));
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(true));
        let stop = ready.next().unwrap_or(true);
        Ok(if stop { None } else { Some(ready.collect()) })
    }

    /// Sends what is left, takes in what came, and answers every whole frame of it.
    fn turn(&mut self, connection: &mut Connection) -> Turn {
        if connection.flush().is_err() {
            return Turn::Closed;
        }
        if connection.is_flushed() && connection.fill().is_err() {
            return Turn::Closed;
        }
        while connection.is_flushed() {
            let body = match connection.next_frame() {
                Ok(Some(body)) => body,
                Ok(None) => break,
                Err(oversize) => return self.send_away(connection, &oversize.to_string()),
            };
            let secret = self.doors[connection.power.index()].secret();
            let standing = (connection.phase, connection.power);
            let Answer { body, then } = match self.desk.answer(standing, secret, &body) {
                Ok(answer) => answer,
                Err(malformed) => return self.send_away(connection, &malformed.to_string()),
            };
            let sent = connection.reply(&body);
            match then {
                Then::Stop(error) => return Turn::Unsaved(error),
                Then::Close(cause) => return self.send_away(connection, cause),
                Then::Serve if sent.is_err() => return Turn::Closed,
                Then::Serve => connection.phase = Phase::Serving,
            }
        }
        Turn::Open
    }

    fn send_away(&mut self, connection: &Connection, cause: &str) -> Turn {
        let link = connection.power.link();
        self.desk.complain(format_args!("event=closed link={link:?} cause=\"{cause}\""));
        Turn::Closed
    }

    /// Takes in the next caller of a door.
    ///
    /// Where all places are taken, it gets that of the oldest caller who has not said hello yet, so
    /// that strangers under the right uid cannot keep out who knows the secret.
    fn let_in(&mut self, door: usize, connections: &mut Vec<Connection>) -> io::Result<()> {
        let door = &self.doors[door];
        let power = door.power();
        let connection = match door.next()? {
            None => return Ok(()),
            Some(Ok(connection)) => connection,
            Some(Err(stranger)) => {
                self.desk
                    .complain(format_args!("event=closed link={power:?} cause=\"{stranger}\""));
                return Ok(());
            }
        };
        if connections.iter().filter(|one| one.power == power).count() >= PLACES {
            let silent = connections
                .iter()
                .position(|one| one.power == power && one.phase == Phase::Greeting);
            let cause = "all places are taken";
            self.desk.complain(format_args!("event=closed link={power:?} cause=\"{cause}\""));
            match silent {
                Some(index) => drop(connections.remove(index)),
                None => return Ok(()),
            }
        }
        connections.push(connection);
        Ok(())
    }
}

/// Mint and seal.
const DOORS: usize = 2;

/// Connections at once for each door; each has one user, with one connection or a few.
const PLACES: usize = 16;
