//! `cargo xtask ci`: what the gate runs.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use crate::Outcome;
use crate::skips::Skips;

mod elsewhere;

/// One command, and the environment that it needs.
struct Check {
    command: &'static str,
    env: &'static [(&'static str, &'static str)],
}

const fn check(command: &'static str) -> Check {
    Check { command, env: &[] }
}

/// A build of the documentation in which any warning is an error.
const fn doc(command: &'static str) -> Check {
    Check { command, env: &[("RUSTDOCFLAGS", "-D warnings")] }
}

/// zc-std's copy by read and write, in place of the engine.
const PORTABLE: &[(&str, &str)] = &[("RUSTFLAGS", "--cfg zc_portable")];

/// The quickest to fail come first. The last is the README's test command.
const CHECKS: &[Check] = &[
    check("cargo fmt --all --check"),
    check("cargo clippy --workspace --all-targets --all-features -- -D warnings"),
    // Each library alone, as its users build it: its features are not unified with those of the tests.
    check("cargo clippy -p zc-core -- -D warnings"),
    check("cargo clippy -p zc-linux -- -D warnings"),
    check("cargo clippy -p zc-std -- -D warnings"),
    check("cargo clippy -p zc-tokio -- -D warnings"),
    // Each feature alone.
    check("cargo clippy -p zc-std --features conformance -- -D warnings"),
    check("cargo clippy -p zc-std --features hook -- -D warnings"),
    check("cargo clippy -p zc-tokio --features fs -- -D warnings"),
    check("cargo clippy -p zc-tokio --features hook -- -D warnings"),
    // Not a member of the workspace, so the checks above miss it. A check links nothing, so this one needs no C++
    // compiler; the variable says that libFuzzer is elsewhere.
    Check {
        command: "cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target",
        env: &[("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a")],
    },
    // As docs.rs builds it, and with the default features; then with the pages that only contributors read. A public
    // page must not link to a private one.
    doc("cargo doc --no-deps --all-features -p zc-core -p zc-linux -p zc-std -p zc-tokio"),
    doc("cargo doc --no-deps -p zc-core -p zc-linux -p zc-std -p zc-tokio"),
    doc("cargo doc --workspace --no-deps --all-features --document-private-items"),
    // The copy of other Unixes, on this system.
    Check {
        command: "cargo clippy -p zc-std --target-dir target/portable --tests -- -D warnings",
        env: PORTABLE,
    },
    Check {
        command: "cargo test -q -p zc-std --target-dir target/portable --test everywhere",
        env: PORTABLE,
    },
    check("cargo run -p zc-std --example custom_destination"),
    check("cargo run -p zc-std --example metering_source"),
    check("cargo run -p zc-std --example upload_server"),
    check("cargo run -p zc-std --example relay_mio"),
    check("cargo run -p zc-std --features hook --example inject_faults"),
    check("cargo test -p zc-std --features hook --examples"),
    check("cargo test -p zc-tokio --all-features --examples"),
    check("cargo run --release -p zc-cli -- demo --size 64MiB"),
    check("cargo run -q -p xtask -- dist"),
    check("cargo run --release -p zc-testkit --bin soak -- --seconds 10"),
    // Each bench once, unoptimised, to see that it runs.
    check("cargo test -q -p zc-benches --benches"),
    check("cargo test --workspace"),
];

/// Checks that what would be published is complete. Each crate is built from its package alone, over the packages of
/// the others, in the order in which they are published. It asks the registry what is there already.
const PUBLISH: &str = "cargo publish -q --dry-run -p zc-core -p zc-linux -p zc-std -p zc-tokio -p zc-cli --allow-dirty";

/// The same without a registry. The index has been fetched by then.
const PACKAGE: &str = "cargo package -q -p zc-core -p zc-linux -p zc-std -p zc-tokio -p zc-cli --allow-dirty --offline";

/// Runs [`PUBLISH`], or [`PACKAGE`] where that is impossible. Cargo unpacks packages beside those of registries, by
/// the names of the target folder and the packages' versions, and believes what it finds there. So the target folder
/// is a new one for each run. `false`: the registry gave no answer.
fn package(root: &Path) -> Result<bool, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let target = root.join("target").join(format!("packages-{now}"));
    let name = target.to_str().ok_or("a target folder whose name is no text")?;
    let env = [("CARGO_TARGET_DIR", name)];
    let asked = run_one(root, PUBLISH, &env).is_ok();
    if !asked {
        run_one(root, PACKAGE, &env)?;
    }
    fs::remove_dir_all(&target)?;
    Ok(asked)
}

/// Runs the checks, and stops at the first that fails.
pub(crate) fn run() -> Outcome {
    let start = Instant::now();
    let root = crate::root();
    let patches = mutations(&root.join("tests/mutations"))?;
    let applies = patches.iter().map(|patch| (format!("{APPLIES}{patch}"), [].as_slice()));
    let checks = CHECKS.iter().map(|check| (check.command.to_owned(), check.env));
    for (command, env) in applies {
        run_one(root, &command, env)?;
    }
    let mut elsewhere = elsewhere::run(root)?;
    if !package(root)? {
        elsewhere.missing.push("cargo publish --dry-run (no answer from the registry)");
    }
    let skips = Skips::begin()?;
    let checked = checks.into_iter().try_for_each(|(command, env)| {
        run_one(root, &command, &[env, &[skips.variable()]].concat())
    });
    skips.show()?;
    checked?;
    let count = patches.len() + 1 + CHECKS.len() + elsewhere.checks;
    println!("\nci: {count} checks in {} s", start.elapsed().as_secs());
    println!("ci: checked with {}", elsewhere.checked.join(", "));
    // The last line, so that what was not checked is seen.
    match elsewhere.missing.as_slice() {
        [] => println!("ci: nothing was left out"),
        missing => println!("ci: NOT checked, for want of it: {}", missing.join(", ")),
    }
    Ok(())
}

/// Runs one command, and says how long it took.
fn run_one(root: &Path, command: &str, env: &[(&str, &str)]) -> Outcome {
    println!("\n$ {command}");
    let start = Instant::now();
    let mut words = command.split(' ');
    let program = words.next().expect("no command is empty");
    let status = Command::new(program)
        .args(words)
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .map_err(|error| format!("`{command}`: {error}"))?;
    if !status.success() {
        return Err(format!("`{command}`: {status}").into());
    }
    println!("({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Checks that a mutation still applies, as `tests/mutations/check.sh` applies it. (Whether tests notice it takes
/// longer.)
const APPLIES: &str = "patch --dry-run -s -f -p0 -i tests/mutations/";

/// The names of the patches, in order.
fn mutations(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".patch") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
