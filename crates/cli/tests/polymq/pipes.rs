//! `pub` and `sub` in pipelines.

use std::collections::BTreeSet;

use super::bed::{Place, id};

#[tokio::test]
async fn what_is_published_comes_out_whole() {
    let place = Place::rabbitmq().await;
    let line = r#"{"id":"a","type":"order.placed","subject":"eu.1","key":{"base64":"/w=="},"headers":{"raw":{"base64":"AP8="},"tenant":"acme"},"payload":{"n":1.50},"correlation_id":"c","causation_id":"b","reply_to":"r","schema_version":2,"ttl":"1h"}"#;
    assert_eq!(place.run("pub orders", line).code, Some(0));
    assert_eq!(place.run("pub orders", r#"{"id":"b","payload_base64":"/wA="}"#).code, Some(0));
    let received = place.run("sub mailer --count 2", "");
    assert_eq!(received.code, Some(0), "{received:?}");
    let mut lines = received.json();
    lines.sort_by_key(id);
    let sent: serde_json::Value = serde_json::from_str(line).unwrap();
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&lines[0][field], value, "{field}");
    }
    assert_eq!(lines[0]["content_type"], "application/json");
    assert!(received.stdout.contains("1.50"), "a number is as it was written");
    assert_eq!(lines[1]["payload_base64"], "/wA=");
    assert_eq!((&lines[1]["attempt"], &lines[1]["redelivered"]), (&1.into(), &false.into()));
}

#[tokio::test]
async fn the_lines_of_sub_can_be_piped_into_pub() {
    let place = Place::rabbitmq().await;
    place.publish(200);
    let received = place.run("sub mailer --count 200", "");
    let copied = place.run("pub copies", &received.stdout);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let copies = place.run("sub copier --count 200", "");
    let ids = |lines: Vec<String>| lines.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(ids(copies.ids()), ids(received.ids()));
    assert_eq!(ids(received.ids()).len(), 200);
}

#[tokio::test]
async fn a_reader_that_goes_away_loses_nothing() {
    let place = Place::rabbitmq().await;
    place.publish(3_000);
    let mut started = place.start("sub mailer");
    let seen: BTreeSet<_> = (0..5).map(|_| id(&started.line())).collect();
    let (code, stderr) = started.close_stdout().end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("drained, nothing left"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    // What had been flushed into the pipe was acked, and went with it.
    let pipe = 64 << 10;
    let rest = place.run("sub mailer --idle 1s", "");
    let found = rest.ids().len() + seen.len();
    let longest = rest.stdout.lines().map(str::len).max().unwrap();
    assert!(found + 2 * pipe / longest > 3_000, "{found} of 3000 were found");
    assert!(rest.json().iter().all(|line| line["attempt"] == 1), "no attempt was spent");
}
