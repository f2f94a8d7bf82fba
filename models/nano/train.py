"""Trains tally-nano on the CPU: `prepare` writes tokenised shards, `fit` trains, both from a seed.

The network is a plain llama decoder (RMSNorm, rotary positions on neighbouring pairs, grouped-query attention, SwiGLU,
tied embeddings), so llama.cpp runs it as it is. Two things are ours and leave no trace in the exported weights:

* An embedding is the sum of a part shared by all spellings of a piece (with and without a leading space, any case), a
  part per spelling feature, and a part of its own. Copying a name from the start of a line into a JSON string asks the
  model to emit another token than it read; sharing makes these two tokens neighbours from the first step.
* Hidden matrices are updated by Muon, embeddings and gains by Adam.

Samples that begin alike share a row (`tree`), and the step is written out (`step.py`).

`fit` writes a checkpoint every few minutes and continues from it. A file named `decay` in the work folder starts the
final decay of the learning rate, to the time that it holds (seconds since 1970) or over --decay-steps; the step at which
that happened is in the log, and `--decay-from` repeats it.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import random
import signal
import time

import numpy as np

import corpus
import tokens

HERE = pathlib.Path(__file__).parent
CONFIG = {"vocab": tokens.VOCAB, "width": 256, "layers": 9, "heads": 4, "kv_heads": 2, "ff": 640, "context": 2048, "rope_base": 10000.0, "eps": 1e-5}
SHARD = 8_000
LONGEST = 640
EVAL_SPLITS = ("words", "shapes", "both")
GGUF_NAMES = {"attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


# Preparing


def shared_length(prompts):
    """How many ids all prompts begin with, less the last of the shortest, which has to foretell its own answer."""
    n = min(map(len, prompts)) - 1
    first = prompts[0]
    return next((i for i in range(n) if any(p[i] != first[i] for p in prompts)), n)


def tree(pairs):
    """One row of a (prompt, target) of ids or several with a common beginning: (ids, branch, answer).

    Branch 0 is the common beginning. A later branch sees itself and branch 0, and counts its positions on from there, so
    every branch is computed as if it stood alone. `answer` marks the ids to be learnt.
    """
    shared = shared_length([p for p, _ in pairs]) if len(pairs) > 1 else 0
    ids, branch, answer = list(pairs[0][0][:shared]), [0] * shared, [False] * shared
    for k, (p, t) in enumerate(pairs, 1 if shared else 0):
        ids += p[shared:] + t
        branch += [k] * (len(p) - shared + len(t))
        answer += [False] * (len(p) - shared) + [True] * len(t)
    return np.array(ids, np.uint16), np.array(branch, np.uint8), np.array(answer)


def tokenise(tok, samples):
    """A row for each sample, or list of samples that share the beginning of their prompt; see `tree`."""
    groups = [s if isinstance(s, list) else [s] for s in samples]
    flat = [s for g in groups for s in g]
    prompts = tok.encode_batch([s["prompt"] if "prompt" in s else tokens.render(s["messages"], s.get("tools")) + s.get("begun", "") for s in flat])
    targets = tok.encode_batch([s["target"] for s in flat])
    pairs, out = iter([(p.ids, t.ids + [tokens.END] * ("open" not in s)) for p, t, s in zip(prompts, targets, flat)]), []
    for g in groups:
        row = tree([next(pairs) for _ in g])
        if len(row[0]) <= LONGEST:
            out.append(row)
    return out


def save_shard(path, rows):
    flat, branch, answer = (np.concatenate([row[i] for row in rows]) for i in range(3))
    np.savez(path, flat=flat, branch=branch, answer=np.packbits(answer), length=np.array([len(row[0]) for row in rows], np.uint16))


def load_shard(path):
    z = np.load(path)
    flat, branch, length = z["flat"].astype(np.int64), z["branch"], z["length"].astype(np.int64)
    answer = np.unpackbits(z["answer"], count=len(flat)).astype(bool)
    return [(flat[e - n:e], branch[e - n:e], answer[e - n:e]) for e, n in zip(np.cumsum(length), length)]


def prepare(a):
    work = pathlib.Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    tok_path = HERE / "tokenizer.json"
    if a.new_tokenizer or not tok_path.exists():
        g = corpus.Generator(a.seed, "train")
        samples = [g.sample() for _ in range(30_000)]
        t = tokens.train([tokens.render(s["messages"], s.get("tools")) + s["target"] for s in samples])
        t.save(str(tok_path))
    tok = tokens.load()
    for i in range(a.first_shard, a.first_shard + a.shards):
        g = corpus.Generator(f"{a.seed}.{i}", "train")
        rows = tokenise(tok, [g.group() for _ in range(SHARD)])
        save_shard(work / f"tmp-{i}.npz", rows)
        os.replace(work / f"tmp-{i}.npz", work / f"shard-{i:03}.npz")
        n = sum(len(r[0]) for r in rows)
        print(f"shard {i}: {len(rows)} samples, {n} tokens, {n / len(rows):.0f} each, targets {sum(r[2].sum() for r in rows) / n:.2f}", flush=True)


# The network. Imported late, so that `prepare` needs no torch.


def build(torch, cfg, twins):
    """Parameters as a dictionary of float32 tensors. `twins` maps a token to its shared piece and its features."""
    g = torch.Generator().manual_seed(cfg.get("seed", 1))
    d, hd = cfg["width"], cfg["width"] // cfg["heads"]
    kv = cfg["kv_heads"] * hd

    def normal(*shape, std):
        return (torch.randn(*shape, generator=g) * std).requires_grad_()

    p = {"embed.own": normal(cfg["vocab"], d, std=0.008), "embed.shared": normal(int(twins[0].max()) + 1, d, std=0.02), "embed.feature": normal(4, d, std=0.008), "out_norm": torch.ones(d, requires_grad=True)}
    for i in range(cfg["layers"]):
        p[f"{i}.attn_norm"] = torch.ones(d, requires_grad=True)
        p[f"{i}.q"] = normal(d, d, std=d ** -0.5)
        p[f"{i}.k"] = normal(kv, d, std=d ** -0.5)
        p[f"{i}.v"] = normal(kv, d, std=d ** -0.5)
        p[f"{i}.o"] = normal(d, d, std=d ** -0.5 / math.sqrt(2 * cfg["layers"]))
        p[f"{i}.ffn_norm"] = torch.ones(d, requires_grad=True)
        p[f"{i}.gate"] = normal(cfg["ff"], d, std=d ** -0.5)
        p[f"{i}.up"] = normal(cfg["ff"], d, std=d ** -0.5)
        p[f"{i}.down"] = normal(d, cfg["ff"], std=cfg["ff"] ** -0.5 / math.sqrt(2 * cfg["layers"]))
    return p


def twins(tok):
    """For each token the index of its piece without space and case, and its features: 1 leading space, 2 capital."""
    import torch

    pieces, shared, feature = {}, [], []
    for i in range(tok.get_vocab_size()):
        s = tok.id_to_token(i)
        bare = s[1:] if s.startswith("Ġ") and len(s) > 1 else s
        shared.append(pieces.setdefault(bare.lower(), len(pieces)))
        feature.append((1 if bare != s else 0) + (2 if bare[:1].isupper() else 0))
    return torch.tensor(shared), torch.tensor(feature)


def embedding(p, tw):
    return p["embed.own"] + p["embed.shared"][tw[0]] + p["embed.feature"][tw[1]]


def hidden(torch, cfg, p, table, ids, position, branch):
    """The last hidden states, batch x time x width. Rows are as `tree` makes them, padded at their end."""
    F = torch.nn.functional
    dt = torch.bfloat16
    b, t = ids.shape
    hd = cfg["width"] // cfg["heads"]
    inv = cfg["rope_base"] ** (-torch.arange(0, hd, 2, dtype=torch.float32) / hd)
    angle = position[:, None, :, None].float() * inv
    cos, sin = angle.cos().to(dt), angle.sin().to(dt)

    order = torch.arange(t)
    seen = (order[:, None] >= order) & ((branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None]))
    mask = torch.where(seen, 0.0, float("-inf")).to(dt)[:, None]

    def rope(x):  # b h t hd
        x = x.unflatten(-1, (-1, 2))
        even, odd = x[..., 0], x[..., 1]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

    def norm(x, gain):
        return F.rms_norm(x.float(), (cfg["width"],), gain, cfg["eps"]).to(dt)

    x = F.embedding(ids, table).to(dt)
    for i in range(cfg["layers"]):
        h = norm(x, p[f"{i}.attn_norm"])
        q = (h @ p[f"{i}.q"].to(dt).T).view(b, t, cfg["heads"], hd).transpose(1, 2)
        k = (h @ p[f"{i}.k"].to(dt).T).view(b, t, cfg["kv_heads"], hd).transpose(1, 2)
        v = (h @ p[f"{i}.v"].to(dt).T).view(b, t, cfg["kv_heads"], hd).transpose(1, 2)
        q, k = rope(q), rope(k)
        rep = cfg["heads"] // cfg["kv_heads"]
        k, v = k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1)
        # Written out: for short rows this is three times as fast on a CPU as the fused kernel's backward pass.
        w = (q @ k.transpose(-1, -2) * hd ** -0.5 + mask).softmax(-1)
        y = w @ v
        x = x + y.transpose(1, 2).reshape(b, t, -1) @ p[f"{i}.o"].to(dt).T
        h = norm(x, p[f"{i}.ffn_norm"])
        x = x + (F.silu(h @ p[f"{i}.gate"].to(dt).T) * (h @ p[f"{i}.up"].to(dt).T)) @ p[f"{i}.down"].to(dt).T
    return norm(x, p["out_norm"])


def from_gguf(torch, path, p, tw):
    """Fills the parameters from an exported model. The shared part of an embedding becomes the mean over the spellings
    of its piece, its own part the rest, so that the sum is what the file holds.

    A model with fewer layers grows: new layers stand evenly between its own, each a copy of the one before it that adds
    nothing yet (its two output matrices are zero), so that the function is the same until the first step.
    """
    import gguf

    t = {x.name: torch.from_numpy(gguf.quants.dequantize(x.data, x.tensor_type).copy()) for x in gguf.GGUFReader(path).tensors}
    table = t["token_embd.weight"]
    shared = torch.zeros_like(p["embed.shared"]).index_add_(0, tw[0], table) / tw[0].bincount()[:, None]
    own = {"embed.shared": shared, "embed.own": table - shared[tw[0]], "embed.feature": torch.zeros_like(p["embed.feature"]), "out_norm": t["output_norm.weight"]}
    has = 1 + max(int(name.split(".")[1]) for name in t if name.startswith("blk."))
    layers = 1 + max(int(k.split(".")[0]) for k in p if k not in own)
    source = [i * has // layers for i in range(layers)]
    assert sorted(set(source)) == list(range(has)), "a model grows, it does not shrink"
    for k in p:
        layer, _, name = k.partition(".")
        if k in own:
            p[k].data.copy_(own[k])
        elif name in ("o", "down") and int(layer) > 0 and source[int(layer)] == source[int(layer) - 1]:
            p[k].data.zero_()
        else:
            p[k].data.copy_(t[f"blk.{source[int(layer)]}.{GGUF_NAMES[name]}.weight"])


def orthogonal(torch, g):
    """Newton-Schulz: the nearest semi-orthogonal matrix, roughly (Muon)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(torch.bfloat16)
    flip = x.shape[0] > x.shape[1]
    x = x.T.contiguous() if flip else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        s = x @ x.T
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.T if flip else x).float()


