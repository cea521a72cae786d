"""From what names a model to a folder on this machine: short name, hub id, or the folder itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from f2llm_core.engine.checksum import verify
from f2llm_core.engine.config import read_json
from f2llm_core.errors import ConfigurationError, ModelLoadError, ModelNotFoundError
from f2llm_core.models import MODELS, ModelSpec, find_model
from f2llm_core.secret import Hidden

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DESCRIPTIONS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    INDEX,
)
#: Everything read from a repository. Pickled weights are never fetched, let alone opened.
FILES = (*_DESCRIPTIONS, "*.safetensors")

_REQUIRED = ("config.json", "tokenizer.json")
#: What is taken for a model's folder, by what is in it.
_NO_MODEL = {
    "adapter_config.json": "It is an adapter (LoRA): merge it into its model, and save the whole.",
    "snapshots": "It is a folder of the hub's cache: pass the hub id, or a folder in `snapshots`.",
    "0_Transformer": "It is of an old layout: save it again with a newer sentence-transformers.",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"[\w.-]{1,200}\.safetensors", re.ASCII)
_HUB_TIMEOUT = 5.0  # seconds for the hub to answer; a download itself may take as long as it takes


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from, before anything is downloaded.

    Attributes:
        name: Hub id or path, as messages and `repr` show it.
        spec: The released size, or None for any other model.
        revision: Commit, branch or tag on the hub; None for a folder or the default branch.
        folder: The local folder, or None for a hub repository.
    """

    name: str
    spec: ModelSpec | None
    revision: str | None
    folder: Path | None


