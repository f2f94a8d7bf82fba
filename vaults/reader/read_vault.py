#!/usr/bin/env python3
"""An independent reader of Tally vaults, written from docs/vault.md alone. It shares no code with the crates.

    read_vault.py VAULT passphrase|phrase|shares|seed [ID]

VAULT is a folder or a portable file; the secret is standard input; ID is the vault's id, if it is known.
Prints one JSON object; exit 0 if the vault was read, 1 if it was refused.
"""
import hashlib
import hmac
import json
import pathlib
import struct
import sys
import unicodedata
from collections import defaultdict
from functools import reduce
from types import SimpleNamespace as Fields

import argon2.low_level as argon2
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from mnemonic import Mnemonic
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as xchacha_open
from nacl.exceptions import CryptoError

ROOT, CONTROL, ALL = bytes(32), bytes(16), b"\xff" * 16
READ, APPEND, CURATE, ADMIN = 2, 3, 4, 5
TARGETS = {1: (0, 0), 2: (1, 64), 3: (1, 64), 4: (1, 64), 16: (0, 0), 17: (1, 1), 18: (0, 0), 19: (0, 0)}
STATUS = ["void", "valid", "superseded", "retracted", "redacted"]
CHUNK, BOX_PLAIN = 65536, 4 << 20
BOX_LEN = 2 + 65535 * 40 + 57 + BOX_PLAIN + BOX_PLAIN // CHUNK * 16
P = 2**255 - 19
Y8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL = {0, 1, P - 1, Y8, P - Y8}  # y of the points of order 1, 2, 4 and 8
u = lambda length, value: value.to_bytes(length, "big")
ascending = lambda items: all(a < b for a, b in zip(items, items[1:]))


