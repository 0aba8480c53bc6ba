"""Sequence modeling with PyTorch, from raw text or audio to a trained and evaluated model.

`seqlab.config_for(fields)` chooses a config for your files, and `seqlab.recipe(name)` returns that of a recipe.
`seqlab.train(config)` trains, `seqlab.train_folds` cross-validates, and `seqlab.range_test` finds a learning rate.
`seqlab.load(run_dir)` loads a trained run, `seqlab.evaluate` computes metrics of its output, and
`seqlab.register(kind)` adds your own parts. The packages `seqlab.nn`, `search`, `models`, `objectives`, `optim` and
`data` contain layers, searches, configs and batches.

Names are imported at their first use: neither this file nor `register` imports torch.
"""

import lazy_loader

__version__ = "0.3.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
