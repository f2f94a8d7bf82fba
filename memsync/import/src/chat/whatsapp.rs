//! WhatsApp's "export chat": text, alone or in its zip.
//!
//! ```text
//! [31.12.23, 21:41:05] Anna: text        iPhone; the date in brackets
//! 31/12/2023, 21:41 - Anna: text         Android; the date before a dash
//! 12/31/23, 9:41 PM - Anna: text
//! 2023/12/31 下午9:41 - Anna: text
//! ```
//!
//! The shape follows the language of the phone and is not said anywhere. A line that does not begin with a date goes on
//! with the message above; a date without a voice and a colon is a notice. The order of day, month and year is inferred
//! from all dates of the file: a number above 12 is no month, one above 31 or of four digits is the year, and where that
//! leaves a choice the order in which time runs forward most often is taken, and [`Report::assumptions`] says so.
//!
//! The dates are wall clocks of the phone; the caller's offset makes moments of them.
//!
//! [`Report::assumptions`]: crate::Report::assumptions

use jiff::civil;

use super::person;
use crate::archive::{self, Archive, base};
use crate::collect::Collector;
use crate::document::decode;
use crate::time::from_civil;
use crate::{Conversation, DateOrder, ImportError, Reason, Turn};

/// The longest line that is looked at for a date; a date with its marks is far shorter.
const HEAD_LEN: usize = 96;

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    if !bytes.starts_with(archive::MAGIC) {
        let name = into.options.name.clone();
        return chat(bytes, name.as_deref(), into);
    }
    let mut archive = Archive::open(bytes, into.format(), into.limits())?;
    let mut chats = 0;
    for name in archive.names() {
        if !is_chat_file(&name) {
            into.leave(Reason::Media, &name);
            continue;
        }
        chats += 1;
        // `_chat.txt` has no name of its own: the zip has.
        let shown = if base(&name) == "_chat.txt" {
            into.options.name.clone()
        } else {
            Some(name.clone())
        };
        let file = archive.file(&name)?;
        chat(&file, shown.as_deref(), into)?;
        if into.stopped() {
            break;
        }
    }
    if chats == 0 {
        return Err(ImportError::malformed(
            into.format(),
            "zip: no text of a chat in it",
        ));
    }
    Ok(())
}

/// The text of a chat in the zip; a document somebody sent may be a text too, and is not named so.
pub(crate) fn is_chat_file(name: &str) -> bool {
    let name = base(name);
    name == "_chat.txt" || (name.contains("WhatsApp") && name.ends_with(".txt"))
}

/// Whether the first lines are those of a chat.
pub(crate) fn looks_like(text: &str) -> bool {
    let heads = text
        .lines()
        .take(40)
        .filter(|line| Head::parse(line).is_some())
        .count();
    // One line can look so by chance; a chat of one message has no second.
    heads >= 2 || (heads == 1 && text.lines().count() <= 3)
}

struct Entry<'a> {
    head: Head<'a>,
    text: String,
}

fn chat(bytes: &[u8], name: Option<&str>, into: &mut Collector<'_>) -> Result<(), ImportError> {
    let text = decode::text(bytes, into);
    let mut entries: Vec<Entry<'_>> = Vec::new();
    // One text, not its lines: a password may stand below the word for it.
    let mut before = String::new();
    for line in text.lines() {
        match Head::parse(line) {
            Some(head) => entries.push(Entry {
                text: head.text.to_owned(),
                head,
            }),
            None => match entries.last_mut() {
                Some(entry) => {
                    entry.text.push('\n');
                    entry.text.push_str(line);
                }
                None => {
                    before.push_str(line);
                    before.push('\n');
                }
            },
        }
    }
    if !before.trim().is_empty() {
        into.leave_text(Reason::Malformed, "lines before the first date", &before);
    }
    if entries.is_empty() {
        return Err(ImportError::malformed(
            into.format(),
            "no line begins with a date as WhatsApp writes it",
        ));
    }
    let order = order(&entries, into);
    let title = name.map(title);
    let mut turns: Vec<Turn> = Vec::new();
    let mut last = (None, 0);
    for entry in entries {
        let Some(clock) = order.clock(&entry.head) else {
            into.leave_text(Reason::Malformed, "date", &entry.text);
            continue;
        };
        let at = from_civil(clock, into.options.offset);
        // A text has no ids. What is said in one minute keeps its order in every export of the chat.
        last = if last.0 == Some(clock) {
            (last.0, last.1 + 1)
        } else {
            (Some(clock), 1)
        };
        let id = format!("{clock}#{}", last.1);
        let Some(voice) = entry.head.voice else {
            into.leave_text(Reason::System, &id, &entry.text);
            continue;
        };
        match kind(&entry.text) {
            Kind::Said(text) => turns.push(Turn {
                id,
                speaker: person(Some(voice), None, into),
                at,
                text,
            }),
            Kind::Media => into.leave(Reason::Media, "attachment"),
            Kind::Deleted => into.leave(Reason::Deleted, "message"),
        }
    }
    if turns.iter().any(|turn| turn.at.is_some()) {
        into.assume(format!(
            "dates have no zone; read at UTC{:+03}:{:02}",
            into.options.offset.minutes() / 60,
            into.options.offset.minutes().abs() % 60
        ));
    }
    into.conversation(Conversation {
        source: into.format(),
        id: title.clone().unwrap_or_else(|| "chat".to_owned()),
        title,
        turns,
    });
    Ok(())
}

