use std::time::Duration;

use polymq_core::broker::{Destination, Outcome, Send};
use polymq_core::{GroupName, Message, Timestamp, system_clock};
use rdkafka::Message as _;
use rdkafka::message::{Headers, OwnedMessage};

use super::scene::{DEAD, Scene, bytes, channel, confirmed, soon, to_channel};

fn header<'a>(record: &'a OwnedMessage, name: &str) -> Option<&'a [u8]> {
    record.headers()?.iter().find(|header| header.key == name)?.value
}

fn to_inbox(at: Option<Timestamp>) -> Send {
    let group = GroupName::new("orders").unwrap();
    let to = Destination::RetryInbox { channel: channel("orders"), group };
    Send { at, ..Send::new(to, Message::new("again").with_key("k")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lies_where_its_confirmation_says_with_key_headers_and_time() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let time = Timestamp::from_millis(1_700_000_000_123);
    let message = Message::new(vec![0, 255])
        .with_id("id-1")
        .with_key(vec![0xff, 0])
        .with_timestamp(time)
        .with_header("raw", vec![0xfe, 0, 1]);
    let outcomes = publisher.publish(vec![to_channel(message)], soon()).await;
    let [Outcome::Confirmed(confirmation)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let stored = scene.stored(&scene.name("orders")).await;
    let [record] = stored.as_slice() else { panic!("{stored:?}") };
    let position = confirmation.position.unwrap();
    assert_eq!(i64::from(position.partition), i64::from(record.partition()));
    assert_eq!(position.offset, u64::try_from(record.offset()).unwrap());
    assert_eq!(record.key(), Some(&[0xff, 0][..]));
    assert_eq!(record.payload(), Some(&[0, 255][..]));
    assert_eq!(record.timestamp().to_millis(), Some(1_700_000_000_123));
    assert_eq!(header(record, "raw"), Some(&[0xfe, 0, 1][..]));
    let source = format!("polymq:{}", scene.topology.namespace);
    assert_eq!(header(record, "ce_source"), Some(source.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_payload_is_a_null_value_and_an_empty_one_is_not() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let sends = [Message::tombstone(), Message::new("")].map(|m| to_channel(m.with_key("k")));
    confirmed(&publisher.publish(sends.into(), soon()).await);
    let stored = scene.stored(&scene.name("orders")).await;
    let payloads: Vec<_> = stored.iter().map(|record| record.payload()).collect();
    assert_eq!(payloads, [None, Some(&[][..])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_dead_letters_share_a_record_key_and_none_is_a_null_value() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let message = Message::tombstone().with_id("same").with_key(bytes(b"own"));
    let send = Send::new(Destination::DeadLetter(channel(DEAD)), message);
    for _ in 0..2 {
        confirmed(&publisher.publish(vec![send.clone(), send.clone()], soon()).await);
    }
    let stored = scene.stored(&scene.name(DEAD)).await;
    let mut keys: Vec<_> = stored.iter().map(|record| record.key().unwrap()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((stored.len(), keys.len()), (4, 4));
    for record in &stored {
        assert_eq!(record.payload(), Some(&[][..]));
        assert_eq!(header(record, "polymq-key"), Some(&b"own"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_copy_lies_on_the_partition_of_its_tier_with_its_release_as_timestamp() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let at = system_clock().now() + Duration::from_secs(63);
    confirmed(&publisher.publish(vec![to_inbox(Some(at)), to_inbox(None)], soon()).await);
    let stored = scene.stored(&scene.name("orders._retry")).await;
    let [now, later] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((now.partition(), later.partition()), (0, 9));
    assert_eq!(later.timestamp().to_millis(), i64::try_from(at.as_millis()).ok());
    assert_eq!(later.key(), Some(&b"k"[..]));
}

/// The hashes are those that Kafka's own tests of its Java client expect.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_to_the_partition_that_javas_clients_choose() {
    let hashes: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let sends = hashes.map(|(key, _)| to_channel(Message::new("x").with_key(key)));
    let outcomes = publisher.publish(sends.into(), soon()).await;
    for (outcome, (key, hash)) in outcomes.iter().zip(hashes) {
        let Outcome::Confirmed(confirmation) = outcome else { panic!("{outcome:?}") };
        let expected = u32::try_from(hash & 0x7fff_ffff).unwrap() % 12;
        assert_eq!(confirmation.position.unwrap().partition, expected, "{key}");
    }
}
