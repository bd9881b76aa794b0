//! Wall-clock time as evidence spells it: `YYYY-MM-DDThh:mm:ss.mmmZ`, UTC, as read, never adjusted.

/// Milliseconds of one day.
const DAY: u64 = 86_400_000;

/// The first millisecond after the year 9999.
const END: u64 = 253_402_300_800_000;

/// Milliseconds since the Unix epoch, within the years 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time `ms` milliseconds after the Unix epoch; `None` after the year 9999.
    #[must_use]
    pub fn from_ms(ms: u64) -> Option<Self> {
        (ms < END).then_some(Self(ms))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0
    }

    /// The time `text` spells, or `None` unless it is exactly how that time is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 24 {
            return None;
        }
        let punctuation =
            [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
        if punctuation.iter().any(|(at, byte)| bytes[*at] != *byte) {
            return None;
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0u64, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
            })
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let (second, milli) = (number(17, 19)?, number(20, 23)?);
        if year < 1970 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let in_day = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
        let days = days_before(year, month, day)?;
        let parsed = Self(days * DAY + in_day);
        (parsed.date() == (year, month, day)).then_some(parsed)
    }

    /// Year, month and day, by the civil calendar algorithm over 400-year eras that begin in March.
    fn date(self) -> (u64, u64, u64) {
        let days = self.0 / DAY + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year, month, day)
    }
}

/// Days from the Unix epoch to a date; dates that do not exist give some other day or `None`.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.date();
        let second = self.0 / 1000;
        let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}")?;
        write!(f, ":{:02}.{:03}Z", second % 60, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spells_known_instants() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (END - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_ms(ms).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(time));
        }
        assert_eq!(Timestamp::from_ms(END), None);
    }

    #[test]
    fn refuses_every_other_spelling_and_days_that_never_were() {
        for text in [
            "2023-02-29T00:00:00.000Z",
            "2023-04-31T00:00:00.000Z",
            "2023-00-01T00:00:00.000Z",
            "2023-13-01T00:00:00.000Z",
            "2023-01-00T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2023-01-01T24:00:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "2023-01-01 00:00:00.000Z",
            "2023-01-01T00:00:00.000z",
            "2023-01-01T00:00:00.00Z",
            "2023-01-01T00:00:00.000+",
            "+023-01-01T00:00:00.000Z",
            "",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(ms in 0..END) {
            let time = Timestamp::from_ms(ms).unwrap();
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }
    }
}
