//! Regular files, on real file systems.

/// Files opened with `O_DIRECT`: read and written in whole blocks, from and to aligned memory.
mod direct_io;
/// A file from an offset of its own on.
mod file_at;
/// Holes that stay holes, if asked for: bytes, offsets, counts and limits as without.
mod keep_holes;
/// Files that change while they are copied, files copied into themselves, files with holes.
mod odd_files;
/// A file appended to itself by way of one open file, whose position each append leaves at the end.
mod one_open_file;
/// Every pair of real file systems, mounted by the test.
mod pairs;
/// A range of a file as a sink, past whose end no byte goes, and as a source, which ends there.
mod ranges;
/// On file systems that can share extents, a copy of a file shares them.
mod reflink;
/// Users of one file, each with its own layers, options and mix of reads and copies.
mod shared_model;
