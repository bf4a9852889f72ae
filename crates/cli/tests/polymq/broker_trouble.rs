//! A broker that is away, or refuses.

use super::bed::Place;

/// The place with another URL.
fn moved(place: &Place, from: &str, to: &str) {
    let config = place.config();
    assert!(config.contains(from), "{config}");
    place.write(&config.replace(from, to));
}

/// Refused by `pub`, `sub` and `check --connect`, the last with the place in the file.
fn refused(place: &Place, code: i32, says: &str) {
    for command in ["pub orders", "sub mailer --idle 1s"] {
        let ended = place.run(command, "{\"payload\":\"x\"}");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
    let checked = place.run("check --connect", "");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let problem = &checked.json()[0];
    assert_eq!((&problem["key"], &problem["line"]), (&"broker.url".into(), &3.into()));
    assert!(problem["message"].as_str().unwrap().contains(says), "{problem}");
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    let place = Place::rabbitmq().await;
    moved(&place, "guest:guest@", "guest:hunter2@");
    refused(&place, 77, "refuses user or password");
}

#[tokio::test]
async fn a_virtual_host_that_is_not_there_is_named() {
    let place = Place::rabbitmq().await;
    let host = place.url().rsplit('/').next().unwrap().to_owned();
    moved(&place, &host, "no-such-host");
    refused(&place, 78, "no-such-host");
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_then_said_to_be() {
    let place = Place::at("amqp://guest:hunter2@127.0.0.1:1/%2f");
    moved(&place, "\"5s\"", "\"1s\"");
    refused(&place, 69, "127.0.0.1:1");
}