class Refused(Exception):
    """What is not used, with the word that says why."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def attempt(why, call, *arguments):
    try:
        return call(*arguments)
    except (CryptoError, InvalidSignature, InvalidTag, ValueError, LookupError):
        raise Refused(why) from None


def X(purpose, message, length=32):
    return blake3(message, derive_key_context="tally vault v1 2026-11-21 " + purpose).digest(length=length)


def verify(key, purpose, message, signature):
    signed = b"tally vault v1 " + purpose.encode() + b"\0" + X(purpose, message)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        return not any((int.from_bytes(p, "little") & (2**255 - 1)) % P in SMALL for p in (key, signature[:32]))
    except (InvalidSignature, ValueError):
        return False


def hpke_open(secret, encapsulated, info, associated, sealed):
    """RFC 9180, base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305."""
    mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()
    extract = lambda suite, salt, label, ikm: mac(salt, b"HPKE-v1" + suite + label + ikm)
    expand = lambda suite, prk, label, info, n: mac(prk, u(2, n) + b"HPKE-v1" + suite + label + info + b"\1")[:n]
    kem, suite, none = b"KEM\0\x20", b"HPKE\0\x20\0\x01\0\x03", bytes(32)
    shared = extract(kem, none, b"eae_prk", secret.exchange(X25519PublicKey.from_public_bytes(encapsulated)))
    shared = expand(kem, shared, b"shared_secret", encapsulated + secret.public_key().public_bytes_raw(), 32)
    context = b"\0" + extract(suite, none, b"psk_id_hash", b"") + extract(suite, none, b"info_hash", info)
    prk = extract(suite, shared, b"secret", b"")
    key, nonce = (expand(suite, prk, label, context, n) for label, n in ((b"key", 32), (b"base_nonce", 12)))
    return ChaCha20Poly1305(key).decrypt(nonce, sealed, associated)


def padded(length):
    exponent = max(length, 256).bit_length() - 1
    return -(-max(length, 256) >> (low := exponent - exponent.bit_length())) << low


def blob_file(length):
    return 32 + padded(length) + -(-padded(length) // CHUNK) * 16


def open_chunks(okm, data, why):
    """The chunks behind a commitment; okm is key, nonce prefix and commitment."""
    need(hmac.compare_digest(data[:32], okm[48:]), why)
    chunks = [data[at:at + CHUNK + 16] for at in range(32, len(data), CHUNK + 16)]
    need(chunks and len(chunks[-1]) > 16, why)
    nonce = lambda n: okm[32:48] + u(7, n) + bytes([n == len(chunks) - 1])
    return b"".join(attempt(why, xchacha_open, chunk, b"", nonce(n), okm[:32]) for n, chunk in enumerate(chunks))


class Cursor:
    def __init__(self, data, why):
        self.data, self.at, self.why = data, 0, why

    def take(self, length=None):
        start, self.at = self.at, len(self.data) if length is None else self.at + length
        need(self.at <= len(self.data), self.why)
        return self.data[start:self.at]

    def read(self, shape):
        return struct.unpack(">" + shape, self.take(struct.calcsize(">" + shape)))

    def fields(self, fields):
        """Fields written as name:shape."""
        names, shapes = zip(*(field.split(":") for field in fields.split()))
        return Fields(**dict(zip(names, self.read("".join(shapes)))))

    def list(self, count, shape):
        """A list, its length first, ascending by the first field of its items."""
        items = [self.read(shape) for _ in range(*self.read(count))]
        need(ascending([item[0] for item in items]), self.why)
        return items

    def end(self):
        need(self.at == len(self.data), self.why)


def read_card(data, why):
    card = Cursor(data, why).fields("kind:B sign:32s receive:32s cross:64s")
    need(card.kind < 5 and int.from_bytes(card.sign, "little") & (2**255 - 1) < P, why)
    need(verify(card.sign, "card", data[:65], card.cross), why)
    need(int.from_bytes(card.receive, "little") < P, why)
    attempt(why, X25519PrivateKey.generate().exchange, X25519PublicKey.from_public_bytes(card.receive))  # small order
    return card


def identity(seed):
    receiving = X25519PrivateKey.from_private_bytes(X("receive seed", seed))
    signing = Ed25519PrivateKey.from_private_bytes(X("sign seed", seed)).public_key()
    return Fields(secret=receiving, names=(signing.public_bytes_raw(), receiving.public_key().public_bytes_raw()))


def read_genesis(data):
    c = Cursor(data, "genesis.damaged")
    g = c.fields("magic:8s version:H suite:H random:32s created:Q card:129s signature:64s")
    c.end()
    need(g.magic == b"TALLYVLT", c.why)
    need((g.version, g.suite) == (1, 1), "genesis.version")
    g.card, g.id = read_card(g.card, c.why), X("vault id", data)
    need(g.card.kind == 0, c.why)
    need(verify(g.card.sign, "genesis", data[:181], g.signature), c.why)
    return g


def read_slot(data, vault):
    c = Cursor(data, "slot.damaged")
    s = c.fields("magic:8s version:H vault:32s card:129s memory:I passes:I lanes:I salt:16s nonce:24s sealed:48s"
                 " signature:64s")
    c.end()
    need((s.magic, s.version, s.vault) == (b"TALLYSLT", 1, vault) and s.memory * s.passes <= 6291456, c.why)
    need(65536 <= s.memory <= 2097152 and 2 <= s.passes <= 16 and 1 <= s.lanes <= 8, c.why)
    s.card, s.head = read_card(s.card, c.why), data[:199]
    need(verify(s.card.sign, "slot", data[:271], s.signature), c.why)
    return s


def open_slot(s, passphrase):
    secret = unicodedata.normalize("NFKC", passphrase).encode()
    kek = argon2.hash_secret_raw(secret, s.salt, s.passes, s.memory, s.lanes, 32, argon2.Type.ID, version=0x13)
    okm = X("slot key", kek + s.head, 64)
    try:
        seed = xchacha_open(s.sealed, okm[32:], s.nonce, okm[:32])
    except CryptoError:
        return None
    return seed if identity(seed).names == (s.card.sign, s.card.receive) else None


def read_phrase(text):
    need(len(text.split()) == 24, "phrase")
    return bytes(attempt("phrase", Mnemonic("english").to_entropy, text.lower().split()))


def read_shares(text, vault):
    """The seed that shares, one in a line, give back."""
    words, shares = Mnemonic("english").wordlist, {}
    for line in filter(str.strip, text.splitlines()):
        need(len(line.split()) == 32, "shares")
        data = u(44, sum(attempt("shares", words.index, w.lower()) << 11 * (31 - n) for n, w in enumerate(line.split())))
        version, start, split, k, index, y, checksum = struct.unpack("B4s2sBB32s3s", data)
        need(version == 1 and 2 <= k <= 32 and 1 <= index <= 32 and checksum == X("share", data[:41], 3), "shares")
        need(start == vault[:4] and shares.setdefault(index, (split, k, y)) == (split, k, y), "shares")
    need(len({share[:2] for share in shares.values()}) == 1 and len(shares) >= k, "shares")
    exp = [1]
    while len(exp) < 255:
        exp.append(exp[-1] << 1 ^ (exp[-1] >> 7) * 0x11D)
    times = lambda a, b: exp[(exp.index(a) + exp.index(b)) % 255] if a and b else 0
    over = lambda a, b: exp[(exp.index(a) - exp.index(b)) % 255] if a else 0

    def at(x, points):
        out = bytes(32)
        for i in points:
            weight = reduce(times, (over(x ^ j, i ^ j) for j in points if j != i))
            out = bytes(a ^ times(weight, b) for a, b in zip(out, shares[i][2]))
        return out

    first = sorted(shares)[:k]
    need(all(at(i, first) == share[2] for i, share in shares.items()), "shares")
    return at(0, first)


def read_keyring(data, vault):
    c = Cursor(data, "keyring.damaged")
    k = c.fields("magic:8s version:H vault:32s namespace:16s number:I commitment:32s")
    need((k.magic, k.version, k.vault) == (b"TALLYKEY", 1, vault) and k.number and k.namespace not in (CONTROL, ALL), c.why)
    k.older, k.stanzas = c.list("B", "32s24s48s"), {s[0]: s[1:] for s in c.list("H", "16s32s112s")}
    c.end()
    need(1 <= len(k.stanzas) <= 4096, c.why)
    k.hash, k.place, k.fits = blake3(data).digest(), vault + k.namespace, (k.namespace, k.number, k.commitment)
    k.recipient = lambda receive: X("recipient", k.place + receive)[:16]
    return k


def open_keyring(k, member):
    """{commitment: key} and the namespace's name; nothing if this member is not among the recipients."""
    if (stanza := k.stanzas.get(k.recipient(member.names[1]))) is None:
        return {}, None
    why, info = "keyring.damaged", b"tally vault v1 wrap\0" + k.place + u(4, k.number) + k.commitment
    text = attempt(why, hpke_open, member.secret, stanza[0], info, member.names[1], stanza[1])
    keys, wrap = {k.commitment: text[:32]}, X("older", text[:32])
    keys |= {old: attempt(why, xchacha_open, sealed, k.place + old, nonce, wrap) for old, nonce, sealed in k.older}
    need(all(X("key commitment", key + k.place) == commitment for commitment, key in keys.items()), why)
    need(text[32] <= 63 and not any(text[33 + text[32]:]), why)
    return keys, attempt(why, text[33:33 + text[32]].decode)


