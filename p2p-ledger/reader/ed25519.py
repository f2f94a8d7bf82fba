"""Ed25519, by both rules of docs/ledger.md: the strict one of docs/receipt.md, and that of votes, ZIP 215."""
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
E8 = int.from_bytes(bytes.fromhex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'), 'little')

def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1: total = add(total, point)
        point, number = add(point, point), number >> 1
    return total

def point(encoded):  # any encoding: y need not be below P
    y = int.from_bytes(encoded, 'little')
    sign, y = y >> 255, (y & (2**255 - 1)) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P: x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P: return None
    if x % 2 != sign: x = -x % P
    return x, y, 1, x * y % P

BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, 'little'))

def good_key(encoded):  # canonical, and not of small order
    y = int.from_bytes(encoded, 'little') & (2**255 - 1)
    return y < P and y not in (0, 1, P - 1, E8, P - E8)

def strict(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return good_key(key) and good_key(signature[:32])

def zip215(key, message, signature):
    r, a, s = point(signature[:32]), point(key), int.from_bytes(signature[32:], 'little')
    if r is None or a is None or s >= L: return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), 'little') % L
    x, y, z, t = add(r, times(h, a))
    difference = add(times(s, BASE), (-x % P, y, z, -t % P))
    x, y, z, _ = times(8, difference)
    return x == 0 and y == z
