"""The eight F2LLM-v2 sizes as data.

Sources: layers, widths and head counts from the paper (arXiv 2603.19223, Table 1); parameter
counts and pinned revisions from the metadata in `mteb` (`codefuse_models.py`, mteb 2.26.24);
trained Matryoshka widths from the published training code (powers of two below the width,
and the width itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: The default everywhere, whatever the machine: an index must not depend on where it was made.
DEFAULT_MODEL = "codefuse-ai/F2LLM-v2-80M"

#: Smallest width that the models were trained at (training code, see the module docstring).
MIN_DIMENSIONS = 8


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is known of one released model without opening it.

    Attributes:
        name: Short name, for example `"0.6B"`.
        repo_id: Repository on the Hugging Face Hub.
        revision: Pinned commit of that repository.
        width: Embedding width (`hidden_size`).
        layers: Number of decoder layers.
        intermediate_size: Width of the feed-forward layers.
        attention_heads: Query heads per layer; 8 key/value heads of 128 dimensions throughout.
        parameters: Exact number of parameters.
    """

    name: str
    repo_id: str
    revision: str
    width: int
    layers: int
    intermediate_size: int
    attention_heads: int
    parameters: int

    @property
    def trained_dimensions(self) -> tuple[int, ...]:
        """Matryoshka widths the model was trained at, ascending; the last is the full width."""
        return trained_dimensions(self.width)

    @property
    def bf16_bytes(self) -> int:
        """Size of the released bfloat16 weights in bytes."""
        return 2 * self.parameters


def trained_dimensions(width: int) -> tuple[int, ...]:
    """Return the widths that a model of `width` dimensions was trained at.

    Args:
        width: Full embedding width.

    Returns:
        Powers of two from 8 that are below `width`, then `width` itself.
    """
    powers = tuple(2**n for n in range(3, 15) if 2**n < width)
    return (*powers, width)


def _spec(name: str, revision: str, shape: tuple[int, int, int, int], parameters: int) -> ModelSpec:
    layers, width, intermediate_size, heads = shape
    return ModelSpec(
        name=name,
        repo_id=f"codefuse-ai/F2LLM-v2-{name}",
        revision=revision,
        width=width,
        layers=layers,
        intermediate_size=intermediate_size,
        attention_heads=heads,
        parameters=parameters,
    )


# fmt: off
_SPECS = (  # shape: layers, width, intermediate size, attention heads
    _spec("80M", "6faa7738f343cd4321f9b2fa92fdb7cae3c117a5", (8, 320, 2048, 16), 80_084_288),
    _spec("160M", "4013fb02c4b37ae14fc567fb190051b6cad652f6", (9, 640, 1536, 16), 159_185_024),
    _spec("330M", "e8ef9a8eb907a9dffdd9442424a967ba73e70d31", (16, 896, 2560, 16), 334_349_184),
    _spec("0.6B", "54b4e2dc74e01be7126d4cf5f016af6b21edc563", (28, 1024, 3072, 16), 596_049_920),
    _spec("1.7B", "3766d46e7a68545ed6190c15330983f9b39ab718", (28, 2048, 6144, 16), 1_720_574_976),
    _spec("4B", "e04d1a04f4a0e154bf43969d3dcc596bbd92b1f8", (36, 2560, 9728, 32), 4_022_468_096),
    _spec("8B", "5ac7d57351026337281e8e6a23e05cce16e79415", (36, 4096, 12288, 32), 7_568_405_504),
    _spec("14B", "e42037a37e12999db44ce8e1a0e63c366c273f6a", (40, 5120, 17408, 40), 13_990_394_880),
)
# fmt: on

#: The released sizes by short name, smallest first.
MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})

_BY_KEY = {key.lower(): spec for spec in _SPECS for key in (spec.name, spec.repo_id)}


def find_model(name: str) -> ModelSpec | None:
    """Look a released size up by short name or hub id, ignoring case.

    Args:
        name: For example `"80M"` or `"codefuse-ai/F2LLM-v2-0.6B"`.

    Returns:
        The size, or None for anything else (another repository, a folder).
    """
    return _BY_KEY.get(name.lower())
