"""Checks a proof that a receipt was settled. Written from docs/ledger.md and docs/log.md; shares nothing with the Rust code.

    python check_proof.py PROOF [--receipt FILE] [--genesis FILE] [--policy FILE] [--now TIME]

Prints each check; exits 0 when verified, 1 when not, 2 when the genesis or the policy cannot be used. Needs the packages
`blake3` and `cryptography`, for the primitives that Python does not have. Python 3.11."""
import argparse, base64, datetime, hashlib, re, struct, sys, tomllib
from blake3 import blake3
from ed25519 import good_key, point, strict, zip215

class Refused(Exception): pass
def need(condition, why):
    if not condition: raise Refused(why)

def H(purpose, data): return blake3(data, derive_key_context=f'tally-ledger v1 2026-11-29 {purpose}').digest()
def varint(number):
    out = b''
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])

class Reader:
    def __init__(self, data): self.data, self.at = data, 0
    def take(self, count):
        need(self.at + count <= len(self.data), 'truncated')
        self.at += count
        return self.data[self.at - count:self.at]
    def number(self, count): return int.from_bytes(self.take(count), 'big')
    def varint(self):
        value = 0
        for place in range(10):
            byte = self.number(1)
            need(not (place == 9 and byte > 1) and not (place and not byte), 'a needless byte in a varint')
            value |= (byte & 127) << 7 * place
            if byte < 128: return value
        raise Refused('a varint without an end')
    def key(self):
        need(good_key(self.data[self.at:self.at + 32]), 'not a key')
        return self.take(32)
    def votes(self):
        view, parent, count = self.varint(), self.varint(), self.number(2)
        need(1 <= count <= 256, 'the number of validators')
        bits = int.from_bytes(self.take((count + 7) // 8), 'little')
        need(0 < bits < 1 << count, 'the voters')
        voters = [index for index in range(count) if bits >> index & 1]
        return view, parent, count, [(index, self.take(64)) for index in voters]
    def validators(self):
        listed = [(self.key(), self.key(), self.take(self.number(1))) for _ in range(self.number(2))]
        checked_validators(listed)
        need(listed == sorted(listed), 'validators out of order')
        return listed
def checked_validators(listed):
    need(1 <= len(listed) <= 256, 'the number of validators')
    need(len({key for one in listed for key in one[:2]}) == 2 * len(listed), 'a key twice')
    need(len({name for *_, name in listed}) == len(listed), 'a name twice')
    need(all(good_key(vote) and point(vote) for vote, *_ in listed), 'a vote key that nobody can have')
    need(all(re.fullmatch(rb'[a-z0-9._-]{1,64}', name) for *_, name in listed), 'a name')
def validators_bytes(listed): return struct.pack('>H', len(listed)) + b''.join(v + c + bytes([len(n)]) + n for v, c, n in listed)
def quorum(count): return count - (count - 1) // 3

class Genesis:
    def __init__(self, text):
        file = tomllib.loads(text)
        need(file['format'] == 'tally-genesis-v1', 'another format')
        given = file.get('parameters', {})
        registration = ['open', 'by-validators'].index(given.get('registration', 'open'))
        name, key = file['name'].encode(), lambda text: bytes.fromhex(text)
        self.validators = sorted((key(v['vote']), key(v['checkpoint']), v['name'].encode()) for v in file['validators'])
        checked_validators(self.validators)
        accounts = sorted((key(a['key']), a['credits']) for a in file.get('accounts', []))
        faucet, data = file.get('faucet'), bytes([len(name)]) + name + struct.pack('>QBII', unix_ms(file['time']), registration,
            given.get('block-bytes', 2 << 20), given.get('block-receipts', 20000)) + validators_bytes(self.validators)
        data += struct.pack('>H', len(accounts)) + b''.join(k + struct.pack('>Q', c) for k, c in accounts)
        data += b'\1' + struct.pack('>QQ', faucet['each'], faucet['total']) if faucet else b'\0'
        self.chain = H('genesis', data)
        self.origin = f'tally/{file["name"]}-{self.chain.hex()[:16]}'
    def policy(self):
        cosigners = {f'{self.origin}/{name.decode()}': key for _, key, name in self.validators}
        witnesses = {(name, key_id(name, 4, key)): key for name, key in cosigners.items()}
        logs = {(self.origin, key_id(self.origin, 1, key)): key for _, key, _ in self.validators}
        return logs, witnesses, lambda seen: len(seen) >= quorum(len(witnesses))
def unix_ms(text):
    moment = datetime.datetime.strptime(text, '%Y-%m-%dT%H:%M:%S.%fZ').replace(tzinfo=datetime.timezone.utc)
    return round(moment.timestamp() * 1000)
def b64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, 'base64 in another spelling')
    return data
def key_id(name, kind, key): return hashlib.sha256(name.encode() + b'\n' + bytes([kind]) + key).digest()[:4]

def read_policy(text):
    """Logs and witnesses by name and id, and whether the quorum is among those seen."""
    logs, witnesses, rules, whole = {}, {}, {}, None
    for words in (line.split() for line in text.splitlines() if line.strip() and not line.strip().startswith('#')):
        if words[0] in ('log', 'witness'):
            name, number, encoded = words[-1 if words[0] == 'log' else 2].split('+', 2)
            kind, key = b64(encoded)[0], b64(encoded)[1:]
            need(kind == (1 if words[0] == 'log' else 4) and key_id(name, kind, key).hex() == number, 'a key')
            place = name, key_id(name, kind, key)
            (logs if words[0] == 'log' else witnesses)[place] = key
            rules[words[1]] = lambda seen, place=place: place in seen
        elif words[0] == 'group':
            members = [rules[name] for name in words[3:]]
            least = {'all': len(members), 'any': 1}.get(words[2]) or int(words[2])
            rules[words[1]] = lambda seen, m=members, k=least: sum(rule(seen) for rule in m) >= k
        else:
            need(words[0] == 'quorum' and whole is None, 'a line')
            whole = (lambda seen: True) if words[1] == 'none' else rules[words[1]]
    need(whole and logs, 'no quorum or no log')
    return logs, witnesses, whole

class Checkpoint:
    def __init__(self, data):
        note = data.decode()
        need(not re.search(r'[\x00-\x09\x0b-\x1f]', note) and note.endswith('\n'), 'not a note')
        text, lines = note.rsplit('\n\n', 1)
        self.text = text + '\n'
        self.origin, size, root = text.split('\n')
        need(re.fullmatch('0|[1-9][0-9]*', size), 'the size')
        self.size, self.root, self.signatures = int(size), b64(root), []
        for line in lines[:-1].split('\n'):
            name, signature = re.fullmatch('— ([^ +]+) ([^ ]+)', line).groups()
            self.signatures.append((name, b64(signature)[:4], b64(signature)[4:]))
    def judge(self, policy):
        logs, witnesses, whole = policy
        signed, seen = False, {}
        for name, number, signature in self.signatures:
            place = name, number
            if place in logs and name == self.origin:
                if not strict(logs[place], self.text.encode(), signature): return 'fail bad-signature', None
                signed = True
            elif place in witnesses:
                at = int.from_bytes(signature[:8], 'big')
                message = f'cosignature/v1\ntime {at}\n{self.text}'.encode()
                if not strict(witnesses[place], message, signature[8:]): return 'fail bad-signature', None
                seen[place] = at
        return ('pass', 1000 * max(seen.values())) if signed and whole(seen) else ('fail not-cosigned', None)

def root_of(entry, index, size, hashes):
    """RFC 9162, 2.1.3.2."""
    need(index < size, 'no such leaf')
    node, last, value = index, size - 1, hashlib.sha256(b'\0' + entry).digest()
    for sibling in hashes:
        need(last > 0, 'too many hashes')
        left = node & 1 or node == last
        value = hashlib.sha256(b'\1' + (sibling + value if left else value + sibling)).digest()
        while left and not node & 1 and node:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    need(last == 0, 'too few hashes')
    return value

def final(chain, validators, epoch, header, votes):
    view, parent, count, signed = votes
    need(count == len(validators) and len(signed) >= quorum(count), 'no quorum')
    space = b'tally-ledger-v1/' + chain + b'_FINALIZE'
    message = varint(len(space)) + space + varint(epoch) + varint(view) + varint(parent) + H('block header', header)
    need(all(zip215(validators[index][0], message, signature) for index, signature in signed), 'a vote does not hold')

def read(data):
    """Entry, whether the receipt is inside, finality (header, epoch, votes, ends), checkpoint."""
    if data.startswith(b'c2sp.org/tlog-proof@v1'):
        head, note = data.decode().split('\n\n', 1)
        magic, extra, index, *hashes = head.split('\n')
        need(magic == 'c2sp.org/tlog-proof@v1' and extra[:6] == 'extra ' and re.fullmatch('index (0|[1-9][0-9]*)', index), 'form')
        entry, checkpoint = b64(extra[6:]), Checkpoint(note.encode())
        need(len(entry) == 73 and entry[0] in (1, 2) and good_key(entry[1:33]), 'the entry')
        need(root_of(entry, int(index[6:]), checkpoint.size, [b64(one) for one in hashes]) == checkpoint.root, 'another tree')
        return entry, False, None, checkpoint
    reader = Reader(data)
    magic, flags = reader.take(8), reader.number(1)
    need(magic == b'TALLYPR1' and flags < 16 and flags & 12, 'not a proof, or unknown flags')
    node, sequence, index = reader.key(), reader.varint(), reader.varint()
    receipt = blake3(reader.take(reader.number(4))).digest() if flags & 1 else reader.take(32)
    entry = bytes([2 if flags & 2 else 1]) + node + struct.pack('>Q', sequence) + receipt
    count = reader.number(1)
    need(count <= 65, 'too many hashes')
    hashes = [reader.take(32) for _ in range(count)]
    finality = checkpoint = None
    if flags & 4:
        height, epoch, before, size = reader.varint(), reader.varint(), reader.take(64), reader.varint()
        state, time, following = reader.take(32), reader.number(8), reader.take(32)
        header = struct.pack('>QQ', height, epoch) + before + struct.pack('>Q', size) + root_of(entry, index, size, hashes)
        header += state + struct.pack('>Q', time) + following
        votes = reader.votes()
        ends = [(reader.take(192), reader.votes(), reader.validators()) for _ in range(reader.number(2))]
        finality = header, epoch, votes, ends, time
    if flags & 8:
        checkpoint = Checkpoint(reader.take(reader.number(4)))
        need(root_of(entry, index, checkpoint.size, hashes) == checkpoint.root, 'another tree')
    need(reader.at == len(data), 'bytes after the end')
    return entry, flags & 1, finality, checkpoint

def check(data, receipt=None, genesis=None, policy=None, now=0):
    """Each check, by its code: `pass`, or its status and reason."""
    try:
        entry, inside, finality, checkpoint = read(data)
    except (Refused, ValueError, AttributeError, UnicodeDecodeError):
        return {'proof': 'fail malformed'}
    said, times_known = {'proof': 'pass', 'receipt': 'pass'}, []
    if receipt is None and not inside: said['receipt'] = 'not-established no-receipt'
    if receipt is not None and blake3(receipt).digest() != entry[41:]: said['receipt'] = 'fail other-receipt'
    if finality and genesis is None:
        said['validators'] = said['final'] = 'not-established no-genesis'
    elif finality:
        header, epoch, votes, ends, time = finality
        validators, followed = genesis.validators, 0
        try:
            for last, their_votes, following in ends:
                need(int.from_bytes(last[8:16], 'big') == followed, 'an epoch is left out')
                final(genesis.chain, validators, followed, last, their_votes)
                need(H('validators', validators_bytes(following)) == last[160:] and following != validators, 'others')
                validators, followed = following, followed + 1
            need(followed == epoch, 'validators of another epoch')
            said['validators'] = 'pass'
            try:
                final(genesis.chain, validators, epoch, header, votes)
                said['final'], times_known = 'pass', [time]
            except Refused:
                said['final'] = 'fail not-final'
        except Refused:
            said['validators'] = 'fail not-followed'
    if checkpoint:
        policy = policy or (genesis and genesis.policy())
        said['cosigned'], time = checkpoint.judge(policy) if policy else ('not-established no-policy', None)
        times_known += [time] if time is not None else []
    said['settled'] = 'pass' if times_known else 'not-established nobody-to-believe'
    future = times_known and min(times_known) > now + 300_000
    said['time'] = 'fail in-the-future' if future else 'pass' if times_known else 'not-established no-time'
    return said
def verified(said): return said.get('settled') == 'pass' and not any(status.startswith('fail') for status in said.values())

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('proof')
    for name in ('receipt', 'genesis', 'policy', 'now'): parser.add_argument(f'--{name}')
    given = parser.parse_args()
    content = lambda path: open(path, 'rb').read() if path else None
    try:
        genesis = Genesis(content(given.genesis).decode()) if given.genesis else None
        policy = read_policy(content(given.policy).decode()) if given.policy else None
        now = given.now or datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.000Z')
        said = check(content(given.proof), content(given.receipt), genesis, policy, unix_ms(now))
    except (Refused, ValueError, KeyError, OSError) as error:
        print(f'cannot be used: {error}', file=sys.stderr)
        return 2
    for code, status in said.items(): print(f'{status:>40}  {code}')
    return 0 if verified(said) else 1

if __name__ == '__main__':
    sys.exit(main())
