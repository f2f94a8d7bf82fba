//! The text that the tokenizer's merges are learned from.

/// A short page about tally sticks, some JSON and a list of common words.
pub const TEXT: &str = r#"
Before there was paper money there were tally sticks. A merchant who lent ten coins took a stick of hazel and cut ten
notches across it. Then the stick was split along its length, so that each half carried a part of every notch. The one
who lent kept the longer half, which was called the stock; the one who owed kept the shorter, which was called the foil.
When the debt was paid the two halves were put together. If the notches matched, both sides knew that nothing had been
added and nothing had been taken away. Nobody had to be believed, because the wood itself remembered.

The idea is older than writing and it is still a good one. A record that only one side holds can be changed by that
side. A record that both sides hold can be changed by neither. What the stick did with wood we do with numbers: a
receipt says which question was asked, which model answered, which words were produced and in which order, and it is
signed, so that anyone who holds it can check it without asking anyone else. It does not say that the answer is true.
It says who gave it, and that it has not been altered since.

The user asks a question. The assistant answers the question. The assistant may call a tool, and the tool gives a
result. You are a helpful assistant. What is the weather in Paris today? The weather in Paris is sunny. Please write a
short plan for the day. First, make a list of what you have to do. Second, choose the three that matter most. Third,
do the hardest of them in the morning. How much is two and two? Two and two is four. Who are you? I am a small model.

{"name": "weather", "arguments": {"city": "Paris", "unit": "celsius"}}
{"name": "search", "arguments": {"query": "tally stick", "limit": 3}}
{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}
true false null 0 1 2 3 4 5 6 7 8 9 10 11 12 100 1000 2024 2025 2026

the of and to in is that it for was on are as with they be at this have from or by one had not but what all were when
we there can an your which their said if do will each about how up out them then she many some so these would other
into has more her two like him see time could no make than first been its who now people my made over did down only way
find use may water long little very after words called just where most know get through back much before go good new
write our used me man too any day same right look think also around another came come work three word must because does
part even place well such here take why things help put years different away again off went old number
"#;
