from __future__ import annotations

import re

from functions.core import errors
from functions.core.errors import HoldfastError


def every_error() -> list[type[HoldfastError]]:
    found, todo = [], [HoldfastError]
    while todo:
        todo += (error := todo.pop()).__subclasses__()
        found.append(error)
    return [error for error in found if error.__module__ == errors.__name__]


def test_the_tree_drawn_at_the_top_names_every_error_and_no_other() -> None:
    tree = (errors.__doc__ or "").partition("HoldfastError")[2].partition("\n\n")[0]
    drawn = re.findall(r"─ (\w+)", tree)
    assert sorted(drawn) == sorted(error.__name__ for error in every_error() if error is not HoldfastError)


def test_no_two_errors_share_a_name() -> None:
    names = [error.__name__ for error in every_error()]
    assert len(names) == len(set(names))


def test_every_error_says_what_happened_and_what_to_do_next() -> None:
    for error in every_error():
        said = str(error("no usable recovery point", hint="Ask for a later time."))
        assert said == "no usable recovery point\nHint: Ask for a later time."
