//! What cannot be handled ends in the dead-letter channel, whole, with the reason.

use anyhow::{Context as _, Result, ensure};
use polymq_core::broker::Capability;
use polymq_core::model::hop;
use polymq_core::{
    Clock, Context, HandlerError, Headers, Message, Payload, ResultExt, Service, SystemClock,
};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Probe, Scene, id_of, publish, queue, read_dead_letters, receive, subscribe, texts,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "dead-letter-content",
        dead_letter_content,
        [Need::Has(Capability::DelayedRetry)],
        "A dead letter is the original byte for byte, with reason, error chain, attempts, times and source."
    ),
    case!(
        "dead-letter-permanent",
        dead_letter_permanent,
        [],
        "A permanent error is dead-lettered after one attempt; the other messages are handled."
    ),
    case!(
        "crash-loop",
        crash_loop,
        [Need::Has(Capability::DeliveryCount)],
        "A message that was handed out more than `max_deliveries` times without an end is dead-lettered unhandled."
    ),
    case!(
        "dead-letter-undecodable",
        dead_letter_undecodable,
        [],
        "A payload that cannot be read is dead-lettered at once, with its raw bytes."
    ),
];

async fn dead_letter_content(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| {
        let cause = std::io::Error::other("disk gone");
        Err(anyhow::Error::from(cause).context("cannot save").into())
    });
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
                  dead_letter = 'grave'\n\
                  retry = { immediate = 1, delayed = 1, base = '200ms', jitter = 'none' }\n";
    let running = scene.start(tables, service).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let sent = Message::new(bytes.clone())
        .with_id("m")
        .with_key("k")
        .with_type("t")
        .with_correlation_id("c")
        .with_header("raw", bytes);
    let begin = SystemClock.now();
    probe.publish(&running, "q", vec![sent.clone()]).await?;
    let letter = read_dead_letters(&running, "grave", 1).await?.remove(0);
    let end = SystemClock.now();
    probe.ledger.received("m");
    ensure!(letter.payload() == sent.payload(), "the payload changed");
    ensure!(letter.headers().get("raw") == sent.headers().get("raw"), "a header changed");
    ensure!(
        (letter.id(), letter.key(), letter.message_type(), letter.correlation_id())
            == (sent.id(), sent.key(), sent.message_type(), sent.correlation_id()),
        "a field changed: {letter:?}"
    );
    let broker = &running.broker_of("q")?.info().name;
    for (name, wanted) in [
        (hop::DEAD_LETTER_REASON, "retries-exhausted"),
        (hop::DEAD_LETTER_ATTEMPTS, "3"),
        (hop::DEAD_LETTER_CHANNEL, "q"),
        (hop::DEAD_LETTER_GROUP, "q"),
        (hop::DEAD_LETTER_BROKER, broker),
        (hop::DEAD_LETTER_ERROR, "cannot save\ndisk gone"),
    ] {
        let found = letter.headers().get_str(name);
        ensure!(found == Some(wanted), "`{name}` is {found:?}, not {wanted:?}");
    }
    let first = time(letter.headers(), hop::FIRST_FAILURE)?;
    let last = time(letter.headers(), hop::DEAD_LETTER_LAST_FAILURE)?;
    ensure!(begin.as_millis() <= first && last <= end.as_millis(), "times: {first}, {last}");
    ensure!(last >= first + 200, "the last failure, {last}, does not follow the first, {first}");
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    ensure!(report.consumers[0].tally.dead_letters() == 1, "{report}");
    probe.ledger.arrived(0)
}

fn time(headers: &Headers, name: &str) -> Result<u64> {
    let text = headers.get_str(name).with_context(|| format!("no `{name}`"))?;
    Ok(text.parse()?)
}

async fn dead_letter_permanent(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|seen| match seen.id.as_str() {
        "m-5" | "m-6" => Err("no address").permanent(),
        _ => Ok(()),
    });
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n";
    let running = scene.start(tables, service).await?;
    probe.publish(&running, "q", texts("m", 20)).await?;
    probe.handled(18).await?;
    for letter in read_dead_letters(&running, "q-dead", 2).await? {
        let reason = letter.headers().get_str(hop::DEAD_LETTER_REASON);
        ensure!(reason == Some("permanent"), "dead-lettered as {reason:?}");
        probe.ledger.received(letter.id().context("no id")?.as_str());
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    ensure!(probe.attempts() == 20, "{} attempts at 20 messages", probe.attempts());
    probe.ledger.arrived(0)
}

async fn crash_loop(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    publish(&*broker, &probe.ledger, "q", texts("m", 1)).await?;
    for _ in 0..3 {
        let crashing = subscribe(&*broker, "q", "q", 1).await?;
        receive(&*crashing, 1).await?;
    }
    let tables =
        "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\nmax_deliveries = 3\n";
    let running = scene.start(tables, service).await?;
    let letter = read_dead_letters(&running, "q-dead", 1).await?.remove(0);
    let reason = letter.headers().get_str(hop::DEAD_LETTER_REASON);
    ensure!(reason == Some("crash-loop"), "dead-lettered as {reason:?}");
    ensure!(probe.attempts() == 0, "it was handled once more");
    probe.ledger.received(&id_of(&letter));
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    number: u32,
}

impl Payload for Order {
    const TYPE: &'static str = "order";
}

async fn dead_letter_undecodable(fixture: &dyn Fixture) -> Result<Tally> {
    async fn handle(order: Order, _: Context<()>) -> Result<(), HandlerError> {
        Err(format!("order {} was made up", order.number).into())
    }
    const BROKEN: &[u8] = b"{\xff not json";
    let scene = Scene::new(fixture).await?;
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n";
    let service = Service::new(()).on("handler", handle);
    let running = scene.start(tables, service).await?;
    let broken = Message::new(BROKEN).with_id("broken").with_type("order");
    let unknown = Message::new("{}").with_id("unknown").with_type("refund");
    let ledger = Ledger::default();
    for message in [broken, unknown] {
        let id = id_of(&message);
        ledger.sent(&id, None);
        running.publisher().publish_message("q", message).await?;
        ledger.confirmed(&id);
    }
    for letter in read_dead_letters(&running, "q-dead", 2).await? {
        let id = id_of(&letter);
        let (reason, payload) = match id.as_str() {
            "broken" => ("undecodable", BROKEN),
            _ => ("unknown-type", b"{}".as_slice()),
        };
        let found = letter.headers().get_str(hop::DEAD_LETTER_REASON);
        ensure!(found == Some(reason), "{id} was dead-lettered as {found:?}");
        ensure!(letter.payload().is_some_and(|p| p == payload), "{id} has another payload");
        ledger.received(&id);
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    ledger.arrived(0)
}
