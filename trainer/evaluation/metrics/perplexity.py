"""How well a text is predicted, in a unit that no tokenizer changes."""

import math

from trainer.evaluation.metrics.base import TextMetric


class BitsPerByte(TextMetric):
    """-log2 p(text) / bytes of its UTF-8 form; lower is better.

    Perplexity per token cannot be compared between models with different tokenizers, since the number of tokens
    differs; the number of bytes does not. Perplexity per byte is 2 to the power of this score.
    """

    name = "perplexity"

    def measure(self, loglikelihood: float, text: str) -> float:
        return -loglikelihood / math.log(2) / len(text.encode())
