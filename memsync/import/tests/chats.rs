//! What is taken out of each chat export, and what is left.

mod common;

use common::{conversation, conversations, options, said, unix_ms, zipped};
use tally_import::{
    DateOrder, Format, ImportError, Item, Offset, Options, Reason, Role, Zone, detect, read_all,
};

fn plain() -> Options {
    Options::default()
}

const CHATGPT: &str = r#"[{
  "title": "Bread", "conversation_id": "c-1", "create_time": 1700000000.5, "current_node": "n5",
  "mapping": {
    "n0": {"id":"n0","message":null,"parent":null,"children":["n1"]},
    "n1": {"id":"n1","message":{"id":"m1","author":{"role":"system"},"create_time":null,
           "content":{"content_type":"text","parts":["You are a model"]},"metadata":{}},"parent":"n0","children":["n2","n6"]},
    "n2": {"id":"n2","message":{"id":"m2","author":{"role":"user"},"create_time":1700000001.25,
           "content":{"content_type":"multimodal_text","parts":[{"content_type":"image_asset_pointer"},"How long does rye rise?"]},"metadata":{}},"parent":"n1","children":["n3"]},
    "n3": {"id":"n3","message":{"id":"m3","author":{"role":"assistant"},"recipient":"python","create_time":1700000002,
           "content":{"content_type":"code","text":"1+1"},"metadata":{}},"parent":"n2","children":["n4"]},
    "n4": {"id":"n4","message":{"id":"m4","author":{"role":"tool","name":"python"},"create_time":1700000003,
           "content":{"content_type":"execution_output","text":"2"},"metadata":{}},"parent":"n3","children":["n5"]},
    "n5": {"id":"n5","message":{"id":"m5","author":{"role":"assistant"},"recipient":"all","create_time":1700000004,
           "content":{"content_type":"text","parts":["Twelve hours."]},"metadata":{"model_slug":"model-x"}},"parent":"n4","children":[]},
    "n6": {"id":"n6","message":{"id":"m6","author":{"role":"user"},"create_time":1700000001,
           "content":{"content_type":"text","parts":["How long?"]},"metadata":{}},"parent":"n1","children":[]}
  }}]"#;

#[test]
fn chatgpt_gives_the_branch_that_is_shown_and_counts_the_rest() {
    let (chat, report) = conversation(CHATGPT.as_bytes(), &plain());
    assert_eq!(report.format, Format::ChatGpt);
    assert_eq!((&*chat.id, chat.title.as_deref()), ("c-1", Some("Bread")));
    assert_eq!(
        said(&chat),
        [
            ("user", "How long does rye rise?"),
            ("model-x", "Twelve hours.")
        ]
    );
    assert_eq!(chat.turns[0].id, "m2");
    assert_eq!(unix_ms(&chat.turns[0]), 1_700_000_001_250);
    assert_eq!(chat.turns[0].at.unwrap().zone, Zone::Stated);
    assert_eq!(report.left(Reason::Replaced), 1);
    assert_eq!(report.left(Reason::Tool), 2);
    assert_eq!(report.left(Reason::System), 1);
    assert_eq!(report.left(Reason::Media), 1);
}

#[test]
fn chatgpt_is_the_same_out_of_its_zip() {
    let zip = zipped(&[
        ("conversations.json", CHATGPT.as_bytes()),
        ("chat.html", b"<html></html>"),
        ("user.json", b"{}"),
    ]);
    let (bare, _) = conversation(CHATGPT.as_bytes(), &plain());
    let (chat, report) = conversation(&zip, &plain());
    assert_eq!(chat, bare);
    assert_eq!(report.left(Reason::OtherFile), 2);
}

#[test]
fn chatgpt_with_a_ring_of_parents_ends() {
    let ring = r#"[{"conversation_id":"c","current_node":"a","mapping":{
      "a":{"parent":"b","children":["b"],"message":{"author":{"role":"user"},"content":{"content_type":"text","parts":["A"]}}},
      "b":{"parent":"a","children":["a"],"message":{"author":{"role":"user"},"content":{"content_type":"text","parts":["B"]}}}}}]"#;
    let (chat, _) = conversation(ring.as_bytes(), &plain());
    assert_eq!(chat.turns.len(), 2);
}

#[test]
fn one_broken_conversation_costs_only_itself() {
    let broken = format!("[{{\"mapping\": 7}}, {}", &CHATGPT[1..]);
    let (chat, report) = conversation(broken.as_bytes(), &plain());
    assert_eq!(chat.id, "c-1");
    assert_eq!(report.left(Reason::Malformed), 1);
}

