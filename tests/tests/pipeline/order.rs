//! Order by key: lanes, never hash buckets; what waits holds its key and only its key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use polymq_core::model::hop;
use polymq_core::{Context, HandlerError, Service, Timestamp};
use polymq_tests::bed::{
    Bed, Log, Order, dead_letters, depth, hop as header, keyed, order, ordered_mailer, seconds,
    tally, until_dead, until_handled, until_state,
};

/// How long order `n` of a key takes: anything from 0 to 99 ms, the same in every run.
fn takes(n: u32) -> Duration {
    Duration::from_millis(u64::from(n.wrapping_mul(2_654_435_761) >> 16) % 100)
}

fn by_key(seen: &Log<(String, u32)>) -> BTreeMap<String, Vec<u32>> {
    let mut keys: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (key, n) in seen.all() {
        keys.entry(key).or_default().push(n);
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn each_key_keeps_its_order_while_different_keys_run_in_parallel() {
    let (bed, seen) = (Bed::default(), Log::default());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let service = {
        let (seen, now, most) = (seen.clone(), Arc::clone(&now), Arc::clone(&most));
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            let (seen, now, most) = (seen.clone(), Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(takes(order.n)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                seen.push((order.key.unwrap_or_default(), order.n));
                Ok::<(), HandlerError>(())
            }
        })
    };
    let running = bed.start(&ordered_mailer("concurrency = 8"), service).await;
    for n in 0..800 {
        running.publisher().publish("orders", &keyed(n % 16, n)).await.unwrap();
    }
    until_handled(&running, "mailer", 800).await;
    let keys = by_key(&seen);
    assert_eq!(keys.len(), 16);
    for (key, order) in keys {
        assert_eq!(order.len(), 50, "key {key}");
        assert!(order.is_sorted(), "key {key}: {order:?}");
    }
    assert_eq!(most.load(Ordering::Relaxed), 8, "all workers are busy");
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_holds_no_other_key() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            let seen = seen.clone();
            async move {
                if order.key.as_deref() == Some("slow") {
                    seconds(25).await;
                }
                seen.push((order.key.unwrap_or_default(), order.n));
                Ok::<(), HandlerError>(())
            }
        })
    };
    let running = bed.start(&ordered_mailer("concurrency = 2\nprefetch = 2000"), service).await;
    for n in 0..5 {
        running.publisher().publish("orders", &keyed("slow", n)).await.unwrap();
    }
    // So many keys that hash buckets would collide.
    for n in 0..1000 {
        running.publisher().publish("orders", &keyed(n, n)).await.unwrap();
    }
    until_handled(&running, "mailer", 1000).await;
    assert!(seen.all().iter().filter(|(key, _)| key == "slow").count() <= 1);
    until_handled(&running, "mailer", 1005).await;
    assert_eq!(by_key(&seen)["slow"], [0, 1, 2, 3, 4]);
}

/// Fails order 0 of key `a` until its attempt `good`; logs every try.
fn one_bad(good: u32, tries: &Log<(String, u32, u32, Timestamp)>) -> Service<()> {
    let tries = tries.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        let key = order.key.clone().unwrap_or_default();
        let bad = key == "a" && order.n == 0 && ctx.attempt() < good;
        tries.push((key, order.n, ctx.attempt(), ctx.now()));
        async move { if bad { Err("not yet".into()) } else { Ok(()) } }
    })
}

#[tokio::test(start_paused = true)]
async fn a_delayed_retry_is_waited_in_the_process_and_holds_its_key_only() {
    let (bed, tries) = (Bed::default(), Log::default());
    let text = ordered_mailer(
        "retry = { immediate = 1, delayed = 2, base = '60s', backoff = 'constant', jitter = 'none' }",
    );
    let running = bed.start(&text, one_bad(4, &tries)).await;
    let begin = bed.now();
    for n in 0..3 {
        for key in ["a", "b"] {
            running.publisher().publish("orders", &keyed(key, n)).await.unwrap();
        }
    }
    until_handled(&running, "mailer", 3).await;
    seconds(30).await;
    assert_eq!(tally(&running, "mailer").handled, 3, "b went on; a waits");
    until_handled(&running, "mailer", 6).await;
    let of_a: Vec<_> = tries.all().into_iter().filter(|(key, ..)| key == "a").collect();
    let order: Vec<_> = of_a.iter().map(|(_, n, attempt, _)| (*n, *attempt)).collect();
    assert_eq!(order, [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (2, 1)]);
    let at: Vec<_> = of_a.iter().map(|(.., at)| at.saturating_since(begin).as_secs()).collect();
    assert_eq!(at, [0, 0, 60, 120, 120, 120]);
    assert_eq!(tally(&running, "mailer").received_retries, 0, "nothing went through the inbox");
}

