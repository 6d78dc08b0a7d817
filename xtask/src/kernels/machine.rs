//! A kernel, started in a virtual machine.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Caught;

/// What is started, and how.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// The file that is the machine's disk.
    pub(crate) disk: &'a Path,
    /// The file for the kernel's own messages.
    pub(crate) console: &'a Path,
    /// In MiB.
    pub(crate) memory: u32,
    /// The machine is turned off after this many seconds.
    pub(crate) seconds: u32,
}

/// Whether the processor itself can run another kernel. Otherwise it is emulated, which takes twenty times as long. A
/// /dev/kvm alone does not tell: inside a virtual machine it may run only kernels that are made for it (kvm_pvm).
pub(crate) fn has_kvm() -> bool {
    let modules = ["/sys/module/kvm_intel", "/sys/module/kvm_amd"];
    modules.iter().any(|module| Path::new(module).exists())
        && OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The emulated processor: all that qemu can do, without five-level page tables and cmpxchg16b. With either of these
/// Linux 6.12 dies in qemu 7.2 before it starts init.
const EMULATED: &str = "max,la57=off,cx16=off";

impl Machine<'_> {
    /// Runs the machine until it turns itself off, and passes each line that it prints to `line`.
    pub(crate) fn run(
        &self,
        mut line: impl FnMut(String) -> Result<(), Caught>,
    ) -> Result<(), Caught> {
        let (accelerator, cpu) = if has_kvm() { ("kvm", "max") } else { ("tcg", EMULATED) };
        let mut qemu = Command::new("timeout");
        qemu.args(["--foreground", "-k", "10", &self.seconds.to_string(), "qemu-system-x86_64"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-machine", "q35", "-accel", accelerator, "-cpu", cpu, "-smp", "2"]);
        qemu.args(["-m", &self.memory.to_string()]);
        qemu.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        let disk = self.disk.display();
        qemu.args(["-drive", &format!("file={disk},format=raw,if=virtio,cache=unsafe")]);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
        qemu.args(["-serial", &format!("file:{}", self.console.display())]);
        qemu.args(["-serial", "stdio"]);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut qemu = qemu.spawn().map_err(|error| format!("timeout: {error}"))?;
        let mut printed = BufReader::new(qemu.stdout.take().expect("asked for"));
        let mut raw = Vec::new();
        while printed.read_until(b'\n', &mut raw)? > 0 {
            // A test may print anything: no line stops this.
            line(String::from_utf8_lossy(&raw).trim_end().to_owned())?;
            raw.clear();
        }
        let status = qemu.wait()?;
        match status.code() {
            Some(0) => Ok(()),
            Some(124 | 137) => Err(format!("not done after {} s", self.seconds).into()),
            Some(127) => {
                Err("there is no qemu-system-x86_64 (Debian's package qemu-system-x86)".into())
            }
            _ => Err(format!("qemu-system-x86_64: {status}").into()),
        }
    }
}
