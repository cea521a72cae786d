"""Train the byte-level BPE: Qwen's pre-tokenizer and template, a vocabulary of our own.

python -m tools.demo_model.tokenizer --work work
"""

import argparse
import collections
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

from .data import Row, read_rows

VOCAB = 16384  # with the specials
PAD, START, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (PAD, START, EOS)  # in Qwen's order, after the plain entries as in Qwen's vocabulary
# Qwen's split pattern, as in the `tokenizer.json` of every Qwen3 and F2LLM-v2 checkpoint.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QUERY_PROMPT = (
    "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: "
)


def balanced(rows: list[Row], seed: int = 0) -> Iterator[str]:
    """Yields texts with each language in proportion to the square root of its size.

    Small languages are repeated where their share is more than they have; the scale is set so
    that a language of 3,000 rows is read once.
    """
    by_lang: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        by_lang[row["lang"]].append(row)
    rng = random.Random(seed)
    for lang in sorted(by_lang):
        own = by_lang[lang]
        for _ in range(round(math.sqrt(3000 * len(own)))):
            row = rng.choice(own)
            yield row["title"] + "\n" + row["text"]


def train(texts: Iterator[str]) -> Tokenizer:
    """Learns the merges and assembles the tokenizer, EOS template included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    options = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer.decoder = decoders.ByteLevel(**options)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,  # bytes: no entry for a boilerplate sentence of an unspaced script
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIALS))
    eos = tokenizer.token_to_id(EOS)
    tokenizer.post_processor = Sequence(
        [
            ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
            TemplateProcessing(
                single=f"$A {EOS}",
                pair=f"$A {EOS} $B:1 {EOS}:1",
                special_tokens=[(EOS, eos)],
            ),
        ]
    )
    return tokenizer


def config(tokenizer: Tokenizer) -> dict[str, object]:
    """The `tokenizer_config.json` that goes with it, with the keys of the released one."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 131072,
        "eos_token": EOS,
        "pad_token": PAD,
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "split_special_tokens": False,
        "padding_side": "right",
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {"content": token, **flags, "special": True}
            for token in SPECIALS
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    args = parser.parse_args()
    tokenizer = train(balanced(read_rows(args.work / "train.jsonl.gz")))
    tokenizer.save(str(args.work / "tokenizer.json"))
    text = json.dumps(config(tokenizer), indent=2, ensure_ascii=False) + "\n"
    (args.work / "tokenizer_config.json").write_text(text, encoding="utf-8")
    print(f"{tokenizer.get_vocab_size()} entries")


if __name__ == "__main__":
    main()
