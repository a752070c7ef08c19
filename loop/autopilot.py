"""One round by itself: a researcher's and annotators' work, done through the same pages that people use.

Buttons are pressed by sending the forms that the pages show; only the waiting reads the database.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from accounts.invitations import issue_sign_in_link
from annotation.models import Campaign
from annotation.simulate import PageClient, simulate
from core.counting import counted
from core.errors import DomainError
from generation.models import Candidate, ModelVersion
from loop.board import Board, board_of, sentence_of
from loop.demo import AUTO_PLAN, Demo, ensure_first_round, failed_deployment
from loop.models import Round, RoundStep
from loop.processes import Processes
from loop.rounds import evaluations_of, gate_is_cleared, is_clearly_worse, last_step, produced_by
from training.models import TrainingRun

Say = Callable[[str], None]
Stage = RoundStep.Stage
PAUSE_SECONDS = 0.5
ROUND_TIMEOUT_SECONDS = 1500.0
N_EXAMPLES = 3
UNCLEAR = "No judge calls the new policy better, and none worse: the demo deploys it to show how that goes."
WORSE = "The new policy is clearly worse than the one before: the whole interval lies below one half."


class Ending(StrEnum):
    """How a round that went by itself ended."""

    DEPLOYED = "deployed"
    GIVEN_UP = "given up"  # everything worked, and the new policy is clearly worse: the one before stays
    FAILED = "failed"


def board_for(demo: Demo, round_: Round) -> Board:
    round_.refresh_from_db()
    return board_of(round_, user=demo.autopilot, membership=demo.project.memberships.get(user=demo.autopilot))


class Teller:
    """Says each new thing once: what the round waits for, as the page shows it."""

    def __init__(self, say: Say) -> None:
        self.say, self.last, self.began = say, "", time.monotonic()

    def __call__(self, line: str) -> None:
        # Figures that count up are one message, not hundreds.
        gist = "".join("#" if c.isdigit() else c for c in line)
        if line and gist != self.last:
            self.last = gist
            self.say(f"  {time.monotonic() - self.began:6.1f} s  {line}")


def _waiting(board: Board) -> str:
    if board.next:
        return ""
    card = next((card for card in board.cards if card.state == "running"), None)
    return f"{card.title}: {card.waits_for}" if card else ""


def _watch(
    demo: Demo, round_: Round, processes: Processes, tell: Teller, until: Callable[[Board], bool], seconds: float
) -> Board:
    """Wait until the board is as wanted, telling what it waits for. Raises DomainError for a failed stage or too long a wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        processes.look_after()
        board = board_for(demo, round_)
        failed = next((card for card in board.cards if card.state == "failed"), None)
        if failed is not None:
            raise DomainError(f"{failed.title}: {failed.problem}")
        broken = failed_deployment(demo)
        if broken is not None and round_.status == Round.Status.OPEN and broken.error:
            raise DomainError(f"The model could not be served: {broken.error}")
        if until(board):
            return board
        tell(_waiting(board))
        time.sleep(PAUSE_SECONDS)
    raise DomainError(f"Nothing moved for {seconds:.0f} seconds.", how="Look at the logs in the home directory.")


def _card_is(stage: str, *states: str) -> Callable[[Board], bool]:
    return lambda board: any(card.stage == stage and card.state in states for card in board.cards)


def open_first_answers(demo: Demo, *, processes: Processes, say: Say, started: float) -> None:
    """Write the demo's first answers and open them for judging, so that a person finds something to do."""
    round_ = ensure_first_round(demo)
    if round_.number > 1 or last_step(round_, Stage.ANNOTATE) or round_.status != Round.Status.OPEN:
        return
    pages = sign_in(demo, processes.url)
    tell = Teller(say)
    if last_step(round_, Stage.GENERATE) is None:
        _watch(demo, round_, processes, tell, _card_is(Stage.GENERATE, "ready"), ROUND_TIMEOUT_SECONDS)
        press(pages, demo, round_, Stage.GENERATE)
    _watch(demo, round_, processes, tell, _card_is(Stage.ANNOTATE, "ready"), ROUND_TIMEOUT_SECONDS)
    press(pages, demo, round_, Stage.ANNOTATE)
    _watch(demo, round_, processes, tell, lambda board: judging_is_open(round_), ROUND_TIMEOUT_SECONDS)
    say(f"The first answers are ready to be judged, {time.monotonic() - started:.0f} seconds after the start.")


def judging_is_open(round_: Round) -> bool:
    step = last_step(round_, Stage.ANNOTATE)
    return bool(
        step and step.campaign and Campaign.objects.filter(pk=step.campaign.pk, stage=Campaign.Stage.OPEN).exists()
    )


def sign_in(demo: Demo, url: str) -> PageClient:
    """Open a one-time link as a browser would."""
    pages = PageClient(url)
    pages.open_link(issue_sign_in_link(demo.autopilot))
    return pages


def press(pages: PageClient, demo: Demo, round_: Round, stage: str, **fields: str) -> None:
    """Send the form behind a stage's button, as the round's page shows it."""
    page = pages.get(f"/p/{demo.project.slug}/rounds/{round_.number}/")
    pages.submit(page, f"/p/{demo.project.slug}/rounds/{round_.number}/{stage}/", **fields)


