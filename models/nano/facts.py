"""The fact shapes of the nano corpus: how people say a thing, and what may be asked about it.

A form is written once for every speaker: `~I`, `~my` and `~me` are the subject's pronouns and `[am/is]` gives the
first- and third-person verb. `{job}` draws a word (see `words.Words.fill`). Each group is one kind of fact:
(category, kind, forms, questions); a question is (form, the slot that answers it). A form whose text hashes into
the held-out part is used in evaluation only.
"""

import pathlib
import re
import zlib

import questions

FORMS_HELD_OUT_ONE_IN = 7


def form_held_out(form):
    return zlib.crc32(b"form:" + form.encode()) % FORMS_HELD_OUT_ONE_IN == 0


S, E = "semantic", "episodic"


def rows(text):
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


GROUPS = []


def group(category, kind, forms, questions=()):
    GROUPS.append((category, kind, rows(forms), list(questions)))


# identity
group("identity", S, """~I [am/is] {n18-90} years old
~I [am/is] {n18-90}
~I just turned {n18-90}
~my age is {n18-90}
~I will be {n18-90} this year
at {n18-90} ~I [am/is] the oldest here""", [("How old [am/is] ~I?", "n18-90"), ("What is ~my age?", "n18-90")])
group("identity", S, """~I live in {city}
~I [live/lives] in {city} now
~my home is in {city}
~I [am/is] based in {city}
~I [am/is] living in {city} these days
~I still [live/lives] in {city} with two flatmates
home for ~me is {city}
~I [have/has] a flat in {city}""", [("Where [do/does] ~I live?", "city"), ("In which city [do/does] ~I live?", "city"), ("Which town is ~my home?", "city")])
group("identity", S, """~I [come/comes] from {place}
~I [am/is] originally from {place}
~I grew up in {place}
~I was born in {place}
~my family is from {place}
~I spent ~my childhood in {place}""", [("Where [am/is] ~I from?", "place"), ("Where did ~I grow up?", "place")])
group("identity", S, """~my birthday is {date}
~I was born on {date}
~my birthday is on {date}
{date} is ~my birthday
~I [celebrate/celebrates] ~my birthday on {date}""", [("When is ~my birthday?", "date"), ("When was ~I born?", "date")])
group("identity", S, """~my mother tongue is {lang}
~I [speak/speaks] {lang} at home
~I [am/is] a native speaker of {lang}
~I [speak/speaks] {lang} and {lang2}""", [("Which language [do/does] ~I speak?", "lang")])
group("identity", S, """~my name is {name}
people call ~me {first}
~my nickname is {first}
~my full name is {first} {last}
~my middle name is {first}
please call ~me {first}""", [("What is ~my name?", None)])
group("identity", S, """~I moved to {city} {past} and [live/lives] there now
~my address is {street}
~I [live/lives] at {street}
~my new address is {street}""", [("What is ~my address?", "street")])
# career
group("career", S, """~I [work/works] as {a_job}
~I [am/is] {a_job}
~my job is {job}
~I [work/works] as {a_job} at {company}
~I [am/is] {a_job} by profession
~I [earn/earns] ~my living as {a_job}
~I [have/has] been {a_job} for {n2-30} years
by day ~I [am/is] {a_job}
~I [am/is] {a_job} in {city}""", [("What [do/does] ~I do for a living?", "a_job|job"), ("What is ~my job?", "a_job|job"), ("What [do/does] ~I work as?", "a_job|job")])
group("career", S, """~I [work/works] at {company}
~I [work/works] for {company}
~my employer is {company}
~I [am/is] employed at {company}
~I [run/runs] a small company called {company}
~I [am/is] on the board of {company}
~I [have/has] a job at {company}
~my office is at {company}""", [("Where [do/does] ~I work?", "company"), ("Which company [do/does] ~I work for?", "company"), ("Who is ~my employer?", "company")])
group("career", E, """~I started a new job at {company} {past}
~I got promoted to {job} {past}
{past} ~I quit ~my job at {company}
~I was laid off by {company} {past}
~I had an interview at {company} {past}
~I [start/starts] at {company} {future}
~I signed a contract with {company} {past}
~I gave a talk at {company} {past}
~I [have/has] a job interview with {company} {future}""", [("When was that with {company}?", "past|future"), ("Which company did ~I deal with?", "company"), ("When did that happen at {company}?", "past")])
group("career", S, """~my boss is called {name}
~I [report/reports] to {name}
~my manager is {name}
~I [lead/leads] a team of {n2-40} people
~I [manage/manages] {n2-40} people""", [("Who is ~my boss?", "name"), ("Who [do/does] ~I report to?", "name")])
# interests
group("interests", S, """~I [love/loves] {hobby}
~I really [enjoy/enjoys] {hobby}
~I [am/is] into {hobby}
~my favourite hobby is {hobby}
~my hobby is {hobby}
in ~my free time ~I [do/does] a lot of {hobby}
~I [spend/spends] most weekends {hobby}
~I [am/is] crazy about {hobby}
~I [am/is] a big fan of {hobby}
{hobby} is ~my passion
~I [relax/relaxes] by {hobby}""", [("What is ~my hobby?", "hobby"), ("What [do/does] ~I enjoy?", "hobby"), ("What [do/does] ~I do in ~my free time?", "hobby")])
group("interests", S, """~my favourite food is {food}
~I [love/loves] {food}
~I could eat {food} every day
~I can't stand {food}
~I [hate/hates] {food}
~I [prefer/prefers] {food} to {food2}
~I never [eat/eats] {food}""", [("Which food is ~my favourite?", "food"), ("What food [do/does] ~I have a strong opinion about?", "food")])
group("interests", S, """~my favourite color is {color}
~I [listen/listens] to {genre} a lot
~I mostly [listen/listens] to {genre}
~my favourite book is {title}
~my favourite film is {title}
~I [am/is] a fan of the band {title}
~I [collect/collects] old {noun}s
~I [like/likes] {genre}
~I [support/supports] the football club {city} United""", [("What is ~my favourite?", "color|genre|title")])
group("interests", E, """~I went to a {genre} concert {past}
~I took part in a {event} {past}
~I won the {event} in {city} {past}
{past} ~I saw the film {title}
~I finished reading {title} {past}
~I [have/has] tickets for {title} {future}
~I ran the {event} in {city} {past}
~I came second in a {event} {past}""", [("When was ~my {event}?", "past"), ("Where was ~my {event}?", "city"), ("When did ~I read {title}?", "past"), ("Which title [do/does] ~I talk about?", "title")])
# relationships
group("relationships", S, """~I [have/has] a {pet} called {first}
~my {pet} is called {first}
~I [own/owns] a {pet} named {first}
~my {breed} {first} is {n2-14} years old
~I [have/has] two {pet}s""", [("What is ~my {pet} called?", "first"), ("What is the name of ~my {pet}?", "first")])
group("relationships", S, """~my {rel} is called {first}
~my {rel}'s name is {first}
~I [have/has] a {rel} called {first}
~I [am/is] married to {first}
~my {rel} {first} and ~I [live/lives] together
~I [have/has] {n2-6} children
~I [am/is] engaged to {first}
~I [am/is] single
~my kids are called {first} and {first2}""", [("What is the name of ~my {rel}?", "first"), ("Who is ~my {rel}?", "first")])
group("relationships", E, """~I got married to {first} {past}
~my daughter {first} was born {past}
~I met {name} {past} at a party
~I broke up with {first} {past}
{past} ~my {rel} {first} visited ~me
~my {rel} {first} [is/is] getting married {future}
~I [am/is] meeting {first} for dinner {future}
~my {rel} passed away {past}
~I had a big fight with ~my {rel} {past}""", [("When [do/does] ~I meet {first}?", "future|past"), ("When did ~I meet {name}?", "past"), ("Who did ~I meet?", "name"), ("When did ~I get married to {first}?", "past"), ("Who [am/is] ~I meeting?", "first|name")])
# health
group("health", S, """~I [am/is] allergic to {allergen}
~I [have/has] {ill}
~I [have/has] an allergy to {allergen}
~I [suffer/suffers] from {ill}
~I [take/takes] {drug} every day
~I [take/takes] {drug} for {ill}
~I can't eat {allergen} because of an allergy
~my doctor is Dr {last}
~my blood type is O negative
~I [am/is] vegetarian
~I [am/is] vegan
{allergen} make ~me ill""", [("What [am/is] ~I allergic to?", "allergen"), ("Which illness [do/does] ~I have?", "ill"), ("What medicine [do/does] ~I take?", "drug"), ("Who is ~my doctor?", "last")])
group("health", E, """~I broke ~my arm {past}
~I was in hospital {past}
~I had surgery on ~my knee {past}
~I [have/has] a dentist appointment {future}
~I [see/sees] Dr {last} {future}
~I was diagnosed with {ill} {past}
{past} ~I fainted at work
~I stopped smoking {past}
~I [have/has] a check-up at the clinic {future}""", [("When [do/does] ~I see the doctor?", "future"), ("When [have/has] ~I got an appointment?", "future"), ("When was ~I ill?", "past"), ("When did that happen to ~me?", "past")])
# finance
group("finance", S, """~my rent is {money} a month
~I [earn/earns] {money} a month
~my salary is {money}
~I [pay/pays] {money} in rent
~I [have/has] {money} in savings
~my mortgage is {money} a month
~I [save/saves] {money} every month
~I [owe/owes] the bank {money}
~my budget is {money}
~I [bank/banks] with {company}""", [("How much money is it for ~me?", "money"), ("What is ~my monthly amount?", "money")])
group("finance", E, """~I bought a {vehicle} for {money} {past}
~I paid {money} for a {noun} {past}
{past} ~I got a loan of {money} from {company}
~I sold ~my {vehicle} for {money} {past}
~I won {money} in the lottery {past}
~I lent {first} {money} {past}
~I [have/has] to pay {money} in taxes {future}
~I received a bonus of {money} {past}""", [("How much did ~I pay for the {vehicle}?", "money"), ("How much did ~I pay for the {noun}?", "money"), ("When did ~I get the {vehicle}?", "past"), ("How much money was it for ~me?", "money"), ("How much did {first} get from ~me?", "money")])
# learning
group("learning", S, """~I [am/is] learning {lang}
~I [study/studies] {degree} in {city}
~I [am/is] teaching ~myself {skill}
~I [have/has] a degree in {degree}
~I [want/wants] to learn {skill}
~I [am/is] taking a course in {skill}
~I [am/is] learning to play the {instrument}
~I [am/is] studying for a degree in {degree}
~I [take/takes] {lang} lessons with {first}
~I [am/is] doing a PhD in {degree}""", [("What [am/is] ~I learning?", "lang|skill|instrument"), ("What [do/does] ~I study?", "degree"), ("Which subject [do/does] ~I study?", "degree")])
group("learning", E, """~I passed ~my {lang} exam {past}
~I failed the {degree} exam {past}
~I graduated in {degree} {past}
~I finished a course in {skill} {past}
~I [have/has] a {degree} exam {future}
~I started learning {skill} {past}
~my first {lang} lesson [is/is] {future}
~I signed up for a {skill} class {past}""", [("When [is/is] ~my {degree} exam?", "future"), ("When did ~I finish {degree}?", "past"), ("When did ~I start with {skill}?", "past"), ("Which subject was ~my exam in?", "degree|lang"), ("When was that with {lang} for ~me?", "past|future")])
# travel
group("travel", E, """~I went to {place} {past}
~I visited {place} {past}
~I flew to {place} {past}
{past} ~I took the {transport} to {place}
~I [am/is] flying to {place} {future}
~I [am/is] going to {place} {future}
~I just came back from {place}
~I spent two weeks in {place} {past}
~I [have/has] booked a trip to {place} {future}
~we drove from {city} to {city2} {past}
~I got stuck at the airport in {city} {past}
{future} ~I [am/is] off to {place}
~I [am/is] visiting {place} {future}""", [("Where [do/does] ~I travel to?", "place"), ("Which place [do/does] ~I go to?", "place"), ("When is ~my trip to {place}?", "past|future"), ("When did ~I go to {place}?", "past"), ("When [do/does] ~I go to {place}?", "future")])
group("travel", S, """~I always [travel/travels] by {transport}
~I [prefer/prefers] window seats
~I [hate/hates] flying
~I [want/wants] to visit {place} one day
~my dream is to see {place}
~I [go/goes] to {place} every summer
~I [have/has] never been to {place}
~my favourite city is {city}
~my passport number is {code}""", [("Which place [do/does] ~I talk about?", "place|city"), ("Where [do/does] ~I want to go?", "place")])
# productivity
group("productivity", S, """~I [use/uses] {app} for ~my notes
~I [plan/plans] ~my week in {app}
~I [get/gets] up at {clock}
~I [do/does] ~my best work in the morning
~I [check/checks] mail only at {clock}
~I [keep/keeps] ~my to-do list in {app}
~I [work/works] from home on {day}s
~I [have/has] a team meeting every {day} at {clock}
~I [prefer/prefers] short answers
~I [block/blocks] {day}s for deep work
no meetings before {clock} for ~me
~I [organise/organises] everything with {app}""", [("Which tool [do/does] ~I use?", "app"), ("At what time is that for ~me?", "clock"), ("Which day is that for ~me?", "day"), ("When [do/does] ~I get up?", "clock")])
group("productivity", S, """~my goal is to {goal}
~I [want/wants] to {goal} this year
~I [am/is] trying to {goal}
one of ~my goals is to {goal}
~I [plan/plans] to {goal}""", [("What is ~my goal?", "goal"), ("What [do/does] ~I want to do?", "goal")])
group("productivity", E, """~I have to hand in the report {future}
~I [have/has] a deadline {future}
~my presentation [is/is] {future} at {clock}
~I finished the {noun} project {past}
~I [need/needs] to call {name} {future}
~I missed the deadline {past}
~I [have/has] to send {first} the slides {future}
~I [meet/meets] {name} {future} at {clock}""", [("When is ~my deadline?", "future|past"), ("When [do/does] ~I meet {name}?", "future"), ("At what time [do/does] ~I meet {name}?", "clock"), ("Who [do/does] ~I have to call?", "name"), ("Who [do/does] ~I meet?", "name"), ("Who gets the slides from ~me?", "first")])
# private
group("private", S, """don't tell anyone, but {secret}
please keep this to yourself: {secret}
between you and me, {secret}
nobody knows this, but {secret}
this is a secret: {secret}
this stays between us, {secret}
in confidence, {secret}
I have never told anybody that {secret}""")
group("private", S, """~my password is {code}
the PIN of ~my card is {n1000-9999}
~my locker code is {n100-9999}
~I [am/is] {faith}
~I [am/is] {orient}
~I always [vote/votes] for the Greens
~my door code is {code}
~my wifi password is {code}
the code for ~my alarm is {n1000-9999}
~my social security number is {phone}
~my phone number is {phone}
~my e-mail is {email}""", [("What is ~my code?", "code|n1000-9999|n100-9999"), ("What is ~my password?", "code"), ("What is ~my phone number?", "phone"), ("What is ~my e-mail address?", "email"), ("What is ~my PIN?", "n1000-9999")])
group("identity", S, """~I [drive/drives] a {color} {vehicle}
~I [am/is] left-handed
~I [wear/wears] glasses
~I [am/is] {n150-200} cm tall
~my eyes are {color}
~I [have/has] {color} hair""", [("What color is ~my {vehicle}?", "color"), ("What color [am/is] ~my eyes or hair?", "color"), ("How tall [am/is] ~I?", "n150-200")])

