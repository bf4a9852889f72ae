use std::fmt;

use crate::pipeline::ConsumerReport;

/// What a drain finished, and what it left.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// One report per consumer.
    pub consumers: Vec<ConsumerReport>,
    /// What went wrong while closing publishers and brokers.
    pub errors: Vec<String>,
}

impl DrainReport {
    /// Whether everything that was begun was finished, and nothing handled stayed unacked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.consumers.iter().all(ConsumerReport::is_clean)
    }

    /// How many handlers could not be cancelled.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.consumers.iter().map(|c| c.stuck).sum()
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_clean() {
            "drained, nothing left"
        } else {
            "drained, with leftovers"
        })?;
        for c in &self.consumers {
            let t = &c.tally;
            write!(
                f,
                "\n  {}: {} received, {} handled, {} retried, {} dead-lettered, {} duplicates, \
                 {} expired, {} filtered, {} given back",
                c.consumer,
                t.received,
                t.handled,
                t.retried,
                t.dead_letters(),
                t.duplicates + t.superseded,
                t.expired,
                t.filtered,
                t.released
            )?;
            for (what, ids) in [
                ("cancelled, will come again", &c.cancelled),
                ("not settled in time, will come again", &c.unsettled),
                ("acked before handling and cut short, will not come again", &c.forfeited),
            ] {
                if !ids.is_empty() {
                    write!(f, "\n    {} {what}:", ids.len())?;
                    for id in ids.iter().take(MAX_IDS) {
                        match id {
                            Some(id) => write!(f, " {}", id.as_str().escape_debug())?,
                            None => f.write_str(" (no id)")?,
                        }
                    }
                    if ids.len() > MAX_IDS {
                        f.write_str(" …")?;
                    }
                }
            }
            if c.stuck > 0 {
                write!(
                    f,
                    "\n    handlers that never yielded and could not be cancelled: {}",
                    c.stuck
                )?;
            }
            if let Some(error) = &c.error {
                write!(f, "\n    {error}")?;
            }
        }
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

/// How many ids a line names.
const MAX_IDS: usize = 10;