def play_round(demo: Demo, *, url: str, processes: Processes, n_people: int, say: Say) -> Ending:
    """One whole round with simulated people; prints what changed."""
    tell = Teller(say)
    pages = sign_in(demo, url)
    round_ = ensure_first_round(demo, AUTO_PLAN)
    if round_.status != Round.Status.OPEN:
        page = pages.get(f"/p/{demo.project.slug}/rounds/new/")
        pages.submit(page, f"/p/{demo.project.slug}/rounds/new/", with_simulated="on")
        round_ = demo.project.rounds.order_by("-number").get(status=Round.Status.OPEN)
    try:
        _play(demo, round_, pages, url, processes, n_people, tell)
        ending = deploy_or_give_up(demo, round_, pages, processes, tell)
    except DomainError as problem:
        say(f"\n{problem.words}")
        return Ending.FAILED
    say("\n" + what_changed(round_))
    return ending


def _play(
    demo: Demo, round_: Round, pages: PageClient, url: str, processes: Processes, n_people: int, tell: Teller
) -> None:
    def go(stage: str, until: Callable[[Board], bool], **fields: str) -> None:
        if last_step(round_, stage) is None:
            tell(f"{stage.capitalize()} …")
            press(pages, demo, round_, stage, **fields)
        _watch(demo, round_, processes, tell, until, ROUND_TIMEOUT_SECONDS)

    _watch(
        demo,
        round_,
        processes,
        tell,
        lambda b: not _card_is(Stage.GENERATE, "waiting", "running")(b) or bool(last_step(round_, Stage.GENERATE)),
        ROUND_TIMEOUT_SECONDS,
    )
    go(Stage.GENERATE, _card_is(Stage.GENERATE, "done"))
    go(Stage.ANNOTATE, lambda board: judging_is_open(round_) or _card_is(Stage.ANNOTATE, "done")(board))
    step = last_step(round_, Stage.ANNOTATE)
    assert step is not None and step.campaign is not None
    if not _card_is(Stage.ANNOTATE, "done")(board_for(demo, round_)):
        tell(f"{n_people} simulated people judge the answers …")
        result = simulate(base_url=url, campaign=step.campaign, n_people=n_people)
        tell(f"{counted(result.n_judgements, 'judgement')}, {result.per_second:.1f} a second.")
    go(Stage.DATASET, _card_is(Stage.DATASET, "done"))
    go(Stage.REWARD, lambda board: True)
    go(Stage.TRAIN, _card_is(Stage.TRAIN, "done"))
    _watch(demo, round_, processes, tell, lambda board: _reward_is_over(round_), ROUND_TIMEOUT_SECONDS)
    go(Stage.EVALUATE, _card_is(Stage.EVALUATE, "done"))


def deploy_or_give_up(demo: Demo, round_: Round, pages: PageClient, processes: Processes, tell: Teller) -> Ending:
    """The last decision, as a researcher would take it: what is clearly worse is not pushed back."""
    if last_step(round_, Stage.DEPLOY) is None:
        if is_clearly_worse(round_):
            tell(f"{WORSE} It is not deployed.")
            page = pages.get(f"/p/{demo.project.slug}/rounds/{round_.number}/")
            pages.submit(page, f"/p/{demo.project.slug}/rounds/{round_.number}/abandon/", note=WORSE)
            return Ending.GIVEN_UP
        tell("Deploy …")
        press(pages, demo, round_, Stage.DEPLOY, note="" if gate_is_cleared(round_) else UNCLEAR)
    _watch(demo, round_, processes, tell, lambda board: round_.status == Round.Status.COMPLETE, ROUND_TIMEOUT_SECONDS)
    return Ending.DEPLOYED


def _reward_is_over(round_: Round) -> bool:
    step = last_step(round_, Stage.REWARD)
    return step is None or step.run is None or TrainingRun.objects.get(pk=step.run.pk).is_terminal


def what_changed(round_: Round) -> str:
    """The round in a few lines: the policies, the verdicts, and answers before and after."""
    round_.refresh_from_db()
    new = produced_by(round_, Stage.TRAIN)
    if round_.policy_out is not None:
        lines = [f"Round {round_.number}: {round_.policy_in} → {round_.policy_out}"]
    else:
        lines = [f"Round {round_.number} ends without a new policy: {new} is worse, and {round_.policy_in} stays live."]
    lines += [f"  {sentence_of(evaluation)}" for evaluation in evaluations_of(round_)]
    for prompt, before, after in examples(round_, new):
        lines += ["", f"  {prompt}", f"    before  {before}", f"    after   {after}"]
    if round_.policy_out is None:
        lines += [
            "",
            "Its answers and judgements are kept. The same command starts the next round, from the policy that is live.",
        ]
    return "\n".join(lines)


def examples(round_: Round, new: ModelVersion | None) -> list[tuple[str, str, str]]:
    """(prompt, an answer of the old policy, one of the new), for some prompts that both have answered."""
    written = Candidate.objects.filter(arm__model_version=new).select_related("prompt").order_by("prompt_id", "index")
    found: list[tuple[str, str, str]] = []
    seen: set[int] = set()
    for candidate in written[:200] if new is not None else ():
        if candidate.prompt_id in seen:
            continue
        seen.add(candidate.prompt_id)
        old = (
            Candidate.objects.filter(arm__model_version=round_.policy_in, prompt_id=candidate.prompt_id)
            .order_by("id")
            .first()
        )
        if old is not None and old.text != candidate.text:
            found.append((candidate.prompt.last_turn, _one_line(old.text), _one_line(candidate.text)))
        if len(found) == N_EXAMPLES:
            break
    return found


def _one_line(text: str, n_characters: int = 150) -> str:
    line = " ".join(text.split())
    return line if len(line) <= n_characters else line[: n_characters - 1] + "…"
