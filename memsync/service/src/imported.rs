//! What was read out of a file, as turns of a memory: the same by every way in, so that a file that comes again adds nothing,
//! whichever way it came before. Vaults have turns of this form; another form would double them. (What REST wrote until 2026-11-30
//! was another one: such a file comes in once more.)

use tally_import::{Item, When};
use tally_memory::record::NAME_MAX;
use tally_memory::{Memory, Moment, RememberError, Remembered, Role, Turn};

/// Most turns of a file that are handed to a memory, and written with one sync, at once.
pub const PIECE: usize = 2_000;

const _: () = assert!(PIECE <= Memory::TURNS_MAX);

/// What was read, as a memory takes it: from this app, or from the one whose format the file has.
#[must_use]
pub fn turns_of(item: Item, app: Option<&str>) -> Vec<Turn> {
    match item {
        Item::Conversation(conversation) => {
            let app = app.unwrap_or(conversation.source.name());
            let thread = name(&conversation.id, "");
            conversation
                .turns
                .into_iter()
                .map(|turn| {
                    let role = match turn.speaker.role {
                        tally_import::Role::User => Role::Owner,
                        tally_import::Role::Assistant => Role::Assistant,
                        tally_import::Role::Person => Role::Person,
                    };
                    Turn {
                        app: app.to_owned(),
                        thread: thread.clone(),
                        key: Some(name(&turn.id, "")),
                        role,
                        speaker: name(
                            turn.speaker.name.as_deref().unwrap_or_default(),
                            match role {
                                Role::Owner => "me",
                                other => other.as_str(),
                            },
                        ),
                        at: turn.at.and_then(|when| moment(&when)),
                        text: turn.text,
                    }
                })
                .collect()
        }
        Item::Document(document) => {
            let app = app.unwrap_or(document.source.name());
            let thread = name(&document.id, "document");
            let speaker = name(
                document.title.as_deref().unwrap_or(&document.id),
                "document",
            );
            (0_usize..)
                .zip(document.passages)
                .map(|(number, passage)| {
                    let mut text = passage.headings.join(" › ");
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(&passage.text);
                    Turn {
                        app: app.to_owned(),
                        thread: thread.clone(),
                        key: Some(number.to_string()),
                        role: Role::Document,
                        speaker: speaker.clone(),
                        at: None,
                        text,
                    }
                })
                .collect()
        }
    }
}

