//! The client end of the mint link: leaf certificates over this process's own key.
//!
//! The link is held open and watched, so that a dead signer is known at once. A leaf is kept until
//! well before it expires, also while the signer is away, but not beyond its return: a signer that
//! restarted may have another CA.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use protocol::codec;
use protocol::hello::LinkName;
use protocol::link::LinkError;
use protocol::mint::{CAP, Refusal, Reply, Request};
use protocol::names::HostName;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::wire;

/// Between two attempts to reach the signer.
const RECONNECT: Duration = Duration::from_millis(100);

/// How long the signer may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Why there is no certificate for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MintError {
    /// The signer cannot be reached.
    Unavailable,
    /// The signer said no.
    Refused(Refusal),
    /// What the signer sent is no certificate over our key.
    Unusable,
}

/// Where the signer listens and who it must be.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its socket.
    pub(crate) path: PathBuf,
    /// Its user.
    pub(crate) uid: u32,
    /// The link's secret.
    pub(crate) secret: [u8; 32],
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Peer {
    /// Whether the signer answers a caller within `limit`. On a connection of its own: a signer that
    /// hangs must not cost the link, and the certificates with it, before a request needs one.
    pub(crate) async fn answers(&self, limit: Duration) -> bool {
        let asked = async {
            let mut stream = wire::dial(&self.path, self.uid).await?;
            wire::connect(&mut stream, LinkName::Mint, &self.secret).await?;
            call(&mut stream, &Request::Names).await
        };
        matches!(tokio::time::timeout(limit, asked).await, Ok(Ok(Reply::Names(_))))
    }
}

/// This process's leaf key and the certificates over it.
#[derive(Debug)]
pub(crate) struct Mint {
    key: Arc<dyn SigningKey>,
    public_key: Vec<u8>,
    jobs: mpsc::Sender<Job>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    up: bool,
    /// Names the signer's CA permits.
    names: Vec<String>,
    leaves: HashMap<HostName, Leaf>,
}

#[derive(Debug)]
struct Leaf {
    config: Arc<rustls::ServerConfig>,
    renew: SystemTime,
    expires: SystemTime,
    renewing: bool,
}

#[derive(Debug)]
struct Job {
    request: Request,
    tell: oneshot::Sender<Reply>,
}

/// The receiving end of [`Mint`]'s calls, to be driven by [`Mint::keep`].
#[derive(Debug)]
pub(crate) struct Jobs(mpsc::Receiver<Job>);

