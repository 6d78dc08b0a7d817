//! What the whole-system tests share: known bytes, real ends to move them between, and ways to see that no byte was
//! lost and no descriptor leaked.

pub mod again;
pub mod apart;
pub mod calls;
pub mod child;
pub mod cli;
pub mod collector;
pub mod data;
pub mod each_cell;
pub mod ends;
pub mod event_loop;
pub mod explorer;
pub mod fds;
pub mod feeder;
pub mod files;
pub mod forked;
pub mod heap;
pub mod limits;
pub mod mounts;
pub mod numbered_words;
pub mod pipes;
pub mod raw;
pub mod relay;
pub mod running;
pub mod serial;
pub mod servers;
pub mod signals;
pub mod skip;
pub mod soak;
pub mod sockets;
pub mod sparse;
pub mod stepping;
pub mod streams;
pub mod tool;
pub mod wait;
pub mod woven;
