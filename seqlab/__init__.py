"""Sequence modelling on PyTorch: raw text to a trained model, decoded with and measured.

`seqlab.config_for(fields)` chooses a config for your files, `seqlab.recipe(name)` gives one of the recipes'.
`seqlab.train(config)` trains, `seqlab.train_folds` cross-validates, `seqlab.range_test` looks for a learning rate,
`seqlab.load(run_dir)` gives a trained run, `seqlab.evaluate` scores its output, and `seqlab.register(kind)` adds parts
of your own. The packages `seqlab.nn`, `search`, `models`, `objectives`, `optim` and `data` have the layers, searches,
configs and batches.

Names are imported when they are asked for: neither this file nor `register` imports torch.
"""

import lazy_loader

__version__ = "0.2.0.dev0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