# More ways to say the same kinds of things, longer and less tidy.
group("identity", S, """~I [am/is] from a small town near {city}
~I [have/has] lived in {city} since {n1980-2025}
~I [have/has] been living in {city} for {n2-40} years
~I now [call/calls] {city} home
after all these years in {city} ~I still [feel/feels] like a tourist
~I [share/shares] a house in {city} with {first}
~my flat is on {street}
~I [turn/turns] {n18-90} in {month}
~I [was/was] born in {n1940-2008}
~I [hold/holds] a passport from {country}
~my last name is {last}
~my family calls ~me {first}
everyone knows ~me as {first}
~I [am/is] half {lang}, half {lang2}
~my first language is {lang} and ~I [speak/speaks] a bit of {lang2}""", [("Since when [have/has] ~I lived in {city}?", "n1980-2025"), ("How long [have/has] ~I been living in {city}?", "{n2-40} years"), ("What is ~my last name?", "last"), ("What is ~my first language?", "lang"), ("Who [do/does] ~I share a house with?", "first"), ("In which year was ~I born?", "n1940-2008")])
group("career", S, """~I [teach/teaches] {degree} at a school in {city}
~I [work/works] night shifts at {company}
~I [freelance/freelances] as {a_job}
~I [have/has] worked at {company} since {n1985-2025}
~I [do/does] payroll for {company}
~I [am/is] the only {job} at {company}
~I [own/owns] a bakery in {city}
~I [drive/drives] deliveries for {company}
~I [am/is] retired, but ~I used to be {a_job}
~I [am/is] between jobs at the moment
~I [am/is] an intern at {company}
~my team builds {noun}s
~I [supervise/supervises] the {noun} department
~I [am/is] {a_job} and ~my shift starts at {clock}
~I used to work as {a_job}
~I [run/runs] a little shop that sells {noun}s""", [("Since when [do/does] ~I work at {company}?", "n1985-2025"), ("What [do/does] ~I do for a living?", "a_job|job"), ("Where [do/does] ~I work?", "company")])
group("career", E, """~I handed in ~my notice {past}
they made ~me head of the {noun} team {past}
{company} offered ~me a position {past}
~I got fired {past}
~I [retire/retires] {future}
~my contract with {company} ends {future}
~I closed ~my shop {past}
~I [begin/begins] as {a_job} {future}
~I got a raise {past}
~I published ~my first paper {past}""", [("When [do/does] ~I retire?", "future"), ("When does ~my contract end?", "future"), ("When did ~I get a raise?", "past"), ("Who offered ~me a position?", "company"), ("When did ~I close ~my shop?", "past")])
group("interests", S, """{hobby} keeps ~me sane
nothing beats {hobby} for ~me
~I [go/goes] {hobby} with {first} every {day}
~I got into {hobby} during the winter
~I [have/has] been doing {hobby} for {n2-30} years
on {day}s ~I [do/does] {hobby}
~I [play/plays] the {instrument} in a band
~I [sing/sings] in a choir in {city}
~my guilty pleasure is {food}
~I [read/reads] a lot of {genre}
~I [am/is] obsessed with {topic}
~I [have/has] a weakness for {food}
~I [do/does] not like {food} at all
~my all-time favourite singer is {name}
~I [watch/watches] {genre} all the time
~I [grow/grows] tomatoes on ~my balcony
~I [restore/restores] old {noun}s in ~my spare time
~I [follow/follows] everything about {topic}
~I [dislike/dislikes] {genre}""", [("Who is ~my favourite singer?", "name"), ("Which instrument [do/does] ~I play?", "instrument"), ("What [do/does] ~I do on {day}s?", "hobby"), ("What is ~my guilty pleasure?", "food"), ("Where [do/does] ~I sing?", "city")])
group("interests", E, """~I tried {hobby} for the first time {past}
~I got a new {instrument} {past}
~I joined a {hobby} club {past}
~I [see/sees] a {genre} show {future}
~I [have/has] a {event} {future}
~I painted a portrait of {first} {past}
~I scored twice in the match {past}
~I [play/plays] a concert in {city} {future}
~I finally beat {first} at chess {past}
~I lost the {event} {past}""", [("When did ~I join the {hobby} club?", "past"), ("When [do/does] ~I play in {city}?", "future"), ("Who did ~I beat at chess?", "first"), ("When [have/has] ~I got a {event}?", "future")])
group("relationships", S, """~I [live/lives] with ~my {rel}
~I [have/has] been with {first} for {n2-50} years
~my {rel} {first} lives with ~me
~I [am/is] the youngest of {n3-9} siblings
~I [have/has] three sisters
~my best friend is {first}
~I [look/looks] after ~my {rel}
{first} is ~my {rel}
~I [adopted/adopted] a {breed} named {first}
~I [share/shares] a flat with {first} and {first2}
~my parents are {first} and {first2}
~my {rel} and ~I do not talk any more
~I [have/has] a {pet}, {first}
~my neighbour {first} waters the plants for ~me
we have a {breed} called {first}
~I [am/is] divorced
~I [am/is] a widow
~my twins are {n2-18}""", [("Who is ~my best friend?", "first"), ("Who [do/does] ~I live with?", "first"), ("Who are ~my parents?", "{first} and {first2}"), ("How old are ~my twins?", "n2-18")])
group("relationships", E, """~my {rel} {first} moved in {past}
~my {rel} had a baby {past}
~I [am/is] seeing {first} {future}
~my {pet} {first} died {past}
~I proposed to {first} {past}
we adopted a {pet} {past}
~I got back together with {first} {past}
~my {rel} {first} turned {n2-90} {past}
~I made up with {first} {past}
~I introduced {first} to ~my parents {past}
~my {rel} [is/is] coming to stay {future}""", [("When did ~I propose to {first}?", "past"), ("Who did ~I propose to?", "first"), ("When [am/is] ~I seeing {first}?", "future")])
group("health", S, """{food} gives ~me a stomach ache
~I [have/has] had {ill} since {n1990-2025}
~I [break/breaks] out in a rash from {allergen}
~I [carry/carries] an inhaler
~I [am/is] on {drug}
~I [need/needs] a gluten-free diet
~I [wear/wears] a hearing aid
~I [get/gets] {ill} when ~I [sleep/sleeps] too little
~I [run/runs] five kilometres every morning for ~my heart
~I [weigh/weighs] {n45-130} kilos
~I [do/does] not drink alcohol
~I [do/does] not tolerate {allergen}
~my knees are bad
~my doctor put ~me on {drug}
~I [sleep/sleeps] badly
no {allergen} for ~me, ~I [am/is] allergic""", [("How much [do/does] ~I weigh?", "n45-130"), ("What medicine [am/is] ~I on?", "drug"), ("Since when [have/has] ~I had {ill}?", "n1990-2025")])
group("health", E, """~I hurt ~my back {past}
~I caught a cold {past}
~I got vaccinated {past}
~I had ~my eyes tested {past}
~my operation [is/is] {future}
~I twisted ~my ankle {past}
~I threw up {past}
~I gave birth {past}
~I had a blood test {past}
~I [get/gets] ~my results {future}
the physio sees ~me {future}
they took out ~my appendix {past}
~I ended up in the emergency room {past}""", [("When is ~my operation?", "future"), ("When did ~I hurt ~my back?", "past"), ("When [do/does] ~I get ~my results?", "future")])
group("finance", S, """~I [put/puts] {money} aside each month
~I [have/has] a mortgage with {company}
~I [spend/spends] about {money} a week on food
~I [make/makes] {money} a year
~my pension is {money}
~I [am/is] {money} in debt
~I [invest/invests] in {company} shares
~I [pay/pays] {money} a month for the gym
~my phone plan costs {money}
~I [have/has] a student loan of {money}
~I [cannot/cannot] spend more than {money}
~I [keep/keeps] ~my savings at {company}""", [("How much is ~my pension?", "money"), ("How much [do/does] ~I make a year?", "money"), ("How big is ~my student loan?", "money"), ("How much debt [do/does] ~I have?", "money")])
group("finance", E, """~I paid off ~my loan {past}
~I got {money} back from the tax office {past}
~I inherited {money} {past}
the bank turned down ~my loan {past}
~my card was stolen {past}
~I opened an account at {company} {past}
~I spent {money} on a {noun} {past}
the rent goes up to {money} {future}
~I sold ~my shares in {company} {past}
~I [close/closes] on the house {future}
~my {vehicle} repair cost {money} {past}""", [("How much did ~I inherit?", "money"), ("When did ~I pay off ~my loan?", "past"), ("When was ~my card stolen?", "past"), ("How much did ~I spend on the {noun}?", "money")])
group("learning", S, """~I [go/goes] to evening classes in {degree}
~I [practise/practises] the {instrument} every day
~I [am/is] in ~my second year of {degree}
~I [am/is] trying to pick up {lang}
~I [study/studies] {lang} with an app
~I [am/is] writing ~my thesis on {topic}
~I [go/goes] to {city} University
~I [am/is] working through a book on {skill}
~I [struggle/struggles] with {skill}
~my major is {degree}
~I [take/takes] driving lessons
~I [am/is] getting better at {skill}
~I never finished school
~my teacher for {lang} is {first}""", [("What is ~my major?", "degree"), ("Who is ~my {lang} teacher?", "first"), ("Where [do/does] ~I go to university?", "city"), ("What is ~my thesis on?", "topic"), ("Which language [am/is] ~I trying to pick up?", "lang")])
group("learning", E, """~I got into {city} University {past}
~I dropped the {degree} class {past}
~I got ~my diploma {past}
~my thesis is due {future}
~I learned to {goal} {past}
~I [start/starts] a course in {skill} {future}
~I passed ~my driving test {past}
~I got an A in {degree} {past}
~I gave ~my first talk in {lang} {past}
~I [sit/sits] the {lang} exam {future}
~I enrolled in {degree} {past}""", [("When is ~my thesis due?", "future"), ("When did ~I pass ~my driving test?", "past"), ("Which university did ~I get into?", "city"), ("When [do/does] ~I sit the {lang} exam?", "future")])
group("travel", E, """~I missed ~my flight to {city} {past}
~I drove all the way to {city} {past}
we spent ~my birthday in {place}
~I [leave/leaves] for {place} {future}
~I hiked across {country} {past}
~my flight to {city} got cancelled {past}
~I [have/has] a layover in {city} {future}
~I saw the northern lights in {country} {past}
the whole family [is/is] going to {place} with ~me {future}
~I lost ~my suitcase in {city} {past}
~I [take/takes] the {transport} to {city} {future}
~I got back from {place} {past}
~I [arrive/arrives] in {city} {future} at {clock}
~I crossed {country} by {transport} {past}
{past} ~I was in {city} for a conference""", [("Where did ~I lose ~my suitcase?", "city"), ("When [do/does] ~I leave for {place}?", "future"), ("When [do/does] ~I arrive in {city}?", "future"), ("Where [have/has] ~I got a layover?", "city"), ("Which country did ~I hike across?", "country")])
group("travel", S, """~I [get/gets] seasick
~I [travel/travels] a lot for work
~I [have/has] been to {country} three times
~I [own/owns] a cabin near {city}
~I [spend/spends] every winter in {place}
~I only [fly/flies] with {company}
~I [have/has] visited {n3-90} countries
~I [am/is] afraid of flying
~I [like/likes] to travel light
{place} is at the top of ~my list""", [("Where [do/does] ~I spend every winter?", "place"), ("How many countries [have/has] ~I visited?", "n3-90"), ("Where is ~my cabin?", "city"), ("Which airline [do/does] ~I fly with?", "company")])
group("productivity", S, """~I [write/writes] everything down in {app}
~I [answer/answers] mail after lunch
~I [track/tracks] ~my time with {app}
~I [like/likes] lists more than long texts
~I [start/starts] work at {clock}
~I never [take/takes] calls before {clock}
~I [review/reviews] ~my plans every {day}
~I [work/works] best at night
~I [want/wants] replies in {lang}
~I [prefer/prefers] e-mail to phone calls
~I [use/uses] two monitors
~I [do/does] the groceries on {day}s
~I [switch/switches] off ~my phone at {clock}
please always answer ~me in {lang}
give ~me bullet points, not paragraphs
~my week starts with a review in {app}""", [("When [do/does] ~I start work?", "clock"), ("When [do/does] ~I switch off ~my phone?", "clock"), ("In which language [do/does] ~I want replies?", "lang"), ("What [do/does] ~I track ~my time with?", "app"), ("On which day [do/does] ~I do the groceries?", "day")])
group("productivity", E, """the report is due {future}
~I [need/needs] to {goal} {future}
~I [have/has] to pick up {first} {future} at {clock}
~I moved all ~my notes to {app} {past}
~I forgot the meeting with {first} {past}
~I [have/has] a call with {company} {future}
remind ~me to call {first} {future}
~I [hand/hands] over the {noun} project {future}
~I cleared ~my inbox {past}
~I [give/gives] a demo {future}
~I shipped the new version {past}""", [("When is the report due?", "future"), ("When [have/has] ~I got a call with {company}?", "future"), ("When [do/does] ~I give a demo?", "future"), ("Who [do/does] ~I have to pick up?", "first")])
group("private", S, """only you may know this: {secret}
I would rather nobody hears that {secret}
off the record, {secret}
I trust you with this: {secret}
my family must not find out that {secret}
~my bank PIN is {n1000-9999}
the key is hidden under the {noun}
~my login is {code}
~I [pray/prays] every day
~I [believe/believes] in God
~I [vote/votes] for the left
~I [am/is] a member of the Labour party
the safe opens with {n1000-9999}
~my ID number is {code}""", [("What is ~my bank PIN?", "n1000-9999"), ("What is ~my login?", "code"), ("What is ~my ID number?", "code"), ("What opens the safe?", "n1000-9999")])