impl Mint {
    /// A mint with a fresh P-256 key, and the calls its link has to carry.
    ///
    /// # Errors
    ///
    /// When the cryptographic library cannot make a key.
    pub(crate) fn new() -> Result<(Arc<Self>, Jobs), rustls::Error> {
        let failed = |_| rustls::Error::General("no P-256 key could be made".into());
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
        let public_key: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let public_key = public_key.as_ref().to_vec();
        let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der)?;
        let (jobs, queue) = mpsc::channel(64);
        let mint = Self { key, public_key, jobs, state: Mutex::default() };
        Ok((Arc::new(mint), Jobs(queue)))
    }

    /// Whether the signer is there.
    pub(crate) fn is_up(&self) -> bool {
        self.lock().up
    }

    /// Calls that wait for the signer.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.max_capacity().saturating_sub(self.jobs.capacity())
    }

    /// The names the signer's CA permits; empty until it was there once.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().names.clone()
    }

    /// The TLS configuration for exactly `host`.
    ///
    /// # Errors
    ///
    /// [`MintError`]; the host cannot be intercepted now.
    pub(crate) async fn config(
        self: &Arc<Self>,
        host: &HostName,
    ) -> Result<Arc<rustls::ServerConfig>, MintError> {
        let now = SystemTime::now();
        if let Some(config) = self.cached(host, now)? {
            return Ok(config);
        }
        self.issue(host).await
    }

    /// The cached configuration, if it is still good; starts its renewal ahead of time.
    fn cached(
        self: &Arc<Self>,
        host: &HostName,
        now: SystemTime,
    ) -> Result<Option<Arc<rustls::ServerConfig>>, MintError> {
        let mut state = self.lock();
        let up = state.up;
        let Some(leaf) = state.leaves.get_mut(host).filter(|leaf| now < leaf.expires) else {
            // Whoever asks while it is away is told so, instead of waiting.
            return if up { Ok(None) } else { Err(MintError::Unavailable) };
        };
        if up && now >= leaf.renew && !leaf.renewing {
            leaf.renewing = true;
            let (mint, host) = (Arc::clone(self), host.clone());
            tokio::spawn(async move {
                if let Err(error) = mint.issue(&host).await {
                    tracing::warn!(%host, ?error, "leaf not renewed");
                    mint.renewal_failed(&host);
                }
            });
        }
        Ok(Some(Arc::clone(&leaf.config)))
    }

    fn renewal_failed(&self, host: &HostName) {
        if let Some(leaf) = self.lock().leaves.get_mut(host) {
            leaf.renewing = false;
        }
    }

    async fn issue(&self, host: &HostName) -> Result<Arc<rustls::ServerConfig>, MintError> {
        let public_key = self.public_key.clone();
        let request = Request::Leaf { host: host.as_str().to_owned(), public_key };
        let (certificate, not_after) = match self.call(request).await? {
            Reply::Leaf { certificate, not_after } => (certificate, not_after),
            Reply::Refused(refusal) => return Err(MintError::Refused(refusal)),
            Reply::Names(_) => return Err(MintError::Unusable),
        };
        let config = self.server_config(host, certificate).map_err(|_| MintError::Unusable)?;
        let (renew, expires) = lifetime(SystemTime::now(), not_after);
        let leaf = Leaf { config: Arc::clone(&config), renew, expires, renewing: false };
        let mut state = self.lock();
        if state.up {
            state.leaves.insert(host.clone(), leaf);
        }
        Ok(config)
    }

    fn server_config(
        &self,
        host: &HostName,
        certificate: Vec<u8>,
    ) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let chain = vec![CertificateDer::from(certificate)];
        let certified = CertifiedKey::new(chain, Arc::clone(&self.key));
        certified.keys_match()?;
        let only = OnlyFor { host: host.clone(), certified: Arc::new(certified) };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(only));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.send_half_rtt_data = true;
        Ok(Arc::new(config))
    }

    async fn call(&self, request: Request) -> Result<Reply, MintError> {
        let (tell, told) = oneshot::channel();
        let sent = self.jobs.send(Job { request, tell }).await;
        sent.map_err(|_| MintError::Unavailable)?;
        told.await.map_err(|_| MintError::Unavailable)
    }

    /// Keeps the link up for as long as the process lives.
    pub(crate) async fn keep(self: Arc<Self>, peer: Peer, mut jobs: Jobs) {
        let mut silent = false;
        loop {
            match self.session(&peer, &mut jobs.0).await {
                Ok(never) => match never {},
                Err(error) if !silent => {
                    tracing::warn!(link = "mint", %error, "link down");
                    silent = true;
                }
                Err(_) => {}
            }
            if std::mem::replace(&mut self.lock().up, false) {
                silent = false;
            }
            // Whoever asked meanwhile learns that the signer is away, instead of waiting.
            while jobs.0.try_recv().is_ok() {}
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn session(
        &self,
        peer: &Peer,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> Result<std::convert::Infallible, LinkError> {
        let mut stream = wire::dial(&peer.path, peer.uid).await?;
        let hello = wire::connect(&mut stream, LinkName::Mint, &peer.secret);
        within(hello).await?;
        if let Reply::Names(names) = call(&mut stream, &Request::Names).await? {
            tracing::info!(link = "mint", names = names.len(), "link up");
            *self.lock() = State { up: true, names, leaves: HashMap::new() };
        }
        loop {
            tokio::select! {
                job = jobs.recv() => {
                    let job = job.ok_or(LinkError::Closed)?;
                    let reply = call(&mut stream, &job.request).await?;
                    // Whoever asked may have gone.
                    let _ = job.tell.send(reply);
                }
                // Between calls the signer says nothing: whatever comes means that it is gone.
                gone = silence(&stream) => return Err(gone),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for as long as nothing comes. Takes no byte of an answer, because none is asked for.
async fn silence(stream: &UnixStream) -> LinkError {
    loop {
        if let Err(error) = stream.readable().await {
            return error.into();
        }
        match stream.try_read(&mut [0; 1]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return error.into(),
            Ok(0) => return LinkError::Closed,
            Ok(_) => return LinkError::Io(std::io::Error::other("an answer to no call")),
        }
    }
}

async fn call(stream: &mut UnixStream, request: &Request) -> Result<Reply, LinkError> {
    within(async {
        wire::write_frame(stream, &codec::encode(request), CAP).await?;
        Ok(codec::decode(&wire::read_frame(stream, CAP).await?)?)
    })
    .await
}

async fn within<T>(call: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout(ANSWER, call)
        .await
        .map_err(|_| LinkError::Io(std::io::ErrorKind::TimedOut.into()))?
}

/// When to renew, and when to stop using, a leaf that is issued `now` and ends at `not_after`.
///
/// Two thirds into its life; five minutes before its end it is not used any more, for clients whose
/// clocks run ahead.
fn lifetime(now: SystemTime, not_after: u64) -> (SystemTime, SystemTime) {
    let end = UNIX_EPOCH + Duration::from_secs(not_after);
    let life = end.duration_since(now).unwrap_or_default();
    (now + life / 3 * 2, end.checked_sub(Duration::from_secs(300)).unwrap_or(UNIX_EPOCH))
}

/// Answers for one host only: a ClientHello that names another gets an alert.
#[derive(Debug)]
struct OnlyFor {
    host: HostName,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OnlyFor {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        names_host(hello.server_name(), &self.host).then(|| Arc::clone(&self.certified))
    }
}

/// Whether a ClientHello's server name agrees with `host`. None given does not contradict.
pub(crate) fn names_host(sni: Option<&str>, host: &HostName) -> bool {
    sni.is_none_or(|name| HostName::normalise(name).as_ref() == Ok(host))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, SubjectPublicKeyInfo};

    use super::*;

    #[test]
    fn renews_ahead_and_stops_before_the_end() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let week = 7 * 86_400;
        let (renew, expires) = lifetime(now, 1_000_000 + week);
        assert_eq!(renew.duration_since(now).unwrap(), Duration::from_secs(week / 3 * 2));
        assert_eq!(expires.duration_since(now).unwrap(), Duration::from_secs(week - 300));
    }

    #[test]
    fn an_expired_leaf_is_never_used() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (renew, expires) = lifetime(now, 999_000);
        assert!(renew <= now && expires <= now);
    }

    #[test]
    fn compares_server_names_after_normalisation() {
        let host = HostName::normalise("api.anthropic.com").unwrap();
        assert!(names_host(Some("API.Anthropic.com"), &host));
        assert!(names_host(None, &host));
        assert!(!names_host(Some("api.openai.com"), &host));
        assert!(!names_host(Some("127.0.0.1"), &host));
    }

    /// A leaf over the mint's key, good from `now` to `expires`.
    fn leaf(mint: &Mint, host: &HostName, expires: SystemTime) -> Leaf {
        let ca = CertificateParams::new([]).unwrap();
        let ca = CertifiedIssuer::self_signed(ca, rcgen::KeyPair::generate().unwrap()).unwrap();
        let key = SubjectPublicKeyInfo::from_der(&mint.public_key).unwrap();
        let params = CertificateParams::new([host.to_string()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap().der().to_vec();
        let config = mint.server_config(host, certificate).unwrap();
        Leaf { config, renew: expires, expires, renewing: false }
    }

    #[tokio::test]
    async fn without_the_signer_a_leaf_is_used_until_it_ends_and_no_longer() {
        let (mint, _jobs) = Mint::new().unwrap();
        let host = HostName::normalise("api.anthropic.com").unwrap();
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let leaf = leaf(&mint, &host, now + hour);
        mint.lock().leaves.insert(host.clone(), leaf);
        assert!(mint.config(&host).await.is_ok());
        assert!(mint.cached(&host, now + hour - Duration::from_secs(1)).unwrap().is_some());
        assert_eq!(mint.cached(&host, now + hour).unwrap_err(), MintError::Unavailable);
        let other = HostName::normalise("api.openai.com").unwrap();
        assert_eq!(mint.config(&other).await.unwrap_err(), MintError::Unavailable);
        // With it, a leaf that has ended is asked for again.
        mint.lock().up = true;
        assert!(mint.cached(&host, now + hour).unwrap().is_none());
    }

    #[tokio::test]
    async fn no_certificate_without_the_signer() {
        let (mint, _jobs) = Mint::new().unwrap();
        let host = HostName::normalise("api.anthropic.com").unwrap();
        assert_eq!(mint.config(&host).await.unwrap_err(), MintError::Unavailable);
    }
}
