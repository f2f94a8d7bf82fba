//! Documents: one file for each format.

pub(crate) mod decode;
pub(crate) mod docx;
pub(crate) mod html;
pub(crate) mod markdown;
pub(crate) mod passages;
pub(crate) mod pdf;
pub(crate) mod text;

use crate::collect::Collector;
use crate::{Document, Passage};

/// Hands a whole file on as one document, named by the file.
fn whole_file(title: Option<String>, passages: Vec<Passage>, into: &mut Collector<'_>) {
    let id = into
        .options
        .name
        .clone()
        .unwrap_or_else(|| "document".to_owned());
    let title = title
        .map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|title| !title.is_empty());
    into.document(Document {
        source: into.format(),
        id,
        title,
        passages,
    });
}
