//! The processes that tests start.

use std::path::Path;

use polymq_tests::real::Process;

/// A service that writes every attempt into its journal; each takes `work` milliseconds, on average.
pub(crate) fn worker(config: &Path, journal: &Path, work: u64) -> Process {
    let program = Path::new(env!("CARGO_BIN_EXE_worker"));
    Process::start(program, &[config.as_ref(), journal.as_ref(), work.to_string().as_ref()])
}

/// How much a publisher publishes, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// So many tasks, each with one message on its way at a time,
    pub(crate) tasks: usize,
    /// publish so many messages each,
    pub(crate) each: usize,
    /// with so many milliseconds between them.
    pub(crate) pause: u64,
}

impl Load {
    /// All messages.
    pub(crate) fn total(self) -> usize {
        self.tasks * self.each
    }
}

/// A publisher to `orders` that writes what it was told into its journal.
pub(crate) fn publisher(config: &Path, journal: &Path, load: Load) -> Process {
    let numbers = [load.tasks as u64, load.each as u64, load.pause].map(|n| n.to_string());
    let program = Path::new(env!("CARGO_BIN_EXE_publisher"));
    let [tasks, each, pause] = numbers.each_ref().map(AsRef::as_ref);
    Process::start(program, &[config.as_ref(), journal.as_ref(), tasks, each, pause])
}
