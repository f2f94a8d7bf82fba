"""Tools for the nano corpus: what they are called, what they take, and how people ask for them.

An action is (names, descriptions, request heads, arguments). An argument is (names, type, slot, ways to say it).
Besides these, `invented` makes tools that no list holds, so that the model must read the tool line itself.
"""

import pathlib
import re
import zlib

CITY_ARG = (["city", "location", "place", "town"], "string", "city", ["in {v}", "for {v}", "near {v}"])
DATE_ARG = (["date", "day", "when"], "string", "date", ["on {v}", "for {v}"])
TIME_ARG = (["time", "at", "start_time"], "string", "clock", ["at {v}"])
PERSON_ARG = (["person", "name", "who", "contact", "recipient"], "string", "name", ["to {v}", "for {v}", "with {v}"])
COUNT_ARG = (["count", "number", "limit", "quantity"], "integer", "n2-40", ["{v} of them", "{v} pieces"])

ACTIONS = [
    (["get_weather", "weather", "weather_lookup", "forecast"], ["weather forecast for a city", "tells the weather", "current weather"],
     ["what is the weather like", "what's the weather", "how is the weather", "will it rain", "weather", "give me the forecast", "do I need an umbrella"], [CITY_ARG, DATE_ARG]),
    (["add_event", "create_event", "calendar_add", "schedule"], ["adds an event to the calendar", "makes a calendar entry"],
     ["put it in my calendar", "schedule a meeting", "add an event", "book a meeting", "plan a call"], [PERSON_ARG, DATE_ARG, TIME_ARG]),
    (["send_email", "email", "mail_send"], ["sends an e-mail", "writes a mail to an address"],
     ["send an e-mail", "write a mail", "mail"], [(["to", "address", "recipient"], "string", "email", ["to {v}"]), (["subject", "title", "about"], "string", "topic", ["about {v}", "with the subject {v}", "on {v}"])]),
    (["search", "web_search", "search_web", "lookup"], ["searches the web", "finds pages about something"],
     ["search", "look up information", "find something", "search the web", "google"], [(["query", "q", "text", "keywords"], "string", "topic", ["for {v}", "about {v}", "on {v}"])]),
    (["translate", "translate_text", "translation"], ["translates a text", "translation into a language"],
     ["translate", "can you translate", "how do you say"], [(["text", "phrase", "input"], "string", "title", ["\"{v}\"", "'{v}'", "the words {v}"]), (["language", "to", "target", "lang"], "string", "lang", ["into {v}", "in {v}", "to {v}"])]),
    (["convert_currency", "exchange", "currency"], ["converts money", "exchange rates"],
     ["convert", "exchange", "how much is", "change"], [(["amount", "value", "sum"], "number", "n2-9000", ["{v}"]), (["from", "source", "base"], "string", "cur", ["{v}"]), (["to", "target", "quote"], "string", "cur2", ["to {v}", "into {v}", "in {v}"])]),
    (["calculate", "calculator", "math", "eval"], ["calculates an expression", "does arithmetic"],
     ["calculate", "what is", "how much is", "compute", "work out"], [(["expression", "formula", "input"], "string", "expr", ["{v}"])]),
    (["add", "sum", "plus"], ["adds two numbers"],
     ["add", "sum up", "what is the sum of"], [(["a", "x", "first"], "integer", "n1-999", ["{v}"]), (["b", "y", "second"], "integer", "n1-9992", ["and {v}"])]),
    (["set_timer", "timer", "start_timer"], ["starts a timer", "countdown"],
     ["set a timer", "start a timer", "wake me", "timer"], [(["minutes", "duration", "mins"], "integer", "n1-120", ["for {v} minutes", "in {v} minutes", "of {v} min"])]),
    (["set_alarm", "alarm", "wake_up"], ["sets an alarm"],
     ["set an alarm", "wake me up", "alarm please"], [TIME_ARG, DATE_ARG]),
    (["book_table", "reserve_table", "restaurant_booking"], ["books a table in a restaurant"],
     ["book a table", "reserve a table", "get us a table"], [(["restaurant", "place", "venue"], "string", "company", ["at {v}"]), (["people", "guests", "party_size"], "integer", "n2-12", ["for {v} people", "for {v}"]), TIME_ARG]),
    (["find_flights", "search_flights", "flights"], ["finds flights between cities"],
     ["find flights", "show me flights", "I need a flight", "search for a flight"], [(["from", "origin", "departure"], "string", "city", ["from {v}"]), (["to", "destination", "arrival"], "string", "city2", ["to {v}"]), DATE_ARG]),
    (["get_time", "current_time", "clock", "world_clock"], ["the time in a city"],
     ["what time is it", "tell me the time", "current time", "what's the time"], [CITY_ARG]),
    (["get_stock_price", "stock", "quote_price"], ["price of a share"],
     ["what is the share price", "stock price", "how is the stock doing", "get the price"], [(["symbol", "company", "ticker"], "string", "company", ["of {v}", "for {v}"])]),
    (["play_music", "play", "music"], ["plays music"],
     ["play", "put on", "I want to hear", "start playing"], [(["song", "title", "query", "genre"], "string", "title|genre", ["{v}"])]),
    (["create_task", "add_todo", "todo", "new_task"], ["adds a task to the list", "new to-do item"],
     ["add a task", "remind me", "put on my list", "new to-do"], [(["title", "task", "text"], "string", "goal", ["to {v}", ": {v}"]), DATE_ARG]),
    (["get_user", "find_user", "user_lookup", "whois"], ["looks up a user"],
     ["find the user", "who is", "look up", "show me the profile of"], [(["name", "user", "username"], "string", "name", ["{v}"])]),
    (["track_parcel", "track_order", "order_status"], ["where a parcel is", "status of an order"],
     ["where is my parcel", "track my order", "what is the status of order", "track"], [(["id", "number", "order", "order_id"], "string", "code", ["{v}", "number {v}"])]),
    (["set_temperature", "thermostat", "heating"], ["sets the heating"],
     ["set the heating", "make it warmer", "set the thermostat", "change the temperature"], [(["degrees", "temperature", "value"], "integer", "n15-28", ["to {v} degrees", "to {v}"]), (["room", "where"], "string", "room", ["in the {v}"])]),
    (["light", "switch_light", "set_light"], ["switches lamps"],
     ["make the light", "turn the light", "set the lamp"], [(["color", "colour"], "string", "color", ["{v}"]), (["room", "where"], "string", "room", ["in the {v}"])]),
    (["order_food", "order", "delivery"], ["orders food"],
     ["order", "I want to order", "get me", "please order"], [(["quantity", "count", "amount"], "integer", "n1-9", ["{v}"]), (["dish", "item", "meal"], "string", "food", ["{v}", "times {v}"])]),
    (["send_money", "transfer", "pay"], ["sends money to a person"],
     ["send", "transfer", "pay", "wire"], [(["amount", "sum"], "number", "n1-5000", ["{v} euros", "{v}", "{v} dollars"]), (["to", "recipient", "person"], "string", "name", ["to {v}"])]),
    (["read_file", "open_file", "cat", "file_read"], ["reads a file"],
     ["read the file", "open", "show me", "what is in"], [(["path", "file", "filename"], "string", "file", ["{v}"])]),
    (["delete_file", "remove_file", "rm"], ["deletes a file"],
     ["delete", "remove the file", "get rid of"], [(["path", "file", "filename"], "string", "file", ["{v}"])]),
    (["define", "dictionary", "define_word"], ["meaning of a word"],
     ["define", "what does this word mean:", "what is the meaning of", "look up the word"], [(["word", "term"], "string", "pseudo", ["{v}"])]),
    (["find_recipe", "recipe", "get_recipe"], ["finds a recipe"],
     ["find a recipe", "how do I cook", "give me a recipe", "I want to make"], [(["dish", "food", "query"], "string", "food", ["for {v}", "{v}"])]),
    (["call", "phone", "dial"], ["makes a phone call"],
     ["call", "phone", "ring", "please call"], [(["name", "contact", "person"], "string", "name", ["{v}"])]),
    (["book_hotel", "hotel", "reserve_room"], ["books a hotel room"],
     ["book a hotel", "find me a room", "reserve a hotel room", "I need a hotel"], [CITY_ARG, (["nights", "days", "duration"], "integer", "n1-14", ["for {v} nights", "for {v} days"])]),
    (["roll_dice", "dice", "roll"], ["rolls dice"],
     ["roll", "throw", "roll the dice", "please roll"], [(["sides", "faces"], "integer", "n4-100", ["with {v} sides", "a {v} sided die"])]),
    (["news", "get_news", "headlines"], ["latest news on a subject"],
     ["what is the news", "latest headlines", "any news", "show me the news"], [(["topic", "subject", "about"], "string", "topic", ["on {v}", "about {v}"])]),
    (["distance", "route", "directions"], ["the way between two places"],
     ["how far is it", "give me directions", "find the route", "how do I get"], [(["from", "start", "origin"], "string", "city", ["from {v}"]), (["to", "end", "destination"], "string", "city2", ["to {v}"])]),
    (["remember", "save_note", "note", "store"], ["stores a note"],
     ["note that", "remember that", "save this:", "write down that"], [(["text", "note", "content"], "string", "fact", ["{v}"])]),
    (["count_words", "word_count", "length"], ["counts the words of a text"],
     ["count the words", "how many words are", "word count"], [(["text", "input", "string"], "string", "title", ["in \"{v}\"", "of {v}", "in {v}"])]),
]

