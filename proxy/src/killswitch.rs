//! The kill switch: four sources, any of which stops everything.
//!
//! Arming takes effect at once and is recorded as it happens; clearing is recorded durably first,
//! so that no request leaves on the strength of a clearing that the log may not hold.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex as Lock, MutexGuard, PoisonError};
use std::time::SystemTime;

use protocol::append::{Event, KillSwitchAction, RequestRef};
use tokio::sync::{Mutex, watch};

use crate::record::{AppendError, Record};

/// Longest reason on a line, in bytes (evidence 4.17.1).
pub(crate) const REASON_MAX: usize = 200;

/// One source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `kill_switch: true` in the configuration.
    Config,
    /// `SIGUSR1`, which toggles.
    Signal,
    /// The sentinel file.
    Sentinel,
    /// The admin endpoint or the control socket.
    Http,
}

/// All of them, in the order in which they are named.
pub(crate) const ALL: [Source; 4] =
    [Source::Config, Source::Signal, Source::Sentinel, Source::Http];

impl Source {
    /// As lines spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Signal => "sigusr1",
            Self::Sentinel => "sentinel",
            Self::Http => "http",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::Signal => 2,
            Self::Sentinel => 4,
            Self::Http => 8,
        }
    }
}

/// The sources that are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sources(u8);

impl Sources {
    /// Whether any source is active.
    pub(crate) fn armed(self) -> bool {
        self.0 != 0
    }

    /// Whether `source` is active.
    pub(crate) fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    /// The names of those that nothing but this process remembers.
    pub(crate) fn volatile(self) -> String {
        let names: Vec<&str> = [Source::Signal, Source::Http]
            .into_iter()
            .filter(|source| self.has(*source))
            .map(Source::name)
            .collect();
        names.join(",")
    }

    /// Their names, in the fixed order.
    pub(crate) fn names(self) -> Vec<String> {
        ALL.iter().filter(|s| self.has(**s)).map(|s| s.name().to_owned()).collect()
    }

    fn with(self, source: Source, active: bool) -> Self {
        if active { Self(self.0 | source.bit()) } else { Self(self.0 & !source.bit()) }
    }
}

/// Who moved the switch, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mover<'a> {
    /// `uid:1000`, `signal`, `file`, `config`, `http`.
    pub(crate) actor: &'a str,
    /// In the operator's words.
    pub(crate) reason: Option<&'a str>,
}

/// How a source came to be active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arming {
    /// Which.
    pub(crate) source: Source,
    /// Who did it.
    pub(crate) actor: String,
    /// In the operator's words.
    pub(crate) reason: Option<String>,
    /// When.
    pub(crate) at: SystemTime,
}

/// The switch.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    sentinel: PathBuf,
    active: watch::Sender<Sources>,
    /// Whether answers that are coming back are cut while any source is active.
    cutting: watch::Sender<bool>,
    /// Of the active sources.
    armings: Lock<Vec<Arming>>,
    /// One clearing at a time: two could otherwise each leave the other's source out of the line.
    clearing: Mutex<()>,
    /// The source whose clearing waits for the log, until somebody arms that again.
    leaving: Lock<Option<Source>>,
    record: Record,
}

/// Waits for the moment from which answers that are coming back are cut.
#[derive(Debug)]
pub(crate) struct Cut {
    active: watch::Receiver<Sources>,
    cutting: watch::Receiver<bool>,
}

