//! Archives and JSON made to hurt, and the properties of the fuzz targets on seeded input.

mod common;

#[path = "../fuzz/properties.rs"]
mod properties;

use common::{docx, options, pdf, zipped, zipped_as};
use proptest::prelude::*;
use tally_import::{Format, ImportError, Limits, Options, Reason, detect, read_all};

#[test]
fn an_archive_that_unpacks_beyond_the_limit_is_refused() {
    let zip = zipped(&[("conversations.json", &vec![b' '; 1 << 20])]);
    assert!(zip.len() < 8192);
    let mut limits = Limits::default();
    limits.entry_len = 1 << 16;
    let options = Options {
        limits,
        format: Some(Format::ChatGpt),
        ..Options::default()
    };
    assert!(matches!(
        read_all(&zip, &options),
        Err(ImportError::TooLarge { limit: 65_536, .. })
    ));
}

#[test]
fn an_archive_whose_files_together_unpack_beyond_the_limit_is_refused() {
    let day = format!("[{}]", " ".repeat(40_000));
    let zip = zipped(&[
        ("users.json", b"[]"),
        ("channels.json", b"[]"),
        ("a/2024-01-01.json", day.as_bytes()),
        ("a/2024-01-02.json", day.as_bytes()),
    ]);
    let mut limits = Limits::default();
    limits.unpacked_len = 60_000;
    let options = Options {
        limits,
        ..Options::default()
    };
    assert!(matches!(
        read_all(&zip, &options),
        Err(ImportError::TooLarge { limit: 60_000, .. })
    ));
}

#[test]
fn an_archive_whose_files_share_bytes_is_refused() {
    // The second entry of the directory is made to point at the first's bytes.
    let mut zip = zipped(&[("a.json", b"[1,2,3]"), ("b.json", b"[4,5,6]")]);
    let directory: Vec<usize> = zip
        .windows(4)
        .enumerate()
        .filter(|(_, bytes)| bytes == b"PK\x01\x02")
        .map(|(at, _)| at)
        .collect();
    let offset = directory[1] + 42;
    zip[offset..offset + 4].fill(0);
    let error = read_all(
        &zip,
        &Options {
            format: Some(Format::Telegram),
            ..Options::default()
        },
    )
    .unwrap_err();
    assert!(matches!(error, ImportError::Malformed { .. }), "{error}");
}

#[test]
fn entries_of_an_archive_are_counted_before_its_directory_is_built() {
    let refused = |zip: &[u8]| {
        let mut limits = Limits::default();
        limits.entries = 2;
        let options = Options {
            limits,
            ..Options::default()
        };
        matches!(
            detect(zip, &options),
            Err(ImportError::TooLarge { limit: 2, .. })
        )
    };
    let file: &[u8] = b"[]";
    assert!(!refused(&zipped(&[("a.json", file), ("b.json", file)])));
    let three = zipped(&[("a.json", file), ("b.json", file), ("c.json", file)]);
    assert!(refused(&three));
    // Without its end nothing builds this directory.
    let end_len = 22;
    assert!(refused(&three[..three.len() - end_len]));
    // An end that says so many that a list of them would take all memory.
    let one = zipped(&[("a.json", file)]);
    let (before, end) = one.split_at(one.len() - end_len);
    let claimed = 1_u64 << 40;
    let mut large = before.to_vec();
    large.extend_from_slice(b"PK\x06\x06");
    large.extend_from_slice(&44_u64.to_le_bytes());
    large.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [claimed, claimed, claimed * 46, claimed] {
        large.extend_from_slice(&field.to_le_bytes());
    }
    large.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    large.extend_from_slice(&(before.len() as u64).to_le_bytes());
    large.extend_from_slice(&1_u32.to_le_bytes());
    large.extend_from_slice(end);
    assert!(refused(&large));
}

#[test]
fn what_looks_like_the_end_of_a_directory_inside_a_file_refuses_no_archive() {
    // As compressed data does by chance: the four bytes, and what would be a count beyond any limit.
    for tail in [vec![0xff; 64], [vec![0; 8], vec![0xff; 56]].concat()] {
        let file = [&b"PK\x06\x06"[..], &tail].concat();
        let files: [(&str, &[u8]); 2] = [("photo.jpg", &file), ("a.json", b"[]")];
        let zip = zipped_as(&files, zip::CompressionMethod::Stored);
        assert!(zip.windows(4).any(|bytes| bytes == b"PK\x06\x06"));
        let told = detect(&zip, &Options::default());
        assert!(
            !matches!(told, Err(ImportError::TooLarge { .. })),
            "{told:?}"
        );
    }
}

#[test]
fn what_an_archive_is_is_told_without_unpacking_its_files() {
    // Larger, unpacked, than a file may be: telling what it is reads its beginning.
    let mut export = br#"[{"title":"t","mapping":{}},"#.to_vec();
    export.resize(3 << 20, b' ');
    let zip = zipped(&[("conversations.json", &export)]);
    let mut limits = Limits::default();
    limits.entry_len = 2 << 20;
    let options = Options {
        limits,
        ..Options::default()
    };
    assert_eq!(detect(&zip, &options), Ok(Format::ChatGpt));
    assert!(matches!(
        read_all(&zip, &options),
        Err(ImportError::TooLarge { .. })
    ));
}

#[test]
fn names_in_an_archive_are_only_compared() {
    let chat = br#"{"name":"x","id":1,"messages":[{"id":1,"text":"hi"}]}"#;
    let zip = zipped(&[("../../etc/result.json", chat)]);
    let (items, _) = read_all(&zip, &options("x.zip")).unwrap();
    assert_eq!(items.len(), 1);
}

