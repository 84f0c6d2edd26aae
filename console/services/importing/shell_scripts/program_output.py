"""What small programs print, where their words and input alone decide it: for `$(…)` in scripts. Nothing is run."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Sequence

from console.services.importing.rank_marks import mark
from console.services.importing.shell_scripts.arithmetic import Arithmetic, NotComputed
from console.services.importing.shell_scripts.unknowns import computable, is_open

_MOST = 4096


def printed(words: Sequence[str], stdin: str | None) -> str | None:
    """What the command prints; None when only its node knows."""
    if (answer := _asked(words)) is not None:
        return answer
    name = words[0].rpartition("/")[2]
    if name not in _PASSING and any(map(is_open, (*words, stdin or ""))):
        return None
    make = _PROGRAMS.get(name)
    try:
        return make(list(words[1:]), stdin) if make is not None else None
    except (ValueError, IndexError, NotComputed, re.error):
        return None


def _sign(sign: str, text: str) -> str:
    """The sign to cut a text at. Raises ValueError where an address or an interface would be cut."""
    if not computable(text) and sign not in " /,\t":
        raise ValueError("cuts what is not known")
    return sign


def _asked(words: Sequence[str]) -> str | None:
    """What the system answers about the node's own addresses and interfaces, with marks in their places."""
    name, text = words[0].rpartition("/")[2], " ".join(words[1:])
    address, nic = mark("address"), mark("nic")
    if name == "hostname" and re.fullmatch(r"-I|-i|--all-ip-addresses|--ip-address", text):
        return f"{address} \n"
    if name == "ifconfig":
        return f"{nic}: flags=4163 mtu 1500\n        inet {address}  netmask 0  broadcast 0\n"
    if name == "getent" and len(words) >= 3 and words[1] in ("hosts", "ahosts", "ahostsv4", "ahostsv6"):
        return f"{words[2]} {words[2]}\n"
    if name != "ip":
        return None
    if " get " in f" {text} ":
        return f"{words[-1]} via 0 dev {nic} src {address} uid 0\n"
    if re.search(r"\br(oute)?\b", text):
        return f"default via 0 dev {nic} proto static\n"
    at = words[words.index("to") + 1] if "to" in words[:-1] else address
    if re.search(r"(^| )-(o|oneline)( |$)", text):
        return f"2: {nic} inet {at}/24 brd 0 scope global {nic}\n"
    if re.search(r"(^| )-(br|brief)( |$)", text):
        return f"{nic} UP {at}/24\n"
    return f"2: {nic}: <UP> mtu 1500\n    inet {at}/24 brd 0 scope global {nic}\n"


def _operands(words: Sequence[str], valued: str = "") -> list[str]:
    """The words that are no options; an option of `valued` takes the next word."""
    found, skip = list[str](), False
    for at, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--":
            return [*found, *words[at + 1 :]]
        elif word.startswith("-") and len(word) > 1 and not re.fullmatch(r"-[0-9.]+", word):
            skip = word[1:] in tuple(valued)
        else:
            found.append(word)
    return found


def _basename(words: list[str], stdin: str | None) -> str:
    names = _operands(words, "s")
    ending = (
        words[words.index("-s") + 1] if "-s" in words else names[1] if len(names) == 2 and "-a" not in words else ""
    )
    base = posixpath.basename(names[0].rstrip("/")) or "/"
    return (base.removesuffix(ending) if base != ending else base) + "\n"


def _dirname(words: list[str], stdin: str | None) -> str:
    return (posixpath.dirname(_operands(words)[0].rstrip("/")) or ".") + "\n"


def _echo(words: list[str], stdin: str | None) -> str:
    plain, escapes = "\n", False
    while words and re.fullmatch(r"-[neE]+", words[0]):
        option = words.pop(0)
        plain = "" if "n" in option else plain
        escapes = "e" in option or escapes
    text = " ".join(words)
    return (_unescaped(text) if escapes else text) + plain


def _unescaped(text: str) -> str:
    known = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda found: known[found[1]], text)


