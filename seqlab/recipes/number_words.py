"""Translation of generated number, date and time phrases, English-German, trained in about a minute."""

from pathlib import Path

from seqlab.corpora import number_words as corpus
from seqlab.models import TransformerConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig


def number_words(run_dir: str | Path) -> Config:
    """English-German number, date and time phrases, generated into `run_dir/data`: a small Transformer."""
    folder = generated_data(run_dir, corpus.write, "number_words")
    return Config(
        data=TranslationConfig(
            train_src=[str(folder / "train.en")],
            train_tgt=[str(folder / "train.de")],
            valid_src=str(folder / "valid.en"),
            valid_tgt=[str(folder / "valid.de")],
            tokenizer=SentencePieceBpeConfig(vocab_size=600),
            batch_tokens=1024,
            micro_batch_tokens=1600,
        ),
        model=TransformerConfig(d_model=128, d_ff=512, num_heads=8, num_encoder_layers=2, num_decoder_layers=2),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=OptimConfig(
            optimizer=AdamConfig(lr=2e-3), schedule=LinearScheduleConfig(warmup_steps=150), ema_decay=0.99
        ),
        training=TrainingConfig(
            max_steps=1500, log_every=30, save_every=75, valid_every=750, valid_metric="exact_match"
        ),
    )
