//! `std::io::copy`.

use std::io::{self, Read};

use super::Subject;
use crate::ends::{End, with_ends};

pub(super) struct StdIo;

impl Subject for StdIo {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        with_ends!(from, to, |from, to| match limit {
            None => io::copy(from, to),
            Some(n) => io::copy(&mut (&*from).take(n), to),
        })
    }
}
