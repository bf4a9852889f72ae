//! `topology`, `explain` and `check --connect`, as an operator uses them.

use super::bed::Place;

#[tokio::test]
async fn a_topology_is_planned_applied_and_then_there() {
    let place = Place::rabbitmq().await;
    let states = |arguments: &str| {
        let ended = place.run(arguments, "");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let mut states: Vec<_> = ended.json().iter().map(|line| line["state"].clone()).collect();
        states.dedup();
        states
    };
    assert_eq!(states("topology plan"), ["missing"]);
    assert_eq!(states("topology plan"), ["missing"], "a plan creates nothing");
    assert_eq!(states("topology apply"), ["created"]);
    assert_eq!(states("topology plan"), ["present"]);
}

#[tokio::test]
async fn what_differs_is_said_at_its_line_and_left_as_it_is() {
    let place = Place::rabbitmq().await;
    assert_eq!(place.run("topology apply", "").code, Some(0));
    let config = place.config();
    let ordered = "[channels.orders]\nkind = \"queue\"\norder_by = \"key\"";
    place.write(&config.replace("[channels.orders]\nkind = \"queue\"", ordered));
    for _ in 0..2 {
        let applied = place.run("topology apply", "");
        assert_eq!(applied.code, Some(1), "{applied:?}");
        assert!(applied.json().iter().any(|object| object["state"] == "differs"), "{applied:?}");
    }
    let checked = place.run("check --connect", "");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let problem = &checked.json()[0];
    assert_eq!(problem["file"], "polymq.toml");
    assert!(problem["line"].is_number() && problem["fix"].is_string(), "{problem}");
    assert!(problem["key"].as_str().unwrap().starts_with("channels.orders"), "{problem}");
}

#[tokio::test]
async fn a_missing_object_is_a_problem_only_where_nothing_may_be_created() {
    let place = Place::rabbitmq().await;
    assert_eq!(place.run("check --connect", "").code, Some(0));
    place.write(&format!("topology = \"check\"\n{}", place.config()));
    let checked = place.run("check --connect", "");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("polymq topology apply"), "{checked:?}");
}

#[tokio::test]
async fn a_consumer_is_explained_with_what_the_running_broker_says() {
    let place = Place::rabbitmq().await;
    let offline = &place.run("explain mailer", "").json()[0];
    let online = &place.run("explain mailer --connect", "").json()[0];
    for explanation in [offline, online] {
        assert!(explanation["product"].as_str().unwrap().starts_with("RabbitMQ 4."));
        for section in ["objects", "guarantees", "retries", "duplicates", "ceilings"] {
            assert!(!explanation[section].as_array().unwrap().is_empty(), "{section}");
        }
    }
    assert_eq!(offline["objects"], online["objects"]);
}

#[tokio::test]
async fn a_group_is_not_moved_where_what_was_handled_is_gone() {
    let place = Place::rabbitmq().await;
    assert_eq!(place.run("topology apply", "").code, Some(0));
    let refused = place.run("seek mailer --to earliest", "");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(78), ""), "{refused:?}");
    assert!(refused.stderr.contains("RabbitMQ"), "{refused:?}");
}

#[test]
fn nobody_moves_what_the_configuration_does_not_name() {
    let place = Place::embedded();
    assert_eq!(place.run("seek nobody --to earliest", "").code, Some(78));
    assert_eq!(place.run("seek mailer --to yesterday", "").code, Some(64));
    assert_eq!(place.run("seek mailer", "").code, Some(64));
}

#[test]
fn a_channel_is_explained_without_a_broker() {
    let place = Place::at("amqp://127.0.0.1:1/%2f");
    let explained = place.run("explain orders", "");
    assert_eq!(explained.code, Some(0), "{explained:?}");
    assert_eq!(explained.json()[0]["what"], "channel");
}
