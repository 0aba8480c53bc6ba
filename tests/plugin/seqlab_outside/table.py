"""The table of parts that an entry point of the group `seqlab.plugins` leads to; it must not import torch.

In `pyproject.toml`:

    [project.entry-points."seqlab.plugins"]
    seqlab_outside = "seqlab_outside.table:PARTS"

Without an installation `--plugin seqlab_outside.table` does the same. Each part is imported when it is first used.
"""

PARTS = {
    "model": {
        "convolutional": (
            "seqlab_outside.convolutional:ConvolutionalConfig",
            "a convolutional encoder-decoder (Gehring et al. 2017)",
        ),
        "bags": ("seqlab_outside.similarity.model:BagsConfig", "bags of embeddings, whose vectors are compared"),
    },
    "objective": {
        "contrastive": ("seqlab_outside.similarity.model:ContrastiveConfig", "partners among others (CLIP)"),
        "focal": ("seqlab_outside.focal:FocalConfig", "cross entropy that looks away from what is easy"),
    },
    "schedule": {
        "triangle": ("seqlab_outside.triangle:TriangleConfig", "up to the peak and down again"),
    },
    "metric": {
        "distinct": ("seqlab_outside.distinct:distinct", "share of the hypotheses' bigrams that are different"),
    },
    "task": {
        "similarity": ("seqlab_outside.similarity.config:SimilarityConfig", "pairs of texts that mean the same"),
    },
    "tokenizer": {
        "bytes": ("seqlab_outside.byte_tokenizer:BytesConfig", "an id for each byte"),
    },
    "exporter": {
        "token_list": ("seqlab_outside.token_list:TokenListFormat", "the tokens, one a line"),
    },
    "command": {
        "bigrams": ("seqlab_outside.bigrams:BIGRAMS", "list the most frequent bigrams of a file"),
        "similarity": ("seqlab_outside.similarity.use:SIMILARITY", "tell how similar texts are"),
    },
}
