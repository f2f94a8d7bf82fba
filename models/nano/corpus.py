"""Generates the training and evaluation samples of tally-nano.

A sample is {"task", "messages", "tools"?, "target", "gold"?}: messages in the chat form of FORMAT.md, the assistant
text to be learnt, and for scoring what the target means. Everything follows from the seed. Split "train" never draws
a held-out word or shape; "words" uses held-out words in known shapes; "shapes" known words in held-out shapes;
"both" both held out. What is held out and stands word for word in something else that training shows is in no split (`seen.py`).
Not held out, in any split: forms to fill and results to say, but for the words and documents in them; the questions about documents.

Run `python corpus.py --seed 1 --count 5` to look at some.
"""

import argparse
import json
import random
import re

import facts
import seen
import smalltalk
import tools as T
import turns
from words import LISTS, Words

EXTRACT_SYSTEM = "Extract memories as JSON."
ANSWER_SYSTEM = "Answer from the context and name the source."
FORM_SYSTEM = "Fill the form from the text as JSON."
CHAT_SYSTEM = "You are a helpful assistant."
EXTRACT_VARIANTS = ["Extract memories.", "Extract the facts worth remembering as JSON.", "List what is worth remembering about people, as JSON.", "You extract long-term memories from conversations. Answer in JSON.",
                    "Which facts should be remembered? Answer in JSON.", "Read the conversation and extract memories as JSON facts."]
ANSWER_VARIANTS = ["Answer from the context.", "Answer the question using only the context. Name the source.", "Use only the given memories to answer. If they do not say, say I don't know.",
                   "You answer questions from sources. If the sources lack the answer, say: I don't know.", "Answer briefly from the sources and cite them."]
