//! Regular files, on real file systems.

/// Files opened with `O_DIRECT`: read and written in whole blocks, from and to aligned memory.
mod direct_io;
/// A file as a source and as a sink from an offset of its own.
mod file_at;
/// Holes stay holes, if asked for; bytes, offsets, counts and limits are as without the option.
mod keep_holes;
/// Files that change while they are copied, files copied into themselves, files with holes.
mod odd_files;
/// A file is not appended to itself by one open file, whose offset each append leaves at the end.
mod one_open_file;
/// Copies between every pair of real file systems, mounted by the test.
mod pairs;
/// A range of a file: as a sink it takes no byte past its end, as a source it ends there.
mod ranges;
/// A copy shares the file's extents on file systems that can.
mod reflink;
/// Users of one file, each with its own layers, options and mix of reads and copies.
mod shared_model;
