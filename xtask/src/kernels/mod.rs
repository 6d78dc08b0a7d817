//! `cargo xtask kernels`: the tests on the kernels of other Debian releases.
//!
//! ```text
//! cargo xtask kernels                                what suite.rs lists, on each kernel
//! cargo xtask kernels --only 5.10 copies::waiting    this test, on this kernel
//! cargo xtask kernels --update                       with the newest of each kernel
//! ```
//!
//! Each kernel is Debian's own package, fetched and unpacked below target/kernels. It starts in qemu-system-x86_64
//! with an initramfs that has the tests, as `cargo test` builds them. Its output is in target/kernels/NAME/log.
//!
//! This needs apt, dpkg-deb and strip, and the packages qemu-system-x86 and debian-archive-keyring. With
//! KVM it takes minutes. Without, it takes so long (docs/reliability.md) that the gate leaves it out.

mod debian;
mod initramfs;
mod machine;
mod programs;
mod suite;
mod tally;

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use debian::Debian;
use initramfs::Initramfs;
use machine::Machine;
use suite::{KERNELS, Kernel, PROGRAMS, Program, test};
use tally::{Run, Tally};

/// The seconds for a test that is not in suite.rs.
const OTHERWISE: u32 = 1200;

/// The length of each machine's disk. Blocks that are not written take no room.
const DISK: u64 = 16 << 30;

type Caught = Box<dyn Error>;

/// Run the tests on other kernels, in a virtual machine
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these kernels, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Look for newer packages of the kernels that are here already
    #[arg(long)]
    update: bool,
    /// Where Debian's packages come from [default: where apt gets them]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Memory of the virtual machine, in MiB
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// Programs of suite.rs, or other tests of the test kit [default: suite.rs]
    programs: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let root = crate::root();
    let target = root.join("target/kernels");
    let known = |name: &str| KERNELS.iter().any(|kernel| kernel.name == name);
    if let Some(unknown) = args.only.iter().find(|name| !known(name)) {
        let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        return Err(format!("no kernel is called {unknown}, but {}", names.join(", ")).into());
    }
    let is_wanted =
        |kernel: &&Kernel| args.only.is_empty() || args.only.iter().any(|name| name == kernel.name);
    let listed = |name: &str| PROGRAMS.iter().copied().find(|program| program.name == name);
    let programs: Vec<Program<'_>> = match &args.programs[..] {
        [] => PROGRAMS.to_vec(),
        names => names.iter().map(|name| listed(name).unwrap_or(test(name, OTHERWISE))).collect(),
    };
    let executables = programs::build(root, &programs)?;
    let by = if machine::has_kvm() { "with KVM" } else { "without KVM, which is slow" };
    println!("{} programs, {by}", programs.len());

    let mirror = args.mirror.clone().map_or_else(debian::mirror, Ok)?;
    let busybox = Debian::new(target.join("busybox"), &mirror, suite::BUSYBOX)?;
    let busybox = package(&busybox, args.update, |_| Ok("busybox-static".to_owned()))?;
    let busybox = busybox.join("bin/busybox");

    let mut tallies = Vec::new();
    for kernel in KERNELS.iter().filter(is_wanted) {
        let dir = target.join(kernel.name);
        println!("\nLinux {}", kernel.name);
        let debian = Debian::new(dir.join("debian"), &mirror, kernel.sources)?;
        let newest = |debian: &Debian| debian.meaning_of("linux-image-cloud-amd64");
        let unpacked = package(&debian, args.update, newest)?;

        let tree = dir.join("root");
        let mut initramfs = Initramfs::new(&tree, &busybox)?;
        initramfs.programs(&executables, &programs, &root.join("tests"))?;
        initramfs.modules(&unpacked)?;
        let packed = dir.join("initramfs");
        initramfs.pack(&packed)?;

        let disk = dir.join("disk");
        File::create(&disk)?.set_len(DISK)?;
        let machine = Machine {
            kernel: &debian::entry(&unpacked.join("boot"), "vmlinuz-")?,
            initramfs: &packed,
            disk: &disk,
            console: &dir.join("console"),
            memory: args.memory,
            seconds: programs.iter().map(|program| program.seconds).sum::<u32>() + 600,
        };
        tallies.push((kernel.name, watch(&machine, &dir.join("log"))?));
    }
    report(&tallies)
}

/// Runs the machine, keeps its output, and shows progress.
fn watch(machine: &Machine<'_>, log: &Path) -> Result<Tally, Caught> {
    let mut log = File::create(log)?;
    let mut tally = Tally::default();
    let ended = machine.run(|line| {
        writeln!(log, "{line}")?;
        if let Some(run) = tally.line(&line) {
            let verdict = if run.is_ok() { "ok" } else { "FAILED" };
            println!("  {:<16} {verdict} in {} s", run.program, run.seconds);
        }
        Ok(())
    });
    // What ran until then still counts.
    if let Err(error) = ended {
        tally.complaints.push(error.to_string());
    }
    Ok(tally)
}

/// Fetches and unpacks the package that `name` names, once the lists are there.
fn package(
    debian: &Debian,
    update: bool,
    name: impl FnOnce(&Debian) -> Result<String, Caught>,
) -> Result<PathBuf, Caught> {
    if update || !debian.is_known() {
        debian.update()?;
    }
    debian.unpack(&name(debian)?)
}

/// Prints a table; an error if anything failed.
fn report(tallies: &[(&str, Tally)]) -> Outcome {
    let mut failed = 0;
    println!(
        "\n{:<7} {:<16} {:>6} {:>6} {:>7} {:>7}",
        "Linux", "program", "passed", "failed", "skipped", "seconds"
    );
    for (kernel, tally) in tallies {
        for run in &tally.runs {
            let Run { program, passed, failed, skipped, seconds, .. } = run;
            let (failed, skipped) = (failed.len(), skipped.len());
            println!("{kernel:<7} {program:<16} {passed:>6} {failed:>6} {skipped:>7} {seconds:>7}");
        }
    }
    for (kernel, tally) in tallies {
        println!("\n{kernel}: {}", tally.about);
        for run in &tally.runs {
            for why in &run.skipped {
                println!("  {} skipped: {why}", run.program);
            }
            for test in &run.failed {
                println!("  {} FAILED: {test}", run.program);
            }
            if !run.is_ok() {
                println!("  {} FAILED with status {}", run.program, run.status);
                failed += 1;
            }
        }
        for complaint in &tally.complaints {
            println!("  the machine FAILED: {complaint}");
            failed += 1;
        }
        if !tally.is_done {
            println!("  it FAILED to reach its end");
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err("not everything passed; target/kernels/NAME/log and console say more".into()),
    }
}

/// Runs a command, which has to succeed.
fn succeed(command: &mut Command) -> Result<(), Caught> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// The output of a command, which has to succeed.
fn output(command: &mut Command) -> Result<String, Caught> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
