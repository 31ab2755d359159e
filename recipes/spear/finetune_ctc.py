"""Stage: fine-tune an encoder to transcribe, with CTC over characters; score by WER and CER."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from audiossl import distributed
from audiossl.atomic_files import write_json, write_text
from audiossl.data.labeled_cuts import LabeledCuts, Symbols, TextCuts
from audiossl.data.text_units import normalized
from audiossl.methods.transcription import Transcription, TranscriptionConfig
from audiossl.probing.transcripts import character_error_rate, word_error_rate
from recipes.pretraining import pretrain
from recipes.spear.finetuning import FinetuneConfig, answers, open_encoder, seeds, write_head
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(FinetuneConfig):
    """Fine-tune an encoder to transcribe."""

    method: TranscriptionConfig = field(default_factory=TranscriptionConfig)
    """CTC head and its training."""


def finetune(config: Config, stage: Stage) -> dict[str, Any]:
    """Train, transcribe the test cuts greedily, and score."""
    plan = seeds(config)
    cuts = LabeledCuts(config.cuts, config.train)
    test = LabeledCuts(config.cuts, dataclasses.replace(config.train, where=config.test))
    symbols = Symbols.of(cuts.labels)
    stage.log.info(
        "%d cuts to learn from, %d to score, %d characters: %s",
        len(cuts.cuts), len(test.cuts), len(symbols.characters), symbols.characters,
    )  # fmt: skip
    method = Transcription(open_encoder(config), config.method, len(symbols.characters))
    figures = pretrain(method, TextCuts(cuts, symbols, plan), config, stage)
    hypotheses = [
        symbols.decode(reply) for reply in answers(method, test, method.transcribe, stage)
    ]
    references = [normalized(label) for label in test.labels]
    words, characters = (
        word_error_rate(references, hypotheses),
        character_error_rate(references, hypotheses),
    )
    scores = {
        "wer": words.rate, "cer": characters.rate, "words": words.count,
        "characters": characters.count, "cuts": len(references),
    }  # fmt: skip
    stage.log.info("WER %.4f, CER %.4f on %d cuts", words.rate, characters.rate, len(references))
    write_head(stage, method)
    if distributed.is_first():
        names = [test.corpus.name(int(cut)) for cut in test.cuts]
        rows = [
            {"id": name, "reference": one, "hypothesis": other}
            for name, one, other in zip(names, references, hypotheses, strict=True)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(stage.output / "transcripts.jsonl", lines)
        write_json(stage.output / "symbols.json", list(symbols.characters))
        write_json(stage.output / "scores.json", scores)
    return {**figures, "scores": scores}


if __name__ == "__main__":
    main(Config, finetune, "recipes.spear.finetune_ctc")
