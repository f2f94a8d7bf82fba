"""The independent reader against vaults of its own small writer, and against every vector of the crates.

    python -m unittest discover -s vaults/reader
"""
import itertools
import json
import pathlib
import random
import tempfile
import unittest
from types import SimpleNamespace

from mnemonic import Mnemonic

import vault_format
from read_vault import read
from vault_format import Refused
from writer import ALL, CONTROL, REDACT, RETRACT, SUPERSEDE, Member, Writer, blake3, u

NOTES, HEALTH = b"n" * 16, b"h" * 16


def opened(vault, seed, frames=None, **secret):
    """What the reader says of a portable file."""
    if frames is not None:
        vault.frames, kept = frames, vault.frames
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vault"
        path.write_bytes(vault.portable())
        if frames is not None:
            vault.frames = kept
        [(how, text)] = (secret or {"seed": seed.hex()}).items()
        return read(path, how, text)


def codes(report):
    return sorted({finding["code"] for finding in report["findings"]})


def texts(report):
    return sorted(bytes.fromhex(r["content"]).decode() for r in report["records"] if r["content"] is not None)


class Case(unittest.TestCase):
    def setUp(self):
        self.vault = Writer()
        self.device, self.agent = Member("device", 2), Member("agent", 3)
        self.vault.grant(self.vault.root, self.device, {ALL: 5}, depth=8)
        self.key = self.vault.rotate(self.device, NOTES, 1, [self.vault.root, self.device])

    def report(self, frames=None, member=None):
        return opened(self.vault, (member or self.vault.root).seed, frames)

    def admit_agent(self, right=3, **limits):
        expires = limits.pop("expires", 1 << 60)
        self.vault.grant(self.device, self.agent, {NOTES: right}, expires=expires, **limits)
        everyone = [self.vault.root, self.device, self.agent]
        self.key = self.vault.rotate(self.device, NOTES, 2, everyone, older=[self.key])


class Opens(Case):
    def test_by_passphrase_phrase_and_seed_from_a_file_and_a_folder(self):
        slot = Member("slot", 1)
        self.vault.grant(self.vault.root, slot, {ALL: 5}, depth=9)
        self.vault.slot(slot, "\u00c5ngstr\u00f6m")
        self.key = self.vault.rotate(self.device, NOTES, 2, [self.vault.root, self.device, slot], older=[self.key])
        self.vault.add(self.device, NOTES, b"one", b"two")
        words = Mnemonic("english").to_mnemonic(self.vault.root.seed)
        by_phrase = opened(self.vault, None, phrase=words)
        by_passphrase = opened(self.vault, None, passphrase="A\u030angstro\u0308m")
        self.assertEqual(texts(by_phrase), ["one", "two"])
        self.assertEqual(codes(by_phrase), [])
        self.assertEqual(by_phrase["namespaces"], {NOTES.hex(): "notes"})
        self.assertEqual({**by_passphrase, "member": ""}, {**by_phrase, "member": ""})
        with tempfile.TemporaryDirectory() as folder:
            self.vault.folder(pathlib.Path(folder) / "v")
            self.assertEqual(read(pathlib.Path(folder) / "v", "seed", self.vault.root.seed.hex()), by_phrase)
        with self.assertRaisesRegex(Refused, "passphrase"):
            opened(self.vault, None, passphrase="angstrom")

    def test_keys_of_older_epochs(self):
        self.vault.add(self.device, NOTES, b"old")
        self.admit_agent()
        self.vault.add(self.agent, NOTES, b"new")
        self.assertEqual(texts(self.report(member=self.agent)), ["new", "old"])

    def test_boxes_of_many_chunks_and_blobs(self):
        contents = [bytes([n % 251 for n in range(length)]) for length in (0, 1, 65536, 65537, 200_000)]
        for content in contents:
            reference, listed = self.vault.blob(f"blob {len(content)}", content)
            self.vault.seal(self.device, NOTES, [self.vault.operation(1, b"\4\4file" + reference)], blobs=[listed])
        self.vault.add(self.device, NOTES, *(bytes([65 + n]) * 40_000 for n in range(5)))
        report = self.report()
        self.assertEqual(codes(report), [])
        found = [bytes.fromhex(r["content"]) for r in report["records"] if r["type"] == "file"]
        self.assertEqual(sorted(found), sorted(contents))
        self.assertEqual(sum(r["type"] == "note" for r in report["records"]), 5)

    def test_a_blob_in_a_folder_is_named_by_its_header(self):
        reference, listed = self.vault.blob("in a folder", bytes(100_000))
        self.vault.seal(self.device, NOTES, [self.vault.operation(1, b"\4\4file" + reference)], blobs=[listed])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vault"
            self.vault.folder(path)
            (path / "blob" / "begun.part").write_bytes(b"half")
            self.assertEqual(codes(read(path, "seed", self.vault.root.seed.hex())), [])
            file, = (path / "blob").glob("*.blob")
            for place in (0, 40, 96, -1):
                data = bytearray(file.read_bytes())
                data[place] ^= 1
                file.write_bytes(data)
                self.assertIn("blob.missing" if place == 0 or place == 40 else "blob.damaged", codes(read(path, "seed", self.vault.root.seed.hex())), place)
                data[place] ^= 1
                file.write_bytes(data)

    def test_nothing_for_a_stranger(self):
        with self.assertRaisesRegex(Refused, "not a member"):
            self.report(member=Member("stranger", 2))

    def test_a_namespace_that_is_not_shared_stays_locked(self):
        self.admit_agent()
        self.vault.rotate(self.device, HEALTH, 1, [self.vault.root, self.device], name="health")
        self.vault.add(self.device, HEALTH, b"secret")
        report = self.report(member=self.agent)
        self.assertEqual((texts(report), codes(report)), ([], ["box.locked"]))
        self.assertEqual(report["namespaces"], {NOTES.hex(): "notes"})


