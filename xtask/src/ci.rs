//! `cargo xtask ci`: what the gate runs.

use std::process::Command;
use std::time::Instant;

use crate::Outcome;

/// One command, with the environment it wants.
struct Check {
    command: &'static str,
    env: &'static [(&'static str, &'static str)],
}

const fn check(command: &'static str) -> Check {
    Check { command, env: &[] }
}

/// In the order of how soon they fail. The last is the README's test command.
const CHECKS: &[Check] = &[
    check("cargo fmt --all --check"),
    check("cargo clippy --workspace --all-targets --all-features -- -D warnings"),
    // Each library alone, as its users build it: features are not unified with the tests'.
    check("cargo clippy -p zc-core -- -D warnings"),
    check("cargo clippy -p zc-linux -- -D warnings"),
    check("cargo clippy -p zc-std -- -D warnings"),
    Check {
        command: "cargo doc --workspace --no-deps --all-features --document-private-items",
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    check("cargo run -p zc-std --example custom_destination"),
    check("cargo run -p zc-std --example metering_source"),
    check("cargo run -p zc-std --example upload_server"),
    check("cargo run -p zc-std --features hook --example inject_faults"),
    check("cargo test -p zc-std --features hook --examples"),
    check("cargo run --release -p zc-cli -- demo --size 64MiB"),
    check("cargo run --release -p zc-testkit --bin soak -- --seconds 10"),
    check("cargo test --workspace"),
];

/// Runs the checks, and stops at the first that fails.
pub(crate) fn run() -> Outcome {
    let start = Instant::now();
    for Check { command, env } in CHECKS {
        println!("\n$ {command}");
        let mut words = command.split(' ');
        let program = words.next().expect("no command is empty");
        let status = Command::new(program).args(words).envs(env.iter().copied()).status()?;
        if !status.success() {
            return Err(format!("`{command}`: {status}").into());
        }
    }
    println!("\nci: {} checks in {} s", CHECKS.len(), start.elapsed().as_secs());
    Ok(())
}