# Words that may follow a statement and belong to it.
TAILS = rows("""these days
at the moment
right now
as you know
for a while now
with {first}
in {city}
because of {first}
since {n1990-2025}
every {day}
together with my {rel}
, which is great
, unfortunately
, luckily
after work
again
, I think
, of course""")

# What is said without anything to remember about a person.
NOTHING = rows("""hello there
hi, how are you today?
good morning!
thanks, that helps a lot
ok, sounds good
hm, let me think about it
what is the capital of {country}?
how do I get from {city} to {city2}?
can you explain {topic} to me?
what's the weather like in {city}?
could you book a table for {n2-9} people in {city}?
please translate this into {lang}
write a short poem about {topic}
how much does a {noun} cost?
is it true that {topic} are useful?
do you know a good recipe for {food}?
tell me a joke about {pet}s
what time is it in {city}?
{city} is the largest city in {country}
it is raining again
the {noun} is {adj}
{topic} are a complicated subject
the bus to {city} leaves at {clock}
the shop opens at {clock}
a {noun} costs about {money}
nurses work very hard
some people love {hobby}
{hobby} is popular in {country}
what does {a_job} do all day?
how does one become {a_job}?
who wrote {title}?
remind me how to cook {food}
is {food} healthy?
why is the sky blue?
can you fix this sentence?
sorry, I did not understand
no, the other one
yes please
never mind
go on
that is funny
could you repeat that?
what do you think about {topic}?
how many people live in {city}?
{company} makes {noun}s
{company} was founded in {n1850-2020}
the {noun} in the hall is {color}
please make it shorter
can you sort this list?
summarise the text above
which {vehicle} is best in winter?
convert {n2-99} miles to kilometres
what is {n2-99} times {n2-99}?
the train was late, as always
let's start
see you later
have a nice day
how long does it take to learn {lang}?
the film {title} came out in {n1950-2025}
in {country} people drive on the left
next question please
I see
I don't know
I think so
I have a question
I need help with this
I am not sure what you mean
I would like to know more about {topic}
if I were {a_job}, it would be easier
maybe
great!
lol
one moment
can you check the spelling of {lang}?
the meeting room has a {color} {noun}
{first} is a nice name
are there direct flights to {city}?
show me pictures of {city}
what did you say?
what should I wear in {city} in {month}?
what is the difference between {food} and {food2}?
who is the president of {country}?
the forecast says rain for {day}
it takes {n2-40} minutes to cook {food}
people in {city} are friendly
can I bring a {pet} on the {transport}?
is {city} worth a visit?
does {allergen} contain {allergen2}?
what are the symptoms of {ill}?
how is {drug} taken?
what does {company} do?
which is better, {app} or {app2}?
give me three ideas for a party
write an e-mail to {first} that says thank you
correct my grammar please
how old do {pet}s get?
they say {topic} are the future
the price of a {vehicle} went up to {money}
{name} won the {event}
I wonder how {topic} work
I did not get your last point
I'd like a shorter answer
I mean the second one
I agree
I'll ask you again later
I hope so
I can't open the file
I will try that
my question is about {topic}
my screen is frozen
wow, I did not expect that
good point
fair enough
that makes sense
hmm
the café on the corner has good {food}
{country} has a new prime minister
is it going to snow {future}?
how do you spell {skill}?
let me know when you are ready
could you look up the opening hours?
what rhymes with {noun}?
the {noun} shop is closed on {day}s
somebody left a {noun} in the hallway
do you like {food}?
have you ever been to {city}?
do you play the {instrument}?
are you allergic to {allergen}?
where do you work?
what is your name?
what's your favourite film?""")

