//! Which address of a host to try next, and when (RFC 8305). Pure: time and answers in, decisions
//! out.
//!
//! The addresses of both families take turns, IPv6 first. An attempt that neither fails nor
//! succeeds soon gets company; the first that succeeds wins.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// IPv4 addresses that are known first wait this long for IPv6 (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// From one attempt to the next, unless one fails before (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one family that are tried: more of them help nobody but whoever runs the zone.
const ADDRESSES_MAX: usize = 16;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    /// IPv6.
    V6,
    /// IPv4.
    V4,
}

impl Family {
    /// Both, the preferred one first.
    pub(super) const ALL: [Self; 2] = [Self::V6, Self::V4];

    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv6() { Self::V6 } else { Self::V4 }
    }

    fn other(self) -> Self {
        match self {
            Self::V6 => Self::V4,
            Self::V4 => Self::V6,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start to connect to this one.
    Try(IpAddr),
    /// Wait for an answer or for the end of an attempt, at most until then.
    Wait(Option<Duration>),
    /// There is nothing left that could succeed.
    Lost,
}

/// The addresses of one host, and what became of them. Times are counted from its start.
#[derive(Debug)]
pub(super) struct Race {
    v6: VecDeque<IpAddr>,
    v4: VecDeque<IpAddr>,
    seen: HashSet<IpAddr>,
    /// Families whose addresses are not known yet.
    asked: Vec<Family>,
    /// Whose turn it is.
    turn: Family,
    /// Attempts that have not ended.
    running: usize,
    /// The next attempt starts no earlier.
    not_before: Duration,
}

impl Race {
    /// The addresses of both families are being asked for.
    pub(super) fn asking() -> Self {
        Self {
            v6: VecDeque::new(),
            v4: VecDeque::new(),
            seen: HashSet::new(),
            asked: Family::ALL.to_vec(),
            turn: Family::V6,
            running: 0,
            not_before: Duration::ZERO,
        }
    }

    /// All addresses are known. The family of the first of them is preferred.
    pub(super) fn of(addresses: &[IpAddr]) -> Self {
        let mut race = Self { asked: Vec::new(), ..Self::asking() };
        race.turn = addresses.first().map_or(Family::V6, |ip| Family::of(*ip));
        race.add(addresses);
        race
    }

    /// These are the addresses of `family`: none where it has none, or nobody could say.
    pub(super) fn found(&mut self, family: Family, addresses: &[IpAddr], now: Duration) {
        let is_first = self.seen.is_empty();
        self.asked.retain(|asked| *asked != family);
        self.add(addresses);
        if is_first && family == Family::V4 && self.asked.contains(&Family::V6) {
            self.not_before = now + RESOLUTION_DELAY;
        } else if family == Family::V6 && self.running == 0 {
            // Nobody is waited for any more.
            self.not_before = now;
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: Duration) {
        self.running = self.running.saturating_sub(1);
        self.not_before = self.not_before.min(now);
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        if self.v6.is_empty() && self.v4.is_empty() {
            let may_come = self.running > 0 || !self.asked.is_empty();
            return if may_come { Next::Wait(None) } else { Next::Lost };
        }
        if now < self.not_before {
            return Next::Wait(Some(self.not_before));
        }
        let Some(ip) = self.take(self.turn).or_else(|| self.take(self.turn.other())) else {
            return Next::Lost;
        };
        self.turn = Family::of(ip).other();
        self.running += 1;
        self.not_before = now + ATTEMPT_DELAY;
        Next::Try(ip)
    }

    fn take(&mut self, family: Family) -> Option<IpAddr> {
        self.queue(family).pop_front()
    }

    fn queue(&mut self, family: Family) -> &mut VecDeque<IpAddr> {
        match family {
            Family::V6 => &mut self.v6,
            Family::V4 => &mut self.v4,
        }
    }

    fn add(&mut self, addresses: &[IpAddr]) {
        for ip in addresses {
            let fits = self.queue(Family::of(*ip)).len() < ADDRESSES_MAX;
            if fits && self.seen.insert(*ip) {
                self.queue(Family::of(*ip)).push_back(*ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    #[test]
    fn families_take_turns_a_quarter_of_a_second_apart() {
        let mut race = Race::of(&ips(&["::1", "::2", "10.0.0.1", "10.0.0.2"]));
        for (now, text) in [(0, "::1"), (250, "10.0.0.1"), (500, "::2"), (750, "10.0.0.2")] {
            assert_eq!(race.next(ms(now)), Next::Try(ip(text)));
            let then = (now < 750).then(|| ms(now + 250));
            assert_eq!(race.next(ms(now + 1)), Next::Wait(then));
        }
    }

    #[test]
    fn an_attempt_that_fails_makes_way_at_once() {
        let mut race = Race::of(&ips(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(race.next(ms(0)), Next::Try(ip("10.0.0.1")));
        race.failed(ms(3));
        assert_eq!(race.next(ms(3)), Next::Try(ip("10.0.0.2")));
        race.failed(ms(4));
        assert_eq!(race.next(ms(4)), Next::Lost);
    }

    #[test]
    fn an_address_known_in_one_family_waits_a_moment_for_the_other() {
        let mut race = Race::asking();
        assert_eq!(race.next(ms(0)), Next::Wait(None));
        race.found(Family::V4, &ips(&["10.0.0.1"]), ms(10));
        assert_eq!(race.next(ms(10)), Next::Wait(Some(ms(60))));
        race.found(Family::V6, &ips(&["::1"]), ms(30));
        assert_eq!(race.next(ms(30)), Next::Try(ip("::1")));
        assert_eq!(race.next(ms(280)), Next::Try(ip("10.0.0.1")));
    }

    #[test]
    fn a_name_server_that_says_nothing_of_a_family_holds_up_nobody() {
        let mut race = Race::asking();
        race.found(Family::V4, &ips(&["10.0.0.1"]), ms(10));
        assert_eq!(race.next(ms(60)), Next::Try(ip("10.0.0.1")));
        race.failed(ms(70));
        // What is still to come may be better.
        assert_eq!(race.next(ms(70)), Next::Wait(None));
        race.found(Family::V6, &[], ms(5000));
        assert_eq!(race.next(ms(5000)), Next::Lost);
    }

    #[test]
    fn without_ipv6_nothing_is_waited_for() {
        let mut race = Race::asking();
        race.found(Family::V6, &[], ms(1));
        race.found(Family::V4, &ips(&["10.0.0.1"]), ms(2));
        assert_eq!(race.next(ms(2)), Next::Try(ip("10.0.0.1")));
    }

    #[test]
    fn the_hosts_file_says_which_family_is_first() {
        let mut race = Race::of(&ips(&["127.0.0.1", "::1"]));
        assert_eq!(race.next(ms(0)), Next::Try(ip("127.0.0.1")));
        assert_eq!(race.next(ms(250)), Next::Try(ip("::1")));
    }

    proptest! {
        /// Whatever happens in whatever order: every address once, none twice, and an end.
        #[test]
        fn every_address_is_tried_once_and_then_it_is_over(
            v6 in prop::collection::vec(any::<u8>(), 0..24),
            v4 in prop::collection::vec(any::<u8>(), 0..24),
            fails in prop::collection::vec(any::<bool>(), 64),
            late in 0u64..400,
        ) {
            let v6: Vec<IpAddr> = v6.iter().map(|n| ip(&format!("fd00::{n:x}"))).collect();
            let v4: Vec<IpAddr> = v4.iter().map(|n| ip(&format!("10.0.0.{n}"))).collect();
            let mut race = Race::asking();
            race.found(Family::V4, &v4, ms(late));
            let (mut now, mut tried, mut v6_came) = (ms(late), Vec::new(), false);
            for fail in fails.into_iter().chain(std::iter::repeat(true)) {
                match race.next(now) {
                    Next::Try(ip) => tried.push(ip),
                    Next::Wait(Some(until)) => {
                        prop_assert!(until > now);
                        now = until;
                        continue;
                    }
                    Next::Wait(None) if !v6_came => {
                        v6_came = true;
                        race.found(Family::V6, &v6, now);
                        continue;
                    }
                    Next::Wait(None) => {}
                    Next::Lost => break,
                }
                if fail {
                    race.failed(now);
                }
            }
            let distinct: HashSet<IpAddr> = tried.iter().copied().collect();
            prop_assert_eq!(distinct.len(), tried.len());
            prop_assert!(tried.len() <= 2 * ADDRESSES_MAX);
            let expected: HashSet<IpAddr> = v4.iter().chain(&v6).copied().collect();
            prop_assert!(distinct.is_subset(&expected));
            if expected.len() <= ADDRESSES_MAX {
                prop_assert_eq!(distinct, expected);
            }
        }
    }
}
