use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, PoisonError};

use polymq_testkit::containers::Container;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Place, Series};

type Turns = std::sync::Mutex<HashMap<Series, Arc<Mutex<()>>>>;

/// Tests that take down the same broker take turns.
static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);

/// A place on a broker that only tests with outages use, and one of them at a time.
#[derive(Debug)]
pub struct Outages {
    place: Place,
    _turn: OwnedMutexGuard<()>,
}

impl Deref for Outages {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Outages {
    /// Waits for the test's turn.
    ///
    /// # Panics
    /// When there is no such broker to be had.
    pub async fn turn(series: Series) -> Self {
        let turn = {
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(series).or_default())
        };
        let turn = turn.lock_owned().await;
        Self { place: Place::on(series.site(Some("outages")).await), _turn: turn }
    }

    /// The broker's container.
    ///
    /// # Panics
    /// Never: a broker that serves one purpose is in one.
    #[must_use]
    pub fn container(&self) -> &Container {
        self.place.container().unwrap_or_else(|| panic!("a broker without a container"))
    }

    /// Starts the broker again, and waits until it takes connections.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn restart(&self) {
        self.place.restart().await.unwrap_or_else(|e| panic!("{e:?}"));
    }
}