def batches(rows, budget, r):
    """Rows of like length together: lists of indices whose padded size is at most `budget` tokens."""
    order = list(range(len(rows)))
    r.shuffle(order)
    out = []
    for lo in range(0, len(order), 4096):
        chunk = sorted(order[lo:lo + 4096], key=lambda i: len(rows[i][0]))
        group, longest = [], 0
        part = []
        for i in chunk:
            n = len(rows[i][0])
            if group and max(longest, n) * (len(group) + 1) > budget:
                part.append(group)
                group, longest = [], 0
            group.append(i)
            longest = max(longest, n)
        part.append(group)
        r.shuffle(part)
        out += part
    return out


@functools.cache
def source_mark():
    return tokens.load().token_to_id("Ġ[")


def pad(torch, rows):
    """Ids, positions and branches of a batch; what follows each id, or -1; and the weight of learning it, 0 in prompts.

    An id of an answer of n ids weighs 1 / sqrt(n): a fact in JSON is mostly copying and punctuation, "9:30 [2]" is not.
    The number of a source weighs three times as much.
    """
    opens = source_mark()
    b, t = len(rows), max(len(row[0]) for row in rows)
    ids, position, branch, follows = (np.zeros((b, t), np.int64), np.zeros((b, t), np.int64), np.zeros((b, t), np.int64), np.full((b, t), -1, np.int64))
    weight = np.zeros((b, t), np.float32)
    for i, (x, k, answer) in enumerate(rows):
        n, shared = len(x), int((k == 0).sum())
        ids[i, :n], branch[i, :n] = x, k
        start = np.r_[0, np.flatnonzero(np.diff(k)) + 1]
        length = np.diff(np.r_[start, n])
        position[i, :n] = np.arange(n) - np.repeat(np.where(k[start] > 0, start - shared, 0), length)
        inside = k[1:] == k[:-1]
        follows[i, :n - 1][inside] = x[1:][inside]
        size = np.bincount(k, answer)[k[1:]]
        weight[i, :n - 1] = np.where(inside & answer[1:], np.maximum(size, 1) ** -0.5, 0) * np.where(x[:-1] == opens, 3, 1)
    return tuple(map(torch.from_numpy, (ids, position, branch, follows, weight)))


