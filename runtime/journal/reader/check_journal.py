#!/usr/bin/env python3
"""An independent reader of Tally journals, written from docs/journal.md alone. It shares no code with the crate.

    check_journal.py FILE...      one JSON object a line; exit 0 when all are accepted, else 1
"""
import base64
import io
import json
import struct
import sys

import blake3
import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"\x89TLYJ\r\n\x1a"
MAX_FRAME, MAX_INLINE = (64 << 20) + 4096, 64 << 10
GENESIS, INTENT, ENTER, CALL, END, TERMS, BLOB, SEAL = 0, 1, 2, 3, 4, 7, 8, 9
u = lambda x, top=2**64: type(x) is int and 0 <= x < top
b = lambda x, low=0, top=MAX_INLINE: isinstance(x, bytes) and low <= len(x) <= top
t = lambda x, top=256: isinstance(x, str) and len(x.encode()) <= top
b32 = lambda x: b(x, 32, 32)
frame_number = lambda x: u(x, 2**32)
effect = lambda x: u(x, 5)
tuple_of = lambda *types: lambda x: isinstance(x, list) and len(x) == len(types) and all(f(v) for f, v in zip(types, x))
or_null = lambda f: lambda x: x is None or f(x)
value = lambda x: b(x) or tuple_of(b32)(x)
request = lambda x: value(x) or u(x)
salted = lambda x: tuple_of(value, or_null(b32), or_null(b32))(x) and x[1:] != [None, None]
receipt = lambda x: value(x) or salted(x)
entry = lambda *content: [u, u, *content, lambda x: b(x, 16, 16), b32]
sentence = lambda kinds: tuple_of(lambda x: u(x, kinds), lambda x: t(x, 4096))


def pairs(f):
    pair = tuple_of(t, f)
    return lambda x: (isinstance(x, list) and len(x) <= 1024 and all(map(pair, x))
                      and [p[0].encode() for p in x] == sorted({p[0].encode() for p in x}))


def names(x):
    return isinstance(x, list) and len(x) <= 1024 and all(map(t, x)) and x == sorted(set(x), key=str.encode)


SHAPES = {
    TERMS: [u, b32, t, tuple_of(t, t, b32), b32, b, pairs(u), pairs(lambda x: t(x, MAX_INLINE)), pairs(b32), names],
    GENESIS: entry(value, pairs(b32), b32, or_null(u), u, or_null(tuple_of(b32, u))),
    INTENT: entry(frame_number, u, effect, value, u),
    ENTER: entry(frame_number, frame_number, b32, t, value, b),
    CALL: entry(frame_number, u, effect, request, sentence(2), u, value, or_null(receipt), or_null(tuple_of(frame_number, u))),
    END: entry(sentence(6), or_null(value), u, u),
    BLOB: [u, lambda x: b(x, MAX_INLINE + 1, 64 << 20)],
    SEAL: [u, lambda x: b(x, 0, 64 << 20)],
}
STATUS = ["completed", "agent-error", "trapped", "limit-reached", "cancelled", "host-error"]


class Refused(Exception):
    def __init__(self, code, entry=None):
        super().__init__(code)
        self.code, self.entry = "journal." + code, entry


FRAME_KEY = blake3.blake3(b"", derive_key_context="tally journal v1 frame").digest()


def frame_hash(payload):
    if payload[1:2] <= b"\4" and payload[-51:-50] == b"\x50" and payload[-34:-32] == b"\x58\x20":
        return blake3.blake3(payload[:-51 if payload[1] else -34], key=payload[-32:]).digest()
    return blake3.blake3(payload, key=FRAME_KEY).digest()


def item_length(data):
    """Length of the one CBOR list at the start of data, or None."""
    stream = io.BytesIO(data)
    try:
        return stream.tell() if isinstance(cbor2.CBORDecoder(stream, read_size=1).decode(), list) else None
    except Exception:
        return None


class Frame:
    def __init__(self, payload, check, length_right):
        self.payload, self.hash = payload, frame_hash(payload)
        self.intact = length_right and self.hash[:8] == check
        try:
            fields = cbor2.loads(payload)
        except Exception:
            fields = None
        ok = isinstance(fields, list) and fields and type(fields[0]) is int
        self.fields = fields if ok and fields[0] in SHAPES else None
        self.kind = fields[0] if self.fields else None
        seq, run, prev = (fields[1], *fields[-2:]) if self.fields and self.kind <= END and len(fields) > 3 else (None,) * 3
        good = type(seq) is int and b(run, 16, 16) and b32(prev) and payload[-51:-50] == b"\x50"
        self.seq, self.run, self.prev = (seq, run, prev) if good else (None,) * 3

    def well_formed(self, functions):
        return (self.fields is not None and tuple_of(*SHAPES[self.kind])(self.fields)
                and cbor2.dumps(self.fields, canonical=True) == self.payload
                and not (self.kind in (INTENT, CALL) and self.fields[3] >= functions)
                and not (self.kind == GENESIS and self.fields[5] == self.fields[6])
                and not (self.kind == END and self.fields[2][0] in (0, 1, 4) and self.fields[2][1]))


