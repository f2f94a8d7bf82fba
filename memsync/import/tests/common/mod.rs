//! Small files, invented here.

#![allow(dead_code, reason = "each test file uses some of these")]

use std::io::{Cursor, Write};

use tally_import::{Conversation, Document, Item, Options, Report, Role, Turn, read_all};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

pub(crate) fn options(name: &str) -> Options {
    Options {
        name: Some(name.to_owned()),
        ..Options::default()
    }
}

pub(crate) fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    zipped_as(files, CompressionMethod::Deflated)
}

pub(crate) fn zipped_as(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub(crate) fn conversations(bytes: &[u8], options: &Options) -> (Vec<Conversation>, Report) {
    let (items, report) = read_all(bytes, options).unwrap();
    let conversations = items
        .into_iter()
        .filter_map(|item| match item {
            Item::Conversation(conversation) => Some(conversation),
            Item::Document(_) => None,
        })
        .collect();
    (conversations, report)
}

pub(crate) fn conversation(bytes: &[u8], options: &Options) -> (Conversation, Report) {
    let (mut all, report) = conversations(bytes, options);
    assert_eq!(all.len(), 1, "{report:?}");
    (all.remove(0), report)
}

pub(crate) fn document(bytes: &[u8], options: &Options) -> (Document, Report) {
    let (items, report) = read_all(bytes, options).unwrap();
    match items.into_iter().next() {
        Some(Item::Document(document)) => (document, report),
        other => panic!("no document: {other:?}, {report:?}"),
    }
}

/// Voice and words of each turn.
pub(crate) fn said(conversation: &Conversation) -> Vec<(&str, &str)> {
    conversation
        .turns
        .iter()
        .map(|turn| (voice(turn), &*turn.text))
        .collect()
}

fn voice(turn: &Turn) -> &str {
    match (&turn.speaker.name, turn.speaker.role) {
        (Some(name), _) => name,
        (None, Role::User) => "user",
        (None, Role::Assistant) => "assistant",
        (None, Role::Person) => "somebody",
    }
}

pub(crate) fn unix_ms(turn: &Turn) -> i64 {
    turn.at.expect("dated").moment.unix_ms()
}

/// A PDF of one page for each content stream, with Helvetica as /F1. The table of offsets is exact.
pub(crate) fn pdf(contents: &[&str]) -> Vec<u8> {
    pdf_with(contents, "")
}

/// The same, and more lines in each content stream's dictionary.
pub(crate) fn pdf_with(contents: &[&str], dictionary: &str) -> Vec<u8> {
    let streams: Vec<Vec<u8>> = contents.iter().map(|it| it.as_bytes().to_vec()).collect();
    pdf_of_streams(&streams, dictionary)
}

pub(crate) fn pdf_of_streams(streams: &[Vec<u8>], dictionary: &str) -> Vec<u8> {
    let mut objects: Vec<Vec<u8>> = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            (0..streams.len())
                .map(|page| format!("{} 0 R", 4 + 2 * page))
                .collect::<Vec<_>>()
                .join(" "),
            streams.len()
        )
        .into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_vec(),
    ];
    for (page, stream) in streams.iter().enumerate() {
        objects.push(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
                 /Resources << /Font << /F1 3 0 R >> >> >>",
                5 + 2 * page
            )
            .into_bytes(),
        );
        let mut object =
            format!("<< /Length {} {dictionary} >>\nstream\n", stream.len()).into_bytes();
        object.extend_from_slice(stream);
        object.extend_from_slice(b"\nendstream");
        objects.push(object);
    }
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend_from_slice(format!("{} 0 obj\n", number + 1).as_bytes());
        bytes.extend_from_slice(object);
        bytes.extend_from_slice(b"\nendobj\n");
    }
    let table = bytes.len();
    bytes.extend_from_slice(
        format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes(),
    );
    for offset in offsets {
        bytes.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    bytes.extend_from_slice(
        format!(
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
            objects.len() + 1
        )
        .as_bytes(),
    );
    bytes
}

pub(crate) fn docx(body: &str) -> Vec<u8> {
    zipped(&[
        ("[Content_Types].xml", b"<Types/>"),
        (
            "word/document.xml",
            format!(
                "<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/\
                 wordprocessingml/2006/main\"><w:body>{body}</w:body></w:document>"
            )
            .as_bytes(),
        ),
    ])
}
