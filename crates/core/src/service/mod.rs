//! What an application brings: its state, and handlers for the messages of its consumers.

mod context;
mod endpoint;
mod handler_error;
mod hooks;
mod input;
mod middleware;
mod service;

pub use context::Context;
pub use handler_error::{HandlerError, ResultExt};
pub use hooks::{DeadLettered, Retried};
pub use input::Input;
pub use middleware::{Call, Middleware, Next};
pub use service::Service;

pub(crate) use context::{Attempt, Output, Scope};
pub(crate) use endpoint::{AttemptFuture, BatchEndpoint, Endpoint, Gathering, empty_future};
pub(crate) use handler_error::{CLASS_OUTPUT, CLASS_PANIC, CLASS_TIMEOUT};
pub(crate) use hooks::Hooks;
pub(crate) use service::{Binding, Identity};
