from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import yaml

from audiossl.config_layers import merged
from audiossl.configs import (
    Count,
    Positive,
    Share,
    Whole,
    Word,
    from_plain,
    plain,
    read_yaml,
    setting_names,
)
from audiossl.errors import UserError


@dataclass(frozen=True)
class Falling:
    kind: Literal["falling"] = "falling"
    final: float = 0.5


@dataclass(frozen=True)
class Steady:
    kind: Literal["steady"] = "steady"
    level: float = 1.0
    depth: int | None = None


@dataclass(frozen=True)
class Target:
    kind: Literal["one", "many"] = "one"


@dataclass(frozen=True)
class Inner:
    size: int = 3
    rate: Falling | Steady = Steady(level=2.0)


@dataclass(frozen=True)
class Outer:
    path: Path
    inner: Inner = Inner(size=7)
    many: tuple[Falling | Steady, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    words: tuple[Literal["a", "b"], ...] = ("a",)
    pair: tuple[float, float] = (0.9, 0.99)
    name: str | None = None
    on: bool = False
    targets: tuple[Target, ...] = ()


def read(**content):
    return from_plain(Outer, {"path": "x", **content}, "here")


def test_a_config_survives_being_plain():
    config = Outer(
        path=Path("a/b"),
        inner=Inner(1, Falling(final=0.25)),
        many=(Steady(depth=3), Falling()),
        weights={"drums": 2.0},
        words=("b", "a"),
        name="9",
        on=True,
        targets=(Target("many"), Target()),
    )
    assert from_plain(Outer, plain(config), "here") == config


def test_settings_left_out_keep_the_values_of_the_default_around_them():
    assert read(inner={"rate": {"depth": 4}}).inner == Inner(7, Steady(level=2.0, depth=4))
    assert read(inner={"rate": {"kind": "falling"}}).inner.rate == Falling(final=0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"iner": {}}, "unknown setting 'iner'; did you mean 'inner'"),
        (
            {"inner": {"rate": {"kind": "faling"}}},
            "inner.rate.kind: unknown 'faling'; did you mean",
        ),
        ({"inner": {"rate": {"kind": "falling", "level": 1}}}, "setting 'inner.rate.level'"),
        ({"inner": {"size": 1.5}}, "inner.size: expected a whole number, found 1.5"),
        ({"inner": {"size": True}}, "inner.size: expected a whole number, found True"),
        ({"inner": 3}, "inner: expected the fields of Inner, found 3"),
        ({"many": [{"kind": "steady"}, {"kind": "no"}]}, "many[1].kind: unknown 'no'"),
        ({"weights": {"drums": "much"}}, "weights.drums: expected a number, found 'much'"),
        ({"words": ["a", "c"]}, "words[1]: unknown 'c'"),
        ({"pair": [1]}, "pair: expected 2 values, found [1]"),
        ({"name": 9}, "name: expected text, found 9"),
        ({"on": "yes"}, "on: expected true or false, found 'yes'"),
        ({"path": None}, "path: expected a path, found None"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(content, message):
    with pytest.raises(UserError) as caught:
        read(**content)
    assert message in str(caught.value)


def test_a_missing_setting_is_named():
    with pytest.raises(UserError, match="setting 'path' is missing"):
        from_plain(Outer, {}, "here")


def test_words_of_a_command_line_are_what_their_fields_are():
    config = read(
        path=Word("2024"),
        name=Word("9"),
        on=Word("true"),
        inner={"size": Word("1e3")},
        pair=Word("[1e-3, 0.5]"),
        many=Word("[{kind: falling}]"),
        targets=Word("[{}, {kind: many}]"),
    )
    assert config.path == Path("2024")
    assert (config.name, config.on, config.inner.size) == ("9", True, 1000)
    assert (config.pair, config.many) == ((0.001, 0.5), (Falling(),))
    assert config.targets == (Target(), Target("many"))


def test_a_choice_made_on_a_command_line_is_the_word_itself():
    config = from_plain(Target, {"kind": Word("many")}, "here")
    assert type(config.kind) is str  # YAML writes no subclass of it


def test_later_content_is_laid_over_earlier_config_by_config():
    old = {"inner": {"size": 1, "rate": {"kind": "steady", "level": 3}}, "weights": {"a": 1}}
    same_kind = merged(Outer, old, {"inner": {"rate": {"depth": 2}}, "weights": {"b": 1}})
    assert same_kind["inner"] == {"size": 1, "rate": {"kind": "steady", "level": 3, "depth": 2}}
    assert same_kind["weights"] == {"b": 1}
    other_kind = merged(Outer, old, {"inner": {"rate": {"kind": "falling"}}})
    assert other_kind["inner"] == {"size": 1, "rate": {"kind": "falling"}}


def test_names_of_settings_reach_into_every_kind():
    names = set(setting_names(Outer))
    assert {"inner.rate.final", "inner.rate.level", "inner.size", "path"} <= names


def test_what_a_command_line_chose_can_be_written_as_yaml():
    config = read(inner={"rate": {"kind": Word("falling")}}, name=Word("x"), path=Word("y"))
    assert yaml.safe_load(yaml.safe_dump(plain(config)))["inner"]["rate"]["kind"] == "falling"


@dataclass(frozen=True, kw_only=True)
class _Ranges:
    count: Count = 1
    seeds: tuple[Whole, ...] = ()
    share: Share = 0.5
    window: Positive | None = None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"count": 0},
            "count: expected a whole number at least 1 and at most 2.14748e+09, found 0",
        ),
        ({"count": 10**12}, "at most"),
        ({"count": "1e400"}, "expected a whole number, found"),
        ({"count": True}, "expected a whole number, found True"),
        ({"seeds": [0, -1]}, r"seeds[1]: expected a whole number at least 0"),
        ({"share": 1.01}, "share: expected a number at least 0 and at most 1, found 1.01"),
        ({"share": float("nan")}, "share: expected a number, found nan"),
        ({"window": 0}, "window: expected a number above 0, found 0"),
        ({"window": "inf"}, "window: expected a number, found 'inf'"),
    ],
)
def test_numbers_out_of_range_are_refused_where_they_enter(content, message):
    with pytest.raises(UserError) as caught:
        from_plain(_Ranges, content, "x")
    assert message in str(caught.value)


