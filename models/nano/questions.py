"""Questions about a form of facts.py, made from the form itself.

`I lost my suitcase in {city} {past}` can be asked `Where did I lose my suitcase?` and `When did I lose my suitcase?`.
Only shapes that these few rules understand get questions; everything else gets none. Invariant: the slot named with a
question is what the form says in answer to it.
"""

import re

BASE = dict(pair.split("/") for pair in """got/get had/have was/be were/be broke/break tore/tear cut/cut burnt/burn hit/hit fell/fall went/go saw/see
lost/lose gave/give threw/throw spent/spend came/come quit/quit left/leave won/win sold/sell bought/buy paid/pay took/take lent/lend made/make met/meet ran/run
drove/drive flew/fly swam/swim slept/sleep began/begin wrote/write read/read stood/stand caught/catch built/build found/find told/tell sent/send forgot/forget
set/set overslept/oversleep became/become split/split hurt/hurt grew/grow put/put let/let felt/feel beat/beat sat/sit rode/ride sang/sing kept/keep heard/hear
taught/teach brought/bring thought/think said/say held/hold led/lead did/do ate/eat drank/drink chose/choose sought/seek wore/wear stuck/stick
hiked/hike moved/move changed/change dyed/dye resigned/resign retired/retire hired/hire invested/invest received/receive inherited/inherit visited/visit
closed/close signed/sign published/publish planted/plant painted/paint baked/bake raised/raise used/use joined/join postponed/postpone missed/miss
cancelled/cancel travelled/travel stopped/stop pulled/pull slipped/slip skipped/skip transferred/transfer applied/apply tried/try tidied/tidy
celebrated/celebrate argued/argue apologised/apologise graduated/graduate defended/defend changed/change crossed/cross cleared/clear introduced/introduce
proposed/propose arrived/arrive danced/dance cycled/cycle sprained/sprain twisted/twist donated/donate borrowed/borrow switched/switch opened/open
finished/finish failed/fail passed/pass harvested/harvest entered/enter started/start cooked/cook played/play watched/watch called/call bumped/bump
booked/book rented/rent climbed/climb walked/walk hiked/hike sailed/sail returned/return stayed/stay camped/camp founded/found accepted/accept turned/turn
fainted/faint enrolled/enroll handed/hand learned/learn presented/present submitted/submit answered/answer cleaned/clean deleted/delete worked/work
shipped/ship filed/file adopted/adopt scored/score""".split())
PLACES = {"city", "place", "country"}
PEOPLE = {"name", "first"}
THINGS = {"hobby", "food", "lang", "skill", "degree", "instrument", "app", "drug", "allergen", "ill", "genre", "topic", "title", "a_job", "job", "noun", "goal", "vehicle", "event"}
PREPOSITIONS = "in to from for near at with by on about of into through as under off under".split()
TIME = r"(?:^| )(?:on )?\{(?:past|future)\}"


def base_of(word):
    """The plain form of a past verb, or None."""
    return BASE.get(word)


def split_form(form):
    """(auxiliary, subject, rest) for a form that opens with `I verb` or `my something verb`, else None."""
    form = re.sub(r"^\{(past|future)\} (.*)$", r"\2 {\1}", form)
    m = re.match(r"(~I|~my (?:\{rel\}|[a-z-]+(?: (?!is |are |was |were |has )[a-z-]+)?)(?: \{first\})?) (\S+)(?: (.*))?$", form)
    if not m:
        return None
    subject, verb, rest = m[1], m[2], m[3] or ""
    if subject != "~I" and not (verb in ("is", "are", "was", "were", "has") or base_of(verb) or verb.endswith("s")):
        return None
    subject = subject.removesuffix(" {first}") if "{rel}" in subject else subject
    if verb.startswith("[am/is") or verb in ("is", "are", "was", "were"):
        return verb, subject, rest
    if verb.startswith("[have/has") and re.match(r"(been|booked|known|had|seen|lived|worked|visited)\b", rest):
        return verb, subject, rest
    if verb.startswith("["):
        return "[do/does]", subject, verb[1:].split("/")[0] + " " + rest
    if base_of(verb):
        return "did", subject, base_of(verb) + " " + rest
    return None


