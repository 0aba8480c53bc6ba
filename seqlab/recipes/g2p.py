"""Spelling to sound in six languages (Ashby et al. 2021): a bidirectional LSTM that attends, or a Transformer."""

from seqlab.corpora import locate
from seqlab.corpora.g2p2021 import LANGUAGES
from seqlab.data.config import ParallelConfig
from seqlab.models import LstmConfig, TransformerConfig
from seqlab.recipes.words import WordModel, word_recipes
from seqlab.text import CharactersConfig, WordsConfig

MODELS = [
    WordModel(
        "",
        LstmConfig(hidden_size=256, embedding_size=128, num_encoder_layers=2, tied_embeddings="decoder", dropout=0.4),
        2e-3,
        "a bidirectional LSTM that attends",
    ),
    WordModel(
        "_transformer",
        TransformerConfig(d_model=128, d_ff=512, num_heads=4, tied_embeddings="decoder", dropout=0.3),
        1e-3,
        "a Transformer",
    ),
]


def _words(language: str) -> ParallelConfig:
    """Letters, taken apart where Unicode knows their parts, and sounds."""
    splits = locate("g2p2021")
    files = {split: str(splits[split][language]) for split in ("train", "valid", "test")}
    return ParallelConfig(
        train_src=[f"{files['train']}#0"],
        train_tgt=[f"{files['train']}#1"],
        valid_src=f"{files['valid']}#0",
        valid_tgt=[f"{files['valid']}#1"],
        test_src=[f"{files['test']}#0"],
        test_tgt=[f"{files['test']}#1"],
        tokenizer=CharactersConfig(normalization="nfd"),
        tokenizer_tgt=WordsConfig(normalization="none"),
        joint_vocabulary=False,
        max_length_ratio=20.0,
        batch_tokens=512,
        micro_batch_tokens=1024,
    )


G2P_RECIPES = word_recipes(
    "g2p", [(code, f"{name}, from spelling to sound") for code, name in LANGUAGES.items()], MODELS, _words
)
