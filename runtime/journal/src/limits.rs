//! How large the parts of a journal may be. Writer and reader refuse alike, so nothing is written that cannot be read.

/// Longest payload of one frame, in bytes: the largest value a host call may carry, and room for the fields around it.
pub const MAX_FRAME_LEN: usize = MAX_VALUE_LEN + 4096;
/// Longest value (request, response, input, output, receipt, seal), in bytes: 64 MiB.
pub const MAX_VALUE_LEN: usize = 64 << 20;
/// Longest value that stands inside its entry, in bytes. Longer ones stand in a blob frame just before it.
pub const MAX_INLINE_LEN: usize = 64 << 10;
/// Longest grant, in bytes of JSON. A grant always stands inside its entry.
pub const MAX_GRANT_LEN: usize = 64 << 10;
/// Longest name of a function, model, tool, setting, limit, engine or world, in bytes.
pub const MAX_NAME_LEN: usize = 256;
/// Longest sentence (a rule, a reason, an outcome), in bytes.
pub const MAX_TEXT_LEN: usize = 4096;
/// Longest value of a setting, in bytes.
pub const MAX_SETTING_LEN: usize = 64 << 10;
/// Most models, tools, settings or limits that one first entry may name.
pub const MAX_LIST_LEN: usize = 1024;
/// Most tool frames open at once.
pub const MAX_OPEN_FRAMES: usize = 64;
/// Most intents unanswered at once.
pub const MAX_OPEN_INTENTS: usize = 4096;
