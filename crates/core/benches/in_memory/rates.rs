//! Messages per second, interleaved: every round runs every scenario, in rotated order.

use std::time::Instant;

use crate::scenarios::Scenario;

pub(crate) struct Rate {
    pub(crate) scenario: Scenario,
    /// Messages per second over those of the tokio channel in the same round: median, least, most.
    pub(crate) ratio: [f64; 3],
}

pub(crate) fn measure(count: usize, rounds: usize) -> Vec<Rate> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = |scenario: Scenario| {
        let start = Instant::now();
        // On a runtime worker: under `block_on` the same loop costs up to four times the CPU.
        runtime.block_on(async { tokio::spawn(scenario.run(count)).await.unwrap() });
        count as f64 / start.elapsed().as_secs_f64()
    };
    for scenario in Scenario::ALL {
        run(scenario);
    }
    let mut ratios = vec![Vec::new(); Scenario::ALL.len()];
    for round in 0..rounds {
        let mut rates = [0.0; Scenario::ALL.len()];
        for place in 0..Scenario::ALL.len() {
            let index = (place + round) % Scenario::ALL.len();
            rates[index] = run(Scenario::ALL[index]);
        }
        for (ratio, rate) in ratios.iter_mut().zip(rates) {
            ratio.push(rate / rates[0]);
        }
    }
    let summary = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        [ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]]
    };
    let scenarios = Scenario::ALL.into_iter();
    scenarios.zip(ratios).map(|(scenario, r)| Rate { scenario, ratio: summary(r) }).collect()
}