#[test]
fn a_file_that_breaks_off_keeps_what_came_before_and_says_where() {
    let cut = format!("{},{{\"title\":\"cut", &CHATGPT[..CHATGPT.len() - 1]);
    let (chat, report) = conversation(cut.as_bytes(), &plain());
    assert_eq!(chat.id, "c-1");
    let fault = report.fault.unwrap();
    assert!(fault.contains("line"), "{fault}");
}

const CLAUDE: &str = r#"[{"uuid":"u-1","name":"Trip","chat_messages":[
  {"uuid":"m-1","sender":"human","text":"old","content":[{"type":"text","text":"Plan Lisbon"}],
   "created_at":"2025-03-04T05:06:07.123456Z","attachments":[{"file_name":"notes.txt","extracted_content":"Belém is west."}],
   "files":[{"file_name":"map.png"}]},
  {"uuid":"m-2","sender":"assistant","content":[{"type":"thinking"},{"type":"text","text":"Three days."},{"type":"tool_use"}],
   "created_at":"2025-03-04T05:06:09Z"},
  {"uuid":"m-3","sender":"human","text":"Thanks","created_at":"2025-03-04T07:06:09+02:00"}]}]"#;

#[test]
fn claude_gives_turns_and_the_text_of_attached_files() {
    let (items, report) = read_all(CLAUDE.as_bytes(), &plain()).unwrap();
    let [Item::Document(notes), Item::Conversation(chat)] = &items[..] else {
        panic!("{items:?}")
    };
    assert_eq!(notes.title.as_deref(), Some("notes.txt"));
    assert_eq!(notes.passages[0].text, "Belém is west.");
    assert_eq!(
        said(chat),
        [
            ("user", "Plan Lisbon"),
            ("assistant", "Three days."),
            ("user", "Thanks")
        ]
    );
    assert_eq!(unix_ms(&chat.turns[0]), 1_741_064_767_123);
    assert_eq!(unix_ms(&chat.turns[2]), unix_ms(&chat.turns[1]));
    assert_eq!(report.left(Reason::Tool), 2);
    assert_eq!(report.left(Reason::Media), 1);
}

#[test]
fn claude_projects_are_documents() {
    let projects = r##"[{"uuid":"p","name":"Bread","docs":[{"uuid":"d","filename":"rye.md","content":"# Rye\n\nTwelve hours."}]}]"##;
    let zip = zipped(&[
        ("conversations.json", CLAUDE.as_bytes()),
        ("projects.json", projects.as_bytes()),
        ("users.json", b"[]"),
    ]);
    assert_eq!(detect(&zip, &plain()), Ok(Format::Claude));
    let (_, report) = read_all(&zip, &plain()).unwrap();
    assert_eq!((report.conversations, report.documents), (1, 2));
    assert_eq!(report.left(Reason::OtherFile), 1);
}

#[test]
fn telegram_gives_a_chat_with_marked_text_and_forwards() {
    let chat = r#"{"name":"Mara","type":"personal_chat","id":42,"messages":[
      {"id":1,"type":"service","action":"phone_call","date":"2024-01-01T10:00:00"},
      {"id":2,"type":"message","date":"2024-01-01T10:00:00","date_unixtime":"1704103200","from":"Mara","from_id":"user7",
       "text":["Come to ",{"type":"bold","text":"Graz"},"!"]},
      {"id":3,"type":"message","date":"2024-01-01T12:30:00","from":"Ivo","from_id":"user8","text":"Yes"},
      {"id":4,"type":"message","date":"2024-01-01T12:31:00","from":"Ivo","from_id":"user8","photo":"x.jpg","text":""},
      {"id":5,"type":"message","date":"2024-01-01T12:32:00","from":"Ivo","from_id":"user8","forwarded_from":"News","text":"It snows"}]}"#;
    let options = Options {
        me: Some("Ivo".to_owned()),
        offset: Offset::from_minutes(60).unwrap(),
        ..Options::default()
    };
    let (chat, report) = conversation(chat.as_bytes(), &options);
    assert_eq!(chat.id, "42");
    assert_eq!(
        said(&chat),
        [
            ("Mara", "Come to Graz!"),
            ("Ivo", "Yes"),
            ("News", "It snows")
        ]
    );
    assert_eq!(
        chat.turns
            .iter()
            .map(|turn| turn.speaker.role)
            .collect::<Vec<_>>(),
        [Role::Person, Role::User, Role::Person]
    );
    assert_eq!(unix_ms(&chat.turns[0]), 1_704_103_200_000);
    // 12:30 at UTC+1
    assert_eq!(unix_ms(&chat.turns[1]), 1_704_108_600_000);
    assert_eq!(chat.turns[1].at.unwrap().zone, Zone::Assumed);
    assert_eq!(report.left(Reason::System), 1);
    assert_eq!(report.left(Reason::Media), 1);
}

