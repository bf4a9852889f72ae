//! The images of the tests' brokers: official ones where a registry answers, else their equivalents,
//! built from Debian's packages by `docker/`.

mod broker;
mod build;
mod jars;
mod recipe;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engine::Engine;
use crate::process;
use broker::{BROKERS, Broker};
use build::Build;
use recipe::Recipe;

/// Without an answer a pull fails by itself, and much sooner.
const PULL: Duration = Duration::from_secs(600);

/// Makes sure that every image is there.
pub(crate) struct Images<'a> {
    engine: &'a Engine,
    recipes: PathBuf,
}

impl<'a> Images<'a> {
    /// `recipes` is the folder with a folder for each broker.
    pub(crate) fn new(engine: &'a Engine, recipes: PathBuf) -> Self {
        Self { engine, recipes }
    }

    /// Pulls and builds what isn't there; returns the variables that tell the tests.
    pub(crate) fn provide(&self) -> Result<Vec<(&'static str, String)>> {
        let mut environment = Vec::new();
        let mut missing = Vec::new();
        for broker in &BROKERS {
            let (name, builds) = self.find(broker)?;
            println!("{name}");
            environment.push((broker.image, name));
            environment.push((broker.tag, broker.default_tag().to_owned()));
            missing.extend(builds);
        }
        build::all(self.engine, &missing).context(
            "the images can be neither pulled nor built: see above, or name some of your own in \
             TEST_RABBITMQ_IMAGE and the like",
        )?;
        Ok(environment)
    }

    /// The name of a broker's images, and which of them are yet to be built.
    fn find(&self, broker: &'static Broker) -> Result<(String, Vec<Build>)> {
        if let Some(name) = env::var(broker.image).ok().filter(|name| !name.is_empty()) {
            self.pull(broker, &name)
                .with_context(|| format!("{} asks for {name}", broker.image))?;
            return Ok((name, Vec::new()));
        }
        let recipe = Recipe::read(self.recipes.join(broker.name))?;
        if broker.versions.iter().all(|version| self.is_here(broker.official, version.tag)) {
            return Ok((broker.official.to_owned(), Vec::new()));
        }
        let builds = Build::stale(self.engine, broker, &recipe);
        if !builds.is_empty() {
            let Err(error) = self.pull(broker, broker.official) else {
                return Ok((broker.official.to_owned(), Vec::new()));
            };
            println!("no image registry: {error:#}");
            println!("building equivalents of {} from Debian's packages", broker.official);
        }
        Ok((broker.equivalent.to_owned(), builds))
    }

    fn is_here(&self, name: &str, tag: &str) -> bool {
        self.engine.inspect(&format!("{name}:{tag}"), "{{.Id}}").is_some()
    }

    fn pull(&self, broker: &Broker, name: &str) -> Result<()> {
        for version in broker.versions {
            if !self.is_here(name, version.tag) {
                let image = format!("{name}:{}", version.tag);
                process::run_within(self.engine.command().args(["pull", "--quiet", &image]), PULL)?;
            }
        }
        Ok(())
    }
}
