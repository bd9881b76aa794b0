//! Between Waterwall and its providers may be a proxy of somebody else's.

use std::process::Command;

use harness::agent::Agent;
use harness::executables::executable;
use harness::forward::{Forward, Manner};
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const URL: &str = "https://api.anthropic.com/v1/messages";

/// `user:p@ss` in Basic credentials.
const CREDENTIALS: &str = "Basic dXNlcjpwQHNz";

/// A Waterwall whose hosts are at their own names, reached through whatever `config` says.
fn waterwall(provider: &Provider, config: &str) -> Waterwall {
    Waterwall::lay_out_for("", provider.ca_pem(), config)
}

/// Demands that a secret makes its round.
async fn round_trip(waterwall: &Waterwall, provider: &Provider) {
    let request = SHAPES[0].request(secrets::AWS);
    let answer = Agent::new(waterwall).post_json(URL, &request).await;
    assert!(answer.to_string().contains(secrets::AWS), "{answer}");
    assert!(!provider.saw(secrets::AWS));
    assert!(provider.last().text().contains("<pl:"));
}

/// Everything goes through it by name: requests, and tunnels too.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_chained_with_basic_credentials() {
    let provider = Provider::echo().await;
    let forward = Forward::start(provider.address(), Manner::Connects(Some(CREDENTIALS))).await;
    let proxy = format!("upstream_proxy: http://user:p%40ss@{}\n", forward.address());
    let mut waterwall = waterwall(&provider, &proxy);
    waterwall.up();
    round_trip(&waterwall, &provider).await;
    let asked = forward.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("CONNECT api.anthropic.com:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains(&format!("Proxy-Authorization: {CREDENTIALS}\r\n")), "{asked:?}");
    // It says who we are to the one proxy, and to nobody behind it.
    assert!(!provider.last().headers.contains_key("proxy-authorization"));
    let (status, _) = connect(&waterwall, "console.anthropic.com").await;
    assert_eq!(status, 200);
    assert!(forward.asked()[1].starts_with("CONNECT console.anthropic.com:443 "));
    // The password is in the one file it was written to.
    assert_eq!(waterwall.files_holding("p%40ss"), [waterwall.path("etc/config.yaml")]);
    assert_eq!(waterwall.files_holding(CREDENTIALS), [] as [&std::path::Path; 0]);
}

/// The status of a CONNECT to `host`, and all that came with it.
async fn connect(waterwall: &Waterwall, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(waterwall.listen()).await.expect("it listens");
    let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.expect("it is read");
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.expect("an answer comes");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {answer}")), answer)
}

/// Whatever is wrong with it is told in words of our own, and nothing was sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_proxy_answers_amiss_becomes_a_clear_refusal() {
    let provider = Provider::echo().await;
    for (manner, words) in [
        (Manner::Connects(Some(CREDENTIALS)), "wants other credentials (407)"),
        (
            Manner::Says("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nmarker!"),
            "does not let it be connected to (403)",
        ),
        (Manner::Says("HTTP/1.1 503 marker!\r\n\r\n"), "the upstream proxy cannot connect to it"),
        (Manner::Says("220 marker! ESMTP\r\n"), "what the upstream proxy answers is not HTTP"),
        (Manner::Says("HTTP/1.1 200 OK\r\n\r\nmarker!"), "is not HTTP"),
        (Manner::Says(""), "hung up before it answered"),
        (Manner::Silent, "the upstream proxy did not answer in time"),
    ] {
        let forward = Forward::start(provider.address(), manner.clone()).await;
        let config = format!("upstream_proxy: {}\ntimeouts: {{connect: 1}}\n", forward.address());
        let mut waterwall = waterwall(&provider, &config);
        waterwall.up();
        let request = SHAPES[0].request(secrets::AWS);
        let answer = Agent::new(&waterwall).post(URL, &request).await;
        assert_eq!(answer.status(), 502, "{manner:?}");
        assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-upstream-failed");
        let text = answer.text().await.expect("a body");
        assert!(text.contains(words) && !text.contains("marker!"), "{manner:?}: {text}");
        let (status, text) = connect(&waterwall, "console.anthropic.com").await;
        assert!(status == 502 && text.contains(words), "{manner:?}: {text}");
        eventually("it is on record that nothing left", || {
            waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
        });
    }
    assert_eq!(provider.seen().len(), 0);
}

