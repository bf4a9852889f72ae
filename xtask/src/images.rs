//! The images of the tests' brokers: official ones where a registry answers, else their equivalents,
//! built from Debian's packages by `docker/`.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::engine::Engine;
use crate::process;

const OFFICIAL: &str = "rabbitmq";
const EQUIVALENT: &str = "polymq/rabbitmq";
/// The image that the tests use, for all who run them.
pub(crate) const IMAGE: &str = "TEST_RABBITMQ_IMAGE";
/// Its tag where a test asks for no version.
pub(crate) const TAG: &str = "TEST_RABBITMQ_TAG";

/// The tag that testkit asks for by itself.
const UNVERSIONED: &str = "4-management";

/// The tag of each version that is tested, and the Debian that has it; the first is the default.
const VERSIONS: [(&str, &str); 2] = [("4.3-management", "sid"), ("4.0-management", "trixie")];

/// The label that says which recipe an image was built from.
const RECIPE: &str = "io.polymq.recipe";
/// Without an answer a pull fails by itself, and much sooner.
const PULL: Duration = Duration::from_secs(600);
const BUILD: Duration = Duration::from_secs(600);

/// Makes sure that every image is there.
pub(crate) struct Images<'a> {
    engine: &'a Engine,
    recipe: &'a Path,
}

impl<'a> Images<'a> {
    /// `recipe` is the folder with the Dockerfile.
    pub(crate) fn new(engine: &'a Engine, recipe: &'a Path) -> Self {
        Self { engine, recipe }
    }

    /// The name of the images: pulled, built, or there already.
    pub(crate) fn provide(&self) -> Result<String> {
        if let Some(name) = env::var(IMAGE).ok().filter(|name| !name.is_empty()) {
            self.pull(&name).with_context(|| format!("{IMAGE} asks for {name}"))?;
            return Ok(name);
        }
        let recipe = self.recipe()?;
        if VERSIONS.iter().all(|(tag, _)| self.is_here(OFFICIAL, tag)) {
            return Ok(OFFICIAL.to_owned());
        }
        let stale: Vec<_> =
            VERSIONS.into_iter().filter(|(tag, _)| !self.is_built(tag, &recipe)).collect();
        if stale.is_empty() {
            return Ok(EQUIVALENT.to_owned());
        }
        let Err(error) = self.pull(OFFICIAL) else { return Ok(OFFICIAL.to_owned()) };
        println!("no image registry: {error:#}");
        println!("building equivalents of the official images from Debian's packages");
        debian::prepare()?;
        thread::scope(|scope| {
            let build = |(tag, suite)| {
                let recipe = recipe.as_str();
                scope.spawn(move || self.build(tag, suite, recipe))
            };
            let builds: Vec<_> = stale.into_iter().map(build).collect();
            builds.into_iter().try_for_each(|build| match build.join() {
                Ok(built) => built,
                Err(_) => bail!("the build of an image panicked"),
            })
        })
        .context(
            "the images can be neither pulled nor built: see above, or let TEST_RABBITMQ_IMAGE name \
             one of your own",
        )?;
        // What a test asks for that names no version, and runs without us.
        let newest = format!("{EQUIVALENT}:{}", Self::default_tag());
        let unversioned = format!("{EQUIVALENT}:{UNVERSIONED}");
        process::run(self.engine.command().args(["tag", &newest, &unversioned]))?;
        Ok(EQUIVALENT.to_owned())
    }

    /// The tag that tests use where they ask for no version.
    pub(crate) fn default_tag() -> &'static str {
        VERSIONS[0].0
    }

    fn inspect(&self, name: &str, tag: &str, format: &str) -> Option<String> {
        let image = format!("{name}:{tag}");
        process::output(
            self.engine.command().args(["image", "inspect", "--format", format]).arg(image),
        )
        .ok()
    }

    fn is_here(&self, name: &str, tag: &str) -> bool {
        self.inspect(name, tag, "{{.Id}}").is_some()
    }

    fn is_built(&self, tag: &str, recipe: &str) -> bool {
        let label = format!("{{{{index .Config.Labels \"{RECIPE}\"}}}}");
        self.inspect(EQUIVALENT, tag, &label).is_some_and(|built| built == recipe)
    }

    fn pull(&self, name: &str) -> Result<()> {
        for (tag, _) in VERSIONS {
            if !self.is_here(name, tag) {
                let image = format!("{name}:{tag}");
                process::run_within(self.engine.command().args(["pull", "--quiet", &image]), PULL)?;
            }
        }
        Ok(())
    }

    fn build(&self, tag: &str, suite: &str, recipe: &str) -> Result<()> {
        let base = debian::base(self.engine, suite)?;
        let image = format!("{EQUIVALENT}:{tag}");
        self.remove_containers(&image)?;
        let mut build = self.engine.command();
        // The builder that needs no plugin; apt-get reaches what the host reaches.
        build.env("DOCKER_BUILDKIT", "0");
        build.args(["build", "--quiet", "--network", "host", "--tag", &image]);
        build.args([
            "--build-arg",
            &format!("BASE={base}"),
            "--build-arg",
            &format!("SUITE={suite}"),
        ]);
        build.args(["--label", &format!("{RECIPE}={recipe}")]);
        for proxy in ["http_proxy", "https_proxy", "no_proxy"] {
            if env::var_os(proxy).is_some() {
                build.args(["--build-arg", proxy]);
            }
        }
        process::run_within(build.arg(self.recipe), BUILD)
    }

    /// Containers of an earlier recipe would be found, and used, by their name.
    fn remove_containers(&self, image: &str) -> Result<()> {
        let ancestor = format!("ancestor={image}");
        let list =
            ["ps", "--all", "--quiet", "--filter", &ancestor, "--filter", "label=io.polymq.test"];
        for container in process::output(self.engine.command().args(list))?.lines() {
            process::run(self.engine.command().args(["rm", "--force", "--volumes", container]))?;
        }
        Ok(())
    }

    /// Changes with any file of the recipe.
    fn recipe(&self) -> Result<String> {
        let mut files: Vec<_> =
            fs::read_dir(self.recipe)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort_unstable();
        let mut hasher = DefaultHasher::new();
        for file in files {
            fs::read(&file).with_context(|| file.display().to_string())?.hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}