CURRENCY = "USD EUR GBP JPY CHF NOK SEK INR BRL CAD dollars euros pounds yen francs".split()
ROOM = "kitchen, bedroom, hall, bathroom, office, living room, garage, garden, attic, basement".split(", ")

VERB = "get find show make start stop open list check create update delete book order send set fetch count print rate rent buy sell move".split()
INVENTED_ARG = [
    ("city", "string", ["in {v}", "for {v}", "at {v}"]), ("city", "string", ["to {v}", "from {v}"]), ("date", "string", ["on {v}", "for {v}", "by {v}"]),
    ("clock", "string", ["at {v}", "for {v}", "before {v}"]), ("name", "string", ["for {v}", "with {v}", "by {v}", "from {v}"]), ("n1-900", "integer", ["with {k} {v}", "{k} {v}", "and {k} {v}"]),
    ("code", "string", ["number {v}", "with {k} {v}", "{v}"]), ("color", "string", ["in {v}", "with {k} {v}"]), ("company", "string", ["at {v}", "from {v}", "for {v}"]),
    ("topic", "string", ["about {v}", "on {v}"]), ("lang", "string", ["in {v}", "into {v}"]), ("email", "string", ["to {v}", "for {v}"]), ("title", "string", ["called {v}", "named {v}", "with {k} {v}"]),
]
KEYS = """city town place location origin destination date day time start end name person owner author user id number code ref key amount size level count price
color style company shop brand topic subject text query title label language email file path unit room team port mode limit page""".split()

