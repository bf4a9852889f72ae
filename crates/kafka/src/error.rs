//! Every error of this adapter, and the only place where native ones are translated.

use polymq_core::broker::{Capability, Destination, Source};
use polymq_core::{ChannelName, Error, ErrorKind, GroupName};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Translates what librdkafka says.
pub(crate) fn native(error: &KafkaError) -> Error {
    match code(error) {
        Some(code) => by_code(code),
        None => Error::new(ErrorKind::Other, error.to_string()),
    }
    .with_source(error.clone())
}

/// The broker's or librdkafka's own code.
pub(crate) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// Translates a code by what it means to whoever reads it.
pub(crate) fn by_code(code: Code) -> Error {
    let (kind, help) = meaning(code);
    let error = Error::new(kind, code.to_string());
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// What a code means for something that has a name.
pub(crate) fn about(code: Code, what: &str) -> Error {
    let (kind, help) = meaning(code);
    let error = Error::new(kind, format!("{what}: {code}"));
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// What librdkafka reported outside any operation, in its own words.
pub(crate) fn reported(code: Code, reason: &str) -> Error {
    let (kind, help) = meaning(code);
    let error = Error::new(kind, reason.to_owned());
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

fn meaning(code: Code) -> (ErrorKind, Option<&'static str>) {
    use ErrorKind as K;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NetworkException
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::KafkaStorageError
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::WaitingForCoordinator
        | Code::DestroyBroker => (K::Disconnected, None),
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::TimedOutQueue => (K::Timeout, None),
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => (
            K::Blocked,
            Some(
                "fewer replicas are in sync than `min.insync.replicas` of the topic: bring brokers back, or lower it",
            ),
        ),
        Code::QueueFull | Code::ThrottlingQuotaExceeded => (K::Blocked, None),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::IllegalSASLState
        | Code::UnsupportedSASLMechanism => (
            K::Unauthenticated,
            Some(
                "correct the user and password of the URL, `password_file`, or `sasl` in [broker.kafka]",
            ),
        ),
        Code::SSL => (
            K::Unauthenticated,
            Some(
                "name who signed the brokers' certificates (`ca_file`), and our own where brokers want one (`cert_file`, `key_file`), in [broker.kafka]",
            ),
        ),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => (
            K::PermissionDenied,
            Some(
                "grant the user the right (`kafka-acls.sh`); producers need IDEMPOTENT_WRITE or WRITE, consumers READ on topic and group",
            ),
        ),
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::GroupIdNotFound
        | Code::ResourceNotFound => {
            (K::NotFound, Some("apply the topology: `polymq topology apply`"))
        }
        Code::NoOffset | Code::AutoOffsetReset | Code::OffsetOutOfRange => (
            K::NotFound,
            Some("move the group to where it shall go on: `polymq seek CONSUMER --to earliest`"),
        ),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => (
            K::TooLarge,
            Some(
                "send less: keep large data elsewhere and send a reference; the limits are `max_message_bytes` in [broker.kafka] and max.message.bytes of the topic",
            ),
        ),
        Code::InvalidMessage | Code::BadMessage | Code::InvalidRecord | Code::InvalidTimestamp => {
            (K::Malformed, None)
        }
        Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidTopic
        | Code::PolicyViolation => (
            K::TopologyMismatch,
            Some(
                "change `partitions`, `replicas` or `retention` of the channel to what the cluster allows",
            ),
        ),
        Code::NonEmptyGroup | Code::UnknownMemberId => (
            K::TopologyMismatch,
            Some(
                "stop every consumer of the group first: Kafka moves a group only while it has no members",
            ),
        ),
        Code::State
        | Code::IllegalGeneration
        | Code::RebalanceInProgress
        | Code::AssignmentLost
        | Code::FencedMemberEpoch
        | Code::FencedInstanceId => (K::StaleToken, None),
        Code::InconsistentGroupProtocol => (
            K::TopologyMismatch,
            Some(
                "the consumer group has members that share partitions in another way than cooperative-sticky: end them, or name another group",
            ),
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => {
            (K::Unsupported, None)
        }
        Code::PurgeQueue | Code::PurgeInflight => (K::Closed, None),
        _ => (K::Other, None),
    }
}

pub(crate) fn bad_url(problem: &'static str) -> Error {
    Error::new(ErrorKind::Config, problem)
        .with_operation("connect")
        .with_help("write `kafka://USER:PASSWORD@HOST:9092,HOST:9092`, or `kafka+ssl://…` for TLS; user and password are for SASL; escape `/`, `@`, `:` and `%` in them")
}

/// A client could not be made of its configuration.
pub(crate) fn client(error: &KafkaError) -> Error {
    Error::new(ErrorKind::Config, error.to_string()).with_operation("connect")
}

/// There was no connection until the deadline.
pub(crate) fn away(reason: Option<Error>) -> Error {
    let error = match reason {
        Some(reason) => Error::new(
            reason.kind(),
            format!("no connection to the brokers in time: {}", reason.message()),
        ),
        None => Error::new(ErrorKind::Disconnected, "no connection to the brokers in time"),
    };
    error.retryable(true).with_help("start the brokers, or correct host and port of the URL; `kafka+ssl://` is for ports with TLS, where brokers may want a certificate of ours (`cert_file`)")
}

/// A record that the brokers would refuse.
pub(crate) fn too_large(bytes: usize, max: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("key, headers and payload have {bytes} bytes, above the limit of {max}"),
    )
    .with_help("send less: keep large data elsewhere and send a reference; the limit is `max_message_bytes` in [broker.kafka], as max.message.bytes of the topics")
}

/// Brokers refuse a batch as a whole, for any of its records.
pub(crate) fn spoilt() -> Error {
    Error::new(ErrorKind::Other, "the brokers refused another message of the same batch")
        .retryable(true)
        .with_help("publish this message again; the error of the other one says what is wrong")
}

/// The topology has no such place.
pub(crate) fn no_destination(destination: &Destination) -> Error {
    Error::new(ErrorKind::NotFound, format!("this configuration knows no {destination}"))
        .with_help("declare the channel in the configuration")
}

/// The topology has no such place.
pub(crate) fn no_source(source: &Source) -> Error {
    Error::new(ErrorKind::NotFound, format!("this configuration knows no {source}"))
        .with_help("declare channel and consumer in the configuration")
}

/// The configuration has no such group.
pub(crate) fn no_group(channel: &ChannelName, group: &GroupName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("this configuration knows no group `{group}` on channel `{channel}`"),
    )
    .with_channel(channel)
    .with_help("declare channel and consumer in the configuration")
}

/// The broker has no such topic.
pub(crate) fn no_topic(topic: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no topic `{topic}`"))
        .with_help("apply the topology: `polymq topology apply`; a topic that is bound by name is its owner's to create")
}

/// The group is older than what the broker remembers of it.
pub(crate) fn no_offsets(group: &str, topic: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("consumer group `{group}` has no committed offset on topic `{topic}`"),
    )
    .with_help("where it left off is unknown: Kafka forgets a group that had no members for offsets.retention.minutes (7 days). Say where it goes on: `polymq seek CONSUMER --to earliest` repeats what is still there, `--to latest` leaves it out, `--to TIME` starts in between")
}

