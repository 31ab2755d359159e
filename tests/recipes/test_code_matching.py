"""The stages of code matching, from a manifest or a corpus to a page, and what they refuse."""

import json
from dataclasses import replace

import numpy as np
import pretty_midi
import pytest
import torch
from lhotse import CutSet, MonoCut
from lhotse.shar import ArrayTarWriter, JsonlShardWriter

from audiossl.atomic_files import read_json
from audiossl.audio.files import read_waveform
from audiossl.data.pair_corpus import PairCorpus, PairSource, PairViewsConfig
from audiossl.data.plan import PlanConfig, Position
from audiossl.errors import UserError
from audiossl.methods.code_matching import CodeMatchingConfig
from audiossl.models.modality_encoders import (
    ConvolutionsConfig,
    FramesConfig,
    GivenConfig,
    TextConfig,
)
from audiossl.models.zipformer.model import Zipformer
from audiossl.optim.build import AdamWConfig
from audiossl.pretrained.code_matching import load_matching
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.quantization.shared_codebook import SharedCodebookConfig
from audiossl.training.loop import LoopConfig
from recipes.code_matching import evaluate, pairs, pretrain
from recipes.code_matching.front_ends import ArrayFront, ScoreFront, SoundFront, TextFront
from recipes.pretraining import TrainingResources
from recipes.stage import run
from tests.data.corpora import RATE, prepare, tone, write_folder
from tests.data.pairs import write_manifest
from tests.methods.codes import SMALL as ZIPFORMER

SMALL = ConvolutionsConfig(dim=8, strides=(2,), blocks=1, kernel=3)
SOUND, TEXT = FramesConfig(convolutions=SMALL), TextConfig(convolutions=SMALL)
CODEBOOK = SharedCodebookConfig(codebook_size=10, dim=6)
METHOD = CodeMatchingConfig(embedding_dim=12, codebook=CODEBOOK)
BOTH = {"image": ArrayFront(), "text": TextFront()}


def make(folder, kind, modalities, name="pairs", **settings):
    config = pairs.Config(
        pairs=kind, modalities=modalities, output=folder / name, shard_size=5, **settings
    )
    return run(config, pairs.make_pairs, "recipes.code_matching.pairs")


def learn(folder, name, encoders, *, method=METHOD, steps=4, accumulate=1, **settings):
    config = pretrain.Config(
        pairs=folder / "pairs",
        output=folder / name,
        encoders=encoders,
        method=method,
        resources=TrainingResources(device="cpu", save_every=2, log_every=1),
        **{"batch_size": 4, "loop": LoopConfig(steps=steps, accumulate=accumulate), **settings},
    )
    return run(config, pretrain.code_matching, "recipes.code_matching.pretrain")


@pytest.fixture
def manifest(tmp_path):
    return write_manifest(tmp_path)


@pytest.fixture
def speech(tmp_path):
    """A corpus of eight recordings: four texts, each read by two voices; the last has no text."""
    write_folder(tmp_path / "audio", [0.5 + 0.1 * (i % 3) for i in range(8)])
    rows = [
        f"{i:03d}.wav,{'' if i == 7 else f'word {i // 2}'},voice{i % 2},train" for i in range(8)
    ]
    (tmp_path / "labels.csv").write_text("path,text,speaker,split\n" + "\n".join(rows) + "\n")
    prepare(tmp_path / "audio", tmp_path / "cuts", labels=[tmp_path / "labels.csv"])
    return tmp_path


