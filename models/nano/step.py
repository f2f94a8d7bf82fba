"""Loss and gradients of one training step, written out, for a CPU with bfloat16 products.

PyTorch's own backward pass spends three quarters of its time in small operations. Here the matrix products are
PyTorch's and everything between them is one pass each in kernels.cpp, which g++ builds once. `train.hidden` is the same
network in plain PyTorch; `python step.py` compares loss and gradients of the two.
"""

import ctypes
import hashlib
import os
import pathlib
import subprocess

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
BF = torch.bfloat16


def library(folder):
    """Builds kernels.cpp, if it is not built yet, and loads it."""
    source = HERE / "kernels.cpp"
    out = pathlib.Path(folder) / f"kernels-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if not out.exists():
        subprocess.run(["g++", "-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-shared", "-fPIC", source, "-o", f"{out}.new", "-lmvec", "-lm"], check=True)
        os.replace(f"{out}.new", out)
    return ctypes.CDLL(str(out))


class Step:
    """`Step(cfg, folder)(p, table, batch, prompt_share, prompt_weight)` adds gradients to p and gives the losses."""

    def __init__(self, cfg, folder):
        self.cfg, self.lib = cfg, library(folder)
        assert cfg["width"] == 64 * cfg["heads"], "kernels.cpp knows heads of 64"

    def call(self, name, *args):
        put = lambda a: ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_float(a) if isinstance(a, float) else ctypes.c_int64(a)
        assert all(a.is_contiguous() for a in args if isinstance(a, torch.Tensor))
        getattr(self.lib, name)(*map(put, args))

    def norm(self, x, gain):
        y, inv = torch.empty_like(x), torch.empty(len(x))
        self.call("rms_forward", x, gain, y, inv, len(x), x.shape[1], self.cfg["eps"])
        return y, inv

    def norm_back(self, dy, x, gain, inv, dx):
        grad = torch.zeros_like(gain)
        self.call("rms_backward", dy, x, gain.detach(), inv, dx, grad, len(x), x.shape[1])
        return grad

    @torch.no_grad()
    def __call__(self, p, table, batch, prompt_share, prompt_weight):
        cfg, call = self.cfg, self.call
        ids, position, branch, follows, weight = batch
        b, t = ids.shape
        n, d, heads, kv, ff = b * t, cfg["width"], cfg["heads"], cfg["kv_heads"], cfg["ff"]
        inv = cfg["rope_base"] ** (-torch.arange(0, 64, 2, dtype=torch.float32) / 64)
        angle = position.reshape(-1, 1).float() * inv
        cos, sin = angle.cos(), angle.sin()
        k_ = branch.numpy()
        shared = torch.from_numpy((np.cumsum(k_ != 0, 1) == 0).sum(1).astype(np.int32))
        change = np.concatenate([np.ones((b, 1), bool), k_[:, 1:] != k_[:, :-1]], 1)
        start = torch.from_numpy(np.maximum.accumulate(np.where(change, np.arange(t), 0), 1).astype(np.int32))

        follows, weight = follows.reshape(-1), weight.reshape(-1)
        answer = weight > 0
        prompt = (follows >= 0) & ~answer & (torch.rand(n) < prompt_share)
        weight = weight / weight.sum() + prompt * (prompt_weight / max(1, int(prompt.sum())))
        some = (answer | prompt).nonzero()[:, 0]

        low = table.to(BF)
        x = low[ids.reshape(-1)]
        kept = []
        for i in range(cfg["layers"]):
            w = {"qkv": torch.cat([p[f"{i}.{m}"] for m in "qkv"]).to(BF), "o": p[f"{i}.o"].to(BF), "gu": torch.cat([p[f"{i}.gate"], p[f"{i}.up"]]).to(BF), "down": p[f"{i}.down"].to(BF)}
            h, r = self.norm(x, p[f"{i}.attn_norm"])
            qkv = h @ w["qkv"].T
            q, k, v = torch.empty(b, heads, t, 64, dtype=BF), torch.empty(b, kv, t, 64, dtype=BF), torch.empty(b, kv, t, 64, dtype=BF)
            call("split_heads", qkv, cos, sin, q, k, v, b, t, heads, kv)
            q, k, v = q.view(b * kv, -1, 64), k.view(b * kv, t, 64), v.view(b * kv, t, 64)
            s = torch.bmm(q, k.transpose(1, 2))
            call("softmax_forward", s, shared, start, b, t, heads, 64 ** -0.5)
            y = torch.empty(n, d, dtype=BF)
            call("heads_to_rows", torch.bmm(s, v), y, b, t, heads, 0)
            mid = x + y @ w["o"].T
            if i == cfg["layers"] - 1:  # from here on only what is learnt counts
                mid = mid[some]
            h2, r2 = self.norm(mid, p[f"{i}.ffn_norm"])
            gu = h2 @ w["gu"].T
            act = torch.empty(len(mid), ff, dtype=BF)
            call("swiglu_forward", gu, act, len(mid), ff)
            kept.append((x, h, r, q, k, v, s, y, mid, h2, r2, gu, act, w))
            x = mid + act @ w["down"].T
        out, r_out = self.norm(x, p["out_norm"])

        z = out @ low.T
        losses = torch.empty(len(some))
        call("cross_entropy", z, follows[some], weight[some].contiguous(), losses, len(some), len(low))
        is_answer = answer[some]
        loss_answer, loss_prompt = (losses * weight[some])[is_answer].sum().item(), losses[~is_answer].mean().item() if len(some) > is_answer.sum() else 0.0

        dtable = (z.T @ out).float()
        grads = {}
        dx = torch.zeros_like(x)
        grads["out_norm"] = self.norm_back(z @ low, x, p["out_norm"], r_out, dx)
        for i in reversed(range(cfg["layers"])):
            x, h, r, q, k, v, s, y, mid, h2, r2, gu, act, w = kept.pop()
            grads[f"{i}.down"] = dx.T @ act
            dact = dx @ w["down"]
            call("swiglu_backward", gu, dact, len(mid), ff)
            g = gu.T @ h2
            grads[f"{i}.gate"], grads[f"{i}.up"] = g[:ff], g[ff:]
            grads[f"{i}.ffn_norm"] = self.norm_back(gu @ w["gu"], mid, p[f"{i}.ffn_norm"], r2, dx)
            if i == cfg["layers"] - 1:
                dx = torch.zeros_like(x).index_copy_(0, some, dx)
            grads[f"{i}.o"] = dx.T @ y
            dy = torch.empty(b, heads, t, 64, dtype=BF)
            call("heads_to_rows", dx @ w["o"], dy, b, t, heads, 1)
            dy = dy.view(b * kv, -1, 64)
            dv = torch.bmm(s.transpose(1, 2), dy)
            ds = torch.bmm(dy, v.transpose(1, 2))
            call("softmax_backward", ds, s, b * heads * t, t, 64 ** -0.5)
            dqkv = torch.empty(n, (heads + 2 * kv) * 64, dtype=BF)
            call("join_heads", dqkv, cos, sin, torch.bmm(ds, k), torch.bmm(ds.transpose(1, 2), q), dv, b, t, heads, kv)
            g = dqkv.T @ h
            grads[f"{i}.q"], grads[f"{i}.k"], grads[f"{i}.v"] = g[:d], g[d:d + kv * 64], g[d + kv * 64:]
            grads[f"{i}.attn_norm"] = self.norm_back(dqkv @ w["qkv"], x, p[f"{i}.attn_norm"], r, dx)
        call("scatter_add", dtable, ids.reshape(-1).contiguous(), dx, n, d)
        for name, g in grads.items():
            p[name].grad = g.float()
        return loss_answer, loss_prompt, dtable


