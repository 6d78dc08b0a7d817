//! What is run, and on which kernels. Edit here when tests are regrouped.

/// A kernel, and where Debian keeps it.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// The archive and suite of each source, as in a `sources.list`.
    pub(crate) sources: &'static [(&'static str, &'static str)],
}

/// From the oldest on. Debian moves a release to another archive once its support has ended; then it is
/// time for the next.
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

/// Where busybox comes from.
pub(crate) const BUSYBOX: &[(&str, &str)] = &[("debian", "bookworm")];

/// The tests of `zc-testkit` that are run if none is named, with the seconds that each may take. That is
/// enough without KVM, which is to say ten times as long as with it.
pub(crate) const TESTS: &[(&str, u32)] = &[
    ("seed", 600),
    ("cells_table", 600),
    ("cells_devices", 600),
    ("fs_pairs", 1200),
    ("fs_reflink", 600),
    ("kernel_ends", 600),
    ("kernel_files", 1200),
    ("kernel_seccomp", 900),
    ("explorer", 3600),
];

/// For a test that is named and not in the table.
pub(crate) const OTHERWISE: u32 = 1200;

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
];

/// What the disk and the tests' mounts need of the kernel, as far as it is not built in.
pub(crate) const MODULES: &[&str] =
    &["virtio_pci", "virtio_blk", "loop", "overlay", "xfs", "btrfs", "fuse", "squashfs"];
