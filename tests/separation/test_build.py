from dataclasses import dataclass

import pytest

from audiossl.errors import UserError
from audiossl.separation.build import SeparatorConfig, build_separator
from audiossl.separation.decomposition import Decomposition, DecompositionConfig
from audiossl.separation.demucs import DemucsConfig
from audiossl.separation.given import GivenConfig, GivenStems
from audiossl.separation.separator import Separator
from audiossl.separation.spleeter import Spleeter, SpleeterConfig
from recipes.settings import read_settings


@dataclass(frozen=True)
class Stage:
    separator: SeparatorConfig


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DecompositionConfig(), Decomposition),
        (SpleeterConfig(), Spleeter),
        (GivenConfig(), GivenStems),
    ],
)
def test_each_config_builds_its_kind(config, kind):
    separator = build_separator(config)
    assert type(separator) is kind
    assert isinstance(separator, Separator) == (kind is not GivenStems)


def test_demucs_without_weights_says_what_to_do():
    with pytest.raises(UserError, match="set folder"):
        build_separator(DemucsConfig())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--separator.kind=demucs", "--separator.folder=a"], DemucsConfig(folder="a")),
        (["--separator.kind=spleeter"], SpleeterConfig()),
        (
            ["--separator.kind=decomposition", "--separator.window=9"],
            DecompositionConfig(window=9.0),
        ),
        (
            ['--separator={"kind": "given", "sources": {"song": "other"}}'],
            GivenConfig(sources={"song": "other"}),
        ),
    ],
)
def test_the_union_is_told_apart_by_its_kind(arguments, expected):
    assert read_settings(Stage, "x", arguments).separator == expected