# Replies of an assistant inside a conversation: never a source of facts.
ASSISTANT = rows("""That sounds great!
Nice. Tell me more.
How can I help you?
I am sorry to hear that.
Thanks for telling me.
Sure, what else?
{city} is a lovely place.
Would you like some tips about {hobby}?
Do you need a hotel in {city}?
Many people enjoy {food}.
Good luck!
Congratulations!
I can look that up for you.
How old is your {pet}?
What do you do for a living?
Where do you live?
Is there anything else?
Got it.""")

OPENERS = rows("""by the way,
well,
so,
hi,
hello,
hey,
oh,
you know,
to be honest,
actually,
just so you know,
for the record,
remember that
fyi
ok so
yes,
no,
as I said,
guess what,
in case it matters,
I wanted to say that
one more thing:
also,
and""")

CLOSERS = rows("""so I was wondering what you think
any ideas?
what do you suggest?
can you help me?
is that normal?
and that's it
just saying
please keep that in mind
what do you think?
it was great
it is not easy
I like it
don't forget
how cool is that""")

RELATION_FOR_THIRD = "sister brother mother father wife husband partner daughter son cousin aunt uncle niece nephew grandmother neighbour roommate boss colleague friend".split()

# Documents: statements about things, with questions.
DOCS = [
    ("the {noun} costs {money}", [("How much does the {noun} cost?", "money"), ("What is the price of the {noun}?", "money")]),
    ("{company} was founded in {n1850-2020} by {name}", [("When was {company} founded?", "n1850-2020"), ("Who founded {company}?", "name"), ("Which company was founded by {name}?", "company")]),
    ("the museum in {city} opens at {clock}", [("When does the museum in {city} open?", "clock"), ("Where is the museum that opens at {clock}?", "city")]),
    ("the meeting with {name} is on {date}", [("When is the meeting with {name}?", "date"), ("Who is the meeting on {date} with?", "name")]),
    ("the train to {city} leaves at {clock} from platform {n1-24}", [("When does the train to {city} leave?", "clock"), ("From which platform does the train to {city} leave?", "n1-24")]),
    ("room {n100-999} is on floor {n1-30}", [("On which floor is room {n100-999}?", "n1-30")]),
    ("the {event} in {city} was won by {name}", [("Who won the {event} in {city}?", "name"), ("Where did {name} win?", "city")]),
    ("{title} was written by {name}", [("Who wrote {title}?", "name"), ("What did {name} write?", "title")]),
    ("{name} is the head of {company}", [("Who is the head of {company}?", "name"), ("Which company does {name} lead?", "company")]),
    ("the order number of the {noun} is {code}", [("What is the order number of the {noun}?", "code")]),
    ("the {adj} {noun} belongs to {first}", [("Who owns the {adj} {noun}?", "first"), ("What belongs to {first}?", "the {adj} {noun}")]),
    ("{city} has {n2-900} thousand inhabitants", [("How many people live in {city}?", "{n2-900} thousand")]),
    ("the deadline for the {noun} project is {date}", [("What is the deadline for the {noun} project?", "date"), ("When is the {noun} project due?", "date")]),
    ("the warranty of the {noun} lasts {n2-60} months", [("How long does the warranty of the {noun} last?", "{n2-60} months")]),
    ("the capital of {pseudo} is {city}", [("What is the capital of {pseudo}?", "city")]),
    ("the {noun} was invented by {name} in {n1750-1999}", [("Who invented the {noun}?", "name"), ("When was the {noun} invented?", "n1750-1999")]),
    ("the bridge in {city} is {n40-900} metres long", [("How long is the bridge in {city}?", "{n40-900} metres")]),
    ("parcels from {company} arrive on {day}s", [("On which day do parcels from {company} arrive?", "day"), ("When do parcels from {company} arrive?", "day")]),
    ("the {color} {noun} is in {city}", [("Where is the {color} {noun}?", "city"), ("What color is the {noun} in {city}?", "color")]),
    ("the version of {pseudo} is {n1-9}.{n10-99}", [("What is the version of {pseudo}?", "{n1-9}.{n10-99}")]),
    ("the contact for the {noun} is {email}", [("Who do I contact about the {noun}?", "email"), ("What is the contact for the {noun}?", "email")]),
    ("the flight to {city} costs {money} and takes {n1-20} hours", [("How much is the flight to {city}?", "money"), ("How long does the flight to {city} take?", "{n1-20} hours")]),
    ("returns are accepted within {n7-90} days", [("Within how many days are returns accepted?", "n7-90"), ("How long do I have to return something?", "{n7-90} days")]),
    ("the office of {company} is in {city}", [("Where is the office of {company}?", "city"), ("In which city is {company}?", "city")]),
    ("the {pet} shelter is at {street}", [("Where is the {pet} shelter?", "street"), ("What is the address of the {pet} shelter?", "street")]),
    ("{name} teaches {degree} at the university of {city}", [("What does {name} teach?", "degree"), ("Where does {name} teach?", "the university of {city}"), ("Who teaches {degree} in {city}?", "name")]),
    ("the server {pseudo} runs {app} on port {n1000-9999}", [("On which port does {pseudo} run?", "n1000-9999"), ("What does the server {pseudo} run?", "app")]),
    ("the recipe for {food} needs {n50-900} grams of {allergen}", [("How much {allergen} does the {food} need?", "{n50-900} grams"), ("What does the recipe for {food} need?", "{n50-900} grams of {allergen}")]),
    ("the winner of the {event} gets {money}", [("What does the winner of the {event} get?", "money")]),
    ("the festival in {city} starts on {date} and ends on {date2}", [("When does the festival in {city} start?", "date"), ("When does the festival in {city} end?", "date2")]),
]


