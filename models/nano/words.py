"""Word sets for the nano corpus.

Two kinds: closed lists written by hand (verbs, jobs, hobbies, ...) and open sets built from syllables (names,
places, companies), which have far more members than training can show. A word belongs to the held-out part of an
open set when a hash of its lower-case form says so, so the split needs no stored list. Training never draws such a word; where one stands
in a sentence of training all the same, evaluation leaves it out (`seen.py`).
"""

import functools
import json
import pathlib
import zlib

HELD_OUT_ONE_IN = 12


def held_out(word):
    """True for about one word in HELD_OUT_ONE_IN: such words appear only in evaluation."""
    return zlib.crc32(word.lower().encode()) % HELD_OUT_ONE_IN == 0


def lines(text):
    return [w.strip() for w in text.replace("\n", ",").split(",") if w.strip()]


FIRST = lines("""Anna, Ben, Clara, David, Emma, Felix, Grace, Hannah, Ian, Julia, Kevin, Laura, Martin, Nina, Oliver, Paula,
Quentin, Rosa, Simon, Tara, Umar, Vera, Walter, Yara, Zoe, Amir, Bianca, Carlos, Diana, Elif, Farid, Gloria, Hugo, Ingrid, Jamal,
Katya, Liam, Mei, Noah, Olga, Pedro, Rahul, Sofia, Tomas, Uma, Viktor, Wendy, Xavier, Yusuf, Zara, Aisha, Bruno, Chloe, Dmitri,
Esther, Fatima, George, Helen, Igor, Jane, Kofi, Leila, Marco, Naomi, Omar, Priya, Ravi, Sara, Theo, Valentina, Will, Yuki, Alex, Sam,
Max, Lena, Tom, Lucy, Jack, Maria, Peter, Susan, Mike, Kate, John, Mary, Paul, Linda, Mark, Eva, Leo, Mia, Jonas, Ella, Oscar, Ruth""")
CITY = lines("""Oslo, Lisbon, Berlin, Madrid, Dublin, Vienna, Prague, Rome, Athens, Warsaw, Lyon, Porto, Boston, Denver, Austin,
Seattle, Chicago, Toronto, Montreal, Tokyo, Kyoto, Osaka, Seoul, Hanoi, Mumbai, Delhi, Cairo, Nairobi, Lagos, Accra, Lima, Bogota,
Quito, Santiago, Sydney, Perth, Auckland, Leeds, Bristol, Glasgow, Hamburg, Munich, Zurich, Geneva, Ghent, Utrecht, Turin, Naples,
New York, San Diego, Cape Town, Hong Kong, Buenos Aires, Tel Aviv, Rio, London, Paris, Copenhagen, Helsinki, Tallinn, Krakow""")
COUNTRY = lines("""Norway, Portugal, Germany, Spain, Ireland, Austria, Italy, Greece, Poland, France, Japan, Korea, Vietnam, India,
Egypt, Kenya, Ghana, Peru, Colombia, Chile, Brazil, Canada, Mexico, Morocco, Iceland, Finland, Sweden, Turkey, Thailand, Nepal, Cuba""")
ON = "b c d f g h j k l m n p r s t v w z b d f h k l m n r s t v br ch cl cr dr fl gr kr pl pr sh sk sl st th tr".split() + ["", ""]
VO = "a e i o u a e i o a e i o u ai ea ee ia io ou y au".split()
CO = ["", "", "", "", "", "", "", "n", "l", "r", "s", "m", "t", "k", "nd", "rt", "ck", "sh", "x", "v", "th", "lm", "ss"]
PLACE_END = "ford ton berg ham vik dal stad by wick mouth port field burg haven ville mere ora ina ano eira".split()
SUR_END = "son sen ova ez ski man berg ley er ini well ard quist dottir ides yan oğlu escu".split()
CO_END = ["Labs", "Foods", "Systems", "Bank", "Group", "Motors", "Health", "Media", "& Sons", "Studio", "Energy", "Logistics", "Books", ""]

