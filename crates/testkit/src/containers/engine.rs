use polymq_core::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use testcontainers::core::client::docker_client_instance;

/// The engine that `DOCKER_HOST` names, or the one of this machine.
///
/// # Errors
/// `Disconnected`, with what to do, when none answers.
pub(super) async fn engine() -> Result<Docker> {
    let engine = docker_client_instance().await.map_err(no_engine)?;
    engine.ping().await.map_err(no_engine)?;
    Ok(engine)
}

pub(super) fn no_engine(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Disconnected, "no container engine answers, and the test needs a broker")
        .with_source(source)
        .with_help(
            "start Docker or Podman (DOCKER_HOST names a socket elsewhere), or name a running broker, such as \
             TEST_RABBITMQ_URL=amqp://guest:guest@localhost:5672 or TEST_KAFKA_URL=kafka://localhost:9092",
        )
}
