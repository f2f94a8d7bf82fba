#![no_main]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte picks the reader, so that one corpus feeds all of them.
    if let [format, rest @ ..] = bytes {
        properties::any(rest, usize::from(*format));
    }
});
