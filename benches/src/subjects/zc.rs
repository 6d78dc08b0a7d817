//! What we build, as its users call it.

use std::io::{self, Read};
use std::time::Duration;

use zc_std::{Copier, ReadFrom};

use super::Subject;
use crate::ends::{End, with_ends};

pub(super) struct Zc;

impl Subject for Zc {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        with_ends!(from, to, |from, to| match limit {
            None => zc_std::copy(from, to),
            Some(n) => to.read_from((&*from).take(n)),
        })
    }
}

/// The same, told that the bytes of a TCP source may wait a little for more.
pub(super) struct Coalescing;

/// What a person does not notice.
const MAX_DELAY: Duration = Duration::from_millis(10);

impl Subject for Coalescing {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let limit = limit.unwrap_or(u64::MAX);
        with_ends!(from, to, |from, to| {
            let mut copier = Copier::new().coalesce(MAX_DELAY);
            Ok(copier.copy(&mut (&*from).take(limit), to)?.moved())
        })
    }
}
