use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind};

/// A type that travels as a message's payload.
///
/// The type names itself once; publishers stamp the name, consumers dispatch by it. The provided
/// codec is JSON; override [`encode`](Payload::encode), [`decode`](Payload::decode) and
/// [`CONTENT_TYPE`](Payload::CONTENT_TYPE) together for another one.
///
/// ```
/// use polymq_core::{Message, Payload};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct OrderPlaced {
///     order: String,
/// }
/// impl Payload for OrderPlaced {
///     const TYPE: &'static str = "order.placed";
///     fn key(&self) -> Option<&[u8]> {
///         Some(self.order.as_bytes())
///     }
/// }
///
/// let message = Message::of(&OrderPlaced { order: "42".into() })?;
/// assert_eq!(message.payload().unwrap(), r#"{"order":"42"}"#);
/// assert_eq!(message.key().unwrap(), "42");
/// # Ok::<(), polymq_core::Error>(())
/// ```
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The type's name on the wire. Never change it: old messages carry it.
    const TYPE: &'static str;
    /// The media type of the encoded bytes.
    const CONTENT_TYPE: &'static str = "application/json";
    /// The version of the schema, where the type has versions.
    const SCHEMA_VERSION: Option<u32> = None;

    /// The key that ordered channels order by. Default: none.
    fn key(&self) -> Option<&[u8]> {
        None
    }

    /// The payload as bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the value has no encoding.
    fn encode(&self) -> Result<Bytes, Error> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|e| {
            Error::new(
                ErrorKind::Malformed,
                format!("a payload of type `{}` has no JSON", Self::TYPE),
            )
            .with_operation("encode")
            .with_source(e)
        })
    }

    /// The payload from bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]; the message is dead-lettered at once, with its raw bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::new(
                ErrorKind::Malformed,
                format!("the payload is not the JSON of type `{}`", Self::TYPE),
            )
            .with_operation("decode")
            .with_source(e)
        })
    }
}
