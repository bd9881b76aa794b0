//! What happens to a Waterwall in its life: daemons die, switches are thrown, files are edited.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::executables::executable;
use harness::waterwall::{Waterwall, eventually, said};

use crate::Soak;
use crate::dice::Dice;
use crate::secret::REGISTERED;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upheaval {
    /// A daemon is killed.
    Kill(&'static str),
    /// The kill switch is armed for a while, by its file.
    Sentinel,
    /// By the operator's command.
    Switch,
    /// A host and a pattern come, or go again.
    Reload,
    /// The files are broken for a while.
    Broken,
}

const KILLS: [Upheaval; 3] =
    [Upheaval::Kill("proxy"), Upheaval::Kill("signer"), Upheaval::Kill("auditd")];

const OTHERS: [Upheaval; 4] =
    [Upheaval::Sentinel, Upheaval::Switch, Upheaval::Reload, Upheaval::Broken];

impl Upheaval {
    /// The one of this turn: daemons die in turn while they may, and other things happen in between.
    fn next(dice: &mut Dice, turn: usize, kills: bool) -> Self {
        if kills && turn.is_multiple_of(2) {
            return KILLS[turn / 2 % KILLS.len()];
        }
        *dice.pick(&OTHERS)
    }

    fn name(self) -> String {
        match self {
            Self::Kill(role) => format!("kill -9 {role}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

/// One upheaval after another, until the soak is over. How often each role was killed is told at
/// its end.
pub(crate) async fn go_on(soak: Arc<Soak>) -> BTreeMap<&'static str, u64> {
    let mut killed = BTreeMap::new();
    for turn in 0.. {
        let number = u64::try_from(turn).expect("it is small");
        let mut dice = Dice::new(soak.options.seed, u64::MAX, number);
        let gap = soak.options.seconds * 1000 / 60;
        let gap = gap.clamp(1000, 8000) + u64::try_from(dice.below(1000)).expect("it is small");
        tokio::time::sleep(Duration::from_millis(gap)).await;
        if soak.nearly_over() {
            return killed;
        }
        let upheaval = Upheaval::next(&mut dice, turn, soak.may_kill());
        if let Upheaval::Kill(role) = upheaval {
            *killed.entry(role).or_default() += 1;
        }
        // Whoever says registered values waits until a new proxy has them.
        let known =
            if upheaval == Upheaval::Kill("proxy") { Some(soak.known.write().await) } else { None };
        soak.say(&upheaval.name());
        soak.upset(true);
        let waterwall = Arc::clone(&soak.waterwall);
        let hold = Duration::from_millis(u64::try_from(dice.below(2000)).expect("it is small"));
        let done = tokio::task::spawn_blocking(move || happen(&waterwall, upheaval, hold)).await;
        drop(known);
        if let Err(error) = done {
            soak.violation(format!("{}: {error}", upheaval.name()));
            return killed;
        }
        // Connections that were cut show only when they are used again.
        tokio::time::sleep(Duration::from_millis(500)).await;
        soak.upset(false);
    }
    killed
}

fn happen(waterwall: &Waterwall, upheaval: Upheaval, hold: Duration) {
    match upheaval {
        Upheaval::Kill(role) => {
            waterwall.replace(role);
            if role == "proxy" {
                register(waterwall);
            }
        }
        Upheaval::Sentinel => {
            std::fs::write(waterwall.path("run/kill"), "").expect("the home can be written");
            std::thread::sleep(hold);
            std::fs::remove_file(waterwall.path("run/kill")).expect("the home can be written");
        }
        Upheaval::Switch => {
            must(waterwall, &["killswitch", "arm", "--reason", "soak"]);
            std::thread::sleep(hold);
            must(waterwall, &["killswitch", "disarm", "--reason", "soak"]);
        }
        Upheaval::Reload => {
            let file = waterwall.path("etc/patterns.yaml");
            let pattern = "patterns:\n  - type: SOAK_TICKET\n    description: made up\n    \
                regex: 'TICKET-[0-9]{12}'\n    examples: ['TICKET-012345678901']\n";
            let is_there = std::fs::read_to_string(&file).is_ok_and(|text| text == pattern);
            let next = if is_there { "" } else { pattern };
            std::fs::write(&file, next).expect("the home can be written");
            must(waterwall, &["reload"]);
        }
        Upheaval::Broken => {
            let file = waterwall.path("etc/permitted_hosts.yaml");
            let good = std::fs::read_to_string(&file).expect("there is one");
            std::fs::write(&file, format!("{good}nonsense: [\n")).expect("the home can be written");
            let refused = waterwall.ctl(&["reload"]);
            assert!(!refused.status.success(), "a broken file was taken: {}", said(&refused));
            std::thread::sleep(hold);
            std::fs::write(&file, good).expect("the home can be written");
            must(waterwall, &["reload"]);
        }
    }
    eventually("all is well again", || waterwall.ctl(&["status"]).status.success());
}

fn must(waterwall: &Waterwall, arguments: &[&str]) {
    // A daemon that was just replaced may not have met the others yet.
    eventually(&format!("{arguments:?} is done"), || waterwall.ctl(arguments).status.success());
}

/// Tells the proxy what no pattern knows.
pub(crate) fn register(waterwall: &Waterwall) {
    for value in REGISTERED {
        let mut child = Command::new(executable("waterwall-ctl"))
            .args(["secret", "add", "--type", "SOAK"])
            .env("WATERWALL_HOME", waterwall.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("waterwall-ctl runs");
        let mut stdin = child.stdin.take().expect("it has a standard input");
        writeln!(stdin, "{value}").expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "a value was not registered");
    }
}