class Folds(Case):
    def test_any_order_and_doubling_gives_one_state(self):
        self.admit_agent(right=4)
        first, second = self.vault.add(self.device, NOTES, b"a", b"b")
        self.vault.seal(self.agent, NOTES, [self.vault.operation(SUPERSEDE, self.vault.record(b"c"), [first])])
        self.vault.seal(self.device, NOTES, [self.vault.operation(SUPERSEDE, self.vault.record(b"d"), [first])])
        self.vault.seal(self.agent, NOTES, [self.vault.operation(RETRACT, b"wrong", [second])])
        want = self.report()
        self.assertEqual(texts(want), ["d"])
        self.assertEqual(len(want["records"][0]["conflicts"]), 1)
        shuffled = self.vault.frames * 2
        for n in range(10):
            random.Random(n).shuffle(shuffled)
            self.assertEqual(self.report(list(shuffled)), want)

    def test_a_long_chain_of_versions_is_one_record(self):
        [first] = [shown] = self.vault.add(self.device, NOTES, b"0")
        for n in range(1, 1200):
            [shown] = self.vault.seal(self.device, NOTES, [self.vault.operation(SUPERSEDE, self.vault.record(b"%d" % n), [shown])])
        [record] = self.report(self.vault.frames[::-1])["records"]
        self.assertEqual((record["id"], bytes.fromhex(record["content"])), (shown.hex(), b"1199"))
        self.assertLessEqual(record["record"], first.hex())

    def test_append_does_not_change_what_others_wrote(self):
        self.admit_agent(right=3)
        [first] = self.vault.add(self.device, NOTES, b"mine")
        [own] = self.vault.add(self.agent, NOTES, b"its")
        self.vault.seal(self.agent, NOTES, [self.vault.operation(RETRACT, b"", [first])])
        self.vault.seal(self.agent, NOTES, [self.vault.operation(RETRACT, b"", [own])])
        report = self.report()
        self.assertEqual((texts(report), codes(report)), (["mine"], ["operation.void"]))

    def test_redaction_keeps_ids_and_state(self):
        operations = [self.vault.operation(1, self.vault.record(text)) for text in (b"keep", b"burn")]
        keep, burn = self.vault.seal(self.device, NOTES, operations)
        frame = self.vault.frames[-1]
        self.vault.seal(self.device, NOTES, [self.vault.operation(REDACT, b"", [burn])])
        want = self.report()
        said, commitment, _ = operations[1]
        gone = [operations[0][2], said + b"\0" + commitment]
        frames = [self.vault.rebox(f, self.device, gone, self.key) if f == frame else f for f in self.vault.frames]
        self.assertEqual(texts(want), ["keep"])
        self.assertEqual(self.report(frames), want)
        without_redaction = self.report(frames[:-1])
        self.assertEqual((codes(without_redaction), len(without_redaction["records"])), (["body.missing"], 2))
        self.assertEqual(texts(self.report([*frames[:-1], frame])), ["burn", "keep"])


