//! How much waits.

use polymq_core::broker::{ChannelSpec, Depth};
use polymq_core::{Clock, SystemClock};

use crate::scene::{Foreign, Scene, channel, dead_letters, group_source, inbox, queue, topic};

fn record(partition: i32) -> Foreign<'static> {
    Foreign { partition, value: Some("m"), ..Foreign::default() }
}

async fn depth(
    broker: &dyn polymq_core::broker::Broker,
    source: &polymq_core::broker::Source,
) -> Depth {
    broker.admin().depth(source).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_group_is_what_it_has_not_committed() {
    let scene = Scene::new();
    let broker = scene.applied(vec![topic("t", 3, &["a", "b"])]).await;
    let name = scene.name("t");
    scene.write(&name, &[record(0), record(0), record(2)]);
    scene.commit(&scene.name("t.a"), &name, 0, 1);
    assert_eq!(depth(&*broker, &group_source("t", "a")).await.ready, 2);
    assert_eq!(depth(&*broker, &group_source("t", "b")).await.ready, 3);
    let lag = broker.admin().lag(&group_source("t", "a")).await.unwrap();
    let lag: Vec<_> = lag.iter().map(|lag| (lag.partition, lag.messages)).collect();
    assert_eq!(lag, [(0, 1), (1, 0), (2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_an_inbox_is_delayed_until_its_release() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 1)]).await;
    let now = i64::try_from(SystemClock.now().as_millis()).unwrap();
    let waits = |partition, timestamp| Foreign { timestamp: Some(timestamp), ..record(partition) };
    let records = [
        waits(0, now - 5_000),
        waits(3, now - 1),
        waits(3, now + 600_000),
        waits(9, now + 600_000),
    ];
    scene.write(&scene.name("q._retry"), &records);
    let found = depth(&*broker, &inbox("q", "q")).await;
    assert_eq!((found.ready, found.delayed), (2, Some(2)));
    assert_eq!(depth(&*broker, &group_source("q", "q")).await.total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_were_removed_do_not_count() {
    let scene = Scene::new();
    let broker = scene.applied(vec![ChannelSpec::dead_letter(channel("dead"))]).await;
    let letter = |key| Foreign { key: Some(key), ..record(0) };
    let removal = |key| Foreign { value: None, ..letter(key) };
    let records = [letter("a"), letter("b"), letter("c"), removal("b"), removal("other")];
    scene.write(&scene.name("dead"), &records);
    assert_eq!(depth(&*broker, &dead_letters("dead")).await.total(), 2);
}