CATEGORIES = ["identity", "career", "interests", "relationships", "health", "finance", "learning", "travel", "productivity", "private"]
CHAT_VARIANTS = ["You are a friendly assistant.", "Be brief and polite.", "You are tally-nano.", ""]
DONT_KNOW = "I don't know."


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Generator:
    def __init__(self, seed, split="train"):
        self.r = random.Random(f"{seed}/{split}")
        self.split = split
        self.w = Words(self.r, "held" if split in ("words", "both") else "train")
        self.want_form = split in ("shapes", "both")
        # What can be said, by category and kind: (group, form), every form as likely as another of its kind.
        self.forms = {}
        for g in facts.GROUPS:
            for form in g[2]:
                if facts.form_held_out(form) == self.want_form:
                    self.forms.setdefault(g[:2], []).append((g, form))
        self.nothing = [f for f in facts.MORE_NOTHING if facts.form_held_out(f) == self.want_form]
        if not self.want_form:
            self.nothing = self.nothing * 2 + facts.NOTHING
        self.docs = [([l for l in block[0] if facts.form_held_out(l) == self.want_form], block[1]) for block in facts.MORE_DOCS]
        self.docs = [b for b in self.docs if b[0]] * 2
        if not self.want_form:
            self.docs += [([line], questions) for line, questions in facts.DOCS]
        self.blocks = [lines for text, lines in turns.BLOCKS if facts.form_held_out(text) == self.want_form]
        if self.want_form:
            self.blocks = [lines for lines in self.blocks if not any(part[1] and seen.is_clause(part[0]) for _, parts in lines for part in parts)]
        self.alone = [lines[0][1] for lines in self.blocks if len(lines) == 1]
        self.marked = [part for lines in self.blocks for _, parts in lines for part in parts if part[1]]
        LISTS["cur"], LISTS["room"] = T.CURRENCY, T.ROOM

    # Filling shapes

    def slots(self, text, values):
        def one(m):
            slot = m.group(1)
            if slot not in values:
                key = re.sub(r"2$", "", slot) if not slot.startswith("n") or "-" not in slot else slot
                word = self.w.fill(key)
                for _ in range(20):
                    if word not in values.values():
                        break
                    word = self.w.fill(key)
                values[slot] = word
            return values[slot]

        return re.sub(r"\{([a-z_0-9-]+)\}", one, text)

    def person(self, form, who, first=True):
        """Puts a subject into a form. `who` is None for the speaker, else (phrase, she/he/they)."""
        if who is None:
            form = re.sub(r"\[([^/\]]*)/[^\]]*\]", r"\1", form)
            return form.replace("~myself", "myself").replace("~I", "I").replace("~my", "my").replace("~me", "me")
        form = re.sub(r"\[[^/\]]*/([^\]]*)\]", r"\1", form)
        phrase, g = who
        subj, obj, poss = {"she": ("she", "her", "her"), "he": ("he", "him", "his"), "they": ("they", "them", "their")}[g]
        state = [first]

        def one(m):
            tag = m.group(0)
            if tag == "~myself":
                return obj + ("self" if g != "they" else "selves")
            use = phrase if state[0] else None
            state[0] = False
            if tag == "~I":
                return use or subj
            if tag == "~my":
                return (use + "'s") if use else poss
            return use or obj

        return re.sub(r"~(myself|my|me|I)", one, form)

    def pick_form(self):
        """A kind of fact, each category as likely as another, and a form of it: (group, form)."""
        category = self.r.choice(CATEGORIES)
        kind = facts.S if (category, facts.E) not in self.forms or self.r.random() < (0.85 if category == "identity" else 0.58) else facts.E
        return self.r.choice(self.forms[category, kind])

    # Noise: what people do to text. Applied to a segment before it is quoted, so a quote is always verbatim.

    def style(self):
        r = self.r
        return {"lower": r.random() < 0.15, "typos": r.random() < 0.12, "apos": r.random() < 0.08, "contract": r.random() < 0.5, "nostop": r.random() < 0.1}

    def noise(self, text, st, quoted=()):
        r = self.r
        if st["contract"]:
            text = re.sub(r"\bI am\b", "I'm", text)
            text = re.sub(r"\bI have (been|never|booked)\b", r"I've \1", text)
            text = re.sub(r"\bI will\b", "I'll", text)
        if st["apos"]:
            text = text.replace("'", "")
        if st["typos"]:
            out = []
            for word in text.split(" "):
                if len(word) > 3 and word.isalpha() and word.islower() and r.random() < 0.12:
                    i = r.randrange(len(word) - 1)
                    word = r.choice([word[:i] + word[i + 1] + word[i] + word[i + 2:], word[:i] + word[i + 1:], word[:i] + word[i] + word[i:]])
                out.append(word)
            text = " ".join(out)
        if st["lower"]:
            text = text.lower()
        return text

    @staticmethod
    def cap(text):
        return text[:1].upper() + text[1:]

    # 1. Memory extraction

    def someone(self, named=None):
        """A third person: (phrase in the text, pronoun, subject in the gold)."""
        r, rel = self.r, self.r.choice(facts.RELATION_FOR_THIRD)
        g = "she" if rel in ("sister", "mother", "wife", "daughter", "aunt", "niece", "grandmother") else "he" if rel in ("brother", "father", "husband", "son", "uncle", "nephew") else "they"
        if g == "they":
            g = r.choice(["she", "he"])
        name = self.w.first()
        kind = r.random() if named is None else 0.9
        if kind < 0.35:
            return f"my {rel} {name}", g, name
        if kind < 0.65:
            return f"my {rel}", g, rel
        return name, g, name

    def clause(self, speaker, used, about=None):
        """One statement: (text, fact or None, whom it is about). `about` is the third person just spoken of."""
        r = self.r
        while True:
            g, form = self.pick_form()
            cat, kind, _, _ = g
            if form in used:
                continue
            used.add(form)
            who, subject, first = None, speaker, True
            if "~I" in form and not form.startswith("{") and "~me" not in form and cat != "private" and "~my {rel}" not in form:
                if about and r.random() < 0.5:
                    who, subject = about
                    first = False
                elif r.random() < 0.24:
                    phrase, gender, subject = self.someone()
                    who = (phrase, gender)
            values = {}
            text = self.slots(self.person(form, who, first), values)
            other = facts.third(form, cat)
            if other:
                subject = self.slots(other, values)
            if r.random() < 0.12 and "secret" not in form:
                tail = self.slots(r.choice(facts.TAILS), {})
                text += tail if tail.startswith(",") else " " + tail
            return text, {"category": cat, "kind": kind, "subject": subject}, who and (who, subject)

    def turn(self, speaker, n_facts, n_noise):
        """A turn's text and the facts in it, in order."""
        r, st = self.r, self.style()
        used, sentences, about = set(), [], None
        i = 0
        while i < n_facts:
            group = []
            for _ in range(min(n_facts - i, r.choice([1, 1, 1, 2]))):
                group.append(self.clause(speaker, used, about))
                about = group[-1][2]
                i += 1
            parts = []
            for j, (text, fact, who) in enumerate(group):
                text = self.noise(text if j else (text if r.random() < 0.3 else text), st)
                parts.append((text, fact))
            sentences.append(parts)
        for _ in range(n_noise):
            text = self.noise(self.slots(r.choice(self.nothing), {}), st)
            at = r.randint(0, len(sentences))
            if about and at < len(sentences):  # between a person and "she", nothing is said
                at = r.choice([0, len(sentences)])
            sentences.insert(at, [(text, None)])
        out, gold = [], []
        for parts in sentences:
            joined = ""
            for j, (text, fact) in enumerate(parts):
                if fact and j == 0 and r.random() < 0.25:
                    joined += self.noise(self.slots(r.choice(facts.OPENERS), {}), st) + " "
                elif j:
                    join = r.choice(facts.JOINS)
                    joined += join
                    if text.startswith("I ") and parts[0][0].startswith(("I ", "I'")) and join.endswith(("and ", "but ")) and "." not in join and r.random() < 0.4:
                        text = text[2:]
                if not joined and not st["lower"]:
                    text = self.cap(text)
                joined += text
                if fact:
                    gold.append({"basis": text.rstrip("?!."), **fact})
            if parts[-1][1] and r.random() < 0.12:
                joined += r.choice([", ", " - ", ". ", "! "]) + self.noise(r.choice(facts.CLOSERS), st)
            if not st["lower"]:
                joined = self.cap(joined)
            joined = joined.rstrip()
            if joined[-1] not in "?!.":
                joined += r.choice([".", ".", ".", ".", "!", "", "..."]) if not st["nostop"] else ""
            out.append(joined)
        text = " ".join(s if s[-1] in "?!." or i == len(out) - 1 else s + r.choice([",", ".", ""]) for i, s in enumerate(out))
        # The gold quotes are taken from the final text, so capitals at a sentence start agree.
        low = text.lower()
        pos = 0
        for g in gold:
            at = low.find(g["basis"].lower(), pos)
            if at < 0:
                at = low.find(g["basis"].lower())
            g["basis"] = text[at:at + len(g["basis"])]
            pos = max(pos, at)
        gold.sort(key=lambda g: low.find(g["basis"].lower()))
        return text, gold

    def dense(self):
        """A turn or three with many facts: more to learn for each token."""
        made = self.extract(crowded=True)
        return made if 2 <= len(made["gold"]) <= 8 else self.dense()

    def spoken(self, parts, speaker, values):
        """A line of a marked block with its slots filled: the text, and its facts."""
        r = self.r
        st = {"lower": r.random() < 0.1, "typos": r.random() < 0.08, "apos": r.random() < 0.06, "contract": False}
        text, gold = "", []
        for part, fact in parts:
            said = self.noise(self.slots(part, values), st)
            if not text and not st["lower"] and part[:1] == "{":
                said = self.cap(said)
            if fact:
                category, kind, whom = fact
                gold.append({"basis": said, "category": category, "kind": kind, "subject": self.slots(whom, values) if whom else speaker})
            text += said
        return text, gold

    def told(self):
        """A conversation from marked blocks."""
        r = self.r
        mode = r.random()
        if mode < 0.8:
            block = r.choice(self.blocks)
        elif mode < 0.9:  # two things said in one turn
            one, other = r.choice(self.alone), r.choice(self.alone)
            block = [("A", [*one, (r.choice([" ", " ", ". ", " also, ", " oh and "]) if str(one[-1][0])[-1:] not in ".?!…" else " ", None), *other])]
        else:  # turn by turn, each about a thing of its own
            block = [(who, r.choice(self.alone)) for who in "ABA"[: r.choice([2, 3])]]
        two = any(who == "B" for who, _ in block)
        names = {"A": "user" if r.random() < (0.2 if two else 0.75) else self.w.name(), "B": self.w.name(), "assistant": "assistant"}
        values, lines, gold = {}, [], []
        for k, (who, parts) in enumerate(block):
            # In a conversation put together of several, a slot of one block is no slot of another.
            text, facts_ = self.spoken(parts, names[who], values if mode < 0.8 else {})
            lines.append(f"{names[who]}: {text}")
            gold += facts_
        return lines, gold

    def labels(self):
        """The categories of many statements, at the place where an extraction names them. All begin alike."""
        start = f"<|system|>{EXTRACT_SYSTEM}<|end|><|assistant|>" + '{"facts":[{"basis":"'
        out, used = [], set()
        for _ in range(20):
            if self.marked and self.r.random() < 0.35:
                text, (category, _, _) = self.r.choice(self.marked)
                text, fact = self.slots(text, {}), {"category": category}
            else:
                text, fact, _ = self.clause("user", used)
            text = self.noise(text, self.style())
            text = self.cap(text) if self.r.random() < 0.4 else text
            out.append({"task": "label", "prompt": start + compact(text)[1:-1] + '","category":"', "target": fact["category"], "open": True})
        return out

    def whole(self):
        """Extraction from turns as people type them."""
        return self.extract(whole=True)

    def extract(self, crowded=False, whole=False):
        r = self.r
        gold, lines_ = [], []
        mode = r.random()
        if whole:
            lines_, gold = self.told()
        elif mode < 0.5:
            speaker = "user" if r.random() < 0.7 else self.w.name()
            n = r.choice([2, 3, 3, 4, 5]) if crowded else r.choices([0, 1, 2, 3], [0.24, 0.45, 0.22, 0.09])[0]
            text, gold = self.turn(speaker, n, r.choice([1, 2]) if n == 0 else r.choices([0, 1, 2], [0.6, 0.3, 0.1])[0])
            lines_.append(f"{speaker}: {text}")
        else:
            if mode < 0.75:
                speakers = ["user" if r.random() < 0.6 else self.w.name(), "assistant"]
            else:
                speakers = [self.w.name(), self.w.name()]
            turns = r.choice([2, 2, 3])
            start = r.randint(0, 1)
            for t in range(turns):
                speaker = speakers[(t + start) % 2]
                if speaker == "assistant":
                    lines_.append(f"assistant: {self.slots(r.choice(facts.ASSISTANT), {})}")
                    continue
                n = r.choice([0, 1, 2, 2, 3]) if crowded else r.choices([0, 1, 2], [0.35, 0.5, 0.15])[0]
                text, g = self.turn(speaker, n, 1 if n == 0 else r.choices([0, 1], [0.75, 0.25])[0])
                lines_.append(f"{speaker}: {text}")
                gold += g
        target = compact({"facts": gold})
        system = EXTRACT_SYSTEM if r.random() < 0.75 else r.choice(EXTRACT_VARIANTS)
        return {"task": "extract", "messages": [("system", system), ("user", "\n".join(lines_))], "target": target, "gold": gold}

    # 2. Answering from context

    def answer_text(self, slot, values):
        if "{" in slot:
            try:
                return re.sub(r"\{([^}]+)\}", lambda m: values[m.group(1)], slot)
            except KeyError:
                return None
        for s in slot.split("|"):
            if s in values:
                return values[s]
        return None

    def personal(self, who_line, who_question, avoid, again=None):
        """A line about a person with a question it answers: (line, question, answer, key, group). `again` is a group."""
        r = self.r
        again_forms = again and [form for g, form in self.forms[again[:2]] if g is again]
        for _ in range(2000):
            g, form = (again, r.choice(again_forms)) if again else self.pick_form()
            if g[:2] in avoid or not facts.QUESTIONS[form] or g[0] == "private" and not again and r.random() < 0.5:
                continue
            if who_line is not None and "~" not in form:
                continue
            values = {}
            line = self.slots(self.person(form, who_line), values)
            options = []
            for q, slot in facts.QUESTIONS[form]:
                if slot is None or ("~" not in q and "{" not in q) or self.want_form and seen.is_question(q):
                    continue
                if any(m not in values for m in re.findall(r"\{([^}]+)\}", q)):
                    continue
                a = self.answer_text(slot, values)
                if a:
                    options.append((q, a))
            if options:
                q, a = r.choice(options)
                return line, self.slots(self.person(q, who_question), dict(values)), a, g[:2], g
        if again:
            return None
        raise RuntimeError("no group can be asked about")

    def doc(self, avoid, again=None):
        """A line about a thing with a question it answers: (line, question, answer, key, block)."""
        r = self.r
        while True:
            d = again or r.choice(self.docs)
            if not again and id(d) in avoid and r.random() < 0.7:
                continue
            values = {}
            line = self.slots(r.choice(d[0]), values)
            options = [(q, slot) for q, slot in d[1] if all(m in values for m in re.findall(r"\{([^}]+)\}", q)) and self.answer_text(slot, values)]
            if options:
                q, slot = r.choice(options)
                return line, self.slots(q, dict(values)), self.answer_text(slot, values), id(d), d

    def scene(self, n):
        """Items that a context may hold, and whom they are about: ([(line, question, answer, key, group, person)], people, mode, seen)."""
        r = self.r
        mode = r.random()
        people = []
        for _ in range(2):
            name = self.w.first()
            g = r.choice(["she", "he"])
            people.append(((name, g), (name, g)))
        if mode < 0.25:
            people[0] = (None, None)
        elif mode < 0.4:
            people[0] = (("the user", "they" if r.random() < 0.3 else r.choice(["she", "he"])), None if r.random() < 0.6 else ("the user", "they"))
        if r.random() < 0.25:  # a relative, as the speaker's own memories name them
            phrase, g, subject = self.someone()
            people[1] = ((phrase, g), (phrase if r.random() < 0.3 else subject if subject in phrase.split()[-1:] and subject[0].isupper() else "my " + subject, g))
        items, seen = [], {}
        for _ in range(n):
            if r.random() < (0.45 if mode < 0.8 else 1.0):
                p, avoid = None, seen.setdefault("doc", set())
                item = self.doc(avoid)
            else:
                p = r.choice(people)
                avoid = seen.setdefault(id(p), set())
                item = self.personal(p[0], p[1], avoid)
            avoid.add(item[3])
            items.append((*item, p))
        return items, people, seen

    def sibling(self, item, people, seen):
        """A line of the same kind about somebody or something else, so that the kind alone does not answer; or None."""
        _, q, _, _, like, p = item
        other = next((o for o in people if o is not p), None)
        if p is None:
            made = self.doc(set(), like)
            return (*made, None) if made[1] != q and re.search(r"\{", " ".join(f for f, _ in like[1])) and len(set(q.split()) ^ set(made[1].split())) > 1 else None
        made = other and like[:2] not in seen.get(id(other), ()) and self.personal(other[0], other[1], set(), like)
        if made:
            seen.setdefault(id(other), set()).add(like[:2])
        return (*made, other) if made else None

    def asked(self, q, st):
        """A question as people type it."""
        r = self.r
        q = self.noise(q, {**st, "contract": False})
        if not st["lower"]:
            q = self.cap(q)
        if r.random() < 0.15:
            q = re.sub(r"^(What|Who|Where|When|How|what|who|where|when|how) is ", r"\1's ", q)
        if r.random() < 0.15:
            q = q.rstrip("?")
        return q

    def context(self, lines_, st):
        """The lines with their numbers, under a heading."""
        r = self.r
        lower = st["lower"] and r.random() < 0.3
        lines_ = [(c if lower else self.cap(c)) + ("." if r.random() < 0.9 else "") for c in lines_]
        head = r.choice(["Context:", "Context:", "Context:", "Context:", "Sources:", "Memories:", ""])
        return (head + "\n" if head else "") + "\n".join(f"[{i + 1}] {c}" for i, c in enumerate(lines_))

    def question(self, system, body, q, answer):
        user = body + "\n" + self.r.choice(["Question: ", "Question: ", "Question: ", "Q: ", ""]) + q
        return {"task": "answer", "messages": [("system", system), ("user", user)], "target": answer, "gold": answer}

    def answer_system(self):
        return ANSWER_SYSTEM if self.r.random() < 0.75 else self.r.choice(ANSWER_VARIANTS)

    def answer(self):
        r = self.r
        n = r.choices([1, 2, 3, 4, 5, 6, 8], [1, 2, 3, 3, 2, 2, 1])[0]
        items, people, seen = self.scene(n + 1)
        # Two documents of one kind may share words, so a question is used only when one line can answer it.
        target = r.randrange(len(items))
        line, q, a = items[target][:3]
        if r.random() < 0.45:
            sibling = self.sibling(items[target], people, seen)
            if sibling:
                at = r.randint(0, len(items))
                items.insert(at, sibling)
                target += at <= target
        if r.random() < 0.26:
            context = [it[0] for i, it in enumerate(items) if i != target]
            answer = DONT_KNOW
            if any(a in c for c in context):
                return self.answer()
        else:
            drop = r.choice([i for i in range(len(items)) if i != target]) if len(items) > 1 else None
            context = [it[0] for i, it in enumerate(items) if i != drop]
            source = context.index(line) + 1
            answer = f"{a} [{source}]"
        if sum(1 for it in items if it[1] == q) > 1:
            return self.answer()
        st = {**self.style(), "typos": False}
        return self.question(self.answer_system(), self.context(context, st), self.asked(q, st), answer)

    def answers(self):
        """Many questions on one context, each as a sample of its own: what training shares the context of."""
        r = self.r
        items, people, seen = self.scene(r.choices([2, 3, 4, 5, 6, 7, 8], [2, 3, 4, 4, 3, 2, 1])[0])
        for item in list(items):
            if len(items) < 9 and r.random() < 0.5:
                sibling = self.sibling(item, people, seen)
                if sibling:
                    items.insert(r.randint(0, len(items)), sibling)
        out_of_it = set(r.sample(range(len(items)), min(len(items) - 1, max(len(items) - 8, r.choices([0, 1, 2, 3], [2, 4, 3, 1])[0]))))
        context = [it[0] for i, it in enumerate(items) if i not in out_of_it]
        if len(set(context)) < len(context):
            return self.answers()
        st = {**self.style(), "typos": False}
        body, system, out = self.context(context, st), self.answer_system(), []
        for i, (line, q, a, _, like, p) in enumerate(items):
            if sum(1 for it in items if it[1] == q) > 1:
                continue
            if i in out_of_it:
                if not any(a in c for c in context):
                    out.append((q, DONT_KNOW))
            else:
                out.append((q, f"{a} [{context.index(line) + 1}]"))
        if not out:
            return self.answers()
        r.shuffle(out)
        return [self.question(system, body, self.asked(q, {**st, "typos": r.random() < 0.08}), a) for q, a in out[:6]] + self.places(system, body, context)

    def places(self, system, body, context):
        """Which line has these words: half of the skill of naming a source, on its own."""
        r, out = self.r, []
        for k in r.sample(range(len(context)), min(len(context), 4)):
            words = body.split(f"[{k + 1}] ")[1].split("\n")[0].rstrip(".").split(" ")
            n = r.randint(1, min(3, len(words)))
            at = r.randint(0, len(words) - n)
            phrase = " ".join(words[at:at + n])
            if body.lower().count(phrase.lower()) == 1:
                user = body + "\n" + r.choice(["Which line says: ", "Line with: ", "Source of: "]) + phrase
                out.append({"task": "place", "messages": [("system", system), ("user", user)], "target": f"[{k + 1}]", "gold": k + 1})
        for k in r.sample(range(len(context)), min(len(context), 2)):  # the end of a line, and its number, as an answer has it
            words = body.split(f"[{k + 1}] ")[1].split("\n")[0].rstrip(".").split(" ")
            n = r.randint(1, 2)
            phrase = " ".join(words[:n])
            if len(words) > n and body.count(f"] {phrase} ") == 1:
                words = words[n:][:r.choice([2, 4, 20])] if r.random() < 0.5 else words[n:]
                user = body + "\n" + ("Rest of: " if words[-1] == body.split(f"[{k + 1}] ")[1].split("\n")[0].rstrip(".").split(" ")[-1] else f"Next {len(words)} of: ") + phrase
                out.append({"task": "place", "messages": [("system", system), ("user", user)], "target": " ".join(words) + f" [{k + 1}]", "gold": k + 1})
        return out

    # 3. Tool calls

    def value(self, slot):
        r = self.r
        if slot == "expr":
            return f"{r.randint(1, 999)} {r.choice('+-*/')} {r.randint(1, 99)}" + (f" {r.choice('+-*')} {r.randint(1, 20)}" if r.random() < 0.3 else "")
        if slot == "file":
            return r.choice(["", "/tmp/", "docs/", self.w.pseudo() + "/"]) + self.w.pseudo() + r.choice([".txt", ".md", ".csv", ".json", ".log"])
        if slot == "fact":
            return self.slots(self.person(self.pick_form()[1], None), {})
        if slot == "title|genre":
            return self.w.fill(r.choice(["title", "genre"]))
        return self.w.fill(re.sub(r"(?<=[a-z])2$", "", slot) if slot != "n1-9992" else "n1-999")

    def make_tool(self, count=1):
        """(spec, [(request, arguments)]): a tool, up to `count` ways to ask for it, and the right calls."""
        r = self.r
        # A tool made up by the templates of training is none of a shape that is held out.
        which = r.random() * (0.75 if self.want_form else 1)
        if which < 0.5:
            spec_args, asked, name, desc = self.listed_tool(count)
        elif which < (0.85 if self.split == "train" else 0.75):
            names, descs, heads, args = r.choice(T.ACTIONS)
            held = self.want_form
            pick = lambda xs: r.choice(xs[-1:] if held and len(xs) > 2 else xs[:-1] if len(xs) > 2 else xs)
            name, desc = pick(names), r.choice(descs)
            required, keys = [], set()
            for keys_, typ, slot, ways in [a for i, a in enumerate(args) if i == 0 or r.random() < 0.7]:
                k = r.choice(keys_)
                if k in keys:
                    k = keys_[0] + "_2"
                keys.add(k)
                required.append((k, typ, slot, ways))
            spec_args, asked = [(k, typ) for k, typ, _, _ in required], []
            for _ in range(count):
                request, values = pick(heads), {}
                for k, typ, slot, ways in required:
                    v = self.value(slot)
                    request += " " + r.choice(ways).replace("{v}", v)
                    values[k] = int(v) if typ in ("integer", "number") else v
                asked.append((request, values))
        else:
            noun = self.w.pseudo() if r.random() < 0.5 else r.choice(LISTS["noun"])
            verb = r.choice(T.VERB)
            name = r.choice([f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}{noun.capitalize()}", f"{noun}-{verb}"])
            desc = r.choice([f"{verb} a {noun}", f"{noun}: {verb}", f"lets you {verb} the {noun}", f"{verb}s {noun}s"])
            required, used = [], set()
            for _ in range(r.choice([0, 1, 1, 2, 2, 3])):
                k = r.choice(T.KEYS)
                slot, typ, ways = r.choice(T.INVENTED_ARG)
                if k in [one[0] for one in required] or (slot, ways[0]) in used:
                    continue
                used.add((slot, ways[0]))
                required.append((k, typ, slot, ["with {k} {v}", "{k} {v}", "and {k} {v}"] if r.random() < 0.25 else ways))
            spec_args, asked = [(k, typ) for k, typ, _, _ in required], []
            for _ in range(count if required else 1):
                request, values = r.choice([f"{verb} a {noun}", f"{verb} the {noun}", f"please {verb} a {noun}", f"can you {verb} the {noun}", f"I want to {verb} a {noun}", f"{verb} {noun}"]), {}
                for k, typ, slot, ways in required:
                    v = self.value(slot)
                    request += " " + r.choice(ways).replace("{v}", v).replace("{k}", k)
                    values[k] = int(v) if typ == "integer" else v
                asked.append((request, values))
        if self.split == "train":
            name, spec_args, asked = self.renamed(name, spec_args, asked)
        props = {k: t if isinstance(t, dict) else {"type": t} for k, t in spec_args}
        spec = {"name": name, "description": self.cap(desc) if r.random() < 0.5 else desc, "parameters": {"type": "object", "properties": props, "required": [k for k in props if all(k in values for _, values in asked)]}}
        return spec, [(self.polite(request), values) for request, values in asked]

    def renamed(self, name, spec_args, asked):
        """The tool under other names now and then, so that names are read from the list of tools and not known by heart."""
        r = self.r
        case = r.random()
        if case < 0.08:
            name = r.choice([self.w.jumble(), self.w.pseudo()]) + r.choice(["", "_" + self.w.jumble(), "-" + self.w.jumble(), self.w.jumble().capitalize()])
        elif case < 0.24:
            name = r.choice([f"{self.w.jumble()}_{name}", f"{name}_{self.w.jumble()}", f"{self.w.jumble()}.{name}", f"{r.choice(T.VERB)}_{name}", f"{name}_{r.choice(T.KEYS)}", f"{name}{r.randint(2, 9)}", f"do_{name}", f"{name}_tool"])
        elif case < 0.3:
            name = re.sub(r"_(\w)", lambda m: m[1].upper(), name)
        elif case < 0.36:
            name = name.replace("_", "-")
        keys = {}
        for k, _ in spec_args:
            new = k
            if r.random() < 0.2:
                new = r.choice([f"{k}_{r.choice(T.KEYS)}", f"{r.choice(T.KEYS)}_{k}", f"the_{k}", f"{k}{r.randint(1, 9)}", self.w.jumble(), f"{k}_{self.w.jumble()}", k[0], k.upper()])
            keys[k] = k if new in keys.values() or any(new == o for o, _ in spec_args) else new
        return name, [(keys[k], t) for k, t in spec_args], [(request, {keys[k]: v for k, v in values.items()}) for request, values in asked]

    def polite(self, request):
        """A request with what people put around it."""
        r = self.r
        polite = 1 if self.want_form else r.random()
        if polite < 0.12:
            request = "please " + request
        elif polite < 0.2:
            request = r.choice(["hey, ", "could you do this: ", "I need this: ", "hi, "]) + request
        elif polite < 0.28:
            request += r.choice([", please", " please", ", thanks"])
        if r.random() < 0.6:
            request = self.cap(request)
        return request.replace("  ", " ").replace(" :", ":") + r.choice(["", "", "?", "."] if not request[-1] in "?." else [""])

    def listed_tool(self, count):
        """A tool of shapes/tools.txt. What no request says is mostly not listed, sometimes listed and left out."""
        r = self.r
        names, descs, args, requests = r.choice(T.MORE_TOOLS[self.want_form])
        requests = r.sample(requests, min(count, len(requests)))
        spec_args, asked = [], [[request, {}] for request in requests]
        for i, (keys, kind, slot) in enumerate(args, 1):
            if not any(f"{{{i}}}" in request for request in requests) and r.random() < 0.75:
                continue
            key = next(k for k in [r.choice(keys), *keys, keys[0] + "_2"] if k not in dict(spec_args))
            spec_args.append((key, {"type": kind, "enum": slot[1:-1].split("|")} if slot[0] == "(" else kind))
            for one in asked:
                request, values = one
                if f"{{{i}}}" not in request:
                    continue
                for _ in range(20):
                    v = r.choice(slot[1:-1].split("|")) if slot[0] == "(" else self.value(slot)
                    if v not in map(str, values.values()):
                        break
                values[key] = v
                if kind == "integer":
                    values[key] = int(v)
                elif kind == "number":
                    v += f".{r.randint(0, 9)}{r.choice('123456789')}" if r.random() < 0.15 else ""
                    values[key] = float(v) if "." in v else int(v)
                one[0] = request.replace(f"{{{i}}}", v)
        return spec_args, [tuple(one) for one in asked], r.choice(names), r.choice(descs)

    def text_tool(self):
        """A call of the project's own tools, all of them in the list."""
        r = self.r
        specs = []
        for name, description, arguments, _ in T.TEXT_TOOLS:
            props = {k: {"type": ["number", "string"] if t == "any" else t} for k, t in arguments.items()}
            specs.append({"name": name, "description": description, "parameters": {"type": "object", "properties": props}})
        name, _, arguments, ways = r.choices(T.TEXT_TOOLS, [6, 2, 3, 1, 2])[0]
        way = (ways[-1] if len(ways) > 2 else ways[0]) if self.want_form else r.choice(ways[:-1])
        iso = lambda: f"{r.randint(1990, 2035)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
        number = lambda: str(r.choice([r.randint(1, 12), r.randint(2, 99), r.randint(100, 9999)])) + (f".{r.randint(0, 99):02}" if r.random() < 0.3 else "")
        n = str(r.randint(1, 60))
        expression = number() + "".join(f" {r.choice('+-**/')} {number()}" for _ in range(r.choice([1, 1, 1, 2])))
        if r.random() < 0.2:
            expression = expression.replace(" ", "")
        text = self.slots(r.choice(self.nothing), {})
        u, u2 = r.sample(T.UNITS, 2)
        values = {"e": expression, "d": iso(), "d2": iso(), "n": n, "m": number(), "t": text, "u": u, "u2": u2, "noun": r.choice(LISTS["noun"])}
        put = lambda s: re.sub(r"\{([a-z0-9]+)\}", lambda m: values[m.group(1)], s)
        request, wanted = way.rsplit("=", 1)
        parts = [put(p) for p in wanted.split("|")]
        if name == "add_to_date":
            call = {"date": parts[0]} if len(parts) == 1 else {"date": parts[0], parts[1]: int(n)}
        else:
            call = dict(zip(arguments, parts))
            if name == "convert_unit":
                call["value"] = float(call["value"]) if "." in call["value"] else int(call["value"])
        return specs, put(request), {"name": name, "arguments": call}

    def text_tool_sample(self, system):
        r = self.r
        specs, request, gold = self.text_tool()
        if r.random() < 0.3:
            request = self.cap(request)
        return self.call({"task": "tool", "tools": specs, "messages": system + [("user", request + r.choice(["", "", "", "?", "."]))], "gold": gold}, "<tool_call>" + compact(gold) + "</tool_call>")

    def some_tools(self, n, count):
        """Tools of different names and descriptions, each with up to `count` requests."""
        made = []
        while len(made) < n:
            m = self.make_tool(count)
            if all(m[0]["name"] != o[0]["name"] and m[0]["description"].lower() != o[0]["description"].lower() for o in made):
                made.append(m)
        return made

    def tool_system(self):
        r = self.r
        return [("system", r.choice([CHAT_SYSTEM] + CHAT_VARIANTS[:3] + ["Use the tools.", "Plan and use the tools to help the user."]))] if r.random() < 0.3 else []

    def tool(self):
        r = self.r
        if r.random() < 0.18:
            return self.text_tool_sample([("system", "You can call tools.")] if r.random() < 0.5 else [])
        made = self.some_tools(r.choices([1, 2, 3, 4], [3, 3, 2, 1])[0], 1)
        specs = [m[0] for m in made]
        spec, asked = r.choice(made)
        request, values = asked[0]
        messages = self.tool_system()
        messages.append(("user", request))
        call = "<tool_call>" + compact({"name": spec["name"], "arguments": values}) + "</tool_call>"
        if r.random() < 0.3:  # the result is in: say it
            text = self.tool_result()
            said = text[1]
            messages += [("assistant", call), ("tool", text[0])]
            return {"task": "toolresult", "tools": specs, "messages": messages, "target": said, "gold": said}
        if r.random() < 0.08:  # talk, although tools are there
            q, a = self.talk_pair()
            messages[-1] = ("user", q)
            return {"task": "talk", "tools": specs, "messages": messages, "target": a, "gold": a}
        return self.call({"task": "tool", "tools": specs, "messages": messages, "gold": {"name": spec["name"], "arguments": values}}, call)

    def tools(self):
        """Many requests to one list of tools, each as a sample of its own."""
        r = self.r
        if r.random() < 0.2:
            system = [("system", "You can call tools.")] if r.random() < 0.5 else []
            return [self.text_tool_sample(system) for _ in range(6)]
        made = self.some_tools(r.choices([1, 2, 3, 4], [1, 2, 3, 3])[0], 3)
        specs, system = [m[0] for m in made], self.tool_system()
        asked = [(spec["name"], request, values) for spec, asked in made for request, values in asked]
        out = [self.call({"task": "tool", "tools": specs, "messages": system + [("user", request)], "gold": {"name": name, "arguments": values}}, "<tool_call>" + compact({"name": name, "arguments": values}) + "</tool_call>")
               for name, request, values in r.sample(asked, min(len(asked), 8))]
        if r.random() < 0.3:  # talk, although tools are there
            q, a = self.talk_pair()
            out.append({"task": "talk", "tools": specs, "messages": system + [("user", q)], "target": a, "gold": a})
        return out

    def results(self):
        """Several results of one call, each to be said, as samples of their own."""
        r = self.r
        made = self.some_tools(r.choices([1, 2, 3], [4, 2, 1])[0], 1)
        spec, asked = r.choice(made)
        request, values = asked[0]
        call = "<tool_call>" + compact({"name": spec["name"], "arguments": values}) + "</tool_call>"
        before = self.tool_system() + [("user", request), ("assistant", call)]
        results = dict(self.tool_result() for _ in range(6))
        return [{"task": "toolresult", "tools": [m[0] for m in made], "messages": before + [("tool", result)], "target": said, "gold": said} for result, said in results.items()]

    def call(self, sample, call):
        """The sample with its target. One call in four begins behind its name's key, as a call forced by a grammar does, so that without a grammar the tag is sure."""
        if self.split == "train" and self.r.random() < 0.25:
            begun = '{"name":"'
            return {**sample, "begun": begun, "target": call[len("<tool_call>" + begun):-len("</tool_call>")]}
        return {**sample, "target": call}

    def tool_result(self):
        r = self.r
        kind = r.random()
        if kind < 0.4:
            line = self.doc(set())[0]
            line = self.cap(line)
            return line, line + "."
        if kind < 0.6:
            v = r.choice([self.w.num(1, 9999), self.w.money(), self.w.name(), self.w.city(), self.w.code(), self.w.clock()])
            return v, f"The result is {v}."
        pairs = {}
        for _ in range(r.choice([1, 1, 2, 3])):
            k = r.choice(T.KEYS + ["temperature", "result", "sky", "status", "total", "answer"])
            pairs[k] = r.choice([lambda: r.randint(0, 5000), self.w.city, self.w.name, self.w.clock, self.w.date, lambda: r.choice(LISTS["adj"]), self.w.code])()
        if r.random() < 0.08:
            return r.choice(["error: not found", "error: denied", '{"error":"unavailable"}', "error: timeout"]), "The tool did not work, so I cannot tell."
        return compact(pairs), self.cap(", ".join(f"{k}: {v}" for k, v in pairs.items())) + "."

    # A form to fill: the same skill as arguments, for reviews against a schema.

    def announcement(self):
        """A form over running text, as an announcement has it."""
        r = self.r
        fields = r.sample(T.FORM_FIELDS[:6], r.choice([1, 2, 3])) + r.sample(T.FORM_FIELDS[6:], r.choice([0, 1, 1, 2]))
        r.shuffle(fields)
        values, parts = {}, []
        for keys, slot, ways in fields:
            key = keys[0] if r.random() < 0.5 else r.choice(keys)
            if key in values:
                continue
            if r.random() < 0.2:
                values[key] = ""
                continue
            if r.random() < 0.15:  # said, but not asked for
                key = None
            v = self.value(slot)
            if slot == "date" and r.random() < 0.2:
                v = r.choice(LISTS["day"]) + " " + v
            if key:
                values[key] = v
            way = r.choice(ways).replace("{v}", v)
            if not parts and way.startswith(("in ", "on ", "at ", "with ", "by ", "for ", "about ", "from ", "until ", "near ", "held ")):
                way = r.choice(["We meet ", "The concert is ", "There is a party ", "Join us ", "The talk is ", "The meeting is ", "Workshop ", "Dinner ", "We play ", "The course is "]) + way
            parts.append(way)
        text = "".join((p if i == 0 else r.choice([" ", " ", ", "]) + p if p[0].islower() else r.choice([". ", ", "]) + p) for i, p in enumerate(parts))
        text = (text or "Nothing is known yet") + r.choice([".", ".", ""])
        keys = list(values) or ["city"]
        values = values or {"city": ""}
        r.shuffle(keys)
        if r.random() < 0.5:
            keys.sort()
        user = f"Form: {', '.join(keys)}\nText: {text}"
        return {"task": "form", "messages": [("system", FORM_SYSTEM), ("user", user)], "target": compact({k: values[k] for k in keys}), "gold": values}

    def form(self):
        r = self.r
        if r.random() < 0.4:
            return self.announcement()
        keys, parts, values = [], [], {}
        for _ in range(r.choice([1, 2, 2, 3, 4])):
            k = r.choice(T.KEYS)
            if k in values:
                continue
            slot = r.choice(["city", "date", "clock", "name", "n1-900", "code", "color", "company", "topic", "lang", "email", "title", "money", "food", "street", "job"])
            v = self.value(slot)
            keys.append(k)
            if r.random() < 0.15:
                values[k] = ""
                continue
            values[k] = v
            parts.append(r.choice(["the {k} is {v}", "{k}: {v}", "{k} {v}", "{v} is the {k}", "as {k} we have {v}", "{v} ({k})", "its {k} was {v}"]).replace("{k}", k).replace("{v}", v))
        for _ in range(r.choice([0, 0, 1])):
            parts.append(self.doc(set())[0])
        r.shuffle(parts)
        text = r.choice([". ", ", ", "; ", "\n"]).join(parts) or self.doc(set())[0]
        user = f"Form: {', '.join(keys)}\nText: {text}"
        return {"task": "form", "messages": [("system", FORM_SYSTEM), ("user", user)], "target": compact(values), "gold": values}

    # 4. Small talk

    def talk_pair(self):
        r = self.r
        prompts, replies = r.choice(smalltalk.TALK)
        held = self.want_form
        if len(prompts) > 4:
            prompts = prompts[-1:] if held else prompts[:-1]
        values = {}
        q = self.slots(r.choice(prompts), values)
        st = self.style()
        q2 = self.noise(q, {**st, "contract": False, "lower": False, "typos": st["typos"] and not values})
        a = self.slots(r.choice(replies), values)
        if r.random() < 0.5:
            q2 = self.cap(q2)
        if r.random() < 0.2:
            q2 = q2.rstrip("?!.")
        return q2, a

    def talk(self):
        r = self.r
        q, a = self.talk_pair()
        system = r.choice([CHAT_SYSTEM] * 3 + CHAT_VARIANTS)
        messages = [("system", system)] if system else []
        if r.random() < 0.25:
            q0, a0 = self.talk_pair()
            messages += [("user", q0), ("assistant", a0)]
        messages.append(("user", q))
        return {"task": "talk", "messages": messages, "target": a, "gold": a}

    def talks(self):
        """Small talk under one system prompt, each pair a sample of its own."""
        system = self.r.choice([CHAT_SYSTEM] * 3 + CHAT_VARIANTS)
        pairs = dict(self.talk_pair() for _ in range(9))
        return [{"task": "talk", "messages": ([("system", system)] if system else []) + [("user", q)], "target": a, "gold": a} for q, a in pairs.items()]

    def copies(self):
        """Every key of one list, each as a sample of its own."""
        r = self.r
        pairs = {self.w.pseudo().capitalize() if r.random() < 0.5 else self.w.name(): r.choice([self.w.city, self.w.code, self.w.jumble, self.w.title, self.w.phone, self.w.street, lambda: " ".join(self.w.jumble() for _ in range(r.randint(2, 4)))])() for _ in range(r.choice([4, 6, 8]))}
        user = "\n".join(f"{a}: {b}" for a, b in pairs.items())
        return [{"task": "copy", "messages": [("system", "Look up the key."), ("user", f"{user}\nKey: {k}")], "target": v, "gold": v} for k, v in pairs.items()]

    # Copying: the skill under all of the above, on its own.

    def copy(self):
        r = self.r
        n = r.choice([2, 3, 4, 6])
        pairs = [(self.w.pseudo().capitalize() if r.random() < 0.5 else self.w.name(), r.choice([self.w.city, self.w.code, self.w.pseudo, self.w.title, self.w.phone, self.w.street])()) for _ in range(n)]
        k, v = r.choice(pairs)
        if sum(1 for p in pairs if p[0] == k) > 1:
            return self.copy()
        user = "\n".join(f"{a}: {b}" for a, b in pairs)
        if r.random() < 0.5:
            return {"task": "copy", "messages": [("system", "Look up the key."), ("user", f"{user}\nKey: {k}")], "target": v, "gold": v}
        return {"task": "copy", "messages": [("system", "Repeat the text as JSON."), ("user", user)], "target": compact({a: b for a, b in pairs}), "gold": user}

    MIX = [("extract", 38), ("answer", 25), ("tool", 23), ("form", 6), ("talk", 3), ("copy", 5)]

    # What training reads: groups share the beginning of their prompt, so that it is computed once.
    GROUPS = [("whole", 40), ("extract", 30), ("dense", 14), ("labels", 12), ("answers", 22), ("answer", 4), ("tools", 27), ("tool", 5), ("results", 4), ("form", 7), ("talk", 1), ("talks", 3), ("copies", 3)]

    def group(self):
        return self.sample(self.GROUPS)

    def sample(self, mix=None):
        mix = mix or self.MIX
        task = self.r.choices([m[0] for m in mix], [m[1] for m in mix])[0]
        return getattr(self, task)()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=10)
    p.add_argument("--split", default="train", choices=["train", "words", "shapes", "both"])
    p.add_argument("--task")
    a = p.parse_args()
    g = Generator(a.seed, a.split)
    for _ in range(a.count):
        print(json.dumps(getattr(g, a.task)() if a.task else g.sample(), ensure_ascii=False))


if __name__ == "__main__":
    main()
