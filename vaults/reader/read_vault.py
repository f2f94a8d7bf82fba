#!/usr/bin/env python3
"""What a vault says: the set of its frames, the fold over it, and what is wrong with it, from docs/vault.md alone.

read_vault.py VAULT passphrase|phrase|shares|seed [ID] reads a folder or a portable file, with the secret from standard input
and the vault's id, if it is known. It prints one JSON object; exit 0 if the vault was read, 1 if it was refused.
"""
import functools, json, pathlib, sys
from collections import Counter, defaultdict
from types import SimpleNamespace as Fields

from vault_format import (ALL, CONTROL, ROOT, Refused, X, attempt, blake3, blob_name, files, identity, need, open_blob, open_box,
                          open_keyring, open_slot, read_frame, read_frames, read_genesis, read_keyring,
                          read_phrase, read_shares, read_slot, verify)

READ, APPEND, CURATE, ADMIN = 2, 3, 4, 5
STATUS = ["void", "valid", "superseded", "retracted", "redacted"]

def right(grant, namespace):
    return grant.rights.get(namespace, grant.rights.get(ALL, 0))

class Vault:
    """The set of operations that are here, and the fold over it."""

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
        self.load(control=True)
        self.settle()

    def find(self, code, *places):
        self.findings |= {(str(code), place.hex() if isinstance(place, bytes) else place) for place in places}

    def trying(self, place, call, *arguments):
        try:
            return call(*arguments)
        except Refused as refused:
            self.find(refused, place)

    def take(self, kind, place, data):
        """Takes a file or a section (Files)."""
        name = digest = blake3(data).digest()
        if kind == "slot":
            self.slots.append((place, slot := read_slot(data, self.id)))
            name = slot.card.sign[:8]
        elif kind == "keyring":
            self.keyrings[digest] = read_keyring(data, self.id)
        elif kind == "blob":
            self.blobs[name := blob_name(data)] = data
        elif kind == "frame":
            self.keep(read_frame(data, self.id))
        else:
            for code in read_frames(data, self.id, place.startswith("tail/"), self.keep):
                self.find(code, place)
        if place and not place.startswith("tail/") and pathlib.PurePath(place).stem != name.hex():
            self.find("file.misnamed", place)

    def keep(self, frame):
        self.seals[frame.id].append(frame)

    def stand(self):
        """Keeps the seals that stand: signed, or named by a standing successor (Seal)."""
        vouched, counters = set(), defaultdict(list)
        for frames in sorted(self.seals.values(), key=lambda frames: -frames[0].counter):
            seal = frames[0]
            if seal.id not in vouched and not any(verify(f.author, "seal", f.signed, f.signature) for f in frames):
                self.find("seal.forged", seal.author)
                del self.seals[seal.id]
                continue
            counters[seal.author].append(seal.counter)
            if before := self.seals.get(seal.previous):
                fits = (before[0].author, before[0].counter + 1) == (seal.author, seal.counter)
                vouched.add(seal.previous) if fits else self.find("seal.unlinked", seal.author)
        self.find("seal.gap", *(author for author, numbers in counters.items() if len(set(numbers)) < max(numbers)))
        self.find("author.forked", *(author for author, numbers in counters.items() if len(numbers) > len(set(numbers))))

    def load(self, control):
        """Adds to the set what the boxes of control, or of data, hold (Rebox, Box)."""
        for frames in [frames for frames in self.seals.values() if frames[0].control == control]:
            failures, opened = set(), False
            for frame in [frame for frame in frames if frame.box is not None]:
                try:
                    need(not frame.altered, "box.altered")
                    keys = [key for name, key in self.keys[frame.namespace].items() if name[:16] == frame.key]
                    for op in open_box(frame, keys):
                        known, opened = self.ops.setdefault(op.id, op), True
                        known.grants |= op.grants
                        known.body = known.body or op.body
                except Refused as refused:
                    failures.add(str(refused))
            excused = {"box.missing", "box.locked"} if opened else set()
            for failure in (failures or {"box.missing"}) - excused:
                self.find(failure, frames[0].author)

    @functools.cache
    def log(self, author, namespace, sequence, at):
        """The ids of an operation of a log and of its ancestors (Frontier)."""
        ids = set()
        while (op := self.ops.get(at)) and (op.author, op.namespace, op.sequence) == (author, namespace, sequence):
            ids.add(at)
            sequence, at = sequence - 1, op.previous
        return ids

    def counts(self, op, grant):
        """Whether an operation counts under a grant, its right apart (Grants)."""
        return (op.author == grant.card.sign and grant.id in op.grants and (not grant.expires or op.time <= grant.expires)
                and all(op.id in self.log(op.author, op.namespace, *cut.get(op.namespace, (0, None))) for cut in grant.cuts))

    def settle(self):
        """Control: a walk from the root's grant down (Grants)."""
        queue = [Fields(id=ROOT, above=[], card=self.genesis.card, depth=255, expires=0, rights={ALL: ADMIN})]
        for g in queue:
            self.grants[g.id], g.cuts = g, []
            revoking = [op for op in self.ops.values() if op.targets == [g.id]]
            above = [op for op in revoking if any(self.counts(op, a) for a in g.above)]
            g.cuts += [op.body.logs for op in above]
            own = [op for op in revoking if self.counts(op, g)]
            g.cuts += [op.body.logs | {CONTROL: (op.sequence, op.id)} for op in own]
            for op in [op for op in self.ops.values() if op.kind != 17 and self.counts(op, g)]:
                b, permitted = op.body, True
                if op.kind == 16:
                    permitted = (b.parent == g.id and b.depth < g.depth and (b.expires or b.card.kind != 3)
                                 and (not g.expires or 0 < b.expires <= g.expires)
                                 and all(level <= right(g, space) for space, level in b.rights.items()))
                    queue += [Fields(**vars(b), id=op.id, above=[g, *g.above])] if permitted else []
                elif op.kind == 18:
                    permitted = right(g, b.namespace if b.number > 1 else ALL) == ADMIN
                    self.rotations += [(b, g)] if permitted else []
                else:
                    self.find("author.withheld", *(author for author, _, seal in b.heads if seal not in self.seals))
                op.status |= bool(permitted)
            for op in [*above, *own]:
                op.status = 1
        cards = [g.card for g in self.grants.values()]
        self.find("slot.foreign", *(place for place, slot in self.slots if slot.card not in cards))
        self.slots = [slot for _, slot in self.slots if slot.card in cards]

    def unlock(self, seed):
        """Opens with a member's seed what that member can read (Epoch keys and keyrings)."""
        member, named, marks = identity(seed), set(), defaultdict(lambda: defaultdict(set))
        self.member, names = member.sign, (member.sign, member.receive)
        need(any((g.card.sign, g.card.receive) == names for g in self.grants.values()), "not a member")
        for b, grant in sorted(self.rotations, key=lambda rotation: rotation[0].number):
            k, spoiled, given = self.keyrings.get(b.keyring), bool(grant.cuts), {b.commitment}
            if k is None or k.fits != (b.namespace, b.number, b.commitment):
                self.find("keyring.missing", b.keyring)
            else:
                named.add(b.keyring)
                readers = [g for g in self.grants.values() if not g.cuts and right(g, b.namespace) >= READ]
                spoiled |= not {X("recipient", k.place + g.card.receive)[:16] for g in readers} >= set(k.stanzas)
                given |= {old[0] for old in k.older}
                keys, name = self.trying(b.keyring, open_keyring, k, member) or ({}, None)
                self.keys[b.namespace] |= keys
                self.names |= {b.namespace: name} if keys else {}
            for commitment in given:
                marks[b.namespace][commitment].add(spoiled)
        self.find("keyring.foreign", *(self.keyrings.keys() - named))
        self.find("key.spoiled", *(space for space, keys in marks.items() if all(map(any, keys.values()))))
        self.load(control=False)

    def fold(self):
        """Data: what counts, what became of it, and the hash of that (The fold, 3 to 5)."""
        data = {name: op for name, op in self.ops.items() if op.namespace != CONTROL}
        for op in data.values():
            op.hits = [data[t] for t in op.targets if t in data and data[t].namespace == op.namespace]
            least = APPEND if all(t.author == op.author for t in op.hits) else CURATE
            granted = [self.grants[name] for name in op.grants if name in self.grants]
            op.status = int(any(self.counts(op, g) and right(g, op.namespace) >= least for g in granted))
        versions, acts = {op.id: {op.id} for op in data.values() if op.kind <= 2}, [op for op in data.values() if op.status]
        shredded = {t.id for op in acts if op.kind == 4 for t in op.hits}
        for op, t in [(op, t) for op in acts for t in op.hits]:
            if t.status and (op.kind == 4 or t.id in versions):
                t.status = max(t.status, op.kind)
            if op.kind == 2 and t.id in versions and t.id not in versions[op.id]:
                joined = versions[op.id] | versions[t.id]
                versions.update(dict.fromkeys(joined, joined))
        self.find("body.missing", *(op.id for op in data.values() if op.body is None and op.id not in shredded))
        self.find("operation.void", *(op.id for op in self.ops.values() if not op.status))
        places, records = Counter((op.author, op.namespace, op.sequence) for op in self.ops.values()), defaultdict(list)
        self.find("author.forked", *(author for (author, *_), times in places.items() if times > 1))
        current = [data[name] for name in versions if data[name].status == 1]
        for op in sorted(current, key=lambda op: (op.time, op.author, op.id), reverse=True):
            records[min(name for name in versions[op.id] if data[name].status)].append(op)
        counted = sorted(op.id + bytes([op.status]) for op in self.ops.values() if op.status)
        return records, blake3(self.id + b"".join(counted)).hexdigest()

    def content(self, b):
        return open_blob(b, self.blobs.get(b.digest), self.id) if b.content is None else b.content

    def report(self):
        records, state = self.fold()
        return {"vault": self.id, "member": self.member, "state": state,
                "records": [{"record": record, **{name: getattr(op, name) for name in ("id", "namespace", "author", "time")},
                             **{name: getattr(op.body, name, None) for name in ("type", "run", "receipt")},
                             "content": op.body and self.trying(op.id, self.content, op.body),
                             "conflicts": [other.id for other in others]} for record, (op, *others) in sorted(records.items())],
                "operations": {name.hex(): STATUS[op.status] for name, op in sorted(self.ops.items())},
                "namespaces": {space.hex(): name for space, name in sorted(self.names.items())},
                "findings": [{"code": code, "place": place} for code, place in sorted(self.findings)]}

def read(path, how, secret, expected=None):
    """The report on a vault; `how` says what the secret is: passphrase, phrase, shares or seed."""
    vault = Vault(path, expected)
    parsers = {"phrase": read_phrase, "shares": functools.partial(read_shares, vault=vault.id), "seed": bytes.fromhex}
    if how == "passphrase":
        seed = next(filter(None, (open_slot(slot, secret) for slot in vault.slots)), None)
    else:
        seed = attempt(how, parsers[how], secret)
    need(seed, how)
    vault.unlock(seed)
    return json.loads(json.dumps(vault.report(), default=bytes.hex))

if __name__ == "__main__":
    try:
        print(json.dumps(read(sys.argv[1], sys.argv[2], sys.stdin.read().rstrip("\n"), *sys.argv[3:]), indent=1))
    except Refused as refused:
        print(json.dumps({"refused": str(refused)}))
        sys.exit(1)
