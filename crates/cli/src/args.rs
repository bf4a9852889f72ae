use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use polymq::Position;
use polymq::broker::StartPosition;
use polymq::config::HumanDuration;

use crate::exit::Exit;

/// What is written on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "polymq",
    version,
    about = "Publish, subscribe, check, apply and explain, on any broker.",
    after_help = HELP,
)]
pub(crate) struct Cli {
    /// The configuration; every key can be overridden by the environment: POLYMQ_BROKER__URL=…
    #[arg(long, global = true, value_name = "FILE", default_value = "polymq.toml")]
    pub(crate) config: PathBuf,
    /// One JSON value per line on stdout, also where it is a terminal
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr: -v what happens, -vv each message
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish messages from stdin: one JSON object per line
    Pub(PubArgs),
    /// Run a consumer: write its messages to stdout, or run a command for each
    Sub(SubArgs),
    /// Report everything that is wrong with the configuration, each with its place and its fix
    Check(CheckArgs),
    /// Show what the configuration implies on the brokers, or create what is missing
    Topology(TopologyArgs),
    /// Move a consumer's group: what lies behind the new position is handed out again, or left out
    Seek(SeekArgs),
    /// Say how a channel or a consumer lands on its broker: objects, guarantees, retries, ceilings
    Explain(ExplainArgs),
    /// Print what each broker can do, as the table of the documentation
    Capabilities,
}

#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The channel to publish to
    pub(crate) channel: String,
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// The consumer to run: its channel, retries and dead letters are those of the configuration
    pub(crate) consumer: String,
    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End when nothing has come for so long, such as 5s; counts only while attached
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) idle: Option<Duration>,
    /// Run a shell command for each message: payload on stdin, metadata as POLYMQ_MESSAGE_…; exit 0
    /// acks, 65 dead-letters, anything else is a failed attempt
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Ask the brokers too; needs read rights only
    #[arg(long)]
    pub(crate) connect: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    #[command(subcommand)]
    pub(crate) action: TopologyAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum TopologyAction {
    /// Show what exists, what would be created and what differs; needs read rights only
    Plan,
    /// Create what is missing; never changes or deletes anything
    Apply,
}

#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    /// The consumer whose group is moved: all consumers of that group, in every process
    pub(crate) consumer: String,
    /// earliest, latest, OFFSET of partition 0, PARTITION:OFFSET, or a moment in RFC 3339
    #[arg(long, value_name = "POSITION", value_parser = position)]
    pub(crate) to: StartPosition,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A channel or a consumer of the configuration
    pub(crate) name: String,
    /// Ask the broker for its version and limits instead of assuming its newest version
    #[arg(long)]
    pub(crate) connect: bool,
}

const HELP: &str = "\
Exit status:
  0   done: all messages confirmed, nothing wrong, drained with nothing left
  1   the answer is no: problems, differences, messages that were not confirmed
  64  the command line is wrong
  65  lines of the input were malformed (the others were published)
  69  the broker cannot be reached
  70  something that should not happen
  74  stdin or stdout failed
  75  cut short: messages were left behind, and come again
  77  the broker refused the credentials, or they lack a right
  78  the configuration is wrong, or doesn't fit the broker
  130 stopped by a second signal, undrained";

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<HumanDuration>().map(Duration::from).map_err(|e| e.to_string())
}

fn position(text: &str) -> Result<StartPosition, String> {
    let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
    if let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) {
        return Ok(StartPosition::Position(Position { partition, offset }));
    }
    match text {
        "earliest" => Ok(StartPosition::Earliest),
        "latest" => Ok(StartPosition::Latest),
        moment => moment.parse().map(StartPosition::Timestamp).map_err(|_| {
            "neither earliest, latest, OFFSET, PARTITION:OFFSET nor a moment such as \
             2026-01-31T12:00:00Z"
                .to_owned()
        }),
    }
}

/// Reads the command line, or answers it: help and version are no failure.
pub(crate) fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|answer| {
        // Nothing is left to do about a closed stream.
        let _ = answer.print().and_then(|()| std::io::stdout().flush());
        if answer.use_stderr() { Exit::Usage } else { Exit::Done }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_duration_has_a_unit_and_a_count_is_positive() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["polymq", "sub", "c"], args].concat());
        assert!(parse(&["--idle", "5s", "--count", "1"]).is_ok());
        assert!(parse(&["--idle", "5"]).is_err());
        assert!(parse(&["--count", "0"]).is_err());
    }

    #[test]
    fn a_position_is_a_word_a_place_or_a_moment() {
        let at = |partition, offset| StartPosition::Position(Position { partition, offset });
        let noon = "2026-01-31T12:00:00Z";
        let read = [
            ("earliest", StartPosition::Earliest),
            ("latest", StartPosition::Latest),
            ("7", at(0, 7)),
            ("3:7", at(3, 7)),
            (noon, StartPosition::Timestamp(noon.parse().unwrap())),
        ];
        for (text, expected) in read {
            assert_eq!(position(text).unwrap(), expected, "{text}");
        }
        for text in ["", "first", "-1", "1:", ":1", "1:2:3", "yesterday"] {
            assert!(position(text).is_err(), "{text}");
        }
    }
}
