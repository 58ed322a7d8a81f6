//! Where the program's memory comes from: small blocks from dlmalloc, large ones from the C library, which
//! maps each and gives it back at once.
//!
//! Why: musl's malloc maps and unmaps groups of small blocks, too, again and again; a page of a thousand
//! records cost 115 such pairs, a tenth of the processor time while catching up (docs/PERFORMANCE.md). glibc's
//! does not, and keeps more of what large blocks leave when small ones are elsewhere: there it is not used.
//! dlmalloc alone keeps what large blocks leave: it took 55 MB where this takes 16.
//!
//! Promises: a block is resized and freed by whom it is from, because only its length decides that, and
//! Rust gives the length back. Never: used where a sanitizer or another allocator is the global one.
//!
//! This is the one crate of ours with `unsafe`. A global allocator is made by `unsafe impl GlobalAlloc`,
//! and no library composes two by size without C.

use std::alloc::{GlobalAlloc, Layout, System};

use dlmalloc::GlobalDlmalloc;

/// musl maps what is longer on its own (its MMAP_THRESHOLD is 131,052).
const LARGE: usize = 128 << 10;

/// The global allocator.
pub struct BySize;

fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

// SAFETY: both allocators keep the contract of `GlobalAlloc`. Each block goes back to the one it is from:
// the callers of `dealloc` and `realloc` give the layout by which it was allocated, and the choice depends
// on nothing but its size. Where `realloc` crosses the limit, a new block is made, the shorter of both
// lengths is copied, which lies within both blocks, and the old one is freed only after that; if there is
// no new block, the old one stays, as the contract demands.
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's, who promises a size above 0.
        unsafe {
            if is_large(layout.size()) {
                System.alloc(layout)
            } else {
                GlobalDlmalloc.alloc(layout)
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_large(layout.size()) {
                System.alloc_zeroed(layout)
            } else {
                GlobalDlmalloc.alloc_zeroed(layout)
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is from the allocator that its size names.
        unsafe {
            if is_large(layout.size()) {
                System.dealloc(block, layout);
            } else {
                GlobalDlmalloc.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the block is from the allocator that its size names, and stays there or is copied. The
        // caller promises that `bytes`, rounded up to the alignment, is a valid size.
        unsafe {
            match (is_large(layout.size()), is_large(bytes)) {
                (true, true) => System.realloc(block, layout, bytes),
                (false, false) => GlobalDlmalloc.realloc(block, layout, bytes),
                _ => {
                    let to = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
                    if !to.is_null() {
                        to.copy_from_nonoverlapping(block, bytes.min(layout.size()));
                        self.dealloc(block, layout);
                    }
                    to
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: BySize = BySize;

    /// Every test of a vector is one of the allocator: it grows and shrinks over the limit again and again.
    #[test]
    fn what_grows_and_shrinks_over_the_limit_keeps_its_content() {
        let run = |seed: usize| {
            for round in 0..40 {
                let mut bytes: Vec<u8> = Vec::new();
                for at in 0..LARGE * 3 / 2 + 97 * round {
                    bytes.push((at * 31 + seed) as u8);
                }
                for length in [LARGE + 1, LARGE, LARGE - 1, 1_000, 1] {
                    bytes.truncate(length);
                    bytes.shrink_to_fit();
                    bytes.reserve_exact(if round % 2 == 0 { LARGE } else { 0 });
                    let is_kept = |(at, byte): (usize, &u8)| *byte == (at * 31 + seed) as u8;
                    assert!(bytes.iter().enumerate().all(is_kept), "round {round}, {length} bytes");
                }
            }
        };
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || run(seed));
            }
        });
    }

    #[test]
    fn zeroed_memory_is_zero_although_it_was_used() {
        for length in [1, 1_000, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE] {
            for _ in 0..50 {
                let mut bytes = vec![0_u8; length];
                assert!(bytes.iter().all(|byte| *byte == 0), "{length} bytes");
                bytes.fill(0xa5);
            }
        }
    }

    #[test]
    fn blocks_are_aligned_as_asked() {
        for length in [64, LARGE, 4 * LARGE] {
            for align in [8, 64, 4_096] {
                let layout = Layout::from_size_align(length, align).expect("a layout");
                // SAFETY: the layout has a size, and the block is freed by the same.
                unsafe {
                    let block = ALLOCATOR.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align));
                    ALLOCATOR.dealloc(block, layout);
                }
            }
        }
    }
}
