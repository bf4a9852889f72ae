use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// A line of the input that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Without its end; or why it was not kept.
    pub(super) bytes: Result<Vec<u8>, String>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

/// Lines of at most `limit` bytes; longer ones are skipped as they come, never held.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    limit: usize,
    number: u64,
    begun: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        let input = BufReader::with_capacity(64 << 10, input);
        Self { input, limit, number: 0, begun: Vec::new(), too_long: false }
    }

    /// The next line; `None` at the end. Cancel-safe: what was read stays here.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let read = self.input.fill_buf().await?;
            let ended = read.is_empty();
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            self.too_long |= self.begun.len() + part.len() > self.limit;
            if self.too_long {
                self.begun = Vec::new();
            } else {
                self.begun.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.input.consume(consumed);
            if end.is_none() && !ended {
                continue;
            }
            if ended && self.begun.is_empty() && !self.too_long {
                return Ok(None);
            }
            self.number += 1;
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
        }
    }

    /// The line that has ended, unless it is blank.
    fn take(&mut self) -> Option<Line> {
        let bytes = std::mem::take(&mut self.begun);
        let too_long = std::mem::take(&mut self.too_long);
        if !too_long && bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let bytes = match too_long {
            true => Err(format!("longer than {} bytes, more than any message needs", self.limit)),
            false => Ok(bytes),
        };
        Some(Line { number: self.number, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, limit: usize) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::new(text.as_bytes(), limit);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            let text = |bytes| String::from_utf8(bytes).unwrap();
            read.push((line.number, line.bytes.map(text)));
        }
        read
    }

    #[tokio::test]
    async fn lines_are_numbered_and_blank_ones_only_counted() {
        let lines = read("a\n\n  \nb\nno end", 100).await;
        let text = |s: &str| Ok(s.to_owned());
        assert_eq!(lines, [(1, text("a")), (4, text("b")), (5, text("no end"))]);
        assert_eq!(read("", 100).await, []);
    }

    #[tokio::test]
    async fn a_line_above_the_limit_is_refused_and_the_next_one_read() {
        let long = "x".repeat(200_000);
        let lines = read(&format!("{long}\nnext\n{long}"), 100_000).await;
        assert_eq!(lines.len(), 3);
        assert!(lines[0].1.as_ref().unwrap_err().starts_with("longer than 100000 bytes"));
        assert_eq!(lines[1], (2, Ok("next".to_owned())));
        assert!(lines[2].1.is_err());
    }
}