JOB = lines("""nurse, teacher, plumber, software engineer, data analyst, pilot, chef, baker, lawyer, paramedic, carpenter, gardener,
journalist, translator, accountant, architect, dentist, vet, barista, librarian, bus driver, truck driver, electrician, welder,
graphic designer, product manager, project manager, sales manager, receptionist, firefighter, police officer, social worker,
physiotherapist, pharmacist, photographer, tailor, farmer, midwife, tour guide, bookkeeper, researcher, biologist, chemist,
civil engineer, mechanic, security guard, waiter, hairdresser, musician, actor, consultant, copywriter, editor, surgeon, judge,
zookeeper, marine biologist, game developer, kindergarten teacher, warehouse worker, recruiter, tax adviser, florist, cashier""")
HOBBY = lines("""hiking, pottery, chess, climbing, painting, knitting, birdwatching, sailing, rowing, swimming, running, cycling, yoga,
gardening, woodworking, photography, karaoke, salsa dancing, board games, video games, astronomy, baking, cooking, fishing, skiing,
snowboarding, surfing, archery, fencing, judo, karate, boxing, tennis, badminton, table tennis, volleyball, football, basketball,
playing the guitar, playing the piano, playing the drums, singing, reading crime novels, writing poems, collecting stamps,
collecting coins, geocaching, meditation, sudoku, crosswords, calligraphy, origami, sewing, beekeeping, kayaking, horse riding,
model trains, drawing comics, street photography, jazz, opera, old films, science fiction, anime, podcasts, camping, trail running""")
FOOD = lines("""sushi, ramen, lasagna, pancakes, tacos, curry, falafel, dumplings, pizza, risotto, paella, pho, pierogi, goulash,
apple pie, cheesecake, dark chocolate, olives, mushrooms, oysters, blue cheese, mango, strawberries, green tea, black coffee,
oat milk, lentil soup, fried rice, tofu, kimchi, salmon, roast chicken, pumpkin soup, baklava, hummus, avocado toast, ice cream""")
ALLERGEN = lines("peanuts, shellfish, pollen, cats, dust, penicillin, gluten, lactose, eggs, soy, sesame, bee stings, latex, walnuts, aspirin, kiwi, strawberries, nickel, dogs, milk")
ILL = lines("""asthma, diabetes, migraine, high blood pressure, a bad knee, back pain, insomnia, anaemia, eczema, arthritis, a sprained ankle,
a broken wrist, the flu, hay fever, a herniated disc, celiac disease, anxiety, tinnitus, an underactive thyroid, vertigo, a torn ligament""")
DRUG = lines("metformin, ibuprofen, insulin, sertraline, vitamin D, iron tablets, levothyroxine, antihistamines, lisinopril, magnesium, omeprazole, statins")
LANG = lines("Spanish, French, German, Japanese, Korean, Arabic, Portuguese, Italian, Polish, Turkish, Dutch, Swedish, Hindi, Swahili, Greek, Mandarin, Finnish, Welsh, Russian, Hebrew")
SKILL = lines("""Rust, Python, SQL, sign language, first aid, touch typing, statistics, calculus, pottery, the violin, the cello, the ukulele, bread baking,
machine learning, bookkeeping, CAD, typography, video editing, public speaking, linear algebra, welding, sewing, driving, chess openings, JavaScript, philosophy, music theory, organic chemistry""")
INSTRUMENT = lines("guitar, piano, violin, drums, cello, flute, trumpet, ukulele, saxophone, accordion, harp, banjo")
REL = lines("""sister, brother, mother, father, wife, husband, partner, girlfriend, boyfriend, daughter, son, cousin, aunt, uncle, niece, nephew,
grandmother, grandfather, best friend, neighbour, roommate, boss, colleague, mother-in-law, fiancé, stepson, godmother, ex-wife, twin brother""")
PET = lines("dog, cat, rabbit, parrot, hamster, tortoise, goldfish, horse, ferret, budgie, gecko, puppy, kitten")
BREED = lines("beagle, border collie, poodle, tabby, greyhound, labrador, Persian, dachshund, terrier, Siamese, corgi, husky")
VEHICLE = lines("car, van, motorbike, bike, scooter, camper, cargo bike, truck, boat")
TRANSPORT = lines("train, plane, bus, ferry, car, night train, bike")
COLOR = lines("red, blue, green, yellow, black, white, purple, orange, grey, pink, brown, turquoise, silver")
MONTH = "January February March April May June July August September October November December".split()
DAY = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
APP = lines("Notion, Todoist, Trello, Obsidian, Google Calendar, Excel, Slack, Emacs, Vim, Jira, Evernote, Asana, a paper notebook, sticky notes, Outlook, a bullet journal, Linear, Anki")
SPORTEVENT = lines("marathon, half marathon, triathlon, chess tournament, 10k race, spelling bee, regatta, dance competition, hackathon, pub quiz, talent show, bike race, swimming gala")
DEGREE = lines("biology, law, computer science, history, nursing, physics, economics, fine arts, psychology, chemistry, mathematics, medicine, philosophy, architecture, linguistics, geology, music")
GENRE = lines("jazz, techno, folk, metal, hip hop, classical music, bossa nova, punk, reggae, blues, country music, opera, horror films, documentaries, thrillers, fantasy novels, westerns, musicals")
FAITH = lines("Buddhist, Catholic, Muslim, Jewish, Hindu, Quaker, an atheist, Sikh, agnostic, Lutheran")
ORIENT = lines("gay, bisexual, lesbian, trans, asexual, non-binary, queer")
SECRET = lines("""I am seeing a therapist, I got a written warning at work, I failed the bar exam, I am planning to quit, I am looking for another job,
I had a miscarriage, I cheated on a test, I owe money to a loan shark, I dropped out of college, I am getting a divorce, I was fired, I am in rehab,
I am in love with my neighbour, I spent a night in jail, I am pregnant, I applied for asylum, I broke up with my partner, I was arrested as a teenager""")
GOAL = lines("""save for a house, learn to swim, write a novel, run a marathon, quit smoking, start a podcast, open a bakery, buy a boat, lose five kilos, get promoted,
read more books, build a treehouse, move to the coast, retire early, start a company, drink less coffee, become a pilot, plant a garden, get my driving licence, adopt a child""")
NOUNS = lines("""lamp, kettle, ladder, sofa, desk, tent, printer, blender, helmet, backpack, umbrella, guitar, camera, bookshelf, heater, fridge, mirror, carpet, toaster, telescope,
notebook, drill, jacket, keyboard, monitor, microscope, teapot, vase, suitcase, speaker, hammock, saddle, globe, candle, piano, rug, fan, router, charger""")
ADJ = lines("small, large, old, new, quiet, bright, heavy, cheap, wooden, broken, lovely, warm, cold, noisy, strange, famous, narrow, tall, fresh, empty, rusty, soft, round")
TOPIC = lines("""solar panels, tax refunds, black holes, sourdough, rent control, volcanoes, bicycle lanes, vaccines, honey bees, dark matter, glaciers, chess engines, coffee roasting,
electric cars, coral reefs, medieval castles, pension funds, noise pollution, sleep, tea ceremonies, migrating birds, steam trains, space telescopes, wild mushrooms, sea otters, roman roads""")
VERBED = lines("""went to the dentist, cleaned the garage, watched a long film, repaired the tap, met an old friend, had a picnic, lost my keys, missed the bus, bought new shoes, planted tomatoes,
painted the fence, baked two loaves, saw a fox, dropped my phone, cut my finger, went to the theatre, moved the sofa, returned the parcel, slept badly, tried a new café""")


