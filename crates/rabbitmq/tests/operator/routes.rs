//! Where messages go, seen by a client that isn't ours.

use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use polymq_core::broker::Event;

use crate::scene::{Scene, ordered, queue, set_up, topic};

#[tokio::test]
async fn a_group_with_subjects_gets_those_only() {
    let scene = Scene::new().await;
    let mut spec = topic("t", &["all", "some"]);
    spec.groups[1].subjects = vec!["order.*".parse().unwrap()];
    set_up(&*scene.broker(vec![spec]).await).await;
    let foreign = scene.foreign().await;
    for subject in ["order.placed", "order.placed.twice", "", "user"] {
        foreign.publish("shop.t", subject).await;
    }
    foreign.holds("shop.t.all", 4).await;
    foreign.holds("shop.t.some", 1).await;
}

#[tokio::test]
async fn what_finds_no_queue_is_kept() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![queue("q"), ordered(queue("o"), 2)]).await).await;
    let foreign = scene.foreign().await;
    foreign.publish("shop.o", "1.order").await;
    foreign.holds("shop.o._1", 1).await;
    foreign.publish("shop.o", "2.order").await;
    foreign.holds("shop._homeless", 1).await;
    let deleted = foreign.channel.queue_delete("shop.q".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    foreign.publish("shop.q", "").await;
    foreign.holds("shop._homeless", 2).await;
}

#[tokio::test]
async fn what_found_no_queue_is_told_to_whoever_listens() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![ordered(queue("o"), 2)]).await).await;
    let foreign = scene.foreign().await;
    foreign.publish("shop.o", "2.order").await;
    foreign.holds("shop._homeless", 1).await;
    let broker = scene.broker(vec![queue("q")]).await;
    let mut events = broker.events();
    let told = async {
        loop {
            match events.recv().await {
                Some(Event::Homeless { object, messages }) => return (object, messages),
                Some(_) => {}
                None => panic!("the broker has gone"),
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    assert_eq!(told, ("shop._homeless".to_owned(), 1));
}

#[tokio::test]
async fn what_waited_comes_home_and_what_has_no_home_is_kept() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![queue("q")]).await).await;
    let foreign = scene.foreign().await;
    foreign.publish("shop._delay.1", "shop.q._retry").await;
    foreign.publish("shop._delay.1", "shop.gone._retry").await;
    foreign.holds("shop._delay.1", 2).await;
    foreign.holds("shop.q._retry", 1).await;
    foreign.holds("shop._homeless", 1).await;
    foreign.holds("shop._delay.1", 0).await;
}