impl Cut {
    /// Waits for it. The sources that are active then.
    pub(crate) async fn wait(&mut self) -> Sources {
        loop {
            let active = *self.active.borrow_and_update();
            if *self.cutting.borrow_and_update() && active.armed() {
                return active;
            }
            let moved = tokio::select! {
                moved = self.active.changed() => moved,
                moved = self.cutting.changed() => moved,
            };
            if moved.is_err() {
                // The switch lives as long as the process.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl KillSwitch {
    /// A switch with no active source whose sentinel file is `sentinel`.
    pub(crate) fn new(sentinel: PathBuf, record: Record) -> Self {
        Self {
            sentinel,
            active: watch::Sender::new(Sources::default()),
            cutting: watch::Sender::new(false),
            armings: Lock::default(),
            clearing: Mutex::new(()),
            leaving: Lock::default(),
            record,
        }
    }

    /// Whether, from now on, answers that are coming back are cut while any source is active.
    pub(crate) fn cut_streams(&self, cutting: bool) {
        self.cutting.send_if_modified(|now| std::mem::replace(now, cutting) != cutting);
    }

    /// Whether they are.
    pub(crate) fn cuts_streams(&self) -> bool {
        *self.cutting.borrow()
    }

    /// For whoever brings an answer back.
    pub(crate) fn cut(&self) -> Cut {
        Cut { active: self.active.subscribe(), cutting: self.cutting.subscribe() }
    }

    /// How the active sources came to be so, the oldest first.
    pub(crate) fn armings(&self) -> Vec<Arming> {
        self.armings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sources active now, after a look at the sentinel.
    pub(crate) fn check(&self) -> Sources {
        if !self.active.borrow().has(Source::Sentinel) && sentinel_is_set(&self.sentinel) {
            self.arm(Source::Sentinel, Mover { actor: "file", reason: None });
        }
        *self.active.borrow()
    }

    /// Told of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Sources> {
        self.active.subscribe()
    }

    /// Makes `source` active, at once. Recorded without waiting.
    pub(crate) fn arm(&self, source: Source, mover: Mover<'_>) -> Sources {
        let mut stays = false;
        let moved = self.active.send_if_modified(|active| {
            let before = *active;
            *active = before.with(source, true);
            stays = self.leaving().take_if(|leaving| *leaving == source).is_some();
            if stays {
                self.forget(source);
            }
            if stays || *active != before {
                self.remember(source, mover);
            }
            *active != before
        });
        let now = *self.active.borrow();
        if moved || stays {
            tracing::warn!(source = source.name(), actor = mover.actor, "kill switch armed");
            self.record.note(line(KillSwitchAction::Armed, now, mover));
        }
        now
    }

    fn leaving(&self) -> MutexGuard<'_, Option<Source>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, source: Source) {
        let mut armings = self.armings.lock().unwrap_or_else(PoisonError::into_inner);
        armings.retain(|arming| arming.source != source);
    }

    fn remember(&self, source: Source, Mover { actor, reason }: Mover<'_>) {
        let (actor, reason) = (actor.to_owned(), reason.map(str::to_owned));
        let mut armings = self.armings.lock().unwrap_or_else(PoisonError::into_inner);
        armings.push(Arming { source, actor, reason, at: SystemTime::now() });
    }

    /// Arms what was armed in a predecessor, of which only the names are left. A name that is not
    /// known arms, too.
    pub(crate) fn rearm(&self, names: &str) {
        let reason = Some("armed before the proxy was restarted");
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let known = ALL.into_iter().find(|source| source.name() == name);
            self.arm(known.unwrap_or(Source::Http), Mover { actor: "restart", reason });
        }
    }

    /// Makes `source` inactive once that is durably recorded, unless it was armed again meanwhile.
    ///
    /// # Errors
    ///
    /// [`AppendError`] when the log did not take the line; the source stays active.
    pub(crate) async fn clear(
        &self,
        source: Source,
        mover: Mover<'_>,
    ) -> Result<Sources, AppendError> {
        let _one = self.clearing.lock().await;
        let now = *self.active.borrow();
        if !now.has(source) {
            return Ok(now);
        }
        let after = now.with(source, false);
        *self.leaving() = Some(source);
        let recorded = self.record.append(line(KillSwitchAction::Cleared, after, mover)).await;
        let cleared = self.active.send_if_modified(|active| {
            let leaves = self.leaving().take().is_some() && recorded.is_ok();
            if leaves {
                *active = active.with(source, false);
                self.forget(source);
            }
            leaves
        });
        recorded?;
        if cleared {
            tracing::warn!(source = source.name(), actor = mover.actor, "kill switch cleared");
        }
        Ok(*self.active.borrow())
    }

    /// Flips the signal's source.
    ///
    /// # Errors
    ///
    /// As [`Self::clear`].
    pub(crate) async fn toggle(&self) -> Result<Sources, AppendError> {
        let mover = Mover { actor: "signal", reason: None };
        let set = self.active.borrow().has(Source::Signal);
        if set {
            self.clear(Source::Signal, mover).await
        } else {
            Ok(self.arm(Source::Signal, mover))
        }
    }

    /// Follows the sentinel in both directions; the request path only ever arms.
    ///
    /// # Errors
    ///
    /// As [`Self::clear`].
    pub(crate) async fn follow_sentinel(&self) -> Result<(), AppendError> {
        let set = sentinel_is_set(&self.sentinel);
        let mover = Mover { actor: "file", reason: None };
        if set {
            self.arm(Source::Sentinel, mover);
        } else if self.active.borrow().has(Source::Sentinel) {
            self.clear(Source::Sentinel, mover).await?;
        }
        Ok(())
    }
}

/// The line of a request refused because the switch is armed.
pub(crate) fn refused(at: RequestRef, active: Sources) -> Event {
    Event::KillSwitch {
        action: KillSwitchAction::Refused,
        sources_active: active.names(),
        inst: Some(at.inst),
        req_no: Some(at.req_no),
        actor: None,
        reason: None,
    }
}

fn line(action: KillSwitchAction, active: Sources, mover: Mover<'_>) -> Event {
    Event::KillSwitch {
        action,
        sources_active: active.names(),
        inst: None,
        req_no: None,
        actor: Some(mover.actor.to_owned()),
        reason: mover.reason.map(str::to_owned),
    }
}

/// Whether the sentinel is there. Not being able to tell counts as there, and so does a dangling
/// link: somebody put a name where only the operator should.
fn sentinel_is_set(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOVER: Mover<'static> = Mover { actor: "uid:1000", reason: Some("drill") };

    fn switch(dir: &Path) -> KillSwitch {
        KillSwitch::new(dir.join("kill"), Record::new([0; 8], Duration::from_millis(1)))
    }

    #[test]
    fn any_source_arms_and_names_come_in_fixed_order() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(dir.path());
        assert!(!switch.check().armed());
        switch.arm(Source::Http, MOVER);
        switch.arm(Source::Config, MOVER);
        std::fs::write(dir.path().join("kill"), "").unwrap();
        assert_eq!(switch.check().names(), ["config", "sentinel", "http"]);
    }

