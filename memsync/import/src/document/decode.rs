//! Bytes to text.

use std::borrow::Cow;

use crate::collect::Collector;

/// The text of a file: by its byte order mark, else UTF-8, else windows-1252, which reads any bytes and is what the Web
/// assumes; the report says when that was assumed.
pub(crate) fn text<'a>(bytes: &'a [u8], into: &mut Collector<'_>) -> Cow<'a, str> {
    if let Some((encoding, mark_len)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark_len..]).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            into.assume("the text is not UTF-8; read as windows-1252");
            encoding_rs::WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0
        }
    }
}
