//! How providers are reached: every address they have, and within a time for each step.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use harness::wire::RawProvider;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};

const URL: &str = "https://api.anthropic.com/v1/messages";

/// An address at which connections are neither taken nor refused.
struct Dead {
    address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _queued: Vec<TcpStream>,
}

impl Dead {
    /// On IPv6's loopback at `port`; `None` where there is no IPv6.
    fn at(port: u16) -> Option<Self> {
        let address: SocketAddr = format!("[::1]:{port}").parse().expect("an address");
        let SocketAddr::V6(v6) = address else { return None };
        let kind = (AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let listener = socket(kind.0, kind.1, kind.2, None).ok()?;
        setsockopt(&listener, sockopt::Ipv6V6Only, &true).expect("a fresh socket takes options");
        bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &SockaddrIn6::from(v6)).ok()?;
        listen(&listener, Backlog::new(1).expect("a backlog")).expect("a bound socket listens");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 16, "the queue never fills");
        }
        Some(Self { address, _listener: listener, _queued: queued })
    }

    /// Whether anybody of this machine still tries to connect to it.
    fn is_tried(&self) -> bool {
        let port = format!("00000000000000000000000001000000:{:04X}", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
        table.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(2);
            // SYN-SENT.
            words.next() == Some(&port) && words.next() == Some("02")
        })
    }
}

/// RFC 8305: `*.localhost` has both of loopback's addresses, and IPv6 is tried first.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_first_address_is_overtaken_by_the_second_and_given_up() {
    let provider = Provider::echo().await;
    let Some(dead) = Dead::at(provider.address().port()) else { return };
    let place = format!("provider.localhost:{}", dead.address.port());
    // One attempt alone would take all of this.
    let config = "timeouts: {connect: 8}\n";
    let mut waterwall = Waterwall::lay_out_for(&place, provider.ca_pem(), config);
    waterwall.up();
    let request = SHAPES[0].request(secrets::AWS);
    let answer = Agent::new(&waterwall).post_json(URL, &request).await;
    assert!(answer.to_string().contains(secrets::AWS), "{answer}");
    eventually("the attempt that lost is given up", || !dead.is_tried());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_none_of_whose_addresses_answers_is_given_up_in_time() {
    let provider = Provider::echo().await;
    let Some(dead) = Dead::at(provider.address().port()) else { return };
    let config = "timeouts: {connect: 1}\n";
    let mut waterwall = Waterwall::lay_out_at(dead.address, provider.ca_pem(), config);
    waterwall.up();
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hello")).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.expect("a body");
    assert!(text.contains("it did not answer in time"), "{text}");
    eventually("it is given up", || !dead.is_tried());
}

/// A place that takes connections and never says a word in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_never_shakes_hands_is_given_up_in_time() {
    let provider = Provider::echo().await;
    let mute = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = mute.local_addr().expect("an address");
    let config = "timeouts: {tls: 1}\n";
    let mut waterwall = Waterwall::lay_out_at(address, provider.ca_pem(), config);
    waterwall.up();
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request(secrets::AWS)).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.expect("a body");
    assert!(text.contains("it did not answer in time"), "{text}");
    eventually("it is on record that nothing left", || {
        waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
    });
}

/// The head of an answer and the pieces of its body have limits of their own.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_starts_or_stops_halfway_is_given_up_in_time() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    for (config, first) in [("timeouts: {first_byte: 1}\n", ""), ("timeouts: {idle: 1}\n", head)] {
        let provider = RawProvider::start(move |mut talk| async move {
            talk.request().await;
            talk.say(first).await;
            talk.drain().await;
        })
        .await;
        let mut waterwall = Waterwall::lay_out_at(provider.address(), provider.ca_pem(), config);
        waterwall.up();
        let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request(secrets::AWS)).await;
        if first.is_empty() {
            assert_eq!(answer.status(), 502);
            let text = answer.text().await.expect("a body");
            assert!(text.contains("it did not answer in time"), "{text}");
        } else {
            assert_eq!(answer.status(), 200);
            assert!(answer.text().await.is_err(), "a cut stream never looks complete");
        }
    }
}

/// S7: as long as something comes, silence is counted anew, and every ping comes through.
#[tokio::test(flavor = "multi_thread")]
async fn s7_pings_pass_and_keep_a_stream_alive_beyond_the_limit_of_silence() {
    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    let comment = ": keepalive\n\n";
    let provider = RawProvider::start(move |mut talk| async move {
        talk.request().await;
        talk.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            .await;
        for turn in 0..8 {
            talk.say(if turn % 2 == 0 { ping } else { comment }).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        talk.close().await;
    })
    .await;
    let config = "timeouts: {idle: 2}\n";
    let mut waterwall = Waterwall::lay_out_at(provider.address(), provider.ca_pem(), config);
    waterwall.up();
    let stream = Agent::new(&waterwall).post_stream(URL, &SHAPES[0].request("hello")).await;
    assert_eq!(stream, [ping, comment].concat().repeat(4));
}
