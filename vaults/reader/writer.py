"""Writes vaults for the tests: the smallest thing that can make what docs/vault.md describes, right or wrong."""
import hashlib
import hmac

import argon2.low_level as argon2
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha_seal

CONTROL, ALL, CHUNK = bytes(16), b"\xff" * 16, 65536
ADD, SUPERSEDE, RETRACT, REDACT, GRANT, REVOKE, ROTATE, CHECKPOINT = 1, 2, 3, 4, 16, 17, 18, 19


def u(length, value):
    return value.to_bytes(length, "big")


def X(purpose, message, length=32):
    return blake3(message, derive_key_context="tally vault v1 2026-11-21 " + purpose).digest(length=length)


def noise(name, length=32):
    """The writer's randomness: the same in every run."""
    return blake3(name.encode()).digest(length=length)


def padme(length):
    if length <= 256:
        return 256
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())
    return (length + unit - 1) // unit * unit


def chunks(okm, plain):
    out = okm[48:80]
    for n in range(0, len(plain), CHUNK):
        last = n + CHUNK >= len(plain)
        out += xchacha_seal(plain[n:n + CHUNK], b"", okm[32:48] + u(7, n // CHUNK) + bytes([last]), okm[:32])
    return out


def blob_chunks(okm, plain):
    """ChaCha20 is what the AEAD makes, without its tag."""
    cipher = ChaCha20Poly1305(okm[:32])
    parts = [cipher.encrypt(u(12, n // CHUNK), plain[n:n + CHUNK], None)[:-16] for n in range(0, len(plain), CHUNK)]
    header = okm[32:] + b"".join(blake3(part).digest() for part in parts)
    return header, b"".join(parts)


def hpke_seal(recipient, info, associated, plain, ephemeral):
    """RFC 9180 with the ephemeral secret given."""
    def extract(suite, salt, label, ikm):
        return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()

    def expand(suite, prk, label, info, length):
        return hmac.new(prk, u(2, length) + b"HPKE-v1" + suite + label + info + b"\1", hashlib.sha256).digest()[:length]

    secret = X25519PrivateKey.from_private_bytes(ephemeral)
    encapsulated = secret.public_key().public_bytes_raw()
    kem, suite = b"KEM" + u(2, 0x20), b"HPKE" + u(2, 0x20) + u(2, 1) + u(2, 3)
    prk = extract(kem, b"", b"eae_prk", secret.exchange(X25519PublicKey.from_public_bytes(recipient)))
    shared = expand(kem, prk, b"shared_secret", encapsulated + recipient, 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    prk = extract(suite, shared, b"secret", b"")
    cipher = ChaCha20Poly1305(expand(suite, prk, b"key", context, 32))
    return encapsulated + cipher.encrypt(expand(suite, prk, b"base_nonce", context, 12), plain, associated)


class Member:
    """A key pair, its logs and its chain of seals in one vault."""

    def __init__(self, name, kind):
        self.name, self.seed, self.kind = name, noise(name), kind
        self.key = Ed25519PrivateKey.from_private_bytes(X("sign seed", self.seed))
        self.sign = self.key.public_key().public_bytes_raw()
        self.receive = X25519PrivateKey.from_private_bytes(X("receive seed", self.seed)).public_key().public_bytes_raw()
        head = bytes([kind]) + self.sign + self.receive
        self.card = head + self.signature("card", X("card", head))
        self.counter, self.previous, self.grant, self.logs, self.seals = 0, bytes(32), bytes(32), {}, []

    def signature(self, purpose, identity):
        return self.key.sign(b"tally vault v1 " + purpose.encode() + b"\0" + identity)

    def copy(self):
        """A backup of the member: sealing with both forks."""
        twin = object.__new__(Member)
        twin.__dict__ = {**self.__dict__, "logs": dict(self.logs), "seals": list(self.seals)}
        return twin


class Writer:
    """A vault in memory: `frames`, `keyrings`, `blobs`, `slots`; `portable()` and `folder()` write it out."""

    def __init__(self, name="vault"):
        self.root = Member(name + " root", 0)
        head = b"TALLYVLT" + u(2, 1) + u(2, 2) + noise(name + " id") + u(8, 1 << 16) + self.root.card
        self.genesis = head + self.root.signature("genesis", X("genesis", head))
        self.id = X("vault id", self.genesis)
        self.frames, self.keyrings, self.blobs, self.slots, self.keys, self.clock = [], [], [], [], {}, 1000 << 16

    def operation(self, kind, body, targets=(), redacted=False, time=None):
        self.clock += 1
        salt = noise(f"salt {self.clock}")
        said = bytes([kind]) + u(8, time or self.clock) + u(2, len(targets)) + b"".join(sorted(targets))
        commitment = blake3(body, key=salt).digest()
        return said, commitment, said + (b"\0" + commitment if redacted else b"\1" + salt + u(4, len(body)) + body)

    def seal(self, member, namespace, operations, **wrong):
        """Seals a run of operations; returns their ids. `wrong` replaces fields of the seal before it is signed."""
        sequence, before = member.logs.get(namespace, (0, bytes(32)))
        ids, previous = [], before
        for n, (said, commitment, _) in enumerate(operations):
            place = self.id + namespace + member.sign + u(8, sequence + 1 + n) + previous
            ids.append(previous := X("operation", place + said + commitment))
        key = self.keys[namespace] if namespace != CONTROL else None
        box = self.box(member.sign, namespace, sequence + 1, [o[2] for o in operations], key, wrong.pop("blobs", ()))
        time = int.from_bytes(operations[-1][0][1:9], "big")
        fields = {"vault": self.id, "author": member.sign, "counter": u(8, member.counter + 1), "previous": member.previous,
                  "namespace": namespace, "grant": member.grant, "key": self.key_id(namespace), "first": u(8, sequence + 1),
                  "count": u(4, len(operations)), "before": before, "head": previous, "time": u(8, time),
                  "length": u(4, len(box)), "hash": blake3(box).digest(), **wrong}
        unsigned = b"".join(fields.values())
        seal = X("seal", unsigned)
        self.frames.append(b"\xf1\0" + u(4, 352 + len(box)) + unsigned + member.signature("seal", seal) + box)
        member.counter, member.previous, member.logs[namespace] = member.counter + 1, seal, (sequence + len(operations), previous)
        member.seals.append(seal)
        return ids

    def key_id(self, namespace):
        return bytes(16) if namespace == CONTROL else self.commitment(namespace, self.keys[namespace])[:16]

    def commitment(self, namespace, key):
        return X("key commitment", key + self.id + namespace)

    def box(self, author, namespace, first, operations, key, blobs=(), salt="box salt"):
        text = b"".join(operations)
        head = u(2, len(blobs)) + b"".join(digest + u(8, size) for digest, size in sorted(blobs))
        if namespace == CONTROL:
            return head + b"\0" + u(4, len(text)) + text
        salt = noise(f"{salt} {self.clock}", 24)
        okm = X("box", key + salt + self.id + namespace + author + u(8, first) + u(4, len(operations)), 80)
        return head + b"\1" + salt + chunks(okm, (u(4, len(text)) + text).ljust(padme(4 + len(text)), b"\0"))

    def rebox(self, frame, packer, operations, key):
        """A frame with its box made anew."""
        seal, first = frame[6:358], int.from_bytes(frame[174:182], "big")
        namespace = seal[104:120]
        box = self.box(seal[32:64], namespace, first, operations, key, salt="rebox salt")
        unsigned = (X("seal", seal[:288]) + packer.sign + packer.grant + self.commitment(namespace, key)[:16] + u(8, self.clock)
                    + u(4, len(box)) + blake3(box).digest())
        rebox = unsigned + packer.signature("rebox", X("rebox", unsigned))
        return b"\xf1\1" + u(4, 572 + len(box)) + seal + rebox + box

    def grant(self, by, member, rights, depth=0, expires=0, **wrong):
        fields = {"parent": by.grant, "card": member.card, "depth": bytes([depth]), "expires": u(8, expires), **wrong}
        body = b"".join(fields.values()) + bytes([len(rights)]) + b"".join(n + bytes([r]) for n, r in sorted(rights.items()))
        [member.grant] = self.seal(by, CONTROL, [self.operation(GRANT, body)])
        return member.grant

    def revoke(self, by, grant, logs):
        body = u(2, len(logs)) + b"".join(n + u(8, seq) + i for n, (seq, i) in sorted(logs.items()))
        return self.seal(by, CONTROL, [self.operation(REVOKE, body, [grant])])[0]

    def rotate(self, by, namespace, number, recipients, name="notes", older=(), full=0):
        key = noise(f"key {namespace.hex()} {number} {by.name}")
        commitment, place = self.commitment(namespace, key), self.id + namespace
        info = b"tally vault v1 wrap\0" + place + u(4, number) + commitment
        plain = (key + bytes([len(name)]) + name.encode()).ljust(96, b"\0")
        stanzas = sorted(X("recipient", place + m.receive)[:16] + hpke_seal(m.receive, info, m.receive, plain, noise(f"e {m.name} {number}"))
                         for m in recipients)
        sealed = []
        for old in older:
            own, nonce = self.commitment(namespace, old), noise("older " + old.hex(), 24)
            sealed.append(own + nonce + xchacha_seal(old, place + own, nonce, X("older", key)))
        keyring = (b"TALLYKEY" + u(2, 1) + place + u(4, number) + commitment + bytes([len(older)]) + b"".join(sorted(sealed))
                   + u(2, len(stanzas)) + b"".join(stanzas))
        self.keyrings.append(keyring)
        self.keys[namespace] = key
        body = namespace + u(4, number) + commitment + blake3(keyring).digest() + bytes([full])
        self.seal(by, CONTROL, [self.operation(ROTATE, body)])
        return key

    def record(self, text, kind="note"):
        return b"\0" + bytes([len(kind)]) + kind.encode() + text

    def add(self, by, namespace, *texts):
        return self.seal(by, namespace, [self.operation(ADD, self.record(text)) for text in texts])

    def blob(self, name, content):
        """The reference that a record holds, and what the box lists."""
        key = noise(name)
        header, parts = blob_chunks(X("blob chunks", key + self.id, 64), content.ljust(padme(len(content)), b"\0"))
        self.blobs.append((header + parts, header))
        digest = blake3(header).digest()
        return key + digest + u(8, len(content)), (digest, len(header + parts))

    def slot(self, member, passphrase, memory=65536, passes=2, lanes=1):
        salt, nonce = noise("slot salt", 16), noise("slot nonce", 24)
        head = b"TALLYSLT" + u(2, 1) + self.id + member.card + u(4, memory) + u(4, passes) + u(4, lanes) + salt
        kek = argon2.hash_secret_raw(passphrase.encode(), salt, passes, memory, lanes, 32, argon2.Type.ID)
        okm = X("slot key", kek + head, 64)
        unsigned = head + nonce + xchacha_seal(member.seed, okm[32:], nonce, okm[:32])
        self.slots.append(unsigned + member.signature("slot", X("slot", unsigned)))

    def portable(self):
        out = b"TALLYVEX" + u(2, 1)
        for tag, parts in ((1, [self.genesis]), (2, self.slots), (3, self.keyrings), (4, self.frames), (5, [data for data, _ in self.blobs])):
            for part in parts:
                out += bytes([tag]) + u(8, len(part)) + part
        return out + b"\xff" + u(8, 32) + blake3(out).digest()

    def folder(self, path):
        for name in ("slots", "keys", "seg", "tail", "blob"):
            (path / name).mkdir(parents=True)
        (path / "VAULT").write_bytes(self.genesis)
        for slot in self.slots:
            (path / "slots" / f"{slot[43:51].hex()}.slot").write_bytes(slot)
        for data in self.keyrings:
            (path / "keys" / f"{blake3(data).hexdigest()}.key").write_bytes(data)
        for data, header in self.blobs:
            (path / "blob" / f"{blake3(header).hexdigest()}.blob").write_bytes(data)
        segment = b"TALLYSEG\0\1" + b"".join(self.frames[::2])
        (path / "seg" / f"{blake3(segment).hexdigest()}.seg").write_bytes(segment)
        for author in {frame[38:70] for frame in self.frames[1::2]}:
            frames = [frame for frame in self.frames[1::2] if frame[38:70] == author]
            (path / "tail" / f"{author.hex()}.log").write_bytes(b"TALLYSEG\0\1" + b"".join(frames))