def test_numbers_in_range_are_taken():
    content = {"count": 7, "seeds": [0, 3], "share": 1, "window": None}
    assert from_plain(_Ranges, content, "x") == _Ranges(count=7, seeds=(0, 3), share=1.0)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "with its aliases written out it is larger than any settings"),
        ("a: &a [*a]", "with its aliases written out it is larger"),
        ("[" * 50_000, "nested deeper than settings are"),
        ("a: [1", "no YAML"),
        ("!!python/object/apply:os.system [touch executed]", "no YAML"),
        ("\0", "no YAML"),
        ("a" * (5 << 20), "characters, more than"),
    ],
)
def test_yaml_that_is_no_settings_is_refused_in_time(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert message in str(caught.value)


def test_one_path_needs_no_list():
    @dataclass(frozen=True)
    class Tables:
        labels: tuple[Path, ...] = ()

    for value in ("a.csv", Word("a.csv"), ["a.csv"], Word("[a.csv]")):
        assert from_plain(Tables, {"labels": value}, "x").labels == (Path("a.csv"),)
    with pytest.raises(UserError, match="labels"):
        from_plain(Tables, {"labels": 3}, "x")


@pytest.mark.parametrize("kind", [Path, Path | None])
def test_a_list_is_not_taken_for_the_name_of_one_path(kind):
    with pytest.raises(UserError, match=r"one path, without brackets .*'\[a,b\]'"):
        from_plain(kind, Word("[a,b]"), "--originals")
    assert from_plain(kind, Word("./[a]"), "--originals") == Path("[a]")


def test_the_name_of_a_kind_alone_stands_for_its_defaults():
    outer = from_plain(Outer, {"path": "x", "inner": {"rate": "falling"}}, "test")
    assert outer.inner.rate == Falling()
    files = merged(Outer, {"inner": {"rate": "falling"}}, {"inner": {"rate": {"final": 0.25}}})
    assert from_plain(Outer, {"path": "x", **files}, "test").inner.rate == Falling(final=0.25)
    with pytest.raises(UserError, match=r"inner.rate.kind: unknown 'stedy'; did you mean"):
        from_plain(Outer, {"path": "x", "inner": {"rate": "stedy"}}, "test")
