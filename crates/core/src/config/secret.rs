use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::broker::Credentials;
use crate::{Error, ErrorKind, Result};

/// Where a broker's password is.
#[derive(Debug)]
pub(super) enum Password {
    /// In the URL, or nowhere.
    None,
    /// In the configuration.
    Fixed(SecretString),
    /// In a file, read again each time, so that a rotation is noticed.
    File(PathBuf),
}

impl Credentials for Password {
    fn password(&self) -> Result<Option<SecretString>> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(password) => Ok(Some(password.clone())),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read the password file {}", path.display());
                    Error::new(ErrorKind::Config, message)
                        .with_help("create it, or correct `password_file`")
                        .with_source(error)
                })?;
                Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
            }
        }
    }
}

/// A URL without credentials, path and query: what logs and errors may show.
pub(super) struct Address<'a>(pub(super) &'a url::Url);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.0.scheme())?;
        f.write_str(self.0.host_str().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_rotated_password_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("polymq-password-{}", std::process::id()));
        let password = Password::File(path.clone());
        for secret in ["one", "two"] {
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            let read = password.password().unwrap().unwrap();
            assert_eq!(read.expose_secret(), secret);
        }
        std::fs::remove_file(&path).unwrap();
        let error = password.password().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
