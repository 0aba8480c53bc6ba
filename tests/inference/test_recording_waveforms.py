"""Recordings as input of commands: channels, scale, clipping and silence, and how older runs read them."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqlab.data.manifests import ManifestEntry
from seqlab.inference.recording_lists import choose_channel, describe_recording, open_recording_list
from seqlab.inference.recording_waveforms import read_waveforms

RATE = 8000
SOUND = (0.4 * np.sin(np.arange(RATE) * 0.3) * np.hanning(RATE)).astype(np.float32)
STEREO = np.stack([SOUND, -SOUND], 1)


def encode(samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="WAV", subtype=subtype)
    return content.getvalue()


def test_channels_that_cancel_have_no_answer_unless_one_is_chosen() -> None:
    entry = ManifestEntry("a.wav", None, "list, line 1", encode(STEREO))
    [from_file, from_array] = read_waveforms([entry, (STEREO, RATE)], RATE)
    assert "a.wav: a recording whose channels cannot be mixed: its 2 channels cancel" in str(from_file)
    assert "its 2 channels cancel" in str(from_array)
    [chosen] = read_waveforms(list(choose_channel([entry], "2")), RATE)
    np.testing.assert_allclose(chosen / 32768, -SOUND, atol=1e-4)
    assert [np.any(each) for each in read_waveforms([entry, (STEREO, RATE)], RATE, reading=1)] == [False, False]


def test_the_channel_of_a_list_wins_over_the_option_and_that_over_the_run() -> None:
    without, with_column = (ManifestEntry("a.wav", None, "", encode(STEREO), channel=name) for name in ("", "1"))
    recordings = [without, with_column, encode(STEREO), (STEREO, RATE), (SOUND, RATE)]
    for each, sign in zip(read_waveforms(recordings, RATE, channel="2"), (-1, 1, -1, -1, 1), strict=True):
        np.testing.assert_allclose(each / 32768, sign * SOUND, atol=1e-4)
    chosen = choose_channel(recordings[:2], "left")
    assert [describe_recording(each) for each in chosen] == [{"audio": "a.wav", "channel": c} for c in ("left", "1")]
    assert "its 2 channels cancel" in str(read_waveforms(list(choose_channel([without], "mean")), RATE, channel="2"))


def test_floats_of_another_scale_have_no_answer() -> None:
    samples = SOUND * 32768
    for each in read_waveforms([encode(samples, "FLOAT"), (samples, RATE)], RATE):
        assert "floats must be in [-1, 1], but are up to 13" in str(each)
    loud = SOUND * 6
    expected = read_waveforms([(SOUND / SOUND.max(), RATE)], RATE)[0]
    for each in read_waveforms([encode(loud, "FLOAT"), (loud, RATE)], RATE):
        np.testing.assert_allclose(each, expected, atol=2)
    for each in read_waveforms([encode(loud, "FLOAT"), (loud, RATE)], RATE, reading=1):
        assert np.mean(np.abs(each.astype(int)) >= 32767) > 0.1


def test_clipped_recordings_have_a_warning() -> None:
    warnings: dict[int, str] = {}
    read_waveforms([encode(SOUND), encode(np.clip(SOUND * 5, -1, 1))], RATE, warnings=warnings)
    assert list(warnings) == [1]
    assert "recording 2: 27% of its samples are clipped" in warnings[1]


@pytest.mark.parametrize(("reading", "segments"), [(2, [(0.5, 0.75)]), (1, [(0.0, None)])])
def test_lists_are_read_by_the_version_of_the_run(
    reading: int, segments: list[tuple[float, float | None]], tmp_path: Path
) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"audio": "a.wav", "offset": 0.5, "duration": 0.25, "channel": 2}\n', "utf-8")
    with open_recording_list(str(path), reading=reading) as entries:
        [entry] = entries
    assert isinstance(entry, ManifestEntry)
    assert ([(entry.start, entry.end)], entry.channel) == (segments, "2" if reading == 2 else "")


BAD_ENTRIES = {
    '{"audio": "a.wav",}': "line 2: not JSON",
    '{"audio": 5}': "line 2: 'audio' must be the path of a recording, but is 5",
    '{"audiox": "a.wav"}': "line 2: has no column 'audio'",
    "[1]": "line 2: must be a JSON object",
    '{"audio": "a.wav", "start": "x"}': "line 2: 'start' must be a time",
    '{"audio": "a.wav", "start": 3, "end": 1}': "line 2: 'end' (1) must be after 'start' (3)",
    '{"audio": "a.wav", "audio": "b.wav"}': "line 2: has the key 'audio' twice",
    '{"audio": null}': "line 2: names no recording",
}


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_bad_entry_of_a_list_is_a_fault_of_one_recording(entry: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encode(SOUND))
    path = tmp_path / "list.jsonl"
    path.write_text(f'{{"audio": "a.wav"}}\n{entry}\n{{"audio": "a.wav"}}\n')
    with open_recording_list(str(path)) as entries:
        first, fault, last = read_waveforms(list(entries), RATE)
    assert not isinstance(first, str)
    assert not isinstance(last, str)
    assert isinstance(fault, str)
    assert BAD_ENTRIES[entry] in fault


def test_bad_rows_of_a_table_of_recordings_are_faults(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encode(SOUND))
    path = tmp_path / "list.csv"
    path.write_text("audio,start\na.wav,\na.wav,1,2\na.wav,abc\na.wav,0\n")
    with open_recording_list(str(path)) as entries:
        found = read_waveforms(list(entries), RATE)
    assert [isinstance(each, str) for each in found] == [False, True, True, False]
    assert "line 3: has 3 cells" in str(found[1])
    path.write_text("path,start\na.wav,\n")
    with open_recording_list(str(path)) as entries, pytest.raises(ValueError, match="has no column 'audio'"):
        list(entries)
