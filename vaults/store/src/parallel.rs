//! Work over a list on a few threads, in order.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As `items.iter().map(work).collect()`, on at most `threads` threads. Each thread takes the next item when it is done
/// with one, so items of different size are shared out evenly.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    threads: NonZeroUsize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    map_with(items, threads, || (), |(), item| work(item))
}

/// As [`map`], with room of its own for each thread.
pub(crate) fn map_with<T: Sync, R: Send, S>(
    items: &[T],
    threads: NonZeroUsize,
    room: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.get().min(items.len());
    if threads <= 1 {
        let mut room = room();
        return items.iter().map(|item| work(&mut room, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut room = room();
        let mut done = Vec::new();
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            done.push((index, work(&mut room, item)));
        }
        done
    };
    let mut results: Vec<Option<R>> = std::iter::repeat_with(|| None).take(items.len()).collect();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        for (index, result) in take() {
            results[index] = Some(result);
        }
        for other in others {
            match other.join() {
                Ok(done) => {
                    for (index, result) in done {
                        results[index] = Some(result);
                    }
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    results
        .into_iter()
        .map(|result| result.expect("every index was taken once"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_whatever_the_number_of_threads() {
        let items: Vec<u64> = (0..1_000).collect();
        let expected: Vec<u64> = items.iter().map(|item| item * item).collect();
        for threads in 1..5 {
            let threads = NonZeroUsize::new(threads).expect("not zero");
            assert_eq!(map(&items, threads, |item| item * item), expected);
        }
    }
}
