//! A number does not own a descriptor.

use zc_std::PollFd;

fn main() {
    let _ = PollFd::of(&3);
}
