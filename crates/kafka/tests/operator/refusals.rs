//! Brokers that are away, or don't let us in.

use std::time::{Duration, Instant};

use polymq_core::ErrorKind;
use polymq_core::broker::{Source, StartPosition};

use crate::fixture::server;
use crate::scene::{Scene, channel, group, queue};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_at_once() {
    let (scene, start) = (Scene::new(), Instant::now());
    let url =
        format!("kafka://alice:wrong@{}", server().sasl_address().expect("a container of ours"));
    let error = scene.connect(&url, vec![], Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!format!("{error:?} {error}").contains("wrong@"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_waited_for_until_the_deadline() {
    let (scene, start) = (Scene::new(), Instant::now());
    let patience = Duration::from_secs(2);
    let error = scene.connect("kafka://127.0.0.1:1", vec![], patience).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    assert!(error.is_retryable());
    assert!((patience..patience * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topology_lacks_is_not_found() {
    let scene = Scene::new();
    let broker = scene.broker(vec![queue("q", 1)]).await;
    let admin = broker.admin();
    let sources = [
        Source::Group { channel: channel("q"), group: group("q") },
        Source::Group { channel: channel("q"), group: group("other") },
        Source::RetryInbox { channel: channel("absent"), group: group("absent") },
        Source::DeadLetter(channel("absent")),
    ];
    for source in sources {
        let kind = admin.depth(&source).await.map_err(|e| e.kind());
        assert_eq!(kind, Err(ErrorKind::NotFound), "{source}");
    }
    let moved = admin.seek(&channel("q"), &group("q"), StartPosition::Latest).await;
    assert_eq!(moved.map_err(|e| e.kind()), Err(ErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_broker_answers_nothing() {
    let scene = Scene::new();
    let broker = scene.broker(vec![]).await;
    broker.admin().ping().await.unwrap();
    broker.close(tokio::time::Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert_eq!(broker.admin().ping().await.map_err(|e| e.kind()), Err(ErrorKind::Closed));
}
