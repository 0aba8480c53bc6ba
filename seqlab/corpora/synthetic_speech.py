"""Generate speech from text with the programs `espeak-ng` and `flite`, in many voices, rates and pitches.

A voice of espeak-ng is an accent and a variant, `en-us+f3`; one of flite (English alone) is `flite/slt`.
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

UNCLEAR = {
    "Alicia", "AnxiousAndy", "Demonic", "Marco", "UniRobot", "announcer", "kaukovalta", "robosoft", "robosoft2",
    "robosoft3", "whisper", "whisperf", "zac",
}  # fmt: skip
"""Variants that whisper, echo or drawl, or whose spectra are farthest from plain ones (by cepstra, time-warped)."""
COPIES = {"caleb", "fast", "klatt6"}
"""Variants that sound exactly as another one, or as none."""
FLITE_VOICES = ("flite/awb", "flite/kal16", "flite/rms", "flite/slt")
FLITE_RATE = 175
"""words per minute, about, that flite speaks unless it is asked for another rate"""

RATES = (120, 220)
"""words per minute"""
PITCHES = (25, 75)
SNR_DB = (12.0, 40.0)
LEVEL_DB = 6.0
RMS = 0.08
"""the mean level of a recording, from which it deviates by up to `LEVEL_DB`, where 1 is full scale"""
AMPLITUDE = "60"
"""of espeak-ng, whose default of 100 clips with the louder variants"""
NUM_THREADS = 4
BLOCK = 64
"""how many utterances are spoken ahead"""


@dataclass(frozen=True)
class Utterance:
    """A text and the manner in which it is spoken."""

    text: str
    voice: str = "en-us+m1"
    """one of `voices(language)` or `FLITE_VOICES`"""
    rate_wpm: int = 175
    """words per minute, 80 to 450"""
    pitch: int = 50
    """0 to 99, 50 is the voice's own; flite's voices keep theirs"""


def find_espeak() -> str:
    """Return the path of `espeak-ng`. Raises FileNotFoundError where it is not installed."""
    return _find("espeak-ng")


def find_flite() -> str:
    """Return the path of `flite`. Raises FileNotFoundError where it is not installed."""
    return _find("flite")


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(f"Speaking a text needs the program {program}: apt-get install {program}.")
    return path


def accents(language: str = "en") -> list[str]:
    """Return the accents of a language that espeak-ng speaks by itself, such as `en-us` and `en-gb-scotland`, sorted.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ValueError: it does not speak the language.
    """
    lines = [line.split() for line in _listed(find_espeak(), language)]
    # voices below mb/ need the program mbrola, and variants are no accents
    found = {columns[1] for columns in lines if not columns[4].startswith(("mb/", "!v/"))}
    own = sorted(accent for accent in found if accent.split("-")[0] == language)
    if not own:
        raise ValueError(f"espeak-ng has no voice for `language` {language!r}: `espeak-ng --voices` lists its own.")
    return own


def variants() -> list[str]:
    """Return the variants of a voice that are intelligible and unlike each other, such as `f3` and `klatt2`, sorted."""
    return [variant for variant in _all_variants(find_espeak()) if variant not in UNCLEAR | COPIES]


def voices(language: str = "en") -> list[str]:
    """Return the voices of espeak-ng in a language, each accent with each variant, sorted. Raises as `accents`."""
    return [f"{accent}+{variant}" for accent in accents(language) for variant in variants()]


@lru_cache
def _listed(espeak: str, language: str) -> list[str]:
    done = subprocess.run([espeak, f"--voices={language}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[1:]


@lru_cache
def _all_variants(espeak: str) -> list[str]:
    found = (re.search(r"!v/(.+?)\s*(?:\(|$)", line) for line in _listed(espeak, "variant"))
    return sorted({match[1] for match in found if match})


def speak(text: str, voice: str = "en-us+m1", rate_wpm: int = 175, pitch: int = 50) -> tuple[Samples, int]:
    """Return the 16-bit samples of a spoken text and their number per second. The same arguments give the same samples.

    Raises:
        FileNotFoundError: the program of the voice is not installed.
        ValueError: the voice or its language is unknown, the rate or the pitch out of range, or nothing is spoken.
    """
    if not 80 <= rate_wpm <= 450:
        raise ValueError(f"`rate_wpm` must be from 80 to 450, but is {rate_wpm} instead.")
    if not 0 <= pitch <= 99:
        raise ValueError(f"`pitch` must be from 0 to 99, but is {pitch} instead.")
    speaks = _run_flite if voice.startswith("flite/") else _run_espeak
    output = speaks(" ".join(text.split()), voice, rate_wpm, pitch)
    samples, sample_rate = _parse_wav(output)
    if not samples.any():
        raise ValueError(f"`text` must have words to speak, but {text!r} is spoken as silence by {voice}.")
    return samples, sample_rate


def _run_espeak(text: str, voice: str, rate_wpm: int, pitch: int) -> bytes:
    espeak = find_espeak()
    accent, _, variant = voice.partition("+")
    if variant and variant not in _all_variants(espeak):  # espeak-ng would speak without it
        raise ValueError(f"`voice` {voice!r} has the unknown variant {variant!r}: `voices(language)` lists all voices.")
    command = [espeak, "-v", voice, "-s", str(rate_wpm), "-p", str(pitch), "-a", AMPLITUDE, "-b", "1"]
    # double brackets would mean phonemes
    read = text.replace("[[", "[ [").encode()
    done = subprocess.run([*command, "--stdin", "--stdout"], input=read, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(
            f"espeak-ng does not speak with `voice` {voice!r} (accent {accent!r}): {done.stderr.decode().strip()} "
            "`voices(language)` lists all voices."
        )
    return done.stdout


def _run_flite(text: str, voice: str, rate_wpm: int, pitch: int) -> bytes:
    del pitch
    flite = find_flite()
    if voice not in FLITE_VOICES:
        raise ValueError(f"`voice` must be one of {', '.join(FLITE_VOICES)} for flite, but is {voice!r} instead.")
    stretch = f"duration_stretch={FLITE_RATE / rate_wpm:.3f}"
    command = [flite, "-voice", voice.removeprefix("flite/"), "--setf", stretch, "-t", text, "-o", "/dev/stdout"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _parse_wav(content: bytes) -> tuple[Samples, int]:
    """Read 16-bit mono WAV from a pipe, whose header does not know its length."""
    start = content.find(b"data") + 8
    if not content.startswith(b"RIFF") or start < 8:
        return np.zeros(0, np.int16), 0
    end = start + (len(content) - start) // 2 * 2
    return np.frombuffer(content[start:end], "<i2").astype(np.int16), int.from_bytes(content[24:28], "little")


def speak_many(
    utterances: Iterable[Utterance], sample_rate: int = 16_000, num_threads: int = NUM_THREADS
) -> Iterator[Samples]:
    """Speak utterances in threads, which wait for processes, and yield their samples at `sample_rate` in order.

    Raises as `speak`, and:
        ModuleNotFoundError: soxr, which resamples, is not installed.
    """
    resample = _resampler()

    def samples_of(utterance: Utterance) -> Samples:
        samples, found_rate = speak(utterance.text, utterance.voice, utterance.rate_wpm, utterance.pitch)
        return np.asarray(resample(samples, found_rate, sample_rate), dtype=np.int16)

    remaining = iter(utterances)
    with ThreadPoolExecutor(num_threads) as pool:
        while block := list(islice(remaining, BLOCK)):
            yield from pool.map(samples_of, block)


def _resampler() -> Callable[..., Samples]:
    try:
        import soxr
    except ImportError:
        raise ModuleNotFoundError("Resampling speech needs soxr: pip install 'seqlab[audio]'.") from None
    return soxr.resample


def draw_utterance(text: str, speakers: Sequence[str], generator: np.random.Generator) -> Utterance:
    """Draw the voice, the rate and the pitch in which to speak a text."""
    voice = speakers[int(generator.integers(len(speakers)))]
    rate, pitch = (int(generator.integers(low, high + 1)) for low, high in (RATES, PITCHES))
    return Utterance(text, voice, rate, pitch)


def recordings(
    texts: Sequence[str], speakers: Sequence[str], seed: Sequence[int], sample_rate: int
) -> Iterator[GeneratedRecording]:
    """Speak each text in a random voice, at a random rate, pitch and level, with background noise.

    The columns are `text`, `speaker` (the voice), `rate_wpm`, `pitch` and `snr_db`.
    """
    generators = [np.random.default_rng((*seed, number)) for number in range(len(texts))]
    utterances = [draw_utterance(text, speakers, drawn) for text, drawn in zip(texts, generators, strict=True)]
    spoken = speak_many(utterances, sample_rate)
    for utterance, generator, samples in zip(utterances, generators, spoken, strict=True):
        level = RMS * 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB) / 20)
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
    """Speak texts in random voices and write `train.jsonl`, to be added to a manifest of real recordings for training.

    The columns are `audio`, `text`, `speaker` (the voice), `rate_wpm`, `pitch`, `snr_db` and `duration` in seconds; the
    recordings are below `recordings/`. The same arguments write the same bytes on one machine.

    Args:
        texts: what to speak.
        folder: where to write.
        language: of espeak-ng: `en`, `fr`, `it`, `nl` and others.
        seed: of all random choices.
        repeats: how often each text is spoken, each time anew.
        sample_rate: of the recordings, in Hz.
        speakers: the voices to choose from, by default all of espeak-ng in the language.

    Raises:
        FileNotFoundError: espeak-ng or, for a voice of it, flite is not installed.
        ModuleNotFoundError: soxr, which resamples, is not installed.
        ValueError: the language or a voice is unknown, or a text is spoken as silence.
    """
    if not texts or repeats < 1:
        raise ValueError(
            f"`texts` must not be empty and `repeats` must be at least 1, but there are {len(texts)} texts and "
            f"`repeats` is {repeats} instead."
        )
    chosen = sorted(speakers) if speakers else voices(language)
    spoken = recordings([*texts] * repeats, chosen, (seed,), sample_rate)
    return write_recordings(folder, {"train": spoken}, sample_rate)["train"]