#[tokio::test(start_paused = true)]
async fn what_is_dead_lettered_lets_its_key_go_on_in_order() {
    for (retry, reason) in [
        (
            "immediate = 0, delayed = 9, base = '10s', backoff = 'constant', jitter = 'none', max_elapsed = '25s'",
            "max-elapsed",
        ),
        ("immediate = 0, delayed = 1, base = '10s', jitter = 'none'", "retries-exhausted"),
    ] {
        let (bed, tries) = (Bed::default(), Log::default());
        let text = ordered_mailer(&format!("retry = {{ {retry} }}"));
        let running = bed.start(&text, one_bad(u32::MAX, &tries)).await;
        for n in 0..4 {
            running.publisher().publish("orders", &keyed("a", n)).await.unwrap();
        }
        until_dead(&running, "mailer", 1).await;
        until_handled(&running, "mailer", 3).await;
        let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
        assert_eq!(header(dead, hop::DEAD_LETTER_REASON), reason);
        let good: Vec<_> = tries.all().iter().filter(|t| t.1 > 0).map(|t| t.1).collect();
        assert_eq!(good, [1, 2, 3]);
        assert_eq!(depth(&running, "orders").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_key_stops_others_only_at_the_prefetch() {
    let (bed, tries) = (Bed::default(), Log::default());
    let text = ordered_mailer(
        "concurrency = 2\nprefetch = 10\nbatch = { max = 5 }\n\
         retry = { immediate = 0, delayed = 1, base = '60s', jitter = 'none' }",
    );
    let running = bed.start(&text, one_bad(2, &tries)).await;
    for n in 0..9 {
        running.publisher().publish("orders", &keyed("a", n)).await.unwrap();
    }
    for n in 0..20 {
        running.publisher().publish("orders", &keyed("b", n)).await.unwrap();
    }
    until_handled(&running, "mailer", 20).await;
    assert!(tries.all().iter().filter(|t| t.0 == "b").count() == 20, "one place was left for b");
    until_handled(&running, "mailer", 29).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_restarts_the_attempt_at_one_and_keeps_the_order() {
    let (bed, tries) = (Bed::default(), Log::default());
    let text =
        ordered_mailer("retry = { immediate = 0, delayed = 5, base = '60s', jitter = 'none' }");
    let running = bed.start(&text, one_bad(u32::MAX, &tries)).await;
    for n in 0..3 {
        running.publisher().publish("orders", &keyed("a", n)).await.unwrap();
    }
    until_state(&running, "mailer", "failed", |s| s.tally.retried == 1).await;
    drop(running);
    let running = bed.another_process().start(&text, one_bad(1, &tries)).await;
    until_handled(&running, "mailer", 3).await;
    let all: Vec<_> = tries.all().iter().map(|t| (t.1, t.2)).collect();
    assert_eq!(all, [(0, 1), (0, 1), (1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_key_run_in_parallel_on_an_ordered_channel() {
    let bed = Bed::default();
    let service = Service::new(()).on("mailer", |_: Order, _: Context<()>| async {
        seconds(1).await;
        Ok::<(), HandlerError>(())
    });
    let running = bed.start(&ordered_mailer("concurrency = 8"), service).await;
    let begin = tokio::time::Instant::now();
    for n in 0..8 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 8).await;
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_over_a_drain_and_two_consumers() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = || {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(takes(order.n)).await;
                seen.push((order.key.unwrap_or_default(), order.n));
                Ok::<(), HandlerError>(())
            }
        })
    };
    let text = ordered_mailer("concurrency = 8");
    let (first, second) =
        (bed.start(&text, service()).await, bed.another_process().start(&text, service()).await);
    for n in 0..400 {
        second.publisher().publish("orders", &keyed(n % 8, n)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(first.drain().await.is_clean());
    let third = bed.another_process().start(&text, service()).await;
    polymq_tests::bed::until("all", || seen.len(), |n| *n >= 400).await;
    for (key, order) in by_key(&seen) {
        assert!(order.is_sorted(), "key {key}: {order:?}");
        assert_eq!(order.len(), 50, "key {key}");
    }
    drop((second, third));
}
