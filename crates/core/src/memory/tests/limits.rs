use super::*;
use crate::memory::budget::OVERHEAD;

fn dead_letter(to: &str, payload: &str) -> Send {
    Send::new(Destination::DeadLetter(channel(to)), Message::new(payload.to_owned()))
}

/// Room for two messages of four bytes.
fn small(mut spec: ChannelSpec) -> ChannelSpec {
    spec.max_bytes = Some(2 * (4 + OVERHEAD));
    spec
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_rejects_and_later_sends_of_the_call_do_not_overtake() {
    let server = MemoryServer::default();
    let broker = connect(&server, vec![small(queue("q")), queue("other")]).await;
    let sends = [send("q", "four"), send("q", "five+"), send("other", "x"), send("q", "4444")];
    let outcomes = publish(&broker, sends).await;
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Full), None, Some(ErrorKind::Full)]);
    let error = outcomes[1].error().unwrap();
    assert!(error.is_retryable() && error.to_string().contains("260 of its 520 bytes"), "{error}");
    assert!(publish(&broker, [send("q", "4444")]).await[0].is_confirmed());
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_takes_again_after_an_ack() {
    let broker = connect(&MemoryServer::default(), vec![small(queue("q"))]).await;
    publish_all(&broker, &["aaaa", "bbbb"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(1).await.unwrap();
    assert_eq!(kind(&publish(&broker, [send("q", "cccc")]).await[0]), Some(ErrorKind::Full));
    ack(&consumer, &got).await;
    publish_all(&broker, &["cccc"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_and_a_full_server_still_take_retries_and_dead_letters() {
    let server = MemoryServer::new(MemoryOptions::default().with_max_bytes(8 * (4 + OVERHEAD)));
    let dead = ChannelSpec::dead_letter(channel("dead"));
    let broker = connect(&server, vec![queue("q"), dead]).await;
    publish_all(&broker, &["aaaa"; 8]).await;
    let outcome = publish(&broker, [send("q", "aaaa")]).await;
    assert!(outcome[0].error().unwrap().to_string().contains("[broker.memory]"), "{outcome:?}");
    let hops = [retry("q", "q", "aaaa"), dead_letter("dead", "aaaa"), dead_letter("dead", "aaaa")];
    let kinds: Vec<_> = publish(&broker, hops).await.iter().map(kind).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::Full)]);
    assert_eq!(server.used_bytes(), 10 * (4 + OVERHEAD));
}

#[tokio::test(start_paused = true)]
async fn rejected_messages_take_no_room() {
    let server = MemoryServer::default();
    let broker = connect(&server, vec![small(queue("q"))]).await;
    publish(&broker, ["aaaa", "bbbb", "cccc"].map(|p| send("q", p))).await;
    publish(&broker, [send("nowhere", "x"), retry("q", "nobody", "x")]).await;
    assert_eq!(server.used_bytes(), 2 * (4 + OVERHEAD));
    broker.admin().purge(&source("q", "q")).await.unwrap();
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_never_confirmed() {
    let (_, broker) = with_queue().await;
    let sends = [send("nowhere", "1"), retry("q", "nobody", "2"), dead_letter("dead", "3")];
    for outcome in publish(&broker, sends).await {
        let error = outcome.error().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.help().is_some_and(|help| help.contains("topology")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_above_a_limit_is_too_large_and_others_of_the_call_are_not() {
    let (_, broker) = with_options(MemoryOptions::default().with_max_message_bytes(100)).await;
    let mut many = send("q", "x");
    for n in 0..129 {
        many.message.headers_mut().insert(format!("{n}"), "");
    }
    let outcomes = publish(&broker, [send("q", &"x".repeat(101)), send("q", "ok")]).await;
    assert_eq!([kind(&outcomes[0]), kind(&outcomes[1])], [Some(ErrorKind::TooLarge), None]);
    let (_, broker) = with_queue().await;
    let error = publish(&broker, [many]).await;
    assert!(error[0].error().unwrap().to_string().contains("headers come to 129"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn history_gives_way_and_unhandled_messages_never_do() {
    let server = MemoryServer::default();
    let mut spec = small(topic("t", &["a"]));
    spec.retention = Some(secs(3600));
    let broker = connect(&server, vec![spec]).await;
    publish(&broker, [send("t", "aaaa"), send("t", "bbbb")]).await;
    let consumer = consume(&broker, "t", "a", 9).await;
    let got = consumer.recv(9).await.unwrap();
    assert_eq!(kind(&publish(&broker, [send("t", "cccc")]).await[0]), Some(ErrorKind::Full));
    ack(&consumer, &got[1..]).await;
    assert!(publish(&broker, [send("t", "cccc")]).await[0].is_confirmed());
    assert_eq!(kind(&publish(&broker, [send("t", "dddd")]).await[0]), Some(ErrorKind::Full));
    ack(&consumer, &got[..1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_server_drops_history_of_another_channel() {
    let server = MemoryServer::new(MemoryOptions::default().with_max_bytes(2 * (4 + OVERHEAD)));
    let mut spec = topic("t", &["a"]);
    spec.retention = Some(secs(3600));
    let broker = connect(&server, vec![spec, queue("q")]).await;
    publish(&broker, [send("t", "aaaa"), send("t", "bbbb")]).await;
    let consumer = consume(&broker, "t", "a", 9).await;
    let got = consumer.recv(9).await.unwrap();
    assert_eq!(kind(&publish(&broker, [send("q", "cccc")]).await[0]), Some(ErrorKind::Full));
    ack(&consumer, &got).await;
    publish_all(&broker, &["cccc", "dddd"]).await;
}
