//! The async driver under faults: the short form. The long one is `cargo run --release -p zc-testkit --bin explore --
//! --driver tokio`.

use std::time::Instant;

use zc_testkit::explorer::{Effort, Menu, Tally, tokio};

#[test]
fn no_poll_and_no_drop_loses_a_byte() {
    let _alone = zc_testkit::serial::serial();
    let begun = Instant::now();
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    let scenarios = tokio::cells();
    for (i, scenario) in scenarios.iter().enumerate() {
        let effort = Effort {
            singles: (i % 12 == 0).then_some(Menu::Brief),
            pairs: (i % 307 == 0).then_some(Menu::Brief),
            random: 8,
            seed: i as u64,
        };
        if let Err(failure) = tokio::explore(scenario, &effort, &mut tally) {
            failures.push(failure);
            // A run that hangs takes long.
            if failures.len() == 3 {
                break;
            }
        }
    }
    println!(
        "{} schedules over {} scenarios, {} faults injected, in {:.1} s",
        tally.runs,
        scenarios.len(),
        tally.faults,
        begun.elapsed().as_secs_f64()
    );
    if let Some(first) = failures.first() {
        panic!("{} scenarios fail, the first like this:\n{first}", failures.len());
    }
    assert!(tally.runs > 10_000, "the explorer explores next to nothing: {tally:?}");
}