    #[test]
    fn a_sentinel_that_cannot_be_looked_at_counts_as_set() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(sentinel_is_set(&dir.path().join("file/kill")));
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        assert!(sentinel_is_set(&dir.path().join("dangling")));
        assert!(!sentinel_is_set(&dir.path().join("absent")));
    }

    #[tokio::test]
    async fn stays_armed_while_the_log_cannot_record_the_clearing() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(dir.path());
        switch.arm(Source::Http, MOVER);
        assert!(switch.clear(Source::Http, MOVER).await.is_err());
        assert!(switch.check().has(Source::Http));
    }

    /// An operator who arms it while another's clearing waits for the log means it.
    #[tokio::test]
    async fn what_is_armed_again_while_its_clearing_is_recorded_stays_armed() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new([0; 8], Duration::from_secs(5));
        let switch = KillSwitch::new(dir.path().join("kill"), record.clone());
        switch.arm(Source::Http, MOVER);
        let clearing = switch.clear(Source::Http, Mover { actor: "uid:0", reason: None });
        let other = async {
            let again = Mover { actor: "uid:7", reason: Some("no") };
            assert!(switch.arm(Source::Http, again).armed());
            // Armed, cleared, armed again.
            assert_eq!(record.backlog(), 3);
            record.acknowledge_for_tests(2);
        };
        let (cleared, ()) = tokio::join!(clearing, other);
        assert!(cleared.unwrap().has(Source::Http));
        assert_eq!(
            switch.armings().first().map(|arming| arming.actor.clone()),
            Some("uid:7".into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_cut_only_while_armed_and_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(dir.path());
        let mut cut = switch.cut();
        let mut waits =
            async || tokio::time::timeout(Duration::from_secs(1), cut.wait()).await.is_err();
        assert!(waits().await);
        switch.cut_streams(true);
        assert!(waits().await);
        switch.arm(Source::Http, MOVER);
        assert!(!waits().await);
        switch.cut_streams(false);
        assert!(waits().await);
        // In an emergency that has begun already, too.
        switch.cut_streams(true);
        assert!(!waits().await);
    }

    #[test]
    fn a_successor_starts_with_what_nobody_else_remembers() {
        let dir = tempfile::tempdir().unwrap();
        let before = switch(dir.path());
        assert_eq!(before.check().volatile(), "");
        before.arm(Source::Config, MOVER);
        before.arm(Source::Http, MOVER);
        before.arm(Source::Signal, MOVER);
        let successor = switch(dir.path());
        successor.rearm(&before.check().volatile());
        assert_eq!(successor.check().names(), ["sigusr1", "http"]);
        let confused = switch(dir.path());
        confused.rearm("");
        assert!(!confused.check().armed());
        confused.rearm("novel");
        assert!(confused.check().armed());
    }

    #[test]
    fn says_who_armed_what_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(dir.path());
        switch.arm(Source::Http, MOVER);
        switch.arm(Source::Http, Mover { actor: "uid:0", reason: Some("again") });
        switch.arm(Source::Config, Mover { actor: "config", reason: None });
        let told: Vec<_> = switch
            .armings()
            .into_iter()
            .map(|arming| (arming.source.name(), arming.actor, arming.reason))
            .collect();
        assert_eq!(
            told,
            [
                ("http", "uid:1000".to_owned(), Some("drill".to_owned())),
                ("config", "config".to_owned(), None)
            ]
        );
    }

    #[test]
    fn arming_twice_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(dir.path());
        switch.arm(Source::Http, MOVER);
        switch.arm(Source::Http, MOVER);
        assert_eq!(switch.record.backlog(), 1);
    }
}
