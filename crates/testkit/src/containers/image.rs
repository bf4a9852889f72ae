use std::fmt;

use polymq_core::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage};

/// A container image: its name, and the tag that stands for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name, such as `rabbitmq`.
    pub name: String,
    /// The tag, such as `4.3-management`.
    pub tag: String,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl Image {
    /// The first of `names` whose image with this tag is there; else the first that can be pulled.
    pub(super) async fn find(engine: &Docker, names: &[&str], tag: &str) -> Result<Self> {
        let images: Vec<Self> =
            names.iter().map(|&name| Self { name: name.to_owned(), tag: tag.to_owned() }).collect();
        for image in &images {
            if image.is_here(engine).await? {
                return Ok(image.clone());
            }
        }
        let mut failure = None;
        for image in images {
            let request = ContainerRequest::from(GenericImage::new(&image.name, &image.tag));
            match request.pull_image().await {
                Ok(_) => return Ok(image),
                // The first is the one that people expect: its failure is the one to show.
                Err(error) => failure = failure.or(Some((image, error))),
            }
        }
        let (wanted, source) = failure.ok_or_else(|| {
            Error::new(ErrorKind::Config, "no image was named").with_operation("find an image")
        })?;
        Err(Error::new(ErrorKind::NotFound, format!("the image {wanted} cannot be had"))
            .with_operation("pull")
            .with_source(source))
    }

    async fn is_here(&self, engine: &Docker) -> Result<bool> {
        match engine.inspect_image(&self.to_string()).await {
            Ok(_) => Ok(true),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(super::engine::no_engine(error)),
        }
    }
}
