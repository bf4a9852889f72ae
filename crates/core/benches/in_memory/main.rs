//! What the in-memory path costs: rate against a bounded tokio channel in the same run, and
//! allocations and instructions per message, which repeat exactly.
//!
//! `cargo bench -p polymq-core --bench in_memory` prints a report; with `-- --write` it also writes
//! `docs/performance.md`. Instructions need `valgrind`.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod alloc;
mod instructions;
mod rates;
mod report;
mod scenarios;

use scenarios::Scenario;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, scenario, count] = &args[..]
        && flag == "--only"
    {
        let scenario = Scenario::named(scenario).expect("a scenario's name");
        return scenarios::run_on_one_thread(scenario, count.parse().expect("a count"));
    }
    let quick = args.iter().any(|a| a == "--quick");
    let rates = rates::measure(if quick { 51_200 } else { 1_024_000 }, if quick { 1 } else { 7 });
    let allocations: Vec<_> = Scenario::ALL.iter().map(|s| alloc::per_message(*s)).collect();
    let instructions: Vec<_> =
        Scenario::ALL.iter().map(|s| instructions::per_message(*s)).collect();
    let text = report::render(&rates, &allocations, &instructions);
    println!("{text}");
    if args.iter().any(|a| a == "--write") {
        report::write(&text);
    }
}
