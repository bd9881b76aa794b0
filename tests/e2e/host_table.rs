//! Permitted, tunnelled, refused: what becomes of a CONNECT, however its name is spelt.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::executables::executable;
use harness::provider::{Provider, identity};
use harness::raw::{Raw, handshake, post};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const HOST: &str = "api.anthropic.com";
const PATH: &str = "/v1/messages";

/// The end of a tunnel: a TLS server with a certificate of its own that repeats what it hears.
struct End {
    address: SocketAddr,
    ca_pem: String,
    met: Arc<AtomicUsize>,
}

impl End {
    async fn start(ip: Ipv4Addr, port: u16, names: &[&str]) -> std::io::Result<Self> {
        let (ca_pem, tls) = identity(names);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((ip, port)).await?;
        let address = listener.local_addr()?;
        let met: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&met);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(stream).await {
                        count.fetch_add(1, Ordering::Relaxed);
                        let (mut from, mut to) = tokio::io::split(tls);
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    }
                });
            }
        });
        Ok(Self { address, ca_pem, met })
    }

    /// On any free port of loopback, as `localhost`, which needs no name server.
    async fn local() -> Self {
        Self::start(Ipv4Addr::LOCALHOST, 0, &["localhost"]).await.expect("loopback has free ports")
    }

    /// How a host table names it.
    fn target(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// How many TLS sessions it has had.
    fn met(&self) -> usize {
        self.met.load(Ordering::Relaxed)
    }
}

/// A Waterwall that tunnels to `end`.
fn tunnelling(provider: &Provider, end: &End, config: &str) -> Waterwall {
    let mut waterwall = Waterwall::lay_out(provider, config);
    add(&waterwall, &format!("tunnel: [\"{}\"]\n", end.target()));
    waterwall.up();
    waterwall
}

fn add(waterwall: &Waterwall, lines: &str) {
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text + lines).expect("the home can be written");
}

/// Says `text` in a TLS session and hears it again.
async fn is_repeated(tls: &mut tokio_rustls::client::TlsStream<tokio::net::TcpStream>, text: &str) {
    tls.write_all(text.as_bytes()).await.expect("it is taken");
    let mut heard = vec![0; text.len()];
    tls.read_exact(&mut heard).await.expect("it is repeated");
    assert_eq!(heard, text.as_bytes());
}

/// D3: what is tunnelled is the other end's own TLS, and nothing in it is touched.
#[tokio::test(flavor = "multi_thread")]
async fn d3_a_tunnel_passes_untouched_to_its_own_name_alone() {
    let provider = Provider::echo().await;
    let end = End::local().await;
    let waterwall = tunnelling(&provider, &end, "");
    let raw = Raw::new(&waterwall);
    for target in [end.target(), end.target().to_uppercase()] {
        let (reply, stream) = raw.connect(&target).await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        let own = end.ca_pem.as_bytes();
        let mut tls = handshake(stream, "localhost", own, &[]).await.expect("its own certificate");
        is_repeated(&mut tls, secrets::AWS).await;
    }
    assert_eq!(end.met(), 2);
    // Another server name, or none that TLS would carry: a way to somebody else behind that address.
    let (_, stream) = raw.connect(&end.target()).await;
    assert!(handshake(stream, HOST, end.ca_pem.as_bytes(), &[]).await.is_err());
    let (_, mut stream) = raw.connect(&end.target()).await;
    let plain = format!("GET /?{} HTTP/1.1\r\nhost: localhost\r\n\r\n", secrets::AWS);
    stream.write_all(plain.as_bytes()).await.expect("it is taken");
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    eventually("both are on record", || {
        let lines = waterwall.lines("block");
        lines.iter().filter(|line| line["reason"] == "protocol_error").count() == 2
    });
    // Its name on another port is nobody's.
    for target in ["localhost:443", "localhost:22"] {
        let (reply, _) = raw.connect(target).await;
        assert!((400..=403).contains(&reply.status), "{target}: {reply:?}");
    }
    assert_eq!(end.met(), 2);
}

/// A tunnel that the operator takes out of the table is closed, not only its successors.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_closes_the_tunnels_that_it_takes_away_and_no_others() {
    let provider = Provider::echo().await;
    let end = End::local().await;
    let waterwall = tunnelling(&provider, &end, "");
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let table = std::fs::read_to_string(&file).expect("a file");
    let (_, stream) = Raw::new(&waterwall).connect(&end.target()).await;
    let own = end.ca_pem.as_bytes();
    let mut tls = handshake(stream, "localhost", own, &[]).await.expect("its own certificate");
    is_repeated(&mut tls, "before").await;
    let reload = |text: &str| {
        std::fs::write(&file, text).expect("the home can be written");
        let reload = waterwall.ctl(&["reload"]);
        assert!(reload.status.success(), "{}", said(&reload));
    };
    reload(&table.replace("tunnel: [", "tunnel: [auth.openai.com, "));
    is_repeated(&mut tls, "still there").await;
    reload(&table.replace(&end.target(), "auth.openai.com"));
    let mut heard = Vec::new();
    let _ = tls.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    let (reply, _) = Raw::new(&waterwall).connect(&end.target()).await;
    reply.is_refused(400, "waterwall-protocol-error");
}

