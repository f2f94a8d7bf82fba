"""The independent reader and the crate agree on every vector, and no flipped byte is accepted.

    python -m unittest discover -s runtime/journal/reader
"""
import json
import pathlib
import unittest

from check_journal import check

VECTORS = pathlib.Path(__file__).parent.parent / "vectors"


class Vectors(unittest.TestCase):
    def test_agrees_with_the_crate_on_every_vector(self):
        expected = json.loads((VECTORS / "expected.json").read_text())
        names = sorted(path.stem for path in VECTORS.glob("*.journal"))
        self.assertEqual(names, sorted(expected))
        for name in names:
            with self.subTest(name):
                verdict = {key: value for key, value in expected[name].items() if key != "sentence"}
                self.assertEqual(check((VECTORS / f"{name}.journal").read_bytes()), verdict)

    def test_accepts_no_flipped_byte(self):
        good = (VECTORS / "good-sealed.journal").read_bytes()
        for at in range(len(good)):
            bad = bytearray(good)
            bad[at] ^= 0x01
            self.assertNotIn("accepted", check(bytes(bad)), f"byte {at}")

    def test_accepts_no_cut_as_sealed(self):
        good = (VECTORS / "good-sealed.journal").read_bytes()
        for length in range(len(good)):
            self.assertNotEqual(check(good[:length]).get("accepted"), "sealed", f"{length} bytes")


if __name__ == "__main__":
    unittest.main()
