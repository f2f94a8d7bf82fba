//! Deciding allocates nothing. A counting allocator counts for each thread apart, since the test harness has threads of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use tally_capability::{Ask, Effective, Grant, Manifest, Moment};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator can only be replaced through this trait"
)]
// SAFETY: every call is handed on unchanged to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate after its counter is gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn deciding_allocates_nothing_on_any_path() {
    let manifest = Manifest::from_toml(
        "name = 'a'\nversion = '1'\ncapabilities.models = ['*']\ncapabilities.tools = ['x', 'y']\n\
         capabilities.output = true",
    )
    .unwrap();
    let grant = Grant::as_asked(&manifest).until(Moment::from_epoch_seconds(100));
    let effective = Effective::resolve(&manifest, &grant, &[0; 32]).unwrap();
    let asks = [
        Ask::Model("seed"),
        Ask::Tool("y"),
        Ask::Tool("z"),
        Ask::Setting("lang"),
        Ask::Output,
        Ask::Random,
    ];
    let before = ALLOCATIONS.get();
    let mut allowed = 0;
    for round in 0..1000 {
        for ask in asks {
            let now = Moment::from_epoch_seconds(round % 200);
            allowed += usize::from(black_box(effective.decide(black_box(ask), now)).is_allowed());
        }
    }
    let after = ALLOCATIONS.get();
    assert_eq!(after - before, 0);
    assert_eq!(allowed, 3 * 500, "the asks took both paths");
    let _sentence = format!("{allowed}");
    assert!(ALLOCATIONS.get() > after, "the allocator counts");
}