def syllables(r, n):
    return "".join(r.choice(ON) + r.choice(VO) + r.choice(CO) for _ in range(n))


@functools.cache
def pieces():
    """The tokens of lower-case letters: (those that begin a word, those inside one)."""
    path = pathlib.Path(__file__).parent / "tokenizer.json"
    if not path.exists():  # a tokenizer is about to be trained
        return ON[:20], VO[:5]
    vocab = sorted(json.loads(path.read_text())["model"]["vocab"])
    small = lambda t: t.isascii() and t.isalpha() and t.islower()
    return [t[1:] for t in vocab if t[0] == "Ġ" and small(t[1:]) and len(t) > 2], [t for t in vocab if small(t)]


class Words:
    """Draws words for one split. `split` is "train" (never held-out) or "held" (held-out for the open sets)."""

    def __init__(self, r, split):
        self.r, self.want = r, split == "held"
        if self.want:
            import seen  # which reads all that training does, these lists among it

            self.seen = seen

    def _open(self, make):
        for _ in range(4000 if self.want else 400):
            w = make()
            if w and held_out(w) == self.want and not (self.want and self.seen.is_word(w)):
                return w
        raise RuntimeError("open set exhausted: its maker gives too few words")

    def jumble(self):
        """A word of a few tokens that belong to no list, so that every token is copied now and then, not only those of the lists."""
        r, (starts, inner) = self.r, pieces()
        return self._open(lambda: r.choice(starts) + "".join(r.choice(inner) for _ in range(r.choice([0, 0, 1, 1, 2]))))

    def strange(self, share):
        """True, rarely, in training: say something that no list holds."""
        return not self.want and self.r.random() < share

    def first(self):
        r = self.r
        if self.strange(0.12):
            return self.jumble().capitalize()
        if r.random() < 0.35:
            return self._open(lambda: r.choice(FIRST))
        return self._open(lambda: (syllables(r, r.choice([1, 2, 2, 2])) + r.choice(["", "", "", "a", "o", "e", "n", "us", "an"])).capitalize())

    def last(self):
        r = self.r
        if self.strange(0.12):
            return self.jumble().capitalize()
        return self._open(lambda: (syllables(r, r.choice([1, 1, 2])) + r.choice(SUR_END + [""] * 6)).capitalize())

    def name(self):
        return self.first() if self.r.random() < 0.8 else self.first() + " " + self.last()

    def city(self):
        r = self.r
        if self.strange(0.15):
            return " ".join(self.jumble().capitalize() for _ in range(r.choice([1, 1, 1, 2])))
        if r.random() < 0.35:
            return self._open(lambda: r.choice(CITY))
        return self._open(lambda: (syllables(r, r.choice([1, 2])) + r.choice(PLACE_END + [""] * 6)).capitalize())

    def country(self):
        return self.fill("country")

    def place(self):
        return self.city() if self.r.random() < 0.8 else self.country()

    def company(self):
        r = self.r
        return (self._open(lambda: syllables(r, r.choice([1, 2, 2])).capitalize()) + " " + r.choice(CO_END)).strip()

    def pseudo(self):
        r = self.r
        return self._open(lambda: syllables(r, r.choice([1, 2, 2, 3])))

    def title(self):
        r = self.r
        if self.strange(0.2):
            return " ".join(self.jumble() for _ in range(r.choice([1, 2, 3]))).capitalize()
        return r.choice([
            lambda: "The " + r.choice(ADJ).capitalize() + " " + r.choice(NOUNS).capitalize(),
            lambda: self.pseudo().capitalize(),
            lambda: "The " + r.choice(NOUNS).capitalize() + " of " + self.city(),
            lambda: r.choice(NOUNS).capitalize() + " and " + r.choice(NOUNS).capitalize(),
            lambda: self.first() + "'s " + r.choice(NOUNS).capitalize(),
        ])()

    def street(self):
        r = self.r
        return f"{r.randint(1, 299)} {self._open(lambda: syllables(r, r.choice([1, 2])).capitalize())} {r.choice(['Street', 'Road', 'Lane', 'Avenue', 'Way', 'Square'])}"

    def num(self, lo, hi):
        return str(self.r.randint(lo, hi))

    def money(self):
        r = self.r
        n = r.choice([r.randint(5, 99), r.randint(100, 999), r.randint(10, 99) * 100, r.randint(1, 90) * 1000])
        s = str(n) if n < 1000 or r.random() < 0.5 else f"{n:,}"
        return r.choice([f"${s}", f"€{s}", f"£{s}", f"{s} euros", f"{s} dollars", f"{s} kroner", f"{s} rupees"])

    def date(self):
        r = self.r
        m, d = r.choice(MONTH), r.randint(1, 28)
        suf = "th" if 10 <= d <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
        return r.choice([f"{d} {m}", f"{m} {d}", f"{m} {d}{suf}", f"the {d}{suf} of {m}", f"{d} {m} {r.randint(1950, 2031)}", f"{r.randint(2020, 2031)}-{r.randint(1, 12):02}-{d:02}"])

    def clock(self):
        r = self.r
        h, m = r.randint(0, 23), r.choice([0, 0, 5, 10, 15, 20, 30, 40, 45, 50])
        return r.choice([f"{h}:{m:02}", f"{h:02}:{m:02}", f"{h % 12 or 12} {'am' if h < 12 else 'pm'}", f"{h % 12 or 12}:{m:02} {'am' if h < 12 else 'pm'}"])

    def past(self):
        r = self.r
        return r.choice([
            lambda: "last " + r.choice(DAY + ["week", "month", "year", "summer", "winter", "spring", "night", "weekend"]),
            lambda: "yesterday", lambda: "this morning", lambda: "on " + r.choice(DAY),
            lambda: r.choice("two three four five six ten".split()) + " " + r.choice(["days", "weeks", "months", "years"]) + " ago",
            lambda: "in " + r.choice(MONTH), lambda: "in " + str(r.randint(1985, 2026)), lambda: "on " + self.date(), lambda: "a while ago", lambda: "earlier today",
        ])()

    def future(self):
        r = self.r
        return r.choice([
            lambda: "next " + r.choice(DAY + ["week", "month", "year", "summer", "winter", "spring", "weekend"]),
            lambda: "tomorrow", lambda: "tonight", lambda: "on " + r.choice(DAY), lambda: "in " + r.choice("two three four six".split()) + " " + r.choice(["days", "weeks", "months"]),
            lambda: "in " + r.choice(MONTH), lambda: "on " + self.date(), lambda: "this " + r.choice(["weekend", "Friday", "summer", "evening"]),
        ])()

    def word(self):
        return self.r.choice([self.pseudo, lambda: self.fill("noun"), lambda: self.fill("adj")])()

    def url(self):
        return self.r.choice(["https://", "www.", ""]) + self.pseudo() + self.r.choice([".com", ".org", ".net", ".io"]) + self.r.choice(["", "/" + self.pseudo(), "/" + self.num(1, 999)])

    def email(self):
        return self.first().lower() + self.r.choice([".", "", "_"]) + self.last().lower() + "@" + self.pseudo() + self.r.choice([".com", ".org", ".net", ".io"])

    def phone(self):
        r = self.r
        return r.choice(["", "+"]) + " ".join(str(r.randint(10, 9999)) for _ in range(r.choice([2, 3])))

    def code(self):
        r = self.r
        return r.choice([
            lambda: str(r.randint(1000, 999999)),
            lambda: r.choice("ABCDEFGHKLMNPRSTVXZ") + str(r.randint(10, 9999)),
            lambda: self.pseudo() + str(r.randint(1, 999)),
            lambda: "".join(r.choice("ABCDEFGHKLMNPRSTVXZ") for _ in range(2)) + "-" + str(r.randint(100, 9999)),
        ])()

    def fill(self, slot):
        """The word for a slot name such as `job`, `a_job` (with its article) or `n1-40`."""
        r = self.r
        if slot.startswith("a_"):
            w = self.fill(slot[2:])
            return ("an " if w[0].lower() in "aeiou" else "a ") + w
        base = slot.rstrip("0123456789") if slot[0] != "n" or "-" not in slot else slot
        if base.startswith("n") and "-" in base:
            lo, hi = base[1:].split("-")
            return self.num(int(lo), int(hi))
        if base in LISTS:
            if base in UNBOUNDED and self.strange(0.15):
                return " ".join(self.jumble() for _ in range(r.choice([1, 1, 1, 2])))
            if self.want:
                return r.choice(self.seen.unseen(base) or LISTS[base])
            return r.choice(MORE[False].get(base, []) + LISTS[base])
        return getattr(self, base)()


