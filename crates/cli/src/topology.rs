//! `polymq topology`: what the configuration implies on its brokers, and how it stands there.

use polymq::broker::{Difference, ObjectState, Plan};
use polymq::config::Config;
use polymq::{App, system_clock};
use serde::Serialize;

use crate::args::{Cli, TopologyAction};
use crate::exit::{Exit, Failure};
use crate::load::load;
use crate::output::{Stdout, Style, table};

/// An object as a line of output.
#[derive(Debug, Serialize)]
struct Object {
    broker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    kind: &'static str,
    name: String,
    state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Differs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Present,
    Missing,
    Created,
    Differs,
}

#[derive(Debug, Serialize)]
struct Differs {
    field: String,
    wanted: String,
    found: String,
}

pub(crate) async fn run(cli: &Cli, action: &TopologyAction) -> Result<Exit, Failure> {
    let app = polymq::app();
    let config = load(&app, cli)?;
    let mut objects = Vec::new();
    for broker in config.brokers_in_use() {
        objects.extend(of_broker(&app, &config, &broker.name, *action).await?);
    }
    print(cli, &objects)?;
    let differs = objects.iter().any(|object| object.state == State::Differs);
    Ok(if differs { Exit::No } else { Exit::Done })
}

/// Plans, and applies unless something differs: an existing object is never changed.
async fn of_broker(
    app: &App,
    config: &Config,
    name: &str,
    action: TopologyAction,
) -> Result<Vec<Object>, Failure> {
    let connection = app.connect(config, name).await?;
    let admin = connection.broker.admin();
    let outcome = async {
        let plan = admin.plan().await?;
        let apply = action == TopologyAction::Apply && plan.differing().next().is_none();
        if apply {
            admin.apply(&plan).await?;
        }
        Ok(objects(name, &plan, apply))
    };
    let outcome = outcome.await;
    let closing = connection.broker.close(system_clock().instant() + config.drain_timeout);
    // Nothing was published: there is nothing to flush.
    let _ = closing.await;
    outcome.map_err(|error: polymq::Error| Failure::from(error.with_broker(name)))
}

fn objects(broker: &str, plan: &Plan, applied: bool) -> Vec<Object> {
    let object = |object: &polymq::broker::PlannedObject| {
        let (state, differences) = match &object.state {
            ObjectState::Present => (State::Present, &[][..]),
            ObjectState::Missing if applied => (State::Created, &[][..]),
            ObjectState::Missing => (State::Missing, &[][..]),
            ObjectState::Differs(differences) => (State::Differs, differences.as_slice()),
        };
        Object {
            broker: broker.to_owned(),
            channel: object.channel.as_ref().map(ToString::to_string),
            kind: object.kind,
            name: object.name.clone(),
            state,
            differences: differences.iter().cloned().map(Differs::from).collect(),
        }
    };
    plan.objects.iter().map(object).collect()
}

impl From<Difference> for Differs {
    fn from(Difference { field, wanted, found }: Difference) -> Self {
        Self { field, wanted, found }
    }
}

fn print(cli: &Cli, objects: &[Object]) -> Result<(), Failure> {
    let mut stdout = Stdout::new();
    match Style::of(cli) {
        Style::Json => objects.iter().try_for_each(|object| stdout.json(object))?,
        Style::Table => {
            let header = ["broker", "channel", "object", "name", "state"];
            let table = table(header, objects.iter().map(Object::row));
            stdout.text(&table.to_string())?;
        }
    }
    stdout.flush()
}

impl Object {
    fn row(&self) -> [String; 5] {
        let mut state = format!("{:?}", self.state).to_lowercase();
        for Differs { field, wanted, found } in &self.differences {
            state.push_str(&format!("\n{field} is {found}, wanted {wanted}"));
        }
        let channel = self.channel.clone().unwrap_or_default();
        [self.broker.clone(), channel, self.kind.to_owned(), self.name.clone(), state]
    }
}
