//! From token bytes to text: whole characters only, and nothing of a stop string that completes.
//!
//! Bytes are looked at one by one, so the result does not depend on where tokens begin and end: the text ends before the
//! first stop string to be complete, and among those that complete with the same byte before the longest. Bytes that
//! can still become a part of a stop string or of a character are held back. Bytes that are not UTF-8 become U+FFFD.

/// The text of one generation as it grows.
#[derive(Debug)]
pub(crate) struct TextStream {
    stops: Vec<Vec<u8>>,
    /// Received and not released.
    held: Vec<u8>,
    stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().map(|stop| stop.as_bytes().to_vec()).collect();
        Self {
            stops,
            held: Vec::new(),
            stopped: false,
        }
    }

    /// Takes more bytes and appends to `out` what is now certain. Returns whether a stop string was met; all bytes
    /// after it are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut String) -> bool {
        for byte in bytes {
            if self.stopped {
                break;
            }
            self.held.push(*byte);
            let longest = self
                .stops
                .iter()
                .filter(|stop| self.held.ends_with(stop))
                .map(Vec::len)
                .max();
            if let Some(length) = longest {
                self.held.truncate(self.held.len() - length);
                self.stopped = true;
            }
        }
        if self.stopped {
            self.flush(out);
        } else {
            let free = self.held.len() - self.pending_stop();
            self.release(free, out);
        }
        self.stopped
    }

    /// Appends everything that is left: the generation has ended.
    pub(crate) fn flush(&mut self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&self.held));
        self.held.clear();
    }

    /// Bytes at the end that may become a stop string.
    fn pending_stop(&self) -> usize {
        let partial = |stop: &Vec<u8>| {
            (1..stop.len())
                .rev()
                .find(|length| self.held.ends_with(&stop[..*length]))
                .unwrap_or(0)
        };
        self.stops.iter().map(partial).max().unwrap_or(0)
    }

    /// Releases whole characters of the first `free` bytes.
    fn release(&mut self, free: usize, out: &mut String) {
        let mut done = 0;
        while done < free {
            match std::str::from_utf8(&self.held[done..free]) {
                Ok(text) => {
                    out.push_str(text);
                    done = free;
                }
                Err(error) => {
                    let good = done + error.valid_up_to();
                    out.push_str(&String::from_utf8_lossy(&self.held[done..good]));
                    match error.error_len() {
                        Some(length) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            done = good + length;
                        }
                        // A character that is not complete yet.
                        None => {
                            done = good;
                            break;
                        }
                    }
                }
            }
        }
        self.held.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use super::TextStream;
    use proptest::prelude::*;

    /// All text released when the bytes come in these pieces, and whether it stopped.
    fn run(stops: &[&str], pieces: &[&[u8]]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(&stops);
        let mut out = String::new();
        let mut stopped = false;
        for piece in pieces {
            stopped = stream.push(piece, &mut out);
            if stopped {
                break;
            }
        }
        stream.flush(&mut out);
        (out, stopped)
    }

    #[test]
    fn a_character_is_never_split() {
        let mut stream = TextStream::new(&[]);
        let mut out = String::new();
        let euro = "€".as_bytes();
        stream.push(&euro[..1], &mut out);
        stream.push(&euro[1..2], &mut out);
        assert_eq!(out, "", "two of three bytes are no character");
        stream.push(&euro[2..], &mut out);
        assert_eq!(out, "€");
    }

    #[test]
    fn a_stop_string_across_pieces_is_held_back_and_cut() {
        assert_eq!(
            run(&["</s>"], &[b"hello<", b"/s", b">world"]),
            ("hello".into(), true)
        );
        assert_eq!(
            run(&["</s>"], &[b"hello<", b"/s", b"?"]),
            ("hello</s?".into(), false)
        );
    }

    #[test]
    fn nothing_of_a_pending_stop_string_is_released() {
        let mut stream = TextStream::new(&["abcd".to_owned()]);
        let mut out = String::new();
        stream.push(b"xxabc", &mut out);
        assert_eq!(out, "xx");
    }

    #[test]
    fn the_first_to_complete_wins_and_then_the_longest() {
        assert_eq!(run(&["abcd", "bc"], &[b"abcd"]), ("a".into(), true));
        assert_eq!(run(&["b", "ab"], &[b"xab"]), ("x".into(), true));
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(
            run(&[], &[&[b'a', 0xff, b'b']]),
            ("a\u{fffd}b".into(), false)
        );
        assert_eq!(run(&[], &[&[0xe2, 0x82]]), ("\u{fffd}".into(), false));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xe2), Just(0x82), Just(0xac), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(1usize..5, 0..60),
            stops in proptest::collection::vec("[ab€]{1,4}", 0..3),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let whole = run(&stops, &[&bytes]);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                pieces.push(head);
                rest = tail;
            }
            pieces.push(rest);
            prop_assert_eq!(run(&stops, &pieces), whole);
        }

        #[test]
        fn a_stop_string_never_appears(
            text in "[abc]{0,40}",
            stops in proptest::collection::vec("[abc]{1,3}", 1..3),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (out, _) = run(&stops, &[text.as_bytes()]);
            prop_assert!(stops.iter().all(|stop| !out.contains(stop)));
            prop_assert!(text.starts_with(&out));
        }
    }
}
