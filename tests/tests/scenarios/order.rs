//! Messages keep the order of their key while processes come and go.

mod crew;
mod partitions;
mod trace;

use polymq_tests::real::Series;

use crate::programs::Load;
use crew::Crew;

on_each_series!(
    order_by_key_holds_while_processes_join_leave_and_are_killed,
    #[ignore = "long: 50,000 messages, on request"]
    order_by_key_holds_while_three_processes_join_and_leave_20_times,
);

/// A key per task, some 600 messages a second, until the processes have joined and left.
const SHORT: Load = Load { tasks: 120, each: usize::MAX, pause: 200 };
const BETWEEN: usize = 2000;

/// 50,000 messages, over some three minutes.
const LONG: Load = Load { tasks: 125, each: 400, pause: 500 };
const TIMES: usize = 20;

async fn order_by_key_holds_while_processes_join_leave_and_are_killed(series: Series) {
    let mut crew = Crew::start(series, SHORT).await;
    crew.spread().await;
    crew.until_confirmed(BETWEEN).await;
    crew.leave().await;
    crew.spread().await;
    crew.until_confirmed(2 * BETWEEN).await;
    crew.join();
    crew.spread().await;
    crew.until_confirmed(3 * BETWEEN).await;
    let killed = crew.kill_while_another_takes_over().await;
    crew.spread().await;
    crew.until_confirmed(4 * BETWEEN).await;
    crew.join();
    crew.spread().await;
    let publisher = crew.publisher().terminate().await;
    publisher.assert_success();
    crew.finish(Some(killed)).await;
}

/// Often before the partitions have settled from the time before.
async fn order_by_key_holds_while_three_processes_join_and_leave_20_times(series: Series) {
    let mut crew = Crew::start(series, LONG).await;
    let between = LONG.total() / (2 * TIMES + 1);
    for n in 0..TIMES {
        crew.until_confirmed((2 * n + 1) * between).await;
        crew.leave().await;
        crew.until_confirmed((2 * n + 2) * between).await;
        crew.join();
    }
    assert!(crew.confirmed() < LONG.total(), "all this came too late");
    let publisher = crew.publisher().ended().await;
    publisher.assert_success();
    crew.finish(None).await;
}
