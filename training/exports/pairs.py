"""Formats made of the preference rows: what trainers read. The pairs themselves were decided when the dataset was frozen."""

from collections.abc import Callable, Iterator
from typing import Any

from training.exports.source import Messages, Row, Source

SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
DETAIL_NAMES = ("id", "prompt_id", "n_votes", "vote_share", "weight")
Rows = Callable[[Source], Iterator[Row]]
TURN_OF = {"user": "human", "assistant": "gpt"}


def transcript(messages: Messages) -> str:
    """A conversation as one text, as Anthropic's HH data have it: each turn after a blank line, with its speaker."""
    return "".join(f"\n\n{SPEAKERS[message['role']]}: {message['content']}" for message in messages)


def asked(messages: Messages) -> str:
    """The transcript up to the answer; what is said follows after a space."""
    return f"{transcript(messages)}\n\nAssistant:"


def of_each(make: Callable[[Row], Row]) -> Rows:
    """One row for each pair, with the details behind it where they are wanted."""

    def rows(source: Source) -> Iterator[Row]:
        if not source.options.details:
            yield from map(make, source.pairs())
            return
        for pair in source.pairs():
            yield make(pair) | {name: pair[name] for name in DETAIL_NAMES}

    return rows


# ---- TRL -------------------------------------------------------------------------------------------------------------


def explicit(pair: Row) -> Row:
    return {"prompt": pair["prompt"], "chosen": pair["chosen"], "rejected": pair["rejected"]}


def explicit_text(pair: Row) -> Row:
    return {
        "prompt": asked(pair["prompt"]), "chosen": f" {_said(pair, 'chosen')}", "rejected": f" {_said(pair, 'rejected')}",
    }  # fmt: skip


def implicit(pair: Row) -> Row:
    prompt = pair["prompt"]
    return {"chosen": prompt + pair["chosen"], "rejected": prompt + pair["rejected"]}


def implicit_text(pair: Row) -> Row:
    prompt = asked(pair["prompt"])
    return {"chosen": f"{prompt} {_said(pair, 'chosen')}", "rejected": f"{prompt} {_said(pair, 'rejected')}"}


def reward(pair: Row) -> Row:
    return {**implicit(pair), "margin": pair["margin"]}


def reward_text(pair: Row) -> Row:
    return {**implicit_text(pair), "margin": pair["margin"]}


def unpaired(source: Source) -> Iterator[Row]:
    """Two rows for each pair, then one for each answer that was called good or bad without a pair."""
    details = source.options.details
    for pair in source.pairs():
        for name in ("chosen", "rejected"):
            row = {"prompt": pair["prompt"], "completion": pair[name], "label": name == "chosen"}
            yield row | {each: pair[each] for each in DETAIL_NAMES} if details else row
    for alone in source.unpaired():
        row = {"prompt": alone["prompt"], "completion": alone["completion"], "label": alone["label"]}
        yield row | {each: alone.get(each) for each in DETAIL_NAMES} if details else row


def unpaired_text(source: Source) -> Iterator[Row]:
    for row in unpaired(source):
        yield {**row, "prompt": asked(row["prompt"]), "completion": f" {row['completion'][0]['content']}"}


def best(source: Source) -> Iterator[Row]:
    """For each prompt the answers that won and lost to none, the pairs that were cut among them."""
    beaten = source.beaten()
    for pairs in source.pairs_by_prompt():
        lost = {_said(pair, "rejected") for pair in pairs} | {
            _said(pair, "chosen") for pair in pairs if pair["id"] in beaten
        }
        won = dict.fromkeys(_said(pair, "chosen") for pair in pairs)
        for text in won:
            if text not in lost:
                yield {
                    "messages": [*pairs[0]["prompt"], {"role": "assistant", "content": text}],
                    "prompt_id": pairs[0]["prompt_id"],
                }


def best_text(source: Source) -> Iterator[Row]:
    for row in best(source):
        yield _completed(row)


def _completed(row: Row) -> Row:
    *prompt, answer = row["messages"]
    return {"prompt": asked(prompt), "completion": f" {answer['content']}", "prompt_id": row.get("prompt_id")}


def _said(pair: Row, which: str) -> str:
    return str(pair[which][0]["content"])


# ---- others ----------------------------------------------------------------------------------------------------------


def openai(pair: Row) -> Row:
    return {
        "input": {"messages": pair["prompt"], "tools": [], "parallel_tool_calls": True},
        "preferred_output": pair["chosen"],
        "non_preferred_output": pair["rejected"],
    }


def ultrafeedback(pair: Row) -> Row:
    chosen, rejected = pair["prompt"] + pair["chosen"], pair["prompt"] + pair["rejected"]
    share = pair["vote_share"]
    return {
        "prompt": pair["prompt"][-1]["content"], "prompt_id": pair["prompt_id"], "chosen": chosen, "rejected": rejected,
        "messages": chosen, "score_chosen": share, "score_rejected": round(1 - share, 6),
    }  # fmt: skip


def sharegpt(messages: Messages) -> Row:
    """The conversation as LLaMA-Factory's sharegpt formatting has it, with the system message in a column of its own."""
    turns = [
        {"from": TURN_OF[message["role"]], "value": message["content"]}
        for message in messages
        if message["role"] != "system"
    ]
    system = next((message["content"] for message in messages if message["role"] == "system"), "")
    return {"conversations": turns, "system": system}


def factory_preference(source: Source) -> Iterator[Row]:
    for pair in source.pairs():
        said: dict[str, Any] = {name: {"from": "gpt", "value": _said(pair, name)} for name in ("chosen", "rejected")}
        yield {**sharegpt(pair["prompt"]), **said}


def factory_kto(source: Source) -> Iterator[Row]:
    for row in unpaired(source):
        yield {**sharegpt(row["prompt"] + row["completion"]), "kto_tag": row["label"]}


def factory_sft(source: Source) -> Iterator[Row]:
    for row in best(source):
        yield sharegpt(row["messages"])
