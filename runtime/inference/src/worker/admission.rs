//! Who runs next: a bounded queue that rotates between requesters.
//!
//! Requests of one requester run in the order they came; requesters take turns, so that one with a hundred requests
//! delays another by one request and not by a hundred.

use std::collections::{HashMap, VecDeque};

/// Waiting requests.
#[derive(Debug)]
pub(crate) struct Admission<T> {
    limit: usize,
    length: usize,
    /// Requesters with something waiting, the next first. Each has a queue in `waiting`, and it is not empty.
    turns: VecDeque<u64>,
    waiting: HashMap<u64, VecDeque<T>>,
}

impl<T> Admission<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            length: 0,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether another would not be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.length >= self.limit
    }

    /// Adds a request. The caller has asked [`Self::is_full`].
    pub(crate) fn push(&mut self, requester: u64, request: T) {
        let queue = self.waiting.entry(requester).or_default();
        if queue.is_empty() {
            self.turns.push_back(requester);
        }
        queue.push_back(request);
        self.length += 1;
    }

    /// Takes the request whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let requester = self.turns.pop_front()?;
        let queue = self
            .waiting
            .get_mut(&requester)
            .expect("each requester in turn has a queue");
        let request = queue
            .pop_front()
            .expect("queues of requesters in turn are not empty");
        self.length -= 1;
        if queue.is_empty() {
            self.waiting.remove(&requester);
        } else {
            self.turns.push_back(requester);
        }
        Some(request)
    }

    /// Takes out the first request for which `is_it` holds.
    pub(crate) fn remove(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let (requester, at) = self.waiting.iter().find_map(|(requester, queue)| {
            queue.iter().position(&mut is_it).map(|at| (*requester, at))
        })?;
        let queue = self.waiting.get_mut(&requester)?;
        let request = queue.remove(at)?;
        self.length -= 1;
        if queue.is_empty() {
            self.waiting.remove(&requester);
            self.turns.retain(|turn| *turn != requester);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    fn drain(queue: &mut Admission<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn requesters_take_turns() {
        let mut queue = Admission::new(10);
        for (requester, request) in [
            (1, "a1"),
            (1, "a2"),
            (1, "a3"),
            (2, "b1"),
            (3, "c1"),
            (2, "b2"),
        ] {
            queue.push(requester, request);
        }
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_says_so() {
        let mut queue = Admission::new(2);
        queue.push(1, "a");
        assert!(!queue.is_full());
        queue.push(1, "b");
        assert!(queue.is_full());
        queue.pop();
        assert!(!queue.is_full());
    }

    #[test]
    fn a_removed_request_does_not_run_and_leaves_the_rest_in_order() {
        let mut queue = Admission::new(10);
        for (requester, request) in [(1, "a1"), (2, "b1"), (1, "a2")] {
            queue.push(requester, request);
        }
        assert_eq!(queue.remove(|request| *request == "b1"), Some("b1"));
        assert_eq!(queue.remove(|request| *request == "b1"), None);
        assert_eq!(drain(&mut queue), ["a1", "a2"]);
    }
}
