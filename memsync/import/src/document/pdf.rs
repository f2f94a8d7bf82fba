//! PDF: the letters of each page, in the order in which the page draws them, put into lines by where they stand.
//!
//! A PDF is a program that draws. The interpreter is a library's (`hayro`), which has no bound on what a page may cost;
//! so everything that could grow is counted here: what its streams inflate to, before they are opened; every drawing
//! operation, while a page is interpreted. A page that asks for more is given up by unwinding out of the interpreter,
//! and so is a page on which the interpreter itself panics; the pages before it stay. What is *not* bounded here: streams
//! packed with LZW or run lengths, which inflate by three orders of magnitude at most, and the depth of the
//! interpreter's recursion, which it bounds itself.
//!
//! Text that a page draws invisibly is what scanners put under a picture of a page, and what people hide instructions
//! in. It is taken only from a page that has no visible text.
//!
//! Out of scope: pictures of text, forms' values, annotations, the order of columns.

use std::any::Any;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use flate2::read::{DeflateDecoder, ZlibDecoder};
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps,
    InterpreterCache, InterpreterSettings, RenderContent, SoftMask, interpret_page,
};
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::passages::Passages;
use super::whole_file;
use crate::collect::Collector;
use crate::{Format, ImportError, Limits, Reason};

/// Streams inside streams that are looked into.
const LAYERS: usize = 4;

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let limits = into.limits();
    if bytes.len() > limits.pdf_len {
        return Err(ImportError::TooLarge {
            what: "the PDF".into(),
            limit: limits.pdf_len,
        });
    }
    inflates_within(bytes, limits)?;
    let pdf = quietly(|| Pdf::new(bytes.to_vec()))?.map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => ImportError::Encrypted {
            format: Format::Pdf,
        },
        LoadPdfError::Decryption(_) => {
            ImportError::malformed(Format::Pdf, "its encryption is not one that is known")
        }
        LoadPdfError::Invalid => ImportError::malformed(Format::Pdf, "no pages can be found in it"),
    })?;
    let mut passages = Passages::new(limits.passage_len);
    let pages = quietly(|| pdf.pages().len())?;
    if pages > limits.pdf_pages {
        into.leave_many(
            Reason::OverBudget,
            (pages - limits.pdf_pages) as u64,
            &format!("page {}", limits.pdf_pages + 1),
        );
    }
    let mut work = limits.pdf_work;
    for number in 1..=pages.min(limits.pdf_pages) {
        let mut page = PageText::new(work);
        let outcome = catch_unwind(AssertUnwindSafe(|| draw(&pdf, number - 1, &mut page)));
        work = page.work;
        let place = format!("page {number}");
        match outcome {
            Ok(()) => {}
            Err(payload) if payload.is::<OutOfWork>() => {
                into.fault(format!(
                    "{place} draws more than the limit of {}",
                    limits.pdf_work
                ));
                break;
            }
            Err(_) => into.leave(Reason::Malformed, &place),
        }
        into.leave_many(Reason::UnmappedGlyph, page.unmapped, &place);
        into.leave_many(Reason::Media, page.pictures, &place);
        let text = match (page.visible.is_empty(), page.hidden.is_empty()) {
            (true, true) => {
                into.leave(Reason::NoTextLayer, &place);
                continue;
            }
            (true, false) => page.hidden,
            (false, hidden) => {
                if !hidden {
                    into.leave(Reason::Invisible, &place);
                }
                page.visible
            }
        };
        passages.page(number);
        super::text::paragraphs(&lines(&text), &mut passages);
    }
    let title = quietly(|| pdf.metadata().title.as_deref().map(pdf_string))?;
    whole_file(title, passages.finish(), into);
    Ok(())
}

/// Runs the library; a panic in it is an error here.
fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, ImportError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_: Box<dyn Any + Send>| {
        ImportError::ParserFailed {
            format: Format::Pdf,
        }
    })
}

/// Refuses a file whose deflated streams hold more than the limit together. Every place that could begin a stream is
/// tried, whatever the file says of itself, and what comes out may be deflated again.
fn inflates_within(bytes: &[u8], limits: &Limits) -> Result<(), ImportError> {
    const MARK: &[u8] = b"stream";
    let mut left = limits.pdf_unpacked_len as u64;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(MARK.len()).position(|it| it == MARK) {
        at += found + MARK.len();
        if bytes[..at].ends_with(b"endstream") {
            continue;
        }
        let data = match &bytes[at..] {
            [b'\r', b'\n', data @ ..] | [b'\n' | b'\r', data @ ..] => data,
            data => data,
        };
        for layers in 1..=LAYERS {
            let len = inflated(data, layers, left);
            if len == 0 {
                break;
            }
            if len > left {
                return Err(ImportError::TooLarge {
                    what: "the PDF, inflated,".into(),
                    limit: limits.pdf_unpacked_len,
                });
            }
            left -= len;
        }
    }
    Ok(())
}

/// The length of `data`, inflated `layers` times; more than `most` is not counted further.
fn inflated(data: &[u8], layers: usize, most: u64) -> u64 {
    fn count(from: impl Read, most: u64) -> u64 {
        let mut counted = 0;
        let mut from = from.take(most + 1);
        let mut buffer = [0; 16 * 1024];
        // What comes before the data is found broken is what the interpreter would keep.
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            counted += len as u64;
        }
        counted
    }
    let zlib = |layers: usize| {
        let mut from: Box<dyn Read + '_> = Box::new(data);
        for _ in 0..layers {
            from = Box::new(ZlibDecoder::new(from));
        }
        from
    };
    match count(zlib(layers), most) {
        0 if layers == 1 => count(DeflateDecoder::new(data), most),
        len => len,
    }
}

