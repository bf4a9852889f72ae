use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polymq_testkit::ledger::{Ledger, Tally};
use serde::{Deserialize, Serialize};

/// What a process does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is about to be published.
    Sent,
    /// The broker has it.
    Confirmed,
    /// Nobody knows whether the broker has it.
    Unconfirmed,
    /// The broker certainly does not have it.
    Rejected,
    /// An attempt begins.
    Began,
    /// An attempt has failed.
    Failed,
    /// An attempt has succeeded.
    Handled,
}

/// A line of a journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// Who: the process.
    pub pid: u32,
    /// When, since 1970.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// Of which message.
    pub id: String,
    /// In which attempt; 0 for a publisher.
    pub attempt: u32,
}

/// Since 1970, as all processes of the machine see it.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The writing end: each note is in the file, for every process to see, before
/// [`note`](Self::note) returns.
///
/// Several processes may write one file: their notes then have one order. A note outlives the SIGKILL
/// of its writer; it is not synced to disk, as no test cuts the machine's power.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: impl AsRef<Path>) -> std::io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes a line, in one piece.
    ///
    /// # Errors
    /// The system's.
    pub fn note(&self, deed: Deed, id: &str, attempt: u32) -> std::io::Result<()> {
        let (pid, at, id) = (std::process::id(), now(), id.to_owned());
        let mut line = serde_json::to_vec(&Note { pid, at, deed, id, attempt })?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}

/// The reading end: follows a file that others write.
#[derive(Debug)]
pub struct Reader {
    file: File,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
    notes: Vec<Note>,
}

impl Reader {
    /// Follows the file from its beginning, and makes it if need be.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn follow(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let file = OpenOptions::new().create(true).append(true).read(true).open(path);
        let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { file, rest: Vec::new(), notes: Vec::new() }
    }

    /// Every note so far.
    ///
    /// # Panics
    /// On a line that is no note.
    pub fn notes(&mut self) -> &[Note] {
        let read = self.file.read_to_end(&mut self.rest);
        read.unwrap_or_else(|e| panic!("a journal cannot be read: {e}"));
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in self.rest.drain(..whole).collect::<Vec<_>>().split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                let note = serde_json::from_slice(line);
                self.notes.push(note.unwrap_or_else(|e| panic!("{e}: {line:?}")));
            }
        }
        &self.notes
    }

    /// How often something was done so far.
    pub fn count(&mut self, deed: Deed) -> usize {
        self.notes().iter().filter(|note| note.deed == deed).count()
    }
}

/// The ids that were confirmed, each once.
pub fn confirmed(notes: &[Note]) -> usize {
    distinct(notes, Deed::Confirmed)
}

/// The ids that were handled, each once.
pub fn handled(notes: &[Note]) -> usize {
    distinct(notes, Deed::Handled)
}

fn distinct(notes: &[Note], deed: Deed) -> usize {
    let ids = notes.iter().filter(|note| note.deed == deed).map(|note| note.id.as_str());
    ids.collect::<std::collections::HashSet<_>>().len()
}

/// Counts what publishers and consumers noted, per id.
#[must_use]
pub fn tally(published: &[Note], consumed: &[Note]) -> Tally {
    let ledger = Ledger::default();
    for Note { deed, id, .. } in published {
        match deed {
            Deed::Sent => ledger.sent(id, None),
            Deed::Confirmed => ledger.confirmed(id),
            Deed::Unconfirmed => ledger.unconfirmed(id),
            Deed::Rejected => ledger.rejected(id),
            Deed::Began | Deed::Failed | Deed::Handled => {}
        }
    }
    for note in consumed.iter().filter(|note| note.deed == Deed::Handled) {
        ledger.received(&note.id);
    }
    ledger.tally()
}
