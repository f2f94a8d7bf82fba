//! What a person sees while a command works, and how they end it. What they see goes to stderr; stdout is for answers.

use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Writes a line of an answer to stdout.
///
/// When whoever reads it has seen enough (`tally verify … | head`) the process ends quietly: there is nobody left to
/// answer. A stdout that cannot be written for another reason, a full disk, is the environment's failure.
pub(crate) fn answer(line: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout
        .write_fmt(line)
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
    {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("tally: cannot write the answer: {error}");
        }
        std::process::exit(3);
    }
}

/// A line of an answer, as `println!`; see [`answer`].
macro_rules! say {
    () => { $crate::ui::answer(format_args!("")) };
    ($($argument:tt)*) => { $crate::ui::answer(format_args!($($argument)*)) };
}
pub(crate) use say;

/// Shows that something longer than a blink is going on; silent when stderr is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Work of unknown length.
    pub(crate) fn spinner(what: impl Into<String>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Work of `total` bytes.
    pub(crate) fn bytes(what: impl Into<String>, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}")
            .expect("the template is a constant that the tests draw");
        Self(
            ProgressBar::new(total)
                .with_style(style)
                .with_message(what.into()),
        )
    }

    /// Says what is going on now.
    pub(crate) fn says(&self, what: String) {
        self.0.set_message(what);
    }

    /// Sets how many bytes are done.
    pub(crate) fn at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Sets how many bytes are done, and of how many.
    pub(crate) fn at_of(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// `12,345`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first ten digits of a digest: enough for a person to tell two apart on a screen.
pub(crate) fn short(hex: &str) -> &str {
    &hex[..hex.len().min(10)]
}

/// Text that came from a component or a file, made safe for a terminal: control characters other than the line
/// feed and the tab are shown as `\u{..}` and cannot move the cursor or change colours.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n'
            || character == '\t'
            || !(character.is_control() || is_bidi_control(character))
        {
            safe.push(character);
        } else {
            safe.extend(character.escape_unicode());
        }
    }
    safe
}

/// Characters that reorder what follows them on the screen (Unicode UAX #9).
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

/// Ready when somebody wants this process to end.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{grouped, printable, short};

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn terminal_escapes_of_a_guest_are_not_obeyed() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\t\u{202e}d"),
            "a\\u{1b}[2Jb\nc\t\\u{202e}d"
        );
    }

    #[test]
    fn a_short_digest_is_its_beginning() {
        assert_eq!(short("0123456789abcdef"), "0123456789");
        assert_eq!(short("0123"), "0123");
    }
}