#[tokio::test(flavor = "multi_thread")]
async fn arming_the_kill_switch_closes_open_tunnels_and_opens_none() {
    let provider = Provider::echo().await;
    let end = End::local().await;
    let waterwall = tunnelling(&provider, &end, "");
    let raw = Raw::new(&waterwall);
    let (_, stream) = raw.connect(&end.target()).await;
    let own = end.ca_pem.as_bytes();
    let mut tls = handshake(stream, "localhost", own, &[]).await.expect("its own certificate");
    is_repeated(&mut tls, "before").await;
    let arm = waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert!(arm.status.success(), "{}", said(&arm));
    let _ = tls.write_all(b"after").await;
    let mut heard = Vec::new();
    let _ = tls.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    let (reply, _) = raw.connect(&end.target()).await;
    reply.is_refused(502, "waterwall-killswitch-engaged");
    assert_eq!(end.met(), 1);
    waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    assert_eq!(raw.connect(&end.target()).await.0.status, 200);
}

/// Auditd hangs, or the signer does, and lines stay unsigned.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lets_nothing_out_closes_open_tunnels() {
    let provider = Provider::echo().await;
    let end = End::local().await;
    let config = "timeouts:\n  append: 1\naudit:\n  max_unsigned_seconds: 1\n";
    for (role, code) in
        [("auditd", "waterwall-chain-append-failed"), ("signer", "waterwall-signer-unavailable")]
    {
        let waterwall = tunnelling(&provider, &end, config);
        let raw = Raw::new(&waterwall);
        let (_, stream) = raw.connect(&end.target()).await;
        let own = end.ca_pem.as_bytes();
        let mut tls = handshake(stream, "localhost", own, &[]).await.expect("its own certificate");
        is_repeated(&mut tls, "before").await;
        waterwall.signal(role, Signal::SIGSTOP);
        // A line that wants to be signed.
        raw.connect("packages.example:443").await;
        let mut heard = Vec::new();
        let _ = tls.read_to_end(&mut heard).await;
        assert!(heard.is_empty(), "{heard:?}");
        let (reply, _) = raw.connect(&end.target()).await;
        waterwall.signal(role, Signal::SIGCONT);
        reply.is_refused(502, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stays_away_closes_open_tunnels() {
    let provider = Provider::echo().await;
    let end = End::local().await;
    let waterwall = tunnelling(&provider, &end, "timeouts:\n  append: 1\n");
    let raw = Raw::new(&waterwall);
    let (_, stream) = raw.connect(&end.target()).await;
    let own = end.ca_pem.as_bytes();
    let mut tls = handshake(stream, "localhost", own, &[]).await.expect("its own certificate");
    is_repeated(&mut tls, "before").await;
    // It finds no folder when it is started again.
    let (log, away) = (waterwall.path("state/log"), waterwall.path("away"));
    std::fs::rename(&log, &away).expect("the home can be written");
    waterwall.signal("auditd", Signal::SIGKILL);
    let mut heard = Vec::new();
    let _ = tls.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    let (reply, _) = raw.connect(&end.target()).await;
    reply.is_refused(502, "waterwall-chain-append-failed");
}

/// A loopback address of this process's own, so that its port 443 is nobody else's.
fn own_address() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low.max(1))
}

/// A Waterwall for which `names` lie at `ip`; `None` where this user may not have mounts of its own.
fn resolving(provider: &Provider, config: &str, ip: Ipv4Addr, names: &str) -> Option<Waterwall> {
    let options =
        [["--mount"].as_slice(), &["--mount", "--map-root-user"]].into_iter().find(|options| {
            let allowed = Command::new("unshare").args(*options).arg("true").status();
            allowed.is_ok_and(|status| status.success())
        })?;
    let mut waterwall = Waterwall::lay_out(provider, config);
    let hosts = waterwall.path("hosts");
    std::fs::write(&hosts, format!("{ip} {names}\n")).expect("the home can be written");
    let mut ctl = Command::new("unshare");
    ctl.args(options).args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
    ctl.args([Path::new(&hosts), executable("waterwall-ctl").as_path()]);
    waterwall.up_by(ctl);
    Some(waterwall)
}

