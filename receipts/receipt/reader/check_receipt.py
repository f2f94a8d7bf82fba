"""Checks a Tally receipt by the method `signature`. Written from docs/receipt.md; shares nothing with the Rust code.
    python check_receipt.py RECEIPT [--policy FILE] [--openings FILE] [--now TIME]
Prints each check; exits 0 when verified, 1 when not, 2 when the policy or the openings cannot be used. Needs the packages
`blake3` and `cryptography`, for the two primitives that Python does not have."""
import argparse, base64, datetime, json, re, struct, sys
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
class Refused(Exception): pass
def need(condition, why):
    if not condition: raise Refused(why)
# A receipt has one spelling, so a regular expression says what it may be. In FORMS, `name=` is a field, 'a|b' a choice of
# texts, <x> is x or null, [x;9] a list of at most 9, and letters are values of these kinds. JSON's own rules come on top.
LEAVES = {'H': '"[0-9a-f]{64}"', 'I': '"[0-9a-f]{32}"', 'N': r'(?:0|[1-9]\d{0,15})', 'L': r'"(?:[ !#-\[\]-~]|\\["\\]){1,200}"',
          'R': r'"(?:0|[1-9]\d{0,6})(?:\.\d{0,59}[1-9])?"', 'T': r'"(?:19[7-9]|[2-9]\d\d)\d-\d\d-\d\dT\d\d:\d\d:[0-5]\d\.\d{3}Z"',
          'S': r'"(?:[^"\\]|\\.)*"', 'B': '(?:true|false)'}
def compiled(form):
    form = re.sub(r'([{}])', r'\\\1', re.sub(r'\s', '', form)).replace('<', '(?:').replace('>', '|null)').replace('[', r'\[(?:')
    form = re.sub(r'(\w+)=', r'"\1":', re.sub(r"'(.*?)'", r'"(?:\1)"', re.sub(r';(\d+)\]', r',?){0,\1}\\]', form)))
    return re.compile(re.sub(r'\b[HINLRTSB]\b', lambda leaf: LEAVES[leaf[0]], form), re.ASCII)
INFERENCE, RUN, ROTATION = 'urn:tally:inference:v1', 'urn:tally:run:v1', 'urn:tally:key-rotation:v1'
FORMS = {name: compiled(form) for name, form in {INFERENCE: '''{operation='chat|embed|rank',model={name=L,weights=H,architecture=L,
    quantisation=L},tokenizer=H,template=<H>,asked=<H>,prompt={commitment=H,count=N,cached=N},grammar=<H>,tools=<H>,
    sampling=<{sampler=L,temperature=R,topK=N,topP=R,minP=R,repeatPenalty=R,repeatLastN=N,maxTokens=N,
    stop=<{commitment=H,count=N}>}>,seed={derivation=L,node=H},engine={name=L,version=L,llamaCpp=L,backend=L,
    lane='exact|throughput',threads=N,gpuLayers=N,contextTokens=N,batchTokens=N,microBatchTokens=N,kvKeyType=L,kvValueType=L,
    flashAttention=B,cpuFeatures=[L;64]},output={commitment=H,count=N,text=<H>,
    finish='stop|stop-string|length|tool-calls|cancelled|complete'},nonce=H,links=<{run=I,step=N,previous=<H>}>,issuedAt=T,
    durationMs=N}''', RUN: '''{run=I,runner=H,component=H,world=L,engine={name=L,version=L,config=H},manifest=H,grant=H,input=H,
    output=<H>,journal={head=H,entries=N},outcome={status='completed|agent-error|trapped|limit-reached|cancelled|host-error',
    detail=<L>},fuel=N,startedAt=T,endedAt=T,receipts=[H;4096]}''', ROTATION: '{from=H,to=H,at=T,reason=L}',
    'policy': '''{components=<[{component=H,name=L};10000]>,format='tally-policy-v1',keys=[{key=H,owner=L,
    revoked=<{at=T,compromisedSince=<T>,reason='retired|replaced|compromised'}>,roles=['inference|run';2],validFrom=T,
    validUntil=<T>};10000],models=<[{name=L,weights=H};10000]>}''', 'openings': '''{format='tally-openings-v1',openings=[{field=
    'urn:tally:inference:v1#/(?:asked|prompt/commitment|sampling/stop/commitment|output/commitment|output/text)|
    urn:tally:run:v1#/(?:input|output)',salt=H,value={(?:tokens=[N;99999999]|text=S|texts=[S;99999999]|bytes=S)}};7],
    receipt=H}'''}.items()}
