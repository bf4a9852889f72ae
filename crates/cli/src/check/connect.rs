use polymq::broker::{ChannelSpec, ObjectState, PlannedObject};
use polymq::config::{Config, Problem, TopologyPolicy, check_needs};
use polymq::{App, Connection, Error, Result, system_clock};

use super::finding::Finding;

/// What is wrong between the configuration and its brokers. Reads only.
pub(super) async fn check(app: &App, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for broker in config.brokers_in_use() {
        let problems = match app.connect(config, &broker.name).await {
            Ok(connection) => {
                let problems = examine(config, &broker.name, &connection).await;
                let deadline = system_clock().instant() + config.drain_timeout;
                // Nothing was published: there is nothing to flush.
                let _ = connection.broker.close(deadline).await;
                problems.unwrap_or_else(|error| vec![unreachable(config, &broker.name, &error)])
            }
            Err(error) => vec![unreachable(config, &broker.name, &error)],
        };
        findings.extend(problems.iter().map(Finding::error));
    }
    findings
}

async fn examine(config: &Config, name: &str, connection: &Connection) -> Result<Vec<Problem>> {
    let Connection { broker, topology, .. } = connection;
    let capabilities = |channel: &ChannelSpec| broker.capabilities(channel);
    let mut problems = check_needs(config, name, broker.info(), capabilities, topology);
    if config.topology != TopologyPolicy::Off {
        let plan = broker.admin().plan().await?;
        problems.extend(plan.objects.iter().flat_map(|object| object_problems(config, object)));
    }
    Ok(problems)
}

fn object_problems(config: &Config, object: &PlannedObject) -> Vec<Problem> {
    let table = object.channel.as_ref().map(|channel| format!("channels.{channel}"));
    let what = format!("the {} `{}`", object.kind, object.name);
    match &object.state {
        ObjectState::Missing if config.topology == TopologyPolicy::Check => {
            let message = format!("{what} is missing on the broker");
            let fix = "run `polymq topology apply` with the rights to declare, or set topology = \
                       \"create-missing\"";
            vec![config.problem(table.unwrap_or_default(), message, fix)]
        }
        ObjectState::Differs(differences) => differences
            .iter()
            .map(|d| {
                let path = table.as_ref().map(|table| format!("{table}.{}", d.field));
                let message = format!("{what} has {} {}, wanted {}", d.field, d.found, d.wanted);
                let fix = "an existing object is never changed: correct the configuration, or \
                           migrate to a new channel";
                config.problem(path.unwrap_or_default(), message, fix)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// An error of the whole broker, at its table.
fn unreachable(config: &Config, broker: &str, error: &Error) -> Problem {
    let tables = [format!("brokers.{broker}"), "broker".to_owned()];
    let named = config.locate(&tables[0]) != config.locate("");
    let table = if named { &tables[0] } else { &tables[1] };
    let mut message = error.operation().map(|o| format!("{o}: ")).unwrap_or_default();
    message.push_str(error.message());
    for (fact, value) in error.context() {
        message.push_str(&format!("; {fact}: {value}"));
    }
    config.problem(format!("{table}.url"), message, error.help().unwrap_or_default())
}