#[test]
fn json_nested_without_end_costs_its_own_record() {
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let export = format!(
        r#"[{{"mapping":{{"a":{deep}}}}},{{"conversation_id":"c","current_node":"a","mapping":{{
           "a":{{"message":{{"author":{{"role":"user"}},"content":{{"content_type":"text","parts":["kept"]}}}}}}}}}}]"#
    );
    let (items, report) = read_all(export.as_bytes(), &Options::default()).unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(report.left(Reason::Malformed), 1);
}

#[test]
fn limits_on_turns_text_and_records_are_kept_and_counted() {
    let message = |id: usize, text: &str| format!(r#"{{"id":{id},"text":"{text}"}}"#);
    let export = format!(
        r#"{{"name":"x","id":1,"messages":[{},{},{},{}]}}"#,
        message(1, "one"),
        message(2, &"long".repeat(100)),
        message(3, "three"),
        message(4, &"record".repeat(1000)),
    );
    let read = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        limits.turn_len = 100;
        limits.record_len = 1000;
        change(&mut limits);
        let options = Options {
            limits,
            format: Some(Format::Telegram),
            ..Options::default()
        };
        read_all(export.as_bytes(), &options).unwrap().1
    };
    let report = read(|_| {});
    assert_eq!((report.turns, report.left(Reason::TooLong)), (2, 2));
    let report = read(|limits| limits.pieces = 1);
    assert_eq!((report.turns, report.left(Reason::OverBudget)), (1, 1));
    let report = read(|limits| limits.text_len = 4);
    assert_eq!((report.turns, report.left(Reason::OverBudget)), (1, 1));
}

#[test]
fn what_is_left_out_is_named_without_control_characters() {
    let export = "{\"name\":\"x\",\"id\":1,\"messages\":[{\"id\":1,\"type\":\"a\\u001b[31mb\",\"text\":\"t\"}]}";
    let report = read_all(
        export.as_bytes(),
        &Options {
            format: Some(Format::Telegram),
            ..Options::default()
        },
    )
    .unwrap()
    .1;
    assert_eq!(report.left_out[0].examples[0].place, "a [31mb");
    assert_eq!(report.left_out[0].examples[0].begins, None);
}

#[test]
fn what_no_reader_reads_is_named() {
    let names = |bytes: &[u8]| detect(bytes, &Options::default()).unwrap_err().to_string();
    assert!(names(b"").contains("empty"));
    assert!(names(b"{\"a\":1}").contains("JSON"));
    assert!(names(b"[{\"a\":1}]").contains("JSON"));
    assert!(names(b"\x89PNG\r\n\x1a\n\0\0").contains("picture"));
    assert!(names(b"\xD0\xCF\x11\xE0\0").contains("old Office"));
    assert!(names(b"{\\rtf1 x").contains("JSON") || names(b"{\\rtf1 x").contains("RTF"));
    assert!(names(&zipped(&[("xl/workbook.xml", b"")])).contains("spreadsheet"));
    assert!(names(&zipped(&[("a.txt", b"")])).contains("zip"));
    assert!(names(b"PK\x03\x04 and no more").contains("zip"));
}

#[test]
fn text_is_told_from_markdown_by_content_and_name() {
    let told = |text: &str, name: Option<&str>| {
        let options = Options {
            name: name.map(str::to_owned),
            ..Options::default()
        };
        detect(text.as_bytes(), &options).unwrap()
    };
    assert_eq!(told("# A\n\n## B\n", None), Format::Markdown);
    assert_eq!(told("# A\n\n## B\n", Some("a.txt")), Format::Text);
    assert_eq!(told("plain", None), Format::Text);
    assert_eq!(told("plain", Some("a.MD")), Format::Markdown);
    assert_eq!(told("[1] a footnote\n", None), Format::Text);
}

/// Something of each format, for mutation.
fn seeds() -> Vec<Vec<u8>> {
    vec![
        br#"[{"conversation_id":"c","current_node":"a","mapping":{"a":{"message":{"author":{"role":"user"},"content":{"content_type":"text","parts":["x"]}}}}}]"#.to_vec(),
        br#"[{"uuid":"u","chat_messages":[{"sender":"human","text":"x","created_at":"2025-03-04T05:06:07Z"}]}]"#.to_vec(),
        br#"{"name":"n","type":"personal_chat","id":1,"messages":[{"id":1,"type":"message","text":["a",{"text":"b"}]}]}"#.to_vec(),
        "31.12.23, 21:41 - A: a\n31.12.23, 21:42 - B: b\n".as_bytes().to_vec(),
        br#"{"channel":{"id":"1"},"messages":[{"id":"1","content":"x","author":{"name":"a"}}]}"#.to_vec(),
        zipped(&[("users.json", b"[]"), ("channels.json", b"[]"), ("a/2024-01-01.json", br#"[{"text":"<@U>","ts":"1.2"}]"#)]),
        b"# A\n\n- b\n- [ ] c\n\n| a |\n|---|\n".to_vec(),
        b"<html><body hidden><p>a<h1>b</h1><script>c</script>".to_vec(),
        pdf(&["BT /F1 12 Tf 72 700 Td (Hello) Tj ET"]),
        docx("<w:p><w:r><w:t>a &amp; b</w:t></w:r></w:p>"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512), format in 0..12_usize) {
        properties::any(&bytes, format);
    }

    #[test]
    fn damaged_exports_are_read_or_refused(
        seed in 0..10_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
        format in 0..12_usize,
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let keep = bytes.len() - keep.index(bytes.len()) / 4;
        properties::any(&bytes[..keep], format);
    }
}
