//! Figures over ranked lists.

/// What one ranked list is worth against the evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Share of the evidence among the first five.
    pub recall_5: f64,
    /// Share of the evidence among the first ten.
    pub recall_10: f64,
    /// 1 when some of it is among the first ten.
    pub any_10: f64,
    /// 1 when all of it is.
    pub all_10: f64,
    /// 1 / rank of the first.
    pub reciprocal_rank: f64,
}

impl Measured {
    /// Compares a ranking with the evidence; `None` when there is no evidence to find.
    #[must_use]
    pub fn of<T: PartialEq>(ranking: &[T], evidence: &[T]) -> Option<Self> {
        if evidence.is_empty() {
            return None;
        }
        let found = |k: usize| {
            evidence
                .iter()
                .filter(|e| ranking.iter().take(k).any(|r| r == *e))
                .count()
        };
        let total = evidence.len() as f64;
        let ten = found(10);
        let first = ranking.iter().position(|hit| evidence.contains(hit));
        Some(Self {
            recall_5: found(5) as f64 / total,
            recall_10: ten as f64 / total,
            any_10: f64::from(u8::from(ten > 0)),
            all_10: f64::from(u8::from(ten == evidence.len())),
            reciprocal_rank: first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
        })
    }
}

/// Means over questions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    questions: u32,
    sum: Measured,
}

impl Figures {
    /// Counts one question.
    pub fn add(&mut self, one: &Measured) {
        self.questions += 1;
        self.sum.recall_5 += one.recall_5;
        self.sum.recall_10 += one.recall_10;
        self.sum.any_10 += one.any_10;
        self.sum.all_10 += one.all_10;
        self.sum.reciprocal_rank += one.reciprocal_rank;
    }

    /// How many were counted.
    #[must_use]
    pub fn questions(&self) -> u32 {
        self.questions
    }

    /// The means, 0 to 1; all 0 when nothing was counted.
    #[must_use]
    pub fn means(&self) -> Measured {
        let n = f64::from(self.questions.max(1));
        Measured {
            recall_5: self.sum.recall_5 / n,
            recall_10: self.sum.recall_10 / n,
            any_10: self.sum.any_10 / n,
            all_10: self.sum.all_10 / n,
            reciprocal_rank: self.sum.reciprocal_rank / n,
        }
    }
}

/// How well abstaining tells questions without an answer from those with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbstentionFigures {
    /// Abstained, and there was no answer.
    pub right: u32,
    /// Abstained, though there was one.
    pub wrong: u32,
    /// Did not abstain, though there was no answer.
    pub missed: u32,
}

impl AbstentionFigures {
    /// Counts one question.
    pub fn add(&mut self, abstained: bool, answerable: bool) {
        match (abstained, answerable) {
            (true, false) => self.right += 1,
            (true, true) => self.wrong += 1,
            (false, false) => self.missed += 1,
            (false, true) => {}
        }
    }

    /// Of the abstentions, the share that was right; 0 when there was none.
    #[must_use]
    pub fn precision(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }

    /// Of the questions without an answer, the share that was abstained from.
    #[must_use]
    pub fn recall(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missed).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_is_compared_with_the_evidence() {
        let ranking: Vec<u32> = (0..20).collect();
        let measured = Measured::of(&ranking, &[2, 7, 15]).expect("there is evidence");
        assert_eq!(measured.recall_5, 1.0 / 3.0);
        assert_eq!(measured.recall_10, 2.0 / 3.0);
        assert_eq!((measured.any_10, measured.all_10), (1.0, 0.0));
        assert_eq!(measured.reciprocal_rank, 1.0 / 3.0);
        assert_eq!(Measured::of(&ranking, &[99]), Some(Measured::default()));
        assert_eq!(Measured::of(&ranking, &[]), None);
    }

    #[test]
    fn figures_are_means() {
        let mut figures = Figures::default();
        figures.add(&Measured::of(&[1], &[1]).expect("there is evidence"));
        figures.add(&Measured::of(&[1], &[2]).expect("there is evidence"));
        assert_eq!((figures.questions(), figures.means().recall_10), (2, 0.5));
        assert_eq!(Figures::default().means(), Measured::default());
    }

    #[test]
    fn abstaining_has_a_precision_and_a_recall() {
        let mut figures = AbstentionFigures::default();
        for (abstained, answerable) in [
            (true, false),
            (true, true),
            (true, false),
            (false, false),
            (false, true),
        ] {
            figures.add(abstained, answerable);
        }
        assert_eq!(figures.precision(), 2.0 / 3.0);
        assert_eq!(figures.recall(), 2.0 / 3.0);
    }
}
