//! `cargo xtask cost`: what a dependency on zc-std costs a build.
//!
//! Two small programs that save a connection to a file are built from nothing, one with `std::io::copy` and one with
//! `zc_std::copy`. How much longer the second takes, and how much larger it is, is the cost.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// List zc-std's dependencies, time a clean build, and weigh what `copy` adds to a program
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the report here, too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const PROGRAM: &str = "\
fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut from = std::net::TcpStream::connect(args.next().unwrap())?;
    let mut to = std::fs::File::create(args.next().unwrap())?;
    println!(\"{}\", COPY(&mut from, &mut to)?);
    Ok(())
}
";

/// The two release profiles that people use: Cargo's own, and one for small programs.
const PROFILES: [(&str, &str); 2] = [
    ("release, stripped", "strip = true\n"),
    ("release, stripped, lto, one codegen unit", "strip = true\nlto = true\ncodegen-units = 1\n"),
];

pub(crate) fn run(args: &Args) -> Outcome {
    crate::bench::enter_root()?;
    let mut report = String::from(
        "# Build cost\n\nMade by `cargo xtask cost`.\n\n## Dependencies of zc-std\n\n",
    );
    let tree = Command::new("cargo")
        .args(["tree", "-p", "zc-std", "-e", "normal,build", "--charset", "ascii"])
        .stderr(Stdio::inherit())
        .output()?;
    let root = std::env::current_dir()?.display().to_string();
    let tree = String::from_utf8(tree.stdout)?.replace(&root, ".");
    writeln!(report, "```text\n{tree}```\n\n## A small program\n")?;
    writeln!(report, "One that saves a connection to a file, built from nothing.\n")?;
    writeln!(
        report,
        "| profile | copy | clean build, s | its CPU, s | bytes |\n|---|---|---:|---:|---:|"
    )?;
    for (profile, settings) in PROFILES {
        let mut sizes = Vec::new();
        for copy in ["std::io::copy", "zc_std::copy"] {
            let (took, cpu, size) = build(copy, settings)?;
            writeln!(
                report,
                "| {profile} | `{copy}` | {:.1} | {cpu:.1} | {size} |",
                took.as_secs_f64()
            )?;
            sizes.push(size);
        }
        let more = sizes[1].saturating_sub(sizes[0]);
        writeln!(report, "| | added | | | {more} ({} KiB) |", more / 1024)?;
    }
    print!("{report}");
    if let Some(out) = &args.out {
        std::fs::write(out, report)?;
    }
    Ok(())
}

/// How long the program takes to build, with its dependencies, and how large it is.
fn build(copy: &str, settings: &str) -> Result<(Duration, f64, u64), Box<dyn std::error::Error>> {
    let dir = Path::new("target/cost");
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir.join("src"))?;
    let dependency =
        if copy.starts_with("zc") { "zc-std = { path = \"../../crates/zc-std\" }\n" } else { "" };
    let manifest = format!(
        "[package]\nname = \"save\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         {dependency}\n[profile.release]\n{settings}\n[workspace]\n"
    );
    std::fs::write(dir.join("Cargo.toml"), manifest)?;
    std::fs::write(dir.join("src/main.rs"), PROGRAM.replace("COPY", copy))?;
    // The workspace's versions, so that nothing is fetched while the clock runs.
    std::fs::copy("Cargo.lock", dir.join("Cargo.lock"))?;
    let (start, cpu) = (Instant::now(), children_cpu());
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--offline"])
        .args(["--target-dir", "target"])
        .current_dir(dir)
        .env_remove("CARGO_TARGET_DIR")
        .status()?;
    if !status.success() {
        return Err(format!("the program with {copy} does not build: {status}").into());
    }
    let (took, cpu) = (start.elapsed(), children_cpu() - cpu);
    Ok((took, cpu, std::fs::metadata(dir.join("target/release/save"))?.len()))
}

/// The CPU time of all commands that have ended, in seconds. On a busy machine it tells more than the wall time.
fn children_cpu() -> f64 {
    /// proc_pid_stat(5) has this unit on every kernel.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // cutime and cstime are the 16th and 17th field. The second field is in brackets and may have spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_ascii_whitespace().skip(13).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}
