//! Looking at messages.

use polymq_core::ErrorKind;
use polymq_core::broker::{Capability, Source, StartPosition};

use crate::scene::{Scene, ordered, queue, set_up};

fn source(name: &str) -> Source {
    Source::Group { channel: name.parse().unwrap(), group: name.parse().unwrap() }
}

#[tokio::test]
async fn a_look_that_is_dropped_gives_everything_back() {
    let scene = Scene::new().await;
    let broker = scene.broker(vec![queue("q")]).await;
    set_up(&*broker).await;
    let foreign = scene.foreign().await;
    for _ in 0..3 {
        foreign.publish("shop.q", "").await;
    }
    let mut look = broker.admin().browse(&source("q"), StartPosition::Earliest).await.unwrap();
    assert_eq!(look.next(10).await.unwrap().len(), 3);
    foreign.holds("shop.q", 0).await;
    drop(look);
    foreign.holds("shop.q", 3).await;
}

#[tokio::test]
async fn the_partitions_of_an_ordered_channel_are_purged_and_not_shown() {
    let scene = Scene::new().await;
    let broker = scene.broker(vec![ordered(queue("o"), 2)]).await;
    set_up(&*broker).await;
    let foreign = scene.foreign().await;
    for partition in [0, 1, 1] {
        foreign.publish("shop.o", &format!("{partition}.x")).await;
    }
    let refused = broker.admin().browse(&source("o"), StartPosition::Earliest).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(!broker.capabilities(&ordered(queue("o"), 2)).has(Capability::Browse));
    assert_eq!(broker.admin().purge(&source("o")).await.unwrap(), 3);
    let inbox = Source::RetryInbox { channel: "o".parse().unwrap(), group: "o".parse().unwrap() };
    broker.admin().browse(&inbox, StartPosition::Earliest).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn what_was_removed_stays_away_even_if_the_look_is_dropped() {
    let scene = Scene::new().await;
    let broker = scene.broker(vec![queue("q")]).await;
    set_up(&*broker).await;
    let foreign = scene.foreign().await;
    for _ in 0..200 {
        foreign.publish("shop.q", "").await;
    }
    let mut look = broker.admin().browse(&source("q"), StartPosition::Earliest).await.unwrap();
    let handles: Vec<_> = look.next(150).await.unwrap().into_iter().map(|p| p.handle).collect();
    let removed = look.remove(&handles).await;
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    drop(look);
    foreign.holds("shop.q", 50).await;
}

#[tokio::test]
async fn one_look_does_not_remove_what_another_showed() {
    let scene = Scene::new().await;
    let broker = scene.broker(vec![queue("q")]).await;
    set_up(&*broker).await;
    let foreign = scene.foreign().await;
    for _ in 0..2 {
        foreign.publish("shop.q", "").await;
    }
    foreign.holds("shop.q", 2).await;
    let source = source("q");
    let mut one = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let mut other = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let (mine, _) = (one.next(1).await.unwrap(), other.next(1).await.unwrap());
    let removed = other.remove(&[mine[0].handle.clone()]).await;
    assert_eq!(removed[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    one.remove(&[mine[0].handle.clone()]).await.pop().unwrap().unwrap();
    one.close().await.unwrap();
    other.close().await.unwrap();
    foreign.holds("shop.q", 1).await;
}
