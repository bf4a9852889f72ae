use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::config::BrokerConfig;
use crate::config::reader::Reader;
use crate::config::secret::Password;
use crate::config::security;
use crate::model::check_name;

/// Reads a broker's table; `None` when its URLs are wrong.
pub(super) fn read(name: &str, mut r: Reader<'_>, strict: bool) -> Option<BrokerConfig> {
    let valid = r.own_name(check_name("broker", name));
    r.require("url", "add url = \"memory://\", or another broker's");
    let username = r.text("username");
    let urls = urls(&mut r, username, strict);
    let password = password(&mut r);
    let settings = r.adapter_tables(|adapter, settings| adapter.check_broker(settings));
    valid?;
    let urls = urls?;
    Some(BrokerConfig {
        name: name.to_owned(),
        scheme: urls.first()?.scheme().to_owned(),
        urls: urls.into_iter().map(|url| SecretString::from(String::from(url))).collect(),
        credentials: Arc::new(password),
        settings,
    })
}

fn urls(r: &mut Reader<'_>, username: Option<&str>, strict: bool) -> Option<Vec<Url>> {
    let texts = r.texts("url")?;
    if texts.is_empty() {
        r.problem("url", "the list is empty", "name at least one URL");
    }
    let mut urls: Vec<Url> = Vec::with_capacity(texts.len());
    let mut complete = !texts.is_empty();
    for (path, text) in texts {
        let Some(mut url) = parse(r, &path, text) else {
            complete = false;
            continue;
        };
        if let Some(username) = username
            && url.set_username(username).is_err()
        {
            let message = format!("`{}://` takes no username", url.scheme());
            r.problem("username", message, "remove it");
        }
        match urls.first() {
            Some(first) if first.scheme() != url.scheme() => {
                let message = format!(
                    "the scheme `{}` differs from the first URL's, `{}`",
                    url.scheme(),
                    first.scheme()
                );
                let fix = "the URLs of one broker are those of one cluster, all of one scheme";
                r.findings.problem(path, message, fix);
                complete = false;
            }
            Some(_) => security::check_plaintext(r.findings, &path, &url, strict),
            None => {
                complete &= security::check_scheme(r.findings, &path, url.scheme(), r.adapters);
                security::check_plaintext(r.findings, &path, &url, strict);
            }
        }
        urls.push(url);
    }
    complete.then_some(urls)
}

/// The text is not quoted in problems: it may hold a password.
fn parse(r: &mut Reader<'_>, path: &str, text: &str) -> Option<Url> {
    let fix = "write scheme://user:password@host:port, with special characters percent-encoded, \
               and several hosts as a list of URLs";
    let problem = match Url::parse(text) {
        Ok(url) if text.contains("://") => return Some(url),
        Ok(_) => "not a URL: `://` is missing".to_owned(),
        Err(error) => format!("not a URL: {error}"),
    };
    r.findings.problem(path, problem, fix);
    None
}

fn password(r: &mut Reader<'_>) -> Password {
    let fixed = r.text("password").map(SecretString::from);
    let file = r.text("password_file");
    match (fixed, file) {
        (Some(_), Some(_)) => {
            let message = "`password` is set too: which one holds is unclear";
            r.problem("password_file", message, "remove one of them");
            Password::None
        }
        (Some(password), None) => Password::Fixed(password),
        (None, Some(path)) => Password::File(path.into()),
        (None, None) => Password::None,
    }
}
