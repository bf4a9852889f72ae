//! What only the management plugin tells.

use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use polymq_core::broker::{ObjectState, Source};
use tokio::time::sleep;

use crate::scene::{Scene, queue, set_up};

#[tokio::test]
async fn the_plan_shows_bindings_too() {
    let scene = Scene::new().await;
    let broker = scene.managed(vec![queue("q")]).await;
    let plan = set_up(&*broker).await;
    assert!(plan.objects.iter().all(|o| o.state == ObjectState::Present), "{plan:?}");
    let (queue, exchange) = ("shop.q".into(), "shop.q".into());
    let foreign = scene.foreign().await;
    let unbound = foreign.channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default());
    unbound.await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    let missing: Vec<_> = plan.missing().map(|o| (o.kind, o.name.as_str())).collect();
    assert_eq!(missing, [("binding", "shop.q → shop.q (#)")]);
    assert_eq!(set_up(&*broker).await.missing().count(), 0);
}

#[tokio::test]
async fn every_difference_is_shown_at_once() {
    let scene = Scene::new().await;
    let foreign = scene.foreign().await;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let made = foreign.channel.queue_declare("shop.q".into(), options, FieldTable::default());
    made.await.unwrap();
    let broker = scene.managed(vec![queue("q")]).await;
    let plan = broker.admin().plan().await.unwrap();
    let (_, differences) = plan.differing().next().unwrap();
    let fields: Vec<_> = differences.iter().map(|d| d.field.as_str()).collect();
    assert_eq!(fields, ["`x-consumer-timeout`", "`x-delivery-limit`", "`x-queue-type`"]);
}

#[tokio::test]
async fn depth_tells_what_is_in_flight() {
    let scene = Scene::new().await;
    let broker = scene.managed(vec![queue("q")]).await;
    set_up(&*broker).await;
    let foreign = scene.foreign().await;
    foreign.publish("shop.q", "").await;
    let taken = foreign.channel.basic_get("shop.q".into(), BasicGetOptions::default());
    assert!(taken.await.unwrap().is_some());
    let source = Source::Group { channel: "q".parse().unwrap(), group: "q".parse().unwrap() };
    let mut depth = broker.admin().depth(&source).await.unwrap();
    for _ in 0..150 {
        if depth.in_flight == Some(1) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
        depth = broker.admin().depth(&source).await.unwrap();
    }
    panic!("{depth:?}");
}