/// The login and token-refresh hosts pass without a word in the configuration; what serves models
/// never does, not even where everything else may.
#[tokio::test(flavor = "multi_thread")]
async fn d3_default_logins_pass_and_unlisted_hosts_where_the_operator_says_so() {
    const LOGINS: [&str; 3] = ["console.anthropic.com", "platform.claude.com", "auth.openai.com"];
    const UNLISTED: &str = "packages.example";
    const MODELS: [&str; 5] = [
        "chatgpt.com",
        "api.groq.com",
        "generativelanguage.googleapis.com",
        "bedrock-runtime.eu-west-1.amazonaws.com",
        "my.openai.azure.com",
    ];
    let names = [&LOGINS[..], &[UNLISTED], &MODELS].concat();
    let ip = own_address();
    // Only root may listen there.
    let Ok(end) = End::start(ip, 443, &names).await else { return };
    let provider = Provider::echo().await;
    for (config, is_open) in [("", false), ("unlisted: tunnel\n", true)] {
        let Some(waterwall) = resolving(&provider, config, ip, &names.join(" ")) else { return };
        let raw = Raw::new(&waterwall);
        for name in LOGINS {
            let (reply, stream) = raw.connect(&format!("{name}:443")).await;
            assert_eq!(reply.status, 200, "{name}: {reply:?}");
            let own = end.ca_pem.as_bytes();
            let mut tls = handshake(stream, name, own, &[]).await.expect("its own certificate");
            is_repeated(&mut tls, name).await;
        }
        let met = end.met();
        let (reply, _) = raw.connect(&format!("{UNLISTED}:443")).await;
        if is_open {
            assert_eq!(reply.status, 200, "{reply:?}");
        } else {
            reply.is_refused(403, "waterwall-host-not-permitted");
        }
        for name in MODELS {
            let (reply, _) = raw.connect(&format!("{name}:443")).await;
            reply.is_refused(403, "waterwall-host-not-permitted");
            let text = reply.text();
            assert!(text.contains(name) && !text.contains("tunnel:"), "{text}");
        }
        assert_eq!(end.met(), met, "what is refused is not connected to");
        // Stories run in threads of one process; the first to come installs the provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let health = client.get(waterwall.admin("/healthz")).send().await.expect("an answer");
        let health: serde_json::Value =
            serde_json::from_str(&health.text().await.expect("a body")).expect("JSON");
        assert_eq!(health["unlisted"], if is_open { "tunnel" } else { "refuse" }, "{health}");
        let status = waterwall.status();
        assert_eq!(status["proxy"]["counters"]["unlisted_tunnels"], u64::from(is_open));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_serves_models_is_not_to_be_tunnelled() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let line = std::fs::read_to_string(waterwall.path("etc/permitted_hosts.yaml"))
        .expect("a file")
        .lines()
        .count()
        + 1;
    add(&waterwall, "tunnel: [\"api.groq.com:8443\"]\n");
    let reload = waterwall.ctl(&["reload"]);
    let told = said(&reload);
    assert!(!reload.status.success() && told.contains("serves models"), "{told}");
    assert!(told.contains(&format!("permitted_hosts.yaml:{line}: tunnel")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spellings_of_a_permitted_name_are_the_name_and_others_are_none() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::lay_out(&provider, "");
    add(&waterwall, "  - {host: bücher.example, sse_handler: none}\n");
    waterwall.up();
    let raw = Raw::new(&waterwall);
    for (target, name) in [
        ("API.Anthropic.COM:443", HOST),
        ("api.anthropic.com.:443", HOST),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.Example.:443", "xn--bcher-kva.example"),
    ] {
        // Certified by Waterwall's own CA: intercepted, not passed through.
        raw.tls(target, name, &[]).await.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
    for target in [
        "user@api.anthropic.com:443",
        "user:443@api.anthropic.com:443",
        "api.anthropic.com:443@evil.example:443",
        "api.anthropic.com",
        "api.anthropic.com:",
        "api.anthropic.com:+443",
        "api.anthropic.com:65979",
        "api.anthropic.com:443:443",
        "api.anthropic.com..:443",
        ".api.anthropic.com:443",
        "*.anthropic.com:443",
        "api%2eanthropic.com:443",
        "api_.anthropic.com:443",
        "bücher.example:443",
        "ａｐｉ.anthropic.com:443",
        "127.0.0.1:443",
        "127.1:443",
        "2130706433:443",
        "0x7f000001:443",
        "0x7f.1:443",
        "127.0.0.1.:443",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "::1:443",
        "/etc/passwd",
        "*",
        "https://api.anthropic.com/",
    ] {
        let (reply, _) = raw.connect(target).await;
        // What the HTTP library cannot read as a target gets a bare 400.
        assert_eq!(reply.status, 400, "{target}: {reply:?}");
        assert!(reply.body.is_empty() || reply.text().contains("protocol-error"), "{target}");
    }
    for target in ["sub.api.anthropic.com:443", "api.anthropic.com.evil.example:443", "com:443"] {
        raw.connect(target).await.0.is_refused(403, "waterwall-host-not-permitted");
    }
    assert!(provider.seen().is_empty());
}

/// `Host`, server name and CONNECT name one host, or nothing leaves.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_contradict_each_other_are_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let raw = Raw::new(&waterwall);
    let target = format!("{HOST}:443");
    // Both hosts are permitted, so that it is the contradiction alone that keeps it here.
    assert!(raw.tls(&target, "api.openai.com", &[]).await.is_err());
    eventually("it is on record", || {
        waterwall.lines("block").iter().any(|line| line["reason"] == "protocol_error")
    });
    let body = SHAPES[0].request(secrets::AWS).to_string();
    for host in
        ["api.openai.com", "api.anthropic.com:8443", "api.anthropic.com@x", "", "127.0.0.1", "*"]
    {
        let reply = raw.send(HOST, post(host, PATH, &body)).await;
        reply.is_refused(400, "waterwall-protocol-error");
    }
    for (target, hosts) in [
        (&target, &["api.openai.com:443"][..]),
        (&target, &[HOST, HOST]),
        (&target, &["api.anthropic.com:8443"]),
    ] {
        let lines: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let reply = raw.say(format!("CONNECT {target} HTTP/1.1\r\n{lines}\r\n")).await;
        reply.is_refused(400, "waterwall-protocol-error");
    }
    assert!(provider.seen().is_empty());
    for host in ["API.Anthropic.COM", "api.anthropic.com.", "api.anthropic.com:443"] {
        let reply = raw.send(HOST, post(host, PATH, &body)).await;
        assert_eq!(reply.status, 200, "{host}: {reply:?}");
        assert_eq!(
            provider.last().headers.get("host").map_or(HOST.as_bytes(), |it| it.as_bytes()),
            HOST.as_bytes()
        );
    }
    // Python's own library asks with HTTP/1.0, and without a Host.
    let mut stream = tokio::net::TcpStream::connect(waterwall.listen()).await.expect("a port");
    stream.write_all(format!("CONNECT {target} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("taken");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    assert!(first.ends_with(b" 200"), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_the_tunnel_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let raw = Raw::new(&waterwall);
    let length = "content-type: application/json\r\ncontent-length: 2";
    let first = |line: &str| format!("{line}\r\nhost: {HOST}\r\n{length}\r\n\r\n{{}}");
    let plain = first(&format!("POST {PATH} HTTP/1.1"));
    let (_, mut stream) = raw.connect(&format!("{HOST}:443")).await;
    stream.write_all(plain.as_bytes()).await.expect("it is taken");
    let reply = harness::raw::Reply::read(&mut stream, false).await;
    reply.is_refused(400, "waterwall-protocol-error");
    for line in [
        "CONNECT api.openai.com:443 HTTP/1.1".to_owned(),
        format!("CONNECT {HOST}:443 HTTP/1.1"),
        format!("POST http://{HOST}{PATH} HTTP/1.1"),
        format!("POST https://api.openai.com{PATH} HTTP/1.1"),
        format!("POST https://user@{HOST}{PATH} HTTP/1.1"),
        format!("POST https://{HOST}:8443{PATH} HTTP/1.1"),
        format!("POST {PATH} HTTP/1.0"),
    ] {
        let reply = raw.send(HOST, first(&line)).await;
        reply.is_refused(400, "waterwall-protocol-error");
    }
    assert!(provider.seen().is_empty());
    // An absolute form that names the tunnel's own host is the same request.
    let reply = raw.send(HOST, first(&format!("POST https://{HOST}{PATH}?a=b HTTP/1.1"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(provider.last().path, format!("{PATH}?a=b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_connect_is_answered_on_the_listening_port() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let raw = Raw::new(&waterwall);
    for line in [
        format!("GET http://{HOST}/ HTTP/1.1"),
        format!("GET https://{HOST}/ HTTP/1.1"),
        "GET / HTTP/1.1".to_owned(),
        "OPTIONS * HTTP/1.1".to_owned(),
        format!("POST http://{HOST}{PATH} HTTP/1.0"),
    ] {
        let reply = raw.say(format!("{line}\r\nhost: {HOST}\r\n\r\n")).await;
        reply.is_refused(400, "waterwall-protocol-error");
        assert_eq!(reply.reason, "Waterwall protocol error");
    }
    let with_body =
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\n\r\nhello");
    raw.say(with_body).await.is_refused(400, "waterwall-protocol-error");
    // A refusal leaves nothing open behind which a second request could hide.
    let two = format!(
        "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n\
         GET http://{HOST}/ HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
    );
    raw.say(two).await.is_refused(403, "waterwall-host-not-permitted");
    assert!(provider.seen().is_empty());
}
