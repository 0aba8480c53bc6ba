"""Train a speech recognizer on recordings with transcripts, and measure its word error rate on a test set.

    python train_asr.py [RUN_DIR] [TRAIN.jsonl TEST.jsonl]

A JSONL file has one line per recording: {"audio": "a.wav", "text": "its transcript"}. Without files, the script
generates recordings of number phrases in which each letter is a tone.
"""

import json
import sys
from pathlib import Path

import seqlab
from seqlab.corpora.number_tones import write
from seqlab.evaluation import evaluate
from seqlab.text.transcripts import normalize_transcript

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/train_asr")
    fields = {
        "data.kind": "transcription",
        "model.encoder.family": "gru",
        "model.encoder.hidden_size": 128,
        "model.encoder.num_layers": 1,
        "model.channels": [16, 16],
    }
    if len(sys.argv) > 3:
        fields |= {"data.train": sys.argv[2]}
        test = Path(sys.argv[3])
    else:
        lists = write(folder / "tones", num_phrases={"train": 500, "valid": 30, "test": 30})
        test = lists["test"]
        fields |= {"data.train": lists["train"], "data.valid": lists["valid"], "data.num_bands": 40}
        fields |= {"training.max_steps": 500, "training.valid_every": 100, "optim.optimizer.lr": 4e-3}
    run_dir = seqlab.train(seqlab.config_for(fields), folder / "run")

    records = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    paths = [test.parent / record["audio"] for record in records]
    transcripts = seqlab.load(run_dir).transcribe_detailed(paths, times=True)
    for record, transcript in list(zip(records, transcripts, strict=True))[:3]:
        print(f"reference:  {record['text']}\nhypothesis: {transcript.text}")
        for word in transcript.words:
            print(f"  {word.start:5.2f} to {word.end:5.2f} s  {word.text} ({word.confidence:.2f})")
    references = [normalize_transcript(record["text"], "plain") for record in records]
    scores = evaluate([each.text for each in transcripts], [references], ["wer", "cer"])
    print(*(score.as_line() for score in scores.values()), sep="\n")
