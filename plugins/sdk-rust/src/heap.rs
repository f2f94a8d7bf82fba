//! The allocator of a guest: an arena inside the initial memory first, whole pages of memory after.
//!
//! A run usually lives and dies inside the arena, so that starting it makes the host neither grow nor protect memory:
//! each `memory.grow` is two or three system calls, which is more than all the rest of a short run.
//!
//! Blocks come in size classes, four to a doubling (so at most a quarter of a block is waste), and a freed block waits
//! in a list of its class for the next of its kind. Nothing is given back and nothing is merged: a run is short, and
//! its memory goes away as a whole.
//!
//! Out of scope: threads. A component has one, and [`Heap`] is not `Sync`.

use core::alloc::Layout;
use core::ptr::null_mut;

/// Blocks are aligned to this, and no smaller.
const GRAIN: usize = 16;
/// Classes of up to 4 GiB, four to a doubling, from [`GRAIN`].
const CLASSES: usize = 4 * 32;

/// Where more memory comes from.
pub(crate) trait Source {
    /// At least `bytes` bytes, aligned to [`GRAIN`], that nobody else uses, as `(start, length)`.
    fn more(&mut self, bytes: usize) -> Option<(usize, usize)>;
}

/// A heap over memory from `S`. Addresses are plain numbers; the caller turns them into pointers.
pub(crate) struct Heap<S> {
    source: S,
    next: usize,
    end: usize,
    /// The latest freed block of each class, or 0; each freed block holds the address of the one before it.
    free: [usize; CLASSES],
}

impl<S: Source> Heap<S> {
    pub(crate) const fn new(source: S) -> Self {
        Self {
            source,
            next: 0,
            end: 0,
            free: [0; CLASSES],
        }
    }

    /// The address of a block for `layout`, or null.
    ///
    /// # Safety
    ///
    /// Every block given to [`free`](Self::free) came from here with the same layout, and is not used any more.
    #[allow(
        unsafe_code,
        reason = "an allocator keeps its lists in the memory it manages"
    )]
    pub(crate) unsafe fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let Some((class, size)) = class(layout.size()) else {
            return null_mut();
        };
        let head = self.free[class];
        if head != 0 && layout.align() <= GRAIN {
            let block = head as *mut u8;
            // SAFETY: a free block is at least GRAIN bytes, is used by nobody, and begins with the address that
            // `free` wrote there.
            self.free[class] = unsafe { block.cast::<usize>().read() };
            return block;
        }
        let align = layout.align().max(GRAIN);
        loop {
            if let Some(start) = self.next.checked_next_multiple_of(align)
                && let Some(end) = start.checked_add(size)
                && self.next != 0
                && end <= self.end
            {
                self.next = end;
                return start as *mut u8;
            }
            let Some((start, length)) = size
                .checked_add(align)
                .and_then(|needed| self.source.more(needed))
            else {
                return null_mut();
            };
            // Memory that continues what we have keeps the rest of it in use; else the rest is lost.
            if start != self.end {
                self.next = start;
            }
            self.end = start + length;
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from [`allocate`](Self::allocate) with a layout of this size, and is not used any more.
    #[allow(
        unsafe_code,
        reason = "an allocator keeps its lists in the memory it manages"
    )]
    pub(crate) unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        if let Some((class, size)) = class(layout.size()) {
            if block as usize + size == self.next {
                self.next = block as usize;
                return;
            }
            // SAFETY: the block is at least GRAIN bytes, aligned to GRAIN, and is ours again.
            unsafe { block.cast::<usize>().write(self.free[class]) };
            self.free[class] = block as usize;
        }
    }

    /// Makes a block larger or smaller without moving it, if that is possible.
    pub(crate) fn resize_in_place(&mut self, block: *mut u8, layout: Layout, size: usize) -> bool {
        let (Some((old, old_size)), Some((new, new_size))) = (class(layout.size()), class(size))
        else {
            return false;
        };
        if old == new {
            return true;
        }
        let start = block as usize;
        if start + old_size == self.next
            && start
                .checked_add(new_size)
                .is_some_and(|end| end <= self.end)
        {
            self.next = start + new_size;
            return true;
        }
        false
    }
}

