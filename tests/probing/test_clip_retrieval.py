import numpy as np
import pytest
import soundfile
from sklearn.metrics import average_precision_score

from audiossl.cli import main
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.clip_retrieval import retrieve_clips
from audiossl.probing.retrieval import average_precisions

FEW = BootstrapConfig(replicates=50)


def made(clips: int = 60, classes: int = 3, groups: int = 20, noise: float = 1.0, seed: int = 0):
    generator = np.random.default_rng(seed)
    targets = np.eye(classes, dtype=bool)[np.arange(clips) % classes]
    vectors = targets @ generator.normal(size=(classes, 8))
    return vectors + noise * generator.normal(size=(clips, 8)), targets, np.arange(clips) % groups


def test_average_precision_is_scikit_learns():
    generator = np.random.default_rng(1)
    similarity = generator.normal(size=(20, 30))
    relevant, pool = generator.random((20, 30)) < 0.2, generator.random((20, 30)) < 0.8
    relevant &= pool
    relevant[0] = False
    found = average_precisions(similarity, relevant, pool)
    assert np.isnan(found[0])
    expected = [
        average_precision_score(relevant[row][pool[row]], similarity[row][pool[row]])
        for row in range(1, 20)
    ]
    np.testing.assert_allclose(found[1:], expected)


def test_ties_are_no_merit_and_what_is_no_number_is_no_success():
    relevant, pool = np.array([[False, True, False]]), np.ones((1, 3), bool)
    for similarity in (np.zeros((1, 3)), np.full((1, 3), np.nan)):
        assert average_precisions(similarity, relevant, pool).tolist() == [1 / 3]


def test_clips_of_the_own_group_are_no_candidates():
    vectors, targets, _ = made(noise=0.0)
    recordings = np.arange(60) // 2
    # Both clips of a recording have one vector, which is no other's and says nothing of the class.
    vectors = np.random.default_rng(2).normal(size=(30, 8))[recordings]
    targets = np.eye(3, dtype=bool)[recordings % 3]
    alike = retrieve_clips(vectors, targets, np.arange(60), FEW, ks=[1])
    found = retrieve_clips(vectors, targets, recordings, FEW, ks=[1])
    assert alike.recall[1].score == 1.0
    assert abs(found.recall[1].score - found.recall_chance[1]) < 0.25


def test_scores_are_those_of_a_loop_over_queries():
    vectors, targets, groups = made(noise=2.0)
    found = retrieve_clips(vectors, targets, groups, FEW, ks=[1, 5])
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    precisions, first, among_five = [], [], []
    for query in range(60):
        pool = np.flatnonzero(groups != groups[query])
        similar = units[pool] @ units[query]
        right = (targets[pool] & targets[query]).any(axis=1)
        ordered = right[np.argsort(-similar)]
        precisions.append(average_precision_score(right, similar))
        first.append(ordered[0])
        among_five.append(ordered[:5].any())
    assert found.num_queries == 60
    assert found.average_precision.score == pytest.approx(np.mean(precisions))
    assert found.recall[1].score == pytest.approx(np.mean(first))
    assert found.recall[5].score == pytest.approx(np.mean(among_five))
    assert found.average_precision.low < found.average_precision.score


def test_chance_is_what_vectors_without_meaning_give():
    generator = np.random.default_rng(3)
    _, targets, groups = made(clips=300, groups=100)
    draws = [
        retrieve_clips(generator.normal(size=(300, 16)), targets, groups, FEW, ks=[5])
        for _ in range(5)
    ]
    for of in (
        lambda one: (one.recall[5].score, one.recall_chance[5]),
        lambda one: (one.average_precision.score, one.average_precision_chance),
    ):
        score, chance = np.mean([of(one) for one in draws], axis=0)
        assert score == pytest.approx(chance, abs=0.03)


def test_clips_that_no_other_can_be_told_from_are_refused():
    vectors, targets, groups = made()
    for labels, of in ((np.ones((60, 1), bool), groups), (targets, np.zeros(60))):
        with pytest.raises(UserError, match="give more clips, or another --group"):
            retrieve_clips(vectors, labels, of, FEW)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Tones and noises, of two recordings each."""
    folder = tmp_path_factory.mktemp("sounds")
    generator, time = np.random.default_rng(0), np.arange(8000) / 16000
    rows = ["path,kind,tape"]
    for number in range(8):
        tone = np.sin(2 * np.pi * (500 + 20 * number) * time)
        sound = (tone, generator.normal(size=8000))[number % 2]
        soundfile.write(folder / f"{number}.wav", 0.1 * sound, 16000)
        rows.append(f"{number}.wav,{('tone', 'noise')[number % 2]},{number // 4}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_command_tells_tones_from_noise(sounds, capsys):
    words = ["retrieve", f"{sounds}", "--labels", f"{sounds / 'labels.csv'}", "--device", "cpu"]
    words += ["--encoder", "log_mel:20", "--replicates", "50"]
    assert main([*words, "--label", "kind", "--group", "tape"]) == 0
    told = capsys.readouterr().out
    assert "recall@1   1.000 [1.000, 1.000]  0.500" in told
    assert "mAP        1.000" in told
    assert "8 queries of 8 clips, 2 groups" in told
    for wrong, message in (
        (["--label", "knd"], "knd: no clip has this label; did you mean 'kind'?"),
        (["--label", ""], "'': no clip has this label (there are"),
        (["--label", "kind", "--group", "kind"], "give more clips, or another --group"),
    ):
        assert main([*words, *wrong]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error


def test_a_bar_at_an_end_of_a_label_makes_no_class_that_clips_share(sounds, capsys):
    table = sounds / "bars.csv"
    rows = [f"{number}.wav,{('tone|', '|noise')[number % 2]}" for number in range(8)]
    table.write_text("\n".join(["path,kind", *rows]) + "\n")
    words = ["retrieve", f"{sounds}", "--labels", f"{table}", "--label", "kind", "--device", "cpu"]
    assert main([*words, "--encoder", "log_mel:20", "--replicates", "50"]) == 0
    assert "8 queries of 8 clips" in capsys.readouterr().out
