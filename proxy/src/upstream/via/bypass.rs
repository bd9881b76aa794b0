//! What does not go through the upstream proxy (`no_proxy`).

use std::net::IpAddr;

use protocol::names::HostName;

/// Hosts that are connected to directly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bypass(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    All,
    /// A name, and every name under it.
    Under(HostName),
    /// Addresses that agree in so many leading bits.
    Net(IpAddr, u32),
}

impl Bypass {
    /// `*`, names (which stand for all names under them too), addresses, and nets as
    /// `address/bits`.
    ///
    /// # Errors
    ///
    /// The item that is none of these.
    pub(crate) fn parse<'t>(items: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        items.into_iter().map(|item| rule(item).ok_or(item)).collect::<Result<_, _>>().map(Self)
    }

    /// A list as `NO_PROXY` holds it. What is none of the above is passed over, as other programs
    /// do that read it.
    pub(crate) fn lenient(list: &str) -> Self {
        let items = list.split([',', ' ']).map(str::trim).filter(|item| !item.is_empty());
        Self(items.filter_map(rule).collect())
    }

    /// What either of both covers.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether everything is covered.
    pub(crate) fn covers_all(&self) -> bool {
        self.0.contains(&Rule::All)
    }

    /// Whether `name` is covered.
    pub(super) fn covers_name(&self, name: &HostName) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Under(top) => name
                .as_str()
                .strip_suffix(top.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Rule::Net(..) => false,
        })
    }

    /// Whether `ip` is covered.
    pub(super) fn covers_address(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Net(net, bits) => prefix(*net, *bits) == prefix(ip, *bits),
            Rule::Under(_) => false,
        })
    }
}

fn rule(item: &str) -> Option<Rule> {
    if item == "*" {
        return Some(Rule::All);
    }
    let (address, bits) = match item.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (item, None),
    };
    if let Ok(ip) = address.parse::<IpAddr>() {
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        return (bits <= all).then_some(Rule::Net(ip, bits));
    }
    let name = item.strip_prefix("*.").or(item.strip_prefix('.')).unwrap_or(item);
    Some(Rule::Under(HostName::normalise(name).ok()?))
}

/// The leading `bits` of an address, and its family.
fn prefix(ip: IpAddr, bits: u32) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => {
            (true, u128::from(u32::from(ip).checked_shr(32 - bits.min(32)).unwrap_or_default()))
        }
        IpAddr::V6(ip) => {
            (false, u128::from(ip).checked_shr(128 - bits.min(128)).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(rule: &str, target: &str) -> bool {
        let bypass = Bypass::parse([rule]).unwrap();
        match target.parse() {
            Ok(ip) => bypass.covers_address(ip),
            Err(_) => bypass.covers_name(&HostName::normalise(target).unwrap()),
        }
    }

    #[test]
    fn a_name_stands_for_itself_and_all_under_it() {
        for rule in ["corp.example", ".corp.example", "*.corp.example", "CORP.example."] {
            assert!(covers(rule, "corp.example"), "{rule}");
            assert!(covers(rule, "gw.eu.corp.example"), "{rule}");
            assert!(!covers(rule, "notcorp.example"), "{rule}");
            assert!(!covers(rule, "corp.example.org"), "{rule}");
            assert!(!covers(rule, "10.0.0.1"), "{rule}");
        }
    }

    #[test]
    fn nets_cover_the_addresses_in_them() {
        assert!(covers("10.0.0.0/8", "10.255.0.1"));
        assert!(!covers("10.0.0.0/8", "11.0.0.1"));
        assert!(covers("10.0.0.1", "10.0.0.1"));
        assert!(!covers("10.0.0.1", "10.0.0.2"));
        assert!(covers("fd00::/8", "fd12::1"));
        assert!(!covers("fd00::/8", "2001:db8::1"));
        assert!(covers("0.0.0.0/0", "8.8.8.8") && !covers("0.0.0.0/0", "::1"));
        assert!(covers("*", "8.8.8.8") && covers("*", "a.example"));
    }

    #[test]
    fn what_is_none_of_these_is_named_or_in_the_environment_passed_over() {
        for item in ["", "10.0.0.0/33", "a b", "http://x", "10.0.0.0/x"] {
            assert_eq!(Bypass::parse(["a.example", item]), Err(item));
        }
        let list = Bypass::lenient("a.example, ,10.0.0.0/33 b.example,");
        assert_eq!(list, Bypass::parse(["a.example", "b.example"]).unwrap());
    }
}
