//! Good bytes made bad, in the same way in every run, and a look at what reading them allocates. For the tests of this crate
//! and of `tally-node`.

/// Choices that are the same for the same name: the output of BLAKE3, as long as one likes.
pub(crate) struct Choices(blake3::OutputReader);

impl Choices {
    pub(crate) fn new(name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(name.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// A number from 0 to one below `end`; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        let mut number = [0; 8];
        self.0.fill(&mut number);
        let number = u64::from_be_bytes(number) % end.max(1) as u64;
        usize::try_from(number).expect("below a usize")
    }

    /// Up to `most` bytes of any kind.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most + 1)];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A part of some bytes, which may be empty.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let (one, other) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
        one.min(other)..one.max(other)
    }

    /// One of the samples with one to four changes.
    pub(crate) fn altered(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = samples[self.below(samples.len())].clone();
        for _ in 0..=self.below(4) {
            match self.below(7) {
                // Bits are flipped.
                0 | 1 => {
                    for _ in 0..=self.below(4) {
                        let (place, bit) = (self.below(bytes.len()), self.below(8));
                        if let Some(byte) = bytes.get_mut(place) {
                            *byte ^= 1 << bit;
                        }
                    }
                }
                // A number becomes the smallest or the largest of its width.
                2 => {
                    let (place, width) = (self.below(bytes.len()), 1 << self.below(4));
                    let value = [0, 0xff][self.below(2)];
                    for byte in bytes.iter_mut().skip(place).take(width) {
                        *byte = value;
                    }
                }
                // The end is cut off.
                3 => bytes.truncate(self.below(bytes.len() + 1)),
                // More follows.
                4 => bytes.extend(self.bytes(48)),
                // It goes on as another sample does.
                5 => {
                    let other = &samples[self.below(samples.len())];
                    bytes.truncate(self.below(bytes.len() + 1));
                    bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
                // A part is there several times, or not at all.
                _ => {
                    let part = self.part(&bytes);
                    let times = [0, 2, 2, 3][self.below(4)];
                    let repeated = bytes[part.clone()].repeat(times);
                    drop(bytes.splice(part, repeated));
                }
            }
        }
        bytes
    }
}

/// Runs a property on samples as they are, on `count` of them altered and on `count` of any bytes. What it allocates at once
/// is at most what it allocates for nothing at all, `fixed` bytes, and `each` for each byte that it is given.
pub(crate) fn holds(
    name: &str,
    property: impl Fn(&[u8]),
    samples: &[Vec<u8>],
    count: usize,
    (fixed, each): (usize, usize),
) {
    let mut choices = Choices::new(name);
    let good = samples.iter().cloned();
    let mut inputs: Vec<Vec<u8>> = good.collect();
    inputs.extend((0..count).map(|_| choices.altered(samples)));
    inputs.extend((0..count).map(|_| choices.bytes(300)));
    let fixed = fixed + heap::largest(|| property(&[]));
    for (number, bytes) in inputs.iter().enumerate() {
        let largest = heap::largest(|| property(bytes));
        let allowed = fixed + each * bytes.len();
        assert!(
            largest <= allowed,
            "{name}, input {number}: {largest} bytes at once for one of {}, where {allowed} are allowed",
            bytes.len()
        );
    }
}

#[allow(
    unsafe_code,
    reason = "an allocator can only be replaced through this trait"
)]
mod heap {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        /// The most that this thread has allocated at once.
        static LARGEST: Cell<usize> = const { Cell::new(0) };
    }

    /// The most that something allocates at once, in this thread.
    pub(super) fn largest(run: impl FnOnce()) -> usize {
        LARGEST.set(0);
        run();
        LARGEST.get()
    }

    struct Watched;

    fn seen(size: usize) {
        // A thread that ends may have none any more.
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    }

    // SAFETY: every call is handed on unchanged to the system's allocator, which upholds the contract.
    unsafe impl GlobalAlloc for Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            seen(layout.size());
            // SAFETY: the caller upholds `alloc`'s contract, which is the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            seen(layout.size());
            // SAFETY: the caller upholds `alloc_zeroed`'s contract, which is the same.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            seen(size);
            // SAFETY: `pointer` came from `System`, with this layout, and the caller upholds the rest.
            unsafe { System.realloc(pointer, layout, size) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: `pointer` came from `System`, with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Watched = Watched;
}
