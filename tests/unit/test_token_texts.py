"""Texts of single tokens add up to what people can read."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer_runs import law_texts
from trainer.tokenizer import TokenTexts, train_tokenizer

TOKENIZER = train_tokenizer(law_texts(60), vocab_size=400, context_length=128)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="ก่นี้ 中😀aZ\n", max_size=30))
def test_texts_of_tokens_add_up_to_the_text(text: str):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    found = TokenTexts(TOKENIZER).of(ids)
    assert len(found) == len(ids)
    assert "".join(found) == text


def test_a_character_of_several_tokens_shows_at_its_last_one():
    ids = TOKENIZER("a😀b", add_special_tokens=False)["input_ids"]
    assert len(ids) == 6  # the face is four bytes, which never merged
    assert TokenTexts(TOKENIZER).of(ids) == ["a", "", "", "", "😀", "b"]


def test_sampled_bytes_that_are_no_character_stay_as_many_texts_as_tokens():
    generator = torch.Generator().manual_seed(1)
    texts = TokenTexts(TOKENIZER)
    for _ in range(50):
        ids = torch.randint(len(TOKENIZER), (20,), generator=generator).tolist()
        found = texts.of(ids)
        assert len(found) == 20
        assert "".join(found).count("<|im_end|>") == ids.count(2)
