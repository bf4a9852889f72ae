//! Connections that nobody else can read, and that show who opens them.

use std::path::{Path, PathBuf};

use polymq_core::{Error, ErrorKind, Message};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Authority, Place, Rabbitmq, Site, TlsFront, try_start, until_handled};

on_each_series!(
    with_its_certificate_a_service_works_over_tls,
    a_stranger_is_refused_on_either_side_at_once,
);

/// A broker behind TLS, and a client's files.
struct Scene {
    place: Place<Rabbitmq>,
    front: TlsFront,
    authority: Authority,
}

impl Scene {
    async fn new(series: &str) -> Self {
        let (place, authority) = (Rabbitmq::place(series).await, Authority::default());
        let front = TlsFront::open(&place.address(), &authority).await;
        Self { place, front, authority }
    }

    /// A configuration whose client trusts one authority and shows another's certificate.
    fn config(&self, trusts: &Authority, shows: &Authority) -> PathBuf {
        let client = shows.sign("client");
        let files = [
            ("ca_file", self.place.folder().file("ca.pem", &trusts.certificate())),
            ("cert_file", self.place.folder().file("client.pem", &client.certificate)),
            ("key_file", self.place.folder().file("client.key", &client.key())),
        ];
        let keys: String =
            files.iter().map(|(key, path)| format!("{key} = '{}'\n", path.display())).collect();
        let address = format!("localhost:{}", self.front.port());
        let url = self.place.url_at(&address).replace("amqp://", "amqps://");
        self.place.config_at(&url, &format!("[broker.rabbitmq]\n{keys}{ORDERS}"))
    }
}

async fn refused(config: &Path) -> Error {
    let error = try_start(config, service(&Log::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("ca_file")), "{error:?}");
    error
}

async fn with_its_certificate_a_service_works_over_tls(series: &str) {
    let scene = Scene::new(series).await;
    let config = scene.config(&scene.authority, &scene.authority);
    let running = try_start(&config, service(&Log::default())).await.unwrap();
    running.publisher().publish_message("orders", Message::new("an order")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert!(running.drain().await.is_clean());
}

async fn a_stranger_is_refused_on_either_side_at_once(series: &str) {
    let scene = Scene::new(series).await;
    let stranger = Authority::default();
    let unknown_broker = refused(&scene.config(&stranger, &scene.authority)).await;
    assert!(unknown_broker.to_string().contains("certificate"), "{unknown_broker}");
    refused(&scene.config(&scene.authority, &stranger)).await;
}
