"""Recordings to waveforms to feature frames: reading, resampling, log-mel features, augmentation.

`seqlab.audio.reading` decodes audio files, `seqlab.audio.features` computes log-mel frames and
`seqlab.audio.augmentation` changes both for training. Reading, resampling and the telephone codecs need the packages
soundfile and soxr: `pip install 'seqlab[audio]'`. Nothing is imported here, as they and torch are imported only where
they are used.
"""
