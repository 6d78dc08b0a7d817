//! A number is not a descriptor that anybody owns.

use zc_std::PollFd;

fn main() {
    let _ = PollFd::of(&3);
}
