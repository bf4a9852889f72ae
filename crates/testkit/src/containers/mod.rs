//! Real brokers for tests: in containers of their own, or wherever they run.
//!
//! A service that is right on the memory broker is to be right on the broker that it will meet. So a
//! test gets one in a line, without a script that has to run before it:
//!
//! ```no_run
//! # use polymq_core::{Context, HandlerError, Message, Service};
//! # async fn print(_: Message, _: Context<()>) -> Result<(), HandlerError> { Ok(()) }
//! # async fn example() {
//! let broker = polymq_testkit::rabbitmq().await;
//! let t = polymq_testkit::start_on(broker, "polymq.toml", Service::new(()).on("mailer", print)).await;
//! t.publish_message("emails", Message::new("hello")).await;
//! t.idle().await;
//! t.handled("mailer").assert_eq(1);
//! # }
//! ```
//!
//! The first test that asks starts the container; all later ones, of later runs too, find it
//! running. Each test has a place of its own in it, which a later run deletes. Containers
//! are named `polymq-…` and stay until somebody removes them.
//!
//! | variable | what it sets | default |
//! |---|---|---|
//! | `TEST_RABBITMQ_URL` | a RabbitMQ that runs already: no container is used | |
//! | `TEST_RABBITMQ_MANAGEMENT_URL` | its management API | port 15672 of its host |
//! | `TEST_RABBITMQ_IMAGE` | the image's name | `rabbitmq`; `polymq/rabbitmq` where only that is there |
//! | `TEST_RABBITMQ_TAG` | the image's tag | `4-management` |
//! | `TEST_KAFKA_URL` | a Kafka that runs already and asks for no password: no container is used | |
//! | `TEST_KAFKA_IMAGE` | the image's name | `apache/kafka`; `polymq/kafka` where only that is there |
//! | `TEST_KAFKA_TAG` | the image's tag | `4.2.0` |
//! | `TEST_NATS_URL` | a NATS server with JetStream that runs already: no container is used | |
//! | `TEST_NATS_IMAGE` | the image's name | `nats`; `polymq/nats` where only that is there |
//! | `TEST_NATS_TAG` | the image's tag | `2.15` |
//! | `DOCKER_HOST` | the container engine | `/var/run/docker.sock` |
//!
//! The user of a running RabbitMQ must be allowed to make virtual hosts. A Kafka's container keeps its
//! ports to this machine, and tells its clients so, unless `DOCKER_HOST` names another one. Where no
//! image registry answers, `docker/` of polymq's repository builds equivalent images from Debian's
//! packages.

mod container;
mod engine;
mod exec;
mod image;
#[cfg(feature = "kafka")]
mod kafka;
mod leftovers;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod server;
mod setup;

pub use container::Container;
pub use image::Image;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaNamespace, KafkaServer, Keystore, kafka};
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsNamespace, NatsServer};
#[cfg(feature = "rabbitmq")]
pub(crate) use rabbitmq::connect;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{Rabbitmq, RabbitmqServer, Vhost, rabbitmq};
pub use server::{Product, Server};
pub use setup::Setup;
