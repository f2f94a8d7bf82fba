//! What may follow what in a journal: one rule book, obeyed by the writer and checked by the reader.
//!
//! * The first entry is the genesis, and there is no other.
//! * A tool's frame is entered before it calls, with the next free number, and is closed by the call that started it.
//! * A call that fulfils an intent comes from the same frame and names the same function and class, once.
//! * Nothing but the seal follows the end. Frames and intents may be open at the end: they were abandoned.

use crate::entry::{Call, EffectClass, Enter, FrameId, Intent, Seq};
use crate::limits::{MAX_OPEN_FRAMES, MAX_OPEN_INTENTS};

/// A rule that an entry would break, as a clause that follows "it …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

#[derive(Clone, Debug)]
pub(crate) struct OpenIntent {
    pub(crate) seq: Seq,
    frame: FrameId,
    function: String,
    class: EffectClass,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    last_frame: u32,
    /// Open tool frames, each with its parent.
    frames: Vec<(FrameId, FrameId)>,
    intents: Vec<OpenIntent>,
    ended: bool,
}

impl State {
    #[inline]
    fn executing(&self, frame: FrameId) -> Result<(), Broken> {
        if self.ended {
            return Err(Broken("comes after the end of the run"));
        }
        if frame == FrameId::AGENT || self.frames.iter().any(|(open, _)| *open == frame) {
            return Ok(());
        }
        Err(Broken("comes from a frame that is not open"))
    }

    pub(crate) fn intent(
        &mut self,
        seq: Seq,
        entry: &Intent<'_, impl Sized>,
    ) -> Result<(), Broken> {
        self.executing(entry.frame)?;
        if self.intents.len() >= MAX_OPEN_INTENTS {
            return Err(Broken("is one open intent too many"));
        }
        self.intents.push(OpenIntent {
            seq,
            frame: entry.frame,
            function: entry.function.to_owned(),
            class: entry.class,
        });
        Ok(())
    }

    pub(crate) fn enter(&mut self, entry: &Enter<'_, impl Sized>) -> Result<(), Broken> {
        self.executing(entry.parent)?;
        if self.last_frame.checked_add(1) != Some(entry.frame.get()) {
            return Err(Broken("enters a frame that is not the next one"));
        }
        if self.frames.len() >= MAX_OPEN_FRAMES {
            return Err(Broken("enters one frame too many at once"));
        }
        self.last_frame = entry.frame.get();
        self.frames.push((entry.frame, entry.parent));
        Ok(())
    }

    /// [`call`](Self::call) for one that answers no intent and closes no frame.
    #[inline]
    pub(crate) fn plain_call(&self, frame: FrameId) -> Result<(), Broken> {
        self.executing(frame)
    }

    #[inline]
    pub(crate) fn call(&mut self, entry: &Call<'_, impl Sized>) -> Result<(), Broken> {
        self.executing(entry.frame)?;
        let answered = match entry.intent {
            None => None,
            Some(seq) => {
                let index = self
                    .intents
                    .iter()
                    .position(|open| open.seq == seq)
                    .ok_or(Broken("answers an intent that is not open"))?;
                let open = &self.intents[index];
                if open.frame != entry.frame
                    || open.function != entry.function
                    || open.class != entry.class
                {
                    return Err(Broken("answers an intent of another call"));
                }
                Some(index)
            }
        };
        if let Some(callee) = entry.callee {
            let index = self
                .frames
                .iter()
                .position(|open| *open == (callee.frame, entry.frame))
                .ok_or(Broken("closes a frame that it did not open"))?;
            if self
                .frames
                .iter()
                .any(|(_, parent)| *parent == callee.frame)
            {
                return Err(Broken("closes a frame that has a frame open"));
            }
            self.frames.remove(index);
        }
        if let Some(index) = answered {
            self.intents.remove(index);
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        self.executing(FrameId::AGENT)?;
        self.ended = true;
        Ok(())
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Intents that no call has answered: their effects may or may not have happened.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = Seq> + '_ {
        self.intents.iter().map(|open| open.seq)
    }
}
