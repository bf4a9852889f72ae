//! A service is killed while messages wait for their retry.

use std::collections::BTreeMap;
use std::time::Duration;

use polymq_core::{Message, Service};
use polymq_tests::bed::depth_of_group;
use polymq_tests::real::{Deed, Note, Place, Reader, Series, eventually, start};

use crate::programs::worker;

on_each_series!(a_retry_that_waits_outlives_its_process_with_delay_and_attempt);

/// Longer than the next process takes to start.
const DELAY: Duration = Duration::from_secs(3);
/// A retry is late by no more, on an idle consumer.
const LATE: Duration = Duration::from_secs(1);
const MESSAGES: usize = 20;

fn config(delay: Duration) -> String {
    let retry = format!(
        "{{ immediate = 0, delayed = 2, backoff = 'constant', base = '{}s', jitter = 'none' }}",
        delay.as_secs()
    );
    format!(
        "[channels.orders]\nkind = 'queue'\n[consumers.worker]\nchannel = 'orders'\nretry = {retry}\n"
    )
}

async fn a_retry_that_waits_outlives_its_process_with_delay_and_attempt(series: Series) {
    let place = Place::shared(series).await;
    let delay = DELAY + place.notices_within();
    let (config, journal) = (place.config(&config(delay)), place.folder().path("attempts"));
    let mut attempts = Reader::follow(&journal);
    let killed = worker(&config, &journal, 0);
    let killed_id = killed.id();
    let shop = start(&config, Service::new(())).await;
    let order = |n| Message::new("an order").with_id(format!("m-{n}")).with_header("fails", "1");
    for outcome in shop.publisher().publish_all("orders", (0..MESSAGES).map(order)).await.unwrap() {
        outcome.into_result().unwrap();
    }
    eventually("all failed once, and wait in the broker", async || {
        let delayed = place.delayed(&shop, "orders").await;
        let seen = (attempts.count(Deed::Failed), delayed, depth_of_group(&shop, "orders").await);
        if seen == (MESSAGES, MESSAGES as u64, 0) { Ok(()) } else { Err(seen) }
    })
    .await;
    // The copies are confirmed; where the broker doesn't tell what is in hand, the acks of the originals
    // may still be on their way. Killed before, the process would leave both, as documented.
    tokio::time::sleep(Duration::from_millis(100)).await;
    killed.kill().await;

    let next = worker(&config, &journal, 0);
    eventually("all are handled", async || {
        let handled = attempts.count(Deed::Handled);
        if handled == MESSAGES { Ok(()) } else { Err(handled) }
    })
    .await;
    let next_id = next.id();
    next.terminate().await.assert_success();

    let mut latest = Duration::ZERO;
    for (id, notes) in by_id(attempts.notes()) {
        let story: Vec<_> = notes.iter().map(|n| (n.pid, n.deed, n.attempt)).collect();
        let expected = [
            (killed_id, Deed::Began, 1),
            (killed_id, Deed::Failed, 1),
            (next_id, Deed::Began, 2),
            (next_id, Deed::Handled, 2),
        ];
        assert_eq!(story, expected, "{id}");
        let waited = notes[2].at - notes[1].at;
        assert!(waited >= delay, "{id} came after {waited:?}");
        latest = latest.max(waited - delay);
    }
    println!(
        "{}: {MESSAGES} retries after SIGKILL, none early, {latest:?} late at most",
        place.label()
    );
    assert!(latest <= LATE, "{latest:?} late");
    drop(shop);
}

fn by_id(notes: &[Note]) -> BTreeMap<&str, Vec<&Note>> {
    let mut stories = BTreeMap::<_, Vec<_>>::new();
    for note in notes {
        stories.entry(note.id.as_str()).or_default().push(note);
    }
    stories
}