/// `WhatsApp Chat with Anna.txt`, `WhatsApp Chat - Anna.zip`, `WhatsApp-Chat mit Anna.txt`: the part after the phrase.
fn title(name: &str) -> String {
    let name = base(name);
    let name = name
        .strip_suffix(".txt")
        .or_else(|| name.strip_suffix(".zip"))
        .unwrap_or(name);
    for phrase in [
        "WhatsApp Chat with ",
        "WhatsApp Chat - ",
        "WhatsApp-Chat mit ",
        "Chat de WhatsApp con ",
        "Chat WhatsApp con ",
        "Discussion WhatsApp avec ",
        "Conversa do WhatsApp com ",
        "WhatsApp-chat met ",
    ] {
        if let Some(who) = name.strip_prefix(phrase) {
            return who.trim().to_owned();
        }
    }
    name.trim().to_owned()
}

enum Kind {
    Said(String),
    Media,
    Deleted,
}

/// What a message is. The phrases are those of the languages WhatsApp is used most in; in another language a left-out
/// picture is taken as the words the phone wrote for it.
fn kind(text: &str) -> Kind {
    let clean: String = text.chars().filter(|letter| !is_mark(*letter)).collect();
    let clean = clean.trim();
    // Texts of these kinds stand alone on their line, with a caption below at most.
    let (first, caption) = clean.split_once('\n').unwrap_or((clean, ""));
    let lower = first.trim().trim_end_matches('.').to_lowercase();
    const OMITTED: [&str; 12] = [
        "omitted",
        "weggelassen",
        "ausgeschlossen",
        "omitido",
        "omitida",
        "omis",
        "omise",
        "omesso",
        "omessa",
        "oculto",
        "weggelaten",
        "を除外",
    ];
    let bracketed = lower.starts_with('<') && lower.ends_with('>');
    let unbracketed = lower.trim_matches(['<', '>']);
    let words = unbracketed.split_whitespace().count();
    if (bracketed || text.starts_with(is_mark) || words <= 3)
        && words <= 5
        && OMITTED.iter().any(|end| unbracketed.ends_with(end))
    {
        return Kind::Media;
    }
    let attached = (bracketed && lower.contains(": ") && lower.contains('.'))
        || [
            "(file attached)",
            "(datei angehängt)",
            "(archivo adjunto)",
            "(fichier joint)",
            "(arquivo anexado)",
            "(file allegato)",
            "(bestand bijgevoegd)",
        ]
        .iter()
        .any(|end| lower.ends_with(end));
    if attached {
        return if caption.trim().is_empty() {
            Kind::Media
        } else {
            Kind::Said(caption.trim().to_owned())
        };
    }
    const DELETED: [&str; 12] = [
        "this message was deleted",
        "you deleted this message",
        "diese nachricht wurde gelöscht",
        "du hast diese nachricht gelöscht",
        "se eliminó este mensaje",
        "eliminaste este mensaje",
        "ce message a été supprimé",
        "vous avez supprimé ce message",
        "mensagem apagada",
        "essa mensagem foi apagada",
        "questo messaggio è stato eliminato",
        "dit bericht is verwijderd",
    ];
    if DELETED.contains(&lower.as_str()) {
        return Kind::Deleted;
    }
    Kind::Said(clean.to_owned())
}

