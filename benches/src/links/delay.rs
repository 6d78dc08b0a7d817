//! Two TUN devices, with packets carried from one to the other after a delay.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{ip, namespace};

/// The name of both, each in its own namespace.
pub(super) const DEVICE: &str = "zc-tun";

/// The largest packet.
const PACKET: usize = 1 << 16;

/// At most this many packets are on their way. More are lost, as in any queue.
const QUEUE: usize = 1 << 14;

/// The threads that carry packets over. They end when the devices do, with their namespaces.
#[derive(Debug)]
pub(super) struct Delay;

impl Delay {
    /// Joins two namespaces.
    pub(super) fn between(near: &str, far: &str, each_way: Duration) -> io::Result<Delay> {
        let (near, far) = (device(near)?, device(far)?);
        carry(near.try_clone()?, far.try_clone()?, each_way);
        carry(far, near, each_way);
        Ok(Delay)
    }
}

/// A namespace's device.
fn device(space: &str) -> io::Result<File> {
    ip(&["-n", space, "tuntap", "add", "mode", "tun", "name", DEVICE])?;
    let space = namespace(space)?;
    // On a thread of its own, which stays in that namespace.
    let opened = thread::spawn(move || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
        let device = File::options().read(true).write(true).open("/dev/net/tun")?;
        attach(&device)?;
        Ok::<_, io::Error>(device)
    });
    opened.join().expect("it does not panic")
}

/// Attaches a descriptor of /dev/net/tun to the device.
#[expect(unsafe_code, reason = "rustix does not wrap it")]
fn attach(tun: &File) -> io::Result<()> {
    // SAFETY: a struct of integers, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("they fit");
    // SAFETY: the kernel reads and writes one `ifreq`, which lives on.
    match unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn carry(mut from: File, mut to: File, after: Duration) {
    let (put, get) = mpsc::sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    thread::spawn(move || {
        let mut packet = vec![0; PACKET];
        while let Ok(n @ 1..) = from.read(&mut packet) {
            let _full = put.try_send((Instant::now() + after, packet[..n].to_vec()));
        }
    });
    thread::spawn(move || {
        while let Ok((due, packet)) = get.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // The device may be down still, or gone.
            let _ = to.write(&packet);
        }
    });
}
