//! Somebody else's HTTP proxy on loopback, between Waterwall and the provider.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a CONNECT.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Connects to the provider, whatever name was asked for, if the credentials are these.
    Connects(Option<&'static str>),
    /// Says these bytes, and hangs up.
    Says(&'static str),
    /// Says nothing.
    Silent,
}

/// An HTTP proxy on loopback.
pub struct Forward {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    /// Starts one in front of `provider`.
    pub async fn start(provider: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let memory = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, provider, manner.clone(), Arc::clone(&memory)));
            }
        });
        Self { address, asked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no story panics while it holds this").clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    provider: SocketAddr,
    manner: Manner,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("heads are text");
    asked.lock().expect("no story panics while it holds this").push(head.clone());
    let answer = match manner {
        Manner::Connects(wanted) => {
            let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
            if given == wanted {
                let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
                let mut upstream = TcpStream::connect(provider).await.expect("it listens");
                stream.write_all(established).await.expect("it waits for this");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
                return;
            }
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        }
        Manner::Says(answer) => answer,
        Manner::Silent => {
            let _ = stream.read_u8().await;
            return;
        }
    };
    let _ = stream.write_all(answer.as_bytes()).await;
}
