//! One supervisor per home.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use crate::fault::Fault;
use crate::home::Home;
use crate::identity::Identity;

/// Held by the supervisor for as long as it lives; the kernel lets go of it, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: File,
}

/// What came of asking for the lock.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is ours now.
    Taken(Lock),
    /// Somebody else supervises this home; who, unless it is only just starting.
    HeldBy(Option<Identity>),
}

/// Takes the lock, unless somebody holds it.
pub(crate) fn take(home: &Home) -> Result<Asked, Fault> {
    let path = home.lock();
    let failed = |error: &io::Error| Fault::file("lock", &path, error);
    let mut file = open(home, true).map_err(|error| failed(&error))?;
    for _ in 0..PATIENCE {
        match file.try_lock() {
            Ok(()) => {
                let identity = Identity::of(std::process::id());
                write_holder(&mut file, identity).map_err(|error| failed(&error))?;
                return Ok(Asked::Taken(Lock { _held: file }));
            }
            // It may be a look by `holder`, which lasts no time.
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
    Ok(Asked::HeldBy(read_holder(&mut file)))
}

/// Whether a supervisor runs in this home: none, or who (unless it is only just starting).
pub(crate) fn holder(home: &Home) -> Result<Option<Option<Identity>>, Fault> {
    let path = home.lock();
    let mut file = match open(home, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::file("look at", &path, &error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(Fault::file("look at", &path, &error)),
    }
}

fn open(home: &Home, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(home.lock())
}

fn write_holder(file: &mut File, identity: Option<Identity>) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(&identity)?.as_bytes())
}

/// The file may hold the previous holder's name until the new one has written its own.
fn read_holder(file: &mut File) -> Option<Identity> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str::<Option<Identity>>(&text).ok()?.filter(|holder| holder.is_alive())
}

const PATIENCE: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Process;

    #[test]
    fn a_second_one_learns_who_holds_it_until_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), &Process).unwrap();
        home.create().unwrap();
        assert!(holder(&home).unwrap().is_none());
        let Asked::Taken(lock) = take(&home).unwrap() else { panic!("free, but refused") };
        let me = Identity::of(std::process::id());
        assert_eq!(holder(&home).unwrap(), Some(me));
        assert!(matches!(take(&home).unwrap(), Asked::HeldBy(who) if who == me));
        drop(lock);
        assert!(holder(&home).unwrap().is_none());
        assert!(matches!(take(&home).unwrap(), Asked::Taken(_)));
    }
}
