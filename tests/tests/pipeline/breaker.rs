//! The breaker: pauses intake while too much fails, and spends no attempt meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polymq_core::{Context, HandlerError, ResultExt, Service, Timestamp};
use polymq_tests::bed::{
    Bed, Log, Order, mailer, order, seconds, tally, until_dead, until_handled, until_state,
};

const BREAKER: &str = "concurrency = 1\n\
    breaker = { failure_rate = 0.5, minimum = 4, window = '10s', open = '30s' }\n\
    retry = { immediate = 0, delayed = 5, base = '1s', backoff = 'constant', jitter = 'none' }";

type Calls = Log<(u32, u32, Timestamp)>;

/// Fails while the dependency is down.
fn depending(down: &Arc<AtomicBool>, calls: &Calls) -> Service<()> {
    let (down, calls) = (Arc::clone(down), calls.clone());
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        calls.push((order.n, ctx.attempt(), ctx.now()));
        let down = down.load(Ordering::Relaxed);
        async move { if down { Err("the dependency is down".into()) } else { Ok(()) } }
    })
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_the_rate_pauses_intake_probes_once_and_closes() {
    let (bed, calls, down) = (Bed::default(), Log::default(), Arc::new(AtomicBool::new(true)));
    let running = bed.start(&mailer(BREAKER), depending(&down, &calls)).await;
    for n in 0..20 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "open", |s| s.breaker_open).await;
    let state = running.state("mailer").unwrap();
    assert!(state.broker.paused, "intake pauses");
    assert!(!state.paused, "not by the application");
    assert_eq!(calls.len(), 4, "at the minimum");
    seconds(29).await;
    assert_eq!(calls.len(), 4, "nothing runs while it is open");
    seconds(2).await;
    assert_eq!(calls.len(), 5, "one probe, which failed");
    assert!(running.state("mailer").unwrap().breaker_open);
    down.store(false, Ordering::Relaxed);
    seconds(25).await;
    assert_eq!(calls.len(), 5);
    until_handled(&running, "mailer", 20).await;
    let state = running.state("mailer").unwrap();
    assert!(!state.breaker_open && !state.broker.paused);
    assert_eq!(state.tally.retried, 5, "only what ran has spent an attempt");
    assert_eq!(state.tally.dead_letters(), 0);
    assert_eq!(calls.len(), 25);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_held_beyond_its_lease_while_it_is_open() {
    let (bed, calls, down) = (Bed::default(), Log::default(), Arc::new(AtomicBool::new(true)));
    let text = mailer(&BREAKER.replace("open = '30s'", "open = '5m'"));
    let running = bed.start(&text, depending(&down, &calls)).await;
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "open", |s| s.breaker_open).await;
    let received = tally(&running, "mailer").received;
    let other = bed.another_process().start(&text, depending(&down, &Log::default())).await;
    other.pause("mailer").unwrap();
    down.store(false, Ordering::Relaxed);
    seconds(200).await;
    assert_eq!(tally(&running, "mailer").received, received, "no lease ran out");
    until_handled(&running, "mailer", 10).await;
    let firsts = calls.all().iter().filter(|(_, attempt, _)| *attempt == 1).count();
    assert_eq!(firsts, 10);
}

#[tokio::test(start_paused = true)]
async fn permanent_errors_do_not_open_it() {
    let service = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err("this message is bad").permanent() });
    let running = Bed::default().start(&mailer(BREAKER), service).await;
    for n in 0..20 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_dead(&running, "mailer", 20).await;
    assert!(!running.state("mailer").unwrap().breaker_open);
}

#[tokio::test(start_paused = true)]
async fn a_few_failures_among_many_successes_do_not_open_it() {
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        if order.n.is_multiple_of(3) && ctx.attempt() == 1 {
            return Err::<(), HandlerError>("a third fails".into());
        }
        Ok(())
    });
    let running = Bed::default().start(&mailer(BREAKER), service).await;
    // Not three first, so that the rate is below a half all the time.
    for n in 1..=60 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 60).await;
    assert!(!running.state("mailer").unwrap().breaker_open);
}

#[tokio::test(start_paused = true)]
async fn failures_outside_the_window_are_forgotten() {
    let (bed, calls, down) = (Bed::default(), Log::default(), Arc::new(AtomicBool::new(true)));
    let text = mailer(BREAKER)
        .replace("delayed = 5, base = '1s'", "delayed = 1, base = '10m', max = '1h'");
    let running = bed.start(&text, depending(&down, &calls)).await;
    for n in 0..12 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(!running.state("mailer").unwrap().breaker_open, "three in any window");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_while_it_is_open_gives_back_what_is_held() {
    let (bed, calls, down) = (Bed::default(), Log::default(), Arc::new(AtomicBool::new(true)));
    let running = bed.start(&mailer(BREAKER), depending(&down, &calls)).await;
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "open", |s| s.breaker_open).await;
    let begin = tokio::time::Instant::now();
    let report = running.drain().await;
    assert!(report.is_clean(), "{report}");
    assert!(begin.elapsed() < Duration::from_secs(1));
    down.store(false, Ordering::Relaxed);
    let running = bed.another_process().start(&mailer(BREAKER), depending(&down, &calls)).await;
    until_handled(&running, "mailer", 10).await;
}