fn draw(pdf: &Pdf, index: usize, page_text: &mut PageText) {
    let cache = InterpreterCache::new();
    let settings = InterpreterSettings {
        render_content: RenderContent::PAGE,
        ..InterpreterSettings::default()
    };
    let mut context = Context::new(
        Affine::IDENTITY,
        Rect::new(0.0, 0.0, 1.0, 1.0),
        &cache,
        pdf.xref(),
        settings,
    );
    interpret_page(&pdf.pages()[index], &mut context, page_text);
}

/// The payload with which a page is given up.
struct OutOfWork;

/// A letter, or several of a ligature, where the page draws them. Units: the page's own.
struct Letter {
    text: BfString,
    start: Point,
    end: Point,
    size: f64,
}

struct PageText {
    work: u64,
    visible: Vec<Letter>,
    hidden: Vec<Letter>,
    unmapped: u64,
    pictures: u64,
}

impl PageText {
    fn new(work: u64) -> Self {
        Self {
            work,
            visible: Vec::new(),
            hidden: Vec::new(),
            unmapped: 0,
            pictures: 0,
        }
    }

    fn spend(&mut self, work: usize) {
        match self.work.checked_sub(work as u64) {
            Some(left) => self.work = left,
            None => {
                self.work = 0;
                resume_unwind(Box::new(OutOfWork));
            }
        }
    }
}

impl<'a> Device<'a> for PageText {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        self.spend(run.glyphs().len().max(1));
        let letters = match mode {
            DrawMode::Invisible => &mut self.hidden,
            _ => &mut self.visible,
        };
        for (index, glyph) in run.glyphs().iter().enumerate() {
            let place = props.transform * glyph.transform();
            let start = place * Point::ZERO;
            // Outlined letters are drawn twice: filled, then stroked.
            if index == 0
                && matches!(mode, DrawMode::Stroke(_))
                && letters
                    .iter()
                    .rev()
                    .take(run.glyphs().len())
                    .any(|letter| letter.start == start)
            {
                return;
            }
            let Some(text) = glyph.as_unicode() else {
                self.unmapped += 1;
                continue;
            };
            // Glyphs are drawn in thousandths of their size.
            let advance = match &**glyph {
                Glyph::Outline(glyph) => glyph.advance_width(),
                Glyph::Type3(glyph) => glyph.advance_width(),
            };
            let size = (place * Point::new(0.0, 1000.0) - start).hypot();
            letters.push(Letter {
                text,
                start,
                end: place * Point::new(f64::from(advance.unwrap_or(500.0)), 0.0),
                size: if size.is_finite() && size > 0.0 {
                    size
                } else {
                    1.0
                },
            });
        }
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.pictures += 1;
        self.spend(1);
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {
        self.spend(1);
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.spend(1);
    }

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {
        self.spend(1);
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

/// Letters to lines: a letter that stands off its line begins the next, one that stands off more than a line's height
/// begins a paragraph, one that stands off sideways is after a space.
fn lines(letters: &[Letter]) -> String {
    let mut text = String::new();
    let mut last: Option<&Letter> = None;
    for letter in letters {
        if let Some(last) = last {
            let off = letter.start - last.end;
            let size = last.size.max(letter.size);
            // Along the line and across it, so that turned pages read too.
            let along = last.end - last.start;
            let along = if along.hypot() > 0.0 {
                along / along.hypot()
            } else {
                (1.0, 0.0).into()
            };
            let across = off.cross(along).abs();
            let ahead = off.dot(along);
            if across > size * 0.5 {
                let line = letter.start - last.start;
                text.push('\n');
                if line.cross(along).abs() > size * 1.8 {
                    text.push('\n');
                }
            } else if (ahead > size * 0.2 || ahead < -size) && !text.ends_with(char::is_whitespace)
            {
                text.push(' ');
            }
        }
        match &letter.text {
            BfString::Char(letter) => push(*letter, &mut text),
            BfString::String(letters) => letters.chars().for_each(|it| push(it, &mut text)),
        }
        last = Some(letter);
    }
    joined(&text)
}

fn push(letter: char, text: &mut String) {
    match letter {
        // A soft hyphen shows only where a line ends.
        '\u{ad}' => text.push('-'),
        letter if letter.is_control() => {}
        letter => text.push(letter),
    }
}

/// Puts words together that were parted at the end of a line.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let parted = line.strip_suffix('-').filter(|head| {
            head.ends_with(char::is_alphabetic)
                && lines
                    .peek()
                    .is_some_and(|next| next.starts_with(char::is_lowercase))
        });
        match parted {
            Some(head) => joined.push_str(head),
            None => {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    joined
}

/// A string of the document's properties: UTF-16 with its mark, UTF-8 with its mark, else a code page that is close to
/// Latin-1.
fn pdf_string(bytes: &[u8]) -> String {
    match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, len)) => encoding.decode_without_bom_handling(&bytes[len..]).0,
        None => {
            encoding_rs::WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0
        }
    }
    .chars()
    .filter(|letter| !letter.is_control())
    .collect()
}
