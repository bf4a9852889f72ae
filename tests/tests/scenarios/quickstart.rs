//! The quickstart prints the very same table on every broker.

use polymq_tests::real::{Place, Process, Series, built};
use tokio::process::Command;

on_each_series!(the_quickstart_prints_the_table_that_it_prints_on_memory);

const EXPECTED: &str = include_str!("../../../examples/quickstart/expected.txt");

async fn the_quickstart_prints_the_table_that_it_prints_on_memory(series: Series) {
    let place = Place::shared(series).await;
    let mut command = Command::new(built("quickstart").await);
    command.args(["--broker", &place.url()]).env("POLYMQ_NAMESPACE", place.namespace());
    let printed = Process::spawn(&mut command).ended().await.assert_success();
    assert_eq!(printed, EXPECTED);
    println!("{}: as on memory", place.label());
}
