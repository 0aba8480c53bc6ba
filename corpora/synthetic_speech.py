"""Speech synthesis with the programs `espeak-ng` and `flite`, in many voices, rates and pitches.

A voice of espeak-ng consists of an accent and a variant, for example `en-us+f3`. Voices of flite, which are English
only, have names such as `flite/slt`.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from seqlab.corpora.recordings import GeneratedRecording, Samples, add_background, scale_to_int16, write_recordings

UNCLEAR_VARIANTS = {
    "Alicia", "AnxiousAndy", "Demonic", "Marco", "UniRobot", "announcer", "kaukovalta", "robosoft", "robosoft2",
    "robosoft3", "whisper", "whisperf", "zac",
}  # fmt: skip
"""Variants that whisper, echo or drawl, or that differ most from the other variants in their time-warped cepstra."""
DUPLICATE_VARIANTS = {"caleb", "fast", "klatt6"}
"""Variants that sound exactly like another variant or like the voice without a variant."""
FLITE_VOICES = ("flite/awb", "flite/kal16", "flite/rms", "flite/slt")
FLITE_RATE_WPM = 175
"""Approximate default rate of flite in words per minute."""

RATES_WPM = (120, 220)
"""Range of the speech rate in words per minute."""
PITCH_RANGE = (25, 75)
"""Range of the pitch, in espeak-ng's units from 0 to 99."""
SNR_DB = (12.0, 40.0)
"""Range of the signal-to-noise ratio."""
LEVEL_DB = 6.0
"""Maximum difference between the level of a recording and `MEAN_RMS`."""
MEAN_RMS = 0.08
"""Mean level of recordings; full scale is 1."""
ESPEAK_AMPLITUDE = "60"
"""Amplitude option of espeak-ng; with its default of 100, loud variants clip."""
NUM_THREADS = 4
UTTERANCES_PER_BLOCK = 64
"""Number of utterances that are synthesized before the first of them is returned."""


@dataclass(frozen=True)
class Utterance:
    """A text with the voice, rate and pitch of its synthesis."""

    text: str
    voice: str = "en-us+m1"
    """One of `voices(language)` or `FLITE_VOICES`."""
    rate_wpm: int = 175
    """Words per minute, 80 to 450."""
    pitch: int = 50
    """0 to 99; 50 is the default of the voice. Voices of flite ignore it."""


def find_espeak() -> str:
    """Return the path of `espeak-ng`; raise FileNotFoundError if it is not installed."""
    return _find_program("espeak-ng")


def find_flite() -> str:
    """Return the path of `flite`; raise FileNotFoundError if it is not installed."""
    return _find_program("flite")


