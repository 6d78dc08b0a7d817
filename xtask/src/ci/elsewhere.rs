//! The gate's checks with other toolchains, and for other systems.
//!
//! Each needs a toolchain or a target that rustup has to fetch. One that cannot be fetched is named at the end of the
//! gate, and fails it with `ZC_REQUIRE_TOOLCHAINS=1`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::run_one;

/// A toolchain or a target, and what is checked with it.
struct Elsewhere {
    name: &'static str,
    fetch: &'static str,
    checks: &'static [&'static str],
}

/// The `rust-version` of Cargo.toml comes first. Its tests are those whose dependencies need no newer Rust.
const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        name: "Rust 1.88 (the oldest)",
        fetch: "rustup toolchain install 1.88.0 --profile minimal --no-self-update",
        checks: &[
            "rustup run 1.88.0 cargo check -q --locked --target-dir target/oldest -p zc-core -p zc-linux -p zc-std -p zc-tokio -p zc-cli",
            "rustup run 1.88.0 cargo test -q --locked --target-dir target/oldest -p zc-core -p zc-std --lib",
            "rustup run 1.88.0 cargo test -q --locked --target-dir target/oldest -p zc-core --doc",
        ],
    },
    // Of zc-linux only copies in memory and between pipes: Miri knows few of the engine's system calls, and no
    // splice.
    Elsewhere {
        name: "Miri (zc-core, the state machine)",
        fetch: "rustup toolchain install nightly --profile minimal -c miri -c rust-src --no-self-update",
        checks: &[
            "rustup run nightly cargo miri test -q --locked --target-dir target/miri -p zc-core --lib",
            "rustup run nightly cargo miri test -q --locked --target-dir target/miri -p zc-linux --lib blocking::in_memory",
        ],
    },
    // Badges of features need a nightly, which docs.rs builds with.
    Elsewhere {
        name: "the pages as docs.rs builds them",
        fetch: "rustup toolchain install nightly --profile minimal --no-self-update",
        checks: &[
            "env CARGO_ENCODED_RUSTDOCFLAGS=--cfg=docsrs\x1f-Drustdoc::broken_intra_doc_links rustup run nightly cargo doc -q --locked --no-deps --all-features --target-dir target/docs-rs -p zc-core -p zc-linux -p zc-std -p zc-tokio",
        ],
    },
    Elsewhere {
        name: "x86_64-unknown-linux-musl",
        fetch: "rustup target add x86_64-unknown-linux-musl",
        checks: &[
            "cargo build -q --locked --target x86_64-unknown-linux-musl -p zc-cli",
            "target/x86_64-unknown-linux-musl/debug/zc cp Cargo.lock target/copied-by-musl",
            "cmp Cargo.lock target/copied-by-musl",
        ],
    },
    Elsewhere {
        name: "aarch64-unknown-linux-gnu",
        fetch: "rustup target add aarch64-unknown-linux-gnu",
        checks: &[
            "cargo check -q --locked --target aarch64-unknown-linux-gnu -p zc-std -p zc-tokio -p zc-cli",
        ],
    },
    Elsewhere {
        name: "aarch64-linux-android",
        fetch: "rustup target add aarch64-linux-android",
        checks: &["cargo check -q --locked --target aarch64-linux-android -p zc-std -p zc-tokio"],
    },
    // Of 32 bits, where C's integers, offsets and locks have other lengths.
    Elsewhere {
        name: "i686-unknown-linux-gnu",
        fetch: "rustup target add i686-unknown-linux-gnu",
        checks: &[
            "cargo check -q --locked --target i686-unknown-linux-gnu -p zc-std -p zc-tokio -p zc-cli",
        ],
    },
    Elsewhere {
        name: "armv7-linux-androideabi",
        fetch: "rustup target add armv7-linux-androideabi",
        checks: &["cargo check -q --locked --target armv7-linux-androideabi -p zc-std -p zc-tokio"],
    },
    Elsewhere {
        name: "aarch64-apple-darwin",
        fetch: "rustup target add aarch64-apple-darwin",
        checks: &["cargo check -q --locked --target aarch64-apple-darwin -p zc-std --all-features"],
    },
    Elsewhere {
        name: "x86_64-apple-darwin",
        fetch: "rustup target add x86_64-apple-darwin",
        checks: &["cargo check -q --locked --target x86_64-apple-darwin -p zc-std --all-features"],
    },
    Elsewhere {
        name: "x86_64-unknown-freebsd",
        fetch: "rustup target add x86_64-unknown-freebsd",
        checks: &[
            "cargo check -q --locked --target x86_64-unknown-freebsd -p zc-std --all-features",
        ],
    },
];

