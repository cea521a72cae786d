"""Text to token ids under F2LLM-v2's contract: the text as it is, then exactly one EOS, last."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer as HFTokenizer
from tokenizers import __version__
from tokenizers.normalizers import NFC

from f2llm_core.engine.config import Qwen3Config, read_json
from f2llm_core.engine.contract import read_prompts
from f2llm_core.errors import ConfigurationError, ContractWarning, ModelLoadError, warn
from f2llm_core.instructions import format_prompt, parse_prompt

#: What F2LLM-v2 ends and pads its texts with (its tokenizer.json and tokenizer_config.json).
EOS_TOKEN = "<|im_end|>"  # noqa: S105  (a token, no password)
PAD_TOKEN = "<|endoftext|>"  # noqa: S105

_PREFIXES = 64  # whose ids are kept: every query of an application has one of a few
_CHUNK = 256  # prompts tokenised in one go; Ctrl-C is heard in between


class Tokenizer:
    """The checkpoint's own tokenizer, with everything silent made explicit.

    The EOS is not left to the tokenizer's post-processor, which some exports lack and which loses
    it when a list of ids is sliced. Strings such as `<|im_end|>` inside a text are plain text:
    parsed as control tokens they would let a document choose its own pooled token. (Added tokens
    that the tokenizer does not mark as special, `<think>` for one, are ordinary vocabulary.)
    Safe to use from several threads: nothing is set after construction, but for a cache.

    Attributes:
        eos_id: Id appended to every text; from `tokenizer.json`, checked against `config.json`.
        pad_id: Id the checkpoint pads with, or None; never used here, since nothing is padded.
        prompts: The checkpoint's own query and document prompts.
    """

    def __init__(self, folder: Path, config: Qwen3Config) -> None:
        """Read the tokenizer files of a checkpoint.

        Args:
            folder: Holds `tokenizer.json` and, if the checkpoint has them, `tokenizer_config.json`
                and `config_sentence_transformers.json`.
            config: For the EOS and the size of the vocabulary.

        Raises:
            ModelLoadError: A damaged file, no or contradicting EOS, ids beyond the vocabulary.
        """
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = HFTokenizer.from_file(str(path))
            self._process = os.getpid()
        except Exception as error:  # tokenizers raises bare Exception
            msg = (
                f"{path} is not a usable tokenizer ({error}). Download it again, or update "
                f"tokenizers {__version__}, which may be too old for the file."
            )
            raise ModelLoadError(msg) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.eos_id = self._find_eos(path, config)
        self._check_vocabulary(path, config)
        self._tokenizer.encode_special_tokens = True
        self._ids_of_prefix = _cached_ids(self._tokenizer)
        self.pad_id = self._find_pad(folder)
        self.prompts = read_prompts(folder)
        self._warn_of_departures(folder)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the untruncated ids of each prompt, without EOS."""
        if os.getpid() != self._process:  # the tokenizer's threads did not survive the fork
            return [self._tokenizer.encode(p, add_special_tokens=False).ids for p in prompts]
        chunks = (prompts[i : i + _CHUNK] for i in range(0, len(prompts), _CHUNK))
        return [
            encoding.ids
            for chunk in chunks
            for encoding in self._tokenizer.encode_batch_fast(list(chunk), add_special_tokens=False)
        ]

    def composed(self, prompt: str) -> str:
        """Return a prompt in the Unicode form in which the tokenizer reads it: the same ids."""
        normalizer = self._tokenizer.normalizer
        if not isinstance(normalizer, NFC):  # another may not be one to apply twice
            return prompt
        composed: str = normalizer.normalize_str(prompt)
        return composed

    def head(self, prompt: str, tokens: int) -> str:
        """Return the beginning of a prompt that is as long as it can be in so many tokens."""
        encoding = self._tokenizer.encode(prompt, add_special_tokens=False)
        ends = [end for _, end in encoding.offsets[:tokens]]
        while ends:
            # A text that ends earlier can split into other tokens there, or end within a character.
            head = prompt[: ends.pop()]
            if len(self.encode([head])[0]) <= tokens:
                return head
        return ""

    def prefix_ids(self, prefix: str, max_length: int) -> tuple[int, ...]:
        """Return the tokens that prompts of this prefix have in common, as a rule.

        Raises:
            ConfigurationError: They leave no room for a text.
        """
        # The last space merges with the word that follows it, so it is no token of the prefix.
        tokens = self._ids_of_prefix(prefix.rstrip(" "))
        if tokens and len(tokens) + 1 >= max_length:
            msg = (
                f"max_length={max_length} leaves no room for text after the instruction, which "
                f"takes {len(tokens)} tokens: {prefix[:100]!r}."
            )
            raise ConfigurationError(msg)
        return tokens

    def finish(self, ids: list[int], max_length: int) -> tuple[int, ...]:
        """Return the ids cut to the head and closed by the EOS: at most `max_length` ids."""
        return (*ids[: max_length - 1], self.eos_id)

    def _find_eos(self, path: Path, config: Qwen3Config) -> int:
        appended = self._tokenizer.encode("", add_special_tokens=True).ids
        if len(appended) > 1:
            tokens = [self._tokenizer.id_to_token(i) for i in appended]
            msg = f"{path} puts {tokens} around a text; expected one EOS at its end."
            raise ModelLoadError(msg)
        if not appended and len(config.eos_ids) != 1:
            msg = f"{path} appends no EOS and config.json's eos_token_id is {config.eos_ids}."
            raise ModelLoadError(msg)
        eos: int = appended[0] if appended else config.eos_ids[0]
        if config.eos_ids and eos not in config.eos_ids:
            msg = (
                f"{path} appends token {eos} ({self._tokenizer.id_to_token(eos)!r}), but "
                f"config.json's eos_token_id is {config.eos_ids}; which one the model was "
                "trained with cannot be guessed. Correct the wrong file."
            )
            raise ModelLoadError(msg)
        return eos

    def _check_vocabulary(self, path: Path, config: Qwen3Config) -> None:
        # Counted rather than listed: listing 150,000 tokens takes longer than reading the weights.
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if max(size - 1, self.eos_id) >= config.vocab_size:
            msg = (
                f"{path} has {size} tokens, but config.json's vocab_size is {config.vocab_size}: "
                "tokenizer and weights are not of one model."
            )
            raise ModelLoadError(msg)

    def _find_pad(self, folder: Path) -> int | None:
        path = folder / "tokenizer_config.json"
        token = read_json(path).get("pad_token") if path.exists() else None
        content = token.get("content") if isinstance(token, dict) else token
        pad: int | None = None
        if isinstance(content, str):
            pad = self._tokenizer.token_to_id(content)
        return pad

    def _warn_of_departures(self, folder: Path) -> None:
        eos = self._tokenizer.id_to_token(self.eos_id)
        pad = None if self.pad_id is None else self._tokenizer.id_to_token(self.pad_id)
        query = self.prompts.query
        found = []
        if eos != EOS_TOKEN:
            found.append(f"it ends texts with {eos!r}, F2LLM-v2 with {EOS_TOKEN!r}")
        if pad not in {None, PAD_TOKEN}:
            found.append(f"it pads with {pad!r}, F2LLM-v2 with {PAD_TOKEN!r}")
        if query != format_prompt(parse_prompt(query)):
            found.append(f"its query prompt {query!r} is not of the form 'Instruct: …\\nQuery: '")
        if self.prompts.document:
            found.append(f"it puts {self.prompts.document!r} before documents")
        if found:
            warn(
                f"{folder} departs from F2LLM-v2's text contract, its own is used: "
                f"{'; '.join(found)}.",
                ContractWarning,
            )


def _cached_ids(tokenizer: HFTokenizer) -> Callable[[str], tuple[int, ...]]:
    """Return what gives the ids of a prefix; holds the tokenizer only, not who asks."""

    @lru_cache(_PREFIXES)
    def ids(prefix: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(prefix, add_special_tokens=False).ids)

    return ids