# The tools of plugins/text-tools, as it describes them: (specification, ways to ask). In a way to ask, {e} is an
# expression, {d} and {d2} dates, {n} {m} numbers, {u} and {u2} units; after "=" comes what the call holds.
TEXT_TOOLS = [
    ("calculate", "Works out an arithmetic expression exactly. Knows + - * / % ^, parentheses, percentages such as 15%, and round(x, digits), floor, ceil, abs, min, max, sum.",
     {"expression": "string"},
     ["work out {e} for the {noun}={e}", "calculate {e} for the {noun}={e}", "{e}={e}", "what is {e}={e}", "how much is {e}={e}", "compute {e}={e}", "{e} for the {noun}={e}", "{noun}: {e}={e}",
      "{noun}, {n} nights at {m}={n} * {m}", "{n} {noun}s at {m} each={n} * {m}", "{n} {noun}s at {m}={n} * {m}", "{n} times {m}={n} * {m}", "{n} plus {m}={n} + {m}", "{n} minus {m}={n} - {m}",
      "{m} divided by {n}={m} / {n}", "the sum of {m} and {n}={m} + {n}", "{m} euros for {n} people={m} / {n}", "split {m} between {n} people={m} / {n}", "share {m} by {n}={m} / {n}", "{n} of the {noun}s at {m}={n} * {m}", "{n} x {m}={n} * {m}", "{n} x {m} for the {noun}={n} * {m}", "{noun} {n} x {m}={n} * {m}", "{noun} for {n} people at {m}={n} * {m}", "{n} hours at {m} an hour={n} * {m}", "{n} days at {m} a day={n} * {m}", "the {noun}: {n} times {m}={n} * {m}", "what do {n} {noun}s cost at {m} each={n} * {m}", "a tip of {n}% on {m}={n}% * {m}", "{n} percent of {m}={n}% * {m}", "{m} less {n}={m} - {n}", "what is left of {m} after {n}={m} - {n}", "{n}% of {m}={n}% * {m}", "{n} tickets for {m}={n} * {m}", "the {noun} costs {m} and we need {n}={n} * {m}", "add {n} and {m}={n} + {m}"]),
    ("add_to_date", "Gives the date some years, months, weeks and days after (or, with negative numbers, before) a date, and its day of the week. With only a date, tells its day of the week.",
     {"date": "string", "years": "integer", "months": "integer", "weeks": "integer", "days": "integer"},
     ["what weekday is {d}={d}", "which day of the week is {d}={d}", "what date is {n} days after {d}={d}|days", "{n} weeks after {d}={d}|weeks", "{n} days after {d}={d}|days", "{n} days from {d}={d}|days", "{n} months after {d}={d}|months", "{n} years after {d}={d}|years", "add {n} weeks to {d}={d}|weeks", "add {n} months to {d}={d}|months", "is {d} a weekday={d}", "weekday of {d}={d}", "the day of the week of {d}={d}", "what day is {d}={d}", "when is it {n} days after {d}={d}|days", "the {noun} is due {n} weeks after {d}={d}|weeks", "add {n} days to {d}={d}|days", "the date {n} months after {d}={d}|months"]),
    ("days_between", "Counts the days from one date to another; negative when the second is earlier.",
     {"from": "string", "to": "string"},
     ["days from {d} to {d2}={d}|{d2}", "how many days from {d} to {d2}={d}|{d2}", "how many days are between {d} and {d2}={d}|{d2}", "from {d} to {d2}={d}|{d2}", "from {d} until {d2}={d}|{d2}", "how long is it from {d} to {d2}={d}|{d2}", "how long is the {noun}, from {d} to {d2}={d}|{d2}", "number of days from {d} to {d2}={d}|{d2}", "between {d} and {d2}={d}|{d2}", "{noun} from {d} to {d2}={d}|{d2}", "count the days from {d} to {d2}={d}|{d2}", "the {noun} is from {d} to {d2}={d}|{d2}", "days between {d} and {d2}={d}|{d2}"]),
    ("text_statistics", "Counts characters, words, sentences and paragraphs of a text, finds its longest sentence, and lists the dates in it, saying which do not exist or fall on another weekday than the text says. Answers in JSON.",
     {"text": "string"},
     ["count the words in: {t}={t}", "how many words has this text: {t}={t}", "count the words of: {t}={t}", "how long is this text: {t}={t}", "how many sentences are in: {t}={t}", "are the dates right in: {t}={t}", "word count: {t}={t}", "check this text: {t}={t}", "statistics of: {t}={t}", "check the dates in: {t}={t}"]),
    ("convert_unit", "Converts a quantity between units of length, area, volume, mass, time, speed, temperature, energy or data.",
     {"value": "any", "from": "string", "to": "string"},
     ["convert {m} {u} to {u2}={m}|{u}|{u2}", "how much is {m} {u} in {u2}={m}|{u}|{u2}", "{m} {u} to {u2}={m}|{u}|{u2}", "{m} {u} into {u2}={m}|{u}|{u2}", "turn {m} {u} into {u2}={m}|{u}|{u2}", "how many {u2} are {m} {u}={m}|{u}|{u2}", "I have {m} {u}, how many {u2} is that={m}|{u}|{u2}", "the {noun} is {m} {u}, what is that in {u2}={m}|{u}|{u2}", "express {m} {u} in {u2}={m}|{u}|{u2}", "{m} {u} in {u2}={m}|{u}|{u2}", "what are {m} {u} in {u2}={m}|{u}|{u2}"]),
]
UNITS = "km mi m ft kg lb g oz l gal degC degF km/h mph kWh J GiB MB s min h ha acre miles cm in".split()