/// The results.
pub(super) struct Outcome {
    pub(super) checks: usize,
    pub(super) checked: Vec<&'static str>,
    pub(super) missing: Vec<&'static str>,
}

pub(super) fn run(root: &Path) -> Result<Outcome, Box<dyn Error>> {
    let required = env::var_os("ZC_REQUIRE_TOOLCHAINS").is_some_and(|value| value == "1");
    let mut outcome = Outcome { checks: 0, checked: Vec::new(), missing: Vec::new() };
    for &Elsewhere { name, fetch, checks } in ELSEWHERE {
        println!("\n# {name}");
        if let Err(error) = run_one(root, fetch, &[]) {
            if required {
                return Err(format!("ZC_REQUIRE_TOOLCHAINS=1, and {error}").into());
            }
            println!("{name} is not checked: {error}");
            outcome.missing.push(name);
            continue;
        }
        for check in checks {
            run_one(root, check, &[])?;
        }
        outcome.checks += checks.len();
        outcome.checked.push(name);
    }
    for refusal in REFUSED {
        if says_so(root, refusal)? {
            outcome.checks += 1;
            outcome.checked.push(refusal.name);
        } else if required {
            return Err(
                format!("ZC_REQUIRE_TOOLCHAINS=1, and there is no {}", refusal.target).into()
            );
        } else {
            outcome.missing.push(refusal.name);
        }
    }
    if_installed(root, &mut outcome)?;
    Ok(outcome)
}

/// Checks by tools that take minutes to build. They run where they are installed.
fn if_installed(root: &Path, outcome: &mut Outcome) -> Result<(), Box<dyn Error>> {
    let mut tool = |name: &'static str, version: &[&str], check: &str| {
        if has(root, version) {
            run_one(root, check, &[])?;
            outcome.checks += 1;
            outcome.checked.push(name);
        } else {
            outcome.missing.push(name);
        }
        Ok::<(), Box<dyn Error>>(())
    };
    let deny = "cargo deny check licenses bans sources";
    tool("cargo-deny (licences)", &["cargo", "deny", "--version"], deny)?;
    let api = ["rustup", "run", "nightly", "cargo", "public-api", "--version"];
    tool("cargo-public-api (docs/api)", &api, "cargo run -q -p xtask -- api --check")?;
    let tag = Command::new("git")
        .args(["describe", "--tags", "--abbrev=0"])
        .current_dir(root)
        .output()?;
    if !tag.status.success() {
        outcome.missing.push("cargo-semver-checks (there is no tag yet to compare with)");
        return Ok(());
    }
    let tag = String::from_utf8(tag.stdout)?;
    let semver = format!("cargo semver-checks --baseline-rev {}", tag.trim());
    tool("cargo-semver-checks", &["cargo", "semver-checks", "--version"], &semver)
}

fn has(root: &Path, command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(root).output();
    output.is_ok_and(|output| output.status.success())
}

/// A crate built for a system that it does not support.
struct Refused {
    name: &'static str,
    target: &'static str,
    /// The package and its features, as cargo takes them.
    build: &'static str,
    words: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        name: "x86_64-pc-windows-gnu (refused in words)",
        target: "x86_64-pc-windows-gnu",
        build: "-p zc-cli",
        words: "needs a Unix",
    },
    Refused {
        name: "zc-tokio and the tool for x86_64-unknown-freebsd (refused in words)",
        target: "x86_64-unknown-freebsd",
        build: "-p zc-cli",
        words: "are for Linux and Android",
    },
    // Some modules are used with the hook only.
    Refused {
        name: "zc-linux and all its features for x86_64-unknown-freebsd (refused in words)",
        target: "x86_64-unknown-freebsd",
        build: "-p zc-linux --all-features",
        words: "are for Linux and Android",
    },
];

/// Checks that the build fails with one error, the crate's own. `false`: the target cannot be fetched.
fn says_so(root: &Path, refused: &Refused) -> Result<bool, Box<dyn Error>> {
    let &Refused { name, target, build, words } = refused;
    println!("\n# {name}");
    if run_one(root, &format!("rustup target add {target}"), &[]).is_err() {
        return Ok(false);
    }
    let output = Command::new("cargo")
        .args(["check", "-q", "--locked", "--target", target])
        .args(build.split(' '))
        .current_dir(root)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error")).collect();
    // The second line is Cargo's: the crate does not compile.
    if let [ours, cargo] = errors[..]
        && ours.contains(words)
        && cargo.contains("could not compile")
    {
        println!("{ours}");
        return Ok(true);
    }
    Err(format!("`cargo check {build}` for {target} should fail with one error:\n{stderr}").into())
}
