"""A value that is passed on but never shown."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol


class Hidden(Protocol):
    """What holds a secret; pydantic's `SecretStr`, for one."""

    def get_secret_value(self) -> Any:  # noqa: ANN401  (a value of the wrong type is hidden, too)
        """Return the value; not to be kept in a variable."""


class Secret:
    """Hides a value wherever objects are shown: logs, dumps, the variables of a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def get_secret_value(self) -> Any:  # noqa: ANN401
        """Return the value; not to be kept in a variable."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        msg = "A secret is not pickled."
        raise TypeError(msg)


def hide(value: Any) -> Hidden | None:  # noqa: ANN401
    """Return a value as a secret; None, which hides nothing, and secrets as they are."""
    return value if value is None or hasattr(value, "get_secret_value") else Secret(value)


class HidesSecrets:
    """Before pydantic's classes among the bases of one that is frozen.

    What they refuse to assign they show, `hide_input_in_errors` or not.
    """

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        if name in ("token", "api_key"):
            value = hide(value)
        super().__setattr__(name, value)
