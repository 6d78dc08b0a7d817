//! What must not compile, and what the compiler then says.
//!
//! Each case in `ui/` is a mistake that a newcomer may make; the `.stderr` beside it is what they
//! read. The messages are those of the pinned toolchain. After a change that is meant to alter them,
//! `TRYBUILD=overwrite cargo test -p zc-testkit --test ui` writes them anew: read the difference
//! before committing it. (With the component `rust-src` installed, the compiler quotes std's source in
//! places where these files do not.)

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
