//! A NATS server in a container of the suite's: what a test may count on.

#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, reason = "a test")]

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use polymq_testkit::containers::NatsServer;

async fn jetstream(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.unwrap())
}

async fn create(url: &str, stream: &str) {
    let subjects = vec![stream.to_owned()];
    let config = Config { name: stream.to_owned(), subjects, ..Config::default() };
    jetstream(url).await.create_stream(config).await.unwrap();
}

#[tokio::test]
async fn what_was_confirmed_outlives_a_stop_and_a_kill_at_the_same_address() {
    for series in ["2.15", "2.10"] {
        let server = NatsServer::dedicated(series, "testkit").await.unwrap();
        let namespace = server.namespace().unwrap();
        let stream = format!("{}_q", namespace.name());
        create(server.url(), &stream).await;
        let container = server.container().unwrap();
        for (sequence, text, killed) in [(1, "stopped", false), (2, "killed", true)] {
            let client = jetstream(server.url()).await;
            client.publish(stream.clone(), text.into()).await.unwrap().await.unwrap();
            if killed {
                container.kill().await.unwrap();
            } else {
                container.stop().await.unwrap();
            }
            let down = tokio::net::TcpStream::connect(server.address()).await;
            assert!(down.is_err(), "it takes connections, {text}");
            server.restart().await.unwrap();
            let found = jetstream(server.url()).await.get_stream(&stream).await.unwrap();
            assert_eq!(found.get_raw_message(sequence).await.unwrap().payload, text);
        }
    }
}

#[tokio::test]
async fn what_a_namespace_has_goes_with_it() {
    let server = NatsServer::shared().await.unwrap();
    let (one, other) = (server.namespace().unwrap(), server.namespace().unwrap());
    let [mine, theirs] = [&one, &other].map(|namespace| format!("{}_q", namespace.name()));
    create(server.url(), &mine).await;
    create(server.url(), &theirs).await;
    drop(one);
    let jetstream = jetstream(server.url()).await;
    assert!(jetstream.get_stream(&mine).await.is_err());
    assert!(jetstream.get_stream(&theirs).await.is_ok());
}

#[tokio::test]
async fn a_server_may_have_a_configuration_of_its_own() {
    let config = "port: 4222\ninclude users.conf\n";
    let users = r#"authorization { users: [{ user: alice, password: secret }] }"#;
    let files = [("/users.conf", users)];
    let server = NatsServer::with_config("2.15", "users", config, &files).await.unwrap();
    assert!(async_nats::connect(server.url()).await.is_err());
    let options =
        async_nats::ConnectOptions::with_user_and_password("alice".into(), "secret".into());
    let client = options.connect(server.url()).await.unwrap();
    assert!(!client.server_info().jetstream);
    server.remove().await.unwrap();
}
