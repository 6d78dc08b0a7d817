//! A global allocator that counts what each thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count. Programs that want figures from [`count`] set it as their
/// `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// How much has been allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Allocations and reallocations.
    pub calls: u64,
    /// Bytes asked for by them.
    pub bytes: u64,
}

/// Runs `work`, and says what this thread allocated meanwhile. That is nothing in a program whose allocator is not
/// [`Counting`].
pub fn count<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    let before = so_far();
    let out = work();
    let after = so_far();
    let allocated =
        Allocated { calls: after.calls - before.calls, bytes: after.bytes - before.bytes };
    (out, allocated)
}

fn so_far() -> Allocated {
    Allocated { calls: CALLS.with(Cell::get), bytes: BYTES.with(Cell::get) }
}

fn note(bytes: usize) {
    // The counters have no destructor, so they exist for as long as the thread allocates.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: as above; `ptr` came from `System`, like every pointer from here.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn counts_this_thread_only() {
        let (_, allocated) = count(|| {
            std::hint::black_box(Vec::<u8>::with_capacity(1000));
        });
        assert_eq!(allocated, Allocated { calls: 1, bytes: 1000 });
        assert_eq!(count(|| ()).1, Allocated::default());
    }
}
