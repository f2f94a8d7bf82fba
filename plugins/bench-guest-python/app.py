"""What the benchmark of the engine starts: four cheap host calls, then a reply. The same in Rust: ../bench-guest."""

from tally_agent import agent, log, now, random, setting


@agent
def handle(input):
    total = int(now())
    chance = random(8)
    name = setting("name", "")
    log(input.text)
    for byte in chance:
        total = (total * 31 + byte) & 0xFFFF_FFFF
    return f"{name}{total}"
