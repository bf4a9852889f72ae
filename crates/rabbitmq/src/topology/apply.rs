//! Makes what is missing.

use std::collections::HashSet;

use lapin::Channel;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use polymq_core::broker::{Difference, Plan, PlannedObject};
use polymq_core::{Error, ErrorKind, Result};

use super::objects::{Binding, Object, Stage};
use super::plan::{declare, place};
use super::pool::{Pool, side_by_side};
use crate::error;

/// What to do without the right to declare.
const NO_RIGHT: &str = "let somebody with the rights apply the topology (`polymq topology apply`) and \
    set `topology = \"check\"`, or grant them: `rabbitmqctl set_permissions` (configure to declare; to \
    bind, write on the queue and read on the exchange)";

/// Makes the objects that `plan` says are missing, and every binding: made twice, either is the same as
/// made once, so several processes can do it side by side.
pub(crate) async fn apply(pool: &Pool, stages: &[Stage], plan: &Plan) -> Result<()> {
    let differing: Vec<String> = plan.differing().map(|(o, d)| differs(o, d)).collect();
    if !differing.is_empty() {
        return Err(Error::new(ErrorKind::TopologyMismatch, differing.join("; ")).with_help(
            "an existing object is never changed: correct the configuration, or move to a new channel",
        ));
    }
    let missing: HashSet<(&str, &str)> =
        plan.missing().map(|object| (object.kind, object.name.as_str())).collect();
    let is_missing = |o: &&Object| missing.contains(&(o.shape.word(), o.name.as_str()));
    let gone = stages.iter().flat_map(Stage::objects).find(|o| o.is_bound && is_missing(o));
    if let Some(object) = gone {
        let text = format!("there is no {} `{}`", object.shape.word(), object.name);
        return Err(place(Error::new(ErrorKind::NotFound, text), object).with_help(
            "the channel's table is bound to it by name: create it, or remove the name to use an object \
             of polymq's own",
        ));
    }
    for stage in stages {
        let (queues, exchanges) = (stage.queues.iter(), stage.exchanges.iter());
        side_by_side(queues.filter(is_missing).map(|queue| make(pool, queue))).await?;
        side_by_side(exchanges.filter(is_missing).map(|exchange| make(pool, exchange))).await?;
        side_by_side(stage.bindings.iter().map(|binding| bind(pool, binding))).await?;
    }
    Ok(())
}

fn differs(object: &PlannedObject, differences: &[Difference]) -> String {
    let list: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is {}, the configuration says {}", d.field, d.found, d.wanted))
        .collect();
    format!("the {} `{}` differs: {}", object.kind, object.name, list.join(", "))
}

async fn make(pool: &Pool, object: &Object) -> Result<()> {
    let declared = pool.call(|channel| declare(channel, object, false)).await?;
    declared.map_err(|e| place(translate(&e), object))
}

async fn bind(pool: &Pool, binding: &Binding) -> Result<()> {
    let Binding { queue, exchange, routing_key, .. } = binding.clone();
    let bound = pool.call(async move |channel: Channel| {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue, exchange, routing_key, options, arguments).await
    });
    bound.await?.map_err(|e| {
        let error = translate(&e)
            .with_context("exchange", &binding.exchange)
            .with_context("queue", &binding.queue);
        match &binding.channel {
            Some(channel) => error.with_channel(channel),
            None => error,
        }
    })
}

fn translate(native: &lapin::Error) -> Error {
    let translated = error::native(native);
    match translated.kind() {
        ErrorKind::PermissionDenied => translated.with_help(NO_RIGHT),
        _ => translated,
    }
}
