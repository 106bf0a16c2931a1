"""Raw text → a document."""

from typing import Any

from trainer.data.documents import Document, Piece


def render_text(text: str, tokenizer: Any) -> list[Document]:
    """One document, from the token that begins text, where the tokenizer has one, to the token that ends it."""
    from trainer.tokenizer import document_end

    return [[Piece((tokenizer.bos_token or "") + text + document_end(tokenizer), trained=True)]]