def split(data):
    frames, at, closely = [], 12, True
    while at < len(data):
        rest = data[at + 4:]
        length = int.from_bytes(data[at:at + 4], "little")
        if len(data) - at < 4:
            return frames, "cut-in-frame"
        whole = length <= MAX_FRAME and len(rest) >= length + 8
        frame = Frame(rest[:length], rest[length:length + 8], True) if whole else None
        if not (frame and frame.intact):
            # The content of the first bad frame may tell its own length, and the check then agree.
            real, closely = item_length(rest) if closely else None, False
            if real is not None and frame_hash(rest[:real])[:8] == rest[real:real + 8]:
                frame, length = Frame(rest[:real], b"", False), real
        if frame is None:
            return frames, "cut-in-frame" if length <= MAX_FRAME else "frame-too-long"
        frames.append(frame)
        at += 4 + length + 8
    return frames, None


def run_receipt(envelope):
    """The run predicate in a seal whose signatures hold."""
    try:
        document = json.loads(envelope)
        payload = base64.b64decode(document["payload"], validate=True)
        statement = json.loads(payload)
        run = statement["predicate"]
        if statement["predicateType"] != "urn:tally:run:v1":
            raise Refused("seal-unreadable")
        signatures = [(s["keyid"], base64.b64decode(s["sig"], validate=True)) for s in document["signatures"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused("seal-unreadable") from None
    kind = document["payloadType"]
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    try:
        for key, signature in signatures:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused("altered") from None
    if run["runner"] not in [key for key, _ in signatures]:
        raise Refused("altered")
    return run


def commitment(field, salt, kind, content):
    key = blake3.blake3(salt, derive_key_context="tally-receipt v1 2026-11-21 commitment").digest()
    field = b"urn:tally:inference:v1#" + field.encode()
    return blake3.blake3(b"\0".join([field, kind, content]), key=key).hexdigest()


def joined(texts):
    return b"".join(struct.pack("<I", len(x.encode())) + x.encode() for x in texts)


def decoded(value):
    try:
        return cbor2.loads(value)
    except Exception:
        return None


class Reader:
    def __init__(self, data):
        self.frames, self.tail = split(data)
        self.terms, self.entries, self.blobs, self.waiting, self.receipts = None, [], {}, [], []
        self.intents, self.open, self.last_frame = {}, {0: None}, 0

    def after(self, index):
        return [f for f in self.frames[index + 1:] if f.seq is not None]

    def misplaced(self, index, frame):
        """Which fault a wrong number, run or predecessor is."""
        n, run, last = len(self.entries), self.entries[0].run, self.entries[-1].hash
        if frame.prev == last:
            return Refused("altered", n)
        if frame.run != run:
            return Refused("foreign-entry", n)
        if frame.seq != n:
            if frame.seq < n and self.entries[frame.seq].hash == frame.hash:
                return Refused("duplicated-entry", n)
            elsewhere = any(f.seq == n and f.run == run for f in self.after(index))
            return Refused("reordered" if frame.seq < n or elsewhere else "missing-entry", n)
        vouched = [f.prev for f in self.after(index)][:1]
        if not vouched and self.frames[-1].kind == SEAL and self.frames[-1].intact:
            try:
                vouched = [bytes.fromhex(run_receipt(self.frames[-1].fields[1])["journal"]["head"])]
            except Refused:
                pass
        if not vouched:
            return Refused("link-broken", n - 1)
        return Refused("altered", n - 1) if vouched[0] == frame.hash else Refused("prev-altered", n)

    def lead(self, index, frame):
        n = len(self.entries)
        if n == 0:
            if frame.seq != 0:
                raise Refused("missing-entry", 0)
            later = [f.run for f in self.after(index)]
            if len(later) > 1 and len(set(later)) == 1 and later[0] != frame.run:
                raise Refused("foreign-entry", 0)
            if frame.prev != self.terms.hash:
                vouched = [f.prev for f in self.after(index)][:1]
                raise Refused("altered" if vouched == [frame.hash] else "prev-altered" if vouched else "link-broken", 0)
            if frame.kind != GENESIS:
                raise Refused("out-of-order", 0)
        elif (frame.seq, frame.run, frame.prev) != (n, self.entries[0].run, self.entries[-1].hash):
            raise self.misplaced(index, frame)
        elif frame.kind == GENESIS:
            raise Refused("out-of-order", n)

    def values(self, values):
        n, waiting = len(self.entries), list(self.waiting)
        for value in values:
            if value[0] not in self.blobs:
                if not waiting:
                    raise Refused("value-missing", n)
                blob = waiting.pop(0)
                if blob.hash != value[0]:
                    raise Refused("altered", n)
                self.blobs[blob.hash] = blob.fields[1]
        if waiting:
            raise Refused("value-stray", n)
        self.waiting = []

    def bytes(self, value):
        if isinstance(value, int):
            return self.bytes(self.entries[value].fields[5])  # the request of an intent
        return value if isinstance(value, bytes) else self.blobs[value[0]]

    def rules(self, frame):
        f, n = frame.fields, len(self.entries)
        if frame.kind in (INTENT, CALL) and f[2] not in self.open or frame.kind == ENTER and f[3] not in self.open:
            raise Refused("out-of-order", n)
        if frame.kind == INTENT:
            self.intents[n] = (f[2], f[3], f[4])
            if len(self.intents) > 4096:
                raise Refused("out-of-order", n)
        elif frame.kind == ENTER:
            if f[2] != self.last_frame + 1 or len(self.open) > 64:
                raise Refused("out-of-order", n)
            self.last_frame, self.open[f[2]] = f[2], f[3]
        elif frame.kind == CALL:
            if isinstance(f[5], int) and self.intents.pop(f[5], None) != (f[2], f[3], f[4]):
                raise Refused("out-of-order", n)
            if f[10] is not None:
                if self.open.get(f[10][0]) != f[2] or f[10][0] == 0 or f[10][0] in self.open.values():
                    raise Refused("out-of-order", n)
                del self.open[f[10][0]]
            if f[9] is not None:
                self.receipts.append(self.bytes(f[9][0] if salted(f[9]) else f[9]))

    def read(self):
        ended = seal = None
        for index, frame in enumerate(self.frames):
            n, last = len(self.entries), index + 1 == len(self.frames)
            at_seal = last and index > 0 and (ended or frame.kind == SEAL)
            if seal is not None:
                raise Refused("trailing-data")
            if not frame.intact:
                wrong_prev = index > 0 and frame.seq == n and frame.prev != (self.entries or [self.terms])[-1].hash
                raise Refused("prev-altered" if wrong_prev and not at_seal else "altered", None if at_seal else n)
            if self.terms is None and frame.kind != TERMS:
                raise Refused("missing-entry" if frame.seq else "terms-missing", 0)
            if not frame.well_formed(len(self.terms.fields[9]) if self.terms else 0):
                raise Refused("malformed", None if at_seal else n)
            if frame.kind == TERMS:
                if self.terms:
                    raise Refused("out-of-order", 0)
                self.terms = frame
            elif frame.kind == BLOB:
                if ended:
                    raise Refused("value-stray", n)
                self.waiting.append(frame)
            elif frame.kind == SEAL:
                if not ended or self.waiting:
                    raise Refused("out-of-order")
                seal = frame.fields[1]
            else:
                self.lead(index, frame)
                if ended:
                    raise Refused("out-of-order", n)
                # Only a value in a blob is a list of one byte string.
                held = [v[0] if frame.kind == CALL and salted(v) else v for v in frame.fields[2:-2]]
                self.values([v for v in held if tuple_of(b32)(v)])
                self.rules(frame)
                self.entries.append(frame)
                ended = frame.kind == END
        if seal is not None and self.tail:
            raise Refused("trailing-data")
        if self.tail:
            raise Refused(self.tail, None if ended else len(self.entries))
        if not self.entries:
            raise Refused("empty")
        if seal is not None:
            self.check_seal(run_receipt(seal))
        state = "sealed" if seal is not None else "ended" if ended else "open"
        return {"accepted": state, "entries": len(self.entries), "head": self.entries[-1].hash.hex(),
                "words": self.words(), "in_doubt": sorted(self.intents)}

    def words(self):
        """By entry, whether the receipt that it brought commits to what was asked and answered."""
        found, generations, functions = {}, {}, self.terms.fields[9]
        for n, entry in enumerate(self.entries):
            f = entry.fields
            if entry.kind != CALL:
                continue
            interface, _, function = functions[f[3]].partition("#")
            if not interface.startswith("tally:agent/inference@"):
                function = None
            asked, told, exchange = self.bytes(f[5]), decoded(self.bytes(f[8])), None
            told, arguments = told.get("ok") if isinstance(told, dict) else None, decoded(asked)
            key = (f[2], arguments.get("self")) if isinstance(arguments, dict) else None
            if function == "chat" and u(told):
                model = arguments["request"].get("model") if isinstance(arguments.get("request"), dict) else None
                generations[f[2], told] = ["chat", model, (b"bytes", asked), [""]]
            elif function == "[method]generation.next" and key in generations and isinstance(told, dict):
                texts = generations[key][3]
                if "text" in told:
                    texts[0] += told["text"]
                texts += [told["tool-call"][x] for x in ("id", "name", "arguments-json")] if "tool-call" in told else []
            elif function == "[method]generation.receipt" and key in generations:
                operation, model, request, texts = generations[key]
                said = (b"text", texts[0].encode()) if len(texts) == 1 else (b"texts", joined(texts))
                exchange = operation, model, request, said
            elif function == "embed" and isinstance(told, list):
                vectors = b"".join(struct.pack("<f", x) for vector in told for x in vector)
                exchange = "embed", arguments["model"], (b"texts", joined(arguments["texts"])), (b"bytes", vectors)
            if f[9] is not None:
                reason = self.judge(f[9] if salted(f[9]) else [f[9], None, None], exchange, n)
                found.update({str(n): reason} if reason else {})
        return found

    def judge(self, brought, exchange, n):
        try:
            statement = json.loads(base64.b64decode(json.loads(self.bytes(brought[0]))["payload"], validate=True))
            said = statement["predicate"]
        except (ValueError, KeyError, TypeError):
            return None  # no receipt at all: that is another check's to say
        if exchange is None or statement["predicateType"] != "urn:tally:inference:v1":
            return "nothing-asked"
        operation, model, request, answer = exchange
        first, weights = self.entries[0].fields, said["model"]["weights"]
        listed = {name: digest.hex() for name, digest in first[3]}
        taken_over = first[7] is not None and n <= first[7][1]
        if said["operation"] != operation:
            return "other-operation"
        expected = [listed[model]] if model in listed else listed.values() if model == "" else [weights]
        if weights not in expected and not taken_over:
            return "other-model"
        field = "/output/text" if operation == "chat" else "/output/commitment"
        committed = said["output"]["text" if operation == "chat" else "commitment"]
        if said["asked"] is None or committed is None:
            return "nothing-committed"
        if None in brought[1:]:
            return "no-salt"
        if commitment("/asked", brought[1], *request) != said["asked"]:
            return "other-request"
        return "pass" if commitment(field, brought[2], *answer) == committed else "other-answer"

    def check_seal(self, run):
        terms, end, head = self.terms.fields, self.entries[-1].fields, run["journal"]
        if run["run"] != self.entries[0].run.hex():
            raise Refused("seal-foreign")
        beginning = [terms[1].hex(), terms[2], terms[3][:2] + [terms[3][2].hex()], terms[4].hex(),
                     blake3.blake3(terms[5]).hexdigest()]
        engine = run["engine"]
        if beginning != [run["component"], run["world"], [engine["name"], engine["version"], engine["config"]],
                         run["manifest"], run["grant"]]:
            raise Refused("seal-contradicts")
        if head["entries"] != len(self.entries):
            raise Refused("seal-over-another-head")
        if head["head"] != self.entries[-1].hash.hex():
            raise Refused("not-the-sealed", len(self.entries) - 1)
        names = [blake3.blake3(r).hexdigest() for r in self.receipts]
        same = run["outcome"]["status"] == STATUS[end[2][0]] and run["fuel"] == end[4]
        if not same or run["receipts"] != list(dict.fromkeys(names))[:4096]:
            raise Refused("seal-contradicts")


def check(data):
    try:
        if len(data) < 12 and data and (MAGIC + b"\2\0\0\0").startswith(data):
            raise Refused("cut-in-header")
        if len(data) < 12 or data[:8] != MAGIC:
            raise Refused("not-a-journal")
        version = int.from_bytes(data[8:12], "little")
        if version != 2:
            raise Refused("newer-format" if version > 2 else "older-format" if version else "unknown-format")
        return Reader(data).read()
    except Refused as refused:
        return {"refused": refused.code, "entry": refused.entry}
    except (KeyError, TypeError, ValueError):  # a seal that is signed and yet has not the fields of a run receipt
        return {"refused": "journal.seal-unreadable", "entry": None}


if __name__ == "__main__":
    results = [(name, check(open(name, "rb").read())) for name in sys.argv[1:]]
    for name, result in results:
        print(json.dumps({"file": name, **result}))
    sys.exit(0 if results and all("accepted" in result for _, result in results) else 1)
