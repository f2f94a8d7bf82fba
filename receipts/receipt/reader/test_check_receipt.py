"""Runs the published vectors through the independent reader: it must say of each what the vector expects.

    python -m unittest -v
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from check_receipt import Refused, check, load, verified

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = sorted((HERE.parent / 'vectors').glob('*.json'))


def receipt_of(vector):
    receipt = vector['receipt']
    if 'text' in receipt:
        return receipt['text'].encode()
    if 'hex' in receipt:
        return bytes.fromhex(receipt['hex'])
    text, times = receipt['repeat']
    return (text * times).encode()


def judge(vector):
    """What the reader says, in the vector's words. How a reader words the fault of a file that is no receipt is its own."""
    given = vector['context']
    expected = {'nonce': given.get('expectedNonce'), 'model': given.get('expectedWeights'), 'component': given.get('expectedComponent')}
    for name in ('policy', 'openings'):
        try:
            vector[name] and load(vector[name], name)
        except Refused:
            return {'refused': name}
    checks = check(receipt_of(vector), vector['policy'], vector['openings'], given['now'], expected, given.get('seenNonces'),
                   given.get('knownSince'))
    return {'verified': verified(checks), 'checks': checks}


def without_format_reason(result):
    if 'checks' in result:
        result = dict(result, checks=dict(result['checks'], format=result['checks']['format'].split(' ')[0]))
    return result


class Vectors(unittest.TestCase):
    def test_there_are_vectors(self):
        self.assertGreater(len(VECTORS), 90)

    def test_every_vector_gets_its_verdict(self):
        for path in VECTORS:
            vector = json.loads(path.read_text())
            with self.subTest(vector['name']):
                self.assertEqual(without_format_reason(judge(vector)), without_format_reason(vector['expect']))


class Documents(unittest.TestCase):
    """Policies and files of openings that are no such thing are refused, whatever they are instead."""

    def test_values_of_the_wrong_kind_are_refused(self):
        field = '"field": "urn:tally:run:v1#/input", "salt": "%s"' % ('00' * 32)
        for value in ('{"bytes": 1}', '{"bytes": "AB=="}', '{"text": "\\ud800"}', '{"tokens": [4294967296]}', '{"tokens": "1"}', '{"tokens": [-0]}', '[]', 'null',
                      '{"text": "", "bytes": ""}', '{}'):
            text = '{"format": "tally-openings-v1", "receipt": "%s", "openings": [{%s, "value": %s}]}' % ('00' * 32, field, value)
            with self.subTest(value), self.assertRaises(Refused):
                load(text, 'openings')

    def test_other_encodings_are_refused(self):
        vector = json.loads((HERE.parent / 'vectors' / 'valid.json').read_text())
        load(vector['policy'].encode(), 'policy')
        for encoding in ('utf-16', 'utf-32', 'utf-8-sig'):
            with self.subTest(encoding), self.assertRaises(Refused):
                load(vector['policy'].encode(encoding), 'policy')


class Tampering(unittest.TestCase):
    def test_no_flipped_bit_of_a_receipt_is_accepted(self):
        vector = json.loads((HERE.parent / 'vectors' / 'valid.json').read_text())
        data = receipt_of(vector)
        self.assertTrue(verified(check(data, vector['policy'], None, vector['context']['now'])))
        for at in range(len(data)):
            for mask in (0x01, 0x20, 0x80):
                flipped = data[:at] + bytes([data[at] ^ mask]) + data[at + 1:]
                self.assertFalse(verified(check(flipped, vector['policy'], None, vector['context']['now'])), (at, mask))


class Command(unittest.TestCase):
    def run_on(self, name):
        vector = json.loads((HERE.parent / 'vectors' / name).read_text())
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / 'receipt').write_bytes(receipt_of(vector))
            arguments = [sys.executable, HERE / 'check_receipt.py', folder / 'receipt', '--now', vector['context']['now']]
            for option in ('policy', 'openings'):
                if vector[option] is not None:
                    (folder / option).write_text(vector[option])
                    arguments += ['--' + option, folder / option]
            return subprocess.run(arguments, capture_output=True, text=True)

    def test_exit_codes_say_verified_not_verified_and_misuse(self):
        self.assertEqual(self.run_on('valid.json').returncode, 0)
        self.assertEqual(self.run_on('valid-one-field-open.json').returncode, 0)
        self.assertEqual(self.run_on('no-policy.json').returncode, 1)
        self.assertEqual(self.run_on('truncated.json').returncode, 1)
        self.assertEqual(self.run_on('policy-key-twice.json').returncode, 2)

    def test_each_check_is_printed(self):
        self.assertIn('signer-trusted: not-established no-policy', self.run_on('no-policy.json').stdout)


if __name__ == '__main__':
    unittest.main()
