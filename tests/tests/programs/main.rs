//! Programs as a new user would write them: short, by the public interface alone, and right at the edges.

mod foreign_types;
mod generic_library;
mod hashing_tee;
mod rate_limiter;
mod two_way_proxy;
mod upload_server;
