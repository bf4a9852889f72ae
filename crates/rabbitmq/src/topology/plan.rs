//! How the objects stand, as far as the broker tells without the management plugin.

use lapin::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use polymq_core::broker::{ObjectState, Plan, PlannedObject};
use polymq_core::{Error, Result};

use super::difference;
use super::objects::{Object, Shape, Stage};
use super::pool::{Pool, side_by_side};
use crate::error;

/// Asks the broker for every object.
///
/// Whether one is there, everybody may ask. What it is like, only a declaration tells, which changes
/// nothing on what is there but takes the right to configure; without that right, being there is all that
/// is known. An object that somebody deletes between the two questions is made again, as configured.
pub(crate) async fn plan(pool: &Pool, stages: &[Stage]) -> Result<Plan> {
    let objects = stages.iter().flat_map(Stage::objects);
    let objects = side_by_side(objects.map(|object| look(pool, object))).await?;
    Ok(Plan { objects })
}

pub(super) fn planned(object: &Object, state: ObjectState) -> PlannedObject {
    PlannedObject {
        channel: object.channel.clone(),
        kind: object.shape.word(),
        name: object.name.to_string(),
        state,
    }
}

/// Names the object in an error.
pub(super) fn place(error: Error, object: &Object) -> Error {
    let error = error.with_context(object.shape.word(), &object.name);
    match &object.channel {
        Some(channel) => error.with_channel(channel),
        None => error,
    }
}

async fn look(pool: &Pool, object: &Object) -> Result<PlannedObject> {
    let state = state(pool, object).await.map_err(|e| place(e, object))?;
    Ok(planned(object, state))
}

async fn state(pool: &Pool, object: &Object) -> Result<ObjectState> {
    match pool.call(|channel| declare(channel, object, true)).await? {
        Ok(()) => {}
        Err(e) if error::is_not_found(&e) => return Ok(ObjectState::Missing),
        Err(e) => return Err(error::native(&e)),
    }
    if object.is_bound {
        return Ok(ObjectState::Present);
    }
    match pool.call(|channel| declare(channel, object, false)).await? {
        Ok(()) => Ok(ObjectState::Present),
        Err(e) if error::is_denied(&e) => Ok(ObjectState::Present),
        Err(e) if error::is_mismatch(&e) => {
            Ok(ObjectState::Differs(vec![difference::read(&error::text(&e), object)]))
        }
        Err(e) => Err(error::native(&e)),
    }
}

/// Declares an object, or, if `passive`, only asks for it.
pub(super) async fn declare(channel: Channel, object: &Object, passive: bool) -> lapin::Result<()> {
    let (name, arguments) = (object.name.clone(), object.arguments.clone());
    match &object.shape {
        Shape::Exchange(kind) => {
            let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
            channel.exchange_declare(name, kind.clone(), options, arguments).await
        }
        Shape::Queue => {
            let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
            channel.queue_declare(name, options, arguments).await.map(drop)
        }
    }
}
