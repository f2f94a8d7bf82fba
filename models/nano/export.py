"""Writes a checkpoint of train.py as GGUF and checks it.

    python export.py CHECKPOINT OUT.gguf [MODEL_CHECK] [--last]

Written is the running mean of the weights where the checkpoint has one, which is what ships; with --last the weights of the last step.
With MODEL_CHECK (the built `tally-model-check`) llama.cpp's view of the file is compared with our own: token ids on
mixed text, and the logits of a prompt against a float32 forward pass in numpy over the dequantised weights.
"""

import argparse
import json
import pathlib
import subprocess

import gguf
import numpy as np

import corpus
import tokens

Q8 = gguf.GGMLQuantizationType.Q8_0
TEXTS = ["Hello, world! I'm 42.", "naïve café Ångström", "日本語 and emoji 😀👍🏽", "tab\tnew\nline  two  spaces ", "{\"facts\":[{\"basis\":\"I'm vegan\"}]}", "a1b22c333 3.14 2026-11-21", "don't WE'LL they'd", "\u00a0nbsp\u200bzero", "x" * 70, "<tool_call>{}</tool_call>"]


def shipped(checkpoint, last=False):
    """The weights of a checkpoint that are exported."""
    return checkpoint["p"] if last or not checkpoint.get("mean") else checkpoint["mean"]


def matrices(checkpoint, tok, last=False):
    """The network's tensors under their GGUF names, float32."""
    import torch

    import train

    c = torch.load(checkpoint, weights_only=False, map_location="cpu")
    p = {k: v.float() for k, v in shipped(c, last).items()}
    t = {"token_embd.weight": train.embedding(p, train.twins(tok)), "output_norm.weight": p["out_norm"]}
    for i in range(c["cfg"]["layers"]):
        for ours, theirs in train.GGUF_NAMES.items():
            t[f"blk.{i}.{theirs}.weight"] = p[f"{i}.{ours}"]
    return c["cfg"], {k: v.numpy() for k, v in t.items()}


def write(path, cfg, tensors, tok):
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tally-nano")
    w.add_license("apache-2.0")
    w.add_description("A toy chat model: memory extraction, answers from context, tool calls. Trained on generated text by models/nano/train.py.")
    w.add_context_length(cfg["context"])
    w.add_embedding_length(cfg["width"])
    w.add_block_count(cfg["layers"])
    w.add_feed_forward_length(cfg["ff"])
    w.add_head_count(cfg["heads"])
    w.add_head_count_kv(cfg["kv_heads"])
    w.add_layer_norm_rms_eps(cfg["eps"])
    w.add_rope_dimension_count(cfg["width"] // cfg["heads"])
    w.add_rope_freq_base(cfg["rope_base"])
    w.add_vocab_size(cfg["vocab"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    model = json.loads(tok.to_str())["model"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list([tok.id_to_token(i) for i in range(cfg["vocab"])])
    w.add_token_types([gguf.TokenType.CONTROL if i < len(tokens.SPECIAL) else gguf.TokenType.NORMAL for i in range(cfg["vocab"])])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    w.add_bos_token_id(tokens.END)
    w.add_eos_token_id(tokens.END)
    w.add_eot_token_id(tokens.END)
    w.add_pad_token_id(tokens.END)
    w.add_add_bos_token(False)
    w.add_add_eos_token(False)
    w.add_chat_template(tokens.template_text())
    for name in sorted(tensors):
        data = tensors[name]
        if data.ndim == 2:
            w.add_tensor(name, gguf.quants.quantize(data, Q8), raw_dtype=Q8)
        else:
            w.add_tensor(name, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def reference(cfg, t, ids):
    """The logits after the last token, float32."""
    n, d, heads, kv = len(ids), cfg["width"], cfg["heads"], cfg["kv_heads"]
    hd = d // heads
    norm = lambda x, g: x / np.sqrt((x * x).mean(-1, keepdims=True) + cfg["eps"]) * g
    angle = np.arange(n)[:, None] * cfg["rope_base"] ** (-np.arange(0, hd, 2) / hd)[None]
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def rope(x):
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out

    x = t["token_embd.weight"][ids]
    mask = np.triu(np.full((n, n), -np.inf, np.float32), 1)
    for i in range(cfg["layers"]):
        b = lambda name: t[f"blk.{i}.{name}.weight"]
        h = norm(x, b("attn_norm"))
        split = lambda y, count: y.reshape(n, count, hd).transpose(1, 0, 2)
        q, k, v = rope(split(h @ b("attn_q").T, heads)), rope(split(h @ b("attn_k").T, kv)), split(h @ b("attn_v").T, kv)
        k, v = k.repeat(heads // kv, 0), v.repeat(heads // kv, 0)
        s = q @ k.transpose(0, 2, 1) / np.sqrt(hd) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        x = x + ((s / s.sum(-1, keepdims=True)) @ v).transpose(1, 0, 2).reshape(n, d) @ b("attn_output").T
        h = norm(x, b("ffn_norm"))
        g = h @ b("ffn_gate").T
        x = x + (g / (1 + np.exp(-g)) * (h @ b("ffn_up").T)) @ b("ffn_down").T
    return norm(x, t["output_norm.weight"])[-1] @ t["token_embd.weight"].T


def check(path, tool, cfg, tensors, tok):
    g = corpus.Generator("export-check", "both")
    samples = [g.sample() for _ in range(40)]
    prompts = [tokens.render(s["messages"], s.get("tools")) for s in samples]
    texts = TEXTS + prompts + [s["target"] for s in samples]
    requests = [{"op": "tokens", "text": s, "add": True, "special": True} for s in texts] + [{"op": "logits", "tokens": tok.encode(s).ids} for s in prompts[:8]]
    done = subprocess.run([tool, path], input="".join(json.dumps(r) + "\n" for r in requests), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(requests):
        raise SystemExit(f"{tool} answers {len(answers)} of {len(requests)} requests")
    different = [s for s, ids in zip(texts, answers) if tok.encode(s).ids != ids]
    rounded = {k: gguf.quants.dequantize(gguf.quants.quantize(v, Q8), Q8) if v.ndim == 2 else v for k, v in tensors.items()}
    worst = 1.0
    for s, theirs in zip(prompts[:8], answers[len(texts):]):
        ours, theirs = reference(cfg, rounded, tok.encode(s).ids), np.array(theirs, np.float32)
        # NumPy's minimum keeps a NaN, which is no cosine.
        worst = float(np.minimum(worst, ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)))
    print(f"{len(texts) - len(different)} of {len(texts)} texts tokenised alike; least cosine of logits to numpy {worst:.5f}")
    if different or not worst >= 0.999:
        raise SystemExit(f"llama.cpp does not see what was trained: {different}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("out")
    p.add_argument("model_check", nargs="?")
    p.add_argument("--last", action="store_true", help="the weights of the last step instead of their running mean")
    a = p.parse_args()
    out, tok = a.out, tokens.load()
    cfg, tensors = matrices(a.checkpoint, tok, a.last)
    write(out, cfg, tensors, tok)
    print(f"{out}: {sum(v.size for v in tensors.values()) / 1e6:.2f} M parameters, {pathlib.Path(out).stat().st_size / 1e6:.2f} MB")
    if a.model_check:
        check(out, a.model_check, cfg, tensors, tok)


if __name__ == "__main__":
    main()
