"""Options that belong together, declared once: a dataclass whose fields are the options.

    @dataclass(frozen=True)
    class Place:
        store: Annotated[str | None, typer.Option(help="Instead of the stack's.")] = None
        …

    @grouped
    def ls(everything: Everything = False, *, place: Place) -> None: …

typer, which knows functions alone, sees one with the fields in place of the parameter; the command gets the dataclass.
Two groups of a command must not have a field of the same name, nor one that a parameter has: Python says so.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Without:
    """`Annotated[Place, Without("queue")]`: that field is no option of this command, and has its default."""

    field: str


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(command, eval_str=True)
    groups, options = dict[str, tuple[Any, list[str]]](), list[Parameter]()
    for parameter in signature.parameters.values():
        cls = get_args(parameter.annotation)[0] if _is_annotated(parameter) else parameter.annotation
        if not is_dataclass(cls):
            options.append(parameter)
            continue
        own = list(_options(cls, parameter))
        groups[parameter.name] = cls, [each.name for each in own]
        options += own

    @functools.wraps(command)
    def spread(**said: Any) -> None:
        made = {name: cls(**{each: said.pop(each) for each in own}) for name, (cls, own) in groups.items()}
        command(**said, **made)

    spread.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    spread.__annotations__ = {each.name: each.annotation for each in options}
    return spread


def _is_annotated(parameter: Parameter) -> bool:
    return get_origin(parameter.annotation) is Annotated


def _options(cls: Any, parameter: Parameter) -> Iterator[Parameter]:
    without = [each.field for each in get_args(parameter.annotation)[1:] if isinstance(each, Without)]
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        if field.name not in without:
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
