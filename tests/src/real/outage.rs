use std::ops::Deref;

use polymq_testkit::containers::{Container, RabbitmqServer};
use tokio::sync::{Mutex, MutexGuard};

use super::Place;

/// Tests that take down the same broker take turns.
static TURNS: [(&str, Mutex<()>); 2] =
    [("4.3", Mutex::const_new(())), ("4.0", Mutex::const_new(()))];

/// A place on a broker that only tests with outages use, and one of them at a time.
#[derive(Debug)]
pub struct Outages {
    place: Place,
    _turn: MutexGuard<'static, ()>,
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
    pub async fn turn(series: &str) -> Self {
        let turn = TURNS.iter().find(|(name, _)| *name == series);
        let (_, turn) = turn.unwrap_or_else(|| panic!("no broker for outages of {series}"));
        let turn = turn.lock().await;
        let server = RabbitmqServer::dedicated(series, "outages").await;
        let place = Place::on(server.unwrap_or_else(|e| panic!("{e:?}"))).await;
        Self { place, _turn: turn }
    }

    /// The broker's container.
    ///
    /// # Panics
    /// Never: a dedicated broker is in one.
    #[must_use]
    pub fn container(&self) -> &Container {
        self.server().container().unwrap_or_else(|| panic!("a broker without a container"))
    }

    /// Starts the broker again, and waits until it takes connections.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn restart(&self) {
        self.server().restart().await.unwrap_or_else(|e| panic!("{e:?}"));
    }

    /// Runs the broker's own command line, in its container.
    ///
    /// # Panics
    /// When it fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) {
        let output = self.container().run(&[&["rabbitmqctl"], arguments].concat()).await;
        output.unwrap_or_else(|e| panic!("rabbitmqctl {arguments:?}: {e:?}"));
    }
}