/// A proxy that is not there is not gone around.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_proxy_that_is_away_is_said_to_be() {
    let provider = Provider::echo().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let mut waterwall = waterwall(&provider, &format!("upstream_proxy: {address}\n"));
    waterwall.up();
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hello")).await;
    let text = answer.text().await.expect("a body");
    assert!(text.contains("the upstream proxy cannot be reached"), "{text}");
}

/// 10.21: what `up` was started with counts where the configuration says nothing, and its port is
/// let through the sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn the_environment_of_up_names_the_upstream_proxy() {
    let provider = Provider::echo().await;
    let forward = Forward::start(provider.address(), Manner::Connects(None)).await;
    let mut waterwall = waterwall(&provider, "");
    let mut ctl = Command::new(executable("waterwall-ctl"));
    ctl.env("HTTPS_PROXY", format!("http://{}/", forward.address())).env_remove("NO_PROXY");
    waterwall.up_by(ctl);
    round_trip(&waterwall, &provider).await;
    assert_eq!(forward.asked().len(), 1);
}

/// 10.21: started from a shell that points at a running Waterwall, or with `*` in `no_proxy`.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_points_at_ourselves_is_passed_over() {
    let provider = Provider::echo().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let own = free.local_addr().expect("an address");
    drop(free);
    let place = format!("localhost:{}", provider.address().port());
    let mut waterwall = Waterwall::lay_out_for(&place, provider.ca_pem(), "");
    let file = waterwall.path("etc/config.yaml");
    std::fs::write(file, format!("listen: {own}\nadmin_port: 0\n")).expect("a file");
    let mut ctl = Command::new(executable("waterwall-ctl"));
    ctl.env("HTTPS_PROXY", format!("http://{own}"));
    waterwall.up_by(ctl);
    assert_eq!(waterwall.listen(), own);
    round_trip(&waterwall, &provider).await;
}

/// What `no_proxy` lists, and this machine, is connected to directly.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_proxy_lists_is_connected_to_directly() {
    let provider = Provider::echo().await;
    let forward = Forward::start(provider.address(), Manner::Says("HTTP/1.1 403 x\r\n\r\n")).await;
    let config = format!("upstream_proxy: {}\nno_proxy: [\"*\"]\n", forward.address());
    let place = provider.address().to_string();
    let mut waterwall = Waterwall::lay_out_for(&place, provider.ca_pem(), &config);
    waterwall.up();
    round_trip(&waterwall, &provider).await;
    assert_eq!(forward.asked().len(), 0);
}

/// A change of the port would need another sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn another_proxy_port_needs_a_restart_and_the_same_none() {
    let provider = Provider::echo().await;
    let one = Forward::start(provider.address(), Manner::Connects(None)).await;
    let two = Forward::start(provider.address(), Manner::Connects(None)).await;
    let at = |port: u16| {
        format!("listen: 127.0.0.1:0\nadmin_port: 0\nupstream_proxy: localhost:{port}\n")
    };
    let mut waterwall = waterwall(&provider, "");
    let file = waterwall.path("etc/config.yaml");
    std::fs::write(&file, at(one.address().port())).expect("a file");
    waterwall.up();
    round_trip(&waterwall, &provider).await;
    std::fs::write(&file, at(two.address().port())).expect("a file");
    let reload = waterwall.ctl(&["reload"]);
    let said = harness::waterwall::said(&reload);
    assert!(!reload.status.success() && said.contains("upstream_proxy"), "{said}");
    assert!(said.contains("restart needed"), "{said}");
    let elsewhere = at(one.address().port()).replace("localhost:", "http://u:p@127.0.0.1:");
    std::fs::write(&file, elsewhere).expect("a file");
    let reload = waterwall.ctl(&["reload"]);
    assert!(reload.status.success(), "{}", harness::waterwall::said(&reload));
    assert_eq!(two.asked().len(), 0);
}