def ask(form):
    """Questions with the slots that answer them."""
    parts = split_form(form)
    if not parts or "{" in parts[1].replace("{rel}", "").replace("{degree}", ""):
        return []
    aux, subject, rest = parts
    rest = rest.strip()
    if re.search(r"[,;:]|~I | and |\bnot\b|\bno\b", rest):
        return []
    out = []
    plain = re.sub(TIME, "", rest).strip()
    head = f"{aux} {subject}"

    def add(word, what, slot):
        what = re.sub(r" +", " ", what).strip()
        if aux in ("is", "are", "was", "were", "[am/is]") and not what and word not in ("When", "Where", "Who", "What", "How much"):
            return
        out.append((f"{word} {head} {what}".strip() + "?", slot))

    for time in ("past", "future"):
        if rest.endswith("{%s}" % time) or re.search(r"\{%s\} at \{clock\}$" % time, rest):
            add("When", re.sub(r" at \{clock\}$", "", plain), time)
    for m in re.finditer(r"(?:\b(%s) )?(?:(?:the|a|an|my|some) )?\{([a-z_]+|n\d+-\d+)\}" % "|".join(PREPOSITIONS), plain):
        prep, slot = m[1], m[2]
        if re.match(r"\{%s\}(s|ing| [A-Z]|'s| exam| test| concert| class| club| course| school| project| team| department| shares| lesson| lessons| teacher| tutor)" % slot, plain[m.start(2) - 1:]):
            continue
        before, after = plain[:m.start()], plain[m.end():]
        if after.strip() and not re.match(r" (in|at|for|with|from|to|every|last|next|on|a month|twice|each) ?", after) and slot not in PLACES:
            if not slot.startswith("n"):
                continue
        what = before + after
        end = f" {prep}" if prep else ""
        if slot in PLACES and prep:
            add("Where", what if prep in ("in", "near", "at") else before + end if not after.strip() else what, slot) if prep != "of" else None
        elif slot in PLACES:
            add("Where" if before.strip() in ("be",) else "Which place", what, slot)
        elif slot == "company" and prep and not after.strip():
            add("Which company", before + end, slot)
        elif slot == "company" and prep in ("at",):
            add("Where", what, slot)
        elif slot in PEOPLE and (prep in (None, "with", "to", "for", "from", "into", "by") and not after.strip()):
            if "called" in before:
                continue
            add("Who", before + end, slot)
        elif slot == "clock" and prep == "at":
            add("At what time", what, slot)
            add("When", what, slot) if "{past}" not in form and "{future}" not in form else None
        elif slot == "day" and prep == "on":
            add("On which day", what, slot)
        elif slot == "money" and prep in (None, "of") and before.strip() not in ("", "be"):
            if prep is None and len(before.split()) <= 3 and not re.search(r"\b(a|an|the|new|used)\b", before):
                add("How much", what, slot)
        elif slot in THINGS and (not after.strip() or re.match(r" (in|at|with|every|on) ", after)) and (prep or len(before.split()) <= 3):
            if re.search(r"\{%s\d?\}" % slot, before) or m[0].startswith(("the", "a ", "an ", "my")) and slot == "noun":
                continue
            add("What", before + end if not after.strip() else before + end + after, slot)
        elif slot.startswith("n") and not prep and aux != "[am/is]":
            unit = re.match(r" ([a-z]+s)\b", after)
            if unit and unit[1] not in ("years", "cm") and len(before.split()) <= 2:
                add(f"How many {unit[1]}", before + after[unit.end():], slot)
    m = re.fullmatch(r"\{([a-z_]+|n\d+-\d+)\}(?: (?:a|per) (month|year|week|hour))?", plain)
    if aux in ("is", "are", "was") and subject.startswith("~my") and m:
        slot = m[1]
        word = {"money": "How much", "name": "Who", "first": "Who"}.get(slot, "What")
        out = [o for o in out if o[1] != slot]
        add(word, "", slot)
        if slot == "money":
            add("What", "", slot)
        if slot == "first":
            out.append((f"What {head} called?", slot))
    m = re.fullmatch(r"called \{([a-z_]+)\}", plain)
    if m:
        out.append((f"What {head} called?", m[1]))
        out.append((f"What is the name of {subject}?", m[1]))
        if m[1] in PEOPLE and aux == "is" and "rel" in subject:
            out.append((f"Who {head}?", m[1]))
    return out


STOP = set("""when what which who whose where how much many long big often is are am do does did was were be i my me the a an of to in on at for with have has had got
it that this will by from old big s at there if""".split())


def words(text):
    text = re.sub(r"\[([^/\]]*)/[^\]]*\]", r"\1", re.sub(r"\{[^}]*\}", "", text))
    return [BASE.get(w, w)[:4] for w in re.findall(r"[a-z]+", text.replace("~", "").lower()) if w not in STOP]


def fits(question, form):
    """True if every word of the question that carries meaning stands in the form, too."""
    return set(words(question)) <= set(words(form))
