"""What the loop buys: rounds of simulated judgements, DPO by the real recipe, hot-loaded into a real vLLM, measured each time.

    python -m benchmarks.loop                                      # as reported; three quarters of an hour on 2 quiet cores
    python -m benchmarks.loop --teacher people                     # DPO on the judgements themselves, no reward model
    python -m benchmarks.loop --ask rankings --teacher people      # a judgement ranks all four answers
    python -m benchmarks.loop --quick                              # one seed, one round of 60 pairs: does it run at all?

Real here: the starter model, vLLM in a process of its own, the recipe `python -m training.recipes.dpo SPEC.json`, loading
at run time. Left out: pages, database and queue (`benchmarks/pipeline.py` measures those). People are simulated: each
judgement is a draw at temperature 1 from the utility that `starter/judge.py` fixes, of Bradley-Terry where two answers are
compared, of Plackett-Luce where all of a prompt's answers are ranked (Ouyang et al. 2022: every pair of a ranking is a row).
A win is by the noise-free utility over held-out wordings that neither pre-training nor any round has seen; a tie is one
half; intervals resample prompts. Settings were chosen on one half of the held-out wordings, the figures are from the other.
"""

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from annotation.winrate import rate, tally
from benchmarks import report
from core.ids import seed_from
from generation.engines.base import EngineDown, Sample, SampleRequest, Sampling
from generation.engines.vllm import Vllm, VllmOptions, VllmServer
from starter import judge, world
from training.specs import derive

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "starter" / "model"
SAMPLING = Sampling(temperature=1.0, max_tokens=96)
AT_ONCE = 64
PAUSES = (1, 5, 25)  # seconds before a request that found vLLM away is sent again
TARGET, AIM = 0.70, 0.80
TUNING_SEED = 5  # which half of the held-out wordings settings were chosen on
# For pairs that a reward model labelled: fewer of them are wrong than of people's, and they are two to three times as many.
LABELLED = {"learning_rate": 1e-3, "epochs": 2, "beta": 0.5, "label_smoothing": 0.1, "sft_weight": 0.5}
Answer = tuple[str, bool]  # text, cut off


@dataclass
class Clock:
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] += time.monotonic() - began