/// What a group has not handled yet was removed.
pub(crate) fn out_of_range(topic: &str, partition: u32, offset: i64, low: i64, high: i64) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("topic `{topic}` has no offset {offset} on partition {partition} any more: it begins at {low} and ends at {high}"),
    )
    .with_help("messages were removed before the group had handled them (`retention` of the channel), or the topic was made anew. The group's other partitions go on. To go on here, stop the group's consumers and say where: `polymq seek CONSUMER --to earliest`")
}

pub(crate) fn delay_elsewhere(destination: &Destination) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("a message cannot wait in {destination}: only a retry inbox delays"),
    )
    .with_help("send it to a group's retry inbox, or without `at`")
}

/// An error once more, for the next of several that failed together.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).retryable(error.is_retryable());
    match error.help() {
        Some(help) => copy.with_help(help.to_owned()),
        None => copy,
    }
}

pub(crate) fn late(what: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, what)
}

/// The brokers are there. Why they don't confirm, librdkafka keeps to itself while it tries again.
pub(crate) fn unconfirmed() -> Error {
    late("the brokers did not confirm in time").with_help(
        "they are slow, or have fewer replicas in sync than `min.insync.replicas` of the topic: see `kafka-topics.sh --describe --under-min-isr-partitions`",
    )
}

pub(crate) fn closed(what: &'static str) -> Error {
    Error::new(ErrorKind::Closed, format!("the {what} was closed"))
}

/// A token that stands for nothing any more.
pub(crate) fn stale() -> Error {
    Error::new(
        ErrorKind::StaleToken,
        "the delivery is no longer this consumer's: it was settled before, or its partition went to another consumer",
    )
    .with_operation("settle")
    .with_help("nothing is lost: what was not acked is handed out again; if slow handlers lead here, raise `revoke_timeout` in [broker.kafka]")
}

pub(crate) fn unsupported(capability: Capability) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this adapter has no {capability:?} on Kafka"))
}
