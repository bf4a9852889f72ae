use std::io::{self, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// How many lines may wait for the thread; each handler waits for its own.
const QUEUE: usize = 1024;
/// About how many bytes are flushed at once.
const FLUSH_BYTES: usize = 64 << 10;

struct Line {
    bytes: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

/// Writes lines to stdout from a thread of its own, since a reader that pauses would otherwise
/// stop the runtime. What waits is flushed together.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Line>);

impl Writer {
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("stdout".to_owned());
        thread.spawn(move || work(output, lines))?;
        Ok(Self(sender))
    }

    /// Resolves when the line was written and flushed.
    ///
    /// # Errors
    /// What stdout says: some of the line may have been written.
    pub(super) async fn write(&self, bytes: Vec<u8>) -> io::Result<()> {
        let (written, answer) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(Line { bytes, written }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn work(mut output: impl Write, mut lines: mpsc::Receiver<Line>) {
    while let Some(first) = lines.blocking_recv() {
        let mut bytes = first.bytes;
        let mut waiting = vec![first.written];
        while bytes.len() < FLUSH_BYTES
            && let Ok(line) = lines.try_recv()
        {
            bytes.extend_from_slice(&line.bytes);
            waiting.push(line.written);
        }
        let result = output.write_all(&bytes).and_then(|()| output.flush());
        for written in waiting {
            // A handler that has timed out is not waiting any more.
            let _ = written.send(copy(&result));
        }
    }
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Output {
        flushed: Arc<Mutex<Vec<u8>>>,
        begun: Vec<u8>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match bytes.starts_with(b"bad") {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => self.begun.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushed.lock().unwrap().append(&mut self.begun);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_is_answered_once_it_was_flushed() {
        let output = Output::default();
        let writer = Writer::start(output.clone()).unwrap();
        writer.write(b"a\n".to_vec()).await.unwrap();
        assert_eq!(*output.flushed.lock().unwrap(), b"a\n");
    }

    #[tokio::test]
    async fn a_line_that_could_not_be_written_is_told_so() {
        let writer = Writer::start(Output::default()).unwrap();
        let error = writer.write(b"bad".to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
