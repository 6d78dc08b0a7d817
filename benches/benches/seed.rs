//! The seed's table: {tcp,unix} to /dev/null, one long copy each, generic 32 KiB against zc.

mod common;

use zc_benches::alloc;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() {
    common::messages(&["seed"]);
}
