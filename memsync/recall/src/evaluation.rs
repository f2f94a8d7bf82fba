//! How well an index finds what is known to be the evidence: the dataset, and figures over it.
//!
//! A dataset gives conversations, questions, and for each question the turns that hold the answer. [`Figures`] are means over
//! questions, by category:
//!
//! | figure | of one question |
//! |---|---|
//! | recall@k | share of the evidence among the first k hits |
//! | any@k, all@k | whether some, or all, of the evidence is among them |
//! | MRR | 1 / rank of the first hit that is evidence; 0 when none is found |
//!
//! Questions of category 5 are about things that were never said: what counts there is [`AbstentionFigures`].
//!
//! Out of scope: reading files and clocks, and embedding; `tally memory eval` does.

mod baselines;
mod locomo;
mod metrics;

pub use baselines::Baselines;
pub use locomo::{Category, Conversation, DatasetError, Question, parse};
pub use metrics::{AbstentionFigures, Figures, Measured};
