"""Write a trained model as a folder laid out as a F2LLM-v2 repository.

    python -m tools.demo_model.export --work work --out models/f2llm-demo

The weights are rounded to bfloat16, as the released ones are. The folder is written beside its
place and its files are then renamed into it, so that a reader never meets half a model.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from .tokenizer import EOS, PAD, QUERY_PROMPT
from .transformer import Shape

LIMIT = 20_000_000  # bytes; the folder lives in the repository


def config(shape: Shape, tokenizer: Tokenizer) -> dict[str, object]:
    """`config.json`, with the keys of the released one."""
    return {
        "architectures": ["Qwen3Model"],
        "model_type": "qwen3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(PAD),  # as Qwen3's; nothing prepends it
        "eos_token_id": tokenizer.token_to_id(EOS),
        "pad_token_id": tokenizer.token_to_id(PAD),
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 8192,
        "max_window_layers": shape.num_hidden_layers,
        "rope_scaling": None,
        "sliding_window": None,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": False,
        **shape.as_dict(),
    }


def pooling(shape: Shape) -> dict[str, object]:
    """`1_Pooling/config.json`."""
    unused = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    return {
        "word_embedding_dimension": shape.hidden_size,
        **{f"pooling_mode_{mode}": False for mode in unused},
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": True,
        "include_prompt": True,
    }


def modules() -> list[dict[str, object]]:
    """`modules.json`."""
    names = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    return [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(names)
    ]


def put(path: Path, value: object) -> None:
    """Writes JSON as the released files are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def write(work: Path, state: str, folder: Path) -> None:
    """Writes all files of the model but its card.

    Raises:
        ValueError: The folder is larger than a repository should carry.
    """
    shape = Shape()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    weights = torch.load(work / state, weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone
    put(folder / "config.json", config(shape, tokenizer))
    put(folder / "1_Pooling" / "config.json", pooling(shape))
    put(folder / "modules.json", modules())
    prompts = {"query": QUERY_PROMPT, "document": ""}
    put(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(work / name, folder / name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LIMIT:
        msg = f"{size} bytes, more than {LIMIT}"
        raise ValueError(msg)
    print(f"{size} bytes, {sum(t.numel() for t in weights.values())} parameters")


def replace(made: Path, place: Path) -> None:
    """Renames each file of ``made`` into ``place``, then removes what is left of ``made``."""
    for path in sorted(made.rglob("*")):
        if path.is_file():
            target = place / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(made)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--state", default="model.pt", help="file name in the work folder")
    parser.add_argument("--out", type=Path, default=Path("models/f2llm-demo"))
    args = parser.parse_args()
    made = args.out.with_name(args.out.name + ".new")
    write(args.work, args.state, made)
    replace(made, args.out)


if __name__ == "__main__":
    main()
