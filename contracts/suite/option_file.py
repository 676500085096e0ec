"""The file of options as YAML: every value is the text that stands there, every key stands there once.

It may not know any option.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class Unreadable(Exception):
    """The file cannot be used; the reason holds no value of it."""


class _Texts(yaml.SafeLoader):
    """Reads every value as the text that stands there: ``0012345`` is a card number, ``NO`` a promo code."""


_Texts.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _once(loader: _Texts, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping; of two values for one key YAML itself would drop the first and say nothing."""
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise Unreadable(f"line {key.start_mark.line + 1}: {key.value} stands there twice; leave one")
        seen.add(str(key.value))
    return loader.construct_mapping(node, deep=True)


_Texts.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _once)


def read(path: Path) -> dict[str, Any]:
    """The options of a file; an empty one has none. Raises ``Unreadable``."""
    try:
        options = yaml.load(path.read_text(encoding="utf-8"), _Texts)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Unreadable(f"cannot read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unreadable("not a YAML file: it is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = "" if mark is None else f"; look at line {mark.line + 1}"
        raise Unreadable(f"not a YAML file{where}") from None
    if options is not None and not isinstance(options, dict):
        raise Unreadable("expected a mapping of options")
    return {str(key): value for key, value in (options or {}).items()}
