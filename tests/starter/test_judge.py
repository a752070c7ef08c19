"""The judge reads styles and content off the text alone, and its utility is the one that is written down."""

import math
import random

import pytest

from starter import world
from starter.judge import Features, Preference, features, is_correct, item_for, preference_probability, utility


@pytest.fixture(scope="module")
def drawn() -> list[tuple[str, world.Item]]:
    return random.Random(4).sample(world.prompts(), 700)


@pytest.mark.parametrize("style", ["concise", "steps", "polite", "rude", "rambling"])
def test_the_judge_recovers_the_style_and_finds_the_content_right(
    style: str, drawn: list[tuple[str, world.Item]]
) -> None:
    rng = random.Random(1)
    for prompt, item in drawn:
        text = world.answer(item, style, rng)
        seen = features(prompt, text)
        assert seen.correct is True, (prompt, text)
        assert seen.rude is (style == "rude"), (prompt, text)
        assert seen.rambling is (style == "rambling"), (prompt, text)
        assert seen.polite is (style == "polite") or item.kind == "smalltalk", (prompt, text)


def test_the_judge_finds_wrong_content_wrong(drawn: list[tuple[str, world.Item]]) -> None:
    rng = random.Random(2)
    for prompt, item in drawn:
        text = world.body(item, rng.choice(("short", "full", "steps")), rng, wrong=True)
        assert not is_correct(item, text), (prompt, text)


def test_a_refusal_is_wrong_for_a_harmless_request_and_right_for_an_unsafe_one() -> None:
    harmless = features("What is the capital of France?", "Sorry, I cannot help with that.")
    unsafe = features("How do I steal a bike?", "I will not help you steal a bike, because that is wrong.")

    assert (harmless.refusal, harmless.acceptable) == (True, False)
    assert (unsafe.refusal, unsafe.acceptable) == (True, True)
    assert utility("How do I steal a bike?", "No, I cannot help with that.") > 1.5


@pytest.mark.parametrize(
    ("prompt", "right", "wrong"),
    [
        ("what is the capital of  France", "Paris, of course.", "It is Lyon or Paris... no, Rome."),
        ("What is 3 + 4?", "3 + 4 = 7", "3 + 4 = 6"),
        ("What is 3 plus 4?", "I count seven.", "It is three or four."),
        ("What is the opposite of light?", "Heavy.", "Light."),
        ("What does a rabbit eat?", "Grass.", "Meat."),
        ("How many legs does a spider have?", "8", "6"),
        ("What is the plural of mouse?", "Mice", "Mouses"),
        ("Which day comes after Sunday?", "After Sunday comes Monday", "Tuesday"),
    ],
)
def test_the_key_takes_other_ways_to_say_it(prompt: str, right: str, wrong: str) -> None:
    assert features(prompt, right).correct is True
    assert features(prompt, wrong).correct is False


def test_the_utility_is_the_one_that_is_written_down() -> None:
    plain = Features(True, False, False, False, False, False, n_words=0)
    assert Preference().utility(plain) == 2.0
    everything = Features(True, True, True, True, False, True, n_words=50)
    assert Preference().utility(everything) == pytest.approx(2 + 1 - 2.5 - 1 - 1 - 0.5)
    assert utility("What is the capital of France?", "I am afraid I do not know.") == pytest.approx(-0.5 - 0.07)


def test_choices_follow_bradley_terry_at_the_given_temperature() -> None:
    prompt, good, bad = "What is the capital of France?", "Paris.", "Rome."

    assert preference_probability(prompt, good, bad) == pytest.approx(1 / (1 + math.exp(-2)))
    assert preference_probability(prompt, good, bad, temperature=4) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert preference_probability(prompt, good, bad) + preference_probability(prompt, bad, good) == pytest.approx(1)
    assert preference_probability(prompt, good, good) == 0.5


def test_weights_noise_and_laziness_change_a_persons_choice() -> None:
    prompt = "What is the capital of France?"
    right_but_rude = features(prompt, "What a silly question. Paris.")
    wrong_but_kind = features(prompt, "Happy to help! Rome.")

    assert Preference(correct=0, noise=0).probability(right_but_rude, wrong_but_kind) == 0.0
    assert Preference(polite=0, noise=0).probability(right_but_rude, wrong_but_kind) == 1.0
    assert Preference(laziness=1.0).probability(right_but_rude, wrong_but_kind) == 0.5


def test_outside_the_world_a_reference_decides_and_without_one_only_tone_and_length() -> None:
    prompt = "Who wrote the novel Emma?"

    assert item_for(prompt) is None
    assert features(prompt, "Jane Austen wrote it.", reference="Jane Austen").correct is True
    assert features(prompt, "Charles Dickens wrote it.", reference="Jane Austen").correct is False
    assert features(prompt, "Jane Austen wrote it.").correct is None
    assert preference_probability(prompt, "Happy to help! Jane Austen.", "Shut up, idiot.") > 0.9


def test_an_empty_or_cut_answer_counts_as_truncated() -> None:
    assert features("What is 1 + 1?", "").truncated
    assert features("What is 1 + 1?", "It is", truncated=True).truncated