def evaluate(torch, cfg, p, table, sets):
    """Loss on answers, and the share of answers that greedy decoding gets exactly right, per split and task.

    Under teacher forcing an answer whose every token is the argmax is the answer that greedy decoding gives.
    """
    out = {}
    with torch.no_grad():
        for name, rows in sets.items():
            loss = count = exact = 0
            for group in batches(rows, 8192, random.Random(0)):
                x, position, branch, y, weight = pad(torch, [rows[i] for i in group])
                h = hidden(torch, cfg, p, table, x, position, branch)
                answer = weight > 0
                logits = (h[answer] @ table.to(h.dtype).T).float()
                gold = y[answer]
                loss += torch.nn.functional.cross_entropy(logits, gold, reduction="sum").item()
                count += len(gold)
                wrong = torch.zeros(x.shape[0])
                which = answer.nonzero()[:, 0]
                wrong.index_add_(0, which, (logits.argmax(-1) != gold).float())
                exact += int((wrong == 0).sum())
            out[name] = (round(loss / count, 4), round(exact / len(rows), 3))
    return out


def fit(a):
    import torch

    from step import Step

    torch.set_num_threads(a.threads)
    work = pathlib.Path(a.work)
    tok = tokens.load()
    tw = twins(tok)
    cfg = {**CONFIG, "seed": a.seed}
    for key in ("width", "layers", "heads", "kv_heads", "ff"):
        if getattr(a, key):
            cfg[key] = getattr(a, key)
    p = build(torch, cfg, tw)
    matrices = [k for k, v in p.items() if v.ndim == 2 and not k.startswith("embed.")]
    others = [k for k in p if k not in matrices]
    state = {k: [torch.zeros_like(v) for _ in range(1 if k in matrices else 2)] for k, v in p.items()}
    step, seen, shard, cursor, spent, decay_from = 0, 0, 0, 0, 0.0, a.decay_from
    ckpt = work / f"{a.name}.pt"
    mean = None
    if ckpt.exists():
        c = torch.load(ckpt, weights_only=False)
        for k in p:
            p[k].data.copy_(c["p"][k])
        mean = c.get("mean", mean)
        state, step, seen, shard, cursor, spent, decay_from = c["state"], c["step"], c["seen"], c["shard"], c["cursor"], c["spent"], c["decay_from"]
    elif a.from_gguf:
        from_gguf(torch, a.from_gguf, p, tw)
    if a.skip_to is not None:
        shard, cursor = a.skip_to, 0
    print(f"{sum(v.numel() for k, v in p.items() if not k.startswith('embed.s') and not k.startswith('embed.f')) / 1e6:.2f} M parameters as exported, from step {step}", flush=True)
    sets = {}
    for split in EVAL_SPLITS:
        for task in ("extract", "answer", "tool"):
            g = corpus.Generator("eval-curve", split)
            sets[f"{split}/{task}"] = tokenise(tok, [getattr(g, task)() for _ in range(a.eval_size)])

    def save():
        torch.save({"cfg": cfg, "p": {k: v.data for k, v in p.items()}, "mean": mean, "state": state, "step": step, "seen": seen, "shard": shard, "cursor": cursor, "spent": spent, "decay_from": decay_from}, work / "saving.pt")
        os.replace(work / "saving.pt", ckpt)

    started = time.time()

    def lr_scale():
        up = min(1.0, (step + 1) / a.warmup)
        if a.decay_until:
            return up * max(0.0, (a.decay_until - time.time()) / (a.decay_until - started))
        if decay_from is None:
            return up
        # Up to there the rate is whole, and not more.
        return up * min(1.0, max(0.0, 1 - (step - decay_from) / a.decay_steps))

    log = open(work / f"{a.name}.log", "a")
    log.write(json.dumps({"start": step, "arguments": vars(a)}) + "\n")
    log.flush()
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    one_step = Step(cfg, work)
    torch.manual_seed(a.seed + step)
    last_save, window, since, began = time.time(), [], time.time(), seen
    while True:
        path = work / f"shard-{shard:03}.npz"
        if not path.exists():
            shards = sorted(work.glob("shard-*.npz"))
            path = shards[shard % len(shards)]
        rows = load_shard(path)
        plan = batches(rows, a.batch, random.Random(f"{a.seed}/{shard}"))
        while cursor < len(plan):
            t0 = time.time()
            if decay_from is None and (work / "decay").exists():
                decay_from = step
                started, a.decay_until = time.time(), float((work / "decay").read_text() or 0) or a.decay_until
                print(f"decay from step {step}", flush=True)
            batch = pad(torch, [rows[i] for i in plan[cursor]])
            with torch.no_grad():
                la, lp, dtable = one_step(p, embedding(p, tw), batch, a.prompt_share, a.prompt_weight)
                p["embed.own"].grad = dtable
                p["embed.shared"].grad = torch.zeros_like(p["embed.shared"]).index_add_(0, tw[0], dtable)
                p["embed.feature"].grad = torch.zeros_like(p["embed.feature"]).index_add_(0, tw[1], dtable)
                s = lr_scale()
                for k in matrices:
                    g, m = p[k].grad, state[k][0]
                    m.mul_(0.95).add_(g)
                    u = orthogonal(torch, g.add(m, alpha=0.95))
                    p[k].mul_(1 - a.muon_lr * s * a.weight_decay)
                    p[k].add_(u, alpha=-a.muon_lr * s * max(1, u.shape[0] / u.shape[1]) ** 0.5)
                    p[k].grad = None
                torch._fused_adam_([p[k] for k in others], [p[k].grad for k in others], [state[k][0] for k in others], [state[k][1] for k in others], [], [torch.tensor(step + 1.0) for _ in others],
                                   lr=a.adam_lr * s, beta1=0.9, beta2=0.98, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False)
            if mean is None:
                mean = {k: v.data.clone() for k, v in p.items()}
            torch._foreach_lerp_(list(mean.values()), [v.data for v in p.values()], 1 / (1 + min(a.mean_over, step / 6)))
            seen += int((batch[3] >= 0).sum())
            step += 1
            cursor += 1
            spent += min(time.time() - t0, 60.0)
            window.append((la, lp))
            if step % 20 == 0:
                la_, lp_ = np.mean(window, 0)
                print(f"step {step} tokens {seen / 1e6:.2f}M answer {la_:.3f} prompt {lp_:.3f} {(seen - began) / (time.time() - since):.0f} tok/s", flush=True)
                window, since, began = [], time.time(), seen
            done = (decay_from is not None and step - decay_from >= a.decay_steps) or (a.steps and step >= a.steps) or (a.decay_until and time.time() >= a.decay_until)
            if step % a.eval_every == 0 or done:
                with torch.no_grad():
                    result = evaluate(torch, cfg, p, embedding(p, tw), sets)
                    if mean:
                        result |= {f"mean {k}": v for k, v in evaluate(torch, cfg, mean, embedding(mean, tw), sets).items()}
                log.write(json.dumps({"step": step, "tokens": seen, "seconds": round(spent), "lr": round(s, 3), "loss": round(la, 4), "eval": result}) + "\n")
                log.flush()
                print("eval " + " ".join(f"{k}={v[0]:.3f}/{v[1]:.2f}" for k, v in result.items()), flush=True)
                since, began = time.time(), seen
            if done or asked_to_end or time.time() - last_save > 150:
                save()
                last_save = time.time()
            if done or asked_to_end:
                print(f"ended after step {step}", flush=True)
                return
        shard, cursor = shard + 1, 0


