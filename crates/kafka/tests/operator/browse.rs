//! Looking at messages.

use polymq_core::broker::{Browse, ChannelSpec, Peeked, Source, StartPosition};
use polymq_core::{ErrorKind, Position, Timestamp};

use crate::scene::{Foreign, Scene, channel, dead_letters, group_source, inbox, queue};

fn record(partition: i32, value: &str) -> Foreign<'_> {
    Foreign { partition, value: Some(value), ..Foreign::default() }
}

fn letter(key: &str) -> Foreign<'_> {
    Foreign { key: Some(key), ..record(0, key) }
}

fn payloads(peeked: &[Peeked]) -> Vec<String> {
    let text = |p: &Peeked| String::from_utf8_lossy(p.message.payload().unwrap()).into_owned();
    peeked.iter().map(text).collect()
}

async fn all(look: &mut dyn Browse) -> Vec<Peeked> {
    let mut all = Vec::new();
    loop {
        let some = look.next(2).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

async fn shown(
    scene: &Scene,
    specs: Vec<ChannelSpec>,
    of: &Source,
    from: StartPosition,
) -> Vec<String> {
    let broker = scene.broker(specs).await;
    let mut look = broker.admin().browse(of, from).await.unwrap();
    let peeked = all(&mut *look).await;
    look.close().await.unwrap();
    payloads(&peeked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_shows_what_the_group_has_not_handled_and_changes_nothing() {
    let scene = Scene::new();
    scene.applied(vec![queue("q", 2)]).await;
    let name = scene.name("q");
    scene.write(&name, &["0", "1", "2", "3"].map(|value| record(1, value)));
    scene.commit(&name, &name, 1, 1);
    let source = group_source("q", "q");
    for _ in 0..2 {
        let found = shown(&scene, vec![queue("q", 2)], &source, StartPosition::Earliest).await;
        assert_eq!(found, ["1", "2", "3"]);
    }
    assert_eq!(scene.committed(&name, &name, 2), [Some(0), Some(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_begins_at_a_place_or_at_a_time() {
    let scene = Scene::new();
    scene.applied(vec![queue("q", 2)]).await;
    let at = |timestamp, record| Foreign { timestamp: Some(timestamp), ..record };
    let records = [
        at(1000, record(0, "a")),
        at(2000, record(0, "b")),
        at(3000, record(0, "c")),
        at(3000, record(1, "d")),
    ];
    scene.write(&scene.name("q"), &records);
    let cases = [
        (StartPosition::Position(Position { partition: 0, offset: 1 }), vec!["b", "c"]),
        (StartPosition::Timestamp(Timestamp::from_millis(2500)), vec!["c", "d"]),
        (StartPosition::Latest, vec![]),
    ];
    for (from, expected) in cases {
        let mut found = shown(&scene, vec![queue("q", 2)], &group_source("q", "q"), from).await;
        found.sort_unstable();
        assert_eq!(found, expected, "{from:?}");
    }
    let broker = scene.broker(vec![queue("q", 2)]).await;
    let nowhere = StartPosition::Position(Position { partition: 0, offset: 9 });
    let error = broker.admin().browse(&group_source("q", "q"), nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_ends_where_the_log_ended_when_it_began() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 1)]).await;
    scene.write(&scene.name("q"), &[record(0, "a")]);
    let source = group_source("q", "q");
    let mut look = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    scene.write(&scene.name("q"), &[record(0, "b")]);
    assert_eq!(payloads(&all(&mut *look).await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_says_when_it_is_due() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 1)]).await;
    let later = Foreign { timestamp: Some(4_000_000_000_000), ..record(5, "later") };
    scene.write(&scene.name("q._retry"), &[later]);
    let source = inbox("q", "q");
    let mut look = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let peeked = look.next(10).await.unwrap();
    assert_eq!(peeked[0].due, Some(Timestamp::from_millis(4_000_000_000_000)));
    let at = StartPosition::Timestamp(Timestamp::from_millis(0));
    let kind = broker.admin().browse(&source, at).await.map(drop).map_err(|e| e.kind());
    assert_eq!(kind, Err(ErrorKind::Unsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_removed_once_and_no_other_goes_with_it() {
    let scene = Scene::new();
    let broker = scene.applied(vec![ChannelSpec::dead_letter(channel("dead"))]).await;
    scene.write(&scene.name("dead"), &["a", "b", "c"].map(letter));
    let source = dead_letters("dead");
    let mut look = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let mut other = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let (peeked, same) = (all(&mut *look).await, all(&mut *other).await);
    assert_eq!(payloads(&peeked), ["a", "b", "c"]);
    let middle = [peeked[1].handle.clone()];
    look.remove(&middle).await.remove(0).unwrap();
    for again in [look.remove(&middle).await, other.remove(&[same[1].handle.clone()]).await] {
        assert_eq!(again[0].as_ref().map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    }
    let mut after = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    assert_eq!(payloads(&all(&mut *after).await), ["a", "c"]);
    assert_eq!(broker.admin().depth(&source).await.unwrap().total(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_from_a_channel() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 1)]).await;
    scene.write(&scene.name("q"), &[letter("a")]);
    let source = group_source("q", "q");
    let mut look = broker.admin().browse(&source, StartPosition::Earliest).await.unwrap();
    let handle = look.next(1).await.unwrap().remove(0).handle;
    let kinds: Vec<_> =
        look.remove(&[handle]).await.into_iter().map(|r| r.map_err(|e| e.kind())).collect();
    assert_eq!(kinds, [Err(ErrorKind::Unsupported)]);
}
