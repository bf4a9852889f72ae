//! How long a retry waits, and when there is none.

use std::time::Duration;

use polymq_core::{Context, HandlerError, ResultExt, Service, Timestamp};
use polymq_tests::bed::{Bed, Log, Order, mailer, order, until_dead};

/// The waits between failed attempts of a message with this id, in milliseconds, as recorded.
async fn waits(retry: &str, id: &str) -> (Vec<u64>, String) {
    let (bed, waits, reason) = (Bed::default(), Log::default(), Log::default());
    let service = {
        let (waits, reason) = (waits.clone(), reason.clone());
        let failed: Log<Timestamp> = Log::default();
        let at = failed.clone();
        Service::new(())
            .on("mailer", move |_: Order, ctx: Context<()>| {
                at.push(ctx.now());
                async { Err::<(), HandlerError>("no".into()) }
            })
            .on_retry(move |r| {
                let failed = *failed.all().last().unwrap();
                waits.push(r.due.saturating_since(failed).as_millis() as u64);
            })
            .on_dead_letter(move |d| {
                reason.push(d.reason.to_string());
            })
    };
    let running = bed.start(&mailer(&format!("retry = {{ {retry} }}")), service).await;
    let message = polymq_core::Message::of(&order(1)).unwrap().with_id(id);
    running.publisher().publish_message("orders", message).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    (waits.all(), reason.all().concat())
}

#[tokio::test(start_paused = true)]
async fn backoffs_grow_as_they_are_called_up_to_the_cap() {
    for (backoff, wanted) in [
        ("constant", [2, 2, 2, 2, 2]),
        ("linear", [2, 4, 6, 8, 10]),
        ("exponential", [2, 4, 8, 10, 10]),
    ] {
        let retry = format!(
            "immediate = 0, delayed = 5, backoff = '{backoff}', base = '2s', max = '10s', \
             jitter = 'none'"
        );
        let wanted = wanted.map(|s| s * 1000);
        assert_eq!(waits(&retry, "id").await, (wanted.to_vec(), "retries-exhausted".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_bounds_and_can_be_recomputed_from_id_and_attempt() {
    let plain = [2000, 4000, 8000, 10_000, 10_000];
    for jitter in ["full", "equal", "decorrelated"] {
        let retry =
            format!("immediate = 0, delayed = 5, base = '2s', max = '10s', jitter = '{jitter}'");
        let first = waits(&retry, "id-1").await.0;
        assert_eq!(first, waits(&retry, "id-1").await.0, "the same message waits the same");
        assert_ne!(first, waits(&retry, "id-2").await.0, "another one waits otherwise");
        for (wait, plain) in first.iter().zip(plain) {
            match jitter {
                "full" => assert!(*wait <= plain, "{first:?}"),
                "equal" => assert!(*wait >= plain / 2 && *wait <= plain, "{first:?}"),
                _ => assert!(*wait >= 2000 && *wait <= 10_000, "{first:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_later_than_max_elapsed_after_the_first_failure() {
    let retry = "immediate = 0, delayed = 9, backoff = 'constant', base = '10s', jitter = 'none', \
                 max_elapsed = '35s'";
    let (waits, reason) = waits(retry, "id").await;
    assert_eq!(waits, [10_000; 3]);
    assert_eq!(reason, "max-elapsed");
}

#[tokio::test(start_paused = true)]
async fn an_error_class_has_its_own_limit_of_attempts() {
    let (bed, calls) = (Bed::default(), Log::default());
    let service = {
        let calls = calls.clone();
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            calls.push(order.n);
            async move { if order.n == 1 { Err("no").class("smtp") } else { Err("no".into()) } }
        })
    };
    let text = mailer("retry = { immediate = 5, delayed = 0, limits = { smtp = 2 } }");
    let running = bed.start(&text, service).await;
    for n in [1, 2] {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_dead(&running, "mailer", 2).await;
    let count = |n| calls.all().iter().filter(|m| **m == n).count();
    assert_eq!((count(1), count(2)), (2, 6));
}

#[tokio::test(start_paused = true)]
async fn without_retries_the_first_failure_is_the_last() {
    assert_eq!(
        waits("immediate = 0, delayed = 0", "id").await,
        (vec![], "retries-exhausted".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_days_is_kept() {
    let retry = "immediate = 0, delayed = 1, base = '3d', max = '7d', jitter = 'none'";
    let begin = tokio::time::Instant::now();
    let service = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err::<(), HandlerError>("no".into()) });
    let running = Bed::default().start(&mailer(&format!("retry = {{ {retry} }}")), service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3 * 86_400 - 1)).await;
    assert_eq!(running.state("mailer").unwrap().tally.dead_letters(), 0);
    until_dead(&running, "mailer", 1).await;
    assert!(begin.elapsed() >= Duration::from_secs(3 * 86_400));
}