def test_a_manifest_becomes_the_values_it_names(manifest):
    folder = manifest.parent
    record = make(folder, pairs.Manifest(), BOTH, source=manifest)
    assert record["results"]["pairs"] == 12
    corpus = PairCorpus(folder / "pairs")
    images = np.load(folder / "images.npy")
    for index in range(12):
        np.testing.assert_allclose(
            corpus.values("image", index), images[index].reshape(6, 5), atol=1e-3
        )
        units = corpus.modalities["text"].vocabulary
        said = "".join(units[token] for token in corpus.values("text", index))
        assert said == f"a text {index}"
    assert corpus.concepts.tolist() == [i // 3 for i in range(12)]
    assert corpus.select({"split": ["valid"]}).tolist() == [0, 4, 8]


def test_what_cannot_be_learnt_from_is_left_out_counted_and_bounded(manifest):
    folder = manifest.parent
    images = np.load(folder / "images.npy")
    images[2, 1, 0, 3] = np.nan
    np.save(folder / "images.npy", images)
    np.save(folder / "narrow.npy", np.zeros((3, 4), np.float32))
    text = {"kind": "text", "place": "a text"}
    images_at = {"kind": "array", "place": "images.npy"}
    changes = {
        "row_3": {"text": text},
        "row_4": {"image": {"kind": "array", "place": "none.npy"}, "text": text},
        "row_5": {"image": {"kind": "array", "place": "narrow.npy"}, "text": text},
        "row_6": {"image": {**images_at, "row": 99}, "text": text},
        "row_7": {"image": {**images_at, "row": 7}, "text": {**text, "place": "..."}},
    }
    write_manifest(folder, **{row: {"modalities": new} for row, new in changes.items()})
    np.save(folder / "images.npy", images)
    with pytest.raises(UserError, match="6 of 12 items cannot be used"):
        make(folder, pairs.Manifest(), BOTH, source=manifest)
    record = make(
        folder, pairs.Manifest(), BOTH, "allowed", source=manifest, max_skipped=0.5
    )  # fmt: skip
    assert record["results"]["pairs"] == 6
    lines = (folder / "allowed" / "skipped.jsonl").read_text().splitlines()
    reasons = " | ".join(json.loads(line)["reason"] for line in lines)
    for reason in (
        "NaN or infinity in row 3 of 6",
        "no modality 'image'",
        "none.npy: cannot be read as an array",
        "vectors of 4 dimensions, others have 5",
        "has 12 rows, and row 99",
        "no unit that is known",
    ):
        assert reason in reasons, reason


def test_a_warm_start_then_codes_then_a_page(manifest):
    folder = manifest.parent
    make(folder, pairs.Manifest(), BOTH, source=manifest)
    encoders = {"image": GivenConfig(), "text": TEXT}
    continuous = CodeMatchingConfig(embedding_dim=12, path="continuous")
    learn(folder, "warm", encoders, method=continuous)
    record = learn(folder, "codes", encoders, warm_start=folder / "warm")
    # Joint use is not known after so few steps, and what is not known is left out.
    assert {"code_loss", "commitment"} <= set(record["results"]["last"])
    config = evaluate.Config(
        pairs=folder / "pairs",
        runs=(folder / "warm", folder / "codes"),
        output=folder / "evaluation",
        labels=("kind",),
        hard="kind",
        bootstrap=BootstrapConfig(replicates=20),
    )
    run(config, evaluate.evaluate, "recipes.code_matching.evaluate")
    scores = read_json(folder / "evaluation" / "scores.json")
    codes, warm = scores["systems"]["codes"], scores["systems"]["warm"]
    assert retrieval(codes, "codes", pool="same kind", query="text")["queries"] == 12
    assert 0 < retrieval(codes, "embeddings", both=True)["chance"]["1"] < 1
    assert warm["codes"] is None
    assert 0 < codes["codes"]["labels"]["kind"]["purity"][0] <= 1
    assert {gain["condition"]["by"] for gain in scores["gains"]} == {"embeddings"}
    assert {(gain["system"], gain["control"]) for gain in scores["gains"]} == {("codes", "warm")}
    page = (folder / "evaluation" / "report.html").read_text()
    assert "<mark>" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def retrieval(system, by, *, pool="all", query="image", both=False):
    """Scores under one condition."""
    candidate = "text" if query == "image" else "image"
    wanted = {"by": by, "pool": pool, "query": query, "candidate": candidate, "both": both}
    (scores,) = (each for each in system["retrieval"] if each["condition"] == wanted)
    return scores


def assess(folder, runs, name="evaluation", **settings):
    config = evaluate.Config(
        pairs=folder / "pairs",
        runs=tuple(folder / name for name in runs),
        output=folder / name,
        bootstrap=BootstrapConfig(replicates=20),
        **settings,
    )
    run(config, evaluate.evaluate, "recipes.code_matching.evaluate")
    return read_json(folder / name / "scores.json")


def test_seeds_of_one_system_have_their_mean_and_each_its_weight_from_other_pairs(manifest):
    folder = manifest.parent
    make(folder, pairs.Manifest(), BOTH, source=manifest)
    encoders = {"image": GivenConfig(), "text": TEXT}
    for seed in range(2):
        loop = LoopConfig(steps=2, seed=seed)
        learn(folder, f"codes_{seed}", encoders, loop=loop)
        learn(folder, f"none_{seed}", encoders, loop=loop, method=replace(METHOD, alpha=0.0))
    runs = ("none_0", "codes_0", "none_1", "codes_1")
    where, valid = {"split": ["train"]}, {"split": ["valid"]}
    scores = assess(folder, runs, where=where, fuse_on=valid, hard="kind")
    assert list(scores["systems"]) == ["none", "codes"]
    codes = scores["systems"]["codes"]
    assert codes["seeds"] == 2
    shares = codes["joint_share_of_seeds"]
    assert codes["codes"]["figures"]["joint_share"] == pytest.approx(sum(shares) / 2, nan_ok=True)
    assert len(codes["fusion_weights"]) == 2
    alone = assess(folder, ("codes_0",), "first", where=where)["systems"]["codes_0"]
    other = assess(folder, ("codes_1",), "second", where=where)["systems"]["codes_1"]
    mean, first, second = (
        retrieval(system, "embeddings", both=True)["recall"]["1"]["score"]
        for system in (codes, alone, other)
    )
    assert mean == pytest.approx((first + second) / 2)
    conditions = {(g["condition"]["by"], g["condition"]["pool"]) for g in scores["gains"]}
    assert {("fused", "all"), ("embeddings", "same kind")} <= conditions
    with pytest.raises(UserError, match="fuse_on: names pairs that are scored"):
        assess(folder, runs, "wrong", where=where, fuse_on=where)


def test_codes_are_localized_on_a_common_time_axis_and_held_against_words(speech):
    modalities = {"a": SoundFront(encoder="log_mel:10"), "b": SoundFront(encoder="log_mel:10")}
    make(speech, pairs.Encoders(window=0.25), modalities, cuts=(speech / "cuts",))
    learn(speech, "run", {"a": SOUND, "b": SOUND})
    ctm = speech / "words.ctm"
    ctm.write_text("".join(f"{i:03d} 1 0.0 0.5 word{i}\n" for i in range(4)))
    scores = assess(speech, ("run",), aligned=True, alignments={"a": ctm}, cuts=(speech / "cuts",))
    codes = scores["systems"]["run"]["codes"]
    assert 0 <= codes["localization"]["overlap"]["chance"] <= 1
    found = codes["localization"]["frames"]["a to b"]
    assert found["recall"][0] <= found["recall"][1] <= found["recall"][2]
    assert set(codes["words"]) == {"a"}
    best = codes["words"]["a"]["best"][0][0]
    assert best["word"].startswith("word")
    assert 0 < best["precision"] <= 1
    page = (speech / "evaluation" / "report.html").read_text()
    for said in ("Where codes fire", "In one clip: a and b", '<b style="left:', "words: word"):
        assert said in page, said
    ctm.write_text("another 1 0.0 0.5 word\n")
    with pytest.raises(UserError, match="has none of the recordings of a"):
        assess(speech, ("run",), "other", alignments={"a": ctm})
    with pytest.raises(UserError, match="no sound modality 'c'"):
        assess(speech, ("run",), "none", alignments={"c": ctm})


def test_words_of_texts_are_known_by_themselves(manifest):
    folder = manifest.parent
    make(folder, pairs.Manifest(), BOTH, source=manifest)
    learn(folder, "run", {"image": GivenConfig(), "text": TEXT})
    words = assess(folder, ("run",))["systems"]["run"]["codes"]["words"]
    assert set(words) == {"text"}
    assert {row[0]["word"] for row in words["text"]["best"]} & {"a", "text"}


def test_a_resumed_run_equals_an_uninterrupted_one_codebook_included(manifest):
    folder = manifest.parent
    make(folder, pairs.Manifest(), BOTH, source=manifest)
    encoders = {"image": GivenConfig(), "text": TEXT}
    learn(folder, "whole", encoders)
    learn(folder, "resumed", encoders)
    record = read_json(folder / "resumed" / "stage.json")
    (folder / "resumed" / "stage.json").write_text(json.dumps({**record, "finished": None}))
    last = max((folder / "resumed" / "checkpoints").iterdir(), key=lambda path: path.name)
    last.unlink() if last.is_file() else [p.unlink() for p in last.iterdir()]
    learn(folder, "resumed", encoders)
    weights = [
        (folder / name / "code_matching.safetensors").read_bytes() for name in ("whole", "resumed")
    ]
    assert weights[0] == weights[1]


def test_the_codebook_moves_once_a_step_whatever_the_parts_of_a_batch(manifest):
    make(manifest.parent, pairs.Manifest(), BOTH, source=manifest)
    learn(manifest.parent, "run", {"image": GivenConfig(), "text": TEXT}, accumulate=2)
    matching = load_matching(manifest.parent / "run")
    assert int(matching.method.codebook.entries.step) == 4


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"batch_size": 1}, "contrast needs two"),
        ({"where": {"split": ["tset"]}}, "no pair has split"),
        (
            {"method": replace(METHOD, codebook=replace(CODEBOOK, codebook_size=5000))},
            "a codebook of 5000 entries, but all modalities of an epoch have",
        ),
        ({"encoders": {"image": GivenConfig()}}, "modality 'text' has none"),
        ({"encoders": {"imgae": GivenConfig(), "text": TEXT}}, "did you mean 'image'"),
    ],
)  # fmt: skip
def test_runs_that_cannot_learn_are_refused_before_they_begin(manifest, settings, reason):
    make(manifest.parent, pairs.Manifest(), BOTH, source=manifest)
    settings = {"encoders": {"image": GivenConfig(), "text": TEXT}, **settings}
    with pytest.raises(UserError, match=reason):
        learn(manifest.parent, "run", **settings)


