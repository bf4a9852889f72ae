use std::fmt;
use std::iter::Sum;

/// What a [`Ledger`](super::Ledger) counted. Prints as one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Ids that a publisher tried to send.
    pub sent: u64,
    /// Ids that the broker confirmed.
    pub confirmed: u64,
    /// Ids whose fate the publisher was not told.
    pub unconfirmed: u64,
    /// Ids that are certainly not on the broker.
    pub rejected: u64,
    /// Receipts of every id, duplicates included.
    pub received: u64,
    /// Ids that were received at least once.
    pub distinct: u64,
    /// Receipts beyond the first of an id.
    pub duplicated: u64,
    /// First receipts that came after that of an id sent later with the same key.
    pub reordered: u64,
    /// Confirmed ids that were never received.
    pub lost: u64,
    /// Receipts of ids that nobody sent, or that were rejected.
    pub unexpected: u64,
}

impl Sum for Tally {
    /// The tallies of ledgers that share no id, such as those of several channels.
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |a, b| Self {
            sent: a.sent + b.sent,
            confirmed: a.confirmed + b.confirmed,
            unconfirmed: a.unconfirmed + b.unconfirmed,
            rejected: a.rejected + b.rejected,
            received: a.received + b.received,
            distinct: a.distinct + b.distinct,
            duplicated: a.duplicated + b.duplicated,
            reordered: a.reordered + b.reordered,
            lost: a.lost + b.lost,
            unexpected: a.unexpected + b.unexpected,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, confirmed {}", self.sent, self.confirmed)?;
        for (count, what) in [(self.unconfirmed, "unconfirmed"), (self.rejected, "rejected")] {
            if count > 0 {
                write!(f, ", {what} {count}")?;
            }
        }
        write!(
            f,
            ", received {}, distinct {}, duplicated {}, reordered {}, lost {}",
            self.received, self.distinct, self.duplicated, self.reordered, self.lost
        )?;
        if self.unexpected > 0 {
            write!(f, ", unexpected {}", self.unexpected)?;
        }
        Ok(())
    }
}
