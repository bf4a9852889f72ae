use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use polymq_testkit::containers::{RabbitmqServer, Vhost};
use serde_json::Value;

const CHANNELS: &str = r#"
[channels.orders]
kind = "queue"
[channels.copies]
kind = "queue"
[consumers.mailer]
channel = "orders"
retry = { immediate = 0, delayed = 2, base = "1s", jitter = "none" }
[consumers.copier]
channel = "copies"
"#;

/// A folder with a configuration, and a broker where one is needed.
pub(super) struct Place {
    folder: PathBuf,
    /// Deleted with the place.
    vhost: Option<Vhost>,
}

impl Place {
    /// With this configuration.
    pub(super) fn with(config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("polymq-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("polymq.toml"), config).unwrap();
        Self { folder, vhost: None }
    }

    /// With the channels of these tests, on the embedded broker.
    pub(super) fn embedded() -> Self {
        Self::at("memory://")
    }

    /// With the channels of these tests, on the broker at this URL.
    pub(super) fn at(url: &str) -> Self {
        Self::with(&format!("connect_timeout = \"5s\"\n[broker]\nurl = \"{url}\"\n{CHANNELS}"))
    }

    /// With the channels of these tests, on a RabbitMQ of its own.
    pub(super) async fn rabbitmq() -> Self {
        let vhost = RabbitmqServer::shared().await.unwrap().vhost().await.unwrap();
        let mut place = Self::at(vhost.url());
        place.vhost = Some(vhost);
        place
    }

    /// The URL of the RabbitMQ.
    pub(super) fn url(&self) -> &str {
        self.vhost.as_ref().unwrap().url()
    }

    pub(super) fn write(&self, config: &str) {
        std::fs::write(self.folder.join("polymq.toml"), config).unwrap();
    }

    pub(super) fn config(&self) -> String {
        std::fs::read_to_string(self.folder.join("polymq.toml")).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polymq"));
        command.current_dir(&self.folder).args(arguments.split_whitespace());
        command
    }

    /// Runs a command to its end, with this on stdin.
    pub(super) fn run(&self, arguments: &str, stdin: &str) -> Ended {
        end(&mut self.command(arguments), stdin)
    }

    /// Starts a command, to be read line by line.
    pub(super) fn start(&self, arguments: &str) -> Started {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Started { child, lines }
    }

    /// Publishes messages `m-0`, `m-1` and so on to `orders`.
    pub(super) fn publish(&self, count: usize) {
        let line = |n| format!("{{\"id\":\"m-{n}\",\"payload\":{{\"n\":{n}}}}}\n");
        let published = self.run("pub orders", &(0..count).map(line).collect::<String>());
        assert_eq!(published.code, Some(0), "{published:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a command to its end, with this on stdin.
pub(super) fn end(command: &mut Command, stdin: &str) -> Ended {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // Not every command reads its input.
    let feed = thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    /// The lines of stdout, each a JSON value.
    pub(super) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.json().iter().map(id).collect()
    }
}

pub(super) fn id(line: &Value) -> String {
    line["id"].as_str().unwrap().to_owned()
}

/// A command that runs.
pub(super) struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    /// The next line of stdout, a JSON value.
    pub(super) fn line(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    pub(super) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Closes its stdout.
    pub(super) fn close_stdout(self) -> Stopping {
        Stopping(self.child)
    }

    /// Waits for its end: the exit status, the rest of stdout, and stderr.
    pub(super) fn end(mut self) -> Ended {
        let rest: Vec<String> = self.lines.map(Result::unwrap).collect();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { code: self.child.wait().unwrap().code(), stdout: rest.join("\n"), stderr }
    }
}

/// A command whose stdout nobody reads any more.
pub(super) struct Stopping(Child);

impl Stopping {
    /// Waits for its end: the exit status and stderr.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.0.wait().unwrap().code(), stderr)
    }
}
