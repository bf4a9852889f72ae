//! Plans and their application.

use futures_util::future::join_all;
use polymq_core::broker::{ChannelSpec, ObjectState, StartPosition};
use polymq_core::config::Settings;
use polymq_core::{ErrorKind, Position, Timestamp};

use crate::scene::{Foreign, Scene, channel, differences, queue, state, topic};

fn value(partition: i32, timestamp: i64) -> Foreign<'static> {
    Foreign { partition, value: Some("m"), timestamp: Some(timestamp), ..Foreign::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_comes_after_its_channels_topic_and_before_its_inbox() {
    let scene = Scene::new();
    let broker = scene.broker(vec![topic("t", 2, &["g"]), queue("q", 3)]).await;
    let plan = broker.admin().plan().await.unwrap();
    let listed: Vec<_> = plan.objects.iter().map(|o| (o.kind, o.name.clone())).collect();
    let expected = [
        ("topic", "t"),
        ("topic", "q"),
        ("consumer group", "t.g"),
        ("consumer group", "q"),
        ("topic", "t.g._retry"),
        ("topic", "q._retry"),
    ];
    assert_eq!(listed, expected.map(|(kind, rest)| (kind, scene.name(rest))));
    assert_eq!(plan.missing().count(), plan.objects.len());
    broker.admin().apply(&plan).await.unwrap();
    let after = broker.admin().plan().await.unwrap();
    assert!(after.objects.iter().all(|o| o.state == ObjectState::Present), "{after:?}");
    assert_eq!(scene.committed(&scene.name("q"), &scene.name("q"), 3), [Some(0); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_apply_side_by_side() {
    let scene = Scene::new();
    let both = || vec![queue("q", 2), topic("t", 2, &["a", "b"])];
    let brokers = join_all((0..4).map(|_| scene.applied(both()))).await;
    let after = brokers[0].admin().plan().await.unwrap();
    assert!(after.objects.iter().all(|o| o.state == ObjectState::Present), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_where_its_configuration_says() {
    let scene = Scene::new();
    scene.applied(vec![topic("t", 2, &[])]).await;
    let name = scene.name("t");
    scene.write(&name, &[value(0, 1000), value(0, 2000), value(0, 3000), value(1, 1000)]);
    let cases = [
        (StartPosition::Latest, [3, 1]),
        (StartPosition::Earliest, [0, 0]),
        (StartPosition::Timestamp(Timestamp::from_millis(1500)), [1, 1]),
        (StartPosition::Position(Position { partition: 0, offset: 2 }), [2, 1]),
    ];
    for (index, (start, expected)) in cases.into_iter().enumerate() {
        let group = format!("g{index}");
        let mut spec = topic("t", 2, &[&group]);
        spec.groups[0].start = start;
        scene.applied(vec![spec]).await;
        let committed = scene.committed(&scene.name(&format!("t.{group}")), &name, 2);
        assert_eq!(committed, expected.map(Some), "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_begun_is_left_where_it_is() {
    let scene = Scene::new();
    scene.create(&scene.name("q"), 2, &[("retention.ms", "-1")]).await;
    scene.write(&scene.name("q"), &[value(1, 1000), value(1, 1000)]);
    scene.commit(&scene.name("q"), &scene.name("q"), 1, 1);
    scene.applied(vec![queue("q", 2)]).await;
    assert_eq!(scene.committed(&scene.name("q"), &scene.name("q"), 2), [None, Some(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_kafka_has_forgotten_is_refused_until_it_is_told_where_to_go_on() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 2)]).await;
    scene.forget(&scene.name("q")).await;
    let plan = broker.admin().plan().await.unwrap();
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
    assert!(error.to_string().contains("polymq seek"), "{error}");
    let (q, group) = (channel("q"), "q".parse().unwrap());
    broker.admin().seek(&q, &group, StartPosition::Earliest).await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    assert_eq!(state(&plan, "consumer group", &scene.name("q")), ObjectState::Present);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topics_are_created_with_keeps_every_message() {
    let scene = Scene::new();
    let dead = ChannelSpec::dead_letter(channel("dead"));
    scene.applied(vec![queue("q", 2), dead]).await;
    for topic in ["q", "q._retry", "dead", "dead._retry"] {
        for setting in ["retention.ms", "retention.bytes"] {
            assert_eq!(scene.setting(&scene.name(topic), setting).await, "-1", "{topic} {setting}");
        }
    }
    let stamps = scene.setting(&scene.name("q._retry"), "message.timestamp.type").await;
    assert_eq!(stamps, "CreateTime");
    assert_eq!(scene.setting(&scene.name("dead"), "cleanup.policy").await, "compact,delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_another_shape_is_refused_and_nothing_is_created() {
    let scene = Scene::new();
    let day = [("retention.ms", "86400000"), ("cleanup.policy", "compact")];
    scene.create(&scene.name("q"), 3, &day).await;
    let mut ordered = queue("q", 2);
    (ordered.ordered, ordered.replicas) = (true, Some(3));
    let broker = scene.broker(vec![queue("new", 1), ordered]).await;
    let plan = broker.admin().plan().await.unwrap();
    let fields = [
        "partitions",
        "replicas (the topic's replication factor)",
        "`cleanup.policy`",
        "retention (`retention.ms` of the topic)",
    ];
    assert_eq!(differences(&plan), fields);
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
    assert_eq!(broker.admin().plan().await.unwrap(), plan);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unordered_channel_may_have_any_number_of_partitions() {
    let scene = Scene::new();
    scene.create(&scene.name("q"), 3, &[("retention.ms", "-1")]).await;
    let broker = scene.applied(vec![queue("q", 12)]).await;
    assert_eq!(differences(&broker.admin().plan().await.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_bound_by_name_is_its_owners() {
    let scene = Scene::new();
    let legacy = scene.name("Legacy_Orders");
    let bound = || {
        let mut spec = queue("q", 12);
        spec.settings = Settings::from_toml(&format!("topic = '{legacy}'")).unwrap();
        spec
    };
    let broker = scene.broker(vec![bound()]).await;
    let plan = broker.admin().plan().await.unwrap();
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&legacy), "{error}");
    scene.create(&legacy, 3, &[("retention.ms", "1000")]).await;
    scene.applied(vec![bound()]).await;
    assert_eq!(scene.committed(&scene.name("q"), &legacy, 3), [Some(0); 3]);
}
