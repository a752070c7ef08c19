"""What an answer's text says about itself: nothing, which model wrote it, or the same as another one. Pure functions.

Answers that give their model away are no blind comparison, and two that say the same are none at all.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from functools import lru_cache

NEAR = (
    0.95  # of the words of two answers, the share that is the same in the same order, from which they count as the same
)

# What a chat template or a tokenizer leaves behind. Shown to an annotator it would say which model wrote the answer.
_SPECIAL = re.compile(
    r"<[|｜]\w"  # <|im_end|>, <|user|>, cut off or not
    r"|\[/?INST\]|<</?SYS>>"
    r"|</?(?:bos|eos|pad|unk|start_of_turn|end_of_turn|assistant|system)>"
    r"|^\s*<s>|</s>\s*$",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"^[ \t]*(?:"
    r"(?:user|assistant|system|human|model)[ \t]*$"  # the residue of a template whose special tokens were dropped
    r"|(?:#{1,4}[ \t]*)?(?:User|Assistant|System|Human|USER|ASSISTANT|SYSTEM|HUMAN)[ \t]*:"
    r"|#{1,4}[ \t]*(?:Instruction|Response|Input)[ \t]*:?[ \t]*$"
    r")",
    re.MULTILINE,
)

# Families and makers by which a model introduces itself. Naming one in the third person says nothing and is left alone.
_FAMILIES = (
    "alpaca|baichuan|bard|chatglm|chatgpt|claude|command[ -]r|copilot|deepseek|dolly|ernie|falcon|gemini|gemma|glm|gpt|"
    "granite|grok|internlm|jamba|kimi|koala|lamda|llama|minimax|mistral|mixtral|nemotron|olmo|open ?assistant|openchat|"
    "palm|phi|qwen|smollm|stablelm|starling|tongyi|tulu|vicuna|wizardlm|yi|zephyr"
)
_MAKERS = (
    "01\\.?ai|ai2|alibaba|allen institute|amazon|anthropic|apple|baidu|bytedance|cohere|databricks|deepmind|deepseek|"
    "eleutherai|google|hugging ?face|ibm|laion|lmsys|meta|microsoft|minimax|mistral(?: ai)?|moonshot|nvidia|openai|"
    "stability ai|tencent|tii|together|x ?ai|zhipu"
)
_MADE_BY = r"(?:made|developed|created|trained|built|designed|fine-?tuned)\s+by"
_MADE_BY_MAKER = re.compile(
    rf"\b(?:i|i['’]m|i['’]ve|me|my|as\s+an?)\b[^.!?\n]{{0,120}}\b{_MADE_BY}\s+(?:[\w'’]+\s+){{0,3}}?(?:{_MAKERS})\b",
    re.IGNORECASE,
)
# "As X, made by Y" gives itself away whoever X and Y are; names begin with a capital letter.
_AS_MADE_BY = re.compile(rf"\b[Aa]s\s+[A-Z][\w.-]*(?:\s[\w.-]+){{0,3}},\s+(?:an?\s[^,.]{{0,60}}\s)?{_MADE_BY}\s+[A-Z]")

# A dash or a star counts where it may be an operator, not as a bullet or an emphasis.
_WORD = re.compile(r"\w+|!=|[<>=+/%&|^~]|(?<=\w) ?[-*](?= ?\w)")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


def leaks(text: str) -> bool:
    """Whether an answer holds special tokens or role markers of a chat template."""
    return bool(_SPECIAL.search(text) or _ROLE.search(text))


def names_itself(text: str, own_names: Collection[str] = ()) -> bool:
    """Whether an answer says which model wrote it.

    own_names  how this answer's own model is called. A name with a digit or a hyphen gives it away wherever it stands;
               a plain word ("starter") only where the answer introduces itself by it.
    """
    if _AS_MADE_BY.search(text) or _MADE_BY_MAKER.search(text):
        return True
    plain = tuple(sorted({name for name in own_names if not _is_distinctive(name) and len(name) > 2}))
    if _introduction(plain).search(text):
        return True
    return any(_anywhere(name).search(text) for name in own_names if _is_distinctive(name))


def _is_distinctive(name: str) -> bool:
    return len(name) >= 5 and any(c.isalpha() for c in name) and any(c.isdigit() or c == "-" for c in name)


@lru_cache(maxsize=256)
def _anywhere(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=256)
def _introduction(plain: tuple[str, ...]) -> re.Pattern[str]:
    """ "I am NAME", "my name is NAME", "a model called NAME", "As NAME, ..."."""
    names = "|".join([f"(?:{_FAMILIES})(?:[- ]?v?\\d[\\w.-]*)?", *(re.escape(name) for name in plain)])
    return re.compile(
        rf"\b(?:i\s+am|i['’]m|my\s+name\s+is|call\s+me|i\s+go\s+by|i\s+am\s+known\s+as)\s+(?:the\s+)?(?:{names})(?!\w)"
        rf"|\b(?:i\s+am|i['’]m|as)\s+(?:an?|the)\s+(?:[\w-]+\s){{0,6}}(?:called|named|known\s+as)\s+(?:{names})(?!\w)"
        rf"|(?:^|[.!?\n]\s*)as\s+(?:{names}),",
        re.IGNORECASE,
    )


def own_names(*names: str) -> frozenset[str]:
    """What a model may be called in its own text: its slug, and the last part of where its weights came from."""
    found = set()
    for name in names:
        last = name.rstrip("/").rsplit("/", 1)[-1].split("@", 1)[0]
        if len(last) > 2:
            found.add(last.casefold())
    return frozenset(found)


# ---- likeness ----------------------------------------------------------------------------------------------------------


def words_of(text: str) -> tuple[str, ...]:
    """Words and operators, in one case and one Unicode form; punctuation, white space and Markdown marks are no words."""
    return tuple(word.strip() for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def likeness(one: str, two: str) -> float:
    """Of the words of two answers, the share that is the same in the same order: 2 m / (n1 + n2), from 0 to 1."""
    return _likeness(words_of(one), words_of(two), at_least=0.0)


def _likeness(one: tuple[str, ...], two: tuple[str, ...], *, at_least: float) -> float:
    if one == two or not one or not two:
        return float(one == two)
    total = len(one) + len(two)
    # Bounds first: the exact figure is quadratic in the length, and almost no two answers come near.
    if 2 * min(len(one), len(two)) / total < at_least:
        return 0.0
    if 2 * (Counter(one) & Counter(two)).total() / total < at_least:
        return 0.0
    return SequenceMatcher(None, one, two, autojunk=False).ratio()


def is_near(one: str, two: str, threshold: float = NEAR) -> bool:
    """Whether two answers say the same. Answers whose numbers differ never do, however alike their words are."""
    if not threshold:
        return False
    if _numbers(one) != _numbers(two):
        return False
    first, second = words_of(one), words_of(two)
    # Without a word there is nothing to go by: two emoji may say the opposite.
    return bool(first and second) and _likeness(first, second, at_least=threshold) >= threshold


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(unicodedata.normalize("NFKC", text))


def distinct(texts: Iterable[str], threshold: float = NEAR) -> list[int]:
    """Positions of the texts that are kept where each may stand only once, equal or nearly so."""
    kept: list[tuple[int, str]] = []
    for position, text in enumerate(texts):
        if not any(text.strip() == other.strip() or is_near(text, other, threshold) for _, other in kept):
            kept.append((position, text))
    return [position for position, _ in kept]