LISTS = {
    "job": JOB, "hobby": HOBBY, "food": FOOD, "allergen": ALLERGEN, "ill": ILL, "drug": DRUG, "lang": LANG, "skill": SKILL,
    "instrument": INSTRUMENT, "rel": REL, "pet": PET, "breed": BREED, "vehicle": VEHICLE, "transport": TRANSPORT, "color": COLOR,
    "month": MONTH, "day": DAY, "app": APP, "event": SPORTEVENT, "degree": DEGREE, "genre": GENRE, "faith": FAITH, "orient": ORIENT,
    "secret": SECRET, "goal": GOAL, "noun": NOUNS, "adj": ADJ, "topic": TOPIC, "did": VERBED,
    "country": COUNTRY,
}

# Lists of what has no end: other words take their place, too.
UNBOUNDED = set("hobby food allergen ill drug skill instrument pet breed vehicle app event degree genre noun adj topic".split())

# The lists of shapes/lists.txt, apart in known and held-out words.
MORE = {False: {}, True: {}}
for _line in (pathlib.Path(__file__).parent / "shapes" / "lists.txt").read_text().splitlines():
    if _line and not _line.startswith("#"):
        _slot, _, _words = _line.partition(": ")
        LISTS.setdefault(_slot, [])
        for _word in lines(_words):
            if _word not in LISTS[_slot]:
                MORE[held_out(_word)].setdefault(_slot, []).append(_word)
