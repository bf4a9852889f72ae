//! A subscriber against the embedded broker, in one process with its publisher.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymq::memory::{MemoryOptions, MemoryServer};
use serde_json::Value;

use super::*;

const CONFIG: &str = r#"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
    timeout = "1s"
    retry = { immediate = 1, delayed = 0 }
    dead_letter = "dead"
    [channels.dead]
    kind = "queue"
    [consumers.undertaker]
    channel = "dead"
"#;

/// A broker with messages `m-0`, `m-1` and so on.
async fn server(messages: usize) -> MemoryServer {
    let server = MemoryServer::new(MemoryOptions::default());
    let shop = App::new().adapter(server.adapter()).start(config()).await.unwrap();
    let messages =
        (0..messages).map(|n| Message::new(format!("body {n}")).with_id(format!("m-{n}")));
    for outcome in shop.publisher().publish_all("orders", messages).await.unwrap() {
        assert!(outcome.is_confirmed());
    }
    server
}

fn config() -> Config {
    Config::builder().text("polymq.toml", CONFIG).build().unwrap()
}

/// What was written and flushed.
#[derive(Clone, Default)]
struct Output {
    flushed: Arc<Mutex<Vec<u8>>>,
    /// The reader goes away after so many bytes.
    room: Option<usize>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut flushed = self.flushed.lock().unwrap();
        let room = self.room.map_or(usize::MAX, |room| room - flushed.len());
        match bytes.len().min(room) {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            some => flushed.write(&bytes[..some]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// The lines that were written to their end.
    fn lines(&self) -> Vec<Value> {
        let flushed = String::from_utf8(self.flushed.lock().unwrap().clone()).unwrap();
        let whole = flushed.rfind('\n').map_or("", |end| &flushed[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> =
            self.lines().iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

fn args(consumer: &str, count: Option<u64>) -> SubArgs {
    let idle = Some(Duration::from_millis(300));
    SubArgs { consumer: consumer.to_owned(), count, idle, exec: None }
}

async fn lines(server: &MemoryServer, consumer: &str, count: Option<u64>, output: &Output) -> Exit {
    let sink = Lines::new(Style::Json, "default".to_owned(), output.clone()).unwrap();
    let app = App::new().adapter(server.adapter());
    subscribe(app, config(), &args(consumer, count), Sink::Lines(sink)).await.unwrap()
}

async fn exec(server: &MemoryServer, command: &str) -> Exit {
    let args = SubArgs { exec: Some(command.to_owned()), ..args("mailer", None) };
    let sink = Sink::Exec(Exec::new(command, "default".to_owned()));
    let app = App::new().adapter(server.adapter());
    subscribe(app, config(), &args, sink).await.unwrap()
}

/// A file of this test, which is not there yet.
fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("polymq-sub-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::env::temp_dir().join(name)
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::remove_file(path).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_holds_the_envelope() {
    let (server, output) = (server(1).await, Output::default());
    assert_eq!(lines(&server, "mailer", None, &output).await, Exit::Done);
    let line = &output.lines()[0];
    assert_eq!((&line["id"], &line["payload"]), (&"m-0".into(), &"body 0".into()));
    assert_eq!((&line["channel"], &line["group"]), (&"orders".into(), &"orders".into()));
    assert_eq!((&line["attempt"], &line["broker"]), (&1.into(), &"default".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_takes_exactly_as_many_and_leaves_the_rest() {
    let (server, some, rest) = (server(40).await, Output::default(), Output::default());
    assert_eq!(lines(&server, "mailer", Some(7), &some).await, Exit::Done);
    assert_eq!(some.lines().len(), 7);
    lines(&server, "mailer", None, &rest).await;
    assert_eq!(rest.lines().len(), 33);
    assert!(rest.lines().iter().all(|line| line["attempt"] == 1), "a release is no attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closed_stdout_did_not_take_comes_again() {
    let server = server(40).await;
    let closed = Output { room: Some(2_000), ..Output::default() };
    assert_eq!(lines(&server, "mailer", None, &closed).await, Exit::Done);
    let rest = Output::default();
    lines(&server, "mailer", None, &rest).await;
    let (taken, rest) = (closed.ids(), rest.ids());
    assert!(!taken.is_empty() && !rest.is_empty(), "{taken:?} {rest:?}");
    let missing =
        (0..40).map(|n| format!("m-{n}")).find(|id| !taken.contains(id) && !rest.contains(id));
    assert_eq!(missing, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_the_payload_and_the_metadata() {
    let (server, file) = (server(1).await, scratch());
    let command = format!(
        "echo \"$(cat) $POLYMQ_MESSAGE_ID $POLYMQ_MESSAGE_ATTEMPT $POLYMQ_MESSAGE_CHANNEL \
         $POLYMQ_MESSAGE_HEADERS\" > {}",
        file.display()
    );
    assert_eq!(exec(&server, &command).await, Exit::Done);
    assert_eq!(read(&file), "body 0 m-0 1 orders {}\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commands_exit_status_acks_dead_letters_or_fails_the_attempt() {
    let (server, file, dead) = (server(3).await, scratch(), Output::default());
    let command = format!(
        "echo $POLYMQ_MESSAGE_ID >> {}; case $POLYMQ_MESSAGE_ID in m-0) exit 0;; m-1) exit 65;; \
         *) exit 1;; esac",
        file.display()
    );
    assert_eq!(exec(&server, &command).await, Exit::Done);
    let mut runs: Vec<_> = read(&file).lines().map(str::to_owned).collect();
    runs.sort();
    assert_eq!(runs, ["m-0", "m-1", "m-2", "m-2"], "only a failed attempt is tried again");
    lines(&server, "undertaker", None, &dead).await;
    let mut reasons: Vec<_> = dead
        .lines()
        .iter()
        .map(|line| (line["id"].clone(), line["headers"]["polymq-dead-letter-reason"].clone()))
        .collect();
    reasons.sort_by_key(|(id, _)| id.to_string());
    let wanted = [("m-1", "permanent"), ("m-2", "retries-exhausted")];
    assert_eq!(reasons, wanted.map(|(id, reason)| (id.into(), reason.into())));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let (server, file) = (server(1).await, scratch());
    let command = format!("sleep 100 & echo $! >> {}; wait", file.display());
    exec(&server, &command).await;
    let started = read(&file);
    assert_eq!(started.lines().count(), 2, "a timeout is a failed attempt");
    for process in started.lines() {
        let path = format!("/proc/{process}/stat");
        // Killed and not yet buried by whoever adopted it is gone too.
        let gone = || std::fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "));
        let mut patience = 100;
        while !gone() {
            patience -= 1;
            assert!(patience > 0, "{process} is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
