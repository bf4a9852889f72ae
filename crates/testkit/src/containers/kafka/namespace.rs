use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use polymq_core::{Namespace, Result};

use super::Admin;
use crate::containers::leftovers::{self, apart, is_abandoned, now};

/// A namespace that one test has for itself: topics and groups whose names begin with it.
///
/// Dropping it deletes them.
pub struct KafkaNamespace {
    name: Namespace,
    address: String,
    admin: Admin,
}

impl KafkaNamespace {
    pub(super) fn create(address: &str) -> Result<Self> {
        let admin = Admin::new(address)?;
        sweep(&admin);
        let name = Namespace::new(leftovers::name())?;
        Ok(Self { name, address: address.to_owned(), admin })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Namespace {
        &self.name
    }

    /// The broker's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.address)
    }
}

impl Drop for KafkaNamespace {
    fn drop(&mut self) {
        let (name, admin) = (self.name.clone(), self.admin.clone());
        // What could not be deleted is, by a later run, when it is old.
        let _ = apart(async move { delete(&admin, |n| n.starts_with(name.as_str())).await }).join();
    }
}

impl fmt::Debug for KafkaNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaNamespace").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Deletes, once per process and without anybody waiting for it, what killed tests have left.
fn sweep(admin: &Admin) {
    static SWEPT: AtomicBool = AtomicBool::new(false);
    if SWEPT.swap(true, Ordering::Relaxed) {
        return;
    }
    let (admin, now) = (admin.clone(), now());
    apart(async move { delete(&admin, |name| is_abandoned(name, now)).await });
}

async fn delete(admin: &Admin, is_over: impl Fn(&str) -> bool) -> Result<()> {
    let [mut topics, mut groups] = [admin.topics().await?, admin.groups().await?];
    topics.retain(|name| is_over(name));
    groups.retain(|name| is_over(name));
    admin.delete(&topics, &groups).await
}