# The shapes in files. They are held out by the same hash, also those of sentences with nothing to remember and of
# documents; what stands above was shown to the model before such sentences were held out, and never is.

FILES = pathlib.Path(__file__).parent / "shapes"
PAST = set("swelled was had did went came left lost grew took gave met got became kept stole quit lied flew would could should must will can cannot".split())
ADVERBS = {"always", "never", "only", "just", "still", "mostly"}


def lines(name):
    return [line.strip() for line in (FILES / name).read_text().splitlines() if line.strip() and not line.startswith("# ")]


def inflected(verb):
    """The verb for a third person."""
    if verb in PAST or verb.endswith("ed") and not verb.endswith("eed"):
        return verb
    if verb in ("can't", "won't", "couldn't", "wouldn't", "shouldn't", "didn't", "wasn't"):
        return verb
    known = {"am": "is", "have": "has", "do": "does", "go": "goes", "don't": "doesn't", "haven't": "hasn't", "is": "is", "are": "are"}
    if verb in known:
        return known[verb]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")


def marked(text):
    """A shape of facts.txt as the forms above are written."""
    if text.startswith("!") or re.search(r"\b(we|us|our)\b", text):
        return re.sub(r"\*", "", text.removeprefix("!").strip())
    text = re.sub(r"\*(" + "|".join(ADVERBS) + r") \*?(\w+)", r"\1 *\2", text)
    text = re.sub(r"\b(I|my|me|myself)\b", r"~\1", text)
    return re.sub(r"\*([a-zA-Z]+(?:'t)?)", lambda m: m[1] if inflected(m[1]) == m[1] else f"[{m[1]}/{inflected(m[1])}]", text)


