use std::borrow::Cow;

/// Text from outside, on one line, unable to steer a terminal: control characters, and characters
/// that reorder text, are escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape(text, steers)
}

/// As [`printable`], keeping the ends of lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && steers(c))
}

fn escape(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escaped) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match escaped(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("\u{1b}[2J\u{9b}31m\r\n"), r"\u{1b}[2J\u{9b}31m\r\n");
        assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(printable_lines("one\ntwo\u{7}"), "one\ntwo\\u{7}");
    }

    #[test]
    fn plain_text_is_left_alone() {
        assert!(matches!(printable("grüße, 世界"), Cow::Borrowed(_)));
    }
}
