use std::time::Duration;

/// What a publish does when there is no room: in the window, or in the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// Waits for room until the deadline.
    #[default]
    Block,
    /// Fails at once, with a retryable error.
    Fail,
}

/// The `[publish]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishConfig {
    /// How long a publish may take before it returns unconfirmed or rejected.
    pub deadline: Duration,
    /// How many messages may be unconfirmed at once, per broker.
    pub window: usize,
    /// What a publish does when there is no room.
    pub when_full: WhenFull,
}

impl Default for PublishConfig {
    /// 30 s, 1024 messages, blocking.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), window: 1024, when_full: WhenFull::Block }
    }
}
