use crate::model::{Message, Payload};
use crate::{Error, ErrorKind, Result};

/// What a handler takes: a typed payload, or the message as it is.
///
/// A handler of a [`Payload`] gets the messages of its type. A handler of [`Message`] is a raw one:
/// it gets every message that no typed handler of the consumer takes, without decoding.
pub trait Input: Sized + Send + 'static {
    /// The message type it stands for; `None` for every type.
    const TYPE: Option<&'static str>;

    /// Reads it from a message.
    ///
    /// # Errors
    /// `Malformed`: the message is dead-lettered at once.
    fn from_message(message: &Message) -> Result<Self>;
}

impl<P: Payload> Input for P {
    const TYPE: Option<&'static str> = Some(P::TYPE);

    fn from_message(message: &Message) -> Result<Self> {
        match message.payload() {
            Some(bytes) => P::decode(bytes),
            None => Err(Error::new(
                ErrorKind::Malformed,
                format!("a tombstone has no payload to read as `{}`", P::TYPE),
            )
            .with_operation("decode")
            .with_help("handle tombstones in a raw handler, one that takes a Message")),
        }
    }
}

impl Input for Message {
    const TYPE: Option<&'static str> = None;

    fn from_message(message: &Message) -> Result<Self> {
        Ok(message.clone())
    }
}
