use futures_util::TryStreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::exec::StartExecResults;
use testcontainers::bollard::models::ExecConfig;

/// What a command in a container came to.
pub(super) struct Ran {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) succeeded: bool,
}

/// Runs a command in the container of this id, to its end.
pub(super) async fn run(engine: &Docker, id: &str, command: &[&str]) -> Result<Ran, EngineError> {
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        ..ExecConfig::default()
    };
    let run = engine.create_exec(id, config).await?.id;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let StartExecResults::Attached { mut output, .. } = engine.start_exec(&run, None).await? {
        while let Some(part) = output.try_next().await? {
            match part {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                other => stdout.extend_from_slice(&other.into_bytes()),
            }
        }
    }
    let succeeded = engine.inspect_exec(&run).await?.exit_code == Some(0);
    Ok(Ran { stdout, stderr, succeeded })
}
