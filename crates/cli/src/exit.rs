use std::io::{self, Write};
use std::process::ExitCode;

use polymq::{Error, ErrorKind};

use crate::output::printable_lines;

/// How the command ends: the numbers of `sysexits.h` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    No = 1,
    Usage = 64,
    DataError = 65,
    Unavailable = 69,
    Internal = 70,
    Io = 74,
    CutShort = 75,
    NoPermission = 77,
    Config = 78,
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    Polymq(Error),
    Stdin(io::Error),
    Stdout(io::Error),
    Internal(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Polymq(error)
    }
}

impl Failure {
    pub(crate) fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Polymq(error) => of_kind(error.kind()),
            // Whoever closed stdout has seen enough.
            failure if failure.is_closed_stdout() => Exit::Done,
            Self::Stdin(_) | Self::Stdout(_) => Exit::Io,
            Self::Internal(_) => Exit::Internal,
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            // With its causes.
            Self::Polymq(error) => Some(format!("{error:?}")),
            Self::Stdin(error) => Some(format!("stdin cannot be read: {error}")),
            failure if failure.is_closed_stdout() => None,
            Self::Stdout(error) => Some(format!("stdout cannot be written: {error}")),
            Self::Internal(text) => Some(text.clone()),
        }
    }
}

fn of_kind(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Config
        | ErrorKind::Unsupported
        | ErrorKind::NotFound
        | ErrorKind::TopologyMismatch => Exit::Config,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => Exit::NoPermission,
        ErrorKind::Disconnected | ErrorKind::Blocked | ErrorKind::Timeout => Exit::Unavailable,
        _ => Exit::Internal,
    }
}

/// Says on stderr what went wrong.
pub(crate) fn report(failure: &Failure) -> Exit {
    if let Some(text) = failure.text() {
        say(&format!("polymq: {text}"));
    }
    failure.exit()
}

/// Prints to stderr, harmless for terminals. Nothing is left to do where that is closed.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_says_who_is_to_act() {
        let exit = |kind| Failure::from(Error::new(kind, "x")).exit();
        assert_eq!(exit(ErrorKind::Config), Exit::Config);
        assert_eq!(exit(ErrorKind::Unauthenticated), Exit::NoPermission);
        assert_eq!(exit(ErrorKind::Disconnected), Exit::Unavailable);
        assert_eq!(exit(ErrorKind::Other), Exit::Internal);
    }

    #[test]
    fn a_closed_stdout_is_no_failure() {
        let failure = Failure::Stdout(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), failure.text()), (Exit::Done, None));
    }
}
