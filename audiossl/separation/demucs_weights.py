"""Demucs networks from a local folder: every way in which that goes wrong is said in one line.

Demucs' own loader ends the process where the folder is missing, runs the code in any `.th` file,
uses the network by default, and does not read safetensors in folders. This one reads the
same files: `<signature>.safetensors` (class and arguments in its metadata), `<signature>.th` or
`<signature>-<checksum>.th`, and `<name>.yaml` for a bag of several networks.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import nn

from audiossl.errors import UserError, did_you_mean
from audiossl.installation import missing_package
from audiossl.nn.pickled_arrays import array_globals
from audiossl.nn.weights import read_weights, write_weights

# Weights name the class that they belong to; no other name is looked up.
_NETWORKS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")


def load_bag(folder: Path | str, name: str, *, trust_pickle: bool = False) -> Any:
    """Load a named model, which is a bag of one or several networks, from a local folder.

    Args:
        folder: Holds the weights, and `<name>.yaml` if it is not one of those that demucs ships.
        name: Of a bag ("htdemucs", "htdemucs_ft") or the signature of one network ("955717e8").
        trust_pickle: Run the code that a `.th` file may bring. Not needed for files that hold
            nothing but a Demucs network, as the published ones.

    Returns:
        A `demucs.apply.BagOfModels` in evaluation mode, on the CPU.

    Raises:
        UserError: The folder, its yaml or its weights are missing, damaged, or not to be trusted.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of demucs weights")
    bag = _read_bag(folder, name)
    networks = [
        _load_network(_file_of(folder, name, signature), trust_pickle)
        for signature in bag.signatures
    ]
    try:
        # Sources, rates and weights that do not go together are asserted inside.
        return demucs("apply").BagOfModels(networks, bag.weights, bag.segment).eval()
    except AssertionError as error:
        raise UserError(f"{folder}: the networks of {name} do not go together") from error


def write_network(path: Path, network: nn.Module) -> None:
    """Write a Demucs network as safetensors, in the form that the hub and `load_bag` read.

    This is how a `.th` file that is trusted once becomes one that need not be trusted again.
    """
    arguments, options = network._init_args_kwargs  # type: ignore[misc]
    kind = type(network)
    metadata = {
        "klass": f"{kind.__module__}.{kind.__qualname__}",
        "args": json.dumps(arguments, default=_encode),
        "kwargs": json.dumps(options, default=_encode),
    }
    write_weights(path, network.state_dict(), metadata)


def demucs(module: str) -> Any:
    """Import a module of demucs when it is needed.

    Raises:
        UserError: demucs is not installed.
    """
    try:
        return import_module(f"demucs.{module}")
    except ImportError as error:
        what = f"this separator ({error})"
        raise UserError(missing_package(what, "demucs", "separation")) from error


@dataclass(frozen=True)
class _Bag:
    signatures: list[str]
    weights: list[list[float]] | None = None
    segment: float | None = None


def _read_bag(folder: Path, name: str) -> _Bag:
    own = folder / f"{name}.yaml"
    if not own.is_file() and _candidates(folder, name):
        return _Bag([name])
    shipped = Path(demucs("pretrained").REMOTE_ROOT)
    path = own if own.is_file() else shipped / f"{name}.yaml"
    if not path.is_file():
        known = {file.stem for place in (folder, shipped) for file in place.glob("*.yaml")}
        known |= {file.stem for file in _weights(folder)}
        raise UserError(
            f"{folder}: no {name}.yaml, and no weights of that signature"
            f"{did_you_mean(name, known)}; the folder holds {_listing(folder)}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        signatures = [str(signature) for signature in content["models"]]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise UserError(f"{path}: no list of `models` in it ({type(error).__name__})") from error
    return _Bag(signatures, content.get("weights"), content.get("segment"))


def _file_of(folder: Path, name: str, signature: str) -> Path:
    candidates = _candidates(folder, signature)
    if not candidates:
        raise UserError(
            f"{folder}: no weights {signature} for {name}: put {signature}.safetensors or "
            f"{signature}-<checksum>.th there; the folder holds {_listing(folder)}"
        )
    safe = [path for path in candidates if path.suffix == ".safetensors"]
    if len(safe or candidates) > 1:
        names = " and ".join(path.name for path in candidates)
        raise UserError(f"{folder}: {names} are both {signature}: keep one")
    return (safe or candidates)[0]


def _candidates(folder: Path, signature: str) -> list[Path]:
    return [path for path in _weights(folder) if path.stem.rsplit("-", 1)[0] == signature]


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".th", ".safetensors"))


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:5] + ["..."] * (len(names) > 5)) or "nothing"


def _load_network(path: Path, trust_pickle: bool) -> nn.Module:
    _check_sum(path)
    safe = path.suffix == ".safetensors"
    package = _read_safetensors(path) if safe else _read_pickle(path, trust_pickle)
    state = package["state"]
    if not isinstance(state, Mapping) or state.get("__quantized"):
        raise UserError(
            f"{path}: quantized weights, which need diffq: use the same model without the _q"
        )
    try:
        with warnings.catch_warnings():
            # It warns of arguments that newer networks no longer have.
            warnings.simplefilter("ignore")
            return demucs("states").load_model(package)
    except (RuntimeError, TypeError, ValueError, KeyError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: weights that do not fit their network ({reason})") from error


def _check_sum(path: Path) -> None:
    signature, dash, expected = path.stem.rpartition("-")
    if not (dash and signature):
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    actual = digest.hexdigest()[: len(expected)]
    if actual != expected:
        raise UserError(
            f"{path}: damaged or incomplete, its checksum is {actual} and not {expected} as its "
            "name says: copy or download it again"
        )


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or not safetensors ({error})") from error
    if "structure" in metadata:
        return {"state": None}
    try:
        arguments, options = (
            json.loads(metadata[key], object_hook=_decode) for key in ("args", "kwargs")
        )
        return {
            "klass": _network_class(path, metadata["klass"]),
            "args": arguments,
            "kwargs": options,
            "state": read_weights(path),
        }
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: does not say which Demucs network it is (metadata {error}): take the files "
            "of demucs' hub, or write it with audiossl.separation.demucs_weights.write_network"
        ) from error


def _read_pickle(path: Path, trust: bool) -> dict[str, Any]:
    if trust:
        package = _run_pickle(path)
    else:
        networks = [_network_class(path, name) for name in _NETWORKS]
        try:
            with torch.serialization.safe_globals([*networks, Fraction, *array_globals()]):
                package = read_weights(path)
        except UserError as error:
            raise UserError(f"{error}; or set trust_pickle if you trust its author") from error
    if not isinstance(package, dict) or not {"klass", "args", "kwargs", "state"} <= set(package):
        raise UserError(f"{path}: not a Demucs package (no class, arguments and state in it)")
    name = getattr(package["klass"], "__name__", "")
    module = getattr(package["klass"], "__module__", "")
    return package | {"klass": _network_class(path, f"{module}.{name}")}


def _run_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever the code in the file raises
        raise UserError(f"{path}: damaged, or of another version of demucs ({error})") from error


def _network_class(path: Path, name: str) -> type[nn.Module]:
    if name not in _NETWORKS:
        raise UserError(f"{path}: wants to be a {name}, expected one of {', '.join(_NETWORKS)}")
    module, _, kind = name.removeprefix("demucs.").rpartition(".")
    return getattr(demucs(module), kind)


def _encode(value: Any) -> dict[str, Any]:
    if not isinstance(value, Fraction):
        raise TypeError(f"cannot write {value!r} as JSON")
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}


def _decode(value: dict[str, Any]) -> Any:
    if value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    return value