P, E8 = 2**255 - 19, int.from_bytes(bytes.fromhex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'), 'little')
def good_point(encoded):  # canonical, and not of small order
    y = int.from_bytes(encoded, 'little') & (2**255 - 1)
    return y < P and y not in (0, 1, P - 1, E8, P - E8)
TIMES = ('issuedAt', 'startedAt', 'endedAt', 'at', 'validFrom', 'validUntil', 'compromisedSince')
def moment(value): return datetime.datetime.strptime(value, '%Y-%m-%dT%H:%M:%S.%fZ')
RULES = {  # by a field that only such an object has
    'cached': lambda o: o['cached'] <= o['count'], 'cpuFeatures': lambda o: o['cpuFeatures'] == sorted(set(o['cpuFeatures'])),
    'stop': lambda o: o['stop'] is None or 1 <= o['stop']['count'] <= 64, 'from': lambda o: o['from'] != o['to'],
    'operation': lambda o: [o['sampling'], o['template'], o['grammar'], o['tools'], o['output']['text']] == [None] * 5
        and o['output']['finish'] == 'complete' if o['operation'] != 'chat' else o['output']['finish'] != 'complete'
        and o['output']['count'] <= o['sampling']['maxTokens'] and (o['sampling']['stop'] or o['output']['finish'] != 'stop-string'),
    'outcome': lambda o: (o['outcome']['status'] == 'completed') == (o['output'] is not None) and o['startedAt'] <= o['endedAt']
        and o['journal']['entries'] > 0 and len(set(o['receipts'])) == len(o['receipts']),
    'roles': lambda o: len(set(o['roles'])) == len(o['roles']) > 0 and (o['validUntil'] or '9999Z') > o['validFrom'],
    'compromisedSince': lambda o: (o['reason'] == 'compromised') == (o['compromisedSince'] is not None) and (
        o['compromisedSince'] or '') <= o['at'], 'openings': lambda o: len({one['field'] for one in o['openings']}) == len(o['openings']),
    'keys': lambda o: len({one['key'] for one in o['keys']}) == len(o['keys']), 'bytes': lambda o: b64(o['bytes']) is not None,
    'tokens': lambda o: all(token < 2**32 for token in o['tokens'])}
def checked(pairs):
    """An object of any document: no name twice, and what a regular expression cannot say."""
    for name, value in pairs:
        need(type(value) is not int or value <= (2**53 - 1 if name in ('fuel', 'entries', 'durationMs') else 2**32 - 1), name)
        need(name not in TIMES or value is None or moment(value), name)
        need(name not in ('node', 'runner', 'from', 'to', 'key') or good_point(bytes.fromhex(value)), name)
        need(len(dict(pairs)) == len(pairs) and (name not in RULES or RULES[name](dict(pairs))), name)
    return dict(pairs)
def load(data, name=None):
    try:
        natural = lambda digits: int(digits.replace('-', 'no sign '))  # Python takes -0 for 0
        value = json.loads(data if type(data) is str else data.decode(), object_pairs_hook=checked, parse_int=natural)
        spelled = json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False).encode().decode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error: raise Refused(repr(error))
    need(name is None or FORMS[name].fullmatch(spelled), name)
    return value
def b64(data):
    decoded = base64.b64decode(data.encode(), validate=True)
    need(base64.b64encode(decoded).decode() == data, 'base64')
    return decoded
def parse(data):
    one = r'\{"keyid":"([0-9a-f]{64})","sig":"([^"]{88})"\}'
    envelope = r'\{"payload":"([^"]*)","payloadType":"application/vnd\.in-toto\+json","signatures":\[(%s(?:,%s){0,7})\]\}' % (one, one)
    match = re.fullmatch(envelope, data.decode()) if len(data) <= 512 * 1024 else None
    need(match, 'envelope')
    payload, signatures = b64(match[1]), [(key, b64(sig)) for key, sig in re.findall(one, match[2])]
    need(all(len(sig) == 64 and good_point(bytes.fromhex(key)) for key, sig in signatures) and
         all(left[0] < right[0] for left, right in zip(signatures, signatures[1:])), 'signatures')
    match = re.fullmatch(r'\{"_type":"https://in-toto\.io/Statement/v1","subject":\[\{"name":"(\w+)","digest":\{"([\w-]+)":"(\w+)"\}\}\],'
                         r'"predicateType":"([^"]*)","predicate":(.*)\}', payload.decode())
    need(match and match[4] in (INFERENCE, RUN, ROTATION) and FORMS[match[4]].fullmatch(match[5]), 'statement')
    kind, p = match[4], load(match[5])
    facts = {INFERENCE: lambda: (('output', 'tally-commitment-v1', p['output']['commitment']), 'inference', p['issuedAt'],
                                 [p['seed']['node']], ('model', p['model']['weights'], 'models', 'weights')),
             RUN: lambda: (('journal', 'tally-journal-v1', p['journal']['head']), 'run', p['endedAt'], [p['runner']],
                           ('component', p['component'], 'components', 'component')),
             ROTATION: lambda: (('key', 'ed25519', p['to']), None, p['at'], [p['from'], p['to']], None)}[kind]()
    need(match.groups()[:3] == facts[0], 'subject')
    return b'DSSEv1 28 application/vnd.in-toto+json %d ' % len(payload) + payload, signatures, kind, p, facts[1:]