/// Direction marks and the byte order mark, which WhatsApp puts before dates, names and notices.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The beginning of a message: three numbers of a date, a clock, a voice.
struct Head<'a> {
    date: [u16; 3],
    /// Digits the numbers were written with: four tell a year.
    widths: [u8; 3],
    dots: bool,
    twelve_hours: bool,
    hour: i8,
    minute: i8,
    second: i8,
    /// `None` for a notice.
    voice: Option<&'a str>,
    text: &'a str,
}

impl<'a> Head<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_start_matches(is_mark);
        let mut end = line.len().min(HEAD_LEN);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let mut cursor = Cursor { rest: &line[..end] };
        let bracket = cursor.eat("[");
        let mut date = [0; 3];
        let mut widths = [0; 3];
        let mut separator = None;
        for place in 0..3 {
            if place > 0 {
                separator = Some(cursor.date_separator(separator)?);
            }
            (date[place], widths[place]) = cursor.number(4)?;
        }
        // "2023. 12. 31. 오후 9:41" and "2023년 12월 31일" end their last number too.
        cursor.eat_any(&[".", "日", "일"]);
        cursor.eat_any(&[",", "،", "、"]);
        cursor.spaces();
        // Words of a clock of twelve hours stand before it or after it.
        let mut half = cursor.half();
        cursor.spaces();
        let (hour, _) = cursor.number(2)?;
        if !cursor.eat_any(&[":", ".", "h", "시"]) {
            return None;
        }
        cursor.spaces();
        let (minute, _) = cursor.number(2).filter(|(_, width)| *width == 2)?;
        let second = if cursor.eat_any(&[":", "."]) {
            cursor.number(2)?.0
        } else {
            0
        };
        cursor.spaces();
        if half.is_none() {
            half = cursor.half();
        }
        cursor.spaces();
        if bracket {
            cursor.eat("]").then_some(())?;
        } else {
            (cursor.eat_any(&["-", "–"])).then_some(())?;
        }
        let used = end - cursor.rest.len();
        let rest = line[used..].strip_prefix(' ').unwrap_or(&line[used..]);
        let hour = match half {
            None => hour,
            Some(Half::First) => (1..=12).contains(&hour).then_some(hour % 12)?,
            // Noon is written 12 PM; some phones write 13 with it all the same.
            Some(Half::Second) => {
                if hour > 12 {
                    hour
                } else {
                    (hour >= 1).then_some(hour % 12 + 12)?
                }
            }
        };
        let (voice, text) = match rest.split_once(": ") {
            Some((voice, text)) => (Some(voice), text),
            // A message of one empty line, or only marks.
            None => match rest.strip_suffix(':') {
                Some(voice) => (Some(voice), ""),
                None => (None, rest),
            },
        };
        let voice = voice
            .map(|voice| voice.trim_matches(|letter| is_mark(letter) || letter == ' '))
            // No phone's name for somebody is so long: this is a notice with a colon in it.
            .filter(|voice| !voice.is_empty() && voice.chars().count() <= 100);
        Some(Self {
            date,
            widths,
            dots: separator == Some('.'),
            twelve_hours: half.is_some(),
            hour: i8::try_from(hour).ok().filter(|hour| *hour < 24)?,
            minute: i8::try_from(minute).ok().filter(|minute| *minute < 60)?,
            second: i8::try_from(second).ok().filter(|second| *second < 60)?,
            voice,
            text: if voice.is_some() { text } else { rest },
        })
    }
}

enum Half {
    First,
    Second,
}

struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn eat_any(&mut self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.eat(prefix))
    }

    /// Spaces of every kind: iPhones put a narrow one before PM.
    fn spaces(&mut self) {
        self.rest = self
            .rest
            .trim_start_matches(|letter: char| letter.is_whitespace() || is_mark(letter));
    }

    /// A number of at most `digits` digits, and how many there were.
    fn number(&mut self, digits: usize) -> Option<(u16, u8)> {
        let width = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if width == 0 || width > digits {
            return None;
        }
        let number = self.rest[..width].parse().ok()?;
        self.rest = &self.rest[width..];
        Some((number, u8::try_from(width).ok()?))
    }

    /// What stands between the numbers of a date; the same both times.
    fn date_separator(&mut self, before: Option<char>) -> Option<char> {
        for (found, prefixes) in [
            ('/', &["/"][..]),
            ('.', &[". ", "."][..]),
            ('-', &["-"][..]),
            ('年', &["年", "月", "년 ", "월 "][..]),
        ] {
            if before.is_none_or(|before| before == found) && self.eat_any(prefixes) {
                return Some(found);
            }
        }
        None
    }

    /// AM and PM, in the languages that write a clock of twelve hours.
    fn half(&mut self) -> Option<Half> {
        const FIRST: [&str; 13] = [
            "AM",
            "am",
            "a.m.",
            "A.M.",
            "a. m.",
            "a.\u{a0}m.",
            "a.\u{202f}m.",
            "上午",
            "凌晨",
            "早上",
            "오전",
            "午前",
            "ص",
        ];
        const SECOND: [&str; 13] = [
            "PM",
            "pm",
            "p.m.",
            "P.M.",
            "p. m.",
            "p.\u{a0}m.",
            "p.\u{202f}m.",
            "下午",
            "晚上",
            "中午",
            "오후",
            "午後",
            "م",
        ];
        if self.eat_any(&FIRST) {
            Some(Half::First)
        } else if self.eat_any(&SECOND) {
            Some(Half::Second)
        } else {
            None
        }
    }
}

/// Which of a date's numbers is what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    DayMonthYear,
    MonthDayYear,
    YearMonthDay,
}

impl Order {
    const ALL: [Self; 3] = [Self::DayMonthYear, Self::MonthDayYear, Self::YearMonthDay];

    fn clock(self, head: &Head<'_>) -> Option<civil::DateTime> {
        let [a, b, c] = [0, 1, 2].map(|place| (head.date[place], head.widths[place]));
        let (year, month, day) = match self {
            Self::DayMonthYear => (c, b, a),
            Self::MonthDayYear => (c, a, b),
            Self::YearMonthDay => (a, b, c),
        };
        if month.1 > 2 || day.1 > 2 {
            return None;
        }
        let year = match year {
            (year, 4) => year,
            // WhatsApp is of 2009.
            (year, 2) => 2000 + year,
            _ => return None,
        };
        civil::DateTime::new(
            i16::try_from(year).ok()?,
            i8::try_from(month.0).ok()?,
            i8::try_from(day.0).ok()?,
            head.hour,
            head.minute,
            head.second,
            0,
        )
        .ok()
    }
}

/// The order that reads most dates, then the one in which time runs backwards least often; the habits of writing decide
/// what is left.
fn order(entries: &[Entry<'_>], into: &mut Collector<'_>) -> Order {
    let score = |order: Order| {
        let (mut unread, mut backwards, mut last) = (0_usize, 0_usize, None);
        for entry in entries {
            match order.clock(&entry.head) {
                Some(clock) => {
                    backwards += usize::from(last.is_some_and(|last| clock < last));
                    last = Some(clock);
                }
                None => unread += 1,
            }
        }
        (unread, backwards)
    };
    let mut scores = Order::ALL.map(|order| (score(order), order));
    // Stable: on equal scores the order of habit stays.
    let first = &entries[0].head;
    if first.twelve_hours && !first.dots {
        scores.swap(0, 1);
    }
    if let Some(stated) = into.options.date_order {
        let stated = match stated {
            DateOrder::DayFirst => Order::DayMonthYear,
            DateOrder::MonthFirst => Order::MonthDayYear,
        };
        // A caller's word about day and month does not turn a year around.
        if let Some(((unread, _), order)) = scores.iter().find(|(_, order)| *order == stated)
            && *unread < entries.len()
        {
            return *order;
        }
    }
    scores.sort_by_key(|(score, _)| *score);
    if scores[0].0 == scores[1].0 {
        let day_first = match scores[0].1 {
            Order::DayMonthYear => "day, month, year",
            Order::MonthDayYear => "month, day, year",
            Order::YearMonthDay => "year, month, day",
        };
        into.assume(format!(
            "the dates fit more than one order; read as {day_first}"
        ));
    }
    scores[0].1
}
