"""Shell completion of commands, options, recipes and config fields."""

import shutil
import subprocess
import sys
from typing import Any

import pytest

from seqlab.cli.completion import completions, config_fields
from seqlab.recipes import RECIPES
from seqlab.registry import list_entries


def complete(script: str, words: list[str]) -> list[str]:
    """Return bash's completions of the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _seqlab; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seqlab", "trans"], ["translate", "transcribe"]),
        (["seqlab", "train", "number_w"], ["number_words"]),
        (["seqlab", "--quiet", "translate", "RUN", "--beam"], ["--beam_size"]),
        (["seqlab", "train", "number_words", "--training.max_e"], ["--training.max_epochs"]),
        (["seqlab", "help", "perpl"], ["perplexity"]),
        (["seqlab", "translate", "--training.max_s"], []),
    ],
)
def test_bash_completes_commands_options_recipes_and_fields(seqlab: Any, words: list[str], expected: list[str]) -> None:
    result = seqlab("completion", "bash")
    assert result.status == 0
    assert complete(result.out.decode(), words) == expected


def test_offered_options_are_in_the_help_of_their_command(seqlab: Any) -> None:
    words = completions()
    assert {*RECIPES} <= {*words["train"]}
    assert "--training.max_steps" in config_fields()
    for entry in list_entries("command"):
        help_text = seqlab(entry.name, "--help").out.decode()
        assert words[entry.name], entry.name
        for option in words[entry.name]:
            if option.startswith("--") and "." not in option and option != "--help":
                assert option in help_text


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_have_valid_syntax(seqlab: Any, shell: str) -> None:
    script = seqlab("completion", shell).out
    assert b"number_words" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, check=True)


def test_unsupported_shells_are_refused(seqlab: Any) -> None:
    result = seqlab("completion", "csh")
    assert result.status == 2
    assert "csh" in result.err


def test_the_script_at_the_start_of_a_shell_needs_no_torch() -> None:
    code = (
        "import sys; from seqlab.cli.main import main; main(['completion', 'bash']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
