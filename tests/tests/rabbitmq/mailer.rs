//! A service that several scenarios run: it notes the ids of the orders that it handles.

use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::Log;

pub(crate) const ORDERS: &str = r#"
[channels.orders]
kind = "queue"
[consumers.mailer]
channel = "orders"
"#;

async fn handle(message: Message, ctx: Context<Log<String>>) -> Result<(), HandlerError> {
    ctx.state().push(message.id().expect("an id").to_string());
    Ok(())
}

pub(crate) fn service(log: &Log<String>) -> Service<Log<String>> {
    Service::new(log.clone()).on("mailer", handle)
}
