//! Programs that must not compile, and what the compiler says of them.
//!
//! Each case in `ui/` is a mistake that a newcomer may make. The `.stderr` beside it is the message, as of the pinned
//! toolchain. After a change that is meant to alter messages, `TRYBUILD=overwrite cargo test -p zc-testkit --test ui`
//! writes them anew; read the difference before committing it. (With the component `rust-src` installed, the compiler
//! quotes std's source in places where these files do not.)

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
