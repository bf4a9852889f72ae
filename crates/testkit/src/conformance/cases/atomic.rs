//! Where the broker can: sends and ack happen both or not at all.

use std::sync::Arc;

use anyhow::{Result, ensure};
use polymq_core::broker::{Capability, Destination, Send, Settlement, Unit};
use polymq_core::{Context, ErrorKind, HandlerError, Message, Service};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Readers, Scene, channel, note, publish, queue, receive, settle, soon, subscribe,
    texts, until,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

const ATOMIC: Need = Need::Has(Capability::Atomic);

pub(super) const CASES: &[Case] = &[
    case!(
        "atomic-commit",
        atomic_commit,
        [ATOMIC],
        "A committed unit's sends are there and its delivery is gone."
    ),
    case!(
        "atomic-abort",
        atomic_abort,
        [ATOMIC],
        "A unit with a send that is refused, or a stale token, leaves no send and its delivery unsettled."
    ),
    case!(
        "outputs",
        outputs,
        [],
        "The outputs of a handler that succeeded are published once each; of one that failed, none."
    ),
];

fn output(to: &str, id: &str) -> Result<Send> {
    let message = Message::new(id.to_owned()).with_id(id);
    Ok(Send::new(Destination::Channel(channel(to)?), message))
}

async fn atomic_commit(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("in")?, queue("out")?]).await?;
    let (inputs, outputs) = (Ledger::default(), Arc::new(Ledger::default()));
    publish(&*broker, &inputs, "in", texts("m", 20)).await?;
    let consumer = subscribe(&*broker, "in", "in", 20).await?;
    let got = receive(&*consumer, 20).await?;
    note(&inputs, &got);
    let mut units = Vec::new();
    for (n, delivery) in got.iter().enumerate() {
        let ids = [format!("a-{n}"), format!("b-{n}")];
        ids.iter().for_each(|id| outputs.sent(id, None));
        let sends: Result<Vec<_>> = ids.iter().map(|id| output("out", id)).collect();
        units.push(Unit { token: delivery.token, sends: sends? });
    }
    for (n, committed) in consumer.commit(units, soon()).await.into_iter().enumerate() {
        committed?;
        outputs.confirmed(&format!("a-{n}"));
        outputs.confirmed(&format!("b-{n}"));
    }
    for result in consumer.settle(&[(got[0].token, Settlement::Ack)], soon()).await {
        let kind = result.err().map(|e| e.kind());
        ensure!(kind == Some(ErrorKind::StaleToken), "a committed one was settled: {kind:?}");
    }
    Readers::start([subscribe(&*broker, "out", "out", 50).await?], &outputs)
        .finish(&outputs, 40)
        .await?;
    Ok([inputs.arrived(0)?, outputs.arrived(0)?].into_iter().sum())
}

async fn atomic_abort(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("in")?, queue("out")?]).await?;
    let (inputs, outputs) = (Ledger::default(), Arc::new(Ledger::default()));
    publish(&*broker, &inputs, "in", texts("m", 3)).await?;
    let consumer = subscribe(&*broker, "in", "in", 3).await?;
    let got = receive(&*consumer, 3).await?;
    settle(&*consumer, &got[2..], Settlement::Ack).await?;
    let limit = broker.capabilities(&queue("out")?).limits.max_message_bytes;
    let mut oversize = output("out", "oversize")?;
    oversize.message.set_payload(Some(vec![0; limit + 1].into()));
    let units = vec![
        Unit { token: got[0].token, sends: vec![output("out", "lost")?, oversize] },
        Unit { token: got[1].token, sends: vec![output("out", "good")?] },
        Unit { token: got[2].token, sends: vec![output("out", "stale")?] },
    ];
    let failed: Vec<bool> =
        consumer.commit(units, soon()).await.iter().map(std::result::Result::is_err).collect();
    ensure!(failed == [true, false, true], "failed: {failed:?}");
    outputs.sent("good", None);
    outputs.confirmed("good");
    note(&inputs, &got[1..]);
    settle(&*consumer, &got[..1], Settlement::Release).await?;
    let again = receive(&*consumer, 1).await?;
    note(&inputs, &again);
    settle(&*consumer, &again, Settlement::Ack).await?;
    publish(&*broker, &outputs, "out", texts("end", 1)).await?;
    Readers::start([subscribe(&*broker, "out", "out", 50).await?], &outputs)
        .finish(&outputs, 2)
        .await?;
    Ok([inputs.arrived(0)?, outputs.arrived(0)?].into_iter().sum())
}

async fn outputs(fixture: &dyn Fixture) -> Result<Tally> {
    async fn relay(message: Message, ctx: Context<()>) -> Result<(), HandlerError> {
        let text = String::from_utf8_lossy(message.payload().map_or(b"", |p| p)).into_owned();
        ctx.publish_message("out", Message::new(format!("{text} {}", ctx.attempt())))?;
        if ctx.attempt() == 1 && text.ends_with('7') {
            return Err("once".into());
        }
        Ok(())
    }
    async fn collect(message: Message, ctx: Context<Arc<Ledger>>) -> Result<(), HandlerError> {
        let text = String::from_utf8_lossy(message.payload().map_or(b"", |p| p)).into_owned();
        ctx.state().received(&text);
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let ledger = Arc::new(Ledger::default());
    let tables = "[channels.in]\nkind = 'queue'\n[channels.out]\nkind = 'queue'\n\
                  [consumers.relay]\nchannel = 'in'\noutputs = ['out']\n\
                  retry = { immediate = 1, delayed = 0 }\n";
    let relaying = scene.start(tables, Service::new(()).on("relay", relay)).await?;
    let tables = "[channels.out]\nkind = 'queue'\n[consumers.collect]\nchannel = 'out'\n";
    let service = Service::new(Arc::clone(&ledger)).on("collect", collect);
    let collecting = scene.start(tables, service).await?;
    for n in 0..50 {
        let id = format!("m-{n} {}", if n % 10 == 7 { 2 } else { 1 });
        ledger.sent(&id, None);
        ledger.confirmed(&id);
    }
    for outcome in relaying.publisher().publish_all("in", texts("m", 50)).await? {
        outcome.into_result()?;
    }
    until("all outputs came", || ledger.distinct() == 50).await?;
    for running in [relaying, collecting] {
        let report = running.drain().await;
        ensure!(report.is_clean(), "{report}");
    }
    ledger.arrived(0)
}
