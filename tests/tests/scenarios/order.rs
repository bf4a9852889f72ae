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

/// A key per task, over some 24 seconds: longer than all the joining and leaving, on a busy machine, too.
const SHORT: Load = Load { tasks: 120, each: 120, pause: 200 };

/// Over some two minutes.
const LONG: Load = Load { tasks: 125, each: 400, pause: 300 };
const TIMES: usize = 20;

async fn order_by_key_holds_while_processes_join_leave_and_are_killed(series: Series) {
    let mut crew = Crew::start(series, SHORT).await;
    crew.spread().await;
    crew.until_confirmed(1, 5).await;
    crew.leave().await;
    crew.spread().await;
    crew.until_confirmed(2, 5).await;
    crew.join();
    crew.spread().await;
    crew.until_confirmed(3, 5).await;
    let killed = crew.kill_while_another_takes_over().await;
    crew.spread().await;
    crew.until_confirmed(4, 5).await;
    crew.join();
    crew.spread().await;
    crew.finish(Some(killed)).await;
}

/// Often before the partitions have settled from the time before.
async fn order_by_key_holds_while_three_processes_join_and_leave_20_times(series: Series) {
    let mut crew = Crew::start(series, LONG).await;
    crew.spread().await;
    for n in 0..TIMES {
        crew.until_confirmed(2 * n + 1, 2 * TIMES + 1).await;
        crew.leave().await;
        crew.until_confirmed(2 * n + 2, 2 * TIMES + 1).await;
        crew.join();
    }
    crew.finish(None).await;
}
