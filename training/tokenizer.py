"""Byte-level tokenizers that are trained on a model's own texts."""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers


def train_byte_level_bpe(
    texts: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str],
    *,
    normalizer: normalizers.Normalizer | None = None,
    add_prefix_space: bool = True,
) -> Tokenizer:
    """A byte-pair encoding of any text, whose frequent tokens are those of given texts.

    Args:
        texts (`Iterable[str]`): What to learn from.
        vocab_size (`int`): Largest number of tokens, bytes and special ones included.
        special_tokens (`Sequence[str]`): The first tokens.
        normalizer (`normalizers.Normalizer`, *optional*): What is done to a text first. Nothing by default.
        add_prefix_space (`bool`, *optional*, defaults to `True`): Whether a text's first word is as any other.
    """
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(special_tokens),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer
