use std::fmt::Write;
use std::sync::Arc;

use super::ceilings::ceilings;
use crate::Result;
use crate::broker::{Adapter, Capability, ChannelFacts, ChannelSpec, Topology};
use crate::config::Settings;
use crate::model::{ChannelName, GroupName, Namespace};

/// The facts of one adapter at one version, for each shape of channel.
struct Column {
    title: String,
    queue: ChannelFacts,
    topic: ChannelFacts,
    ordered: ChannelFacts,
}

/// What stands before the table.
const INTRODUCTION: &str = "\
# Capabilities

What each broker can do, at the versions between which that differs, with default settings. \
`polymq capabilities` prints this page from the adapters' own facts, which the check at start and \
`polymq explain` use too. `yes`, `no` or the kind of channel is about what a configuration can need; \
the rows below are limits and guarantees. Numbers in brackets lead to the reasons.

";

/// What each adapter can do at each of its versions, with its default settings: the page
/// `docs/capabilities.md`.
///
/// # Errors
/// The adapters' own.
pub fn capability_table(adapters: &[Arc<dyn Adapter>]) -> Result<String> {
    let mut columns = Vec::new();
    for adapter in adapters {
        for version in adapter.versions() {
            columns.push(Column::new(&**adapter, version)?);
        }
    }
    let mut notes = Notes::default();
    let mut text = INTRODUCTION.to_owned();
    let titles: Vec<_> = columns.iter().map(|c| c.title.clone()).collect();
    row(&mut text, "", &titles);
    row(&mut text, "---", &vec!["---".to_owned(); columns.len()]);
    for capability in Capability::ALL {
        let cells: Vec<_> = columns.iter().map(|c| c.support(*capability, &mut notes)).collect();
        row(&mut text, capability.as_str(), &cells);
    }
    let limits: Vec<_> = columns.iter().map(|c| ceilings(&c.queue)).collect();
    for (i, ceiling) in limits.first().into_iter().flatten().enumerate() {
        let cells: Vec<_> = limits.iter().map(|column| column[i].says.clone()).collect();
        row(&mut text, ceiling.about, &cells);
    }
    let says = |says: fn(&ChannelFacts) -> &str| -> Vec<String> {
        columns.iter().map(|c| says(&c.queue).to_owned()).collect()
    };
    row(&mut text, "confirmed means", &says(|facts| &facts.durability));
    row(&mut text, "a retry waits", &says(|facts| &facts.retry_wait));
    row(&mut text, "order is kept by", &says(|facts| &facts.order));
    let more = columns.iter().map(|c| match c.queue.duplicates.is_empty() {
        true => "nothing more".to_owned(),
        false => c.queue.duplicates.join("; "),
    });
    row(&mut text, "a crash repeats, beside what is in hand", &more.collect::<Vec<_>>());
    for (i, note) in notes.0.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}. {note}", i + 1);
    }
    Ok(text)
}

fn row(text: &mut String, head: &str, cells: &[String]) {
    let _ = writeln!(text, "| {head} | {} |", cells.join(" | "));
}

/// Why something is lacking, each reason once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// The number of a note, from 1.
    fn number(&mut self, note: String) -> usize {
        let known = self.0.iter().position(|n| *n == note);
        known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        }) + 1
    }
}

impl Column {
    fn new(adapter: &dyn Adapter, version: &str) -> Result<Self> {
        let name = || ChannelName::new("channel");
        let mut ordered = ChannelSpec::queue(name()?);
        ordered.ordered = true;
        let queue = facts(adapter, version, ChannelSpec::queue(name()?))?;
        Ok(Self {
            title: queue.product.clone(),
            topic: facts(
                adapter,
                version,
                ChannelSpec::topic(name()?, [GroupName::new("group")?]),
            )?,
            ordered: facts(adapter, version, ordered)?,
            queue,
        })
    }

    /// Whether it has the capability, for the channels that could need it.
    fn support(&self, capability: Capability, notes: &mut Notes) -> String {
        let shapes: &[(&str, &ChannelFacts)] = match capability {
            Capability::OrderByKey | Capability::OrderedPipelining => &[("", &self.ordered)],
            Capability::Queue => &[("", &self.queue)],
            Capability::Topic | Capability::Replay => &[("", &self.topic)],
            _ => &[("queues", &self.queue), ("topics", &self.topic)],
        };
        let denial = |facts: &ChannelFacts| facts.capabilities.denial(capability);
        let has: Vec<_> = shapes.iter().filter(|(_, f)| denial(f).is_none()).collect();
        let Some(denial) = shapes.iter().find_map(|(_, facts)| denial(facts)) else {
            return "yes".to_owned();
        };
        // What all versions lack is said once.
        let family = self.title.rsplit_once(' ').map_or(&*self.title, |(family, _)| family);
        let note = notes.number(denial.reason.replace(&self.title, family));
        match has.as_slice() {
            [(some, _)] => format!("{some} only ({note})"),
            _ => format!("no ({note})"),
        }
    }
}

fn facts(adapter: &dyn Adapter, version: &str, channel: ChannelSpec) -> Result<ChannelFacts> {
    let topology = Topology { namespace: Namespace::default(), channels: vec![channel] };
    adapter.describe(version, &Settings::default(), &topology, &topology.channels[0])
}
