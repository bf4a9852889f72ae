//! How objects and bindings stand, by the management plugin: everything that differs, declaring nothing.

use std::collections::BTreeSet;

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use polymq_core::Result;
use polymq_core::broker::{Difference, ObjectState, Plan, PlannedObject};
use serde_json::{Map, Value};

use super::difference::between;
use super::objects::{Binding, Object, Shape, Stage};
use super::plan::{place, planned};
use super::pool::side_by_side;
use crate::management::Management;

/// Looks at every object and every binding.
pub(crate) async fn compare(management: &Management<'_>, stages: &[Stage]) -> Result<Plan> {
    let mut plan = Plan::default();
    for stage in stages {
        let objects = stage.objects().map(|object| look(management, object));
        plan.objects.extend(side_by_side(objects).await?);
        let bindings = stage.bindings.iter().map(|binding| look_at_binding(management, binding));
        plan.objects.extend(side_by_side(bindings).await?);
    }
    Ok(plan)
}

async fn look(management: &Management<'_>, object: &Object) -> Result<PlannedObject> {
    let state = state(management, object).await.map_err(|e| place(e, object))?;
    Ok(planned(object, state))
}

async fn look_at_binding(management: &Management<'_>, binding: &Binding) -> Result<PlannedObject> {
    let Binding { channel, exchange, queue, routing_key } = binding;
    let found = management.routing_keys(exchange, queue).await?;
    let state = match found.iter().any(|key| key == routing_key.as_str()) {
        true => ObjectState::Present,
        false => ObjectState::Missing,
    };
    let name = format!("{exchange} → {queue} ({routing_key})");
    Ok(PlannedObject { channel: channel.clone(), kind: "binding", name, state })
}

async fn state(management: &Management<'_>, object: &Object) -> Result<ObjectState> {
    let mut found = Vec::new();
    let arguments = match &object.shape {
        Shape::Queue => management.queue(&object.name).await?.map(|queue| {
            found.push(("durable", "true", queue.durable.to_string()));
            found.push(("auto_delete", "false", queue.auto_delete.to_string()));
            found.push(("exclusive", "false", queue.exclusive.to_string()));
            queue.arguments
        }),
        Shape::Exchange(kind) => management.exchange(&object.name).await?.map(|exchange| {
            found.push(("type", kind_name(kind), exchange.kind));
            found.push(("durable", "true", exchange.durable.to_string()));
            exchange.arguments
        }),
    };
    let Some(arguments) = arguments else { return Ok(ObjectState::Missing) };
    if object.is_bound {
        return Ok(ObjectState::Present);
    }
    let properties = found
        .iter()
        .filter(|(_, wanted, found)| wanted != found)
        .map(|(name, wanted, found)| between(name, wanted, found, object));
    let differences: Vec<_> = properties.chain(differing(&arguments, object)).collect();
    Ok(match differences.is_empty() {
        true => ObjectState::Present,
        false => ObjectState::Differs(differences),
    })
}

fn differing(found: &Map<String, Value>, object: &Object) -> Vec<Difference> {
    let wanted = |name: &str| wanted(&object.arguments, name);
    let found_as_text = |name: &str| match found.get(name) {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let names = object.arguments.inner().keys().map(|name| name.as_str());
    let names: BTreeSet<&str> = names.chain(found.keys().map(String::as_str)).collect();
    let pairs = names.into_iter().map(|name| (name, wanted(name), found_as_text(name)));
    pairs
        .filter(|(_, wanted, found)| wanted != found)
        .map(|(name, wanted, found)| between(name, &wanted, &found, object))
        .collect()
}

fn wanted(arguments: &FieldTable, name: &str) -> String {
    match arguments.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::LongLongInt(number)) => number.to_string(),
        Some(AMQPValue::Boolean(flag)) => flag.to_string(),
        Some(other) => format!("{other:?}"),
        None => "none".to_owned(),
    }
}

/// The name of an exchange's type.
fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Custom(name) => name,
    }
}