def read_tools():
    """The tools of shapes/tools*.txt: (names, descriptions, arguments, requests). An argument is (names, type, slot);
    a slot in parentheses is a list of values."""
    out = []
    files = sorted((pathlib.Path(__file__).parent / "shapes").glob("tools*.txt"), key=lambda path: (len(path.name), path.name))
    for line in [line for path in files for line in path.read_text().splitlines()]:
        if not line or line.startswith("#"):
            continue
        if line.startswith("> "):
            out[-1][3].append(line[2:])
        elif " = " in line:
            names, slot, kind = re.fullmatch(r"(.*?) = (\(.*\)|\S+)(?: (\w+))?", line).groups()
            out[-1][2].append((names.split(", "), kind or "string", slot))
        else:
            names, descriptions = line.split(" | ")
            out.append((names.split(", "), descriptions.split(", "), [], []))
    return out


def held_out(text, one_in):
    return zlib.crc32(b"tool:" + text.encode()) % one_in == 0


# One tool in ten, and one request in seven of the others, is for evaluation only.
MORE_TOOLS = read_tools()
MORE_TOOLS = {True: [(n, d, a, [q for q in requests if held_out(n[0], 10) or held_out(q, 7)]) for n, d, a, requests in MORE_TOOLS],
              False: [(n, d, a, [q for q in requests if not held_out(q, 7)]) for n, d, a, requests in MORE_TOOLS if not held_out(n[0], 10)]}
MORE_TOOLS = {held: [t for t in tools if t[3]] for held, tools in MORE_TOOLS.items()}


def read_forms():
    """The fields of shapes/forms.txt: (keys, slot, ways to say it)."""
    out = []
    for line in (pathlib.Path(__file__).parent / "shapes" / "forms.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            keys, slot, ways = re.fullmatch(r"(.*?) = (\S+) : (.*)", line).groups()
            out.append((keys.split(", "), slot, ways.split(" | ")))
    return out


FORM_FIELDS = read_forms()