def test_speech_and_its_transcript_equal_texts_being_one_concept(speech):
    modalities = {"speech": SoundFront(encoder="log_mel:10"), "text": TextFront()}
    kind = pairs.Transcripts()
    with pytest.raises(UserError, match=r"1 of 8 items.*has no text to be paired with"):
        make(speech, kind, modalities, cuts=(speech / "cuts",))
    made = {"cuts": (speech / "cuts",), "max_skipped": 0.2}
    make(speech, kind, modalities, "transcripts", **made)
    corpus = PairCorpus(speech / "transcripts")
    assert len(corpus) == 7
    assert corpus.concepts.tolist() == [0, 0, 1, 1, 2, 2, 3]
    frames = load_encoder("log_mel:10")(torch.zeros(1, 9600), torch.tensor([9600]))
    assert corpus.lengths("speech")[1] == int(frames.lengths[0])


def test_phones_come_from_the_lexicon(speech):
    (speech / "words.dict").write_text("word W ER D\n")
    modalities = {"speech": SoundFront(encoder="log_mel:10"), "text": TextFront(units="phones")}
    made = {"cuts": (speech / "cuts",), "max_skipped": 0.2}
    make(speech, pairs.Transcripts(), modalities, lexicon=speech / "words.dict", **made)
    corpus = PairCorpus(speech / "pairs")
    assert corpus.modalities["text"].vocabulary == ("<unknown>", "D", "ER", "W")
    assert corpus.values("text", 0).tolist() == [3, 2, 1, 0]
    with pytest.raises(UserError, match="phones need a pronunciation dictionary"):
        make(speech, pairs.Transcripts(), modalities, "other", **made)