def read_frame(data, vault):
    c = Cursor(data, "frame.damaged")
    magic, flags, length = c.read("BBI")
    need(magic == 0xF1 and flags in (0, 1, 2) and length == len(data) - 6, c.why)
    s = c.fields("vault:32s author:32s counter:Q previous:32s namespace:16s grant:32s key:16s first:Q count:I before:32s"
                 " head:32s time:Q length:I digest:32s signature:64s")
    need(s.vault == vault, "frame.foreign")
    s.signed, s.id, s.control, s.rebox = data[6:294], X("seal", data[6:294]), s.namespace == CONTROL, flags == 1
    need(s.counter and s.first and (s.counter == 1) == (not any(s.previous)), c.why)
    need((s.first == 1) == (not any(s.before)) and s.control == (not any(s.key)) and s.namespace != ALL, c.why)
    need(1 <= s.count <= 65536 and s.first + s.count < 2**64 and 3 <= s.length <= BOX_LEN and not (flags and s.control), c.why)
    if s.rebox:
        r = c.fields("seal:32s packer:32s grant:32s key:16s time:Q length:I digest:32s signature:64s")
        need(r.seal == s.id and any(r.key) and 3 <= r.length <= BOX_LEN, c.why)
        need(verify(r.packer, "rebox", data[358:514], r.signature), "rebox.refused")
        s.key, s.length, s.digest = r.key, r.length, r.digest
    s.box = None if flags == 2 else c.take()
    c.end()
    if s.box is not None:
        c = Cursor(s.box, c.why)
        s.blobs, (form,), s.altered = c.list("H", "32sQ"), c.read("B"), blake3(s.box).digest() != s.digest
        plain = {size: size - 32 - -(-(size - 32) // (CHUNK + 16)) * 16 for _, size in s.blobs}
        need(all(0 < p <= 4 << 30 and padded(p) == p and blob_file(p) == size for size, p in plain.items()), c.why)
        need(len(s.box) == s.length and form == (not s.control) and not (s.control and s.blobs), c.why)
        s.salt, s.text = (b"", c.take(*c.read("I"))) if s.control else (c.take(24), c.take())
        c.end()
    return s


def open_box(s, keys):
    """The operations in a frame's box, if they are what was sealed."""
    why, text = "box.unreadable", s.text
    if not s.control:
        place = s.salt + s.vault + s.namespace + s.author + u(8, s.first) + u(4, s.count)
        need(okms := [X("box", key + place, 80) for key in keys], "box.locked")
        text = open_chunks(next((okm for okm in okms if okm[48:] == text[:32]), okms[0]), text, why)
        length = int.from_bytes(text[:4], "big")
        need(4 + length <= len(text) == padded(4 + length) and not any(text[4 + length:]), why)
        text = text[4:4 + length]
    c, operations, previous, time = Cursor(text, why), [], s.before, -1
    for sequence in range(s.first, s.first + s.count):
        start, earlier, (kind, time, count) = c.at, time, c.read("BQH")
        low, high = TARGETS.get(kind, (1, 0))
        need(low <= count <= high and (kind >= 16) == s.control and time > earlier, why)
        targets = [c.take(32) for _ in range(count)]
        said, (state,), body = c.data[start:c.at], c.read("B"), None
        need(ascending(targets) and state in ((0, 1) if s.rebox else (1,)) and (kind, targets) != (17, [ROOT]), why)
        salt, length = c.read("32sI") if state else (b"", 32)
        data = c.take(length)
        commitment, body = (blake3(data, key=salt).digest(), read_body(kind, data, why)) if state else (data, None)
        name = X("operation", s.vault + s.namespace + s.author + u(8, sequence) + previous + said + commitment)
        operations.append(Fields(author=s.author, namespace=s.namespace, grants={s.grant}, status=0, id=name, kind=kind,
                                 sequence=sequence, previous=previous, time=time, targets=targets, body=body))
        previous = name
    c.end()
    blobs = {(o.body.digest, blob_file(o.body.length)) for o in operations if hasattr(o.body, "digest")}
    need(previous == s.head and time == s.time and blobs == set(s.blobs) and len(text) + 4 <= BOX_PLAIN, why)
    return operations


def read_body(kind, data, why):
    """The fields of a body; every kind has exactly one form."""
    c = Cursor(data, why)
    need(len(data) <= 65536, why)
    if kind in (1, 2):
        flags, length = c.read("BB")
        b = Fields(type=c.take(length).decode("latin-1"), content=None)
        b.run, b.receipt = c.take(32 * (flags & 1)), c.take(16 * (flags & 2))
        need(flags < 8 and 1 <= length <= 64 and set(b.type) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-/+"), why)
        if flags & 4:
            b.key, b.digest, b.length = c.read("32s32sQ")
        else:
            b.content = c.take()
        need(b.length <= 4 << 30 if flags & 4 else len(b.content) <= 49152, why)
    elif kind in (3, 4):
        b = Fields(reason=attempt(why, c.take().decode))
        need(len(data) <= 1024, why)
    elif kind == 16:
        b = c.fields("parent:32s card:129s depth:B expires:Q")
        b.card, b.rights = read_card(b.card, why), dict(c.list("B", "16sB"))
        need(b.card.kind and b.depth < 255 and 1 <= len(b.rights) <= (1 if ALL in b.rights else 64), why)
        need(CONTROL not in b.rights and all(1 <= right <= 5 for right in b.rights.values()), why)
    elif kind == 17:
        b = Fields(logs={space: last for space, *last in c.list("H", "16sQ32s")})
        need(ALL not in b.logs and all(sequence for sequence, _ in b.logs.values()), why)
    elif kind == 18:
        b = c.fields("namespace:16s number:I commitment:32s keyring:32s full:B")
        need(b.namespace not in (CONTROL, ALL) and b.number and b.full < 2, why)
    else:
        b = Fields(heads=c.list("H", "32sQ32s"))
        need(all(counter for _, counter, _ in b.heads), why)
    c.end()
    return b


def files(path):
    """(kind, place, bytes) of a folder or a portable file; the genesis first."""
    if path.is_dir():
        need((path / "VAULT").is_file(), "genesis.missing")
        yield "genesis", "VAULT", (path / "VAULT").read_bytes()
        for name, kind in (("slots", "slot"), ("keys", "keyring"), ("blob", "blob"), ("seg", "frames"), ("tail", "frames")):
            yield from ((kind, f"{name}/{file.name}", file.read_bytes()) for file in sorted((path / name).glob("*")))
        return
    kinds = ["genesis", "slot", "keyring", "frame", "blob"]
    c, sections, tag = Cursor(path.read_bytes(), "file.incomplete"), [], 0
    need(c.take(10) == b"TALLYVEX\0\1", "file.header")
    while tag != 255:
        start, last, (tag, length) = c.at, tag, c.read("BQ")
        section = c.take(length)
        need(tag == 255 or (last <= tag <= 5 and (tag == 1) == (not sections)), "file.damaged")
        sections += [] if tag == 255 else [(kinds[tag - 1], "", section)]
    c.end()
    need(sections and section == blake3(c.data[:start]).digest(), c.why)
    yield from sections


class Vault:
    def __init__(self, path, expected=None):
        self.findings, self.seals, self.slots, self.keyrings, self.blobs = set(), defaultdict(list), [], {}, {}
        self.ops, self.grants, self.rotations, self.keys, self.names = {}, {}, [], defaultdict(dict), {}
        (_, _, genesis), *rest = files(pathlib.Path(path))
        self.genesis = read_genesis(genesis)
        self.id = self.genesis.id
        need(expected in (None, self.id.hex()), "genesis.other")
        for kind, place, data in rest:
            self.trying(place, self.take, kind, place, data)
        self.stand()
        self.load(True)
        self.settle()

    def find(self, code, place):
        self.findings.add((str(code), place.hex() if isinstance(place, bytes) else place))

    def trying(self, place, call, *arguments):
        try:
            return call(*arguments)
        except Refused as refused:
            self.find(refused, place)

    def take(self, kind, place, data):
        name = digest = blake3(data).digest()
        if kind == "slot":
            self.slots.append((place, slot := read_slot(data, self.id)))
            name = slot.card.sign[:8]
        elif kind == "keyring":
            self.keyrings[digest] = read_keyring(data, self.id)
        elif kind == "blob":
            self.blobs[digest] = data
        elif kind == "frame":
            self.seals[(frame := read_frame(data, self.id)).id].append(frame)
        else:
            self.take_frames(place, data)
        if place and not place.startswith("tail/") and place.partition("/")[2].partition(".")[0] != name.hex():
            self.find("file.misnamed", place)

    def take_frames(self, place, data):
        need(data[:10] == b"TALLYSEG\0\1", "file.header")
        at, tail = 10, place.startswith("tail/")
        while at < len(data):
            end = at + 6 + int.from_bytes(data[at + 2:at + 6], "big")
            try:
                frame = read_frame(data[at:end], self.id)
                need(not (tail and end == len(data) and frame.box is not None and frame.altered), "tail.cut")
                self.seals[frame.id].append(frame)
                at = end
            except Refused as refused:  # goes on where the vault's id promises the next seal
                at = following - 6 if (following := data.find(self.id, at + 38)) >= 0 else len(data)
                torn = tail and at == len(data) and str(refused) == "frame.damaged"
                self.find("tail.cut" if torn else refused, place)

    def stand(self):
        """Keeps the seals that stand: signed, or named by a standing successor."""
        vouched, numbers = set(), defaultdict(lambda: defaultdict(set))
        for frames in sorted(self.seals.values(), key=lambda frames: -frames[0].counter):
            seal = frames[0]
            if seal.id not in vouched and not any(verify(f.author, "seal", f.signed, f.signature) for f in frames):
                self.find("seal.forged", seal.author)
                del self.seals[seal.id]
                continue
            numbers[seal.author][seal.counter].add(seal.id)
            if before := self.seals.get(seal.previous):
                fits = (before[0].author, before[0].counter + 1) == (seal.author, seal.counter)
                vouched.add(seal.previous) if fits else self.find("seal.unlinked", seal.author)
        for author, seals in numbers.items():
            if len(seals) < max(seals):
                self.find("seal.gap", author)
            if any(len(ids) > 1 for ids in seals.values()):
                self.find("author.forked", author)

    def load(self, control):
        """Adds to the set what the boxes of control, or of data, hold."""
        for frames in [f for f in self.seals.values() if f[0].control == control]:
            failures, opened = ["box.missing"], False
            for frame in [f for f in frames if f.box is not None]:
                try:
                    need(not frame.altered, "box.altered")
                    keys = [key for name, key in self.keys[frame.namespace].items() if name[:16] == frame.key]
                    for op in open_box(frame, keys):
                        known = self.ops.setdefault(op.id, op)
                        known.grants |= op.grants
                        known.body, opened = known.body or op.body, True
                except Refused as refused:
                    failures.append(str(refused))
            for failure in failures[len(failures) > 1:]:
                if not (opened and failure in ("box.missing", "box.locked")):
                    self.find(failure, frames[0].author)

    def counts(self, op, grant):
        """Whether an operation counts under a grant, its right apart."""
        return (op.author == grant.card.sign and grant.id in op.grants and (not grant.expires or op.time <= grant.expires)
                and all(self.inside(op, logs, cache) for logs, cache in grant.cuts))

    def inside(self, op, logs, cache):
        if op.namespace not in cache:
            ids, (sequence, at) = set(), logs.get(op.namespace, (0, None))
            while (o := self.ops.get(at)) and (o.author, o.namespace, o.sequence) == (op.author, op.namespace, sequence):
                ids.add(at)
                sequence, at = sequence - 1, o.previous
            cache[op.namespace] = ids
        return op.id in cache[op.namespace]

    def settle(self):
        """Control: a walk from the root's grant down."""
        grant = lambda name, above, card, b: Fields(
            id=name, above=above, card=card, depth=b.depth, expires=b.expires, cuts=[],
            right=lambda space: b.rights.get(space, b.rights.get(ALL, 0)))
        queue = [grant(ROOT, [], self.genesis.card, Fields(depth=255, expires=0, rights={ALL: ADMIN}))]
        under, revocations = defaultdict(list), defaultdict(list)
        for op in self.ops.values():
            [under[name].append(op) for name in op.grants]
            [revocations[target].append(op) for target in op.targets]
        for g in queue:
            self.grants[g.id] = g
            above = [op for op in revocations[g.id] if any(self.counts(op, a) for a in g.above)]
            g.cuts = [(op.body.logs, {}) for op in above]
            own = [op for op in revocations[g.id] if self.counts(op, g)]
            g.cuts += [({**op.body.logs, CONTROL: (op.sequence, op.id)}, {}) for op in own]
            for op in [op for op in under[g.id] if op.kind != 17 and self.counts(op, g)]:
                b, permitted = op.body, True
                if op.kind == 16:
                    permitted = (b.parent == g.id and b.depth < g.depth and (b.expires or b.card.kind != 3)
                                 and (not g.expires or 0 < b.expires <= g.expires)
                                 and all(right <= g.right(space) for space, right in b.rights.items()))
                    queue += [grant(op.id, [g, *g.above], b.card, b)] if permitted else []
                elif op.kind == 18:
                    permitted = g.right(b.namespace if b.number > 1 else ALL) == ADMIN
                    self.rotations += [(b, g)] if permitted else []
                else:
                    [self.find("author.withheld", author) for author, _, seal in b.heads if seal not in self.seals]
                op.status |= bool(permitted)
            for op in [*above, *own]:
                op.status = 1
        for place, slot in self.slots:
            if not any(g.card == slot.card for g in self.grants.values()):
                self.find("slot.foreign", place)

    def unlock(self, seed):
        """Opens with a member's seed what that member can read."""
        member, named, marks = identity(seed), set(), defaultdict(lambda: defaultdict(set))
        self.member = member.names[0]
        need(any((g.card.sign, g.card.receive) == member.names for g in self.grants.values()), "not a member")
        for b, grant in sorted(self.rotations, key=lambda rotation: rotation[0].number):
            k, spoiled, given = self.keyrings.get(b.keyring), bool(grant.cuts), {b.commitment}
            if k is None or k.fits != (b.namespace, b.number, b.commitment):
                self.find("keyring.missing", b.keyring)
            else:
                named.add(k.hash)
                readers = [g for g in self.grants.values() if not g.cuts and g.right(b.namespace) >= READ]
                spoiled |= not {k.recipient(g.card.receive) for g in readers} >= set(k.stanzas)
                given |= {old[0] for old in k.older}
                keys, name = self.trying(k.hash, open_keyring, k, member) or ({}, None)
                self.keys[b.namespace] |= keys
                self.names |= {b.namespace: name} if keys else {}
            [marks[b.namespace][commitment].add(spoiled) for commitment in given]
        [self.find("keyring.foreign", name) for name in set(self.keyrings) - named]
        [self.find("key.spoiled", space) for space, keys in marks.items() if all(any(spoiled) for spoiled in keys.values())]
        self.load(False)

    def fold(self):
        """Data: what counts, what became of it, and the hash of that."""
        data = {name: op for name, op in self.ops.items() if op.namespace != CONTROL}
        targets = lambda op: [data[t] for t in op.targets if t in data and data[t].namespace == op.namespace]
        for op in data.values():
            right = APPEND if all(t.author == op.author for t in targets(op)) else CURATE
            granted = [self.grants[name] for name in op.grants if name in self.grants]
            op.status = int(any(self.counts(op, g) and g.right(op.namespace) >= right for g in granted))
        acts = [op for op in data.values() if op.status]
        leads, shredded = {op.id: op.id for op in data.values() if op.kind <= 2}, set()
        lead = lambda name: name if leads[name] == name else lead(leads[name])
        for op, t in [(op, t) for op in acts for t in targets(op)]:
            shredded |= {t.id} if op.kind == 4 else set()
            if t.status and (op.kind == 4 or t.id in leads):
                t.status = max(t.status, op.kind)
            if op.kind == 2 and t.id in leads:
                leads[lead(op.id)] = lead(t.id)
        [self.find("body.missing", op.id) for op in data.values() if op.body is None and op.id not in shredded]
        [self.find("operation.void", op.id) for op in self.ops.values() if not op.status]
        places, records, age = defaultdict(set), defaultdict(list), lambda op: (op.time, op.author, op.id)
        [places[op.author, op.namespace, op.sequence].add(op.id) for op in self.ops.values()]
        [self.find("author.forked", place[0]) for place, names in places.items() if len(names) > 1]
        for op in sorted((op for op in acts if op.id in leads and op.status == 1), key=age, reverse=True):
            records[lead(op.id)].append(op)
        first = {lead(name): name for name in sorted(leads, reverse=True) if data[name].status}
        counted = sorted(op.id + bytes([op.status]) for op in self.ops.values() if op.status)
        return {first[name]: ops for name, ops in records.items()}, blake3(self.id + b"".join(counted)).hexdigest()

    def content(self, b):
        if b.content is not None:
            return b.content
        need(b.digest in self.blobs, "blob.missing")
        plain = open_chunks(X("blob", b.key + self.id, 80), self.blobs[b.digest], "blob.damaged")
        need(len(plain) == padded(b.length) and not any(plain[b.length:]), "blob.damaged")
        return plain[:b.length]

    def report(self):
        records, state = self.fold()
        shown = lambda name, op, *others: {
            "record": name, "id": op.id, "namespace": op.namespace, "author": op.author, "time": op.time,
            "type": op.body and op.body.type, "run": op.body and op.body.run, "receipt": op.body and op.body.receipt,
            "content": op.body and self.trying(op.id, self.content, op.body), "conflicts": [other.id for other in others]}
        return {"vault": self.id, "member": self.member, "state": state,
                "records": [shown(name, *ops) for name, ops in sorted(records.items())],
                "operations": {name.hex(): STATUS[op.status] for name, op in sorted(self.ops.items())},
                "namespaces": {space.hex(): name for space, name in sorted(self.names.items())},
                "findings": [{"code": code, "place": place} for code, place in sorted(self.findings)]}


def read(path, how, secret, expected=None):
    """The report on a vault; `how` says what the secret is: passphrase, phrase, shares or seed."""
    vault = Vault(path, expected)
    if how == "passphrase":
        slots = [slot for place, slot in vault.slots if ("slot.foreign", place) not in vault.findings]
        need(seed := next(filter(None, (open_slot(slot, secret) for slot in slots)), None), "passphrase")
    else:
        parse = {"phrase": read_phrase, "shares": lambda text: read_shares(text, vault.id), "seed": bytes.fromhex}
        seed = attempt(how, parse[how], secret)
    vault.unlock(seed)
    return json.loads(json.dumps(vault.report(), default=bytes.hex))


if __name__ == "__main__":
    try:
        print(json.dumps(read(sys.argv[1], sys.argv[2], sys.stdin.read().rstrip("\n"), *sys.argv[3:]), indent=1))
    except Refused as refused:
        print(json.dumps({"refused": str(refused)}))
        sys.exit(1)
