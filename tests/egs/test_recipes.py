"""Recipes of corpora: their plans can be parsed, and, on a folder with the layout, they run."""

import importlib
import shlex
import subprocess

import pytest

from recipes.settings import read_settings
from tests.egs.layouts import ROOT, environment, fma, magnatagatune, musdb18, packages
from tests.forked_python import forking_environment

CONFIGS = {
    "debian_packages": ["smoke", "minutes", "hour", "gpu"],
    "magnatagatune": ["smoke", "paper"],
    "fma": ["smoke", "paper"],
    "musdb18": ["smoke", "paper"],
}
LAYOUTS = {
    "debian_packages": packages,
    "magnatagatune": magnatagatune,
    "fma": fma,
    "musdb18": musdb18,
}


def recipe(corpus: str, *options: str) -> str:
    command = ["bash", ROOT / "egs" / corpus / "cola_source" / "run.sh", *options]
    done = subprocess.run(
        command, env=forking_environment(), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def plan(corpus: str, effort: str, monkeypatch, *options: str) -> dict[str, object]:
    """Settings of every stage by the name of its output, as the dry run prints them."""
    lines = recipe(corpus, "--dry-run", "--effort", effort, *options).splitlines()
    monkeypatch.chdir(ROOT / "egs" / corpus / "cola_source")
    found = {}
    for words in map(shlex.split, lines):
        if words[:2] == ["python", "-m"] and words[2].startswith("recipes."):
            settings = read_settings(importlib.import_module(words[2]).Config, words[2], words[3:])
            found[settings.output.name] = settings
    return found


@pytest.mark.parametrize(("corpus", "effort"), [(c, e) for c, es in CONFIGS.items() for e in es])
def test_the_plan_of_every_effort_has_settings_that_exist(corpus, effort, monkeypatch):
    stages = plan(corpus, effort, monkeypatch, "--seeds", "0 1")
    wanted = {"cuts", "stems", "embeddings", "fit", "report"}
    assert wanted | {f"{arm}_{seed}" for arm in ("cola", "source") for seed in (0, 1)} <= set(
        stages
    )
    # Both arms: the same data, the same steps, the same network.
    cola, source = stages["cola_1"], stages["source_1"]
    assert cola.loop == source.loop
    assert cola.loop.seed == 1
    assert (cola.encoder, cola.batch_size, cola.where) == (
        source.encoder,
        source.batch_size,
        source.where,
    )
    for name in ("crop_samples", "segment_samples", "segment_hop", "offset_step", "level"):
        assert getattr(cola.views, name) == getattr(source.views, name)
    assert set(cola.views.sources) == {"mixture"}
    assert len(source.views.sources) > 1


ARMS = sorted(path.stem for path in ROOT.glob("egs/debian_packages/music/conf/arms/*.yaml"))


@pytest.mark.parametrize("arm", ARMS)
def test_arms_on_music_differ_in_their_pairs_alone(arm, monkeypatch):
    folder = ROOT / "egs/debian_packages/music"
    monkeypatch.chdir(folder)
    found = [_arm(name) for name in ("cola", arm)]
    if arm != "music":
        (plain, other) = found
        assert (plain.encoder, plain.loop, plain.method) == (
            other.encoder,
            other.loop,
            other.method,
        )
    assert all(config.where["split"] == ["train"] for config in found)


def _arm(name: str):
    stage = "recipes.source_association.pretrain"
    words = ["--config", "conf/base.yaml", "--config", f"conf/arms/{name}.yaml"]
    paths = ["--cuts", "cuts", "--stems", "stems", "--output", "out"]
    return read_settings(importlib.import_module(stage).Config, stage, [*words, *paths])


@pytest.mark.parametrize("corpus", ["magnatagatune", "fma", "musdb18"])
def test_values_of_the_paper(corpus, monkeypatch):
    stage = plan(corpus, "paper", monkeypatch, "--seeds", "0")["source_0"]
    assert stage.loop.steps == 640_000
    assert stage.batch_size == 128
    assert stage.loop.optimizer.rate == 1e-3
    assert stage.loop.optimizer.schedule.kind == "halved"
    assert stage.views.sources == {"bass": 1, "drums": 1, "other": 1, "vocals": 1}
    assert stage.views.silent
    assert stage.encoder.width == stage.encoder.depth == 1
    assert stage.where == {"split": ["train"]}


@pytest.mark.parametrize("corpus", ["debian_packages", "magnatagatune"])
@pytest.mark.parametrize("separator", ["decomposition", "spleeter"])
def test_other_separators_change_the_sources_only(corpus, separator, monkeypatch):
    options = ("--seeds", "0", "--separator", separator)
    stages = plan(corpus, "smoke", monkeypatch, *options)
    assert stages["stems"].separator.kind == separator
    names = {"decomposition": {"drums", "bass", "other", "vocals"}}
    names["spleeter"] = {"vocals", "accompaniment"}
    assert set(stages["source_0"].views.sources) - {"mixture"} == names[separator]


def test_a_mistyped_option_is_named():
    command = ["bash", ROOT / "egs" / "fma" / "cola_source" / "run.sh", "--efort", "smoke"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--efort" in done.stderr


@pytest.mark.parametrize("script", sorted(ROOT.glob("egs/*/*/run.sh")), ids=lambda p: p.parts[-3])
def test_every_script_says_what_it_does_and_its_options(script):
    done = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, check=True)
    about, options = done.stdout.split("\n\n", 1)
    assert about in script.read_text().replace("# ", "").replace("#\n", "\n")
    assert {"--stage", "--stop-stage", "--exp-dir"} <= set(options.split())


@pytest.mark.long
@pytest.mark.parametrize("corpus", CONFIGS)
def test_the_whole_chain_on_a_folder_with_the_layout_of_the_corpus(corpus, tmp_path):
    folder = LAYOUTS[corpus](tmp_path / "corpus")
    options = ["--effort", "smoke", "--seeds", "0", "--corpus-dir", str(folder)]
    if corpus == "debian_packages":
        # What fetch.sh would do; the packages are there.
        command = ["python", "-m", "egs.debian_packages.local.collect", str(folder)]
        subprocess.run(command, check=True, env=environment(), cwd=ROOT)
    elif corpus != "musdb18":
        options += ["--separator", "decomposition"]
    recipe(corpus, *options, "--exp-dir", str(tmp_path / "exp"))
    assert (tmp_path / "exp" / "report" / "report.html").exists()
    # Again: everything is up to date.
    recipe(corpus, *options, "--exp-dir", str(tmp_path / "exp"))
