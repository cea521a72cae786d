"""`f2llm info`: what this machine and a model would do, before and after loading it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import human_size, print_fields, print_json, print_table
from f2llm_core.cli.shared import debug_option, examples, json_option, load_options

if TYPE_CHECKING:  # torch comes with these, and --help must not wait for it
    from f2llm_core.info import ModelInfo
    from f2llm_core.machine import Machine


@click.command(epilog=examples("f2llm info", "f2llm info 0.6B --dtype bfloat16 --json"))
@click.argument("model", required=False)
@load_options
@json_option
@debug_option
def info(model: str | None, *, load: dict[str, Any], as_json: bool) -> None:
    """Show this machine and the sizes, or MODEL.

    MODEL is a short name (80M ... 14B), a hub id or a folder. It is loaded, and downloaded first if
    it is not on this machine.
    """
    if model is None:
        if load["revision"] is not None or load["dtype"] != "auto":
            msg = "--revision and --dtype need a MODEL."
            raise click.UsageError(msg)
        from f2llm_core.machine import describe_machine

        found = describe_machine(load["device"])
        print_json(asdict(found)) if as_json else _print_machine(found)
        return

    from f2llm_core import F2LLM
    from f2llm_core.info import describe
    from f2llm_core.machine import is_cached

    encoder = F2LLM(model, backend="local", **load)  # whatever server the environment names
    if not load["local_files_only"] and not is_cached(model, load["revision"]):
        click.echo(f"{encoder.model} is not on this machine: downloading it.", err=True)
    loaded = describe(encoder)
    print_json(asdict(loaded)) if as_json else _print_model(loaded)


def _print_machine(found: Machine) -> None:
    print_fields("Versions", [("python", found.python), *found.versions.items()])
    print_fields(
        "Machine",
        [
            ("platform", found.platform),
            ("device", f"{found.device} ({found.device_name})"),
            ("CPU kernels", found.cpu),
            ("threads", found.threads),
            ('dtype "auto"', f"{found.auto_dtype}: {found.auto_reason}"),
            *((f"matrix products, {dtype}", kind) for dtype, kind in found.linear.items()),
            *((f"attention, {dtype}", kind) for dtype, kind in found.attention.items()),
        ],
    )
    click.echo("Models (width and layers; dimensions it was trained at; in the hub cache)")
    print_table(
        ["name", "repository", "revision", "width", "layers", "dimensions", "cached"],
        [
            [
                model.spec.name,
                model.spec.repo_id,
                model.spec.revision[:12],
                model.spec.width,
                model.spec.layers,
                _dimensions(model.spec.trained_dimensions),
                "yes" if model.cached else "no",
            ]
            for model in found.models
        ],
    )


def _print_model(loaded: ModelInfo) -> None:
    memory = sum(loaded.weight_bytes.values())
    parts = ", ".join(f"{kind} {human_size(n)}" for kind, n in loaded.weight_bytes.items())
    print_fields(
        loaded.name,
        [
            ("revision", loaded.revision or "-"),
            ("commit", loaded.commit or "-"),
            ("folder", loaded.folder),
            ("width", loaded.width),
            ("layers", loaded.layers),
            ("heads", f"{loaded.heads} query, {loaded.kv_heads} key/value, {loaded.head_dim} wide"),
            ("feed-forward", loaded.intermediate_size),
            ("vocabulary", loaded.vocab_size),
            ("dimensions", _dimensions(loaded.trained_dimensions)),
            ("max length", f"{loaded.max_length} tokens (model: {loaded.max_position})"),
            ("query prompt", repr(loaded.prompts.query)),
            ("document prompt", repr(loaded.prompts.document)),
            ("backend", loaded.backend),
            ("device", loaded.device),
            ("dtype", loaded.dtype),
            ("matrix products", loaded.linear),
            ("attention", loaded.attention),
            ("weights in memory", f"{human_size(memory)} ({parts})"),
            ("load time", f"{loaded.load_seconds:.2f} s"),
        ],
    )


def _dimensions(trained: tuple[int, ...]) -> str:
    return " ".join(map(str, trained))
