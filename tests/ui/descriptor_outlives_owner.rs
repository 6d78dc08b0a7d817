//! A descriptor is borrowed from its owner, which may not be dropped before it.

use std::fs::File;

use zc_std::PollFd;

fn main() {
    let fd = {
        let file = File::open("/dev/null").unwrap();
        PollFd::of(&file)
    };
    println!("{fd:?}");
}
