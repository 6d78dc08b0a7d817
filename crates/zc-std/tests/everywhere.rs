//! What holds on every system. The gate runs it twice: with the engine, and with `--cfg zc_portable`.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{io, thread};

use zc_std::{Copier, CopyError, Fd, FileAt, Kind, Pace, Paced, ReadFrom, Side};

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

fn content(mut file: &File) -> Vec<u8> {
    let mut got = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn a_take_of_a_socket_ends_where_it_says() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut stream, _) = listener.accept()?;
    let sent = bytes(3_000_000);
    let sender = thread::spawn({
        let sent = sent.clone();
        move || client.write_all(&sent)
    });
    let mut file = tempfile::tempfile()?;
    let mut first = (&stream).take(1_000_001);
    assert_eq!(file.read_from(&mut first)?, 1_000_001);
    assert_eq!(first.limit(), 0);
    assert_eq!(file.stream_position()?, 1_000_001);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    sender.join().unwrap()?;
    assert!(content(&file) == sent[..1_000_001] && rest == sent[1_000_001..]);
    Ok(())
}

#[test]
fn buffered_bytes_come_first_on_both_sides() -> io::Result<()> {
    let (mut client, stream) = UnixStream::pair()?;
    client.write_all(b"header\nbody")?;
    drop(client);
    let mut reader = BufReader::new(stream);
    io::BufRead::read_line(&mut reader, &mut String::new())?;
    let mut sink = BufWriter::new(tempfile::tempfile()?);
    sink.write_all(b"before, ")?;
    assert_eq!(zc_std::copy!(&mut reader, &mut sink)?, 4);
    assert_eq!(content(&sink.into_inner()?), b"before, body");
    Ok(())
}

#[test]
fn exact_copies_tell_a_source_that_ends_early() -> io::Result<()> {
    let (mut client, mut stream) = UnixStream::pair()?;
    client.write_all(b"half")?;
    drop(client);
    let mut file = tempfile::tempfile()?;
    let error = zc_std::copy_exact(&mut stream, &mut file, 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(CopyError::from_io(&error).map(CopyError::moved), Some(4));
    assert_eq!(content(&file), b"half");
    Ok(())
}

#[test]
fn a_full_sink_hands_back_what_was_taken() -> io::Result<()> {
    let mut room = [0; 5];
    let error = zc_std::copy(&mut &b"nine more"[..], &mut &mut room[..]).unwrap_err();
    let copy = CopyError::from_io(&error).unwrap();
    assert_eq!((copy.kind(), copy.moved()), (ErrorKind::WriteZero, 5));
    assert_eq!([&room[..], copy.residue()].concat(), b"nine more"[..5 + copy.residue().len()]);
    Ok(())
}

#[test]
fn a_copier_goes_on_after_would_block() -> io::Result<()> {
    let ((mut client, from), (to, mut server)) = (UnixStream::pair()?, UnixStream::pair()?);
    from.set_nonblocking(true)?;
    to.set_nonblocking(true)?;
    let sent = bytes(1_000_000);
    let sender = thread::spawn({
        let sent = sent.clone();
        move || client.write_all(&sent)
    });
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        server.read_to_end(&mut got).map(|_| got)
    });
    let (mut copier, mut moved) = (Copier::new(), 0);
    let mut outcome = copier.copy(&mut &from, &mut &to);
    loop {
        match outcome {
            Ok(report) => {
                moved += report.moved();
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert!(matches!(error.waits_for(), Some(Side::Source | Side::Sink)));
                moved += error.moved();
                thread::sleep(Duration::from_millis(1));
            }
        }
        outcome = copier.resume(&mut &from, &mut &to);
    }
    assert_eq!((moved, copier.in_flight()), (1_000_000, 0));
    drop(to);
    sender.join().unwrap()?;
    assert!(reader.join().unwrap()? == sent);
    Ok(())
}

#[test]
fn a_deadline_and_a_least_rate_end_a_wait() -> io::Result<()> {
    let (mut client, mut stream) = UnixStream::pair()?;
    client.write_all(b"some")?;
    let mut out = Vec::new();
    let mut copier = Copier::new().deadline(Instant::now() + Duration::from_millis(30));
    let error = copier.copy(&mut stream, &mut out).unwrap_err();
    assert_eq!((error.kind(), error.moved(), &out[..]), (ErrorKind::TimedOut, 4, &b"some"[..]));
    let mut copier = Copier::new().min_rate(1000, Duration::from_millis(30));
    let error = copier.copy(&mut stream, &mut out).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Source)));
    Ok(())
}