class Members(Case):
    def test_only_narrower_grants(self):
        cases = {
            "right": dict(rights={NOTES: 4}), "all": dict(rights={ALL: 3}), "depth": dict(depth=2),
            "expires": dict(expires=1 << 61), "never": dict(expires=0), "parent": dict(parent=bytes(32)),
        }
        self.admit_agent(right=3, depth=2)
        good = Member("good", 3)
        self.vault.grant(self.agent, good, {NOTES: 3}, depth=1, expires=1 << 59)
        self.vault.add(good, NOTES, b"good")
        for name, change in cases.items():
            member = Member(name, 2)
            arguments = {"rights": {NOTES: 2}, "depth": 1, "expires": 1 << 59} | change
            self.vault.grant(self.agent, member, arguments.pop("rights"), **arguments)
            self.vault.add(member, NOTES, name.encode())
        report = self.report()
        self.assertEqual(texts(report), ["good"])
        self.assertEqual(sum(s == "void" for s in report["operations"].values()), 2 * len(cases))

    def test_an_agent_without_an_end_is_not_admitted(self):
        self.admit_agent(expires=0)
        self.vault.add(self.agent, NOTES, b"x")
        self.assertEqual(texts(self.report()), [])

    def test_what_is_written_after_its_end_is_void(self):
        self.admit_agent(expires=(2000 << 16))
        self.vault.add(self.agent, NOTES, b"before")
        late = self.vault.operation(1, self.vault.record(b"late"), time=(2000 << 16) + 1)
        self.vault.seal(self.agent, NOTES, [late])
        self.assertEqual(texts(self.report()), ["before"])

    def test_revocation_cuts_at_its_frontier_also_a_second_history(self):
        self.admit_agent()
        self.vault.add(self.agent, NOTES, b"1")
        twin = self.agent.copy()
        self.vault.add(self.agent, NOTES, b"2")
        frontier = dict(self.agent.logs)
        self.vault.add(self.agent, NOTES, b"3")
        self.vault.add(twin, NOTES, b"2'")
        before = self.report()
        self.assertEqual((texts(before), codes(before)), (["1", "2", "2'", "3"], ["author.forked"]))
        self.vault.revoke(self.device, self.agent.grant, frontier)
        self.assertEqual(texts(self.report()), ["1", "2"])

    def test_of_two_revocations_both_bind(self):
        self.admit_agent()
        self.vault.add(self.agent, NOTES, b"1")
        frontier = dict(self.agent.logs)
        self.vault.add(self.agent, NOTES, b"2")
        self.vault.revoke(self.device, self.agent.grant, self.agent.logs)
        self.vault.revoke(self.vault.root, self.agent.grant, frontier)
        self.assertEqual(texts(self.report()), ["1"])

    def test_the_one_below_and_the_one_beside_revoke_nothing(self):
        other = Member("other", 2)
        self.vault.grant(self.vault.root, other, {ALL: 5}, depth=8)
        self.admit_agent(depth=1)
        self.vault.add(self.agent, NOTES, b"agent")
        self.vault.add(self.device, NOTES, b"device")
        self.vault.revoke(other, self.device.grant, {})
        self.vault.revoke(other, self.agent.grant, {})
        self.vault.revoke(self.agent, self.device.grant, {})
        self.assertEqual(texts(self.report()), ["agent", "device"])

    def test_one_may_give_up_ones_own_grant_also_twice_on_two_branches(self):
        self.vault.add(self.device, NOTES, b"kept")
        twin = self.device.copy()
        self.vault.revoke(self.device, self.device.grant, self.device.logs)
        self.vault.add(self.device, NOTES, b"late")
        self.assertEqual(texts(self.report()), ["kept"])
        self.vault.clock += 1
        self.vault.revoke(twin, twin.grant, {})
        report = self.report()
        self.assertEqual((texts(report), codes(report)), ([], ["author.forked", "key.spoiled", "operation.void"]))
        for frames in itertools.islice(itertools.permutations(self.vault.frames), 0, 720, 119):
            self.assertEqual(self.report(list(frames)), report)

    def test_a_key_that_a_removed_member_got_in_a_race_is_spoiled(self):
        other = Member("other", 2)
        self.vault.grant(self.vault.root, other, {ALL: 5}, depth=8)
        self.admit_agent()
        self.vault.revoke(self.device, self.agent.grant, {})
        self.assertEqual(codes(self.report()), ["key.spoiled"])
        self.vault.rotate(self.device, NOTES, 3, [self.vault.root, self.device, other])
        self.vault.rotate(other, NOTES, 4, [self.vault.root, self.device, other, self.agent])
        self.assertEqual(codes(self.report()), [])
        self.vault.revoke(self.vault.root, self.device.grant, self.device.logs)
        self.assertEqual(codes(self.report()), ["key.spoiled"])

    def test_frames_of_nobody_do_not_change_the_state(self):
        want = self.report()
        nobody = Member("nobody", 2)
        nobody.grant = self.device.grant
        self.vault.grant(nobody, self.agent, {NOTES: 3}, expires=9)
        report = self.report()
        self.assertEqual(report["state"], want["state"])
        self.assertEqual(codes(report), ["operation.void"])