def check():
    import tempfile

    import corpus
    import tokens
    import train

    torch.set_num_threads(1)
    tok = tokens.load()
    tw, cfg = train.twins(tok), {**train.CONFIG, "seed": 1}
    p = train.build(torch, cfg, tw)
    g = corpus.Generator("step", "train")
    rows = train.tokenise(tok, [g.answers(), g.tools(), g.dense(), g.extract()])
    batch = train.pad(torch, rows)
    ids, position, branch, follows, weight = batch
    table = train.embedding(p, tw)
    h = train.hidden(torch, cfg, p, table, ids, position, branch)
    answer = weight > 0
    loss = (torch.nn.functional.cross_entropy((h[answer] @ table.to(BF).T).float(), follows[answer], reduction="none") * weight[answer]).sum() / weight.sum()
    loss.backward()
    with tempfile.TemporaryDirectory() as folder:
        want = {k: v.grad for k, v in p.items()}
        got, _, dtable = Step(cfg, folder)(p, table.detach(), batch, 0.0, 0.0)
        worst = min((float(torch.nn.functional.cosine_similarity(want[k].flatten(), (dtable if k == "embed.own" else p[k].grad).flatten(), 0)), k) for k in p if k not in ("embed.shared", "embed.feature"))
    print(f"loss {got:.5f}, plain PyTorch {loss.item():.5f}; least cosine of a gradient {worst[0]:.5f} ({worst[1]})")
    if abs(got - loss.item()) > 0.01 or worst[0] < 0.99:
        raise SystemExit("the step differs from the network")


if __name__ == "__main__":
    check()
