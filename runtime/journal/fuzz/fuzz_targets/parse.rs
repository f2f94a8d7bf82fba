//! Any bytes: reading, recovering, viewing and checking never panic, and what is accepted has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_journal::{Journal, view};

fuzz_target!(|bytes: &[u8]| {
    let read = Journal::parse(bytes);
    let recovered = Journal::recover(bytes);
    if let Ok(journal) = &read {
        let (again, torn) = recovered.as_ref().expect("what is read is recovered");
        assert!(torn.is_none() && again.head() == journal.head());
    }
    if let Ok((journal, torn)) = recovered {
        for entry in journal.entries() {
            let _ = view::to_json(&journal, &entry);
        }
        let _ = view::describe(&journal).count() + view::summary(&journal).len();
        if let Some(torn) = torn {
            let kept = Journal::parse(&bytes[..torn.offset]).expect("what comes before the tear is whole");
            assert_eq!(kept.head(), journal.head());
        }
    }
});
