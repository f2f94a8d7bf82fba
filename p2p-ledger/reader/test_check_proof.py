"""Runs the published vectors through the independent reader: it must say of each what the vector expects.

    python -m unittest -v
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from check_proof import Genesis, check, read_policy, unix_ms, verified

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = sorted((HERE.parent / 'vectors').glob('*.json'))


def judge(vector):
    genesis, policy, receipt = vector['genesis'], vector['policy'], vector['receipt']
    return check(
        bytes.fromhex(vector['proof']),
        None if receipt is None else bytes.fromhex(receipt),
        None if genesis is None else Genesis(genesis),
        None if policy is None else read_policy(policy),
        unix_ms(vector['now']),
    )


class Vectors(unittest.TestCase):
    def test_there_are_some(self):
        self.assertGreater(len(VECTORS), 40)

    def test_each_is_judged_as_it_says(self):
        for path in VECTORS:
            vector = json.loads(path.read_text())
            with self.subTest(path.stem, comment=vector['comment']):
                said = judge(vector)
                self.assertEqual(said, vector['expect']['checks'])
                self.assertEqual(verified(said), vector['expect']['verified'])

    def test_the_program_says_it_by_its_exit_code(self):
        for name, code in [('valid-finality', 0), ('too-few-votes', 1)]:
            vector = json.loads((HERE.parent / 'vectors' / f'{name}.json').read_text())
            with tempfile.TemporaryDirectory() as folder:
                proof, genesis = pathlib.Path(folder, 'proof'), pathlib.Path(folder, 'genesis')
                proof.write_bytes(bytes.fromhex(vector['proof']))
                genesis.write_text(vector['genesis'])
                command = [sys.executable, HERE / 'check_proof.py', proof, '--genesis', genesis, '--now', vector['now']]
                self.assertEqual(subprocess.run(command, capture_output=True).returncode, code)
        self.assertEqual(subprocess.run([*command[:3], '--genesis', HERE / 'check_proof.py'], capture_output=True).returncode, 2)


if __name__ == '__main__':
    unittest.main()
