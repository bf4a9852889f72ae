use comfy_table::{ContentArrangement, Table, presets};

use super::printable_lines;

/// A table as wide as the terminal, or as its content. What its cells hold is made printable.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width() {
        table.set_width(width);
    }
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable_lines(&cell).into_owned()));
    }
    table
}

/// The columns of the terminal that stdout is.
#[cfg(unix)]
fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

#[cfg(not(unix))]
fn width() -> Option<u16> {
    None
}