def _printf(words: list[str], stdin: str | None) -> str:
    form, rest = _unescaped(words[0]), words[1:]
    if re.search(r"%(?!%|[-0]*[0-9]*[sdibq])", form.replace("%%", "")):
        raise ValueError("a form that is not computed")
    out, first = "", True
    while first or rest:
        first = False

        def put(found: re.Match[str]) -> str:
            if found[0] == "%%":
                return "%"
            value = rest.pop(0) if rest else ""
            if found[2] == "q":
                return shlex.quote(value)
            if found[2] in "sb":
                return f"%{found[1]}s" % value
            return f"%{found[1]}d" % int(value or "0")

        before = len(rest)
        out += re.sub(r"%%|%([-0]*[0-9]*)([sdibq])", put, form)
        if len(rest) == before:
            break
        if len(out) > 100_000:
            raise ValueError("too long")
    return out


def _seq(words: list[str], stdin: str | None) -> str:
    separator = "\n"
    for at, word in enumerate(words):
        if word.startswith("-s"):
            separator = word[2:] or words[at + 1]
            words = words[:at] + words[at + (1 if word[2:] else 2) :]
            break
    wide = "-w" in words
    numbers = [int(word) for word in words if word != "-w"]
    first, step, last = {1: (1, 1, *numbers), 2: (numbers[0], 1, numbers[-1])}.get(len(numbers), tuple(numbers))
    if step == 0 or abs(last - first) // abs(step) > _MOST:
        raise ValueError("too many")
    texts = [str(each) for each in range(first, last + (1 if step > 0 else -1), step)]
    width = max(map(len, texts), default=0)
    return separator.join(text.zfill(width) if wide else text for text in texts) + "\n"


def _expr(words: list[str], stdin: str | None) -> str:
    def unset(name: str) -> str:
        raise NotComputed

    return f"{Arithmetic(' '.join(words), unset, lambda name, value: None).value()}\n"


def _bc(words: list[str], stdin: str | None) -> str:
    return _expr((stdin or "").split(), None)


def _cut(words: list[str], stdin: str | None) -> str:
    text = " ".join(words)
    by = re.search(r"-d ?(.)", text)
    which = re.search(r"-f ?([0-9]+)(-?)", text)
    if stdin is None or which is None:
        raise ValueError("no input")
    at, rest, sign = int(which[1]) - 1, bool(which[2]), _sign(by[1] if by else "\t", stdin)
    lines = []
    for line in stdin.splitlines():
        pieces = line.split(sign)
        lines.append(line if len(pieces) == 1 else sign.join(pieces[at : None if rest else at + 1]))
    return "".join(f"{line}\n" for line in lines)


def _tr(words: list[str], stdin: str | None) -> str:
    if stdin is None:
        raise ValueError("no input")
    sets = [_unescaped(word) for word in words if not re.fullmatch(r"-[dsc]+", word)]
    if words[0] == "-d" and len(sets[0]) == 1:
        return stdin.replace(_sign(sets[0], stdin.replace("\n", "")) if sets[0] != "\n" else "\n", "")
    if not computable(stdin):
        raise ValueError("changes what is not known")
    classes = {"a-z": str.upper, "[:lower:]": str.upper, "A-Z": str.lower, "[:upper:]": str.lower}
    if sets[0] in classes:
        return classes[sets[0]](stdin)
    if len(sets) == 2 and len(sets[0]) == len(sets[1]) == 1:
        return stdin.replace(sets[0], sets[1])
    raise ValueError("not computed")


def _awk(words: list[str], stdin: str | None) -> str:
    sign = re.search(r"^-F ?(\S| )", " ".join(words))
    program = words[-1].strip()
    form = r"(?:/([^/]*)/|NR==1)?\s*\{\s*print\s*\(?\$?(NF|[0-9]+)\)?\s*;?\s*(?:exit)?\s*;?\s*\}"
    found = re.fullmatch(form, program)
    if stdin is None or found is None or len(words) > 3:
        raise ValueError("not computed")
    if not computable(stdin) and (found[2] == "NF" and "$" not in program):
        raise ValueError("counts what is not known")
    _sign(sign[1] if sign else " ", stdin)
    lines = []
    for line in stdin.splitlines():
        if found[1] is not None and not re.search(found[1], line):
            continue
        pieces = line.split(sign[1]) if sign and sign[1] != " " else line.split()
        if "$" not in program:
            lines.append(str(len(pieces)) if found[2] == "NF" else found[2])
        else:
            at = len(pieces) if found[2] == "NF" else int(found[2])
            lines.append(line if at == 0 else pieces[at - 1] if at <= len(pieces) else "")
    return "".join(f"{line}\n" for line in lines)


