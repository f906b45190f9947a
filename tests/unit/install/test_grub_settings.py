"""GRUB's settings read as the shell reads them, and edited word by word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.install.grub_trees import LINUX, MAIN, NORMAL, GrubTree, grub_trees
from xpukit.install.grub_settings import OWN_DROPIN, VARIABLES, SettingsEdit, edit_settings, order_texts, read_settings
from xpukit.install.kernel_words import OPAQUE, WantedWord, matches

PASS_THROUGH = WantedWord(token="iommu=pt", remove=("iommu=off",))
CLOUD = "/etc/default/grub.d/50-cloudimg-settings.cfg"


def edit(files: dict[str, str], wanted: WantedWord = PASS_THROUGH, *, has_dropins: bool = True) -> dict[str, str]:
    done = edit_settings(read_settings(files), wanted, has_dropins=has_dropins)
    assert not done.problem
    return order_texts({**files, **done.texts})


def refuse(files: dict[str, str], wanted: WantedWord = PASS_THROUGH) -> str:
    done = edit_settings(read_settings(files), wanted, has_dropins=True)
    assert done.problem
    assert not done.texts
    return done.problem


@given(grub_trees())
@settings(max_examples=80)
def test_words_are_what_the_settings_mean(tree: GrubTree) -> None:
    read = read_settings(tree.files)
    assert not read.broken
    assert {name: read.words(name) for name in VARIABLES} == tree.words


WANTED = st.sampled_from(
    (
        PASS_THROUGH,
        WantedWord(token="iommu=pt", remove=("iommu=off", "intel_iommu=*")),
        WantedWord(token="intel_iommu=off", remove=("intel_iommu=*",)),
        WantedWord(token='dyndbg="file drivers/gpu/drm/xe/* +p"', remove=("dyndbg=*",)),
        WantedWord(token="", remove=("quiet", "splash", "it's=odd", "cost=$5", "back\\slash")),
        WantedWord(token="quiet"),
    )
)


@given(grub_trees(), WANTED)
@settings(max_examples=120)
def test_only_the_asked_words_change_and_twice_is_once(tree: GrubTree, wanted: WantedWord) -> None:
    after = edit(tree.files, wanted)
    read = read_settings(after)
    kept = {name: [word for word in words if _stays(word, wanted)] for name, words in tree.words.items()}
    now = {name: [word for word in read.words(name) if _stays(word, wanted)] for name in VARIABLES}
    assert now == kept
    if wanted.token:
        assert any(matches(word, wanted.token) for name in VARIABLES for word in read.words(name))
    assert edit_settings(read, wanted, has_dropins=True) == SettingsEdit()


def _stays(word: str, wanted: WantedWord) -> bool:
    return not matches(word, wanted.token) and not any(matches(word, gone) for gone in wanted.remove)


@given(grub_trees(), WANTED)
@settings(max_examples=50)
def test_every_other_line_stays_as_it_is(tree: GrubTree, wanted: WantedWord) -> None:
    after = edit(tree.files, wanted)
    for path, text in tree.files.items():
        before_lines = [line for line in text.splitlines() if line.startswith("#") or "GRUB_TIMEOUT" in line]
        after_lines = [line for line in after[path].splitlines() if line.startswith("#") or "GRUB_TIMEOUT" in line]
        assert after_lines == before_lines


@given(st.text(alphabet="GRUB_CMDLINE_LINUX=\"'\\ \n$`{}();&|#a+<[]if fi", max_size=80))
@settings(max_examples=300)
def test_reading_rubbish_never_raises(text: str) -> None:
    read = read_settings({MAIN: f'{NORMAL}="a"\n{text}'})
    edit_settings(read, PASS_THROUGH, has_dropins=True)


def line(value: str) -> str:
    return f"{NORMAL}={value}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"quiet splash"', '"quiet splash iommu=pt"'),
        ("'quiet'", "'quiet iommu=pt'"),
        ("quiet", '"quiet iommu=pt"'),
        ('""', '"iommu=pt"'),
        ("", '"iommu=pt"'),
        ('"quiet "', '"quiet iommu=pt"'),
        ('"iommu=off quiet"', '"iommu=pt quiet"'),
        ('"quiet iommu=off"  # the vendor said so', '"quiet iommu=pt"  # the vendor said so'),
        ('"quiet \\\n   splash"', '"quiet \\\n   splash iommu=pt"'),
        ("quiet\\ splash", 'quiet\\ splash" iommu=pt"'),
        ("`cat /etc/words`", '`cat /etc/words`" iommu=pt"'),
        ('"$(cat /etc/words)"', '"$(cat /etc/words) iommu=pt"'),
        ('"iommu=pt quiet"', '"iommu=pt quiet"'),
        ('"iommu=pt iommu=off"', '"iommu=pt"'),
    ],
)
def test_where_the_word_is_put(before: str, after: str) -> None:
    assert edit({MAIN: line(before)}) == {MAIN: line(after)}


def test_the_assignment_that_wins_is_edited() -> None:
    files = {MAIN: line('"quiet"'), CLOUD: line('"console=tty1 console=ttyS0"')}
    assert edit(files) == {MAIN: line('"quiet"'), CLOUD: line('"console=tty1 console=ttyS0 iommu=pt"')}


def test_a_file_that_only_adds_stays_a_packages_own() -> None:
    added = line(f'"${NORMAL} crashkernel=384M-:128M"')
    files = {MAIN: line('"quiet"'), "/etc/default/grub.d/kdump-tools.cfg": added}
    assert edit(files) == {
        MAIN: line('"quiet iommu=pt"'),
        "/etc/default/grub.d/kdump-tools.cfg": added,
    }


def test_a_word_is_taken_out_of_the_file_where_it_stands() -> None:
    files = {MAIN: f'{LINUX}="iommu=off root=/dev/sda1"\n' + line("quiet")}
    assert edit(files) == {MAIN: f'{LINUX}="iommu=pt root=/dev/sda1"\n' + line("quiet")}


def test_a_word_comes_out_of_another_variable_only_where_that_serves_nothing_else() -> None:
    once = {MAIN: f'EXTRA="iommu=off audit=0"\n{NORMAL}="quiet $EXTRA"\n'}
    assert edit(once) == {MAIN: f'EXTRA="iommu=pt audit=0"\n{NORMAL}="quiet $EXTRA"\n'}
    assert "iommu=off" in refuse({MAIN: once[MAIN] + 'GRUB_CMDLINE_XEN="$EXTRA"\n'})


def test_plus_equals_adds() -> None:
    read = read_settings({MAIN: f'{NORMAL}="a"\n{NORMAL}+=" b"\n'})
    assert read.words(NORMAL) == ("a", "b")
    assert edit({MAIN: f'{NORMAL}="a"\n{NORMAL}+=" iommu=off"\n'})[MAIN] == f'{NORMAL}="a"\n{NORMAL}+=" iommu=pt"\n'


def test_unset_settings_get_a_line() -> None:
    assert edit({MAIN: "GRUB_TIMEOUT=5"}) == {MAIN: f'GRUB_TIMEOUT=5\n{NORMAL}="iommu=pt"\n'}


CONDITIONAL = f'if [ -e /etc/lab ]; then\n  {NORMAL}="audit=0"\nfi\n'


def test_under_a_condition_the_word_is_added_behind_everything() -> None:
    after = edit({MAIN: line("quiet") + CONDITIONAL})
    assert after[MAIN] == line("quiet") + CONDITIONAL
    assert after[OWN_DROPIN].endswith(f'\n{NORMAL}="${NORMAL} iommu=pt"\n')
    assert read_settings(after).words(NORMAL) == (OPAQUE, "iommu=pt")


def test_under_a_condition_without_grub_d() -> None:
    after = edit({MAIN: line("quiet") + CONDITIONAL}, has_dropins=False)
    assert after == {MAIN: line("quiet") + CONDITIONAL + line(f'"${NORMAL} iommu=pt"')}


def test_a_condition_that_adds_is_passed_over() -> None:
    adds = f'[ -e /etc/lab ] && {NORMAL}="${NORMAL} audit=0"\n'
    assert edit({MAIN: line('"quiet"') + adds}) == {MAIN: line('"quiet iommu=pt"') + adds}


def test_what_a_condition_puts_in_cannot_be_taken_out() -> None:
    problem = refuse({MAIN: line("quiet") + CONDITIONAL.replace("audit=0", "iommu=off")})
    assert problem == "iommu=off: is put in under a condition; take it out by hand"


@pytest.mark.parametrize("text", [line('"quiet'), line("'a"), line("`a"), line('"$(a"'), line('"${a"')])
def test_settings_that_the_shell_refuses_are_left_alone(text: str) -> None:
    assert refuse({MAIN: "GRUB_TIMEOUT=5\n" + text}).startswith(f"{MAIN}: line 2: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\ufeff" + line("quiet"), "line 1: begins with a byte order mark"),
        ("A=1\n" + f'{NORMAL} = "quiet"\n', f"line 2: {NORMAL} has a blank before its `=`"),
        ("A=1\r\n  \r\n" + line("quiet"), "line 2: a carriage return on a line of its own"),
    ],
)
def test_settings_in_which_the_shell_would_miss_a_command_are_left_alone(text: str, says: str) -> None:
    """grub-mkconfig ends at the first command that is not there (set -e)."""
    assert refuse({MAIN: text}).startswith(f"{MAIN}: {says}")


def test_line_ends_of_another_system_stay() -> None:
    files = {MAIN: "GRUB_DEFAULT=0\r\n# no words\r\n" + line('"quiet"').replace("\n", "\r\n")}
    assert edit(files) == {MAIN: files[MAIN].replace('quiet"', 'quiet iommu=pt"')}


def test_words_for_init_are_not_the_kernels() -> None:
    """Both variables make one command line: a bare `--` in the first hides the second."""
    before = {MAIN: line('"iommu=pt quiet -- iommu=off"')}
    assert edit(before) == before
    assert refuse({MAIN: line('"quiet -- iommu=pt"')}).startswith("--: what comes after it goes to init")
    assert refuse({MAIN: 'GRUB_CMDLINE_LINUX="-- single"\n' + line('"iommu=pt"')}).startswith("--: ")
    assert edit({MAIN: line('"quiet ---"')}) == {MAIN: line('"quiet --- iommu=pt"')}


def test_the_blank_behind_a_variables_name_stays() -> None:
    files = {MAIN: 'GRUB_CMDLINE_LINUX="quiet"\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX iommu=off"\n'}
    after = edit(files, WantedWord(token="", remove=("quiet",)))
    assert after == {MAIN: files[MAIN].replace("quiet", "")}


def test_a_substitution_that_may_drop_words_is_not_read_as_the_variable() -> None:
    files = {MAIN: line('"quiet iommu=pt"') + line(f'"${{{NORMAL}%iommu=pt}}"')}
    assert read_settings(files).words(NORMAL) == (OPAQUE,)
    assert edit(files)[MAIN].endswith(line(f'"${{{NORMAL}%iommu=pt}} iommu=pt"'))


@pytest.mark.parametrize("token", ["a b", 'a="b', "a=$b", "a=`b`", "a;b", "a=b'c", "a\nb", "a=\\b"])
def test_words_that_cannot_be_written_are_refused(token: str) -> None:
    assert "cannot be written safely" in (problem := refuse({MAIN: ""}, WantedWord(token=token))) or "closed" in problem


def test_a_command_that_may_set_anything_hides_what_was_before() -> None:
    files = {MAIN: line("quiet") + 'eval "$(lab-settings)"\n'}
    assert read_settings(files).words(NORMAL) == (OPAQUE,)


@pytest.mark.parametrize(
    "text",
    [
        "f() {\n" + line("other") + "}\n",
        f"{NORMAL}=other true\n",
        f"({NORMAL}=other)\n",
        f"{NORMAL}=other | cat\n",
        f"#{NORMAL}=other\n",
    ],
)
def test_what_is_no_assignment_of_this_shell_is_not_taken_for_one(text: str) -> None:
    words = read_settings({MAIN: line("quiet") + text}).words(NORMAL)
    assert "other" not in words
