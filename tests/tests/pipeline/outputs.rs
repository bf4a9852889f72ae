//! Outputs: after success, before the ack, and the same ids whenever the input is executed again.

use polymq_core::broker::{Destination, Send};
use polymq_core::model::hop;
use polymq_core::{Context, ErrorKind, HandlerError, Message, Service};
use polymq_testkit::faults::{Operation, PublishFault, SendOutcome};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, mailer, order, queued,
    seconds, tally, until_dead, until_handled, until_state,
};

fn to_receipts(send: &Send) -> bool {
    matches!(&send.destination, Destination::Channel(channel) if *channel == "receipts")
}

/// Publishes two receipts per order, and counts its calls.
fn two_receipts(calls: &Log<u32>) -> Service<()> {
    let calls = calls.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        calls.push(ctx.attempt());
        async move {
            ctx.publish("receipts", Receipt { n: order.n })?;
            ctx.publish("receipts", Receipt { n: order.n + 100 })
        }
    })
}

fn ids(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|m| m.id().unwrap().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn outputs_are_published_in_their_order_with_causation_and_correlation() {
    for bed in [Bed::default(), Bed::atomic()] {
        let running = bed.start(MAILER, two_receipts(&Log::default())).await;
        let input = Message::of(&order(1)).unwrap().with_id("in").with_correlation_id("corr");
        running.publisher().publish_message("orders", input).await.unwrap();
        until_handled(&running, "mailer", 1).await;
        let receipts = queued(&running, "receipts").await;
        let payloads: Vec<_> = receipts.iter().map(|m| m.payload().unwrap().clone()).collect();
        assert_eq!(payloads, [&br#"{"n":1}"#[..], br#"{"n":101}"#]);
        for receipt in &receipts {
            assert_eq!(receipt.causation_id(), Some("in"));
            assert_eq!(receipt.correlation_id(), Some("corr"));
            assert_eq!(receipt.message_type(), Some("receipt"));
            assert!(receipt.timestamp().is_some());
        }
        assert_eq!(tally(&running, "mailer").outputs, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_without_correlation_starts_one_with_its_id() {
    let running = Bed::default().start(MAILER, two_receipts(&Log::default())).await;
    let input = Message::of(&order(1)).unwrap().with_id("in");
    running.publisher().publish_message("orders", input).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(queued(&running, "receipts").await[0].correlation_id(), Some("in"));
}

#[tokio::test(start_paused = true)]
async fn what_the_application_set_on_an_output_stays() {
    let service = Service::new(()).on("mailer", |_: Order, ctx: Context<()>| async move {
        let message =
            Message::new("x").with_id("own").with_correlation_id("c").with_causation_id("a");
        ctx.publish_message("receipts", message.with_header("polymq-attempt", "9"))
    });
    let running = Bed::default().start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let receipts = queued(&running, "receipts").await;
    assert_eq!(receipts[0].id().unwrap(), &"own");
    assert_eq!(receipts[0].correlation_id(), Some("c"));
    assert_eq!(receipts[0].causation_id(), Some("a"));
    assert_eq!(header(&receipts[0], hop::ATTEMPT), "", "reserved headers are stripped");
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_publishes_nothing() {
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        ctx.publish("receipts", Receipt { n: order.n })?;
        match ctx.attempt() {
            1 => Err("after publishing".into()),
            2 => panic!("after publishing"),
            _ => Ok(()),
        }
    });
    let running =
        Bed::default().start(&mailer("retry = { delayed = 3, base = '1s' }"), service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(queued(&running, "receipts").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_input_is_acked_only_after_its_outputs_were_confirmed() {
    let (bed, calls) = (Bed::default(), Log::default());
    let running = bed.start(MAILER, two_receipts(&calls)).await;
    let away = bed.faults.fail_publish(to_receipts, PublishFault::Lost(ErrorKind::Timeout));
    running.publisher().publish("orders", &order(1)).await.unwrap();
    seconds(300).await;
    assert_eq!(depth(&running, "orders").await, 1, "not acked");
    assert_eq!(bed.faults.calls(Operation::Settle), 0);
    away.end();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 1, "only the sends are tried again");
    assert_eq!(depth(&running, "orders").await, 0);
    assert_eq!(queued(&running, "receipts").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_outputs_are_sent_again_under_the_same_ids() {
    let bed = Bed::default();
    let running = bed.start(MAILER, two_receipts(&Log::default())).await;
    let fault = PublishFault::Unconfirmed(ErrorKind::Disconnected);
    bed.faults.fail_publish(to_receipts, fault).times(3);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let sends = bed.faults.sends();
    let sends: Vec<_> = sends
        .iter()
        .filter(|s| s.destination.channel().is_some_and(|c| *c == "receipts"))
        .collect();
    let mut distinct: Vec<_> = sends.iter().map(|s| s.message.id().unwrap().to_string()).collect();
    assert!(distinct.len() > 2, "sent again");
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 2);
    let last = &sends[sends.len() - 2..];
    assert!(last.iter().all(|s| s.outcome == SendOutcome::Confirmed), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_is_executed_again_publishes_the_same_ids() {
    let calls = Log::default();
    let mut point = 0;
    loop {
        point += 1;
        let crashing = Bed::default();
        crashing.faults.crash_at(point);
        let victim = crashing.start(MAILER, two_receipts(&calls)).await;
        let publisher = crashing.another_process().start(MAILER, Service::new(())).await;
        let input = Message::of(&order(1)).unwrap().with_id("in");
        publisher.publisher().publish_message("orders", input).await.unwrap();
        seconds(1).await;
        let crashed = crashing.faults.is_crashed();
        drop(victim);
        if !crashed {
            break;
        }
        let heir = crashing.another_process().start(MAILER, two_receipts(&calls)).await;
        seconds(60).await;
        assert_eq!(depth(&heir, "orders").await, 0, "crash point {point}");
        let mut receipts = ids(&queued(&heir, "receipts").await);
        receipts.sort();
        receipts.dedup();
        assert_eq!(receipts.len(), 2, "crash point {point}: {:?}", crashing.faults.crash_points());
    }
    assert!(point > 3, "there is something to crash at");
}

#[tokio::test(start_paused = true)]
async fn different_inputs_and_positions_give_different_ids() {
    let running = Bed::default().start(MAILER, two_receipts(&Log::default())).await;
    for n in 0..20 {
        let input = Message::of(&order(n)).unwrap().with_id(format!("in-{n}"));
        running.publisher().publish_message("orders", input).await.unwrap();
    }
    until_handled(&running, "mailer", 20).await;
    let mut all = ids(&queued(&running, "receipts").await);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn publishing_through_a_context_that_outlived_its_attempt_is_refused() {
    let leaked: Log<Context<()>> = Log::default();
    let service = {
        let leaked = leaked.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            leaked.push(ctx);
            async { Ok::<(), HandlerError>(()) }
        })
    };
    let running = Bed::default().start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let error = leaked.all()[0].publish("receipts", Receipt { n: 1 }).unwrap_err();
    assert!(error.to_string().contains("the attempt has ended"), "{error}");
    assert_eq!(queued(&running, "receipts").await, []);
    // What is leaked must not leak into the messages that follow.
    running.publisher().publish("orders", &order(2)).await.unwrap();
    until_handled(&running, "mailer", 2).await;
    assert_ne!(leaked.all()[0].id(), leaked.all()[1].id());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_the_broker_refuses_for_good_dead_letters_the_input() {
    let (bed, calls) = (Bed::default(), Log::default());
    bed.faults.fail_publish(to_receipts, PublishFault::Rejected(ErrorKind::TooLarge));
    let running = bed.start(&mailer("retry = { immediate = 3 }"), two_receipts(&calls)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "output-rejected");
    assert_eq!(calls.len(), 1);
    assert_eq!(tally(&running, "mailer").handled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_output_channel_holds_the_input_until_there_is_room() {
    let (bed, calls) = (Bed::default(), Log::default());
    let text = MAILER.replace(
        "[channels.receipts]\nkind = \"queue\"",
        "[channels.receipts]\nkind = \"queue\"\nmax_bytes = \"1KiB\"",
    );
    let running = bed.start(&text, two_receipts(&calls)).await;
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    seconds(60).await;
    let stuck = depth(&running, "orders").await;
    assert!(stuck > 0, "the channel is full");
    let reader = Service::new(())
        .on("reader", |_: Receipt, _: Context<()>| async { Ok::<(), HandlerError>(()) });
    let text = text.replace(
        "[consumers.mailer]",
        "[consumers.reader]\nchannel = \"receipts\"\n[consumers.mailer]",
    );
    let reading = bed.another_process().start(&text, reader).await;
    until_handled(&running, "mailer", 10).await;
    until_state(&reading, "reader", "read", |s| s.tally.handled >= 20).await;
    assert_eq!(calls.len(), 10);
    assert_eq!(tally(&running, "mailer").dead_letters(), 0);
}
