"""Trains all-MiniLM-L6-v2 to read a question and a turn together, and to say how well the one answers the other.

    python rank.py WHEEL OUT.safetensors [--epochs N] [--start FILE.safetensors]

reads `dialogues/*.txt`, as `tune.py` does, and learns a low-rank addition to every matrix of the six layers, the head, and a
vector that makes the head's state a number. What is read is what search gives a reranking model (`docs/recall.md`): the
question, then the end of the turn before and the turn. A question's wrong answers are those that `recall.safetensors` finds
near it among all that its two people said.
"""

import argparse
import math
import pathlib
import random
import re
import time

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F

import tune

HERE = pathlib.Path(__file__).parent
BF = torch.bfloat16
BEFORE = 160  # bytes of the turn before
LONGEST = 160


def passage(turns, k):
    """As `Index::passage` makes it."""
    before = turns[k - 1].encode()[-BEFORE:].decode(errors="ignore") if k else ""
    if k and len(turns[k - 1].encode()) > BEFORE:
        before = re.split(r"\s", before, maxsplit=1)[-1]
    return f"{before}\n{turns[k]}" if before else turns[k]


class Ranker(tune.Net):
    def __init__(self, wheel, rank, seed, scale=1.0):
        super().__init__(wheel, rank, seed)
        self.scale = scale
        h = self.config["hidden_size"]
        g = torch.Generator().manual_seed(seed + 1)
        self.head = {"dense.weight": torch.eye(h).requires_grad_(), "dense.bias": torch.zeros(h).requires_grad_(), "out.weight": (torch.randn(1, h, generator=g) * 0.02).requires_grad_(), "out.bias": torch.zeros(1).requires_grad_()}
        self.half = {k: v.to(BF) for k, v in self.t.items()}

    def pair(self, question, text):
        a, b = self.ids(question), self.ids(text)
        return (a + b[1:])[:LONGEST]

    def ids(self, text):
        if text not in self.cache:
            self.cache[text] = self.tokenizer.encode(text).ids
        return self.cache[text]

    def score(self, pairs, drop=0.0):
        """A number for each (question, passage)."""
        rows = [self.pair(*p) for p in pairs]
        length = max(map(len, rows))
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        heads, d = self.config["num_attention_heads"], self.config["hidden_size"]
        n, t = len(rows), self.half

        def lin(x, i, place):
            name = f"encoder.layer.{i}.{place}"
            y = F.linear(x, t[name + ".weight"], t[name + ".bias"])
            return y + F.linear(F.linear(F.dropout(x, drop, drop > 0), self.lora[f"{i}.{place}.a"].to(BF)), self.lora[f"{i}.{place}.b"].to(BF))

        norm = lambda x, name: F.layer_norm(x, x.shape[-1:], t[name + ".weight"], t[name + ".bias"], 1e-12)
        x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][:length] + t["embeddings.token_type_embeddings.weight"][0]
        x = norm(x, "embeddings.LayerNorm")
        bias = ((mask - 1)[:, None, None, :] * 1e9).to(BF)
        last = self.config["num_hidden_layers"] - 1
        for i in range(last + 1):
            split = lambda y: y.view(n, -1, heads, d // heads).transpose(1, 2)
            k, v = (split(lin(x, i, "attention.self." + part)) for part in ("key", "value"))
            if i == last:  # only the first token is read
                x = x[:, :1]
            q = split(lin(x, i, "attention.self.query"))
            w = (q @ k.transpose(-1, -2) * (d // heads) ** -0.5 + bias).softmax(-1)
            y = lin((w @ v).transpose(1, 2).reshape(n, -1, d), i, "attention.output.dense")
            x = norm(x + y, f"encoder.layer.{i}.attention.output.LayerNorm")
            x = norm(x + lin(F.gelu(lin(x, i, "intermediate.dense")), i, "output.dense"), f"encoder.layer.{i}.output.LayerNorm")
        h = self.head
        state = torch.tanh(F.linear(x[:, 0].float(), h["dense.weight"], h["dense.bias"]))
        return F.linear(state, h["out.weight"], h["out.bias"])[:, 0]

    def parameters(self):
        return {**self.lora, **{f"head.{k}": v for k, v in self.head.items()}}


def near(wheel, pairs, own, count):
    """For each pair of people, [(question, {answers}, the `count` nearest others, best first)], by `recall.safetensors`."""
    net = tune.Net(wheel, 16, 1)
    for k, v in safetensors.numpy.load_file(own).items():
        net.lora[k] = torch.from_numpy(v.astype(np.float32))
    out = []
    for (_, a, b), told in pairs:
        docs = [turn for turns, _ in told for turn in turns]
        dv = tune.batched(net, docs)
        S = torch.stack([d[0] for d in dv])
        pad = max(len(d[1]) for d in dv)
        T = torch.stack([F.pad(d[1], (0, 0, 0, pad - len(d[1]))) for d in dv])
        M = torch.stack([F.pad(torch.ones(len(d[1])), (0, pad - len(d[1]))) for d in dv])
        found, at = [], 0
        for turns, asked in told:
            good = [{at + g for g in goods} for _, goods in asked]
            for (q, _), goods, (s, t) in zip(asked, good, tune.batched(net, [tune.without_names(q, (a, b)) for q, _ in asked]) if asked else []):
                with torch.no_grad():
                    one, two = S @ s, tune.own(tune.match(t[None], torch.ones(1, len(t)), T, M), torch.ones(1, len(t)))[0]
                z = lambda v: (v - v.mean()) / v.std()
                score = z(one) + z(two)
                order = [k for k in score.argsort(descending=True).tolist() if k not in goods]
                found.append((q, goods, order[:count], score))
            at += len(turns)
        out.append((docs, [passage(turns, k) for turns, _ in told for k in range(len(turns))], found))
    return out


def evaluate(net, sets, top=30):
    """Recall@5 and @10 among the turns of each two people: by the search model, by this one among its best `top`, by both."""
    hits, n = np.zeros((3, 2)), 0
    with torch.no_grad():
        for _, passages, found in sets:
            for q, good, _, score in found:
                order = score.argsort(descending=True)[:top]
                mine = net.score([(q, passages[k]) for k in order.tolist()])
                a, b = score[order], mine
                unit = lambda v: (v - v.min()) / (v.max() - v.min() + 1e-9)
                for row, value in enumerate((a, b, unit(a) + unit(b))):
                    best = order[value.argsort(descending=True)].tolist()
                    for col, k in enumerate((5, 10)):
                        hits[row, col] += len(set(best[:k]) & good) / len(good)
                n += 1
    return {name: [round(float(x) / n, 4) for x in row] for name, row in zip(("search", "rank", "both"), hits)}, n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("wheel")
    p.add_argument("out")
    p.add_argument("--data", default=str(HERE / "dialogues"))
    p.add_argument("--own", default=str(HERE / "recall.safetensors"))
    p.add_argument("--start", help="go on from this file")
    p.add_argument("--epochs", type=float, default=2)
    p.add_argument("--rank", type=int, default=32)
    p.add_argument("--lr", type=float, default=6e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--wrong", type=int, default=6, help="wrong answers beside each right one")
    p.add_argument("--together", type=int, default=8, help="questions in a step")
    p.add_argument("--held-out", type=int, default=8, help="one pair in so many is not trained on")
    p.add_argument("--drop", type=float, default=0.05)
    p.add_argument("--until", type=float, help="end the schedule at this time (seconds since 1970) instead of by --epochs")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    r = random.Random(a.seed)
    everything = sorted(tune.sessions(a.data).items())
    dev = [x for k, x in enumerate(everything) if k % a.held_out == a.held_out // 2] if a.held_out else []
    train = [x for x in everything if x not in dev]
    net = Ranker(a.wheel, a.rank, a.seed)
    if a.start:
        for k, v in safetensors.numpy.load_file(a.start).items():
            net.parameters()[k].data.copy_(torch.from_numpy(v.astype(np.float32)))
    began = time.time()
    sets, dev = near(a.wheel, train, a.own, 30), near(a.wheel, dev, a.own, 30)
    asked = [(s, k) for s in range(len(sets)) for k in range(len(sets[s][2]))]
    print(f"{len(train)} pairs, {len(asked)} questions; {sum(v.numel() for v in net.parameters().values())} numbers learnt; {time.time() - began:.0f} s to find wrong answers", flush=True)
    print("before", *evaluate(net, dev[:6]), flush=True)
    values = list(net.parameters().values())
    optimizer = torch.optim.AdamW(values, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.01)
    steps, step, started, window = int(a.epochs * len(asked) / a.together), 0, time.time(), []
    done = lambda: (time.time() - started) / (a.until - started) if a.until else step / steps

    def save():
        safetensors.numpy.save_file({k: v.detach().numpy().astype(np.float16) for k, v in net.parameters().items()}, a.out)

    while done() < 1:
        r.shuffle(asked)
        for lo in range(0, len(asked) - a.together + 1, a.together):
            if done() >= 1:
                break
            groups = []
            for s, k in asked[lo:lo + a.together]:
                _, passages, found = sets[s]
                q, good, wrong, _ = found[k]
                # The nearest wrong ones more often than those further off.
                weights = [1 / (5 + i) for i in range(len(wrong))]
                chosen = set()
                while len(chosen) < min(a.wrong, len(wrong)):
                    chosen.add(r.choices(wrong, weights)[0])
                groups.append([(q, passages[r.choice(sorted(good))])] + [(q, passages[w]) for w in sorted(chosen)])
            flat = [p for g in groups for p in g]
            # By length, in parts, so that little is padding.
            order = sorted(range(len(flat)), key=lambda i: len(net.pair(*flat[i])))
            scores = torch.empty(len(flat))
            parts = [order[i:i + 14] for i in range(0, len(order), 14)]
            got = [net.score([flat[i] for i in part], a.drop) for part in parts]
            scores = torch.cat(got)[torch.tensor([i for part in parts for i in part]).argsort()]
            loss, at = 0.0, 0
            for g in groups:
                loss = loss - F.log_softmax(scores[at:at + len(g)], 0)[0] / len(groups)
                at += len(g)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(values, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = a.lr * min(1.0, (step + 1) / 50) * max(0.0, 1 - done())
            optimizer.step()
            step += 1
            window.append(loss.item())
            if step % 25 == 0:
                print(f"step {step} {done():.3f} loss {np.mean(window):.3f} {time.time() - started:.0f}s", flush=True)
                window = []
            if step % 200 == 0:
                print("held out", step, *evaluate(net, dev[:6]), flush=True)
                save()
    print("after", step, *evaluate(net, dev), flush=True)
    save()


if __name__ == "__main__":
    main()