class Attacks(Case):
    """The storage changes something."""

    def test_no_changed_byte_goes_unnoticed(self):
        self.vault.add(self.device, NOTES, b"one")
        want = self.report()
        for frame_number, at in itertools.product((0, len(self.vault.frames) - 1), range(0, 700, 13)):
            frames = [bytearray(f) for f in self.vault.frames]
            if at < len(frames[frame_number]):
                frames[frame_number][at] ^= 4
                report = self.report([bytes(f) for f in frames])
                self.assertTrue(codes(report), f"frame {frame_number} byte {at}")
                self.assertLessEqual(set(texts(report)), set(texts(want)))

    def test_a_forged_signature_counts_only_if_a_successor_vouches(self):
        self.vault.add(self.device, NOTES, b"one")
        self.vault.add(self.device, NOTES, b"two")
        frames = list(self.vault.frames)
        forge = lambda frame: frame[:294] + bytes(64) + frame[358:]
        self.assertEqual(texts(self.report([*frames[:-2], forge(frames[-2]), frames[-1]])), ["one", "two"])
        report = self.report([*frames[:-1], forge(frames[-1])])
        self.assertEqual((texts(report), codes(report)), (["one"], ["seal.forged"]))

    def test_a_hole_and_what_a_checkpoint_has_seen(self):
        self.vault.add(self.device, NOTES, b"one")
        self.vault.add(self.device, NOTES, b"two")
        frames = list(self.vault.frames)
        report = self.report(frames[:-2] + frames[-1:])
        self.assertEqual((texts(report), codes(report)), (["two"], ["seal.gap"]))
        head = self.device.sign + u(8, self.device.counter) + self.device.previous
        self.vault.seal(self.vault.root, CONTROL, [self.vault.operation(19, u(2, 1) + head)])
        self.assertEqual(codes(self.report()), [])
        frames = self.vault.frames
        self.assertEqual(codes(self.report(frames[:-2] + frames[-1:])), ["author.withheld"])

    def test_a_cut_tail_is_no_damage_and_a_wrong_length_takes_nothing_along(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            for text in (b"one", b"two", b"three", b"four"):
                self.vault.add(self.device, NOTES, text)
            self.vault.folder(path / "v")
            tail = path / "v" / "tail" / f"{self.device.sign.hex()}.log"
            whole, seed = tail.read_bytes(), self.vault.root.seed.hex()
            frames = [f for f in self.vault.frames[1::2] if f[38:70] == self.device.sign]
            for length in (len(whole) - 1, len(whole) - len(frames[-1]) + 1):
                tail.write_bytes(whole[:length])
                self.assertEqual(codes(read(path / "v", "seed", seed)), ["tail.cut"])
            altered = frames[-1][:-1] + b"x"
            for junk in (altered, altered + bytes(900), bytes(100) + altered[100:], frames[-1][:400] + bytes(900)):
                tail.write_bytes(whole[:-len(frames[-1])] + junk)
                self.assertEqual(codes(read(path / "v", "seed", seed)), ["tail.cut"])
            tail.write_bytes(whole + bytes(900))
            report = read(path / "v", "seed", seed)
            self.assertEqual((texts(report), codes(report)), (["four", "one", "three", "two"], []))
            tail.write_bytes(whole[:12] + b"\xff" + whole[13:])
            report = read(path / "v", "seed", seed)
            self.assertIn("frame.damaged", codes(report))
            self.assertNotIn("tail.cut", codes(report))

    def test_a_spoiled_or_foreign_keyring(self):
        self.vault.keyrings.append(self.vault.keyrings[0][:-1] + b"x")
        self.assertEqual(codes(self.report()), ["keyring.foreign"])
        del self.vault.keyrings[0]
        self.assertEqual(codes(self.report()), ["keyring.foreign", "keyring.missing"])

    def test_a_slot_is_changed_foreign_or_ruinous(self):
        slot = Member("slot", 1)
        self.vault.slot(slot, "pass")
        self.assertEqual(codes(self.report()), ["slot.foreign"])
        good = self.vault.slots[0]
        for at in range(0, len(good), 7):
            self.vault.slots = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1:]]
            self.assertIn(codes(self.report()), (["slot.damaged"], ["slot.foreign"]), at)

    def test_a_foreign_slot_does_not_shut_the_others(self):
        slot = Member("slot", 1)
        self.vault.grant(self.vault.root, slot, {ALL: 5}, depth=9)
        self.vault.slot(Member("foreign", 1), "theirs")
        self.vault.slot(slot, "mine")
        self.assertEqual(codes(opened(self.vault, None, passphrase="mine")), ["slot.foreign"])
        with self.assertRaisesRegex(Refused, "passphrase"):
            opened(self.vault, None, passphrase="theirs")

    def test_a_portable_file_that_is_cut(self):
        whole = self.vault.portable()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "v"
            for length in range(0, len(whole), 97):
                path.write_bytes(whole[:length])
                with self.assertRaises(Refused):
                    read(path, "seed", self.vault.root.seed.hex())

    def test_another_vault(self):
        other = Writer("other")
        with self.assertRaisesRegex(Refused, "genesis.other"):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "v"
                path.write_bytes(other.portable())
                read(path, "seed", other.root.seed.hex(), self.vault.id.hex())