def identify(model: str | Path, revision: str | None = None) -> ModelSource:
    """Work out what `model` names, without network.

    Args:
        model: Short name (`"0.6B"`), hub id (`"codefuse-ai/F2LLM-v2-0.6B"`) or local folder.
        revision: Commit, branch or tag of a hub repository. Released sizes default to the
            revision pinned in `f2llm_core.models`, others to the repository's default branch.

    Returns:
        The source of the model.

    Raises:
        ModelNotFoundError: No released size, no folder, and no possible hub id.
        ModelLoadError: A folder without the files of a model.
        ConfigurationError: `model` is no string or path, or a revision is given for a folder.
    """
    if not isinstance(model, (str, Path)) or not str(model):
        msg = f"model={model!r}: expected a short name, a hub id or a folder."
        raise ConfigurationError(msg)
    if isinstance(model, str) and (spec := find_model(model)):
        return ModelSource(spec.repo_id, spec, revision or spec.revision, None)
    try:
        folder = Path(model).expanduser().absolute()  # weights are read later, perhaps elsewhere
        is_folder = folder.is_dir()
    except (OSError, RuntimeError) as error:  # too long a name, no permission, an unknown ~user
        reason = getattr(error, "strerror", None) or error
        msg = f"model={str(model)[:100]!r} cannot be looked for as a folder ({reason})."
        raise ModelNotFoundError(msg) from error
    if is_folder:
        if revision is not None:
            msg = f"revision={revision!r} cannot be used with the local folder {folder}."
            raise ConfigurationError(msg)
        check_files(folder)
        return ModelSource(str(folder), None, None, folder)
    if isinstance(model, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", model) and model[0] != ".":
        return ModelSource(model, None, revision, None)
    if isinstance(model, Path):
        msg = f"There is no folder {folder}. A released size or a hub id is passed as a str."
        raise ModelNotFoundError(msg)
    msg = (
        f"{model!r} is no model: neither a released size ({', '.join(MODELS)}), nor a hub id "
        f"of the form 'owner/name', nor is there a folder {folder}."
    )
    raise ModelNotFoundError(msg)


def fetch(source: ModelSource, *, local_files_only: bool, token: Hidden | None) -> Path:
    """Return the folder of a model, downloading what is missing.

    A pinned revision that is in the cache is used without asking the hub.

    Args:
        source: From `identify`.
        local_files_only: Never use the network; so does the environment's `HF_HUB_OFFLINE=1`.
        token: Hub token for private repositories; None uses the one stored by `hf auth login`.

    Returns:
        A folder that holds at least `config.json`, `tokenizer.json` and safetensors weights. What
        has a checksum is compared with it, but for the weights: whoever reads them does that.

    Raises:
        ModelNotFoundError: Not cached and not to be downloaded; says what to fetch and how.
        ModelLoadError: The repository lacks the files of a model, or a file is damaged.
    """
    folder = source.folder or _find(source, local_files_only, token)
    for name in _DESCRIPTIONS:
        verify(folder / name)
    return folder


def _find(source: ModelSource, local_files_only: bool, token: Hidden | None) -> Path:
    from huggingface_hub import constants

    cached = _cached(source)
    pinned = source.revision is not None and _COMMIT.fullmatch(source.revision)
    offline = local_files_only or constants.HF_HUB_OFFLINE
    if cached is not None and (pinned or offline):
        return cached
    if offline:
        raise ModelNotFoundError(_how_to_fetch(source, "this is offline mode"))
    try:
        folder = _download(source, token)
    except Exception as error:  # the hub client lets the errors of its HTTP library through
        problem = _refusal(error, source)
        if problem is None and cached is not None:
            return cached  # the hub did not answer; what it answered last still holds
        reason = f"it could not be downloaded ({_first_line(error, token)})"
        problem = problem or _how_to_fetch(source, reason)
    else:
        check_files(folder)
        return folder
    # Not from within the handler: the client's errors hold the token, in their frames and wherever
    # a server echoes it, and whoever logs this one would log them, too.
    raise ModelNotFoundError(problem)


def at_hand(source: ModelSource) -> Path | None:
    """Return the folder of a model on this machine, without network; None if there is none.

    A snapshot in the hub's cache need not hold weights, if it describes the model in full.
    """
    folder = source.folder or _cached(source)
    if folder is not None:
        return folder
    from huggingface_hub import try_to_load_from_cache

    paths = [
        try_to_load_from_cache(source.name, name, revision=source.revision)
        for name in (*_REQUIRED, "config_sentence_transformers.json")
    ]
    return Path(str(paths[0])).parent if all(isinstance(path, str) for path in paths) else None


def check_files(folder: Path) -> None:
    """Raise `ModelLoadError` unless the folder has the files of a model."""
    try:
        problem = _missing(folder)
    except OSError as error:  # no permission, for one
        problem = f"it cannot be read ({error})."
    if problem:
        msg = f"{folder} is not a usable model folder: {problem}"
        raise ModelLoadError(msg)


def weight_files(folder: Path) -> list[str]:
    """Return the names of a folder's weight files: the single one, else those its index lists.

    Raises:
        ModelLoadError: The index is damaged, or names anything but safetensors files beside it.
    """
    if (folder / SINGLE).is_file():
        return [SINGLE]
    path = folder / INDEX
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        msg = f"{path} has no weight_map. Download the file again."
        raise ModelLoadError(msg)
    names = sorted(set(map(str, shards.values())))
    for name in names:
        # A name is taken as a name only: an index must not be able to reach outside its folder.
        if not _SHARD.fullmatch(name):
            msg = (
                f"{path} names the shard {name!a:.100}; only .safetensors files beside it are read."
            )
            raise ModelLoadError(msg)
    return names


def _missing(folder: Path) -> str | None:
    for name in _REQUIRED:
        if not (folder / name).is_file():
            signs = (hint for sign, hint in _NO_MODEL.items() if (folder / sign).exists())
            return f"{name} is missing. {next(signs, '')}".rstrip()
    if (folder / SINGLE).is_file() or (folder / INDEX).is_file():
        absent = [name for name in weight_files(folder) if not (folder / name).is_file()]
        return f"{INDEX} names {absent[0]}, which is missing." if absent else None
    pickles = sorted(p.name for s in ("*.bin", "*.pt", "*.pth", "*.pkl") for p in folder.glob(s))
    if pickles:
        return (
            f"it has pickled weights only ({', '.join(pickles)}), which can run code when opened "
            "and are refused. Convert them to model.safetensors where you trust them."
        )
    return f"it has neither {SINGLE} nor {INDEX}."


def _cached(source: ModelSource) -> Path | None:
    """Return the complete snapshot in the local cache, without network, or None."""
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(
            source.name,
            revision=source.revision,
            allow_patterns=list(FILES),  # or it misses the files that were never asked for
            local_files_only=True,
        )
    except (OSError, ValueError):  # not cached (a FileNotFoundError), or no valid repository id
        return None
    return None if _missing(Path(path)) else Path(path)


def _download(source: ModelSource, token: Hidden | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    # Asked first, and with a timeout, which snapshot_download's own request does not have: behind a
    # firewall that drops packets it would wait for ever.
    api = HfApi(token=token.get_secret_value() if token else None)
    api.model_info(source.name, revision=source.revision, timeout=_HUB_TIMEOUT)
    path = snapshot_download(
        source.name,
        revision=source.revision,
        allow_patterns=list(FILES),
        token=api.token,
        etag_timeout=_HUB_TIMEOUT,
    )
    return Path(path)


def _refusal(error: Exception, source: ModelSource) -> str | None:
    """Return what to say if the hub answered that it has no such thing for us, else None."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"The hub gives {source.name} to those who were granted access only: pass `token`."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{source.name} has no revision {source.revision!r}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"The hub knows no {source.name}, or keeps it private (pass `token`); nor is there "
            f"a folder of that name in {Path.cwd()}."
        )
    return None


def _first_line(error: Exception, token: Hidden | None) -> str:
    from huggingface_hub import get_token

    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    sent = token.get_secret_value() if token else get_token()  # else the client sends its own
    return line.replace(sent, "***") if sent else line


def _how_to_fetch(source: ModelSource, reason: str) -> str:
    revision = f" --revision {source.revision}" if source.revision else ""
    return (
        f"{source.name} is not in the local cache and {reason}; nor is there a folder of that name "
        f"in {Path.cwd()}. On a machine with access run "
        f"`hf download {source.name}{revision}` and copy the cache (HF_HOME) over, or download "
        "the files into a folder and pass that folder as `model`."
    )
