"""Faults of speech data and speech models: see `tests/planted_faults.py`."""

from reference.fault import Fault

SPEECH_FAULTS = (
    Fault(
        "speech.convolutions_read_padding",
        "a recording's last frames depend on the padding of its batch",
        "        x = zero_padding(x, lengths)\n",
        "",
        ("nn/test_frame_convolution.py", "models/test_recognizer.py"),
    ),
    Fault(
        "speech.frames_rounded_down",
        "the last frame of a recording of odd length is lost",
        "return (lengths + stride - 1) // stride",
        "return lengths // stride",
        ("nn/test_frame_convolution.py", "models/test_recognizer.py"),
    ),
    Fault(
        "speech.local_attention_unlimited",
        "local attention attends to all positions",
        "return (positions[:, None] - positions).abs() <= window",
        "return (positions[:, None] - positions).abs() <= size",
        ("models/test_recognizer.py",),
    ),
    Fault(
        "speech.validation_is_augmented",
        "validation recordings are augmented",
        "frames = [self.codec.frames(self.recordings.waveform(index)) for index in indices[rows].tolist()]",
        "frames = [self._augmented_frames(index, 0) for index in indices[rows].tolist()]",
        ("data/test_recordings.py",),
    ),
    Fault(
        "speech.same_augmentation_in_all_epochs",
        "a recording has the same augmentation in each epoch",
        "seeded_generator(self.seed, epoch, index, AUGMENTATION_STREAM)",
        "seeded_generator(self.seed, 0, index, AUGMENTATION_STREAM)",
        ("data/test_recordings.py",),
    ),
    Fault(
        "speech.normalized_by_wrong_divisor",
        "standard deviations of a recording are divided by n - 1 instead of n",
        "deviations = frames.std(0, correction=0)",
        "deviations = frames.std(0, correction=1)",
        ("audio/test_features.py", "audio/test_real_recordings.py", "data/test_recordings.py"),
    ),
    Fault(
        "speech.synthetic_speech_of_held_out_texts",
        "synthetic speech of held-out texts is used for training",
        "extra = np.array([i for i in extra if texts[i] not in held_out], np.int64)",
        "extra = np.array([i for i in extra], np.int64)",
        ("data/test_recordings.py",),
    ),
    Fault(
        "speech.test_fold_is_trained_on",
        "the held-out fold is used for training",
        "test, rest = listed[is_test], listed[~is_test]",
        "test, rest = listed[is_test], listed",
        ("data/test_recordings.py",),
    ),
    Fault(
        "speech.tokens_in_silence",
        "a token may be placed in silence",
        "frame_costs[index, : len(is_silent)] = torch.from_numpy(is_silent * SILENCE_COST)",
        "pass",
        ("transcription/test_timing.py", "transcription/test_transcribing.py"),
    ),
    Fault(
        "speech.time_of_the_first_frame",
        "times are half a frame late",
        "start, end = ((frame - 0.5) * timing.hop + timing.middle for frame in (first, last + 1))",
        "start, end = (frame * timing.hop + timing.middle for frame in (first, last + 1))",
        ("transcription/test_timing.py", "transcription/test_transcribing.py"),
    ),
    Fault(
        "speech.speakers_in_validation",
        "validation has speakers of the training recordings",
        "before, is_valid = is_valid, _hold_out_groups(",
        "before, _ = is_valid, _hold_out_groups(",
        ("data/test_recordings.py",),
    ),
    Fault(
        "speech.channel_of_list_ignored",
        "an option wins over the channel that a list names",
        "if channel and not self.channel else self",
        "if channel else self",
        ("inference/test_recordings.py",),
    ),
    Fault(
        "speech.vowels_deleted",
        "normalization deletes the vowels of Thai",
        'return "".join(each for each in match[0] if unicodedata.category(each)[0] not in "PS")',
        'return ""',
        ("text/test_transcripts.py",),
    ),
    Fault(
        "speech.empty_line_lost",
        "an unreadable recording has no line in the output",
        "        for index, (recording, each) in enumerate(zip(recordings, waveforms, strict=True))\n"
        "        ]\n\n    def _read(",
        "        for index, (recording, each) in enumerate(zip(recordings, waveforms, strict=True))\n"
        "            if not isinstance(each, str)\n"
        "        ]\n\n    def _read(",
        ("transcription/test_transcribing.py",),
    ),
    Fault(
        "speech.silence_transcribed",
        "a silent recording gets a transcript",
        "else peak_db(samples) >= MIN_PEAK_DB",
        "else True",
        ("transcription/test_transcribing.py",),
    ),
    Fault(
        "speech.missing_texts_trained",
        "a text such as `NaN` is a transcript",
        "missing = _texts_of_missing_values(config, recordings)",
        "missing = dict[int, str]()",
        ("data/test_recording_lists.py",),
    ),
    Fault(
        "speech.unread_segments",
        "a segment in columns that are not read is the whole recording in training",
        "if problem := unread_segment(*properties):",
        "if problem := '':",
        ("data/test_recording_lists.py",),
    ),
    Fault(
        "speech.channels_that_differ",
        "a recording whose channels differ has no warning",
        "if correlation < MIN_CORRELATION:",
        "if False:",
        ("audio/test_quality.py",),
    ),
    Fault(
        "speech.clipping_below_full_scale",
        "recordings that are clipped below full scale have no warning",
        "peaks.add(mono)",
        "pass",
        ("audio/test_quality.py",),
    ),
)