def test_readings_pair_voices_of_one_text(speech):
    modalities = {
        "voice": SoundFront(encoder="log_mel:10"),
        "other_voice": SoundFront(encoder="mfcc:"),
    }
    make(speech, pairs.Readings(), modalities, cuts=(speech / "cuts",), max_skipped=0.5)
    corpus = PairCorpus(speech / "pairs")
    found = [tuple(ref["place"] for ref in row["modalities"].values()) for row in corpus.rows]
    assert sorted(found) == [
        (f"{i:03d}", f"{j:03d}") for i, j in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4))
    ]


def test_two_front_ends_hear_one_clip_and_a_modality_is_an_encoder(speech):
    modalities = {"log_mel": SoundFront(encoder="log_mel:10"), "mfcc": SoundFront(encoder="mfcc:")}
    make(speech, pairs.Encoders(window=0.25), modalities, cuts=(speech / "cuts",))
    corpus = PairCorpus(speech / "pairs")
    assert (corpus.lengths("log_mel") == corpus.lengths("mfcc")).all()
    learn(speech, "run", {"log_mel": SOUND, "mfcc": SOUND})
    encoder = load_encoder(f"code_matching:{speech / 'run'}#mfcc")
    waveform = torch.from_numpy(read_waveform(speech / "audio" / "000.wav", sample_rate=RATE))
    frames = encoder(waveform[None], torch.tensor([len(waveform)]))
    assert frames.vectors.shape[2] == encoder.dim == 8
    assert frames.clip.shape == (1, 12)
    assert frames.frame_rate == 25.0
    with pytest.raises(UserError, match="say which sound modality"):
        load_encoder(f"code_matching:{speech / 'run'}")


