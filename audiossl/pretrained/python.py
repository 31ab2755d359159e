"""Somebody's own encoder: a class or function that makes it, named by module and attribute."""

import importlib
import sys
from pathlib import Path

from torch import nn

from audiossl.errors import UserError, did_you_mean
from audiossl.models.encoder import Encoder


def load(place: str) -> nn.Module:
    """Call `module:name` without arguments, and check that it gives an encoder.

    Args:
        place: As in "mypackage.encoders:MyEncoder"; looked up in the working folder, too.

    Raises:
        UserError: There is no such module or name, or what it makes is no `Encoder`.
    """
    module_name, _, name = place.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"python:{place}: {error}; write python:package.module:Class, from a folder where "
            "Python finds it"
        ) from error
    if not hasattr(module, name):
        hint = did_you_mean(name, vars(module))
        raise UserError(f"python:{place}: {module_name} has no {name!r}{hint}")
    encoder = getattr(module, name)()
    if not isinstance(encoder, nn.Module) or not isinstance(encoder, Encoder):
        lacking = [
            word for word in ("sample_rate", "frame_rate", "dim") if not hasattr(encoder, word)
        ]
        reason = f"lacks {', '.join(lacking)}" if lacking else "is no torch module"
        raise UserError(f"python:{place}: what it makes is no encoder, it {reason}")
    return encoder
