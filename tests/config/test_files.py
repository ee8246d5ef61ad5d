"""Whatever the files hold, loading ends in a configuration or in problems with a place; never in a traceback."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Config, ConfigError, Problem, load

DATA = Path(__file__).resolve().parents[1] / "data"
MINIMAL = "version: 1\ntables:\n  - {name: a, path: x, checks: [{row_count: {min: 1}}]}\n"


def problems(path: Path, environ: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return caught.value.problems


def written(folder: Path, text: str | bytes, name: str = "dq.yml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("path", sorted((DATA / "good").glob("*.yml")), ids=lambda path: path.stem)
def test_a_good_file_loads(path: Path) -> None:
    assert load(path, {"PW": "svc-password", "TOKEN": "a-token"}).tables


@pytest.mark.parametrize("path", sorted((DATA / "bad").glob("*.yml")), ids=lambda path: path.stem)
def test_a_bad_file_gives_exactly_the_problems_that_its_comments_expect(path: Path) -> None:
    expected = [line[10:] for line in path.read_text().splitlines() if line.startswith("# expect: ")]
    found = [f"{problem.line}:{problem.column}: {problem.message}" for problem in problems(path)]
    assert expected, "a bad file states what is expected"
    assert [text[: len(start)] for text, start in zip(found, expected, strict=False)] == expected
    assert len(found) == len(expected), found[len(expected) :]
    assert "hunter2" not in "\n".join(found)


def test_the_text_of_a_problem_is_file_line_column_message(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "nope: 1\n")
    assert str(problems(path)[0]).startswith(f'{path}:4:1: unknown key "nope"')


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"", "1:1: is empty"),
        (b"\xef\xbb\xbf", "1:1: is empty"),
        (b"version: 1\nname: caf\xe9\n", "2:10: is not UTF-8 text (byte 0xe9)"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "1:1: a control character"),
        (b"version: 1\na: b\x00c\n", "2:5: a control character"),
        ("a: " + "[" * 500 + "]" * 500, "1:"),
        ("[" * 200_000, "1:"),
        ("? [a, b]\n: c\nversion: 1", "1:3: a key must be text"),
        ("version: 1\n<<: [1]\n", "2:6: `<<` takes a mapping"),
    ],
)
def test_what_is_no_configuration_is_a_problem_with_a_place(tmp_path: Path, content: str | bytes, start: str) -> None:
    found = [f"{problem.line}:{problem.column}: {problem.message}" for problem in problems(written(tmp_path, content))]
    assert any(text.startswith(start) for text in found), found


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    assert load(written(tmp_path, b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode()), {}).tables


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yml") == [Problem(str(tmp_path / "no.yml"), 1, 1, "no such file or directory")]
    assert problems(tmp_path / "*.yml")[0].message == "matches no file"
    assert "without *.yml" in problems(tmp_path)[0].message


def test_a_directory_and_a_pattern_merge_their_files(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL, "a.yml")
    written(tmp_path, MINIMAL.replace("name: a", "name: b"), "b.yaml")
    written(tmp_path, "version: 1\nlog: {level: debug}\n", "c.yml")
    written(tmp_path, "not: read", "d.txt")
    config = load(tmp_path, {})
    assert [table.name for table in config.tables] == ["a", "b"]
    assert config.log.level == "debug"
    assert [Path(file).name for file in config.files] == ["a.yml", "b.yaml", "c.yml"]
    assert len(load(tmp_path / "[ac].yml", {}).tables) == 1


def test_a_table_or_section_in_two_files_names_both_places(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL + "log: {}\n", "a.yml")
    written(tmp_path, MINIMAL + "log: {}\n", "b.yml")
    table, section = problems(tmp_path)
    a, b = tmp_path / "a.yml", tmp_path / "b.yml"
    assert table.message == f'table "a" is defined twice: at {a}:3:5 and at {b}:3:5'
    assert (section.file, section.line) == (str(b), 4) and f"{a}:4:6" in section.message


def test_problems_of_all_files_come_at_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yml", "c.yml"):
        written(tmp_path, "version: 1\nx: 1\ntables: [{name: 1}]\n" if name != "c.yml" else "a: [", name)
    found = problems(tmp_path)
    assert {Path(problem.file).name for problem in found} == {"a.yml", "b.yml", "c.yml"}
    assert found == sorted(found)


_SOUND = (DATA / "good" / "everything.yml").read_text()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_garbled_file_never_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int) -> None:
    chance = random.Random(seed)
    text = _SOUND
    for _ in range(changes):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(["", ":", "- ", "{", "]", "\t", "&a ", "*a", "!", "'", "\n", "é", "1"]) + text[at + chance.randrange(4) :]
    path = written(tmp_path_factory.mktemp("garbled"), text)
    try:
        assert isinstance(load(path, {}), Config)
    except ConfigError as error:
        assert error.problems and all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)


def test_ten_thousand_tables_load_in_well_under_a_minute(tmp_path: Path) -> None:
    table = (
        '  - {{name: "t{0}", path: "s3://lake/t{0}", filter: "day >= current_date() - interval {0} days", checks: '
        "[{{row_count: {{min: 1}}}}, {{not_null: [a, b]}}, {{range: {{column: c, min: 0, max: {0}}}}}]}}\n"
    )
    path = written(tmp_path, "version: 1\ntables:\n" + "".join(table.format(index) for index in range(10_000)))
    start = time.monotonic()
    assert len(load(path, {}).tables) == 10_000
    assert time.monotonic() - start < 40  # some 7 s on a quiet machine