def test_recordings_and_their_scores(speech):
    midi = pretty_midi.PrettyMIDI()
    midi.instruments = [pretty_midi.Instrument(program=0)]
    midi.instruments[0].notes = [pretty_midi.Note(100, 60, 0.0, 0.3)]
    (speech / "scores").mkdir()
    for index in range(7):
        midi.write(str(speech / "scores" / f"{index:03d}.mid"))
    modalities = {"audio": SoundFront(encoder="log_mel:10"), "score": ScoreFront()}
    made = {"cuts": (speech / "cuts",), "source": speech / "scores"}
    make(speech, pairs.Scores(window=0.25), modalities, max_skipped=0.2, **made)
    corpus = PairCorpus(speech / "pairs")
    assert corpus.modalities["score"].size == 264
    assert set(corpus.lengths("score").tolist()) == {5}


# lhotse leaves it to the garbage collector to close what it reads.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_arrays_of_a_shar_folder(tmp_path):
    folder = tmp_path / "shar"
    folder.mkdir()
    generator = np.random.default_rng(0)
    values = generator.standard_normal((6, 3, 4)).astype(np.float32)
    values[2, 0, 0] = np.inf
    cuts = []
    with (
        ArrayTarWriter(f"{folder}/image.%06d.tar", shard_size=3, compression="numpy") as image,
        ArrayTarWriter(f"{folder}/text.%06d.tar", shard_size=3, compression="numpy") as text,
    ):
        for index in range(6):
            cut = MonoCut(f"c{index}", 0.0, 1.0, 0, custom={"concept": f"k{index // 2}"})
            image.write(cut.id, values[index], cut.attach_tensor("image", values[index]).image)
            text.write(cut.id, values[index, 0], cut.attach_tensor("text", values[index, 0]).text)
            cuts.append(cut)
    with JsonlShardWriter(f"{folder}/cuts.%06d.jsonl.gz", shard_size=3) as writer:
        for cut in CutSet.from_cuts(cuts):
            writer.write(cut)
    kind = pairs.Shar(fields={"picture": "image", "words": "text"})
    modalities = {"picture": ArrayFront(), "words": ArrayFront()}
    make(tmp_path, kind, modalities, source=folder, max_skipped=0.2)
    corpus = PairCorpus(tmp_path / "pairs")
    assert [row["id"] for row in corpus.rows] == ["c0", "c1", "c3", "c4", "c5"]
    np.testing.assert_allclose(corpus.values("picture", 2), values[3], atol=1e-3)
    assert corpus.values("words", 0).shape == (1, 4)


