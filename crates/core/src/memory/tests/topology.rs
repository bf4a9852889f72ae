use super::*;
use crate::broker::{Capability, ObjectState, StartPosition};
use crate::memory;

#[tokio::test(start_paused = true)]
async fn apply_creates_what_is_missing_once() {
    let server = MemoryServer::default();
    let channels = vec![topic("t", &["a"]), queue("q"), ChannelSpec::dead_letter(channel("d"))];
    let request = request("memory://", channels);
    let broker = server.adapter().connect(request).await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    let kinds: Vec<_> = plan.missing().map(|o| (o.kind, o.name.as_str())).collect();
    let wanted = [
        ("topic", "test.t"),
        ("group", "test.t.a"),
        ("retry inbox", "test.t.a.retry"),
        ("queue", "test.q"),
        ("retry inbox", "test.q.q.retry"),
        ("dead-letter channel", "test.d"),
        ("retry inbox", "test.d.d.retry"),
    ];
    assert_eq!(kinds, wanted);
    for _ in 0..2 {
        broker.admin().apply(&plan).await.unwrap();
    }
    let plan = broker.admin().plan().await.unwrap();
    assert!(plan.objects.iter().all(|o| o.state == ObjectState::Present));
}

#[tokio::test(start_paused = true)]
async fn a_difference_is_named_field_by_field_and_nothing_is_created() {
    let server = MemoryServer::default();
    connect(&server, vec![queue("x"), ordered("y")]).await;
    let mut y = ordered("y");
    y.partitions = 3;
    let changed = vec![queue("new"), topic("x", &["g"]), y];
    let broker = server.adapter().connect(request("memory://", changed)).await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    let fields: Vec<_> =
        plan.differing().flat_map(|(_, d)| d).map(|d| (&*d.field, &*d.wanted, &*d.found)).collect();
    assert_eq!(fields, [("kind", "topic", "queue"), ("partitions", "3", "12")]);
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
    let now = broker.admin().plan().await.unwrap();
    assert_eq!(now.objects[0].state, ObjectState::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_later_topology_adds_a_group_that_starts_at_what_comes() {
    let server = MemoryServer::default();
    let first = connect(&server, vec![topic("t", &["a"])]).await;
    publish(&first, [send("t", "1")]).await;
    let second = connect(&server, vec![topic("t", &["b"])]).await;
    publish(&first, [send("t", "2")]).await;
    let consumer = consume(&second, "t", "b", 9).await;
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["2"]);
    assert_eq!(depth(&first, "t", "a").await.ready, 2);
}

#[tokio::test(start_paused = true)]
async fn subscribing_to_what_is_not_there_fails_with_help() {
    let (_, broker) = with_queue().await;
    let consumer = ConsumerName::new("c").unwrap();
    let subscription = Subscription::new(channel("q"), group("nobody"), consumer, 1, HOLD);
    let error = broker.subscribe(subscription, deadline()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.help().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_was_told_to_lack_cannot_be_created() {
    let mut earliest = topic("t", &["a"]);
    earliest.groups[0].start = StartPosition::Earliest;
    let mut bounded = queue("q");
    bounded.max_bytes = Some(1);
    let mut kept = queue("q");
    kept.retention = Some(secs(1));
    for (capability, spec) in [
        (Capability::Queue, queue("q")),
        (Capability::Topic, topic("t", &[])),
        (Capability::OrderByKey, ordered("q")),
        (Capability::Replay, earliest),
        (Capability::MaxBytes, bounded),
        (Capability::Retention, kept),
    ] {
        let server = MemoryServer::new(MemoryOptions::default().without(capability));
        let request = request("memory://", vec![spec.clone()]);
        let broker = server.adapter().connect(request).await.unwrap();
        assert!(!broker.capabilities(&spec).has(capability));
        let plan = broker.admin().plan().await.unwrap();
        let error = broker.admin().apply(&plan).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{capability}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_name_of_one_adapter_is_one_server() {
    let adapter = memory::adapter();
    let open = async |adapter: &memory::MemoryAdapter, url: &str| {
        let broker = adapter.connect(request(url, vec![queue("q")])).await.unwrap();
        let plan = broker.admin().plan().await.unwrap();
        broker.admin().apply(&plan).await.unwrap();
        broker
    };
    publish_all(&open(&adapter, "memory://a").await, &["1"]).await;
    let same = open(&adapter.clone(), "memory://a").await;
    assert_eq!(depth(&same, "q", "q").await.ready, 1);
    for (adapter, url) in [(&adapter, "memory://"), (&memory::adapter(), "memory://a")] {
        assert_eq!(depth(&open(adapter, url).await, "q", "q").await.ready, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn namespaces_do_not_see_each_other() {
    let (server, broker) = with_queue().await;
    publish_all(&broker, &["1"]).await;
    let mut other = request("memory://", vec![queue("q")]);
    other.topology.namespace = Namespace::new("other").unwrap();
    let other = server.adapter().connect(other).await.unwrap();
    assert_eq!(other.admin().plan().await.unwrap().missing().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_meant_is_refused_without_showing_it() {
    let error =
        memory::adapter().connect(request("memory://u:secret@h", vec![])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("secret"));
}