def _grep(words: list[str], stdin: str | None) -> str:
    """The lines that fit; of what the system says of addresses all lines, or with -o the address."""
    letters = "".join(word[1:] for word in words if re.fullmatch(r"-[a-zA-Z]+", word))
    operands = _operands(words, "e")
    if stdin is None or len(operands) > 1:
        raise ValueError("no input")
    if not computable(stdin):
        if "o" in letters:
            return mark("address") + "\n"
        kept = [line for line in stdin.splitlines() if not operands or "inet" not in operands[0] or "inet" in line]
        return "".join(f"{line}\n" for line in kept)
    pattern = re.compile(operands[0] if operands else words[words.index("-e") + 1], re.I if "i" in letters else 0)
    kept = [line for line in stdin.splitlines() if bool(pattern.search(line)) != ("v" in letters)]
    if "c" in letters:
        return f"{len(kept)}\n"
    if "o" in letters:
        kept = [each[0] for line in kept for each in pattern.finditer(line)]
    return "".join(f"{line}\n" for line in kept)


def _sed(words: list[str], stdin: str | None) -> str:
    """One plain `s///`; a prefix length or the like is cut from an address."""
    if stdin is None:
        raise ValueError("no input")
    programs = _operands([word for word in words if word not in ("-e", "-E", "-r")])
    found = re.fullmatch(r"s(.)((?:(?!\1).)*)\1((?:(?!\1).)*)\1(g?)", programs[0]) if len(programs) == 1 else None
    if found is None:
        raise ValueError("not computed")
    if not computable(stdin):
        stripped = re.sub(r"/[0-9]+$", "", stdin.strip())
        if is_open(stdin) or stripped.count(mark("address")) != 1 or len(stripped.split()) != 1:
            raise ValueError("not computed")
        return stripped + "\n"
    if re.search(r"\\|&", found[3]) or re.search(r"[\\+?(){}|]", found[2]):
        raise ValueError("not computed")
    return re.sub(found[2], lambda _: found[3], stdin, count=0 if found[4] else 1)


def _wc(words: list[str], stdin: str | None) -> str:
    counts: dict[str, Callable[[str], int]] = {
        "-w": lambda text: len(text.split()),
        "-l": lambda text: text.count("\n"),
        "-c": lambda text: len(text.encode()),
    }
    if stdin is None or len(words) != 1 or not computable(stdin):
        raise ValueError("no input")
    return f"{counts.get(words[0], counts['-w'])(stdin)}\n"


def _lines(words: list[str], stdin: str | None) -> str:
    count = int(re.sub(r"\D", "", " ".join(words)) or "10")
    if stdin is None or _operands(words, "n"):
        raise ValueError("no input")
    return "".join(stdin.splitlines(keepends=True)[:count])


def _xargs(words: list[str], stdin: str | None) -> str:
    if words or stdin is None:
        raise ValueError("not computed")
    return " ".join(stdin.split()) + "\n"


def _cat(words: list[str], stdin: str | None) -> str:
    if stdin is None or [word for word in words if word != "-"]:
        raise ValueError("a file")
    return stdin


def _path(words: list[str], stdin: str | None) -> str:
    path = _operands(words)[0]
    if not path.startswith("/"):
        raise ValueError("relative")
    return posixpath.normpath(path) + "\n"


_PASSING = ("echo", "printf", "cat", "basename", "dirname", "xargs", "realpath", "readlink")
"""Programs that hand on what is not known as it is."""
_PROGRAMS: dict[str, Callable[[list[str], str | None], str]] = {
    "grep": _grep,
    "egrep": _grep,
    "sed": _sed,
    "basename": _basename,
    "dirname": _dirname,
    "echo": _echo,
    "printf": _printf,
    "seq": _seq,
    "expr": _expr,
    "bc": _bc,
    "cut": _cut,
    "tr": _tr,
    "awk": _awk,
    "wc": _wc,
    "head": _lines,
    "xargs": _xargs,
    "cat": _cat,
    "realpath": _path,
    "readlink": _path,
}