def test_batches_are_alike_on_any_number_of_ranks_and_gains_are_not_shared_by_the_modalities(
    speech,
):
    modalities = {"a": SoundFront(encoder="log_mel:10"), "b": SoundFront(encoder="log_mel:10")}
    make(speech, pairs.Encoders(window=0.25), modalities, cuts=(speech / "cuts",))
    corpus = PairCorpus(speech / "pairs")
    plan = PlanConfig(seed=3, batch_size=8, num_buckets=1)
    views = PairViewsConfig(gain=6.0, masks=1)
    source = PairSource(corpus, np.arange(len(corpus)), plan, views)
    whole = source.load(Position(1, 0))
    halves = [source.load(Position(1, 0), rank, 2) for rank in range(2)]
    for modality in "ab":
        assert torch.equal(
            torch.cat([half.modalities[modality] for half in halves]), whole.modalities[modality]
        )
    plain = PairSource(corpus, np.arange(len(corpus)), plan, PairViewsConfig(gain=6.0))
    batch = plain.load(Position(1, 0))
    first, second = batch.modalities["a"][:, 0], batch.modalities["b"][:, 0]
    shifts = first - second  # one view of one clip: they differ by a gain and nothing else
    torch.testing.assert_close(shifts, shifts[:, :1].expand_as(shifts), atol=0.02, rtol=0)
    assert shifts[:, 0].abs().max() > 0.1
    assert shifts.abs().max() <= 2 * 6.0 * np.log(10) / 10 + 0.02


def test_tones_are_told_apart_by_what_is_stored(speech):
    modalities = {"a": SoundFront(encoder="log_mel:40"), "b": SoundFront(encoder="log_mel:40")}
    make(speech, pairs.Encoders(window=9.0), modalities, cuts=(speech / "cuts",))
    corpus = PairCorpus(speech / "pairs")
    encoder = load_encoder("log_mel:40")
    expected = encoder(torch.from_numpy(tone(0.5, 200))[None], torch.tensor([8000]))
    # Where there is no tone, the corpus holds what rounding to 16 bits left.
    loud = expected.vectors[0].numpy() > 0
    np.testing.assert_allclose(
        corpus.values("a", 0)[loud], expected.vectors[0].numpy()[loud], atol=0.05
    )
    assert loud.any()


def test_modalities_begin_with_the_weights_of_other_encoders(speech):
    modalities = {"speech": SoundFront(encoder="log_mel:16"), "text": TextFront()}
    make(speech, pairs.Transcripts(), modalities, cuts=(speech / "cuts",), max_skipped=0.2)
    network = replace(ZIPFORMER, num_bins=16)
    write_encoder(speech / "network", Zipformer(network), {})
    still = LoopConfig(steps=1, optimizer=AdamWConfig(rate=0.0))
    encoders, initial = {"speech": network, "text": TEXT}, {"speech": str(speech / "network")}
    learn(speech, "run", encoders, loop=still, initial_weights=initial)
    trained = load_matching(speech / "run").method.encoder["speech"].network.state_dict()
    expected = load_encoder(speech / "network").state_dict()
    for name, value in expected.items():
        assert torch.equal(trained[name], value), name
    for name, words in (("text", "is no network of sound"), ("b", "no modality 'b'")):
        with pytest.raises(UserError, match=words):
            learn(speech, name, encoders, initial_weights={name: initial["speech"]})


def test_kinds_that_lack_what_they_need_say_so(tmp_path, speech):
    modalities = {"speech": SoundFront(), "text": TextFront()}
    with pytest.raises(UserError, match="need the output of a prepare stage as cuts"):
        make(tmp_path, pairs.Transcripts(), modalities, "one")
    with pytest.raises(UserError, match="need a file or folder as source"):
        make(tmp_path, pairs.Manifest(), modalities, "two")
    with pytest.raises(UserError, match="has no stem 'drums'"):
        make(tmp_path, pairs.Stems(stems=("drums",)), modalities, "three", cuts=(speech / "cuts",))