#[test]
fn telegram_account_knows_who_the_user_is() {
    let account = r#"{"about":"x","personal_information":{"user_id":8},"chats":{"list":[
      {"name":"Mara","type":"personal_chat","id":1,"messages":[{"id":1,"type":"message","from":"Ivo","from_id":"user8","text":"Hi"}]},
      {"type":"saved_messages","id":2,"messages":[{"id":1,"type":"message","from":"Ivo","from_id":"user8","text":"Buy rye"}]},
      {"bad":true}]}}"#;
    let (chats, report) = conversations(account.as_bytes(), &plain());
    assert_eq!(chats.len(), 2);
    assert_eq!(chats[1].title.as_deref(), Some("Saved messages"));
    assert!(
        chats
            .iter()
            .all(|chat| chat.turns[0].speaker.role == Role::User)
    );
    assert_eq!(report.left(Reason::Malformed), 1);
}

/// Every shape must read to 31 December 2023, 21:41 (and :05 where seconds are written).
#[test]
fn whatsapp_dates_of_many_phones_are_read() {
    let shapes = [
        "[31.12.23, 21:41:05] Anna: Hi",
        "\u{200e}[31/12/2023, 21:41:05] Anna: Hi",
        "[12/31/23, 9:41:05\u{202f}PM] Anna: Hi",
        "31/12/2023, 21:41 - Anna: Hi",
        "12/31/23, 9:41 PM - Anna: Hi",
        "12/31/23, 9:41\u{202f}PM - Anna: Hi",
        "31.12.23, 21:41 - Anna: Hi",
        "31-12-2023 21:41 - Anna: Hi",
        "31/12/23 21:41 - Anna: Hi",
        "31/12/23, 9:41 p. m. - Anna: Hi",
        "31/12/23, 9:41 p.\u{a0}m. - Anna: Hi",
        "2023-12-31, 21:41 - Anna: Hi",
        "2023/12/31 21:41 - Anna: Hi",
        "2023/12/31 下午9:41 - Anna: Hi",
        "[2023/12/31 21:41:05] Anna: Hi",
        "[2023. 12. 31. 오후 9:41:05] Anna: Hi",
        "2023년 12월 31일 오후 9:41 - Anna: Hi",
        "31/12/2023, 21.41 - Anna: Hi",
    ];
    for shape in shapes {
        let (chat, _) = conversation(shape.as_bytes(), &plain());
        let seconds = unix_ms(&chat.turns[0]) / 1000;
        assert_eq!(seconds - seconds % 60, 1_704_058_860, "{shape}");
        assert_eq!(said(&chat), [("Anna", "Hi")], "{shape}");
    }
}

#[test]
fn whatsapp_lines_go_on_and_notices_pictures_and_deletions_are_left() {
    let text = "31.12.23, 21:40 - Nachrichten sind Ende-zu-Ende-verschlüsselt.\n\
                31.12.23, 21:41 - Anna: First line\n\nthird line: with a colon\n\
                31.12.23, 21:42 - Ben: <Medien ausgeschlossen>\n\
                31.12.23, 21:43 - Ben: Diese Nachricht wurde gelöscht.\n\
                31.12.23, 21:44 - Ben: IMG-1.jpg (Datei angehängt)\nlook at this\n\
                31.12.23, 21:44 - Ben: two in a minute\n";
    let (chat, report) = conversation(text.as_bytes(), &options("WhatsApp-Chat mit Anna.txt"));
    assert_eq!(chat.id, "Anna");
    assert_eq!(
        said(&chat),
        [
            ("Anna", "First line\n\nthird line: with a colon"),
            ("Ben", "look at this"),
            ("Ben", "two in a minute")
        ]
    );
    assert_ne!(chat.turns[1].id, chat.turns[2].id);
    assert_eq!(report.left(Reason::System), 1);
    assert_eq!(report.left(Reason::Media), 1);
    assert_eq!(report.left(Reason::Deleted), 1);
}

