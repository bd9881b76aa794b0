//! A strict reader of Prometheus' text format, version 0.0.4: what a scraper would overlook, it
//! refuses.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Labels of one sample.
pub type Labels = BTreeMap<String, String>;

/// One family: its samples by full name and labels.
#[derive(Debug, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// In the order in which they stand.
    pub samples: Vec<(String, Labels, f64)>,
}

/// A page of metrics, checked.
#[derive(Debug, Default)]
pub struct Page {
    families: HashMap<String, Family>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The first line that is not as it should be, and why.
    pub fn read(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        let mut page = Self::default();
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(&mut page, line).map_err(|why| format!("{why}: {line}"))?;
        }
        for (name, family) in &page.families {
            if family.kind == "histogram" {
                check_histogram(name, family).map_err(|why| format!("{why}: {name}"))?;
            }
        }
        Ok(page)
    }

    /// A family.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// The value of the sample `name` with exactly `labels`.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples
            .filter(|(sample, with, _)| sample == name && *with == labels)
            .map(|(_, _, value)| *value)
            .next()
    }
}

#[derive(Default)]
struct Reader {
    current: Option<String>,
    helped: Option<String>,
    seen: HashSet<(String, Labels)>,
}

impl Reader {
    fn line(&mut self, page: &mut Page, line: &str) -> Result<(), &'static str> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP says nothing")?;
            if !is_name(name) || help.trim() != help || help.is_empty() {
                return Err("HELP is malformed");
            }
            self.helped = Some(name.to_owned());
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE says nothing")?;
            if self.helped.as_deref() != Some(name) {
                return Err("TYPE does not follow its HELP");
            }
            return self.family(page, name, kind);
        }
        let (name, labels, value) = sample(line)?;
        let current = self.current.as_ref().ok_or("a sample before any TYPE")?;
        let family = page.families.get_mut(current).ok_or("no such family")?;
        let suffixes: &[&str] =
            if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        if !suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(current)) {
            return Err("a sample outside its family");
        }
        if family.kind != "gauge" && !(value.is_finite() && value >= 0.0) {
            return Err("a count that is none");
        }
        if !self.seen.insert((name.clone(), labels.clone())) {
            return Err("a sample stands twice");
        }
        family.samples.push((name, labels, value));
        Ok(())
    }

    fn family(&mut self, page: &mut Page, name: &str, kind: &str) -> Result<(), &'static str> {
        let fits = match kind {
            "counter" => name.ends_with("_total"),
            "gauge" => !name.ends_with("_total"),
            "histogram" => name.ends_with("_seconds") || name.ends_with("_bytes"),
            _ => return Err("a type that is not used here"),
        };
        let unit = ["_ms", "_milliseconds", "_micros", "_kib", "_mib", "_percent", "_minutes"];
        if !fits || unit.iter().any(|unit| name.contains(unit)) {
            return Err("a name that does not say what the type or unit is");
        }
        let family = Family { kind: kind.to_owned(), samples: Vec::new() };
        if page.families.insert(name.to_owned(), family).is_some() {
            return Err("a family stands twice");
        }
        self.current = Some(name.to_owned());
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.starts_with("waterwall_") && name.bytes().all(plain)
}

fn sample(line: &str) -> Result<(String, Labels, f64), &'static str> {
    let (name, rest) = line.split_at(line.find(['{', ' ']).ok_or("no value")?);
    if !is_name(name) {
        return Err("a malformed name");
    }
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = value.strip_prefix(' ').ok_or("no blank in front of the value")?;
    if value.is_empty() || value.contains(' ') {
        return Err("not one value");
    }
    let value = value.parse().map_err(|_| "a value that is no number")?;
    Ok((name.to_owned(), labels, value))
}

fn labels(mut rest: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Err("a malformed label");
        }
        let (value, after) = quoted(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("a label stands twice");
        }
        match after.as_bytes().first() {
            Some(b',') => rest = &after[1..],
            Some(b'}') => return Ok((labels, &after[1..])),
            _ => return Err("labels do not end"),
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return Err("an escape that there is not"),
            },
            plain => value.push(plain),
        }
    }
    Err("a label's value does not end")
}

fn check_histogram(name: &str, family: &Family) -> Result<(), &'static str> {
    let mut sets: Vec<Labels> = Vec::new();
    for (_, labels, _) in &family.samples {
        let mut labels = labels.clone();
        labels.remove("le");
        if !sets.contains(&labels) {
            sets.push(labels);
        }
    }
    for set in sets {
        let of = |suffix: &str| {
            let name = format!("{name}{suffix}");
            let samples = family.samples.iter().filter(move |(sample, _, _)| *sample == name);
            samples.filter(|(_, labels, _)| {
                let mut labels = labels.clone();
                labels.remove("le");
                labels == set
            })
        };
        let buckets: Vec<(f64, f64)> = of("_bucket")
            .map(|(_, labels, value)| Some((labels.get("le")?.parse().ok()?, *value)))
            .collect::<Option<_>>()
            .ok_or("a bucket without a bound")?;
        let rises = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let (bound, last) = *buckets.last().ok_or("no bucket")?;
        if !rises || bound != f64::INFINITY {
            return Err("buckets do not rise to +Inf");
        }
        let (sums, counts): (Vec<_>, Vec<_>) = (of("_sum").collect(), of("_count").collect());
        if sums.len() != 1 || !matches!(counts[..], [(_, _, count)] if *count == last) {
            return Err("not one sum and one count that agrees");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "# HELP waterwall_a_seconds What.\n# TYPE waterwall_a_seconds histogram\n\
        waterwall_a_seconds_bucket{le=\"0.1\"} 1\nwaterwall_a_seconds_bucket{le=\"+Inf\"} 2\n\
        waterwall_a_seconds_sum 0.5\nwaterwall_a_seconds_count 2\n";

    #[test]
    fn reads_a_page() {
        let text = "# HELP waterwall_b_total What.\n# TYPE waterwall_b_total counter\n\
            waterwall_b_total{code=\"a \\\"b\\\" \\\\ \\n\"} 3\n";
        let page = Page::read(text).unwrap();
        assert_eq!(page.value("waterwall_b_total", &[("code", "a \"b\" \\ \n")]), Some(3.0));
        let page = Page::read(FINE).unwrap();
        assert_eq!(page.value("waterwall_a_seconds_bucket", &[("le", "+Inf")]), Some(2.0));
    }

    #[test]
    fn refuses_what_a_scraper_would_overlook() {
        for (from, to) in [
            ("count 2\n", "count 2"),
            ("count 2", "count 3"),
            ("le=\"0.1\"} 1", "le=\"0.1\"} 5"),
            ("+Inf", "9"),
            ("le=\"0.1\"", "le=\"0.1\",le=\"0.1\""),
            ("sum 0.5", "sum NaN"),
            ("sum 0.5", "sum 0.5 1700000000"),
            ("sum 0.5", "sum  0.5"),
            ("# HELP waterwall_a_seconds What.\n", ""),
            ("histogram", "summary"),
            ("histogram", "gauge"),
            ("waterwall_a_seconds_sum 0.5\n", ""),
            ("waterwall_a_seconds_sum 0.5\n", "waterwall_c 1\n"),
            ("_count 2\n", "_count 2\nwaterwall_a_seconds_count 2\n"),
        ] {
            let text = FINE.replacen(from, to, 1);
            assert_ne!(text, FINE, "{from}");
            assert!(Page::read(&text).is_err(), "{from} as {to}");
        }
        let milliseconds = FINE.replace("a_seconds", "a_ms_seconds");
        assert!(Page::read(&milliseconds).is_err());
    }
}
