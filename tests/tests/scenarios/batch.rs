//! A service with batches gets company while one of them is in hand.

use std::time::Duration;

use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::{Place, Series, eventually, start};

on_each_series!(a_batch_in_hand_is_finished_by_who_has_it_when_another_process_joins);

const MESSAGES: usize = 200;
/// Longer than a group takes to notice that somebody joined.
const WORK: Duration = Duration::from_secs(2);

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
order_by = "key"
[consumers.mailer]
channel = "orders"
prefetch = 50
concurrency = 1
batch = { max = 50, linger = "100ms" }
"#;

/// Begun and ended batches, as the ids in them.
type Batches = Log<(bool, Vec<String>)>;

fn service(log: &Batches) -> Service<Batches> {
    Service::new(log.clone()).on_batch("mailer", async |batch: Vec<(Message, Context<Batches>)>| {
        let Some((_, first)) = batch.first() else { return Ok(Vec::new()) };
        let ids: Vec<_> = batch.iter().map(|(_, ctx)| ctx.id().to_string()).collect();
        first.state().push((false, ids.clone()));
        tokio::time::sleep(WORK).await;
        first.state().push((true, ids));
        Ok::<_, HandlerError>(batch.iter().map(|_| Ok(())).collect())
    })
}

async fn a_batch_in_hand_is_finished_by_who_has_it_when_another_process_joins(series: Series) {
    let place = Place::shared(series).await;
    let (config, log) = (place.config(CONFIG), Batches::default());
    let first = start(&config, service(&log)).await;
    let order = |n| Message::new("").with_id(format!("m-{n}")).with_key(format!("k{}", n % 40));
    for outcome in first.publisher().publish_all("orders", (0..MESSAGES).map(order)).await.unwrap()
    {
        outcome.into_result().unwrap();
    }
    eventually("a batch is in hand", async || match log.len() {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    let second = start(&config, service(&log)).await;
    let done = || log.all().into_iter().filter(|(ended, _)| *ended).flat_map(|(_, ids)| ids);
    eventually("all are handled", async || match done().count() {
        count if count >= MESSAGES => Ok(()),
        count => Err(count),
    })
    .await;
    for running in [first, second] {
        let report = running.drain().await;
        assert!(report.is_clean(), "{report}");
    }
    let (total, distinct) =
        (done().count(), done().collect::<std::collections::HashSet<_>>().len());
    assert_eq!((total, distinct), (MESSAGES, MESSAGES));
}