/// Whatever the deadline finds it waiting for.
#[test]
fn a_deadline_ends_the_wait_for_a_rate_and_for_a_full_sink() -> io::Result<()> {
    let (mut client, stream) = UnixStream::pair()?;
    client.write_all(&bytes(5000))?;
    // The next bytes would come in some minutes.
    let mut source = Paced::with_pace(&stream, Pace::new(1).burst(7200));
    source.read_exact(&mut [0; 4000])?;
    let mut copier = Copier::new().deadline(Instant::now() + Duration::from_millis(30));
    let error = copier.copy(&mut source, &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.moved(), copier.in_flight()), (ErrorKind::TimedOut, 0, 0));

    let (mut to, _peer) = UnixStream::pair()?;
    to.set_nonblocking(true)?;
    while to.write(&[0; 4096]).is_ok() {}
    let mut copier = Copier::new().deadline(Instant::now() + Duration::from_millis(30));
    let error = copier.copy(&mut (&stream).take(1000), &mut to).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Sink)));
    assert_eq!((error.moved(), copier.take_residue().len()), (0, 1000));
    Ok(())
}

#[test]
fn a_file_at_an_offset_leaves_the_files_own() -> io::Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(b"0123456789")?;
    let mut place = FileAt::new(&file, 2)?;
    zc_std::copy_exact(&mut &b"ab"[..], &mut place, 2)?;
    assert_eq!((place.offset(), (&file).stream_position()?), (4, 10));
    let mut out = Vec::new();
    assert_eq!(out.read_from(FileAt::new(&file, 1)?.take(4))?, 4);
    assert_eq!(out, b"1ab4");
    let (reader, _writer) = io::pipe()?;
    assert_eq!(FileAt::new(&reader, 0).unwrap_err().kind(), ErrorKind::NotSeekable);
    Ok(())
}

#[test]
fn no_byte_goes_past_the_end_of_a_range() -> io::Result<()> {
    let (mut client, mut stream) = UnixStream::pair()?;
    let sent = bytes(100_000);
    let sender = thread::spawn({
        let sent = sent.clone();
        move || client.write_all(&sent)
    });
    let mut file = tempfile::tempfile()?;
    file.write_all(&[9; 100_000])?;
    for (range, fits) in [(10..10, 0), (10..11, 1), (20..50_020, 50_000), (60_000..60_003, 3)] {
        let mut copier = Copier::new();
        let mut range = FileAt::range(&file, range)?;
        let error = copier.copy(&mut stream, &mut range).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, fits));
        assert_eq!((error.side(), error.to_string().contains("limit")), (Some(Side::Sink), true));
        // The byte too many, and nothing else, has been taken from the connection.
        assert_eq!((copier.in_flight(), range.end()), (1, Some(range.offset())));
    }
    let got = content(&file);
    assert!(got[..10].iter().chain(&got[11..20]).chain(&got[50_020..60_000]).all(|&b| b == 9));
    assert_eq!((got[10], &got[20..50_020]), (sent[1], &sent[3..50_003]));
    assert_eq!((&got[60_000..60_003], got[60_003]), (&sent[50_004..50_007], 9));

    let mut out = Vec::new();
    assert_eq!(out.read_from(FileAt::range(&file, 60_000..60_003)?)?, 3);
    assert_eq!(out, sent[50_004..50_007]);
    let mut left = Vec::new();
    stream.read_to_end(&mut left)?;
    sender.join().unwrap()?;
    assert_eq!(zc_std::copy(&mut &left[..100], &mut FileAt::range(&file, 0..100)?)?, 100);
    assert!(left == sent[50_008..] && content(&file)[..100] == left[..100]);
    Ok(())
}

#[test]
fn a_descriptor_says_what_it_is() -> io::Result<()> {
    assert_eq!(Fd::new(tempfile::tempfile()?)?.kind(), Kind::File);
    assert_eq!(Fd::new(UnixStream::pair()?.0)?.kind(), Kind::StreamSocket);
    assert_eq!(Fd::new(io::pipe()?.0)?.kind(), Kind::Pipe);
    assert_eq!(Fd::new(std::net::UdpSocket::bind("127.0.0.1:0")?)?.kind(), Kind::Messages);
    Ok(())
}
