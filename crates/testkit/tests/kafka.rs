//! A Kafka in a container of the suite's: what a test may count on.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use polymq_testkit::containers::{KafkaServer, Keystore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig as TlsConfig, RootCertStore, crypto::aws_lc_rs};

const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody else stops this one's broker.
async fn server() -> KafkaServer {
    KafkaServer::dedicated("4.2", "testkit").await.unwrap()
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("reconnect.backoff.max.ms", "200");
    config
}

async fn create(address: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(address).create().unwrap();
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

fn publish(address: &str, topic: &str, text: &str) {
    let producer: BaseProducer = client(address).set("acks", "all").create().unwrap();
    producer.send(BaseRecord::<(), str>::to(topic).payload(text)).unwrap();
    producer.flush(PATIENCE).unwrap();
}

fn read(address: &str, topic: &str, offset: i64) -> Vec<u8> {
    let consumer: BaseConsumer = client(address).set("group.id", "unused").create().unwrap();
    let mut partition = rdkafka::TopicPartitionList::new();
    partition.add_partition_offset(topic, 0, rdkafka::Offset::Offset(offset)).unwrap();
    consumer.assign(&partition).unwrap();
    loop {
        // Errors tell of connections that were lost, and are made again.
        if let Ok(message) = consumer.poll(PATIENCE).unwrap() {
            return message.payload().unwrap().to_vec();
        }
    }
}

fn topics(address: &str) -> Vec<String> {
    let consumer: BaseConsumer = client(address).create().unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

#[tokio::test]
async fn what_was_confirmed_outlives_a_stop_and_a_kill_at_the_same_address() {
    let server = server().await;
    let namespace = server.namespace().unwrap();
    let (address, topic) = (server.address(), format!("{}.q", namespace.name()));
    create(address, &topic).await;
    let container = server.container().unwrap();
    for (offset, text, killed) in [(0, "stopped", false), (1, "killed", true)] {
        publish(address, &topic, text);
        if killed {
            container.kill().await.unwrap();
        } else {
            container.stop().await.unwrap();
        }
        let down = tokio::net::TcpStream::connect(address).await;
        assert!(down.is_err(), "it takes connections, {text}");
        server.restart().await.unwrap();
        assert_eq!(read(address, &topic, offset), text.as_bytes());
    }
}

#[tokio::test]
async fn what_a_namespace_has_goes_with_it() {
    let server = KafkaServer::shared().await.unwrap();
    let (one, other) = (server.namespace().unwrap(), server.namespace().unwrap());
    let [mine, theirs] = [&one, &other].map(|namespace| format!("{}.q", namespace.name()));
    create(server.address(), &mine).await;
    create(server.address(), &theirs).await;
    drop(one);
    let left = topics(server.address());
    assert!(!left.contains(&mine) && left.contains(&theirs), "{left:?}");
}

#[tokio::test]
async fn a_user_with_a_password_may_do_what_no_acl_takes_from_them() {
    let server = KafkaServer::shared().await.unwrap();
    let namespace = server.namespace().unwrap();
    let [open, closed] = ["open", "closed"].map(|name| format!("{}.{name}", namespace.name()));
    let deny =
        ["--add", "--deny-principal", "User:alice", "--operation", "all", "--topic", &closed];
    create(server.address(), &open).await;
    create(server.address(), &closed).await;
    server.tool("kafka-acls", &deny).await.unwrap();
    let as_alice = |password| {
        let mut client = client(server.sasl_address().unwrap());
        client.set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "PLAIN");
        client.set("sasl.username", "alice").set("sasl.password", password);
        let consumer: BaseConsumer = client.create().unwrap();
        consumer
    };
    let metadata = as_alice("alice").fetch_metadata(None, PATIENCE).unwrap();
    let seen: Vec<_> =
        metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
    assert!(seen.contains(&&*open) && !seen.contains(&&*closed), "{seen:?}");
    let refused = as_alice("wrong").fetch_metadata(None, Duration::from_secs(2));
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_broker_with_a_keystore_shows_it_to_its_clients() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let keystore = Keystore {
        certificates: params.signed_by(&key, &authority).unwrap().pem(),
        key: key.serialize_pem(),
        clients: None,
    };
    let server = KafkaServer::with_tls("4.2", "tls", keystore).await.unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let tls = TlsConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = tokio::net::TcpStream::connect(server.tls_address().unwrap()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap();
    server.remove().await.unwrap();
}
