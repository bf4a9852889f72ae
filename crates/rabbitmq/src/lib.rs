//! RabbitMQ for polymq.
