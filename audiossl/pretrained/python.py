"""Somebody's own encoder: a class or function that makes it, named by module and attribute."""

from torch import nn

from audiossl.errors import UserError
from audiossl.models.encoder import Encoder
from audiossl.python_objects import python_object


def load(place: str) -> nn.Module:
    """Call `module:name` without arguments, and check that it gives an encoder.

    Args:
        place: As in "mypackage.encoders:MyEncoder"; looked up in the working folder, too.

    Raises:
        UserError: There is no such module or name, or what it makes is no `Encoder`.
    """
    made_by = python_object(place)
    try:
        encoder = made_by()
    except TypeError as error:
        raise UserError(f"python:{place}: cannot be called without arguments ({error})") from error
    if not isinstance(encoder, nn.Module) or not isinstance(encoder, Encoder):
        lacking = [
            word for word in ("sample_rate", "frame_rate", "dim") if not hasattr(encoder, word)
        ]
        reason = f"lacks {', '.join(lacking)}" if lacking else "is no torch module"
        raise UserError(f"python:{place}: what it makes is no encoder, it {reason}")
    return encoder
