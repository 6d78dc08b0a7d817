//! A hook acts on the thread that installed it; its guard stays there.

use zc_std::hook::{self, Action};

fn main() {
    let guard = hook::replace(|_| Action::Proceed);
    std::thread::spawn(move || drop(guard));

    let recorder = hook::record();
    std::thread::spawn(move || recorder.calls());
}
