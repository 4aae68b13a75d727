"""The tokenizer as one file that the serving side reads with the ``tokenizers`` library alone.

``python -m export.sources.tokenizer CORPUS FOLDER`` learns a small one for the project's own bundles. Learning breaks
ties at random, so the result is committed (``bundles/tokenizer``) and not made again at every export.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
from transformers import CLIPTokenizer

from export.bundle import BundleError, Weights

_VOCABULARY = 1024
_LENGTH = 77


class TokenizerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the tokens that frame a CLIP prompt."""

    begin: int
    end: int
    pad: int


def load_tokenizer(weights: Weights) -> CLIPTokenizer:
    """The bundle's tokenizer. Raises BundleError when the bundle names no source."""
    if weights.source is None:
        raise BundleError("tokenizer: give repo or path")
    return CLIPTokenizer.from_pretrained(
        weights.source, subfolder=weights.subfolder, revision=weights.revision
    )


def save_tokenizer(tokenizer: CLIPTokenizer, path: Path) -> TokenizerFacts:
    """Write ``tokenizer.json`` without framing, padding and truncation: `restyle` does these and reports a cut."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.save(str(path))
    return TokenizerFacts(
        begin=tokenizer.bos_token_id, end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id
    )


def _learn(corpus: Path, folder: Path) -> None:
    learnt = CLIPTokenizer().train_new_from_iterator(corpus.read_text().splitlines(), _VOCABULARY)
    learnt.model_max_length = _LENGTH
    learnt.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export.sources.tokenizer", description="Learn a small tokenizer from a text."
    )
    parser.add_argument("corpus", type=Path, help="a text, a phrase a line")
    parser.add_argument("folder", type=Path, help="where the tokenizer is written")
    given = parser.parse_args()
    _learn(given.corpus, given.folder)


if __name__ == "__main__":
    main()
