//! A copy that has taken all that its limit allows is not over before all of it is delivered.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, ReadFrom};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

fn content(file: &mut File) -> Vec<u8> {
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    all
}

/// Makes every delivery a short one, by `write` or by the splice into `to`.
fn short_deliveries(to: i32) -> hook::Guard {
    hook::replace(move |call| match call.syscall {
        Syscall::Write => Action::Limit(30),
        Syscall::Splice if call.to == Some(to) => Action::Limit(30),
        _ => Action::Proceed,
    })
}

#[test]
fn the_rest_is_delivered() {
    use std::os::fd::AsRawFd;
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&pattern(150)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut limited = (&stream).take(100);

        let guard = short_deliveries(file.as_raw_fd());
        let mut copier = Copier::new().adaptive(adaptive);
        let report = copier.copy(&mut limited, &mut file).unwrap();
        drop(guard);

        assert_eq!((report.moved(), limited.limit(), copier.in_flight()), (100, 0, 0));
        assert_eq!(content(&mut file), pattern(100));
    }
}

#[test]
fn a_full_disk_is_reported() {
    use std::os::fd::AsRawFd;
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&pattern(100)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut limited = (&stream).take(100);

        let to = file.as_raw_fd();
        let mut room = 40;
        let guard = hook::replace(move |call| {
            if call.to != Some(to) || call.len == 0 {
                return Action::Proceed;
            }
            let n = call.len.min(std::mem::take(&mut room));
            if n == 0 { Action::Fail(libc::ENOSPC) } else { Action::Limit(n) }
        });
        let mut copier = Copier::new().adaptive(adaptive);
        let error = copier.copy(&mut limited, &mut file).unwrap_err();
        drop(guard);

        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!((error.moved(), limited.limit(), copier.in_flight()), (40, 0, 60));
        assert_eq!(copier.take_residue(), &pattern(100)[40..]);
        assert_eq!(content(&mut file), &pattern(100)[..40]);
    }
}

#[test]
fn the_next_link_of_a_chain_comes_after_it() {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&pattern(100)).unwrap();
    let mut file = tempfile::tempfile().unwrap();

    let guard = short_deliveries(-1);
    let moved = file.read_from((&stream).take(100).chain(&b"tail"[..]));
    drop(guard);

    assert_eq!(moved.unwrap(), 104);
    assert_eq!(content(&mut file), [&pattern(100), &b"tail"[..]].concat());
}
