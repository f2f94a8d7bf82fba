"""The tokenizer of tally-nano and the rendering of its prompts.

Byte-level BPE, so no text is out of reach. Digits stand alone and a token never holds a digit and something else
(llama.cpp's pre-tokenizer "smollm"), and most names fall into short pieces: both make copying easy to learn.
"""

import pathlib

import jinja2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
END = 0
VOCAB = 4096

_TEMPLATE_TEXT = (HERE / "template.jinja").read_text().rstrip("\n")
_TEMPLATE = jinja2.Environment(keep_trailing_newline=True).from_string(_TEMPLATE_TEXT)


def template_text():
    return _TEMPLATE_TEXT


def render(messages, tools=None):
    return _TEMPLATE.render(messages=[{"role": r, "content": c} for r, c in messages], tools=tools or None, add_generation_prompt=True)


def train(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, max_token_length=16))
    return t


def load(path=HERE / "tokenizer.json"):
    return Tokenizer.from_file(str(path))
