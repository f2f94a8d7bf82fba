"""An independent reader of the Tally vault format, written from docs/vault.md alone; the docstrings name its sections.

It opens everything that a vault consists of: genesis, slots, phrases and shares, keyrings, frames with their seals and
boxes, operations with their bodies, blobs, segments, tails, portable files. What they say together is read_vault.py's.
"""
import hmac, re, unicodedata
from struct import calcsize, pack, unpack
from types import SimpleNamespace as Fields

import argon2.low_level as argon2
import nacl.bindings as sodium
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from mnemonic import Mnemonic
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as xchacha_open
from nacl.exceptions import CryptoError

ROOT, CONTROL, ALL = bytes(32), bytes(16), b"\xff" * 16
CHUNK, BOX_PLAIN = 65536, 4 << 20
BOX_LEN = 2 + 65535 * 40 + 57 + BOX_PLAIN + BOX_PLAIN // CHUNK * 16
FOLDERS = {"slots": "slot", "keys": "keyring", "blob": "blob", "seg": "frames", "tail": "frames"}
SECTIONS = {1: "genesis", 2: "slot", 3: "keyring", 4: "frame", 5: "blob"}
RECORD, REASON = "flags:B type:B*", "reason:*"
KINDS = {  # of operations: the least and most targets, and the body
    1: (0, 0, RECORD), 2: (1, 64, RECORD), 3: (1, 64, REASON), 4: (1, 64, REASON),
    16: (0, 0, "parent:32s card:129s depth:B expires:Q rights:B*16sB"), 17: (1, 1, "logs:H*16sQ32s"),
    18: (0, 0, "namespace:16s number:I commitment:32s keyring:32s full:B"), 19: (0, 0, "heads:H*32sQ32s")}

class Refused(Exception):
    """What is not used, with the word that says why."""

def need(condition, why):
    if not condition:
        raise Refused(why)

def attempt(why, call, *arguments):
    try:
        return call(*arguments)
    except (CryptoError, ValueError, LookupError):
        raise Refused(why) from None

class Cursor:
    """Reads an encoding, which has exactly one form (Conventions)."""

    def __init__(self, data, why):
        self.data, self.at, self.why = data, 0, why

    def take(self, length):
        self.at += length
        need(self.at <= len(self.data), self.why)
        return self.data[self.at - length:self.at]

    def unpack(self, shape):
        return unpack(">" + shape, self.take(calcsize(">" + shape)))

    def read(self, layout, **fields):
        """Fields name:shape. H*16sQ is an ascending list behind its length, I* bytes behind their length, * the rest."""
        for name, shape in (field.split(":") for field in layout.split()):
            count, star, item = shape.partition("*")
            length, = self.unpack(count) if star and count else (len(self.data) - self.at,)
            if item:
                fields[name] = [self.unpack(item) for _ in range(length)]
                need(all(a[0] < b[0] for a, b in zip(fields[name], fields[name][1:])), self.why)
            else:
                fields[name], = (self.take(length),) if star else self.unpack(shape)
        return Fields(**fields)

def parse(layout, data, why):
    fields = Cursor(data, why).read(layout + " end:*")
    need(not fields.end, why)
    return fields

def X(purpose, message, length=32):
    return blake3(message, derive_key_context="tally vault v1 2026-11-21 " + purpose).digest(length=length)

def verify(key, purpose, message, signature):
    """Whether a signature is strictly right (Conventions): libsodium refuses small orders, OpenSSL a cofactor."""
    signed = b"tally vault v1 " + purpose.encode() + b"\0" + X(purpose, message)
    try:
        sodium.crypto_sign_open(signature + signed, key)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        return True
    except (CryptoError, InvalidSignature, ValueError):
        return False