RELATIVES = """mother father mum mom dad sister brother son daughter wife husband partner girlfriend boyfriend fiancé fiancée spouse ex cousin aunt uncle niece nephew grandmother
grandfather grandma grandpa gran grandad granny nan stepmother stepfather stepson stepdaughter mother-in-law father-in-law sister-in-law brother-in-law twin baby toddler teenager
friend mate buddy neighbour neighbor roommate flatmate housemate boss manager colleague coworker""".split()
_THIRD = re.compile(r"(?:~?my|our) (?P<rel>\{rel\}|(?:[a-z]+ )?(?:" + "|".join(RELATIVES) + r"))(?:'s)?(?: (?P<name>\{first\}))?(?:'s)? |(?P<alone>\{first\}|\{name\})(?:'s)? ")


def third(form, category):
    """Whom a form is about that opens with somebody else, as a slot or a word; None for the speaker. A relationship is
    the speaker's, and so is what somebody does to the speaker or with him."""
    m = _THIRD.match(form)
    if not m or category == "relationships":
        return None
    rest = form[m.end():]
    if rest.startswith("and ") or re.search(r"~|\b(I|my|mine|me|us|we|our|ours)\b", rest):
        return None
    if m["alone"]:
        return m["alone"]
    return m["name"] or m["rel"].split(" ")[-1]


