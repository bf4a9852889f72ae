//! What travels: messages, their names and their deliveries.

mod delivery;
mod headers;
pub mod hop;
mod id;
mod message;
mod name;
mod payload;
mod subject;
mod timestamp;

pub use delivery::{Delivery, Origin, Position};
pub use headers::{Headers, RESERVED_PREFIX};
pub use id::MessageId;
pub use message::Message;
pub(crate) use name::check as check_name;
pub use name::{ChannelName, ConsumerName, GroupName, MAX_NAME_LEN, Namespace};
pub use payload::Payload;
pub use subject::{MAX_PATTERN_LEN, SubjectPattern};
pub use timestamp::Timestamp;
