use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::broker::Broker;
use super::jars;
use super::recipe::Recipe;
use crate::debian;
use crate::engine::Engine;
use crate::process;

/// The label that says which recipe an image was built from.
const RECIPE: &str = "io.polymq.recipe";
const BUILD: Duration = Duration::from_secs(600);

/// An image that is to be built.
pub(super) struct Build {
    broker: &'static Broker,
    recipe: Recipe,
    tag: &'static str,
    suite: &'static str,
}

/// Builds images, several at a time.
pub(super) fn all(engine: &Engine, builds: &[Build]) -> Result<()> {
    if builds.is_empty() {
        return Ok(());
    }
    debian::prepare()?;
    let suites: BTreeSet<_> = builds.iter().map(|build| build.suite).collect();
    together(suites, |suite| debian::base(engine, suite).map(drop))?;
    together(builds, |build| build.run(engine))
}

impl Build {
    /// The equivalents of a broker's images that are missing, or were built from another recipe.
    pub(super) fn stale(engine: &Engine, broker: &'static Broker, recipe: &Recipe) -> Vec<Self> {
        let label = format!("{{{{index .Config.Labels \"{RECIPE}\"}}}}");
        let builds = broker.versions.iter().map(|version| Self {
            broker,
            recipe: recipe.clone(),
            tag: version.tag,
            suite: version.suite,
        });
        builds
            .filter(|build| engine.inspect(&build.image(), &label).as_ref() != Some(&recipe.hash))
            .collect()
    }

    fn image(&self) -> String {
        format!("{}:{}", self.broker.equivalent, self.tag)
    }

    fn run(&self, engine: &Engine) -> Result<()> {
        let base = debian::base(engine, self.suite)?;
        let with_jars = jars::context(&self.recipe, self.broker.name)?;
        let context: &Path = with_jars.as_deref().unwrap_or(&self.recipe.folder);
        remove_containers(engine, &self.image())?;
        let mut build = engine.command();
        // The builder that needs no plugin; apt-get reaches what the host reaches.
        build.env("DOCKER_BUILDKIT", "0");
        build.args(["build", "--quiet", "--network", "host", "--tag", &self.image()]);
        if self.tag == self.broker.default_tag() {
            // What a test asks for that names no version, and runs without us.
            let unversioned = format!("{}:{}", self.broker.equivalent, self.broker.unversioned);
            build.args(["--tag", &unversioned]);
        }
        build.args(["--build-arg", &format!("BASE={base}")]);
        build.args(["--build-arg", &format!("SUITE={}", self.suite)]);
        build.args(["--label", &format!("{RECIPE}={}", self.recipe.hash)]);
        for proxy in ["http_proxy", "https_proxy", "no_proxy"] {
            if env::var_os(proxy).is_some() {
                build.args(["--build-arg", proxy]);
            }
        }
        process::run_within(build.arg(context), BUILD)
    }
}

/// Containers of an earlier recipe would be found, and used, by their name.
fn remove_containers(engine: &Engine, image: &str) -> Result<()> {
    let ancestor = format!("ancestor={image}");
    let list =
        ["ps", "--all", "--quiet", "--filter", &ancestor, "--filter", "label=io.polymq.test"];
    for container in process::output(engine.command().args(list))?.lines() {
        process::run(engine.command().args(["rm", "--force", "--volumes", container]))?;
    }
    Ok(())
}

/// Does something with each, at the same time.
fn together<T: Send>(
    all: impl IntoIterator<Item = T>,
    task: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let task = &task;
        let tasks: Vec<_> = all.into_iter().map(|one| scope.spawn(move || task(one))).collect();
        tasks.into_iter().try_for_each(|task| match task.join() {
            Ok(done) => done,
            Err(_) => bail!("the build of an image panicked"),
        })
    })
}
