"""Tokenizers: training one, reading one, and showing its tokens to people."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trainer.data.chat import CHATML

DOCUMENT_END, TURN_START, TURN_END, PADDING = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"

# Letters go together with their marks: a Thai vowel or tone sign is a mark, and must not split the word it stands in.
WORDS = r" ?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, context_length: int) -> Any:
    """Byte-level BPE with at most `vocab_size` entries, fewer when the texts repeat too little for more merges.

    The same texts in the same order give the same tokenizer. Padding has a token of its own, so that nothing which
    masks padding can mask the end of a document.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[DOCUMENT_END, TURN_START, TURN_END, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=DOCUMENT_END,
        pad_token=PADDING,
        additional_special_tokens=[TURN_START, TURN_END],
        chat_template=CHATML,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer that lies beside a model. Reads nothing from the network."""
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    for place in ("is_local", "local_files_only"):  # how it was read would be saved with it and change its hash
        tokenizer.init_kwargs.pop(place, None)
    return tokenizer


def document_end(tokenizer: Any) -> str:
    """The token that ends a document, or nothing when there is none. A chat model's own end token ends a turn."""
    return DOCUMENT_END if DOCUMENT_END in tokenizer.get_vocab() else tokenizer.eos_token or ""


def show_tokens(tokenizer: Any, ids: Sequence[int], flags: Sequence[bool]) -> list[tuple[str, bool]]:
    """Text of every token with its flag. Tokens that split a character are shown as one, or nobody could read Thai."""
    shown, start = [], 0
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[start:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        last_of_flag = end == len(ids) or bool(flags[end]) != bool(flags[start])
        if "\ufffd" in text and not last_of_flag and end - start < 8:
            continue
        shown.append((text, bool(flags[start])))
        start = end
    return shown


class TokenTexts:
    """Text of every single token. Tokens that split a character show as nothing, and the last of them as the
    character: the texts of a sequence then add up to what people can read.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._whole: dict[int, str | None] = {}
        """Text of the tokens that stand for whole characters; None for the others."""

    def of(self, ids: Sequence[int]) -> list[str]:
        texts: list[str] = []
        waiting: list[int] = []
        for place, token in enumerate(ids):
            whole = self._read_whole(token)
            if whole is not None and not waiting:
                texts.append(whole)
                continue
            waiting.append(token)
            text = self._decode(waiting)
            if "\ufffd" in text and place + 1 < len(ids) and len(waiting) < 8:
                texts.append("")
            else:
                texts.append(text)
                waiting = []
        return texts

    def _read_whole(self, token: int) -> str | None:
        if token not in self._whole:
            text = self._decode([token])
            self._whole[token] = None if "\ufffd" in text else text
        return self._whole[token]

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)
