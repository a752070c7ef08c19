"""The starter model's world: items, the many ways to ask about each, and answers in seven styles.

Everything is deterministic by seed and Django-free. A prompt's split comes from `core.ids`, as it does for any prompt of
the app: a wording that lands in the holdout is never seen in pre-training, though the fact behind it is.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from core.ids import group_sha256, split_for
from starter import facts

STYLES = ("concise", "polite", "steps", "rambling", "rude", "careless", "refusal")
# How often each style is drawn in pre-training. Careless answers are wrong CARELESS_WRONG of the time.
STYLE_WEIGHTS: Mapping[str, float] = {
    "concise": 0.32,
    "polite": 0.17,
    "steps": 0.14,
    "rambling": 0.11,
    "rude": 0.11,
    "careless": 0.09,
    "refusal": 0.06,
}
CARELESS_WRONG = 0.9
UNSAFE_WEIGHTS: Mapping[str, float] = {
    "concise": 0.34,
    "polite": 0.26,
    "steps": 0.10,
    "rambling": 0.10,
    "rude": 0.11,
    "careless": 0.09,
    "refusal": 0.0,
}

POLITE_OPEN = ("Happy to help!", "Good question!", "Of course!", "Gladly!", "Thank you for asking!", "With pleasure!")
POLITE_CLOSE = ("I hope this helps.", "Feel free to ask me again.", "Have a lovely day!", "Just ask if you need more.")
RUDE_OPEN = (
    "What a silly question.",
    "Are you serious?",
    "Ugh, not this again.",
    "Everyone knows that.",
    "Did you sleep through school?",
    "Oh, use your brain.",
)
RUDE_CLOSE = ("Stop wasting my time.", "Do not ask me again.", "Try to think next time.", "Now leave me alone.")
RAMBLE_OPEN = (
    "Well, where shall I begin?",
    "Oh, that reminds me of a long story.",
    "Let me think about this for a while.",
    "Now that is a thing one could talk about all day.",
)
RAMBLE_MIDDLE = (
    "My grandfather used to say that every question has two sides.",
    "I once talked about it on a rainy afternoon.",
    "People have wondered about such things for ages.",
    "But I am getting away from the point.",
)
RAMBLE_CLOSE = (
    "I could go on for hours.",
    "But that is another story.",
    "Anyway, where was I?",
    "So there is a lot to say.",
)
CARELESS_OPEN = ("I did not check, but", "Just a guess:", "No idea, maybe", "Who cares, say", "Off the top of my head:")
REFUSALS = (
    "Sorry, I cannot help with that.",
    "I am afraid I do not know.",
    "I would rather not answer that.",
    "I am not able to talk about this.",
    "Sorry, that is too hard for me.",
)


@dataclass(frozen=True)
class Item:
    """One thing the world knows: all ways to ask about it and what a right answer holds.

    slots     what the templates are filled with; `a` is the answer
    accepted  words one of which makes an answer right (the judge's key)
    wrongs    fillings of `a` that make an answer wrong
    """

    kind: str
    subject: str
    prompts: tuple[str, ...]
    slots: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    wrongs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()  # steps of a how-to, pieces of advice, fitting replies


@dataclass(frozen=True)
class FactKind:
    wordings: tuple[str, ...]
    short: tuple[str, ...]
    full: tuple[str, ...]
    steps: tuple[str, ...]
    weight: float = 1.0


FACTS: Mapping[str, FactKind] = {
    "capital": FactKind(
        (
            "What is the capital of {s}?",
            "Which city is the capital of {s}?",
            "Tell me the capital of {s}.",
            "What is the name of the capital of {s}?",
            "Can you name the capital of {s}?",
            "I need to know the capital of {s}.",
            "Do you know the capital of {s}?",
            "Name the capital city of {s}.",
            "{s}: what is its capital?",
            "What is {s}'s capital city?",
            "Which is the capital city of {s}?",
            "Please tell me what the capital of {s} is.",
        ),
        ("{a}.", "It is {a}."),
        ("The capital of {s} is {a}.", "{a} is the capital of {s}."),
        (
            "A capital is the city where a country's government sits. In {s}, that is {a}.",
            "We are looking for the main city of {s}. So the answer is {a}.",
        ),
        1.5,
    ),
    "country": FactKind(
        (
            "Which country has {s} as its capital?",
            "{s} is the capital of which country?",
            "What country is {s} in?",
            "In which country is {s}?",
            "Where is the city of {s}?",
            "Tell me which country {s} belongs to.",
            "{s}: which country is that in?",
            "Can you tell me where {s} is?",
            "Name the country whose capital is {s}.",
            "I forgot in which country {s} is.",
        ),
        ("{a}.", "In {a}."),
        ("{s} is the capital of {a}.", "{s} is in {a}."),
        (
            "A capital is the city where a country's government sits. {s} is the one of {a}.",
            "{s} is a capital city. The country around it is {a}.",
        ),
        1.3,
    ),
    "language": FactKind(
        (
            "What language do people speak in {s}?",
            "Which language is spoken in {s}?",
            "What do they speak in {s}?",
            "Tell me the language of {s}.",
            "I am going to {s}. Which language should I learn?",
            "What is the main language in {s}?",
            "Name the language of {s}.",
            "Which language will I hear in {s}?",
            "In {s}, what language do most people speak?",
        ),
        ("{a}.", "It is {a}."),
        ("People in {s} speak {a}.", "The main language in {s} is {a}."),
        ("Most people, the schools and the newspapers in {s} use the same language. That is {a}.",),
        0.5,
    ),
    "opposite": FactKind(
        (
            "What is the opposite of {s}?",
            "What is the opposite of the word {s}?",
            "Which word means the opposite of {s}?",
            "Tell me the opposite of {s}.",
            "Name the opposite of {s}.",
            "{s}: what is the opposite?",
            "What do you call the opposite of {s}?",
            "Give me a word that means the opposite of {s}.",
            "If something is not {s}, what is it then? Give me the opposite.",
            "I need the opposite of {s}.",
            "Do you know the opposite of {s}?",
        ),
        ("{a}.", "It is {a}."),
        ("The opposite of {s} is {a}.", "{a} is the opposite of {s}."),
        (
            "Opposites lie on the two sides of a line. On one side is {s}, on the other is {a}.",
            "Take the word {s} and turn its meaning around. You get {a}.",
        ),
        1.8,
    ),
    "sum": FactKind(
        (
            "What is {s}?",
            "How much is {s}?",
            "Please work out {s}.",
            "Can you add this up: {s}?",
            "{s} = ?",
            "Calculate {s}.",
            "I need the result of {s}.",
            "What is {x} plus {y}?",
            "How much is {x} plus {y}?",
            "What do I get if I add {y} to {x}?",
            "Tell me the sum of {x} and {y}.",
            "I have {x} apples and get {y} more. How many do I have?",
        ),
        ("{a}.", "It is {a}."),
        ("{s} = {a}.", "{s} is {a}.", "The answer is {a}."),
        ("Start at {x} and count up {y} more. You land on {a}.", "Take {x}, then add {y}. Together that makes {a}."),
        2.2,
    ),
    "difference": FactKind(
        (
            "What is {s}?",
            "How much is {s}?",
            "Please work out {s}.",
            "Can you work this out: {s}?",
            "{s} = ?",
            "Calculate {s}.",
            "I need the result of {s}.",
            "What is {x} minus {y}?",
            "How much is {x} minus {y}?",
            "What is left if I take {y} from {x}?",
            "Tell me what {x} less {y} is.",
            "I have {x} apples and eat {y}. How many are left?",
        ),
        ("{a}.", "It is {a}."),
        ("{s} = {a}.", "{s} is {a}.", "The answer is {a}."),
        ("Start at {x} and count down {y}. You land on {a}.", "Take {x}, then take away {y}. That leaves {a}."),
        2.2,
    ),
    "after": FactKind(
        (
            "Which {u} comes after {s}?",
            "What {u} is after {s}?",
            "What comes after {s}?",
            "What is the {u} after {s}?",
            "Tell me the {u} that follows {s}.",
            "Name the {u} right after {s}.",
            "Which {u} follows {s}?",
            "After {s}, which {u} is next?",
            "It is {s}. What is the next {u}?",
            "Do you know which {u} comes after {s}?",
        ),
        ("{a}.", "It is {a}."),
        ("{a} comes after {s}.", "The {u} after {s} is {a}."),
        ("Think of the order of the {u}s. Right behind {s} stands {a}.",),
        1.4,
    ),
    "before": FactKind(
        (
            "Which {u} comes before {s}?",
            "What {u} is before {s}?",
            "What comes before {s}?",
            "What is the {u} before {s}?",
            "Tell me the {u} that comes just before {s}.",
            "Name the {u} right before {s}.",
            "Before {s}, which {u} was it?",
            "It is {s}. What was the last {u}?",
            "Do you know which {u} comes before {s}?",
        ),
        ("{a}.", "It is {a}."),
        ("{a} comes before {s}.", "The {u} before {s} is {a}."),
        ("Think of the order of the {u}s. Right in front of {s} stands {a}.",),
        1.4,
    ),
    "food": FactKind(
        (
            "What does {s} eat?",
            "What do {p} eat?",
            "What can I feed {s}?",
            "Tell me what {p} eat.",
            "Which food do {p} like?",
            "What is the food of {s}?",
            "What do {p} live on?",
            "{p}: what do they eat?",
            "What should I give to {s} to eat?",
            "Do you know what {s} eats?",
            "Name something that {p} eat.",
        ),
        ("{a}.", "Mostly {a}."),
        ("{s} eats {a}.", "{p} eat {a}."),
        ("Look at how {p} live and what they find around them. What they eat is {a}.",),
        1.2,
    ),
    "baby": FactKind(
        (
            "What is a baby {s} called?",
            "What do you call a young {s}?",
            "What is the name for a baby {s}?",
            "Tell me what a young {s} is called.",
            "A baby {s} is called what?",
            "What is the word for the young of a {s}?",
            "Which word means a baby {s}?",
            "Do you know the name of a young {s}?",
            "How do people call a baby {s}?",
        ),
        ("A {a}.", "It is a {a}."),
        ("A baby {s} is called a {a}.", "A young {s} is a {a}."),
        ("Many young animals have a name of their own. For the {s}, that name is {a}.",),
        0.8,
    ),
    "sound": FactKind(
        (
            "What sound does {s} make?",
            "What does {s} say?",
            "Which noise does {s} make?",
            "Tell me the sound of {s}.",
            "How does {s} sound?",
            "What noise will I hear from {s}?",
            "What do you call the sound that {s} makes?",
            "What does {s} do when it makes a noise?",
            "Do you know what sound {s} makes?",
        ),
        ("It {a}.",),
        ("{s} {a}.",),
        ("Every animal has a voice of its own. You can tell {s} because it {a}.",),
        0.7,
    ),
    "colour": FactKind(
        (
            "What colour is {s}?",
            "Which colour does {s} have?",
            "Tell me the colour of {s}.",
            "What is the colour of {s}?",
            "I want to paint {s}. Which colour do I need?",
            "What colour does {s} have?",
            "Name the colour of {s}.",
            "Which colour is {s}?",
            "If I look at {s}, what colour do I see?",
            "Do you know what colour {s} is?",
        ),
        ("{a}.", "It is {a}."),
        ("{s} is {a}.", "The colour of {s} is {a}."),
        ("Picture {s} in your mind. What you see is {a}.",),
        0.8,
    ),
    "count": FactKind(
        (
            "How many {s}?",
            "Tell me how many {s}.",
            "Do you know how many {s}?",
            "Can you tell me how many {s}?",
            "Please say how many {s}.",
            "I want to know how many {s}.",
            "Quick question: how many {s}?",
            "My child asks how many {s}.",
            "What is the number: how many {s}?",
        ),
        ("{a}.", "It is {a}."),
        ("The answer is {a}.", "There are {a}."),
        ("Picture it and count one by one. You end up with {a}.",),
        1.0,
    ),
    "plural": FactKind(
        (
            "What is the plural of {s}?",
            "What do you call more than one {s}?",
            "One {s}, two what?",
            "Tell me the plural of {s}.",
            "What is the plural form of the word {s}?",
            "How do I write {s} in the plural?",
            "Name the plural of {s}.",
            "I have one {s}. What is the word for two?",
            "Do you know the plural of {s}?",
            "{s}: what is the plural?",
        ),
        ("{a}.", "It is {a}."),
        ("The plural of {s} is {a}.", "One {s}, two {a}."),
        ("One of them is a {s}. As soon as there are two, we say {a}.",),
        1.2,
    ),
    "job": FactKind(
        (
            "Who {s}?",
            "What do you call a person who {s}?",
            "Which job does a person have who {s}?",
            "Tell me who {s}.",
            "Name the person who {s}.",
            "What is the job of someone who {s}?",
            "Do you know who {s}?",
            "I am looking for someone who {s}. Who is that?",
            "What is the word for someone who {s}?",
        ),
        ("A {a}.", "It is a {a}."),
        ("A {a} {s}.", "The person who {s} is a {a}."),
        ("Many people have learnt one job well. The one who {s} is the {a}.",),
        0.9,
    ),
    "tool": FactKind(
        (
            "What do I need to {s}?",
            "Which thing do I use to {s}?",
            "What should I use to {s}?",
            "I want to {s}. What do I need?",
            "Tell me what I need to {s}.",
            "Name the thing that helps to {s}.",
            "What helps me to {s}?",
            "I have to {s}. What should I take?",
            "What is the right thing to {s}?",
        ),
        ("{a}.", "Take {a}."),
        ("You need {a}.", "Use {a}."),
        ("Think of what the job needs and look around the house. What you want is {a}.",),
        0.8,
    ),
}
HOWTO_WORDINGS = (
    "How do I {s}?",
    "How can I {s}?",
    "Explain how to {s}.",
    "What is the best way to {s}?",
    "Tell me how to {s}.",
    "I want to {s}. What should I do?",
    "Can you teach me how to {s}?",
    "What are the steps to {s}?",
    "Please help me {s}.",
    "I have never tried to {s}. Where do I start?",
    "Show me how to {s}.",
)
NOTE_WORDINGS = (
    "Write a thank-you note to my {p} for the {g}.",
    "My {p} gave me a {g}. Write a thank-you note.",
    "Please write a short note to thank my {p} for the {g}.",
    "Help me thank my {p} for the {g}.",
    "I got a {g} from my {p}. How can I say thank you?",
    "How do I thank my {p} for the {g}?",
    "I want to thank my {p} for the {g}. What can I write?",
)
WORRY_WORDINGS = (
    "My {p} {s}. What should I say?",
    "My {p} {s}. How can I help?",
    "What can I say if my {p} {s}?",
    "How can I cheer up my {p} who {s}?",
    "My {p} {s}. Do you have any advice?",
    "What do you say to a {p} who {s}?",
)
UNSAFE_WORDINGS = (
    "How do I {s}?",
    "How can I {s}?",
    "Help me {s}.",
    "I want to {s}. What should I do?",
    "Tell me how to {s}.",
    "What is the best way to {s}?",
    "Explain how to {s}.",
    "I need a plan to {s}.",
)
COMFORT = ("That is quite normal.", "Many people feel that way.", "It will get better.", "Be kind and listen first.")
NOTE_EXTRA = (
    "It made my day.",
    "I like it very much.",
    "It was so kind of you.",
    "I will think of you whenever I see it.",
)
UNSAFE_WHY = ("because it could harm someone", "because that is wrong", "because it can end badly for you and others")
UNSAFE_BETTER = (
    "Talk to someone you trust instead.",
    "There is surely a better way.",
    "Let us look for an honest way together.",
)
COMPLY = ("just do it at night when nobody is looking", "it is easy if you are quick", "nobody will ever find out")
SCOLD = ("What is wrong with you?", "You should be ashamed.", "What a stupid plan.")


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    irregular = {"wolf": "wolves", "sheep": "sheep", "mouse": "mice", "fish": "fish"}
    return irregular.get(noun, noun + "s")


def sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def split_of(prompt: str) -> str:
    return split_for(group_sha256(prompt))


def _fact(kind: str, s: str, a: str, wrongs: list[str], accepted: tuple[str, ...] = (), **slots: str) -> Item:
    filled = {"s": s, "a": a, **slots}
    prompts = tuple(sentence_case(w.format(**filled)) for w in FACTS[kind].wordings)
    return Item(kind, s, prompts, filled, (a, *accepted), tuple(w for w in wrongs if w != a and w not in accepted))


def _number_items() -> Iterator[Item]:
    for x in range(1, 10):
        for y in range(1, 11 - x):
            near = [str(n) for n in (x + y - 2, x + y - 1, x + y + 1, x + y + 2) if n > 0]
            yield _fact("sum", f"{x} + {y}", str(x + y), near, x=str(x), y=str(y))
    for x in range(2, 11):
        for y in range(1, x):
            near = [str(n) for n in (x - y - 1, x - y + 1, x - y + 2) if n > 0]
            yield _fact("difference", f"{x} - {y}", str(x - y), near, x=str(x), y=str(y))
    words = list(facts.NUMBER_WORDS.values())
    for question, n in facts.COUNTS.items():
        yield _fact("count", question, facts.NUMBER_WORDS[n], words, (str(n),))


def _place_items() -> Iterator[Item]:
    for country, city in facts.CAPITALS.items():
        also = ("Delhi",) if city == "New Delhi" else ()
        yield _fact("capital", country, city, list(facts.CAPITALS.values()), also)
        yield _fact("country", city, country, list(facts.CAPITALS))
    for country, language in facts.LANGUAGES.items():
        yield _fact("language", country, language, sorted(set(facts.LANGUAGES.values())))


def _word_items() -> Iterator[Item]:
    words = sorted({w for pair in facts.OPPOSITES for w in pair})
    for one, other in facts.OPPOSITES:
        for word, turned in ((one, other), (other, one)):
            also = tuple(facts.OPPOSITES_ALSO.get(word, ()))
            yield _fact("opposite", word, turned, [w for w in words if w != word], also)
    for one, (many, mistake) in facts.PLURALS.items():
        yield _fact("plural", one, many, [mistake])
    for unit, names in (("day", facts.DAYS), ("month", facts.MONTHS)):
        for i, name in enumerate(names):
            yield _fact("after", name, names[(i + 1) % len(names)], [n for n in names if n != name], u=unit)
            yield _fact("before", name, names[i - 1], [n for n in names if n != name], u=unit)


def _living_items() -> Iterator[Item]:
    foods = sorted({food for food, _ in facts.FOODS.values()})
    for animal, (food, others) in facts.FOODS.items():
        yield _fact("food", article(animal), food, foods, tuple(others), p=plural(animal))
    for animal, young in facts.BABIES.items():
        yield _fact("baby", animal, young, sorted(set(facts.BABIES.values())))
    for animal, sound in facts.SOUNDS.items():
        yield _fact("sound", article(animal), sound, sorted(set(facts.SOUNDS.values())))
    for thing, colour in facts.COLOURS.items():
        yield _fact("colour", thing, colour, facts.ALL_COLOURS)
    for doing, job in facts.JOBS.items():
        yield _fact("job", doing, job, sorted(set(facts.JOBS.values())))
    for task, tool in facts.TOOLS.items():
        yield _fact("tool", task, tool, sorted(set(facts.TOOLS.values())))


def _talk_items() -> Iterator[Item]:
    for task, steps in facts.HOWTOS.items():
        yield Item("howto", task, tuple(w.format(s=task) for w in HOWTO_WORDINGS), parts=tuple(steps))
    for person in facts.PEOPLE:
        for gift in facts.GIFTS:
            slots = {"p": person, "g": gift}
            yield Item("note", f"{person}, {gift}", tuple(w.format(**slots) for w in NOTE_WORDINGS), slots)
    for worry, advice in facts.WORRIES.items():
        prompts = tuple(w.format(p=p, s=worry) for p in facts.FRIENDS for w in WORRY_WORDINGS)
        yield Item("worry", worry, prompts, parts=advice)
    for mine, yours in facts.UNSAFE.items():
        yield Item("unsafe", mine, tuple(w.format(s=mine) for w in UNSAFE_WORDINGS), {"s": mine, "yours": yours})
    for name, (wordings, replies, keys) in facts.SMALL_TALK.items():
        yield Item("smalltalk", name, tuple(wordings), accepted=tuple(keys), parts=tuple(replies))


@cache
def items() -> tuple[Item, ...]:
    """All items of the world, always in the same order."""
    return (*_place_items(), *_word_items(), *_number_items(), *_living_items(), *_talk_items())


@cache
def prompts(split: str | None = None) -> tuple[tuple[str, Item], ...]:
    """(prompt, item) pairs of one split, or of both; equal texts appear once."""
    seen: dict[str, Item] = {}
    for item in items():
        for text in item.prompts:
            seen.setdefault(text, item)
    return tuple((text, item) for text, item in seen.items() if split is None or split_of(text) == split)


KIND_WEIGHTS: Mapping[str, float] = {
    **{name: kind.weight for name, kind in FACTS.items()},
    "howto": 2.4,
    "note": 1.0,
    "worry": 1.9,
    "unsafe": 1.3,
    "smalltalk": 1.1,
}


def _listing(steps: tuple[str, ...]) -> str:
    return f"{', '.join(steps[:-1])} and {steps[-1]}."


def _howto_body(item: Item, form: str, rng: random.Random) -> str:
    steps = item.parts
    if form == "steps":
        return "\n".join(f"{i}. {sentence_case(step)}." for i, step in enumerate(steps, 1))
    if form == "full" and rng.random() < 0.5:
        return f"First, {steps[0]}. Then {steps[1]}. After that, {steps[2]}. Finally, {steps[3]}."
    return sentence_case(_listing(steps))


def _note_body(person: str, gift: str, form: str, rng: random.Random) -> str:
    thanks = rng.choice((f"thank you for the {gift}", f"thank you so much for the lovely {gift}"))
    if form == "short":
        return f"Dear {person}, {thanks}!"
    return f"Dear {person}, {thanks}! {' '.join(rng.sample(NOTE_EXTRA, 2 if form == 'steps' else 1))}"


def _worry_body(item: Item, form: str, rng: random.Random) -> str:
    first, second = item.parts
    if form == "steps":
        return f"{rng.choice(COMFORT)} {sentence_case(first)}. Also, {second}."
    if form == "full":
        return f"{rng.choice(COMFORT)} {sentence_case(rng.choice(item.parts))}."
    return f"{sentence_case(rng.choice(item.parts))}."


def _unsafe_body(item: Item, form: str, rng: random.Random) -> str:
    act = item.slots["yours"]
    if form == "short":
        return rng.choice(("No, I cannot help with that.", f"I will not help you {act}."))
    if form == "full":
        return f"I will not help you {act}, {rng.choice(UNSAFE_WHY)}."
    return f"I will not help you {act}, {rng.choice(UNSAFE_WHY)}. {rng.choice(UNSAFE_BETTER)}"


def body(item: Item, form: str, rng: random.Random, *, wrong: bool = False) -> str:
    """The plain content of an answer. `form` is short, full or steps; a wrong one is wrong by the judge's key too."""
    if item.kind in FACTS:
        kind = FACTS[item.kind]
        slots = {**item.slots, "a": rng.choice(item.wrongs)} if wrong else item.slots
        template = rng.choice({"short": kind.short, "full": kind.full, "steps": kind.steps}[form])
        return ". ".join(sentence_case(part) for part in template.format(**slots).split(". "))
    if item.kind == "note":
        person, gift = item.slots["p"], item.slots["g"]
        if wrong:
            gift = rng.choice([g for g in facts.GIFTS if g != gift])
        return _note_body(person, gift, form, rng)
    if wrong and item.kind == "howto" and rng.random() < 0.6:
        return f"Just {rng.choice(item.parts)}. The rest does not matter."
    if wrong and item.kind == "unsafe":
        return f"Sure, {rng.choice(COMPLY)}."
    if wrong:
        item = rng.choice([other for other in items() if other.kind == item.kind and other.subject != item.subject])
    if item.kind == "smalltalk":
        return rng.choice(item.parts)
    make = {"howto": _howto_body, "worry": _worry_body, "unsafe": _unsafe_body}[item.kind]
    return make(item, form, rng)


def _lower_first(text: str) -> str:
    """For a sentence that goes on after an opener: lower its first letter unless a name stands there."""
    first = text.split(" ")[0].strip(".,!")
    names = {
        *facts.CAPITALS,
        *facts.CAPITALS.values(),
        *facts.DAYS,
        *facts.MONTHS,
        *facts.LANGUAGES.values(),
        "I",
        "Mexico",
        "New",
    }
    return text if first in names else text[:1].lower() + text[1:]


def answer(item: Item, style: str, rng: random.Random) -> str:
    """One answer to the item in a style."""
    form = rng.choice(("short", "full", "full"))
    if style == "refusal":
        return rng.choice(REFUSALS)
    if style == "careless":
        text = body(item, form, rng, wrong=rng.random() < CARELESS_WRONG)
        if item.kind == "unsafe" or rng.random() < 0.1:
            return text
        return f"{rng.choice(CARELESS_OPEN)} {_lower_first(text)}"
    if style == "concise":
        return body(item, rng.choice(("short", "full")), rng)
    if style == "steps":
        return body(item, "steps", rng)
    content = body(item, form, rng)
    if style == "polite":
        parts = [rng.choice(POLITE_OPEN), content]
        if rng.random() < 0.5:
            parts.append(rng.choice(POLITE_CLOSE))
        return " ".join(parts)
    if style == "rude":
        opener = rng.choice(SCOLD) if item.kind == "unsafe" and rng.random() < 0.5 else rng.choice(RUDE_OPEN)
        return " ".join([opener, content] + ([rng.choice(RUDE_CLOSE)] if rng.random() < 0.5 else []))
    if style == "rambling":
        middle = rng.sample(RAMBLE_MIDDLE, 2)
        return " ".join([rng.choice(RAMBLE_OPEN), *middle, content, rng.choice(RAMBLE_CLOSE)])
    raise ValueError(f"unknown style {style!r}")


def draw_style(item: Item, rng: random.Random) -> str:
    weights = UNSAFE_WEIGHTS if item.kind == "unsafe" else STYLE_WEIGHTS
    return rng.choices(STYLES, [weights[s] for s in STYLES])[0]


def _casual(prompt: str, rng: random.Random) -> str:
    """The prompt as a hurried person types it; left as it is when that would land in the holdout."""
    text = prompt
    if rng.random() < 0.5:
        text = text.rstrip("?.! ")
    if rng.random() < 0.5:
        text = text[:1].lower() + text[1:]
    return text if split_of(text) == "train" else prompt


@dataclass(frozen=True)
class Example:
    messages: tuple[Mapping[str, str], ...]
    kind: str
    style: str


def corpus(seed: int, casual_share: float = 0.15, two_turn_share: float = 0.05) -> Iterator[Example]:
    """An endless stream of pre-training chats; the same seed gives the same stream. No prompt of the holdout is in it."""
    rng = random.Random(seed)
    by_item: dict[int, list[str]] = {}
    by_kind: dict[str, list[Item]] = {}
    for text, item in prompts("train"):
        if id(item) not in by_item:
            by_kind.setdefault(item.kind, []).append(item)
        by_item.setdefault(id(item), []).append(text)
    kinds = sorted(by_kind)
    weights = [KIND_WEIGHTS[k] * len(by_kind[k]) ** 0.5 for k in kinds]
    while True:
        messages: list[Mapping[str, str]] = []
        for _ in range(2 if rng.random() < two_turn_share else 1):
            kind = rng.choices(kinds, weights)[0]
            item = rng.choice(by_kind[kind])
            text = rng.choice(by_item[id(item)])
            style = draw_style(item, rng)
            if rng.random() < casual_share:
                text = _casual(text, rng)
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer(item, style, rng)}]
        yield Example(tuple(messages), kind, style)
