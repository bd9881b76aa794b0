//! Every row of `docs/fail-closed.md`: the real daemons are driven into the state, and what comes back
//! is compared with the page.

mod faults;
mod page;
mod providers;
mod requests;

use std::collections::BTreeSet;
use std::fs;

use harness::provider::Provider;
use harness::raw::{Raw, Reply, post};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::Waterwall;

use self::page::rows;

/// The host of these stories.
const HOST: &str = "api.anthropic.com";

/// Its path for messages.
const PATH: &str = "/v1/messages";

/// A request that would leave, with a secret in it, on a connection of its own.
async fn send(waterwall: &Waterwall) -> Reply {
    Raw::new(waterwall).send(HOST, request()).await
}

fn request() -> Vec<u8> {
    post(HOST, PATH, &SHAPES[0].request(secrets::AWS).to_string())
}

/// Changes a file below the home.
fn edit(waterwall: &Waterwall, file: &str, change: impl Fn(String) -> String) {
    let path = waterwall.path(file);
    let text = fs::read_to_string(&path).expect("a file");
    fs::write(&path, change(text)).expect("the home can be written");
}

/// A Waterwall whose configuration was changed before its start.
fn start_edited(
    provider: &Provider,
    config: &str,
    file: &str,
    change: impl Fn(String) -> String,
) -> Waterwall {
    let mut waterwall = Waterwall::lay_out(provider, config);
    edit(&waterwall, file, change);
    waterwall.up();
    waterwall
}

/// Rows whose state no daemon can be driven into, and where they are tested instead.
const ELSEWHERE: [(&str, &str); 1] =
    [("collision", include_str!("../../../proxy/src/exchange/outward.rs"))];

#[test]
fn the_page_and_the_tests_name_the_same_states() {
    let named = |source: &str| -> BTreeSet<String> {
        let tests = source.split("#[tokio::test").skip(1);
        tests.map(|test| text_between(test, "async fn ", "(").to_owned()).collect()
    };
    let sources =
        [include_str!("faults.rs"), include_str!("providers.rs"), include_str!("requests.rs")];
    let mut tested: BTreeSet<String> = sources.iter().flat_map(|source| named(source)).collect();
    for source in sources {
        for test in source.split("#[tokio::test").skip(1) {
            let name = text_between(test, "async fn ", "(");
            assert!(test.contains(&format!("row(\"{name}\")")), "{name} does not look at its row");
        }
    }
    for (test, source) in ELSEWHERE {
        assert!(source.contains(&format!("fn {test}(")), "{test}");
        tested.insert(test.to_owned());
    }
    let listed: Vec<String> = rows().into_iter().map(|row| row.test).collect();
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), once.len(), "a row stands twice");
    assert_eq!(tested, once);
}

fn text_between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect("a start");
    rest.split_once(end).expect("an end").0
}
