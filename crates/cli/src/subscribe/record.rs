use polymq::Context;

use crate::envelope::bytes_text;
use crate::output::printable;

/// How wide the columns are: time, id, type, key, attempt.
const WIDTHS: [usize; 5] = [24, 22, 20, 12, 3];
/// How much of a payload is shown.
const PAYLOAD: usize = 80;

/// The header over the rows of [`record`].
pub(super) fn header() -> String {
    row(&["time", "id", "type", "key", "try"].map(String::from), "payload")
}

/// A delivery as a row for people.
pub(super) fn record<S>(context: &Context<S>) -> String {
    let message = context.message();
    let cells = [
        message.timestamp().map(|t| t.to_string()).unwrap_or_default(),
        context.id().to_string(),
        message.message_type().unwrap_or_default().to_owned(),
        context.key().map(|key| bytes_text(key).into_owned()).unwrap_or_default(),
        context.attempt().to_string(),
    ];
    let payload = message.payload().map(|payload| {
        // What would be cut anyway needs no escaping.
        let head = &payload[..payload.len().min(4 * PAYLOAD)];
        match std::str::from_utf8(payload) {
            Ok(text) => text.chars().take(PAYLOAD + 1).collect(),
            Err(_) => bytes_text(head).into_owned(),
        }
    });
    row(&cells, payload.as_deref().unwrap_or("(tombstone)"))
}

fn row(cells: &[String; 5], payload: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let cell = cut(&printable(cell), width);
        line.push_str(&format!("{cell:<width$}  "));
    }
    line.push_str(&cut(&printable(payload), PAYLOAD));
    line
}

/// At most `width` characters, with a sign that there were more.
fn cut(text: &str, width: usize) -> String {
    match text.chars().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_its_width_and_shows_what_was_cut() {
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcde", 4), "abc…");
        let cells = ["t", "id", "\u{1b}[2J", "k", "1"].map(String::from);
        let line = row(&cells, &"x".repeat(100));
        assert!(line.contains(r"\u{1b}[2J") && line.ends_with("x…"), "{line}");
    }
}
