"""Which formats a dataset can be exported in. Another one is another entry: its columns, its rows, and what it cannot carry."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from core.errors import DomainError
from training.exports import pairs, tasks
from training.exports.columns import DETAILS, MESSAGES, NUMBER, TEXT, TEXTS, TRUTH, WHOLE, Column
from training.exports.containers import CONTAINERS
from training.exports.options import Options
from training.exports.source import Row, Source
from training.formats.files import RECORDS

Group = Literal["Preference", "Single answers", "Judgements", "Everything"]
TABLES = tuple(CONTAINERS)
LINES = ("jsonl", "jsonl.zst")

SIDE = "which side of the split a prompt is on: an import draws it anew from the prompt's group, or holds all out where asked to"
VOTES = "the single votes, how many they were, who gave them, their scores, reasons and comments"
MODELS = "which model wrote an answer"
TIES = "ties, and pairs without a majority"
STRENGTH = "how much better the chosen answer is"
TURNS = "turns: a message that itself holds “\\n\\nHuman:” or “\\n\\nAssistant:” reads as two"
MARGIN = "0 where strength was not asked"
MEAN = "a margin that is no whole number of twelfths, as the mean of several votes may be: it comes back as 0"
SHARE = "shares of votes where some were not for the chosen answer: they come back as 1 and 0"
APART = "which answers were compared with each other, and so the order of the rows"
OFTEN = "how often an answer was in a pair: it comes back once, and not at all where it was wanted as often as not"
LOOKS = "the tasks of one prompt whose answers read the same, where models are not named: they come back as one"
NAMES = "a person's name, which comes back as a pseudonym of the project that reads it"
# What an import makes of a file of ours.
PAIRS_BACK = "pairs that one outside person judged, by an import of votes"
LABELS_BACK = "answers that one outside person called good or bad, by an import of votes"
ANSWERS_BACK = "answers of an outside model that nobody has judged, by an import of votes; of them nothing is exported before somebody has"
PROMPTS_BACK = "prompts, by an import of prompts; exported again once they are answered and judged"


PAIRS, ALONE = "{split}.jsonl", "unpaired-{split}.jsonl"


@dataclass(frozen=True)
class Format:
    """One format. ``rows`` yields rows with at least the columns that its options ask for; a file of ``parts`` is a zip of them."""

    name: str
    label: str
    group: Group
    reads: str  # who reads it
    rows: Callable[[Source], Iterator[Row]]
    columns: tuple[Column, ...]
    cannot: tuple[str, ...]
    one_row: str = "a pair"
    back: str = PAIRS_BACK
    containers: tuple[str, ...] = TABLES
    has_split: bool = True
    numbered: tuple[
        str, ...
    ] = ()  # models, people: named in columns that it cannot be without, else model-1, person-1 ...
    files: tuple[str, ...] = (PAIRS,)  # of the dataset, each as often as it is read

    def columns_for(self, options: Options) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_in(options))

    @property
    def uses(self) -> set[str]:
        """The options that change something in it."""
        found = {column.needs for column in self.columns if column.needs} | set(self.numbered)
        return found | {"split"} if self.has_split else found


def _message_list(name: str, words: str) -> Column:
    return Column(name, MESSAGES, words)


PROMPT = _message_list("prompt", "the conversation up to the answer: role and content")
PROMPT_TEXT = Column("prompt", TEXT, "the conversation as one text, up to “Assistant:”")
CHOSEN, REJECTED = _message_list("chosen", "one assistant message"), _message_list("rejected", "one assistant message")
WHOLE_CHOSEN = _message_list("chosen", "the whole conversation with the better answer")
WHOLE_REJECTED = _message_list("rejected", "the whole conversation with the other answer")
TEXT_OF = {name: Column(name, TEXT, f"the {name} answer, after a space") for name in ("chosen", "rejected")}
WHOLE_TEXT = {
    name: Column(name, TEXT, f"the whole conversation as one text, with the {name} answer")
    for name in ("chosen", "rejected")
}
LABEL = Column("label", TRUTH, "true: wanted, false: not wanted")
MARGIN_COLUMN = Column("margin", NUMBER, f"how much better, 0 to 1; {MARGIN}")
SPEAKER = pa.struct([("from", TEXT), ("value", TEXT)])
SCORE = pa.struct([("criterion", TEXT), ("ratings", pa.list_(WHOLE)), ("comparison", WHOLE)])
RANKING = pa.struct(
    [
        ("annotator", TEXT), ("verdict", TEXT), ("ranks", pa.list_(WHOLE)), ("strength", WHOLE), ("scores", pa.list_(SCORE)),
        ("reasons", TEXTS), ("comment", TEXT), ("time", TEXT),
    ]
)  # fmt: skip
INPUT = pa.struct([("messages", MESSAGES), ("tools", TEXTS), ("parallel_tool_calls", TRUTH)])
PREFERENCE = pa.list_(pa.struct([("score", WHOLE), ("reasoning", TEXT)]))

FORMATS: tuple[Format, ...] = (
    Format(
        "trl-preference", "TRL preference, conversational", "Preference", "TRL's DPOTrainer and RewardTrainer",
        pairs.of_each(pairs.explicit), (PROMPT, CHOSEN, REJECTED, *DETAILS), (VOTES, MODELS, TIES, STRENGTH, SIDE),
    ),
    Format(
        "trl-preference-text", "TRL preference, plain text", "Preference", "TRL's DPOTrainer, with a model without a chat template",
        pairs.of_each(pairs.explicit_text), (PROMPT_TEXT, *TEXT_OF.values(), *DETAILS), (VOTES, MODELS, TIES, STRENGTH, SIDE, TURNS),
    ),
    Format(
        "trl-implicit", "TRL preference with an implicit prompt, conversational", "Preference", "TRL's RewardTrainer and DPOTrainer",
        pairs.of_each(pairs.implicit), (WHOLE_CHOSEN, WHOLE_REJECTED, *DETAILS), (VOTES, MODELS, TIES, STRENGTH, SIDE),
    ),
    Format(
        "hh", "Transcripts (Anthropic HH), TRL implicit plain text", "Preference", "readers of HH-RLHF; TRL's RewardTrainer",
        pairs.of_each(pairs.implicit_text), (*WHOLE_TEXT.values(), *DETAILS), (VOTES, MODELS, TIES, STRENGTH, SIDE, TURNS),
    ),
    Format(
        "trl-reward", "Reward with margin, conversational", "Preference", "TRL's RewardTrainer, whose loss uses the margin",
        pairs.of_each(pairs.reward), (WHOLE_CHOSEN, WHOLE_REJECTED, MARGIN_COLUMN, *DETAILS), (VOTES, MODELS, TIES, MEAN, SIDE),
    ),
    Format(
        "trl-reward-text", "Reward with margin, plain text", "Preference", "TRL's RewardTrainer, without a chat template",
        pairs.of_each(pairs.reward_text), (*WHOLE_TEXT.values(), MARGIN_COLUMN, *DETAILS), (VOTES, MODELS, TIES, MEAN, SIDE, TURNS),
    ),
    Format(
        "openai-preference", "OpenAI preference", "Preference", "preference fine-tuning at OpenAI, Azure, Fireworks, Together",
        pairs.of_each(pairs.openai),
        (
            Column("input", INPUT, "messages up to the answer, no tools"),
            _message_list("preferred_output", "one assistant message"),
            _message_list("non_preferred_output", "one assistant message"),
        ),
        (VOTES, MODELS, TIES, STRENGTH, SIDE), containers=LINES,
    ),
    Format(
        "ultrafeedback", "UltraFeedback binarized", "Preference", "recipes made for HuggingFaceH4/ultrafeedback_binarized",
        pairs.of_each(pairs.ultrafeedback),
        (
            Column("prompt", TEXT, "the last user turn"), Column("prompt_id", TEXT, "hash of the prompt's messages"),
            WHOLE_CHOSEN, WHOLE_REJECTED, _message_list("messages", "the same as chosen"),
            Column("score_chosen", NUMBER, "share of the votes for the chosen answer"),
            Column("score_rejected", NUMBER, "the rest of the votes, ties included"),
        ),
        (VOTES, MODELS, TIES, STRENGTH, SHARE, SIDE, "scores of a judge: the two scores are shares of votes"),
    ),
    Format(
        "llama-factory", "LLaMA-Factory", "Preference", "LLaMA-Factory: put the files into its data directory",
        pairs.factory_preference,
        (
            Column("conversations", pa.list_(SPEAKER), "turns up to the answer, sharegpt style"),
            Column("system", TEXT, "the system message"), Column("chosen", SPEAKER, "the better answer"),
            Column("rejected", SPEAKER, "the other answer"),
        ),
        (VOTES, MODELS, TIES, STRENGTH, SIDE, "a second system message"), containers=("zip",), files=(PAIRS, PAIRS, PAIRS, ALONE),
    ),
    Format(
        "trl-unpaired", "TRL unpaired preference (KTO), conversational", "Single answers", "TRL's KTOTrainer",
        pairs.unpaired, (PROMPT, _message_list("completion", "one assistant message"), LABEL, *DETAILS),
        (VOTES, MODELS, STRENGTH, APART, OFTEN, SIDE), one_row="an answer of a pair", back=LABELS_BACK,
        files=(PAIRS, ALONE),
    ),
    Format(
        "trl-unpaired-text", "TRL unpaired preference (KTO), plain text", "Single answers", "TRL's KTOTrainer",
        pairs.unpaired_text, (PROMPT_TEXT, Column("completion", TEXT, "the answer, after a space"), LABEL, *DETAILS),
        (VOTES, MODELS, STRENGTH, APART, OFTEN, SIDE, TURNS), one_row="an answer of a pair",
        back=LABELS_BACK,
        files=(PAIRS, ALONE),
    ),
    Format(
        "sft-best", "SFT from the best answers, messages", "Single answers", "TRL's SFTTrainer and most chat fine-tuning",
        pairs.best,
        (
            _message_list("messages", "the conversation with an answer that won and lost to none"),
            Column("prompt_id", TEXT, "hash of the prompt's messages", "details"),
        ),
        (VOTES, MODELS, STRENGTH, SIDE, "the answers that lost, and prompts without a winner"), one_row="a best answer", back=ANSWERS_BACK,
    ),
    Format(
        "sft-best-text", "SFT from the best answers, prompt and completion", "Single answers", "TRL's SFTTrainer",
        pairs.best_text,
        (
            PROMPT_TEXT, Column("completion", TEXT, "the answer, after a space"),
            Column("prompt_id", TEXT, "hash of the prompt's messages", "details"),
        ),
        (VOTES, MODELS, STRENGTH, SIDE, "the answers that lost, and prompts without a winner", TURNS),
        one_row="a best answer", back=ANSWERS_BACK,
    ),
    Format(
        "sft-written", "SFT from better answers that people wrote, messages", "Single answers", "TRL's SFTTrainer",
        tasks.write_ins,
        (
            _message_list("messages", "the conversation with the answer that a person wrote"),
            Column("annotator", TEXT, "who wrote it", "people"),
        ),
        ("the answers that were shown, and every vote", MODELS, SIDE), one_row="an answer that a person wrote", back=ANSWERS_BACK,
        files=(RECORDS,),
    ),
    Format(
        "trl-prompts", "Prompts, conversational", "Single answers", "TRL's GRPOTrainer and RLOOTrainer", tasks.prompts,
        (
            PROMPT, Column("reference", TEXT, "the reference answer", "details"),
            Column("tags", TEXTS, "the prompt's tags", "details"),
        ),
        ("answers and votes", SIDE), one_row="a judged prompt", back=PROMPTS_BACK,
        files=(RECORDS,),
    ),
    Format(
        "trl-prompts-text", "Prompts, plain text", "Single answers", "TRL's GRPOTrainer and RLOOTrainer", tasks.prompts_text,
        (
            PROMPT_TEXT, Column("reference", TEXT, "the reference answer", "details"),
            Column("tags", TEXTS, "the prompt's tags", "details"),
        ),
        ("answers and votes", SIDE, TURNS), one_row="a judged prompt", back=PROMPTS_BACK,
        files=(RECORDS,),
    ),
    Format(
        "rankings", "Rankings with every vote (InstructGPT style)", "Judgements", "analyses, and reward models of your own",
        tasks.rankings,
        (
            Column("task", TEXT, "the task's id"), PROMPT, Column("completions", TEXTS, "the answers, two to nine"),
            Column("models", TEXTS, "which model wrote each of them", "models"),
            Column("question", TEXT, "what was asked"),
            Column(
                "rankings", pa.list_(RANKING),
                "for each vote: annotator, verdict, ranks (1 is best), strength, scores, reasons, comment, time",
            ),
            Column("tags", TEXTS, "the prompt's tags"),
        ),
        (
            "sampling, flags, the order shown, better answers that people wrote", NAMES, LOOKS, SIDE,
            "strengths above 4, of imported margins, and rows longer than 4 MiB: an import refuses them",
        ),
        one_row="a task", numbered=("people",),
        back="tasks with every vote, its person, time, strength and scores, by an import of votes",
        files=(RECORDS, RECORDS),
    ),
    Format(
        "helpsteer3", "HelpSteer3 preference", "Judgements", "readers of nvidia/HelpSteer3", tasks.helpsteer,
        (
            Column("domain", TEXT, "the prompt's first tag, or general"),
            Column("language", TEXT, "the prompt's language, or english"), _message_list("context", "the conversation"),
            Column("response1", TEXT, "one answer"), Column("response2", TEXT, "the other"),
            Column("overall_preference", WHOLE, "mean of the votes, rounded: -3 (response 1 is much better) to 3"),
            Column("individual_preference", PREFERENCE, "for each vote its score and its reasons"),
        ),
        (
            MODELS, "who gave a vote, and in which order the answers were shown", "tasks of more than two answers",
            "why a vote is 0: a tie, both good or both bad", "tags but the first",
            "a vote's strength where none was asked: it becomes 2 of 3", SIDE,
            "the tasks of one prompt whose answers read the same: they come back as one",
            "rows longer than 4 MiB: an import refuses them",
        ),
        one_row="a task of two answers", back="tasks with every vote, by an import of votes",
        files=(RECORDS,),
    ),
    Format(
        "arena", "Arena battles", "Judgements", "Chatbot Arena's notebooks, evalica and other rating tools", tasks.battles,
        (
            Column("question_id", TEXT, "the vote's id"), Column("model_a", TEXT, "who wrote the answer shown first"),
            Column("model_b", TEXT, "who wrote the other"),
            Column("winner", TEXT, "model_a, model_b, tie or tie (bothbad)"), Column("judge", TEXT, "the annotator"),
            _message_list("conversation_a", "the conversation with answer a"),
            _message_list("conversation_b", "the conversation with answer b"),
            Column("turn", WHOLE, "user turns"), Column("anony", TRUTH, "false: the person could have seen the models"),
            Column("language", TEXT, "the prompt's language, or unknown"),
            Column("tstamp", NUMBER, "seconds since 1970"),
        ),
        (
            STRENGTH, "scores, reasons and comments", "both good, which becomes a tie",
            "rankings as such: one becomes a battle for each pair of answers", NAMES, SIDE,
            "a person's second vote on the same two answers: an import refuses the row where it says something else",
        ),
        one_row="a vote on a pair", back="votes on pairs with person, time and side, by an import of votes", numbered=("models", "people"),
        files=(RECORDS,),
    ),
    Format(
        "whetstone", "Whetstone, everything", "Everything", "an import of votes, here or elsewhere", Source.records, (),
        (
            "earlier revisions of a judgement, skipped and unfinished turns, judgements that the dataset left out",
            "what a prompt of several sets says in all but one of them: tags, note, reference, metadata",
            "with models not named: how an answer was sampled, and which of two that read the same stands first",
        ),
        one_row="a judged task", back="the same campaign, by an import of votes", containers=LINES, has_split=False,
        numbered=("models", "people"),
        files=(RECORDS,),
    ),
)  # fmt: skip
BY_NAME = {each.name: each for each in FORMATS}


def format_named(name: str) -> Format:
    """Raises DomainError for a format that there is not."""
    if name not in BY_NAME:
        raise DomainError("There is no such format.", how=f"Choose one of {', '.join(BY_NAME)}.")
    return BY_NAME[name]
