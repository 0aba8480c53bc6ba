"""The table of parts that the entry point of the group `seqlab.plugins` names; it must not import torch.

In `pyproject.toml`:

    [project.entry-points."seqlab.plugins"]
    seqlab_outside = "seqlab_outside.table:PARTS"

Without an installation, `--plugin seqlab_outside.table` has the same effect. Each part is imported when it is first
used.
"""

PARTS = {
    "model": {
        "convolutional": (
            "seqlab_outside.convolutional:ConvolutionalConfig",
            "a convolutional encoder-decoder (Gehring et al. 2017)",
        ),
        "bags": ("seqlab_outside.similarity.model:BagsConfig", "two encoders that average token embeddings"),
    },
    "encoder": {
        "neighbors": ("seqlab_outside.neighbors:NeighborsConfig", "a linear map of three neighboring vectors"),
    },
    "objective": {
        "contrastive": ("seqlab_outside.similarity.model:ContrastiveConfig", "contrastive loss over pairs (CLIP)"),
        "focal": ("seqlab_outside.focal:FocalConfig", "cross entropy with less weight on easy tokens"),
    },
    "schedule": {
        "triangle": ("seqlab_outside.triangle:TriangleConfig", "linear increase to the peak, then linear decrease"),
    },
    "metric": {
        "distinct": ("seqlab_outside.distinct:distinct", "share of different bigrams in the hypotheses"),
    },
    "task": {
        "similarity": ("seqlab_outside.similarity.config:SimilarityConfig", "pairs of texts with the same meaning"),
    },
    "tokenizer": {
        "bytes": ("seqlab_outside.byte_tokenizer:BytesConfig", "bytes as tokens"),
    },
    "exporter": {
        "token_list": ("seqlab_outside.token_list:TokenListFormat", "the target tokens, one per line"),
    },
    "command": {
        "bigrams": ("seqlab_outside.bigrams:BIGRAMS", "list the most frequent bigrams of a file"),
        "similarity": ("seqlab_outside.similarity.inference:SIMILARITY", "compute the similarity of pairs of texts"),
    },
}
