"""Whose vectors a collection holds: stamped when new, compared before anything is embedded."""

from __future__ import annotations

from typing import Any

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import (
    ConfigurationError,
    FingerprintError,
    FingerprintWarning,
    warn,
)
from f2llm_core.fingerprint import Comparison, Fingerprint, compare
from f2llm_core.stores import VectorStore, open_store


def guard(store: object, model: object, *, adopt: bool = False) -> VectorStore:
    """Make sure that a collection's vectors and a model's belong together; embeds nothing.

    A collection without rows is stamped. In one that has a stamp, the stamp is compared.

    Args:
        store: What `open_store` takes.
        model: An `F2LLM`, or the adapter of a framework around one.
        adopt: Stamp a collection that has no stamp, or another one, if an audit of a sample finds
            that it was made with this model, which does embed the sample; or if it has no rows.

    Returns:
        The collection, of which it now is known whose vectors it holds.

    Raises:
        FingerprintError: They do not belong together, or nobody knows; nothing was written.
        StoreError: The store failed.
        ConfigurationError: `store` or `model` is of no known kind.

    Warns:
        FingerprintWarning: They fit together, but precision, backend or `max_length` differ.
    """
    opened, encoder = open_store(store), encoder_of(model)
    if adopt and not _is_stamped(opened, encoder):
        _adopt(opened, encoder)
    if check(opened, encoder) is None:
        opened.write_stamp(encoder.fingerprint.to_dict())
        check(opened, encoder)  # another process may have stamped it at the same time
    return opened


def check(store: VectorStore, encoder: F2LLM) -> Comparison | None:
    """Compare a collection with a model; writes and embeds nothing.

    Returns:
        The outcome; None for a collection without rows and stamp.

    Raises:
        FingerprintError: They do not belong together, or nobody knows.

    Warns:
        FingerprintWarning: They fit together, but something differs.
    """
    _check_width(store, encoder)
    stamp = store.read_stamp()
    if stamp is not None:
        found = compare(encoder.fingerprint, Fingerprint.from_dict(stamp), store.name)
        if found.level == "refused":
            raise FingerprintError(found.message)
        if found.level == "warning":
            warn(found.message, FingerprintWarning)
        return found
    if (rows := store.count()) == 0:
        return None
    msg = (
        f"{store.name} holds {rows} rows and no stamp: nobody knows which model made them. "
        "f2llm_core.audit(store, model) finds out; guard(store, model, adopt=True) does that "
        "and stamps it if this model did. Or index into a new collection."
    )
    raise FingerprintError(msg)


def encoder_of(model: object) -> F2LLM:
    """Return the encoder behind an adapter, or the encoder itself.

    Raises:
        ConfigurationError: There is none.
    """
    inner: Any = model if isinstance(model, F2LLM) else getattr(model, "encoder", None)
    if isinstance(inner, F2LLM):
        return inner
    msg = f"Expected an F2LLM or one of its adapters, got a {type(model).__qualname__}."
    raise ConfigurationError(msg)


def _check_width(store: VectorStore, encoder: F2LLM) -> None:
    width = store.width
    if width is not None and width != encoder.dimensions:
        msg = (
            f"{store.name} holds vectors of {width} dimensions, this model makes "
            f"{encoder.dimensions}. Pass dimensions={width} if the model is the same, or index "
            "into a new collection."
        )
        raise FingerprintError(msg)


def _is_stamped(store: VectorStore, encoder: F2LLM) -> bool:
    try:
        return store.read_stamp() == encoder.fingerprint.to_dict()
    except FingerprintError:  # two stamps that contradict each other
        return False


def _adopt(store: VectorStore, encoder: F2LLM) -> None:
    from f2llm_core.auditing import audit

    _check_width(store, encoder)
    if store.count():
        report = audit(store, encoder)
        if not report.right:
            msg = f"{store.name} is not adopted. {report}"
            raise FingerprintError(msg)
    store.write_stamp(encoder.fingerprint.to_dict())
