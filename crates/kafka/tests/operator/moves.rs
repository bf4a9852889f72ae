//! Moving groups, and deleting what waits.

use polymq_core::broker::{ChannelSpec, StartPosition};
use polymq_core::{ErrorKind, Position, Timestamp};

use crate::scene::{
    Foreign, Scene, channel, dead_letters, group, group_source, inbox, queue, topic,
};

fn record(partition: i32, timestamp: i64) -> Foreign<'static> {
    Foreign { partition, value: Some("m"), timestamp: Some(timestamp), ..Foreign::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_moved_alone_and_a_position_moves_one_partition() {
    let scene = Scene::new();
    let broker = scene.applied(vec![topic("t", 2, &["a", "b"])]).await;
    let (name, id) = (scene.name("t"), scene.name("t.a"));
    scene.write(&name, &[record(0, 1000), record(0, 2000), record(1, 2000)]);
    let moves = [
        (StartPosition::Latest, [2, 1]),
        (StartPosition::Earliest, [0, 0]),
        (StartPosition::Timestamp(Timestamp::from_millis(1500)), [1, 0]),
        (StartPosition::Timestamp(Timestamp::from_millis(9000)), [2, 1]),
        (StartPosition::Position(Position { partition: 0, offset: 0 }), [0, 1]),
    ];
    for (to, expected) in moves {
        broker.admin().seek(&channel("t"), &group("a"), to).await.unwrap();
        assert_eq!(scene.committed(&id, &name, 2), expected.map(Some), "{to:?}");
    }
    assert_eq!(scene.committed(&scene.name("t.b"), &name, 2), [Some(0); 2]);
    for position in [Position { partition: 0, offset: 3 }, Position { partition: 2, offset: 0 }] {
        let to = StartPosition::Position(position);
        let moved = broker.admin().seek(&channel("t"), &group("a"), to).await;
        assert_eq!(moved.map_err(|e| e.kind()), Err(ErrorKind::NotFound), "{position}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_members_stays_where_it_is() {
    let scene = Scene::new();
    let broker = scene.applied(vec![queue("q", 1)]).await;
    let name = scene.name("q");
    scene.write(&name, &[record(0, 1000)]);
    let member = scene.member(&name, &name);
    let moved = broker.admin().seek(&channel("q"), &group("q"), StartPosition::Latest).await;
    let purged = broker.admin().purge(&group_source("q", "q")).await.map(drop);
    for refused in [moved, purged] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
        assert!(error.to_string().contains("stop every consumer of the group first"), "{error}");
    }
    assert_eq!(scene.committed(&name, &name, 1), [Some(0)]);
    drop(member);
    broker.admin().seek(&channel("q"), &group("q"), StartPosition::Latest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_of_one_source_and_says_how_much_waited() {
    let scene = Scene::new();
    let broker = scene.applied(vec![topic("t", 2, &["a", "b"])]).await;
    let name = scene.name("t");
    scene.write(&name, &[record(0, 1000), record(1, 1000), record(1, 1000)]);
    scene.write(&scene.name("t.a._retry"), &[record(0, 1000), record(4, 4_000_000_000_000)]);
    scene.commit(&scene.name("t.a"), &name, 1, 1);
    let admin = broker.admin();
    assert_eq!(admin.purge(&group_source("t", "a")).await.unwrap(), 2);
    assert_eq!(admin.purge(&group_source("t", "a")).await.unwrap(), 0);
    assert_eq!(admin.depth(&group_source("t", "b")).await.unwrap().ready, 3);
    assert_eq!(admin.depth(&inbox("t", "a")).await.unwrap().total(), 2);
    assert_eq!(admin.purge(&inbox("t", "a")).await.unwrap(), 2);
    assert_eq!(admin.depth(&inbox("t", "a")).await.unwrap().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_purged() {
    let scene = Scene::new();
    let broker = scene.applied(vec![ChannelSpec::dead_letter(channel("dead"))]).await;
    let letter = |key| Foreign { key: Some(key), ..record(0, 1000) };
    scene.write(&scene.name("dead"), &[letter("a"), letter("b")]);
    let admin = broker.admin();
    let source = dead_letters("dead");
    let mut look = admin.browse(&source, StartPosition::Earliest).await.unwrap();
    let shown = look.next(1).await.unwrap();
    assert_eq!(admin.purge(&source).await.unwrap(), 2);
    assert_eq!(admin.depth(&source).await.unwrap().total(), 0);
    let removed = look.remove(&[shown[0].handle.clone()]).await.remove(0);
    assert_eq!(removed.map_err(|e| e.kind()), Err(ErrorKind::NotFound));
}