def holds(message, key, sig):
    try: return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(sig, message) is None and good_point(sig[:32])
    except (InvalidSignature, ValueError): return False
def opened(p, kind, digest, meant, field, salt, value):
    (form, it), = value.items()
    raw = {'tokens': lambda: struct.pack('<%dI' % len(it), *it), 'text': lambda: it.encode(), 'bytes': lambda: b64(it),
           'texts': lambda: b''.join(struct.pack('<I', len(one.encode())) + one.encode() for one in it)}[form]()
    target = {kind + '#': p}
    for name in field.split('/'): target = target.get(name) if type(target) is dict else None
    key = blake3(bytes.fromhex(salt), derive_key_context='tally-receipt v1 2026-11-21 commitment').digest()
    return ('fail other-receipt' if meant != digest else 'fail nothing-committed' if target is None else
            'pass' if blake3(f'{field}\0{form}\0'.encode() + raw, key=key).hexdigest() == target else 'fail mismatch')
def standing(policy, key, role, at, known):
    entry = next((entry for entry in policy['keys'] if entry['key'] == key), None) if policy else None
    if entry is None: return 'fail unknown-key' if policy else 'not-established no-policy'
    revoked, until, since = entry['revoked'], entry['validUntil'], (entry['revoked'] or {}).get('compromisedSince')
    return ('fail wrong-role' if role and role not in entry['roles'] else 'fail before-validity' if at < entry['validFrom'] else
            'fail compromised' if since and at >= since else
            'not-established perhaps-backdated' if since and not (known and known < since) else
            'fail after-validity' if until and at >= until else 'fail revoked' if revoked and at >= revoked['at'] else 'pass')
def allowed(policy, expected, what, value, many, name):
    listed = policy and policy[many] and [one[name] for one in policy[many]]
    return (f'fail other-{what}' if expected not in (None, value) else 'fail not-allowed' if listed is not None and value not in listed
            else 'not-established nothing-expected' if expected is listed is None else 'pass')

def check(data, policy=None, openings=None, now=None, expected={}, seen=None, known=None):
    """{code: 'status reason'}, as docs/receipt.md names them. Raises Refused when the policy or openings cannot be used."""
    policy, openings = policy and load(policy, 'policy'), openings and load(openings, 'openings')
    try: message, signatures, kind, p, (role, at, named, what) = parse(data)
    except (Refused, ValueError) as error: return {'format': f'fail {error}'}
    ahead = lambda of: moment(at) > moment(of) + datetime.timedelta(minutes=5)
    checks = {'format': 'pass', 'signature': 'pass' if all(holds(message, *one) for one in signatures) else 'fail bad-signature',
              'signer-named': 'pass' if set(named) <= {key for key, _ in signatures} else 'fail other-signer',
              'signer-trusted': standing(policy, named[0], role, at, known),
              'time': 'fail in-the-future' if ahead(now) else 'fail known-before-issued' if known and ahead(known) else 'pass'}
    if what: checks[what[0]] = allowed(policy, expected.get(what[0]), *what)
    if kind == INFERENCE:
        checks['nonce'] = {None: 'not-established nothing-expected', p['nonce']: 'pass'}.get(expected.get('nonce'), 'fail other-nonce')
        checks['replay'] = 'not-established no-record' if seen is None else 'fail nonce-seen' if p['nonce'] in seen else 'pass'
    for one in openings['openings'] if openings else []:
        checks['opening ' + one['field']] = opened(p, kind, blake3(data).hexdigest(), openings['receipt'], **one)
    return checks
def verified(checks):
    needed = (checks.get(code) for code in ('format', 'signature', 'signer-named', 'signer-trusted'))
    return all(status == 'pass' for status in needed) and not any(status.startswith('fail') for status in checks.values())

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Checks a Tally receipt.')
    for name in ('receipt', '--policy', '--openings', '--now'): parser.add_argument(name)
    *files, given = vars(parser.parse_args()).values()
    now = given or datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'
    try: found = check(*(name and open(name, 'rb').read() for name in files), now)
    except Refused as error: sys.exit(print(f'cannot use the {error}', file=sys.stderr) or 2)
    print(*(f'{code}: {status}' for code, status in found.items()), sep='\n')
    sys.exit(0 if verified(found) else 1)
