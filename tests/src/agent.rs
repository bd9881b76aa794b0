//! An agent: a real HTTP client library that speaks to its provider through Waterwall.

use std::time::Duration;

use reqwest::{Certificate, Client, Proxy, RequestBuilder, Response};
use serde_json::Value;

use crate::waterwall::Waterwall;

/// An agent: a real HTTP client library that speaks to its provider through Waterwall.
#[derive(Debug, Clone)]
pub struct Agent {
    client: Client,
    key: String,
}

impl Agent {
    /// One that offers HTTP/2 and HTTP/1.1 and holds a made-up credential.
    pub fn new(waterwall: &Waterwall) -> Self {
        Self::with_key(waterwall, "made-up-credential")
    }

    /// One that holds the credential `key`.
    pub fn with_key(waterwall: &Waterwall, key: &str) -> Self {
        Self { client: builder(waterwall).build().expect("the client builds"), key: key.into() }
    }

    /// One that speaks HTTP/1.1 only, and offers no ALPN, as Claude Code does.
    pub fn http1(waterwall: &Waterwall) -> Self {
        Self::http1_with_key(waterwall, "made-up-credential")
    }

    /// One that speaks HTTP/1.1 only, and holds the credential `key`.
    pub fn http1_with_key(waterwall: &Waterwall, key: &str) -> Self {
        let client = builder(waterwall).http1_only().build().expect("the client builds");
        Self { client, key: key.into() }
    }

    /// A POST of `body` to `url`, with the agent's credential, not sent yet.
    pub fn request(&self, url: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client
            .post(url)
            .header("content-type", "application/json")
            .header("x-api-key", &self.key)
            .body(body)
    }

    /// Sends `body` to `url`.
    pub async fn post(&self, url: &str, body: &Value) -> Response {
        self.request(url, body.to_string()).send().await.expect("an answer comes")
    }

    /// Sends `body` to `url` and parses what comes back.
    pub async fn post_json(&self, url: &str, body: &Value) -> Value {
        let response = self.post(url, body).await;
        let status = response.status();
        let text = response.text().await.expect("the answer's body comes whole");
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).expect("the answer is JSON")
    }

    /// Sends `body` to `url` and reads the stream that comes back, to its end.
    pub async fn post_stream(&self, url: &str, body: &Value) -> String {
        let response = self.post(url, body).await;
        let status = response.status();
        let text = response.text().await.expect("the stream ends as a stream should");
        assert!(status.is_success(), "{status}: {text}");
        text
    }

    /// The client library's own handle.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// A client that goes through no proxy, such as an operator's.
pub fn direct() -> Client {
    install_crypto();
    Client::builder().no_proxy().build().expect("the client builds")
}

/// Stories run in threads of one process; the first to come installs the provider.
fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn builder(waterwall: &Waterwall) -> reqwest::ClientBuilder {
    install_crypto();
    let ca = Certificate::from_pem(&waterwall.ca_pem()).expect("Waterwall's CA is a certificate");
    Client::builder()
        .proxy(Proxy::all(format!("http://{}", waterwall.listen())).expect("a proxy URL"))
        .tls_certs_only([ca])
        .timeout(Duration::from_secs(60))
}

/// The `data:` payloads of an event stream, parsed where they are JSON.
pub fn events(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim_start()).ok())
        .collect()
}

/// The strings at `pointer` in every event that has one, joined.
pub fn joined(stream: &str, pointer: &str) -> String {
    events(stream).iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}
