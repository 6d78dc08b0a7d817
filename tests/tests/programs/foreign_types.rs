//! Types of other crates, each by the wrapper that its documentation names.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Fd, FileAt, Opaque, ReadFrom};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};

const LEN: usize = 300_000;

/// Whether `syscall` did the work of `copy`.
fn took(syscall: Syscall, copy: impl FnOnce()) -> bool {
    let recorder = hook::record();
    copy();
    recorder.calls_to(syscall).iter().any(|record| record.moved() > 0)
}

#[test]
fn socket2_and_mio_sockets_are_spliced() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, LEN);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let socket = socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::STREAM,
                Some(socket2::Protocol::TCP),
            );
            let mut socket = Fd::new(socket.unwrap()).unwrap();
            socket.get_ref().connect(&address.into()).unwrap();
            assert!(took(Syscall::Sendfile, || {
                socket.read_from(files::holding(&data)).unwrap();
            }));
            socket.get_ref().shutdown(Shutdown::Write).unwrap();
        });
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = Fd::new(mio::net::TcpStream::from_std(stream)).unwrap();
        let file = files::empty();
        // mio's sockets are in non-blocking mode. A program without an event loop waits under a minimum rate.
        let mut copier =
            Copier::new().adaptive(false).min_rate(1, std::time::Duration::from_secs(600));
        assert!(took(Syscall::Splice, || {
            assert_eq!(copier.copy(&mut stream, &mut &file).unwrap().moved(), LEN as u64);
        }));
        assert_same(&files::contents(&file), &data);
    });
}

#[test]
fn os_pipes_and_temporary_files_go_by_the_kernel() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(2, 50_000);
    let (reader, mut writer) = os_pipe::pipe().unwrap();
    writer.write_all(&data).unwrap();
    drop(writer);
    let temporary = tempfile::NamedTempFile::new().unwrap();
    let mut copier = Copier::new().adaptive(false);
    let mut to = Fd::new(&temporary).unwrap();
    assert!(took(Syscall::Splice, || {
        copier.copy(&mut Fd::new(reader).unwrap(), &mut to).unwrap();
    }));
    let mut out = files::on_disk(&[]);
    let mut from = FileAt::new(&temporary, 0).unwrap();
    assert_eq!(copier.copy(&mut from, &mut out).unwrap().moved(), 50_000);
    assert_same(&files::contents(&out), &data);
}

/// Their bytes are computed, so only their own `read` and `write` will do.
#[test]
fn archives_and_compressors_are_opaque() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, LEN);
    let packed = files::empty();
    let mut encoder = flate2::write::GzEncoder::new(&packed, flate2::Compression::fast());
    let mut source = files::holding(&data);
    zc_std::copy(&mut source, &mut Opaque(&mut encoder)).unwrap();
    encoder.finish().unwrap();
    let at_start = FileAt::new(&packed, 0).unwrap();
    let mut decoder = Opaque(flate2::read::GzDecoder::new(BufReader::new(at_start)));
    let mut out = files::empty();
    assert_eq!(out.read_from(&mut decoder).unwrap(), LEN as u64);
    assert_same(&files::contents(&out), &data);
    // `copy!` finds that out by itself.
    let mut decoder = flate2::read::GzDecoder::new(FileAt::new(&packed, 0).unwrap());
    assert_eq!(zc_std::copy!(&mut decoder, &mut io::sink()).unwrap(), LEN as u64);
}

/// A tar file has its entries as they are: the kernel copies the entry's range of it.
#[test]
fn a_tar_entry_is_a_range_of_its_file() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(4, LEN);
    let mut builder = tar::Builder::new(files::empty());
    for (name, bytes) in [("first", &b"not this"[..]), ("second", &data)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let mut archive = tar::Archive::new(FileAt::new(&tar, 0).unwrap());
    let mut found = 0;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let range = FileAt::new(&tar, entry.raw_file_position()).unwrap();
        let mut out = files::empty();
        let mut copier = Copier::new().adaptive(false);
        assert!(took(Syscall::CopyFileRange, || {
            copier.copy(&mut range.take(entry.size()), &mut out).unwrap();
        }));
        // The entry's own `read` gives the same.
        let mut read = Vec::new();
        read.read_from(Opaque(&mut entry)).unwrap();
        assert_same(&files::contents(&out), &read);
        found += read.len();
    }
    assert_eq!(found, 8 + LEN);
}

#[test]
fn a_stored_zip_entry_is_a_range_of_its_file() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(5, LEN);
    let file = files::empty();
    let mut writer = zip::ZipWriter::new(&file);
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("entry", stored).unwrap();
    writer.write_all(&data).unwrap();
    writer.finish().unwrap();
    let mut archive = zip::ZipArchive::new(&file).unwrap();
    let mut entry = archive.by_name("entry").unwrap();
    let (start, size) = (entry.data_start(), entry.size());
    let mut read = Vec::new();
    read.read_from(Opaque(&mut entry)).unwrap();
    assert_same(&read, &data);
    let mut out: File = files::empty();
    assert_eq!(out.read_from(FileAt::new(&file, start).unwrap().take(size)).unwrap(), size);
    assert_same(&files::contents(&out), &data);
}