def hpke_open(secret, receive, encapsulated, info, sealed):
    """RFC 9180, base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305."""
    def labeled(suite, key, label, data, length=b""):
        return hmac.digest(key, length + b"HPKE-v1" + suite + label + data, "sha256")

    kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\x01\0\x03"
    shared = labeled(kem, b"", b"eae_prk", sodium.crypto_scalarmult(secret, encapsulated))
    shared = labeled(kem, shared, b"shared_secret", encapsulated + receive + b"\1", pack(">H", 32))
    context = b"\0" + labeled(suite, b"", b"psk_id_hash", b"") + labeled(suite, b"", b"info_hash", info)
    prk = labeled(suite, shared, b"secret", b"")
    key = labeled(suite, prk, b"key", context + b"\1", pack(">H", 32))
    nonce = labeled(suite, prk, b"base_nonce", context + b"\1", pack(">H", 12))[:12]
    return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, receive, nonce, key)

def padded(length):
    """Padmé, and at least 256 (Box)."""
    exponent = max(length, 256).bit_length() - 1
    low = exponent - exponent.bit_length()
    return -(-max(length, 256) >> low) << low

def blob_file(length):
    return 32 + padded(length) + -(-padded(length) // CHUNK) * 32

def blob_padded(size):
    """The padded content of a blob file of this size, or 0 (Blob)."""
    plain = size - 32 - -(-(size - 32) // (CHUNK + 32)) * 32
    return plain if 0 < plain <= 4 << 30 and padded(plain) == plain and blob_file(plain) == size else 0

def blob_name(data):
    """The name of a blob file, which needs no key to verify (Blob)."""
    start = len(data) - blob_padded(len(data))
    parts = [data[at:at + CHUNK] for at in range(start, len(data), CHUNK)]
    need(parts and data[32:start] == b"".join(blake3(part).digest() for part in parts), "blob.damaged")
    return blake3(data[:start]).digest()

def open_chunks(okm, data, why):
    """The plaintext of commitment and chunks (Box); okm is key, nonce prefix and commitment."""
    need(hmac.compare_digest(data[:32], okm[48:]), why)
    starts = range(32, len(data), CHUNK + 16)
    need(starts and len(data) - starts[-1] > 16, why)
    return b"".join(attempt(why, xchacha_open, data[at:at + CHUNK + 16], b"",
                            okm[32:48] + n.to_bytes(7, "big") + bytes([at == starts[-1]]), okm[:32])
                    for n, at in enumerate(starts))

def identity(seed):
    """A member's keys (Member)."""
    secret, (sign, _) = X("receive seed", seed), sodium.crypto_sign_seed_keypair(X("sign seed", seed))
    return Fields(secret=secret, sign=sign, receive=sodium.crypto_scalarmult_base(secret))

def read_card(data, why):
    card = parse("kind:B sign:32s receive:32s cross:64s", data, why)
    need(card.kind < 5 and verify(card.sign, "card", data[:65], card.cross), why)
    need(max(int.from_bytes(card.sign, "little") & (2**255 - 1), int.from_bytes(card.receive, "little")) < 2**255 - 19, why)
    attempt(why, sodium.crypto_scalarmult, ROOT, card.receive)  # refuses small order
    return card

def read_genesis(data):
    why = "genesis.damaged"
    g = parse("magic:8s version:H suite:H random:32s created:Q card:129s signature:64s", data, why)
    need(g.magic == b"TALLYVLT", why)
    need((g.version, g.suite) == (1, 2), "genesis.version")
    g.card, g.id = read_card(g.card, why), X("vault id", data)
    need(g.card.kind == 0 and verify(g.card.sign, "genesis", data[:181], g.signature), why)
    return g

def read_slot(data, vault):
    why = "slot.damaged"
    s = parse("magic:8s version:H vault:32s card:129s memory:I passes:I lanes:I salt:16s nonce:24s sealed:48s signature:64s",
              data, why)
    need((s.magic, s.version, s.vault) == (b"TALLYSLT", 1, vault) and s.memory * s.passes <= 6291456, why)
    need(65536 <= s.memory <= 2097152 and 2 <= s.passes <= 16 and 1 <= s.lanes <= 8, why)
    s.card, s.head = read_card(s.card, why), data[:199]
    need(verify(s.card.sign, "slot", data[:271], s.signature), why)
    return s

def open_slot(s, passphrase):
    """The member's seed, or None: the wrong passphrase (Slot)."""
    secret = unicodedata.normalize("NFKC", passphrase).encode()
    kek = argon2.hash_secret_raw(secret, s.salt, s.passes, s.memory, s.lanes, 32, argon2.Type.ID, version=0x13)
    okm = X("slot key", kek + s.head, 64)
    try:
        member = identity(seed := xchacha_open(s.sealed, okm[32:], s.nonce, okm[:32]))
        return seed if (member.sign, member.receive) == (s.card.sign, s.card.receive) else None
    except CryptoError:
        return None

def read_phrase(text):
    need(len(text.split()) == 24, "phrase")
    return bytes(attempt("phrase", Mnemonic("english").to_entropy, text.lower().split()))

def read_shares(text, vault):
    """The seed that shares, one in a line, give back (Shares)."""
    words, shares = Mnemonic("english").wordlist, {}
    for line in filter(str.strip, text.splitlines()):
        bits = "".join(f"{attempt('shares', words.index, word):011b}" for word in line.lower().split())
        need(len(bits) == 352, "shares")
        data = int(bits, 2).to_bytes(44, "big")
        s = parse("version:B vault:4s split:2s k:B index:B y:32s checksum:3s", data, "shares")
        need(s.version == 1 and 2 <= s.k <= 32 and 1 <= s.index <= 32 and s.checksum == X("share", data[:41], 3), "shares")
        need(s.vault == vault[:4] and shares.setdefault(s.index, s) == s, "shares")
    need(len({(s.split, s.k) for s in shares.values()}) == 1 and len(shares) >= s.k, "shares")
    powers = [1]
    while len(powers) < 255:
        powers.append(powers[-1] << 1 ^ (powers[-1] >> 7) * 0x11D)
    log, first = {power: n for n, power in enumerate(powers)}, sorted(shares)[:s.k]

    def value(x):
        """What the polynomials through the first k have at another x, after Lagrange."""
        out = bytes(32)
        for i in first:
            weight = sum(log[x ^ j] - log[i ^ j] for j in first if j != i)
            out = bytes(a ^ (powers[(weight + log[b]) % 255] if b else 0) for a, b in zip(out, shares[i].y))
        return out

    need(all(value(index) == shares[index].y for index in shares.keys() - first), "shares")
    return value(0)

def read_keyring(data, vault):
    why = "keyring.damaged"
    k = parse("magic:8s version:H vault:32s namespace:16s number:I commitment:32s older:B*32s24s48s stanzas:H*16s32s112s",
              data, why)
    need((k.magic, k.version, k.vault) == (b"TALLYKEY", 1, vault) and k.number and k.namespace not in (CONTROL, ALL), why)
    need(1 <= len(k.stanzas) <= 4096, why)
    k.stanzas = {recipient: stanza for recipient, *stanza in k.stanzas}
    k.place, k.fits = vault + k.namespace, (k.namespace, k.number, k.commitment)
    return k

def open_keyring(k, member):
    """{commitment: key} and the namespace's name; nothing if this member is not among the recipients."""
    encapsulated, sealed = k.stanzas.get(X("recipient", k.place + member.receive)[:16], (None, None))
    if sealed is None:
        return {}, None
    why, info = "keyring.damaged", b"tally vault v1 wrap\0" + k.place + pack(">I", k.number) + k.commitment
    text = attempt(why, hpke_open, member.secret, member.receive, encapsulated, info, sealed)
    text = Cursor(text, why).read("key:32s name:B* zeros:*")
    keys, wrap = {k.commitment: text.key}, X("older", text.key)
    keys |= {old: attempt(why, xchacha_open, sealed, k.place + old, nonce, wrap) for old, nonce, sealed in k.older}
    need(all(X("key commitment", key + k.place) == commitment for commitment, key in keys.items()), why)
    need(not any(text.zeros), why)
    return keys, attempt(why, text.name.decode)

def read_frame(data, vault):
    """A seal, perhaps with a rebox, and its box as far as it parses (Frame, Seal, Rebox, Box)."""
    c = Cursor(data, "frame.damaged")
    magic, flags, length = c.unpack("BBI")
    need(magic == 0xF1 and flags in (0, 1, 2) and length == len(data) - 6, c.why)
    s = c.read("vault:32s author:32s counter:Q previous:32s namespace:16s grant:32s key:16s first:Q count:I before:32s"
               " head:32s time:Q length:I digest:32s signature:64s", signed=data[6:294], rebox=flags == 1)
    s.id = X("seal", s.signed)
    s.control = s.namespace == CONTROL
    need(s.vault == vault, "frame.foreign")
    need(s.counter and s.first and (s.counter == 1) == (s.previous == ROOT) and (s.first == 1) == (s.before == ROOT), c.why)
    need(s.control == (s.key == bytes(16)) and s.namespace != ALL and not (flags and s.control), c.why)
    need(1 <= s.count <= 65536 and s.first + s.count < 2**64 and 3 <= s.length <= BOX_LEN, c.why)
    if s.rebox:
        r = c.read("seal:32s packer:32s grant:32s key:16s time:Q length:I digest:32s signature:64s")
        need(r.seal == s.id and any(r.key) and 3 <= r.length <= BOX_LEN, c.why)
        need(verify(r.packer, "rebox", data[358:514], r.signature), "rebox.refused")
        s.key, s.length, s.digest = r.key, r.length, r.digest
    s.box = None if flags == 2 else c.take(len(data) - c.at)
    need(c.at == len(data), c.why)
    if s.box is not None:
        box = parse("blobs:H*32sQ form:B " + ("text:I*" if s.control else "salt:24s text:*"), s.box, c.why)
        need(all(blob_padded(size) for _, size in box.blobs), c.why)
        need(len(s.box) == s.length and box.form == (not s.control) and not (s.control and box.blobs), c.why)
        s.altered = blake3(s.box).digest() != s.digest
        vars(s).update(vars(box))
    return s

def open_box(s, keys):
    """The operations in a frame's box, if they are what was sealed (Box, Operation)."""
    why, text = "box.unreadable", s.text
    if not s.control:
        place = s.salt + s.vault + s.namespace + s.author + pack(">QI", s.first, s.count)
        need(okms := [X("box", key + place, 80) for key in keys], "box.locked")
        plain = open_chunks(next((okm for okm in okms if okm[48:] == text[:32]), okms[0]), text, why)
        text = Cursor(plain, why).read("text:I*").text
        need(len(plain) == padded(4 + len(text)) and not any(plain[4 + len(text):]), why)
    c, operations, previous, time = Cursor(text, why), [], s.before, -1
    for sequence in range(s.first, s.first + s.count):
        start = c.at
        op = c.read("kind:B time:Q targets:H*32s", author=s.author, namespace=s.namespace, sequence=sequence,
                    previous=previous, grants={s.grant}, body=None, status=0)
        said, present = c.data[start:c.at], c.read("state:B").state
        least, most, _ = KINDS.get(op.kind, (1, 0, ""))
        need(least <= len(op.targets) <= most and (op.kind >= 16) == s.control and op.time > time, why)
        op.targets = [target for target, in op.targets]
        need(present in ((0, 1) if s.rebox else (1,)) and (op.kind, op.targets) != (17, [ROOT]), why)
        body = c.read("salt:32s data:I*" if present else "commitment:32s")
        if present:
            op.body, body.commitment = read_body(op.kind, body.data, why), blake3(body.data, key=body.salt).digest()
        place = s.vault + s.namespace + s.author + pack(">Q", sequence) + previous
        op.id = X("operation", place + said + body.commitment)
        operations.append(op)
        previous, time = op.id, op.time
    blobs = {(o.body.digest, blob_file(o.body.length)) for o in operations if hasattr(o.body, "digest")}
    need(previous == s.head and time == s.time and blobs == set(s.blobs) and c.at == len(text) <= BOX_PLAIN - 4, why)
    return operations

def read_body(kind, data, why):
    """The fields of a body, by the table of Operation."""
    c = Cursor(data, why)
    b, fits = c.read(KINDS[kind][2]), len(data) <= (1024 if kind in (3, 4) else 65536)
    if kind <= 2:
        fits = b.flags < 8 and re.fullmatch(rb"[a-z0-9.\-/+]{1,64}", b.type)
        layout = "run:32s " * (b.flags & 1) + "receipt:32s " * (b.flags >> 1 & 1)
        layout += "key:32s digest:32s length:Q" if b.flags & 4 else "content:*"
        b = c.read(layout, type=b.type.decode("latin-1"), run=b"", receipt=b"", content=None)
        fits = fits and (b.length <= 4 << 30 if b.content is None else len(b.content) <= 49152)
    elif kind <= 4:
        attempt(why, b.reason.decode)
    elif kind == 16:
        b.card, b.rights = read_card(b.card, why), dict(b.rights)
        fits = b.card.kind and b.depth < 255 and 1 <= len(b.rights) <= (1 if ALL in b.rights else 64)
        fits = fits and CONTROL not in b.rights and all(1 <= level <= 5 for level in b.rights.values())
    elif kind == 17:
        b.logs = {space: last for space, *last in b.logs}
        fits = fits and ALL not in b.logs and all(sequence for sequence, _ in b.logs.values())
    elif kind == 18:
        fits = b.namespace not in (CONTROL, ALL) and b.number and b.full < 2
    else:
        fits = fits and all(counter for _, counter, _ in b.heads)
    need(fits and c.at == len(data), why)
    return b

def files(path):
    """(kind, place, bytes) of a folder or a portable file, the genesis first (Files, Portable file)."""
    if path.is_dir():
        need((path / "VAULT").is_file(), "genesis.missing")
        paths = [("genesis", path / "VAULT")]
        paths += [(kind, file) for name, kind in FOLDERS.items() for file in sorted((path / name).glob("*"))
                  if kind != "blob" or file.suffix not in (".part", ".damaged")]
        return [(kind, file.relative_to(path).as_posix(), file.read_bytes()) for kind, file in paths]
    c, sections, start = Cursor(path.read_bytes(), "file.incomplete"), [], 10
    need(c.take(10) == b"TALLYVEX\0\1", "file.header")
    while (section := c.read("tag:B bytes:Q*")).tag != 255:
        last = sections[-1][0] if sections else 1
        need(last <= section.tag <= 5 and (section.tag == 1) == (not sections), "file.damaged")
        sections.append((section.tag, section.bytes))
        start = c.at
    need(c.at == len(c.data) and sections and section.bytes == blake3(c.data[:start]).digest(), c.why)
    return [(SECTIONS[tag], "", data) for tag, data in sections]

def read_frames(data, vault, tail, take):
    """Passes each frame of a segment or a tail to take and yields the words for what is none; goes on behind damage where
    the vault's id promises the next seal. Zeros at the end of a tail are room (Files, Frame)."""
    at, header = 10, b"TALLYSEG\0\1"
    torn = tail and (header.startswith(data[:10]) or not any(data[:10])) and vault not in data
    need(data[:10] == header, "tail.cut" if torn else "file.header")
    while at < len(data) and not (tail and not data[at] and not any(data[at:])):
        end = at + 6 + int.from_bytes(data[at + 2:at + 6], "big")
        try:
            frame = read_frame(data[at:end], vault)
            need(not (tail and frame.box is not None and frame.altered and not any(data[end:])), "tail.cut")
            take(frame)
            at = end
        except Refused as refused:
            at = following - 6 if (following := data.find(vault, at + 38)) >= 0 else len(data)
            torn = tail and at == len(data) and str(refused) == "frame.damaged"
            yield "tail.cut" if torn else str(refused)

def open_blob(body, data, vault):
    """The content of a record that names a blob, from the blob's file, or None (Blob)."""
    need(data is not None, "blob.missing")
    okm, start = X("blob chunks", body.key + vault, 64), len(data) - padded(body.length)
    need(len(data) == blob_file(body.length) and blob_name(data) == body.digest, "blob.damaged")
    need(hmac.compare_digest(data[:32], okm[32:]), "blob.damaged")
    plain = b"".join(Cipher(ChaCha20(okm[:32], pack("<II", 1, 0) + pack(">Q", n)), None).decryptor().update(
        data[at:at + CHUNK]) for n, at in enumerate(range(start, len(data), CHUNK)))
    need(not any(plain[body.length:]), "blob.damaged")
    return plain[:body.length]
