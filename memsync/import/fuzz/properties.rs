//! What must hold of any bytes. The fuzz targets and a seeded test in the suite (`tests/hostile.rs`) run the same function.

use tally_import::{Format, Item, Limits, Options, detect, read_all};

/// Whatever the bytes are: no panic, nothing empty, no limit passed, and the report counts what was handed on. `format`
/// picks a reader; past the last one, the content does.
pub(crate) fn any(bytes: &[u8], format: usize) {
    let mut limits = Limits::default();
    limits.turn_len = 256;
    limits.passage_len = 64;
    limits.pieces = 1000;
    limits.text_len = 16 * 1024;
    limits.entry_len = 1 << 20;
    limits.unpacked_len = 1 << 20;
    limits.pdf_unpacked_len = 1 << 20;
    limits.pdf_work = 10_000;
    let options = Options {
        name: Some("name".to_owned()),
        format: Format::ALL.get(format).copied(),
        limits: limits.clone(),
        ..Options::default()
    };
    if options.format.is_none() {
        // Telling the format twice gives one answer.
        assert_eq!(detect(bytes, &options), detect(bytes, &options));
    }
    let Ok((items, report)) = read_all(bytes, &options) else {
        return;
    };
    let (mut turns, mut passages, mut text_len) = (0, 0, 0);
    for item in &items {
        match item {
            Item::Conversation(conversation) => {
                assert!(!conversation.turns.is_empty());
                for turn in &conversation.turns {
                    assert!(!turn.text.trim().is_empty() && turn.text.len() <= limits.turn_len);
                    turns += 1;
                    text_len += turn.text.len();
                }
            }
            Item::Document(document) => {
                assert!(!document.passages.is_empty());
                for passage in &document.passages {
                    assert!(
                        !passage.text.trim().is_empty() && passage.text.len() <= limits.passage_len
                    );
                    passages += 1;
                    text_len += passage.text.len();
                }
            }
        }
    }
    assert_eq!((report.turns, report.passages), (turns, passages));
    assert_eq!(report.text_len, text_len as u64);
    assert!(turns + passages <= limits.pieces as u64 && text_len <= limits.text_len);
    assert_eq!(report.conversations + report.documents, items.len() as u64);
}
