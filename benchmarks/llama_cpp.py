"""llama.cpp as an engine of the benchmark, and the trial of its settings.

    PYTHON_WITH_LLAMA_CPP -m benchmarks.llama_cpp CHECKPOINT.gguf

prints how long each setting takes for the same documents. Imports nothing that is not in such an
interpreter: model files are written by the other one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "q8_0": "int8"}
# Tokens of a pass: the longest document. Texts of a larger batch share one attention, which costs
# more than it saves; a smaller physical batch gains nothing that is more than noise.
_BATCH = 512
_CORPUS = Path(__file__).resolve().parent.parent / "examples/multilingual_rag/data/debian.jsonl"


def model_file(folder: Path, precision: str) -> Path:
    """Return where the model file of a checkpoint is."""
    return folder.with_name(f"{folder.name}-{precision}.gguf")


def write_model_file(folder: Path, precision: str) -> None:
    """Write it, in an interpreter that has `gguf`."""
    from tools.llama_cpp.write import write_gguf

    write_gguf(folder, model_file(folder, precision), precision)


def load(gguf: Path, n_batch: int = _BATCH, n_ubatch: int = _BATCH, *, flash: bool = True) -> Any:  # noqa: ANN401  (not installed where this is checked)
    """Load a model file for embedding, on all cores."""
    import llama_cpp
    from llama_cpp import llama_cpp as bindings

    if b"AMX_INT8 = 1" in bindings.llama_print_system_info() and "q8_0" in gguf.name:
        # Its kernels for AMX crash (ggml-org/llama.cpp issue 20824); there is no option.
        defaults = bindings.llama_model_default_params()
        defaults.use_extra_bufts = False
        bindings.llama_model_default_params = lambda: defaults
    cores = os.cpu_count()
    return llama_cpp.Llama(
        str(gguf),
        embedding=True,
        n_ctx=n_batch,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_threads=cores,
        n_threads_batch=cores,
        flash_attn=flash,
        verbose=False,
    )


class LlamaCpp:
    """Its context serves one caller at a time, so callers take turns."""

    def __init__(self, folder: Path, precision: str) -> None:
        """Load the file that `write_model_file` wrote."""
        from benchmarks.engines import read_query_prompt

        self.dtype = _DTYPES[precision]
        self._turn = threading.Lock()
        self._prompt = read_query_prompt(folder)
        self._model = load(model_file(folder, precision))

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        """Embed documents; as many at a time as fit into a batch of tokens."""
        return self._model.embed(texts)

    def query(self, text: str) -> Any:  # noqa: ANN401
        """Embed one query."""
        with self._turn:
            return self._model.embed(self._prompt + text)


def main() -> None:
    """Try settings."""
    gguf = Path(sys.argv[1])
    lines = _CORPUS.read_text("utf-8").splitlines()[:2400:100]
    texts = [json.loads(line)["text"][:1000] for line in lines]
    for n_batch, n_ubatch, flash in (
        (512, 512, False),
        (512, 512, True),
        (512, 256, True),
        (512, 128, True),
        (1024, 512, True),
        (1024, 1024, True),
        (2048, 512, True),
        (2048, 2048, True),
    ):
        model = load(gguf, n_batch, n_ubatch, flash=flash)
        tokens = sum(len(model.tokenize(text.encode())[:n_batch]) for text in texts)
        model.embed(texts[:2])
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            model.embed(texts)
            seconds.append(time.perf_counter() - start)
        setting = f"n_batch {n_batch:5}  n_ubatch {n_ubatch:5}  flash attention {flash!s:5}"
        print(f"{setting}  {tokens / min(seconds):7.0f} tokens/s")


if __name__ == "__main__":
    main()
