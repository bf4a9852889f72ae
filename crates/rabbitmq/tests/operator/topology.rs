//! Plan and apply.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use polymq_core::ErrorKind;
use polymq_core::broker::{ObjectState, Plan};

use crate::scene::{NAMESPACE, Scene, bound, ordered, queue, set_up, topic};

fn all_present(plan: &Plan) -> bool {
    plan.objects.iter().all(|object| object.state == ObjectState::Present)
}

#[tokio::test]
async fn what_was_applied_is_there_as_planned() {
    let scene = Scene::new().await;
    let channels = vec![
        queue("q"),
        topic("t", &["a", "b"]),
        ordered(queue("o"), 3),
        ordered(topic("p", &["a"]), 2),
    ];
    let broker = scene.broker(channels).await;
    let before = broker.admin().plan().await.unwrap();
    assert_eq!(before.missing().count(), before.objects.len());
    let after = set_up(&*broker).await;
    assert!(all_present(&after), "{after:?}");
    assert!(broker.info().product.starts_with("RabbitMQ 4."), "{}", broker.info().product);
}

#[tokio::test]
async fn a_queue_of_somebody_elses_making_is_refused_and_nothing_is_made() {
    let scene = Scene::new().await;
    let foreign = scene.foreign().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(5));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let name = format!("{NAMESPACE}.q");
    foreign.channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();

    let broker = scene.broker(vec![queue("q"), queue("new")]).await;
    let plan = broker.admin().plan().await.unwrap();
    let (object, differences) = plan.differing().next().unwrap();
    assert_eq!((object.name.as_str(), object.kind), (name.as_str(), "queue"));
    let difference = &differences[0];
    let difference = (&*difference.field, &*difference.wanted, &*difference.found);
    assert_eq!(difference, ("`x-delivery-limit`", "-1", "5"));

    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
    assert!(
        error.to_string().contains("`x-delivery-limit` is 5, the configuration says -1"),
        "{error}"
    );
    assert_eq!(broker.admin().plan().await.unwrap(), plan);
}

#[tokio::test]
async fn an_ordered_channel_keeps_its_number_of_partitions() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![ordered(queue("o"), 4)]).await).await;
    let fewer = scene.broker(vec![ordered(queue("o"), 2)]).await;
    let error = fewer.admin().apply(&fewer.admin().plan().await.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("partitions is 4, the configuration says 2"), "{error}");
    let none = scene.broker(vec![queue("o")]).await;
    let error = none.admin().apply(&none.admin().plan().await.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("kind or order_by"), "{error}");
}

#[tokio::test]
async fn what_is_bound_by_name_is_never_made() {
    let scene = Scene::new().await;
    let channels = || vec![queue("first"), bound(queue("q"), "exchange = 'legacy'")];
    let broker = scene.broker(channels()).await;
    let plan = broker.admin().plan().await.unwrap();
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("there is no exchange `legacy`"), "{error}");
    assert_eq!(broker.admin().plan().await.unwrap(), plan, "something was made");

    let foreign = scene.foreign().await;
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    let kind = ExchangeKind::Topic;
    let made =
        foreign.channel.exchange_declare("legacy".into(), kind, options, FieldTable::default());
    made.await.unwrap();
    assert!(all_present(&set_up(&*broker).await), "what it is like is its owner's business");
    foreign.publish("legacy", "some.thing").await;
    foreign.holds("shop.q", 1).await;
}
