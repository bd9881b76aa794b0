//! Memory and descriptors of each daemon over time.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::waterwall::Waterwall;

/// The daemons.
pub(crate) const ROLES: [&str; 3] = ["proxy", "signer", "auditd"];

/// A daemon's memory may grow by this much, in KiB, or by a sixth, before it counts as growing:
/// what an allocator keeps depends on the largest bodies that met.
const SLACK: u64 = 16 * 1024;

/// What one daemon has at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pid: i32,
    /// Resident memory in KiB.
    pub(crate) rss: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
}

impl Reading {
    /// Of the daemon that now has `role`; `None` while there is none.
    pub(crate) fn of(waterwall: &Waterwall, role: &str) -> Option<Self> {
        let pid = waterwall.status()["roles"][role]["pid"].as_i64()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let rss = line.split_whitespace().next()?.parse().ok()?;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self { pid: i32::try_from(pid).ok()?, rss, descriptors })
    }
}

/// Readings over time.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// In the time in which no daemon is killed.
    steady: BTreeMap<&'static str, Vec<(Duration, Reading)>>,
}

impl Gauge {
    /// Takes a reading of each daemon; to be kept if times are steady.
    pub(crate) fn read(&mut self, waterwall: &Waterwall, at: Duration, steady: bool) -> String {
        let mut line = String::new();
        for role in ROLES {
            let Some(reading) = Reading::of(waterwall, role) else { continue };
            line +=
                &format!("  {role} {:.1} MiB {} fds", Self::mebi(reading.rss), reading.descriptors);
            if steady {
                self.steady.entry(role).or_default().push((at, reading));
            }
        }
        line
    }

    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn mebi(kibi: u64) -> f64 {
        kibi as f64 / 1024.0
    }

    /// How each daemon's memory went, and what must not have been.
    pub(crate) fn trend(&self) -> (String, Vec<String>) {
        let (mut table, mut violations) = (String::new(), Vec::new());
        for (role, readings) in &self.steady {
            // The first third is for warming up.
            let warm = &readings[readings.len() / 3..];
            let (early, late) = warm.split_at(warm.len() / 2);
            let (Some(before), Some(after)) = (median(early), median(late)) else { continue };
            let first = readings.first().map_or(0, |(_, reading)| reading.rss);
            let most = readings.iter().map(|(_, reading)| reading.descriptors).max().unwrap_or(0);
            table += &format!(
                "{role:<7} MiB at first {:.1}, then {:.1}, at last {:.1}; at most {most} fds; {} readings\n",
                Self::mebi(first),
                Self::mebi(before),
                Self::mebi(after),
                readings.len()
            );
            if after > before + SLACK.max(before / 6) {
                violations.push(format!("{role} grows: from {before} KiB to {after} KiB"));
            }
            if warm.iter().any(|(_, reading)| reading.pid != warm[0].1.pid) {
                violations.push(format!("{role} died in steady times"));
            }
        }
        (table, violations)
    }
}

fn median(readings: &[(Duration, Reading)]) -> Option<u64> {
    let mut sizes: Vec<u64> = readings.iter().map(|(_, reading)| reading.rss).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied()
}
