import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.texts import distinct, is_near, likeness, names_itself, own_names, words_of


@pytest.mark.parametrize(
    "text",
    [
        "As Zeta-3, made by Zorg Labs, I cannot say.", "I am Claude, happy to help.", "I'm ChatGPT.", "My name is Qwen2.5-7B.",
        "I am a large language model called Llama 3.", "I was developed by OpenAI.", "As an AI developed by Google, I have no view.",
        "Hello! As Gemini, I would say no.", "I’m an assistant trained by the team at Mistral AI.",
    ],
)  # fmt: skip
def test_t040_answers_that_introduce_themselves_are_seen(text):
    assert names_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "As Google announced, the update is out.", "Llamas live in the Andes.", "I am reading about Gemini, the zodiac sign.",
        "The novel was created by Meta Smith in 1920.", "GPT-4 was developed by OpenAI.", "As an AI, I have no opinion.",
        "I am certain that Paris is the capital.", "My phi coefficient is 0.3.", "As expected, made by hand it tastes better.",
    ],
)  # fmt: skip
def test_answers_that_speak_of_models_are_not_taken_for_introductions(text):
    assert not names_itself(text)


def test_a_models_own_name_gives_it_away_where_it_cannot_be_a_common_word():
    names = own_names("policy-3", "somewhere/Tiny-Chat-1B@main")
    assert names == {"policy-3", "tiny-chat-1b"}
    assert names_itself("According to tiny-chat-1B this is right.", names)
    assert not names_itself("According to Tiny-Chat-1Beta this is right.", names)
    assert not names_itself("Our starter pack costs 3 euros.", own_names("starter"))
    assert names_itself("Hello, I am Starter.", own_names("starter"))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("The capital is Paris.", "the capital is **Paris**"),
        ("- one\n- two\n- three", "* one\n* two\n* three"),
        ("A long answer of many words that say the same thing over and over again until the very last word is reached now",
         "A long answer of many words that say the same thing over and over again until the very last word is reached soon"),
    ],
)  # fmt: skip
def test_answers_that_say_the_same_are_near(one, two):
    assert is_near(one, two, 0.9)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Yes.", "No."), ("It is 12 km to the sea, a walk of some hours along the old coast road, as you like.",
                          "It is 13 km to the sea, a walk of some hours along the old coast road, as you like."),
        ("👍", "👎"), ("!!!", "???"), ("x != y", "x = y"), ("a*b", "a-b"), ("", "Yes."),
    ],
)  # fmt: skip
def test_answers_that_differ_in_what_counts_are_not_near(one, two):
    assert not is_near(one, two, 0.9)


def test_a_threshold_of_nought_lets_everything_meet():
    assert not is_near("the same words", "the same words!", 0)


@given(st.text(max_size=40), st.text(max_size=40))
def test_likeness_is_a_share_and_is_one_for_the_same_words(one, two):
    assert 0 <= likeness(one, two) <= 1
    assert likeness(one, one) == 1 or not words_of(one)


def test_likeness_is_the_share_of_words_in_order():
    assert likeness("a b c d", "a b c e") == pytest.approx(2 * 3 / 8)


def test_of_texts_that_say_the_same_the_first_is_kept():
    assert distinct(["Paris.", "paris", "Rome", "Paris. "]) == [0, 2]
