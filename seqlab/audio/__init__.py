"""Audio: reading, resampling, log-mel features and augmentation of recordings.

`seqlab.audio.reading` decodes audio files, `seqlab.audio.features` computes log-mel frames, and
`seqlab.audio.augmentation` augments waveforms and frames for training. Reading, resampling and the telephone codecs
need the packages soundfile and soxr: `pip install 'seqlab[audio]'`. This module imports nothing, so that these packages
and torch are imported only where they are used.
"""