#[test]
fn of_texts_that_are_left_the_place_and_the_beginning_are_told() {
    let long = "word ".repeat(500);
    let text = format!(
        "Exported by a phone\n\n\
         on a Sunday\n\
         31.12.23, 21:40 - Anna left the group.\n\
         31.12.23, 21:41 - Anna: {long}\n\
         31.12.23, 21:42 - Ben: Hi\n"
    );
    let mut short = options("WhatsApp-Chat mit Anna.txt");
    short.limits.turn_len = 100;
    let (_, report) = conversation(text.as_bytes(), &short);
    let first = |reason| {
        let left = report.left_out.iter().find(|left| left.reason == reason);
        let example = &left.expect("one was left").examples[0];
        (
            example.place.as_str(),
            example.begins.as_deref().unwrap_or_default(),
        )
    };
    assert_eq!(
        first(Reason::Malformed),
        (
            "lines before the first date",
            "Exported by a phone\n\non a Sunday"
        )
    );
    assert_eq!(report.left(Reason::Malformed), 1);
    let cut = |reason| {
        let left = report.left_out.iter().find(|left| left.reason == reason);
        left.expect("one was left").examples[0].is_cut
    };
    assert_eq!(
        (cut(Reason::Malformed), cut(Reason::TooLong)),
        (false, true)
    );
    assert_eq!(
        first(Reason::System),
        ("2023-12-31T21:40:00#1", "Anna left the group.")
    );
    let (place, begins) = first(Reason::TooLong);
    assert_eq!(place, "2023-12-31T21:41:00#1");
    assert!(long.starts_with(begins) && (1_000..=1_024).contains(&begins.len()));

    let (_, report) = conversation(CHATGPT.as_bytes(), &plain());
    let system = &report.left_out[0];
    assert_eq!(system.reason, Reason::System);
    assert_eq!(system.examples[0].place, "system");
    assert_eq!(
        system.examples[0].begins.as_deref(),
        Some("You are a model")
    );
}

#[test]
fn whatsapp_order_of_day_and_month_is_told_by_the_whole_file() {
    // 4/3 alone is either; time runs forward only if the month is first.
    let month_first = "1/2/24, 10:00 - A: a\n1/30/24, 10:00 - A: b\n4/3/24, 10:00 - A: c\n";
    let (chat, _) = conversation(month_first.as_bytes(), &plain());
    assert_eq!(unix_ms(&chat.turns[2]), 1_712_138_400_000); // 3 April
    let forwards = "5/1/24, 10:00 - A: a\n6/1/24, 10:00 - A: b\n1/2/24, 10:00 - A: c\n";
    let (chat, report) = conversation(forwards.as_bytes(), &plain());
    assert_eq!(unix_ms(&chat.turns[2]), 1_706_781_600_000); // 1 February
    assert!(!report.assumptions.iter().any(|it| it.contains("order")));
}

#[test]
fn whatsapp_order_that_nothing_tells_is_an_assumption_or_the_callers_word() {
    let text = "3/4/24, 10:00 - A: a\n3/4/24, 10:01 - A: b\n";
    let (chat, report) = conversation(text.as_bytes(), &plain());
    assert_eq!(unix_ms(&chat.turns[0]), 1_712_138_400_000); // 3 April
    assert!(
        report
            .assumptions
            .iter()
            .any(|it| it.contains("day, month, year"))
    );
    let told = Options {
        date_order: Some(DateOrder::MonthFirst),
        ..Options::default()
    };
    let (chat, _) = conversation(text.as_bytes(), &told);
    assert_eq!(unix_ms(&chat.turns[0]), 1_709_546_400_000); // 4 March
}

#[test]
fn whatsapp_turns_keep_their_ids_when_the_chat_grows() {
    let before = "31.12.23, 21:41 - A: a\n31.12.23, 21:41 - B: b\n";
    let after = format!("{before}01.01.24, 08:00 - A: c\n");
    let (before, _) = conversation(before.as_bytes(), &plain());
    let (after, _) = conversation(after.as_bytes(), &plain());
    assert_eq!(before.turns[..], after.turns[..2]);
}

#[test]
fn whatsapp_zip_is_named_by_the_zip() {
    let zip = zipped(&[
        ("_chat.txt", b"[31.12.23, 21:41:05] Anna: Hi"),
        ("00000001-PHOTO.jpg", b"\xff\xd8"),
    ]);
    let (chat, report) = conversation(&zip, &options("WhatsApp Chat - Anna.zip"));
    assert_eq!(chat.title.as_deref(), Some("Anna"));
    assert_eq!(report.left(Reason::Media), 1);
}

