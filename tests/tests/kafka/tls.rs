//! Connections that nobody else can read, and passwords that nobody sees. Both need the feature `kafka-tls`.

use std::path::PathBuf;

use polymq_core::{ErrorKind, Message};
use polymq_testkit::containers::{KafkaServer, Keystore};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Authority, Folder, Kafka, Site, start, try_start, until_handled};

on_each_series!(
    with_its_certificate_a_service_works_over_tls_and_a_stranger_does_not,
    a_password_is_shown_by_a_challenge,
);

fn config(folder: &Folder, namespace: &str, url: &str, table: &str) -> PathBuf {
    let text = format!(
        "namespace = \"{namespace}\"\nconnect_timeout = \"10s\"\nbroker.url = \"{url}\"\n[broker.kafka]\n{table}\n{ORDERS}"
    );
    folder.file(&format!("{}.toml", table.len()), &text)
}

async fn works(config: &std::path::Path) {
    let log = Log::default();
    let running = start(config, service(&log)).await;
    running.publisher().publish_message("orders", Message::new("").with_id("m")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(log.all(), ["m"]);
    assert!(running.drain().await.is_clean());
}

async fn with_its_certificate_a_service_works_over_tls_and_a_stranger_does_not(series: &str) {
    let authority = Authority::default();
    let broker = authority.sign("localhost");
    let keystore = Keystore {
        certificates: broker.certificate.clone(),
        key: broker.key(),
        clients: Some(authority.certificate()),
    };
    let server = KafkaServer::with_tls(series, "scenario-tls", keystore).await.unwrap();
    let (namespace, folder) = (server.namespace().unwrap(), Folder::default());
    let url = format!("kafka+ssl://{}", server.tls_address().unwrap());
    let table = |trusted: &Authority, signer: &Authority, name: &str| {
        let client = signer.sign("client");
        let files = [
            ("ca_file", trusted.certificate()),
            ("cert_file", client.certificate.clone()),
            ("key_file", client.key()),
        ];
        let line = |(key, text): (&str, String)| {
            let path = folder.file(&format!("{name}-{key}.pem"), &text);
            format!("{key} = '{}'\n", path.display())
        };
        files.into_iter().map(line).collect::<String>()
    };
    let config = |table: &str| config(&folder, namespace.name().as_str(), &url, table);
    works(&config(&table(&authority, &authority, "ours"))).await;

    let stranger = Authority::default();
    let refused = [
        (table(&stranger, &authority, "trusts-another"), ErrorKind::Unauthenticated),
        // Over TLS 1.3 the broker only hangs up.
        (table(&authority, &stranger, "shows-anothers"), ErrorKind::Disconnected),
    ];
    for (table, kind) in refused {
        let error = try_start(&config(&table), service(&Log::default())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.help().is_some_and(|help| help.contains("cert_file")), "{error:?}");
    }
}

async fn a_password_is_shown_by_a_challenge(series: &str) {
    let place = Kafka::place(series).await;
    let user = place.namespace().to_string();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let secret = format!("{mechanism}=[password=secret]");
        let add =
            ["--alter", "--entity-type", "users", "--entity-name", &user, "--add-config", &secret];
        place.tool("kafka-configs", &add).await;
    }
    let url = place.url_as(&user, "secret");
    for mechanism in ["scram-sha-256", "scram-sha-512"] {
        let table = format!("sasl = '{mechanism}'");
        works(&config(place.folder(), &user, &url, &table)).await;
    }
}
