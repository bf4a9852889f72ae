use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Who signs certificates in a test.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Debug)]
pub struct Signed {
    /// The certificate, as PEM.
    pub certificate: String,
    key: KeyPair,
    der: Vec<u8>,
}

impl Signed {
    /// The key, as PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("authority");
        let key = KeyPair::generate().unwrap_or_else(|e| panic!("{e}"));
        Self(CertifiedIssuer::self_signed(params, key).unwrap_or_else(|e| panic!("{e}")))
    }
}

impl Authority {
    /// Its own certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap_or_else(|e| panic!("{e}"));
        let mut params =
            CertificateParams::new([name.to_owned()]).unwrap_or_else(|e| panic!("{e}"));
        params.distinguished_name = named(name);
        let signed = params.signed_by(&key, &self.0).unwrap_or_else(|e| panic!("{e}"));
        Signed { certificate: signed.pem(), der: signed.der().to_vec(), key }
    }
}

/// OpenSSL takes a certificate for self-signed that has its issuer's name.
fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// A front before a broker that speaks TLS, to clients with a certificate only.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    _open: JoinSet<()>,
}

impl TlsFront {
    /// Opens it: `authority` has signed its certificate, for `localhost`, and those of its clients.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn open(broker: &str, authority: &Authority) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(server(authority)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|e| panic!("{e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("{e}"));
        let (mut open, broker) = (JoinSet::new(), broker.to_owned());
        open.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, broker) = (acceptor.clone(), broker.clone());
                connections.spawn(async move {
                    // A handshake that fails is the client's to report.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    if let Ok(mut server) = TcpStream::connect(broker).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, _open: open }
    }

    /// Its port, on `localhost`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn server(authority: &Authority) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap_or_else(|e| panic!("{e}"));
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let own = authority.sign("localhost");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|versions| {
            let clients = clients.build().unwrap_or_else(|e| panic!("{e}"));
            versions.with_client_cert_verifier(clients).with_single_cert(vec![own.der.into()], key)
        })
        .unwrap_or_else(|e| panic!("{e}"))
}