/// The class of a block of `size` bytes and the size of the blocks in that class; none over 2 GiB.
fn class(size: usize) -> Option<(usize, usize)> {
    if size > 1 << 31 {
        return None;
    }
    if size <= 4 * GRAIN {
        let grains = size.div_ceil(GRAIN).max(1);
        return Some((grains - 1, grains * GRAIN));
    }
    // Between 2^top and 2^(top+1) there are four steps of 2^(top-2).
    let top = (size - 1).ilog2();
    let step = 1_usize << (top - 2);
    let steps = size.div_ceil(step);
    let first = (4 * GRAIN).ilog2();
    Some((4 + (top - first) as usize * 4 + (steps - 5), steps * step))
}

#[cfg(target_arch = "wasm32")]
mod global {
    //! The one heap of a component.
    #![allow(
        unsafe_code,
        reason = "a global allocator is an unsafe trait, and memory.grow gives raw addresses"
    )]

    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::UnsafeCell;

    use super::{Heap, Source};

    /// What a run has before memory grows: two pages of the four that a small agent starts with.
    const ARENA_BYTES: usize = 128 * 1024;
    const PAGE_BYTES: usize = 64 * 1024;

    #[repr(align(16))]
    struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

    // SAFETY: a component has one thread.
    unsafe impl Sync for Arena {}

    static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

    struct Memory {
        arena_given: bool,
    }

    impl Source for Memory {
        fn more(&mut self, bytes: usize) -> Option<(usize, usize)> {
            if !self.arena_given {
                self.arena_given = true;
                if bytes <= ARENA_BYTES {
                    return Some((ARENA.0.get() as usize, ARENA_BYTES));
                }
            }
            // By half of what there is, so that a large run grows seldom; by what is needed, where that is refused.
            let needed = bytes.div_ceil(PAGE_BYTES);
            let ample = needed.max(memory_size::<0>() / 2);
            let (pages, before) = match memory_grow::<0>(ample) {
                usize::MAX => (needed, memory_grow::<0>(needed)),
                before => (ample, before),
            };
            if before == usize::MAX {
                return None;
            }
            Some((
                before.checked_mul(PAGE_BYTES)?,
                pages.checked_mul(PAGE_BYTES)?,
            ))
        }
    }

    struct Global(UnsafeCell<Heap<Memory>>);

    // SAFETY: a component has one thread.
    unsafe impl Sync for Global {}

    #[global_allocator]
    static GLOBAL: Global = Global(UnsafeCell::new(Heap::new(Memory { arena_given: false })));

    // SAFETY: `Heap` hands out each block once until it is freed, of at least the size and alignment asked for; the
    // borrows below do not overlap, because there is one thread and the heap calls nothing that allocates.
    unsafe impl GlobalAlloc for Global {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as above, and the caller keeps the contract of `dealloc`.
            unsafe { (*self.0.get()).allocate(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller says that the block is ours, with this layout, and no longer used.
            unsafe { (*self.0.get()).free(block, layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: as above.
            if unsafe { (*self.0.get()).resize_in_place(block, layout, size) } {
                return block;
            }
            // SAFETY: the caller says that `size` is not zero and fits with this alignment.
            let layout_after = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            // SAFETY: as for `alloc`.
            let moved = unsafe { self.alloc(layout_after) };
            if !moved.is_null() {
                // SAFETY: both blocks are at least this long and do not overlap; the old one is then given back.
                unsafe {
                    core::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
            }
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod canonical_abi {
    //! How the host asks for the memory that it puts arguments and results into.
    //!
    //! wasi-libc has one that takes from its own `malloc`. What it hands out is later freed by Rust, so it has to
    //! come from Rust's allocator: this definition takes its place.
    #![allow(
        unsafe_code,
        reason = "the canonical ABI calls this by name, with raw addresses"
    )]

    use alloc::alloc::{Layout, alloc, realloc};

    /// Source: the component model's canonical ABI, `realloc`.
    // SAFETY: no other `cabi_realloc` is linked; wasi-libc's is weak.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn cabi_realloc(
        old: *mut u8,
        old_bytes: usize,
        align: usize,
        new_bytes: usize,
    ) -> *mut u8 {
        if new_bytes == 0 {
            return align as *mut u8;
        }
        // SAFETY: the host passes a power of two and sizes that fit its memory, which is smaller than `isize::MAX`.
        let block = unsafe {
            if old_bytes == 0 {
                alloc(Layout::from_size_align_unchecked(new_bytes, align))
            } else {
                realloc(
                    old,
                    Layout::from_size_align_unchecked(old_bytes, align),
                    new_bytes,
                )
            }
        };
        if block.is_null() {
            core::arch::wasm32::unreachable();
        }
        block
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        unsafe_code,
        reason = "the tests call the allocator as a program would"
    )]

    use super::*;
    use alloc::vec::Vec;

    /// Owns its memory, as words so that it is aligned.
    struct Slabs {
        slabs: Vec<Vec<u128>>,
        bytes_left: usize,
    }

    impl Source for Slabs {
        fn more(&mut self, bytes: usize) -> Option<(usize, usize)> {
            let words = bytes.div_ceil(16);
            self.bytes_left = self.bytes_left.checked_sub(words * 16)?;
            self.slabs.push(alloc::vec![0; words]);
            let slab = self.slabs.last_mut()?;
            Some((slab.as_mut_ptr() as usize, words * 16))
        }
    }

    fn heap(bytes: usize) -> Heap<Slabs> {
        Heap::new(Slabs {
            slabs: Vec::new(),
            bytes_left: bytes,
        })
    }

    #[test]
    fn classes_hold_what_they_are_for_and_waste_at_most_a_quarter() {
        let mut last = (0, 0);
        for size in 1..100_000 {
            let (class, block) = class(size).expect("small sizes have a class");
            assert!(block >= size && class < CLASSES, "{size}");
            assert!(size <= 64 || block * 4 <= size * 5 + 4, "{size} in {block}");
            assert_eq!(block % GRAIN, 0, "{size}");
            assert!(
                (class, block) == last || (class > last.0 || last.1 == 0) && block > last.1,
                "{size}: {last:?} then {:?}",
                (class, block)
            );
            last = (class, block);
        }
        assert!(class(1 << 31).is_some_and(|(class, _)| class < CLASSES));
        assert_eq!(class((1 << 31) + 1), None);
    }

    #[test]
    fn live_blocks_never_overlap_and_keep_their_content() {
        let mut heap = heap(8 << 20);
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut state = 0x9E37_79B9_u32;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize
        };
        for round in 0..20_000 {
            let mark = (round % 251) as u8;
            match random() % 3 {
                0 if !live.is_empty() => {
                    let (block, layout, mark) = live.swap_remove(random() % live.len());
                    // SAFETY: the block is live and this long.
                    let content = unsafe { core::slice::from_raw_parts(block, layout.size()) };
                    assert!(content.iter().all(|&byte| byte == mark));
                    // SAFETY: it is not used after this.
                    unsafe { heap.free(block, layout) };
                }
                1 if !live.is_empty() => {
                    let index = random() % live.len();
                    let (block, layout, mark) = live[index];
                    let size = 1 + random() % 600;
                    if heap.resize_in_place(block, layout, size) {
                        let kept = layout.size().min(size);
                        // SAFETY: the heap says that the block is now `size` bytes long.
                        let content = unsafe { core::slice::from_raw_parts_mut(block, size) };
                        assert!(content[..kept].iter().all(|&byte| byte == mark));
                        content.fill(mark);
                        live[index].1 =
                            Layout::from_size_align(size, layout.align()).expect("small");
                    }
                }
                _ => {
                    let layout = Layout::from_size_align(1 + random() % 500, 1 << (random() % 7))
                        .expect("small");
                    // SAFETY: blocks are freed once, with their layout.
                    let block = unsafe { heap.allocate(layout) };
                    assert!(!block.is_null());
                    assert_eq!(block as usize % layout.align(), 0);
                    // SAFETY: the block is ours and this long.
                    unsafe { core::slice::from_raw_parts_mut(block, layout.size()) }.fill(mark);
                    live.push((block, layout, mark));
                }
            }
        }
    }

    #[test]
    fn freed_blocks_are_used_again() {
        let mut heap = heap(4096);
        let layout = Layout::from_size_align(256, 8).expect("small");
        let other = Layout::from_size_align(32, 8).expect("small");
        for _ in 0..1000 {
            // SAFETY: each block is freed once, with its layout, and not used after.
            unsafe {
                let (first, second) = (heap.allocate(layout), heap.allocate(other));
                assert!(!first.is_null() && !second.is_null());
                heap.free(first, layout);
                heap.free(second, other);
            }
        }
    }

    #[test]
    fn memory_that_runs_out_is_a_null_and_not_a_panic() {
        let mut heap = heap(1024);
        let too_much = Layout::from_size_align(4096, 16).expect("small");
        let absurd = Layout::from_size_align(3 << 30, 16).expect("fits an address");
        // SAFETY: nothing is freed.
        unsafe {
            assert!(heap.allocate(too_much).is_null());
            assert!(heap.allocate(absurd).is_null());
        }
    }
}