#[test]
fn slack_gives_channels_with_names_resolved() {
    let zip = zipped(&[
        ("users.json", br#"[{"id":"U1","name":"anna","profile":{"display_name":"Anna","real_name":"Anna A"}},{"id":"U2","real_name":"Ben"}]"#),
        ("channels.json", br#"[{"id":"C1","name":"general"}]"#),
        ("integration_logs.json", b"[]"),
        ("general/2024-01-02.json", br#"[{"type":"message","user":"U2","text":"&lt;3 <https://a.example|the site> in <#C1|general>","ts":"1704200000.000200"}]"#),
        ("general/2024-01-01.json", br#"[
           {"type":"message","subtype":"channel_join","user":"U2","text":"joined","ts":"1704100000.000000"},
           {"type":"message","user":"U1","text":"Hi <@U2> <!here>","ts":"1704100000.000100","files":[{"id":"F"}]},
           {"type":"message","subtype":"bot_message","bot_id":"B1","username":"Build","text":"green","ts":"1704100001.000100"},
           {"type":"message","subtype":"tombstone","text":"This message was deleted.","ts":"1704100002.000100"},
           7]"#),
        ("canvas/2024.json", b"{}"),
    ]);
    let (chat, report) = conversation(&zip, &plain());
    assert_eq!(report.format, Format::Slack);
    assert_eq!((&*chat.id, chat.title.as_deref()), ("C1", Some("general")));
    assert_eq!(
        said(&chat),
        [
            ("Anna", "Hi @Ben @here"),
            ("Build", "green"),
            ("Ben", "<3 the site (https://a.example) in #general")
        ]
    );
    assert_eq!(chat.turns[1].speaker.role, Role::Assistant);
    assert_eq!(unix_ms(&chat.turns[0]), 1_704_100_000_000);
    for (reason, count) in [
        (Reason::System, 1),
        (Reason::Media, 1),
        (Reason::Deleted, 1),
        (Reason::Malformed, 1),
        (Reason::OtherFile, 2),
    ] {
        assert_eq!(report.left(reason), count, "{reason:?}");
    }
}

#[test]
fn discord_gives_a_channel() {
    let channel = r#"{"guild":{"id":"1","name":"Bakers"},"channel":{"id":"2","name":"rye"},"messages":[
      {"id":"10","type":"Default","timestamp":"2024-01-01T10:00:00.000+01:00","content":"Hello","author":{"id":"7","name":"anna","nickname":"Anna","isBot":false},
       "attachments":[{"id":"1"}],"embeds":[],"stickers":[]},
      {"id":"11","type":"GuildMemberJoin","timestamp":"2024-01-01T10:00:01+00:00","content":"Joined","author":{"id":"8","name":"ben"}},
      {"id":"12","type":"Reply","timestamp":"2024-01-01T10:00:02+00:00","content":"Hi","author":{"id":"8","name":"ben"}},
      {"id":"13","type":"Default","timestamp":"2024-01-01T10:00:03+00:00","content":"","author":{"id":"8","name":"ben"}}],"messageCount":4}"#;
    let options = Options {
        me: Some("8".to_owned()),
        ..Options::default()
    };
    let (chat, report) = conversation(channel.as_bytes(), &options);
    assert_eq!(chat.title.as_deref(), Some("Bakers / rye"));
    assert_eq!(said(&chat), [("Anna", "Hello"), ("ben", "Hi")]);
    assert_eq!(chat.turns[1].speaker.role, Role::User);
    assert_eq!(unix_ms(&chat.turns[0]), 1_704_099_600_000);
    assert_eq!(report.left(Reason::System), 1);
    assert_eq!(report.left(Reason::Media), 1);
    assert_eq!(report.left(Reason::Empty), 1);
}

#[test]
fn a_caller_may_stop() {
    let account = r#"{"chats":{"list":[
      {"name":"a","id":1,"messages":[{"id":1,"text":"x"}]},{"name":"b","id":2,"messages":[{"id":1,"text":"y"}]}]}}"#;
    let mut taken = 0;
    let report = tally_import::read(account.as_bytes(), &plain(), &mut |_| {
        taken += 1;
        std::ops::ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!((taken, report.stopped, report.conversations), (1, true, 1));
}

#[test]
fn what_the_caller_says_a_file_is_must_hold() {
    let wrong = Options {
        format: Some(Format::Discord),
        ..Options::default()
    };
    let error = read_all(CLAUDE.as_bytes(), &wrong).unwrap_err();
    assert!(
        matches!(
            error,
            ImportError::Malformed {
                format: Format::Discord,
                ..
            }
        ),
        "{error}"
    );
}
