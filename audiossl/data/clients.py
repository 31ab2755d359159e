"""Clients of federated training: whose recordings are whose.

By a label, as speakers, devices or archives are; or by chance, where the cuts of each class are
dealt to clients in shares from a Dirichlet distribution: a low concentration gives each client few
classes, a high one all of them alike (Hsu, Qi, Brown 2019; Li, He, Song 2021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int
from typing_extensions import assert_never

from audiossl.configs import Count, Positive
from audiossl.errors import UserError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class ByLabelConfig:
    """A client for each value of a label."""

    kind: Literal["label"] = "label"
    label: str = "speaker"
    """Label that names the client of a cut; cuts without it take no part."""


@dataclass(frozen=True, kw_only=True)
class DirichletConfig:
    """Clients that have the classes of a label in different shares."""

    kind: Literal["dirichlet"] = "dirichlet"
    label: str = "domain"
    """Label that names the class of a cut; cuts without it take no part."""
    count: Count = 10
    """Number of clients."""
    concentration: Positive = 0.5
    """Concentration of the Dirichlet distribution of each class over clients."""


ClientsConfig: TypeAlias = ByLabelConfig | DirichletConfig


def deal(
    config: ClientsConfig,
    labels: Sequence[Mapping[str, str]],
    chosen: Int[np.ndarray, " cuts"],
    seed: int,
) -> dict[str, Int[np.ndarray, " _"]]:
    """Say which cuts each client has, by its name; those of a class are dealt by chance.

    Args:
        config: By label, or by chance.
        labels: Of all cuts of the corpus.
        chosen: The cuts that take part.
        seed: Of what is dealt by chance.

    Raises:
        UserError: No cut has the label, there is one client, or a client has one recording, which
            has nothing to be told from.

    Example:
        >>> labels = [{"recording": str(i), "speaker": "ab"[i % 2]} for i in range(4)]
        >>> deal(ByLabelConfig(), labels, np.arange(4), seed=0)
        {'a': array([0, 2]), 'b': array([1, 3])}
    """
    values = {int(cut): labels[cut].get(config.label) for cut in chosen}
    if not any(value is not None for value in values.values()):
        names = {name for row in labels for name in row}
        raise UserError(
            f"clients.label: no cut that takes part has a label {config.label!r}"
            f"{did_you_mean(config.label, names)}"
        )
    classes: dict[str, list[int]] = {}
    for cut, value in values.items():
        if value is not None:
            classes.setdefault(value, []).append(cut)
    match config:
        case ByLabelConfig():
            clients = dict(sorted(classes.items()))
        case DirichletConfig():
            clients = _dealt(config, [classes[name] for name in sorted(classes)], seed)
        case _:
            assert_never(config)
    _check(clients, labels)
    return {name: np.sort(np.array(cuts)) for name, cuts in clients.items()}


def _dealt(
    config: DirichletConfig, classes: Sequence[Sequence[int]], seed: int
) -> dict[str, list[int]]:
    generator = np.random.default_rng(seed)
    clients: dict[str, list[int]] = {f"client-{number}": [] for number in range(config.count)}
    for cuts in classes:
        shares = generator.dirichlet(np.full(config.count, config.concentration))
        edges = np.rint(np.cumsum(shares) * len(cuts)).astype(np.int64)
        parts = np.split(generator.permutation(cuts), edges[:-1])
        for own, part in zip(clients.values(), parts, strict=True):
            own += part.tolist()
    return clients


def _check(clients: Mapping[str, Sequence[int]], labels: Sequence[Mapping[str, str]]) -> None:
    if len(clients) < 2:
        raise UserError(
            f"clients: there is only {next(iter(clients))!r}: federated training is of two or more"
        )
    for name, cuts in clients.items():
        recordings = {labels[cut].get("recording", labels[cut].get("id")) for cut in cuts}
        if len(recordings) < 2:
            raise UserError(
                f"client {name!r} has {len(recordings)} recordings, and contrast needs two: leave "
                "it out with where, choose another clients.label, or, of dealt ones, fewer clients "
                "or a higher concentration"
            )