class Vectors(unittest.TestCase):
    """What the crates wrote, read as the manifest says."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(__file__).parent.parent / "format" / "vectors"
        cls.manifest = json.loads((cls.folder / "manifest.json").read_text())

    def test_every_object_is_taken_or_refused_by_the_same_word(self):
        for vector in self.manifest["objects"]:
            with self.subTest(vector["name"], what=vector["what"]):
                inputs = vector["inputs"]
                try:
                    getattr(self, vector["object"])(self.folder / vector["file"], bytes.fromhex(inputs["vault"]), inputs)
                    word = None
                except Refused as refused:
                    word = str(refused)
                self.assertEqual(word is None, vector["expect"] == "success", word)
                if "code" in vector:
                    self.assertEqual(word, vector["code"])

    def test_every_vault_gives_the_same_answer(self):
        for vector in self.manifest["vaults"]:
            with self.subTest(vector["name"], what=vector["what"]):
                secret, want = vector["secret"], vector["answer"]
                try:
                    report = read(self.folder / vector["path"], secret["how"], secret["value"], vector["id"])
                    answer = {name: report[name] for name in ("state", "records", "operations")} | {"findings": codes(report)}
                except Refused as refused:
                    answer = {"refused": str(refused)}
                self.assertEqual(answer, want)

    def genesis(self, path, vault, inputs):
        self.assertEqual(vault_format.read_genesis(path.read_bytes()).id, vault)

    def slot(self, path, vault, inputs):
        seed = vault_format.open_slot(vault_format.read_slot(path.read_bytes(), vault), inputs["passphrase"])
        vault_format.need(seed, "passphrase")
        self.assertEqual(seed.hex(), inputs["seed"])

    def keyring(self, path, vault, inputs):
        member = vault_format.identity(bytes.fromhex(inputs["member_seed"]))
        keys, name = vault_format.open_keyring(vault_format.read_keyring(path.read_bytes(), vault), member)
        vault_format.need(keys, "no stanza")
        self.assertEqual(([key.hex() for key in keys.values()], name), ([inputs["key"], inputs["older"]], inputs["name"]))

    def frame(self, path, vault, inputs):
        frame = vault_format.read_frame(path.read_bytes(), vault)
        vault_format.need(vault_format.verify(frame.author, "seal", frame.signed, frame.signature), "seal.forged")
        if frame.box is not None:
            vault_format.need(not frame.altered, "box.altered")
            vault_format.open_box(frame, [bytes.fromhex(inputs["epoch_key"])] if "epoch_key" in inputs else [])

    def segment(self, path, vault, inputs):
        for code in vault_format.read_frames(path.read_bytes(), vault, False, lambda frame: None):
            raise Refused(code)

    def portable(self, path, vault, inputs):
        (_, _, genesis), *_ = vault_format.files(path)
        self.assertEqual(vault_format.read_genesis(genesis).id, vault)

    def blob(self, path, vault, inputs):
        data, digest = path.read_bytes(), bytes.fromhex(inputs["hash"])
        record = SimpleNamespace(key=bytes.fromhex(inputs["key"]), digest=digest, length=int(inputs["length"]))
        content = vault_format.open_blob(record, data, vault)
        self.assertEqual(blake3(content).hexdigest(), inputs["content_blake3"])

    def phrase(self, path, vault, inputs):
        self.assertEqual(vault_format.read_phrase(path.read_text()).hex(), inputs["seed"])

    def shares(self, path, vault, inputs):
        self.assertEqual(vault_format.read_shares(path.read_text(), vault).hex(), inputs["seed"])


if __name__ == "__main__":
    unittest.main()
