//! What runs, and on which kernels. To be edited when tests are regrouped.

/// A kernel, and where Debian keeps it.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// The archive and suite of each source, as in a `sources.list`.
    pub(crate) sources: &'static [(&'static str, &'static str)],
}

/// The oldest comes first. Debian moves a release to another archive once its support has ended. Then it is time for
/// the next one.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "5.10",
        sources: &[("debian", "bullseye"), ("debian-security", "bullseye-security")],
    },
    Kernel {
        name: "6.1",
        sources: &[("debian", "bookworm"), ("debian-security", "bookworm-security")],
    },
    Kernel { name: "6.12", sources: &[("debian", "bookworm-backports")] },
];

/// The suite that busybox comes from.
pub(crate) const BUSYBOX: &[(&str, &str)] = &[("debian", "bookworm")];

/// A program of `zc-testkit`.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    /// The program's options; `None` for a test.
    pub(crate) options: Option<&'a str>,
    /// The program is killed after this many seconds. They are enough without KVM, where it takes thirty times as
    /// long.
    pub(crate) seconds: u32,
}

impl<'a> Program<'a> {
    /// The binary's name; a test's begins with it.
    pub(crate) fn binary(&self) -> &'a str {
        self.name.split_once("::").map_or(self.name, |(binary, _)| binary)
    }

    /// The program's arguments.
    pub(crate) fn arguments(&self) -> String {
        match (self.options, self.name.split_once("::")) {
            (Some(options), _) => options.to_owned(),
            // Skips are shown only with the output of tests that pass.
            (None, Some((_, module))) => format!("--show-output {module}::"),
            (None, None) => "--show-output".to_owned(),
        }
    }
}

/// The tests in `tests/tests/NAME`, or in one module of it: `FOLDER::MODULE`.
pub(crate) const fn test(name: &str, seconds: u32) -> Program<'_> {
    Program { name, options: None, seconds }
}

/// The programs that run if none is named.
pub(crate) const PROGRAMS: &[Program<'_>] = &[
    test("ways::go_cases", 600),
    test("ways::chain_table", 600),
    test("ways::devices", 600),
    test("files::pairs", 900),
    test("files::reflink", 900),
    test("kernel::ends", 600),
    test("files::odd_files", 1200),
    test("kernel::space", 900),
    test("kernel::seccomp", 900),
    test("company", 3000),
    // The explorer's own short form takes half an hour without KVM. The number is a prime: the scenarios are ordered
    // by their parts, and so each part has its turn.
    Program { name: "explore", options: Some("--every 37 --random 4 --pairs 0"), seconds: 1800 },
];

/// Programs that the tests start, where this machine has them.
pub(crate) const TOOLS: &[&str] = &[
    "mount",
    "umount",
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.btrfs",
    "btrfs",
    "mksquashfs",
    "fuse2fs",
    "squashfuse",
    "fusermount3",
    "unshare",
    "fsfreeze",
    "cat",
];

/// The modules that the disk and the tests' mounts need.
pub(crate) const MODULES: &[&str] =
    &["virtio_pci", "virtio_blk", "loop", "overlay", "xfs", "btrfs", "fuse", "squashfs"];
