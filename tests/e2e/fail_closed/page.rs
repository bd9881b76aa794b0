//! `docs/fail-closed.md`, as its rows are read here.

use harness::raw::Reply;
use harness::waterwall::{Waterwall, eventually};

const PAGE: &str = include_str!("../../../docs/fail-closed.md");

/// A row of the page.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The test that drives the daemons into it.
    pub(super) test: String,
    /// `inside` the tunnel, or at the `CONNECT`.
    place: String,
    /// Status, without the mark of those that `refusal_status` moves.
    status: String,
    /// Whether `refusal_status` moves it.
    moves: bool,
    /// The stable code.
    pub(super) code: String,
    reason: String,
    again: String,
    line: String,
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    PAGE.lines().filter(|line| line.starts_with("| `")).map(Row::read).collect()
}

/// The row of a test.
pub(super) fn row(test: &str) -> Row {
    let found = rows().into_iter().find(|row| row.test == test);
    found.unwrap_or_else(|| panic!("docs/fail-closed.md has no row for {test}"))
}

impl Row {
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [place, status, code, reason, again, line] = match cells[..] {
            [_, _, _, place, status, code, reason, again, line, _] => {
                [place, status, code, reason, again, line]
            }
            [_, _, _, line, _] => ["", "", "", "", "", line],
            _ => panic!("a row has eight cells, or three: {line}"),
        };
        Self {
            test: cells[1].into(),
            place: place.into(),
            status: status.trim_end_matches('*').into(),
            moves: status.ends_with('*'),
            code: code.into(),
            reason: reason.into(),
            again: again.into(),
            line: line.into(),
        }
    }

    /// Demands that a refusal from inside the tunnel is what the page says, and is on record.
    pub(super) fn holds_inside(&self, waterwall: &Waterwall, reply: &Reply) {
        assert_eq!(self.place, "inside");
        self.is(reply);
        self.is_on_record(waterwall);
    }

    /// The same of a refusal of the CONNECT itself.
    pub(super) fn holds_at_connect(&self, waterwall: &Waterwall, reply: &Reply) {
        assert_eq!(self.place, "CONNECT");
        self.is(reply);
        self.is_on_record(waterwall);
    }

    /// Demands that `reply` is what the page says.
    pub(super) fn is(&self, reply: &Reply) {
        self.is_with(reply, false);
    }

    /// The same where `refusal_status` is 400.
    pub(super) fn is_with(&self, reply: &Reply, is_400: bool) {
        let status = if is_400 && self.moves { "400" } else { &self.status };
        reply.is_refused(status.parse().expect("a status"), &self.code);
        assert_eq!(reply.reason, self.reason, "{reply:?}");
        let again = reply.header("x-should-retry") != Some("false");
        assert_eq!(again, self.again == "yes", "{reply:?}");
        assert!(reply.complete, "{reply:?}");
    }

    /// Waits for the line that the page promises.
    pub(super) fn is_on_record(&self, waterwall: &Waterwall) {
        let (kind, word) = self.line.split_once(' ').unwrap_or((&self.line, ""));
        let key = match kind {
            "none" => {
                assert!(waterwall.lines("block").is_empty());
                return;
            }
            "block" => "reason",
            "killswitch" => "action",
            "outcome" => "sent",
            _ => "line_type",
        };
        let word = if word.is_empty() { kind } else { word };
        eventually(&format!("{} is on record", self.line), || {
            waterwall.lines(kind).iter().any(|line| line[key] == word)
        });
    }

    /// The code with which the page says that a WebSocket is closed.
    pub(super) fn close(&self) -> u16 {
        let code = self.status.strip_prefix("close ").expect("a row of a WebSocket");
        code.parse().expect("a close code")
    }
}