def held_out_prompts(n: int) -> list[str]:
    """The half of the held-out wordings that no setting was chosen on, at most n of them."""
    texts = [text for text, _ in world.prompts("holdout")]
    random.Random(TUNING_SEED).shuffle(texts)
    return texts[len(texts) // 2 :][:n]


def training_prompts(seed: int) -> list[str]:
    """The demo project's prompts on the training side, in the seed's order."""
    lines = (ROOT / "starter" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [text for text in (json.loads(line)["prompt"] for line in lines) if world.split_of(text) == "train"]
    random.Random(seed).shuffle(texts)
    return texts


def sample(base_url: str, model: str, prompts: Sequence[str], n: int, *seeds: object) -> list[list[Answer]]:
    """n answers a prompt from vLLM, in the prompts' order."""

    async def everything() -> list[list[Answer]]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(engine: Vllm, prompt: str) -> list[Answer]:
            async with gate:
                asked = SampleRequest(
                    model,
                    ({"role": "user", "content": prompt},),
                    tuple(seed_from(*seeds, prompt, i) for i in range(n)),
                    SAMPLING,
                )
                return [(s.text.strip(), s.finish_reason != "stop") for s in await patiently(engine, asked)]

        async def patiently(engine: Vllm, asked: SampleRequest) -> Sequence[Sample]:
            for pause in PAUSES:
                try:
                    return await engine.sample(asked)
                except EngineDown:
                    await asyncio.sleep(pause)
            return await engine.sample(asked)

        async with Vllm(base_url, timeout_seconds=300) as engine:
            return list(await asyncio.gather(*(one(engine, prompt) for prompt in prompts)))

    return asyncio.run(everything())


def choose_pairs(
    prompts: Sequence[str], candidates: Sequence[Sequence[Answer]], n_pairs: int, rng: random.Random
) -> list[tuple[str, Answer, Answer]]:
    """Random pairs of different answers, spread evenly: no prompt has two pairs before each that can has one."""
    options = []
    for prompt, row in zip(prompts, candidates, strict=True):
        unlike = list({text: (text, cut) for text, cut in row if text}.values())
        pairs = [(prompt, a, b) for i, a in enumerate(unlike) for b in unlike[i + 1 :]]
        options.append(rng.sample(pairs, len(pairs)))
    chosen: list[tuple[str, Answer, Answer]] = []
    for depth in range(max(map(len, options), default=0)):
        layer = [row[depth] for row in options if len(row) > depth]
        chosen += rng.sample(layer, min(len(layer), n_pairs - len(chosen)))
    return chosen


def judged(pairs: Sequence[tuple[str, Answer, Answer]], rng: random.Random) -> list[dict[str, Any]]:
    """One noisy judgement a pair, as rows of a preference dataset."""
    rows = []
    for prompt, a, b in pairs:
        first, second = (judge.features(prompt, text, truncated=cut) for text, cut in (a, b))
        better, worse = (a, b) if judge.FIXED.prefers_first(first, second, rng) else (b, a)
        rows.append(row_of(prompt, better[0], worse[0]))
    return rows


def ranked(
    prompts: Sequence[str], candidates: Sequence[Sequence[Answer]], n: int, rng: random.Random
) -> tuple[list[dict[str, Any]], int]:
    """Rows of at most n noisy rankings of a prompt's different answers, and how many rankings there were."""
    rows: list[dict[str, Any]] = []
    n_rankings = 0
    for prompt, answers in zip(prompts, candidates, strict=True):
        unlike = list({text: (text, cut) for text, cut in answers if text}.values())
        if len(unlike) < 2 or n_rankings == n:
            continue
        n_rankings += 1
        worth = {
            text: judge.utility(prompt, text, truncated=cut) - math.log(-math.log(rng.uniform(1e-12, 1 - 1e-12)))
            for text, cut in unlike
        }
        order = sorted(worth, key=lambda text: -worth[text])
        rows += [row_of(prompt, better, worse) for better, worse in combinations(order, 2)]
    return rows, n_rankings


def row_of(prompt: str, better: str, worse: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
    }


def train(
    rows: Sequence[dict[str, Any]],
    adapter: str,
    home: Path,
    seed: int,
    overrides: dict[str, Any],
    *,
    method: str = "dpo",
) -> Path:
    """Run the recipe in its own process; the directory of the finished adapter or reward model."""
    home.mkdir(parents=True)
    train_file = home / "train.jsonl"
    write_lines(train_file, rows)
    config = json.loads((MODEL / "config.json").read_text())
    n_parameters = (MODEL / "model.safetensors").stat().st_size // 2  # bfloat16
    spec = derive(
        method, "small", n_parameters=n_parameters, context_length=config["max_position_embeddings"], n_train=len(rows),
        base_model=str(MODEL), train_file=str(train_file), output_dir=str(home / "run"), adapter=adapter, seed=seed,
        overrides={"n_samples": 0, **overrides},
    )  # fmt: skip
    spec.write(home / "spec.json")
    run_recipe(method, home / "spec.json", home / "log.txt")
    return home / "run" / "final"


def run_recipe(name: str, spec: Path, log: Path) -> None:
    with log.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", f"training.recipes.{name}", str(spec)],
            cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"The recipe {name} ended with {done.returncode}:\n" + log.read_text()[-3000:])


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def load(base_url: str, name: str, path: Path) -> None:
    async def push() -> None:
        async with Vllm(base_url) as engine:
            await engine.load(name, str(path))

    asyncio.run(push())


def utilities(prompts: Sequence[str], answers: Sequence[Sequence[Answer]]) -> list[list[float]]:
    return [
        [judge.utility(prompt, text, truncated=cut) for text, cut in row]
        for prompt, row in zip(prompts, answers, strict=True)
    ]


def shares(prompts: Sequence[str], answers: Sequence[Sequence[Answer]]) -> dict[str, Any]:
    return judge.summary([(p, text, cut) for p, row in zip(prompts, answers, strict=True) for text, cut in row])


def win_shares(new: Sequence[Sequence[float]], old: Sequence[Sequence[float]]) -> list[float]:
    """For each prompt the share of (new, old) pairs that the new answer wins, ties one half."""
    return list(tally(list(zip(new, old, strict=True))).shares)


def one_seed(
    seed: int, arguments: argparse.Namespace, base_url: str, held_out: Sequence[str],
    start: list[list[float]], home: Path, overrides: dict[str, Any],
) -> list[dict[str, Any]]:  # fmt: skip
    """All rounds of one seed; one row a round."""
    prompts = training_prompts(seed)
    a_round = min(arguments.pairs, len(prompts) // arguments.rounds)
    rng = random.Random(seed)
    model, adapter, previous, so_far = "base", "", start, []
    rows = []
    for number in range(1, arguments.rounds + 1):
        clock = Clock()
        asked = prompts[(number - 1) * a_round : number * a_round]
        with clock.stage("sample"):
            candidates = sample(base_url, model, asked, arguments.candidates, "train", seed, number)
        with clock.stage("judge"):
            if arguments.ask == "rankings":
                judgements, n_judgements = ranked(asked, candidates, arguments.pairs, rng)
            else:
                judgements = judged(choose_pairs(asked, candidates, arguments.pairs, rng), rng)
                n_judgements = len(judgements)
            so_far += judgements
        name = f"s{seed}r{number}"
        rows_to_learn, learnt = judgements if arguments.data == "round" else so_far, {}
        if arguments.teacher == "reward":
            with clock.stage("reward"):
                scorer = train(so_far, "", home / f"{name}-reward", seed, {}, method="reward")
            with clock.stage("label"):
                more = sample(base_url, model, prompts, arguments.labelled, "label", seed, number)
                rows_to_learn, learnt = labelled(prompts, more, scorer, home / f"{name}-label")
        with clock.stage("train"):
            start_from = adapter if arguments.data == "round" or arguments.teacher == "reward" else ""
            final = train(rows_to_learn, start_from, home / name, seed, overrides)
        with clock.stage("push"):
            model, adapter = f"s{seed}r{number}", str(final)
            load(base_url, model, final)
        with clock.stage("evaluate"):
            answers = sample(base_url, model, held_out, arguments.answers, "held out", seed, number)
            scores = utilities(held_out, answers)
        rows.append(
            {
                "seed": seed, "round": number, "n_judgements": n_judgements, "n_rows": len(rows_to_learn), **learnt,
                "against_start": win_shares(scores, start), "against_previous": win_shares(scores, previous),
                "shares": shares(held_out, answers), "seconds": {k: round(v, 2) for k, v in clock.seconds.items()},
            }
        )  # fmt: skip
        previous = scores
        mean = statistics.mean
        print(
            f"seed {seed} round {number}: against the start {mean(rows[-1]['against_start']):.3f}, against the round "
            f"before {mean(rows[-1]['against_previous']):.3f}, acceptable {rows[-1]['shares']['acceptable']:.2f}, "
            f"{sum(clock.seconds.values()):.0f} s",
            flush=True,
        )
    return rows


def labelled(
    prompts: Sequence[str], candidates: Sequence[Sequence[Answer]], reward_model: Path, home: Path
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The best and the worst of each prompt's answers by the reward model, and how often the noise-free utility agrees."""
    home.mkdir()
    unlike = [list({text: (text, cut) for text, cut in answers if text}.values()) for answers in candidates]
    asked = [
        {"messages": [{"role": "user", "content": prompt}], "answer": text}
        for prompt, answers in zip(prompts, unlike, strict=True)
        for text, _ in answers
    ]
    write_lines(home / "input.jsonl", asked)
    spec = {"reward_model": str(reward_model), "input": str(home / "input.jsonl"), "output": str(home / "output.jsonl")}
    (home / "spec.json").write_text(json.dumps(spec))
    run_recipe("score", home / "spec.json", home / "log.txt")
    scores = iter([json.loads(line)["score"] for line in (home / "output.jsonl").read_text().splitlines()])
    rows, agreed = [], []
    for prompt, answers in zip(prompts, unlike, strict=True):
        by_score = sorted(answers, key={answer: next(scores) for answer in answers}.__getitem__)
        if len(by_score) < 2:
            continue
        worst, best = by_score[0], by_score[-1]
        rows.append(row_of(prompt, best[0], worst[0]))
        better, worse = (judge.utility(prompt, text, truncated=cut) for text, cut in (best, worst))
        agreed.append(0.5 if better == worse else float(better > worse))
    return rows, {"reward_agrees": round(statistics.mean(agreed), 4)}


def per_round(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over seeds, 95 % intervals over prompts, spread over seeds."""
    table = []
    for number in sorted({row["round"] for row in rows}):
        of_round = [row for row in rows if row["round"] == number]
        found: dict[str, Any] = {"round": number, "n_seeds": len(of_round)}
        for name in ("against_start", "against_previous"):
            by_prompt = [statistics.mean(values) for values in zip(*(row[name] for row in of_round), strict=True)]
            measured = rate(by_prompt)
            each = [statistics.mean(row[name]) for row in of_round]
            found[name] = {
                "win_rate": round(statistics.mean(each), 4), "low": round(measured.low, 4), "high": round(measured.high, 4),
                "by_seed": [round(value, 4) for value in each],
            }  # fmt: skip
        for name in ("acceptable", "polite", "rude", "rambling", "refused_harmless", "truncated", "words", "utility"):
            found[name] = round(statistics.mean(row["shares"][name] for row in of_round), 4)
        found["n_judgements"] = round(statistics.mean(row["n_judgements"] for row in of_round))
        found["n_rows"] = round(statistics.mean(row["n_rows"] for row in of_round))
        if "reward_agrees" in of_round[0]:
            found["reward_agrees"] = round(statistics.mean(row["reward_agrees"] for row in of_round), 4)
        stages = of_round[0]["seconds"]
        found["seconds"] = {s: round(statistics.median(row["seconds"][s] for row in of_round), 1) for s in stages}
        found["seconds"]["round"] = round(statistics.median(sum(row["seconds"].values()) for row in of_round), 1)
        table.append(found)
    return table


def show(figures: dict[str, Any]) -> str:
    def wins(of: dict[str, Any]) -> str:
        return f"{of['win_rate']:.3f} [{of['low']:.3f}, {of['high']:.3f}]"

    start = figures["start"]
    body = [
        ["start", "", "", *(f"{start[k]:.2f}" for k in ("acceptable", "polite", "rude", "refused_harmless")),
         f"{start['utility']:.2f}", ""],
    ]  # fmt: skip
    for row in figures["rounds"]:
        body.append(
            [row["round"], wins(row["against_start"]), wins(row["against_previous"]),
             *(f"{row[k]:.2f}" for k in ("acceptable", "polite", "rude", "refused_harmless")),
             f"{row['utility']:.2f}", f"{row['seconds']['round']:.0f}"]
        )  # fmt: skip
    headings = ["round", "win rate against the start", "against the round before", "acceptable", "polite", "rude",
                "refused", "utility", "seconds"]  # fmt: skip
    oracle = figures["best_of_4_oracle"]
    return f"{report.table(headings, body)}\nbest of 4 by the judge itself, no training: {wins(oracle)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=300, help="judgements a round")
    parser.add_argument("--candidates", type=int, default=4, help="answers a prompt")
    parser.add_argument("--ask", choices=["pairs", "rankings"], default="pairs", help="what a judgement is")
    parser.add_argument(
        "--teacher",
        choices=["people", "reward"],
        default="reward",
        help="DPO learns from the judgements themselves, or from pairs that a reward model of all judgements so far labels",
    )
    parser.add_argument("--labelled", type=int, default=8, help="answers a prompt that the reward model labels")
    parser.add_argument("--held-out", type=int, default=250, help="held-out prompts")
    parser.add_argument("--answers", type=int, default=2, help="answers a held-out prompt")
    parser.add_argument(
        "--data",
        choices=["round", "all"],
        default="round",
        help="train on the round's judgements from the last adapter, or on all so far from the base",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a DPO setting")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--name", default="loop", help="of the results file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.rounds, arguments.pairs, arguments.held_out = 1, 1, 60, 60
        arguments.name = "loop-quick"
    by_hand = {name: json.loads(value) for name, value in (entry.split("=", 1) for entry in arguments.set)}
    overrides = (LABELLED if arguments.teacher == "reward" else {}) | by_hand

    held_out = held_out_prompts(arguments.held_out)
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        home = Path(folder)
        began = time.monotonic()
        options = VllmOptions(
            model=str(MODEL), home=home / "vllm", max_cpu_loras=arguments.seeds * arguments.rounds + 1,
            # vLLM 0.32's CPU worker dies ("CPU Generator does not use offset") when the prompt of a seeded request is
            # split over two steps, as happens when a few hundred requests come at once: nothing is split then.
            extra_arguments=("--no-enable-chunked-prefill",),
        )  # fmt: skip
        with VllmServer(options) as server:
            start_seconds = time.monotonic() - began
            print(f"vLLM answers after {start_seconds:.0f} s; {len(held_out)} held-out prompts", flush=True)
            answers = sample(server.base_url, "base", held_out, 4, "start")
            start = utilities(held_out, answers)
            again = utilities(held_out, sample(server.base_url, "base", held_out, arguments.answers, "start again"))
            oracle = rate(win_shares([[max(row)] for row in start], again))
            figures: dict[str, Any] = {
                "utility": f"{judge.CORRECT:g}*correct + {judge.POLITE:g}*polite {judge.RUDE:g}*rude {judge.RAMBLING:g}*rambling "
                f"{judge.PER_WORD:g}*words {judge.REFUSAL:g}*refused harmless {judge.TRUNCATED:g}*truncated",
                "n_held_out_prompts": len(held_out),
                "vllm_start_seconds": round(start_seconds, 1),
                "start": shares(held_out, answers),
                "start_against_itself": round(statistics.mean(win_shares(again, start)), 4),
                "best_of_4_oracle": {
                    "win_rate": round(oracle.value or 0, 4),
                    "low": round(oracle.low, 4),
                    "high": round(oracle.high, 4),
                },
            }
            print(f"utility = {figures['utility']}; judgements are {arguments.ask}, at temperature 1", flush=True)
            rows: list[dict[str, Any]] = []
            for seed in range(1, arguments.seeds + 1):
                rows += one_seed(seed, arguments, server.base_url, held_out, start, home, overrides)
                figures["rounds"] = per_round(rows)
                figures["target"] = {"win_rate": TARGET, "aim": AIM}
                path = report.write(arguments.name, figures, settings=vars(arguments))
    print(show(figures))
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