def main():
    q = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    q.add_argument("verb", choices=["prepare", "fit"])
    q.add_argument("--work", default=str(pathlib.Path.home() / ".cache/tally/nano"))
    q.add_argument("--seed", type=int, default=1)
    q.add_argument("--shards", type=int, default=8)
    q.add_argument("--first-shard", type=int, default=0)
    q.add_argument("--new-tokenizer", action="store_true")
    q.add_argument("--name", default="nano")
    q.add_argument("--threads", type=int, default=2)
    q.add_argument("--batch", type=int, default=4096, help="padded tokens in a step")
    q.add_argument("--steps", type=int, default=0)
    q.add_argument("--warmup", type=int, default=60)
    q.add_argument("--decay-from", type=int)
    q.add_argument("--decay-steps", type=int, default=500)
    q.add_argument("--decay-until", type=float, help="decay from the start of this call to this time (seconds since 1970)")
    q.add_argument("--skip-to", type=int, help="leave the current shard and go on with this one")
    q.add_argument("--from-gguf", help="without a checkpoint, start from the weights of this exported model")
    q.add_argument("--muon-lr", type=float, default=0.02)
    q.add_argument("--adam-lr", type=float, default=0.004)
    q.add_argument("--weight-decay", type=float, default=0.02)
    q.add_argument("--prompt-share", type=float, default=0.3)
    q.add_argument("--prompt-weight", type=float, default=0.3)
    q.add_argument("--mean-over", type=int, default=400, help="steps over which the running mean of the weights, which ships, reaches back, at most")
    q.add_argument("--eval-every", type=int, default=200)
    q.add_argument("--eval-size", type=int, default=64)
    for key in ("width", "layers", "heads", "kv_heads", "ff"):
        q.add_argument("--" + key.replace("_", "-"), type=int)
    a = q.parse_args()
    prepare(a) if a.verb == "prepare" else fit(a)


if __name__ == "__main__":
    main()