def read_facts():
    known = {form for g in GROUPS for form in g[2]}
    first = ["facts.txt", "facts-loose.txt", "facts-chat.txt"]
    rest = sorted(path.name for path in FILES.glob("facts-*.txt") if path.name not in first)
    for line in [line for name in first + rest for line in lines(name)]:
        if line.startswith("## "):
            category, kind, *one_thing = line[3:].split()
            GROUPS.append((category, kind, [], []))
            if one_thing:
                ALIKE.append(GROUPS[-1])
        elif line.startswith("? "):
            question, _, slot = line[2:].rpartition(" = ")
            GROUPS[-1][3].append((marked(question), slot))
        elif marked(line) not in known:  # a shape said twice belongs where it was said first
            known.add(marked(line))
            GROUPS[-1][2].append(marked(line))


def read_docs():
    """Blocks of (lines, questions)."""
    out = []
    for line in lines("docs.txt") + lines("docs-more.txt"):
        if line.startswith("~ "):
            if not out or out[-1][1]:
                out.append(([], []))
            out[-1][0].append(line[2:])
        else:
            question, _, slot = line.removeprefix("? ").rpartition(" = ")
            out[-1][1].append((question, slot))
    return out


def read_around():
    parts = {}
    for line in (FILES / "around.txt").read_text().splitlines():
        if line.startswith("## "):
            current = parts.setdefault(line[3:], [])
        elif line and not line.startswith("#"):
            current.append(line)
    return parts


# Groups above whose questions hold for every form with the slot. In the others a question needs the form's own words.
ALIKE = [GROUPS[i] for i in (0, 1, 2, 3, 4, 7, 8, 10, 11, 15, 16, 27)]
read_facts()
QUESTIONS = {form: [q for q in g[3] if g in ALIKE or questions.fits(q[0], form)] + questions.ask(form) for g in GROUPS for form in g[2]}
MORE_DOCS = read_docs()
MORE_NOTHING = lines("nothing.txt") + lines("nothing-more.txt")
ASSISTANT += lines("assistant.txt")
_around = read_around()
OPENERS += _around["openers"]
CLOSERS += _around["closers"]
JOINS = _around["joins"]
