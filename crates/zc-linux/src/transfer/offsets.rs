//! A sink whose layers keep an offset of their own.

use std::os::fd::AsRawFd;

use zc_core::driver::{StepError, file_range};
use zc_core::{End, Side};

use super::Transfer;
use crate::sys;

impl Transfer {
    /// Refuses, before a byte is taken, a sink in append mode. Linux would write at the file's end, and not at
    /// the offset that the layers say (pwrite(2), Bugs).
    ///
    /// # Errors
    ///
    /// `InvalidInput`.
    #[inline(always)]
    pub(super) fn check_offset(&mut self, to: End<'_>) -> Result<(), StepError> {
        if to.offset.is_none() { Ok(()) } else { self.look_at_mode(to) }
    }

    #[cold]
    fn look_at_mode(&mut self, to: End<'_>) -> Result<(), StepError> {
        let fd = Some(to.fd.fd().as_raw_fd());
        if self.checked_sink != fd {
            if sys::appends(to.fd.fd()) {
                return Err(StepError::at(Side::Sink, "pwrite", file_range::append_mode()));
            }
            self.checked_sink = fd;
        }
        Ok(())
    }
}