/// Has turns of a file remembered in their order, [`PIECE`] at a time: a conversation may have more than one call takes. Each has
/// a key of its own, so it is the same turn in whichever piece it comes.
///
/// # Errors
/// The first that `remember` gives. Pieces before it are kept, and the same turns again add what is missing; where the model that
/// embeds fails, all turns are kept nevertheless.
pub fn in_pieces(
    turns: &[Turn],
    mut remember: impl FnMut(&[Turn]) -> Result<Remembered, RememberError>,
) -> Result<Remembered, RememberError> {
    let mut all = Remembered::default();
    let (mut unembedded, mut failure) = (0, None);
    for (number, piece) in turns.chunks(PIECE).enumerate() {
        match remember(piece) {
            Ok(done) => all.add(number * PIECE, done),
            Err(RememberError::Embed { kept, error }) => {
                unembedded += kept;
                failure.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(error) => Err(RememberError::Embed {
            kept: all.new.len() + unembedded,
            error,
        }),
        None => Ok(all),
    }
}

fn moment(when: &When) -> Option<Moment> {
    Moment::from_unix_ms(when.moment.unix_ms()).ok()
}

/// A name that an episode can hold, made of one that a file gives.
fn name(text: &str, instead: &str) -> String {
    let mut name = String::new();
    for character in text
        .trim()
        .chars()
        .filter(|character| !character.is_control())
    {
        if name.len() + character.len_utf8() > NAME_MAX {
            break;
        }
        name.push(character);
    }
    if name.trim().is_empty() {
        instead.to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use tally_import::{Options, read_all};
    use tally_memory::LoadError;
    use tally_memory::recall::EmbedError;
    use tally_memory::secrets::SecretKind;

    use super::*;

    fn read(name: &str, file: &str, app: Option<&str>) -> Vec<Turn> {
        let options = Options {
            name: Some(name.to_owned()),
            ..Options::default()
        };
        let (items, _) = read_all(file.as_bytes(), &options).expect("it is read");
        items
            .into_iter()
            .flat_map(|item| turns_of(item, app))
            .collect()
    }

    #[test]
    fn turns_have_the_form_that_vaults_have_them_in() {
        let notes =
            "# Garden\n\n## Trees\n\nThe figs ripen in September.\n\n# House\n\nThe roof leaks.\n";
        let turns = read("notes.md", notes, None);
        let keys: Vec<_> = turns.iter().map(|turn| turn.key.as_deref()).collect();
        assert_eq!(keys, [Some("0"), Some("1")]);
        assert!(turns.iter().all(|turn| turn.app == "markdown"));
        assert!(turns.iter().all(|turn| turn.thread == "notes.md"));
        assert!(turns.iter().all(|turn| turn.role == Role::Document));
        assert_eq!(
            turns[0].text,
            "Garden › Trees\nThe figs ripen in September."
        );

        let chat = "31.12.23, 21:41 - Anna: I live in Ghent.\n31.12.23, 21:42 - Ben: Nice.\n";
        let turns = read("WhatsApp Chat with Ben.txt", chat, None);
        assert_eq!(turns.len(), 2);
        assert!(turns.iter().all(|turn| turn.app == "whatsapp"));
        assert_eq!(turns[1].speaker, "Ben");
        assert_eq!(turns[1].key.as_deref(), Some("2023-12-31T21:42:00#1"));
        let from = read("WhatsApp Chat with Ben.txt", chat, Some("phone"));
        assert!(from.iter().all(|turn| turn.app == "phone"));
    }

    #[test]
    fn who_speaks_without_a_name_is_called_by_the_side_they_are_on() {
        let turn = |role| tally_import::Turn {
            id: " 1\u{7} ".to_owned(),
            speaker: tally_import::Speaker { role, name: None },
            at: None,
            text: "words".to_owned(),
        };
        let turns = turns_of(
            Item::Conversation(tally_import::Conversation {
                source: tally_import::Format::Telegram,
                id: "é".repeat(300),
                title: None,
                turns: [
                    tally_import::Role::User,
                    tally_import::Role::Assistant,
                    tally_import::Role::Person,
                ]
                .map(turn)
                .into(),
            }),
            None,
        );
        let speakers: Vec<_> = turns.iter().map(|turn| &*turn.speaker).collect();
        assert_eq!(speakers, ["me", "assistant", "person"]);
        assert_eq!(turns[0].key.as_deref(), Some("1"));
        assert_eq!(turns[0].thread, "é".repeat(128));
    }

    #[test]
    fn a_conversation_of_more_turns_than_one_call_takes_is_handed_over_in_pieces() {
        let turns: Vec<Turn> = (0..=Memory::TURNS_MAX)
            .map(|number| Turn {
                app: "whatsapp".to_owned(),
                thread: "one".to_owned(),
                key: Some(number.to_string()),
                role: Role::Person,
                speaker: "Ben".to_owned(),
                at: None,
                text: "words".to_owned(),
            })
            .collect();
        let mut handed: Vec<Turn> = Vec::new();
        let all = in_pieces(&turns, |piece| {
            assert!(piece.len() <= Memory::TURNS_MAX);
            handed.extend_from_slice(piece);
            Ok(Remembered {
                known: piece.len(),
                secrets: vec![(piece.len() - 1, SecretKind::Card)],
                ..Remembered::default()
            })
        })
        .expect("nothing fails");
        assert_eq!(handed, turns);
        assert_eq!(all.known, turns.len());
        let (at, _) = all.secrets.last().expect("one in each piece");
        assert_eq!(*at, turns.len() - 1);

        let mut calls = 0;
        let broken = in_pieces(&turns, |_| {
            calls += 1;
            if calls == 2 {
                Err(LoadError::InUse.into())
            } else {
                Ok(Remembered::default())
            }
        });
        assert!(matches!(broken, Err(RememberError::Load(LoadError::InUse))));
        assert_eq!(calls, 2);
    }

    #[test]
    fn a_model_that_does_not_embed_keeps_no_later_piece_from_being_kept() {
        let turns: Vec<Turn> = (0..3 * PIECE)
            .map(|number| Turn {
                app: "whatsapp".to_owned(),
                thread: "one".to_owned(),
                key: Some(number.to_string()),
                role: Role::Person,
                speaker: "Ben".to_owned(),
                at: None,
                text: "words".to_owned(),
            })
            .collect();
        let mut handed = 0;
        let failed = in_pieces(&turns, |piece| {
            handed += piece.len();
            Err(RememberError::Embed {
                kept: piece.len(),
                error: EmbedError {
                    texts: 1,
                    reason: "the worker is gone".to_owned(),
                    is_transient: true,
                },
            })
        });
        assert!(matches!(failed, Err(RememberError::Embed { kept, .. }) if kept == turns.len()));
        assert_eq!(handed, turns.len());
    }
}
