//! Topics: every group gets every message, and each has its own retries and dead letters.

use polymq_core::{Context, HandlerError, Service};
use polymq_tests::bed::{
    Bed, Log, Order, dead_letters, order, seconds, tally, until_dead, until_handled,
};

const NEWS: &str = r#"
    [broker]
    url = "memory://"
    [channels.news]
    kind = "topic"
    [consumers.good]
    channel = "news"
    [consumers.bad]
    channel = "news"
    retry = { immediate = 0, delayed = 2, base = "10s", jitter = "none" }
"#;

/// `good` takes everything, `bad` nothing.
fn service(seen: &Log<(String, u32, u32)>) -> Service<()> {
    let on = |service: Service<()>, consumer: &'static str| {
        let seen = seen.clone();
        service.on(consumer, move |order: Order, ctx: Context<()>| {
            seen.push((consumer.to_owned(), order.n, ctx.attempt()));
            async move {
                if consumer == "bad" { Err::<(), HandlerError>("no".into()) } else { Ok(()) }
            }
        })
    };
    on(on(Service::new(()), "good"), "bad")
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_group_is_nothing_to_the_others() {
    let seen = Log::default();
    let running = Bed::default().start(NEWS, service(&seen)).await;
    for n in 0..10 {
        running.publisher().publish("news", &order(n)).await.unwrap();
    }
    until_handled(&running, "good", 10).await;
    until_dead(&running, "bad", 10).await;
    let of = |consumer: &str| seen.all().iter().filter(|(c, ..)| c == consumer).count();
    assert_eq!((of("good"), of("bad")), (10, 30));
    assert_eq!(tally(&running, "good").received_retries, 0, "retries are the group's own");
    assert_eq!(dead_letters(&running, "bad-dead").await.len(), 10);
    assert_eq!(dead_letters(&running, "good-dead").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn consumers_of_one_group_share_its_messages() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = NEWS.replace(
        "[consumers.bad]",
        "[consumers.other]\nchannel = \"news\"\ngroup = \"good\"\n[consumers.bad]",
    );
    let on = |consumer: &'static str, service: Service<()>| {
        let seen = seen.clone();
        service.on(consumer, move |order: Order, _: Context<()>| {
            seen.push(order.n);
            async move {
                seconds(1).await;
                Ok::<(), HandlerError>(())
            }
        })
    };
    let running = bed.start(&text, on("good", on("other", Service::new(())))).await;
    for n in 0..50 {
        running.publisher().publish("news", &order(n)).await.unwrap();
    }
    let handled = || tally(&running, "good").handled + tally(&running, "other").handled;
    polymq_tests::bed::until("all", handled, |n| *n == 50).await;
    let mut all = seen.all();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_group_is_durable_and_gets_what_was_published_after_its_topology_was_applied() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start(NEWS, Service::new(())).await;
    running.publisher().publish("news", &order(1)).await.unwrap();
    assert!(running.drain().await.is_clean());
    let text =
        NEWS.replace("[consumers.bad]", "[consumers.late]\nchannel = \"news\"\n[consumers.bad]");
    let late = seen.clone();
    let service = service(&seen).on("late", move |order: Order, _: Context<()>| {
        late.push(("late".to_owned(), order.n, 1));
        async { Ok::<(), HandlerError>(()) }
    });
    let running = bed.start(&text, service).await;
    running.publisher().publish("news", &order(2)).await.unwrap();
    until_handled(&running, "good", 2).await;
    until_handled(&running, "late", 1).await;
    let of = |consumer: &str| -> Vec<u32> {
        let mut of: Vec<u32> =
            seen.all().iter().filter(|(c, ..)| c == consumer).map(|(_, n, _)| *n).collect();
        of.sort_unstable();
        of
    };
    assert_eq!(of("good"), [1, 2]);
    assert_eq!(of("late"), [2]);
}
