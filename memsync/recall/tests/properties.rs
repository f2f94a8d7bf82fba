//! What holds for every index, however it came about.

use proptest::prelude::*;
use tally_recall::{
    Answer, Budget, Document, DocumentId, Embedding, Filter, Index, Interval, Kind, Mode, Moment,
    Query, TokenVectors,
};

const WORDS: [&str; 12] = [
    "boat",
    "boats",
    "river",
    "sister",
    "repaired",
    "yesterday",
    "Lisbon",
    "comet",
    "the",
    "music",
    "guitar",
    "why?",
];

#[derive(Clone, Debug)]
struct Given {
    document: Document,
    embedding: Option<Embedding>,
}

fn embedding() -> impl Strategy<Value = Embedding> {
    (
        prop::collection::vec(-1.0f32..1.0, 8),
        prop::collection::vec(-1.0f32..1.0, 0..4),
    )
        .prop_map(|(sentence, tokens)| {
            let rows: Vec<f32> = tokens
                .iter()
                .flat_map(|x| [*x, 1.0 - x, 0.5, -0.25])
                .collect();
            Embedding {
                sentence,
                tokens: TokenVectors::from_rows(4, rows.chunks_exact(4)),
            }
        })
}

fn given(number: u8) -> impl Strategy<Value = Given> {
    let text = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..8);
    let place = (0u8..3, 0u32..6, 0i64..100);
    let rest = (
        prop::option::of(0u8..2),
        any::<bool>(),
        prop::option::of(0u8..20),
        prop::option::of(0i64..100),
    );
    (text, place, rest, prop::option::of(embedding())).prop_map(
        move |(text, (session, position, day), (speaker, is_fact, evidence, until), embedding)| {
            let kind = if is_fact { Kind::Fact } else { Kind::Episode };
            let document = Document {
                speaker: speaker.map(|n| ["Ada", "Ben"][usize::from(n)].to_owned()),
                session: (session > 0).then(|| session.to_string()),
                position,
                observed_at: Moment(day * 86_400),
                valid: Interval {
                    from: None,
                    until: until.map(|day| Moment(day * 86_400)),
                },
                evidence: evidence
                    .filter(|_| is_fact)
                    .map(|n| DocumentId([n; 32]))
                    .into_iter()
                    .collect(),
                labels: vec![format!("app:{session}")],
                ..Document::new(DocumentId([number; 32]), kind, text.join(" "))
            };
            Given {
                document,
                embedding,
            }
        },
    )
}

fn collection() -> impl Strategy<Value = Vec<Given>> {
    (0u8..16).prop_flat_map(|count| (0..count).map(given).collect::<Vec<_>>())
}

fn query() -> impl Strategy<Value = Query> {
    let text = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..5);
    let what = (
        prop::option::of(embedding()),
        0u8..3,
        0u32..60,
        0usize..20,
        prop::option::of(1u8..3),
        any::<bool>(),
    );
    (text, what).prop_map(
        |(text, (embedding, mode, tokens, hits, label, ada))| Query {
            embedding,
            mode: [Mode::Current, Mode::AsOf(Moment(40 * 86_400)), Mode::All][usize::from(mode)],
            filter: Filter {
                labels: label
                    .map(|n| vec![format!("app:{n}")])
                    .into_iter()
                    .collect(),
                ..Filter::default()
            },
            budget: Budget { tokens, hits },
            ..Query::new(
                format!(
                    "When did {} see {}?",
                    if ada { "Ada" } else { "they" },
                    text.join(" ")
                ),
                Moment(50 * 86_400),
            )
        },
    )
}

fn index(given: &[Given]) -> Index {
    let mut index = Index::new();
    for one in given {
        index
            .insert(one.document.clone(), one.embedding.as_ref())
            .expect("ids differ");
    }
    index
}

/// Sums of numbers in another order differ by rounding alone.
fn same(a: &Answer, b: &Answer) {
    let hits = |answer: &Answer| {
        answer
            .hits
            .iter()
            .map(|hit| (hit.id, hit.duplicates.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(hits(a), hits(b));
    for (a, b) in a.hits.iter().zip(&b.hits) {
        assert_eq!(a.score.to_bits(), b.score.to_bits());
    }
    assert_eq!(
        (a.tokens, a.candidates, &a.abstention),
        (b.tokens, b.candidates, &b.abstention)
    );
}

proptest! {
    #[test]
    fn an_index_that_grew_and_shrank_answers_as_one_that_was_built(
        (given, order, gone) in collection().prop_flat_map(|given| {
            let count = given.len();
            let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            (Just(given), order, prop::collection::vec(any::<bool>(), count))
        }),
        query in query(),
    ) {
        let mut grown = Index::new();
        for at in &order {
            grown.insert(given[*at].document.clone(), given[*at].embedding.as_ref()).expect("ids differ");
            // A removal in between gives its slot to the next.
            if gone[*at] {
                prop_assert!(grown.remove(given[*at].document.id));
            }
        }
        let kept: Vec<Given> = given.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(one, _)| one.clone()).collect();
        prop_assert_eq!(grown.len(), kept.len());
        same(&grown.search(&query), &index(&kept).search(&query));
    }

    #[test]
    fn nothing_is_left_of_what_was_removed(given in collection(), query in query()) {
        let mut index = index(&given);
        for one in &given {
            prop_assert!(index.remove(one.document.id));
        }
        prop_assert!(index.is_empty());
        prop_assert_eq!(index.embeddable("Ada and Ben"), "Ada and Ben");
        same(&index.search(&query), &Index::new().search(&query));
    }

    #[test]
    fn answers_keep_their_budget_and_their_filter(given in collection(), query in query()) {
        let index = index(&given);
        let answer = index.search(&query);
        prop_assert!(answer.tokens <= query.budget.tokens && answer.hits.len() <= query.budget.hits);
        prop_assert_eq!(answer.tokens, answer.hits.iter().map(|hit| hit.tokens).sum::<u32>());
        for hit in &answer.hits {
            let document = index.get(hit.id).expect("a hit is in the index");
            prop_assert!(query.filter.labels.iter().flatten().all(|label| document.labels.contains(label)));
            match query.mode {
                Mode::Current => prop_assert!(document.valid.contains(query.now)),
                Mode::AsOf(at) => prop_assert!(document.valid.contains(at) && document.observed_at <= at),
                Mode::All => {}
            }
        }
        prop_assert!(answer.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }

    #[test]
    fn any_text_is_taken(text in ".{0,200}", question in ".{0,60}") {
        let mut index = Index::new();
        let document = Document {
            speaker: Some(question.clone()),
            ..Document::new(DocumentId([1; 32]), Kind::Episode, text)
        };
        index.insert(document, None).expect("an empty index");
        let answer = index.search(&Query::new(question, Moment(i64::MAX)));
        prop_assert!(answer.hits.iter().all(|hit| hit.score.is_finite()));
    }
}