def _find_program(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(f"Speech synthesis needs the program {program}: apt-get install {program}.")
    return path


def accents(language: str = "en") -> list[str]:
    """Return the sorted accents of a language in espeak-ng, such as `en-us` and `en-gb-scotland`.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ValueError: espeak-ng has no voice for the language.
    """
    lines = [line.split() for line in _list_voices(find_espeak(), language)]
    # Voices in mb/ need the program mbrola; entries in !v/ are variants.
    all_accents = {columns[1] for columns in lines if not columns[4].startswith(("mb/", "!v/"))}
    matching = sorted(accent for accent in all_accents if accent.split("-")[0] == language)
    if not matching:
        raise ValueError(f"espeak-ng has no voice for `language` {language!r}: `espeak-ng --voices` lists all voices.")
    return matching


def variants() -> list[str]:
    """Return the sorted voice variants that are intelligible and distinct, such as `f3` and `klatt2`."""
    return [variant for variant in _all_variants(find_espeak()) if variant not in UNCLEAR_VARIANTS | DUPLICATE_VARIANTS]


def voices(language: str = "en") -> list[str]:
    """Return the voices of espeak-ng in a language: each accent with each variant; errors as in `accents`."""
    return [f"{accent}+{variant}" for accent in accents(language) for variant in variants()]


@lru_cache
def _list_voices(espeak: str, language: str) -> list[str]:
    """Return the lines of `espeak-ng --voices=LANGUAGE`."""
    done = subprocess.run([espeak, f"--voices={language}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[1:]


@lru_cache
def _all_variants(espeak: str) -> list[str]:
    matches = (re.search(r"!v/(.+?)\s*(?:\(|$)", line) for line in _list_voices(espeak, "variant"))
    return sorted({match[1] for match in matches if match})


def synthesize(text: str, voice: str = "en-us+m1", rate_wpm: int = 175, pitch: int = 50) -> tuple[Samples, int]:
    """Synthesize a text; return its 16-bit samples and their sampling rate. The result is deterministic.

    Raises:
        FileNotFoundError: the program of the voice is not installed.
        ValueError: the voice is unknown, the rate or pitch is out of range, or the result is silence.
    """
    if not 80 <= rate_wpm <= 450:
        raise ValueError(f"`rate_wpm` must be from 80 to 450, but is {rate_wpm} instead.")
    if not 0 <= pitch <= 99:
        raise ValueError(f"`pitch` must be from 0 to 99, but is {pitch} instead.")
    run = _run_flite if voice.startswith("flite/") else _run_espeak
    output = run(" ".join(text.split()), voice, rate_wpm, pitch)
    samples, sample_rate = _parse_wav(output)
    if not samples.any():
        raise ValueError(f"`text` must contain words, but {text!r} is spoken as silence by {voice}.")
    return samples, sample_rate


def _run_espeak(text: str, voice: str, rate_wpm: int, pitch: int) -> bytes:
    espeak = find_espeak()
    accent, _, variant = voice.partition("+")
    if variant and variant not in _all_variants(espeak):  # espeak-ng would ignore it
        raise ValueError(f"`voice` {voice!r} has the unknown variant {variant!r}: `voices(language)` lists all voices.")
    command = [espeak, "-v", voice, "-s", str(rate_wpm), "-p", str(pitch), "-a", ESPEAK_AMPLITUDE, "-b", "1"]
    # double brackets would be read as phonemes
    read = text.replace("[[", "[ [").encode()
    done = subprocess.run([*command, "--stdin", "--stdout"], input=read, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(
            f"espeak-ng failed with `voice` {voice!r} (accent {accent!r}): {done.stderr.decode().strip()} "
            "`voices(language)` lists all voices."
        )
    return done.stdout


def _run_flite(text: str, voice: str, rate_wpm: int, pitch: int) -> bytes:
    del pitch
    flite = find_flite()
    if voice not in FLITE_VOICES:
        raise ValueError(f"`voice` must be one of {', '.join(FLITE_VOICES)} for flite, but is {voice!r} instead.")
    stretch = f"duration_stretch={FLITE_RATE_WPM / rate_wpm:.3f}"
    command = [flite, "-voice", voice.removeprefix("flite/"), "--setf", stretch, "-t", text, "-o", "/dev/stdout"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _parse_wav(content: bytes) -> tuple[Samples, int]:
    """Parse a 16-bit mono WAV that was written to a pipe, without a length in its header; return samples and rate."""
    start = content.find(b"data") + 8
    if not content.startswith(b"RIFF") or start < 8:
        return np.zeros(0, np.int16), 0
    end = start + (len(content) - start) // 2 * 2
    return np.frombuffer(content[start:end], "<i2").astype(np.int16), int.from_bytes(content[24:28], "little")


def synthesize_many(
    utterances: Iterable[Utterance], sample_rate: int = 16_000, num_threads: int = NUM_THREADS
) -> Iterator[Samples]:
    """Synthesize utterances in parallel, and yield their samples at `sample_rate` in order.

    Raises:
        FileNotFoundError, ValueError: as in `synthesize`.
        ModuleNotFoundError: soxr, which is needed for resampling, is not installed.
    """
    resample = _resampler()

    def synthesize_and_resample(utterance: Utterance) -> Samples:
        samples, source_rate = synthesize(utterance.text, utterance.voice, utterance.rate_wpm, utterance.pitch)
        return np.asarray(resample(samples, source_rate, sample_rate), dtype=np.int16)

    remaining = iter(utterances)
    with ThreadPoolExecutor(num_threads) as pool:
        while block := list(islice(remaining, UTTERANCES_PER_BLOCK)):
            yield from pool.map(synthesize_and_resample, block)


def _resampler() -> Callable[..., Samples]:
    try:
        import soxr
    except ImportError:
        raise ModuleNotFoundError("Resampling speech needs soxr: pip install 'seqlab[audio]'.") from None
    return soxr.resample


def draw_utterance(text: str, speakers: Sequence[str], generator: np.random.Generator) -> Utterance:
    """Draw a random voice, rate and pitch for a text."""
    voice = speakers[int(generator.integers(len(speakers)))]
    rate, pitch = (int(generator.integers(low, high + 1)) for low, high in (RATES_WPM, PITCH_RANGE))
    return Utterance(text, voice, rate, pitch)


def generate_recordings(
    texts: Sequence[str], speakers: Sequence[str], seed: Sequence[int], sample_rate: int
) -> Iterator[GeneratedRecording]:
    """Synthesize each text with a random voice, rate, pitch and level, and add background noise.

    The columns are `text`, `speaker` (the voice), `rate_wpm`, `pitch` and `snr_db`.
    """
    generators = [np.random.default_rng((*seed, number)) for number in range(len(texts))]
    utterances = [draw_utterance(text, speakers, rng) for text, rng in zip(texts, generators, strict=True)]
    spoken = synthesize_many(utterances, sample_rate)
    for utterance, generator, samples in zip(utterances, generators, spoken, strict=True):
        level = MEAN_RMS * 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB) / 20)
        snr_db = round(generator.uniform(*SNR_DB), 1)
        waveform = samples * (level / np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        row = {
            "text": utterance.text,
            "speaker": utterance.voice,
            "rate_wpm": utterance.rate_wpm,
            "pitch": utterance.pitch,
            "snr_db": snr_db,
        }
        yield GeneratedRecording(scale_to_int16(add_background(waveform, snr_db, generator)), row)


def synthetic_manifest(
    texts: Sequence[str],
    folder: str | Path,
    language: str = "en",
    seed: int = 5,
    repeats: int = 1,
    sample_rate: int = 16_000,
    speakers: Sequence[str] | None = None,
) -> Path:
    """Synthesize texts in random voices and write `train.jsonl`, as additional training data for real recordings.

    The columns are `audio`, `text`, `speaker` (the voice), `rate_wpm`, `pitch`, `snr_db` and `duration` in seconds; the
    recordings are below `recordings/`. The same arguments write the same bytes on one machine.

    Args:
        texts: texts to synthesize.
        folder: folder to write to.
        language: language code of espeak-ng, for example `en`, `fr`, `it` or `nl`.
        seed: random seed.
        repeats: number of times that each text is synthesized, with random voices.
        sample_rate: sampling rate of the recordings in Hz.
        speakers: voices to choose from; the default is all voices of espeak-ng for the language.

    Raises:
        FileNotFoundError: espeak-ng, or flite for its voices, is not installed.
        ModuleNotFoundError: soxr, which is needed for resampling, is not installed.
        ValueError: the language or a voice is unknown, or a text is spoken as silence.
    """
    if not texts or repeats < 1:
        raise ValueError(
            f"`texts` must not be empty and `repeats` must be at least 1, but there are {len(texts)} texts and "
            f"`repeats` is {repeats} instead."
        )
    speaker_names = sorted(speakers) if speakers else voices(language)
    recordings = generate_recordings([*texts] * repeats, speaker_names, (seed,), sample_rate)
    return write_recordings(folder, {"train": recordings}, sample_rate)["train"]
