"""The model and the rows on which trainer and peer are compared: Qwen3 architecture, 4.2 million random weights."""

import json
import random
import sys
from pathlib import Path

VOCABULARY = 4096
SHAPE = {
    "hidden_size": 256,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 64,
    "ffn_size": 768,
    "context_length": 4096,
    "rope_theta": 1_000_000.0,
    "linear_std": 0.02,
    "embedding_std": 0.02,
    "tokenizer": {"vocab_size": VOCABULARY},
}
CONVERSATIONS, PROMPTS = 2000, 500
SENTENCES = (1, 1, 2, 2, 3, 4, 6, 10)
"""An answer has one of these many paragraphs of sentences, so that lengths differ as they do in real data."""


class Speaker:
    """Sentences of made-up words whose frequency falls with their rank; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        syllables = [a + b + c for a in "bdfgklmnprstw" for b in "aeiou" for c in ("", "n", "r", "s", "l")]
        self.words = ["".join(self.random.choices(syllables, k=self.random.randint(1, 3))) for _ in range(6000)]
        self.weights = [1 / (rank + 3) for rank in range(len(self.words))]

    def sentence(self, shortest: int, longest: int) -> str:
        words = self.random.choices(self.words, self.weights, k=self.random.randint(shortest, longest))
        return " ".join(words).capitalize() + "."

    def answer(self) -> str:
        return " ".join(self.sentence(5, 18) for _ in range(self.random.choice(SENTENCES)))


def write_inputs(directory: Path) -> None:
    """`policy/` and `teacher/` with one tokenizer, `chat.jsonl`, `prompts.jsonl`."""
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    directory.mkdir(parents=True, exist_ok=True)
    speaker = Speaker(0)
    tokenizer = train_tokenizer(
        (" ".join(speaker.sentence(5, 18) for _ in range(6)) for _ in range(4000)),
        vocab_size=VOCABULARY,
        context_length=SHAPE["context_length"],
    )
    assert len(tokenizer) == VOCABULARY, len(tokenizer)
    # To the peer the end of a sequence is the end of a turn.
    tokenizer.eos_token = "<|im_end|>"
    for name, seed in (("policy", 0), ("teacher", 1)):
        shape = ModelShape.model_validate(SHAPE)
        initialise_policy(shape, tokenizer, seed=seed, device=torch.device("cpu")).save(directory / name)
    with (directory / "chat.jsonl").open("w") as file:
        for _ in range(CONVERSATIONS):
            said = [("user", speaker.sentence(10, 10)), ("assistant", speaker.answer())]
            file.write(json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}) + "\n")
    with (directory / "prompts.jsonl").open("w") as file:
        for number in range(PROMPTS):
            file.write(json.dumps({"question": speaker.sentence(14, 14), "answer": str(number)}) + "\n")


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]))
