//! A service that several scenarios run: it notes the ids of the orders that it handles.

use polymq_core::{Context, HandlerError, Message, Service};

use crate::bed::Log;

/// What it is configured with.
pub const ORDERS: &str = r#"
[channels.orders]
kind = "queue"
[consumers.mailer]
channel = "orders"
"#;

async fn handle(_: Message, ctx: Context<Log<String>>) -> Result<(), HandlerError> {
    ctx.state().push(ctx.id().to_string());
    Ok(())
}

/// The service, whose ids go into this log.
#[must_use]
pub fn service(log: &Log<String>) -> Service<Log<String>> {
    Service::new(log.clone()).on("mailer", handle)
}
