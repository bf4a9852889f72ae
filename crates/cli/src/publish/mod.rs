//! `polymq pub`: lines in, messages out, a line back for each.
//!
//! Publishing is pipelined and its results are printed in the order of the input. What is read and
//! not yet answered is bounded in number and in bytes, so a slow broker holds up stdin.

mod input;
mod report;

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use polymq::broker::{ChannelSpec, Outcome};
use polymq::{Clock, MessageId, Publisher, Running, stop_requested, system_clock};

use crate::args::{Cli, PubArgs};
use crate::envelope;
use crate::exit::{Exit, Failure, say};
use crate::load::{load, narrow};
use input::{Line, Lines};
use report::{Answer, Report, Status};

/// How many bytes of input may be read and unanswered, unless one line has more.
const MAX_PENDING_BYTES: usize = 32 << 20;

pub(crate) async fn run(cli: &Cli, args: &PubArgs) -> Result<Exit, Failure> {
    let app = polymq::app();
    let mut config = load(&app, cli)?;
    config.channel(&args.channel)?;
    narrow(&mut config, [args.channel.as_str()]);
    let running = app.start(config).await?;
    let mut report = Report::new(cli);
    let published = publish(&running, &args.channel, &mut report).await;
    let drained = running.drain().await;
    if !drained.is_clean() {
        say(&drained.to_string());
    }
    let exit = report.finish()?;
    Ok(if published? { exit } else { Exit::CutShort })
}

/// Publishes stdin to its end; `false` when it was stopped before.
async fn publish(running: &Running, channel: &str, report: &mut Report) -> Result<bool, Failure> {
    let mut lines = Lines::new(tokio::io::stdin(), max_line(running, channel)?);
    let window = running.config().publish.window;
    let (publisher, clock) = (running.publisher(), system_clock());
    let mut stop = std::pin::pin!(stop_requested());
    let mut pending = FuturesOrdered::new();
    let mut sizes = VecDeque::new();
    let (mut bytes, mut reading, mut complete) = (0, true, true);
    while reading || !pending.is_empty() {
        let room = pending.len() < window && bytes < MAX_PENDING_BYTES;
        tokio::select! {
            biased;
            () = &mut stop, if reading => (reading, complete) = (false, false),
            Some(answer) = pending.next(), if !pending.is_empty() => {
                bytes -= sizes.pop_front().unwrap_or(0);
                reading &= report.tell(&answer, pending.is_empty());
            }
            line = lines.next(), if reading && room => match line.map_err(Failure::Stdin)? {
                None => reading = false,
                Some(line) => {
                    sizes.push_back(line.len());
                    bytes += line.len();
                    pending.push_back(send(&publisher, &*clock, channel, line));
                }
            },
        }
    }
    Ok(complete)
}

/// Publishes what a line says, and answers it.
fn send(
    publisher: &Publisher,
    clock: &dyn Clock,
    channel: &str,
    line: Line,
) -> impl Future<Output = Answer> + use<> {
    let (publisher, channel) = (publisher.clone(), channel.to_owned());
    let now = clock.now();
    let number = line.number;
    let parsed = line.bytes.and_then(|bytes| envelope::parse(&bytes, now));
    async move {
        let mut message = match parsed {
            Ok(message) => message,
            Err(error) => return Answer::malformed(number, error),
        };
        let id = message.id().cloned().unwrap_or_else(|| MessageId::generate(now));
        message.set_id(Some(id.clone()));
        let (status, error) = match publisher.publish_all(&channel, [message]).await {
            Ok(mut outcomes) => match outcomes.pop() {
                Some(Outcome::Confirmed(_)) => (Status::Confirmed, None),
                Some(Outcome::Rejected(error)) => (Status::Rejected, Some(error.to_string())),
                Some(Outcome::Unconfirmed(error)) => (Status::Unconfirmed, Some(error.to_string())),
                None => (Status::Unconfirmed, None),
            },
            Err(error) => (Status::Rejected, Some(error.to_string())),
        };
        Answer { id: Some(id), status, error, line: number }
    }
}

/// The longest line that can hold a message of the channel: JSON escapes a byte with six.
fn max_line(running: &Running, channel: &str) -> Result<usize, Failure> {
    let name = running.config().channel(channel)?.name.clone();
    let limits = running.broker_of(channel)?.capabilities(&ChannelSpec::queue(name)).limits;
    Ok(limits.max_message_bytes.saturating_mul(6).saturating_add(64 << 10))
}
